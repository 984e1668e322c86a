"""The shape of the public interface."""

import dataclasses
import importlib
import inspect

import pytest

import vdip_jax

MODULES = [
    "answers",
    "candidates",
    "checks",
    "classical",
    "config",
    "convolution",
    "cost",
    "generators",
    "kernels",
    "metrics",
    "nonblind",
    "objective",
    "operators",
    "priors",
    "quality",
]
MODULES += ["periodic", "solver", "steps"]
CONSTANTS = {"METHODS", "PRESETS"}


def public_functions():
    """Name and function of everything without an underscore in the computation's modules."""
    for name in MODULES:
        module = importlib.import_module(f"vdip_jax.{name}")
        for member, value in vars(module).items():
            if getattr(value, "__module__", None) == module.__name__ and not member.startswith("_"):
                if inspect.isroutine(value) or hasattr(value, "__wrapped__"):
                    yield f"{name}.{member}", value


FUNCTIONS = dict(public_functions())


def test_package_exports_a_handful_of_names():
    assert sorted(vdip_jax.__all__) == [
        "Config", "METHODS", "PRESETS", "Progress", "Refusal", "Result", "blur", "solve"
    ]  # fmt: skip
    assert len(vdip_jax.__all__) <= 8
    assert all(hasattr(vdip_jax, name) for name in vdip_jax.__all__)


@pytest.mark.parametrize("name", sorted(set(vdip_jax.__all__) - CONSTANTS))
def test_public_name_is_documented(name):
    value = getattr(vdip_jax, name)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}(")
    assert value.__doc__.strip().splitlines()[0].endswith((".", ":"))


def test_data_constants_are_plain_mappings():
    assert all(isinstance(getattr(vdip_jax, name), dict) for name in CONSTANTS)


def test_options_of_solve_are_keyword_only_and_optional():
    parameters = list(inspect.signature(vdip_jax.solve).parameters.values())
    assert [p.name for p in parameters[:2]] == ["y", "key"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is None for p in parameters[2:])
    assert {"kernel_size", "kernel", "config", "callback"} <= {p.name for p in parameters[2:]}


@pytest.mark.parametrize("name", inspect.signature(vdip_jax.solve).parameters)
def test_every_argument_of_solve_is_explained(name):
    assert f"\n  {name}: " in inspect.cleandoc(vdip_jax.solve.__doc__)


def test_solve_explains_what_it_returns_and_raises():
    assert "Returns:" in vdip_jax.solve.__doc__
    assert "Raises:" in vdip_jax.solve.__doc__


def test_every_field_of_the_result_is_explained():
    assert " ".join(vdip_jax.Result._fields) == "image std kernel loss ok agreement choice share reserve candidates"
    assert all(f" {field}: " in vdip_jax.Result.__doc__ for field in vdip_jax.Result._fields)


def test_config_is_a_frozen_dataclass_of_keywords():
    assert all(field.kw_only for field in dataclasses.fields(vdip_jax.Config))
    assert vdip_jax.Config.__dataclass_params__.frozen


def test_the_modules_hold_functions_to_check():
    assert len(FUNCTIONS) > 25


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_documented_annotated_and_calls_its_key_key(name):
    function = FUNCTIONS[name]
    signature = inspect.signature(function)
    assert function.__doc__, name
    assert not {"rng", "seed", "prng", "prng_key"} & set(signature.parameters)
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", MODULES)
def test_module_is_documented(name):
    assert importlib.import_module(f"vdip_jax.{name}").__doc__
