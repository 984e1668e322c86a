"""Settings: presets, defaults that depend on the prior, validation."""

import dataclasses

import pytest

from vdip_jax import METHODS, PRESETS, Config, Refusal


def test_published_schedule_is_exactly_that_of_the_paper_and_its_release():
    config = Config.preset("published")
    assert config == Config()
    assert config.phases == (("prefit", 500), ("variational", 2000), ("ssim", 3000))
    assert dataclasses.asdict(config) == dict(
        method="vdip-sparse",
        start="uniform",
        channels=128,
        skip_channels=16,
        num_levels=5,
        nonlocal_from=2,
        kernel_hidden=1000,
        prefit_steps=500,
        variational_steps=2000,
        ssim_steps=3000,
        lr_image=0.01,
        lr_kernel=1e-4,
        hold_kernel=0,
        lr_milestones=(2000, 3000, 4000),
        lr_decay=0.5,
        num_samples=1,
        sigma_t=0.1,
        sigma_decay=0.1,
        sigma_every=1000,
        kernel_weight=10.0,
        bright_spread="released",
        precision="tensorfloat32",
        std="refit",
    )


@pytest.mark.parametrize("method", METHODS)
def test_prefit_and_sigma_are_filled_in_from_the_prior(method):
    extreme = method.endswith("extreme")
    config = Config(method=method)
    assert config.prefit_steps == (5 if extreme else 500)
    assert config.sigma_t == (1e-4 if extreme else 0.1)


def test_given_prefit_and_sigma_are_kept():
    config = Config(method="vdip-extreme", prefit_steps=0, sigma_t=0.0)
    assert (config.prefit_steps, config.sigma_t) == (0, 0.0)


def test_methods_are_the_six_systems_of_table_one():
    assert {name: tuple(method) for name, method in METHODS.items()} == {
        "dip": (False, None),
        "dip-sparse": (False, "sparse"),
        "dip-extreme": (False, "extreme"),
        "vdip-std": (True, None),
        "vdip-sparse": (True, "sparse"),
        "vdip-extreme": (True, "extreme"),
    }


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_takes_every_method(name, method):
    config = Config.preset(name, method=method)
    assert config.method == method
    assert all(getattr(config, field) == value for field, value in PRESETS[name].items())


def test_quick_preset_is_smaller_and_shorter_than_the_published():
    quick, published = Config.preset("quick"), Config()
    assert quick.num_steps < published.num_steps / 4
    assert quick.channels < published.channels


def test_override_goes_before_the_preset():
    assert Config.preset("quick", channels=7).channels == 7


def test_config_is_frozen_hashable_and_keyword_only():
    config = Config(lr_milestones=[3, 4])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.channels = 3
    assert hash(config) == hash(Config(lr_milestones=(3, 4)))
    assert config == Config(lr_milestones=(3, 4))
    with pytest.raises(TypeError):
        Config("dip")


def test_phases_without_steps_do_not_run():
    config = Config(prefit_steps=0, variational_steps=4, ssim_steps=0)
    assert config.phases == (("variational", 4),)
    assert config.num_steps == 4


def test_each_step_falls_in_its_phase():
    config = Config(prefit_steps=1, variational_steps=2, ssim_steps=2)
    names = [config.phase_of(step) for step in range(config.num_steps)]
    assert names == ["prefit", "variational", "variational", "ssim", "ssim"]


@pytest.mark.parametrize(
    ("settings", "least", "why"),
    [
        ({"num_levels": 5}, 33, "5 levels"),
        ({"num_levels": 1}, 3, "1 levels"),
        ({"num_levels": 5, "method": "dip-extreme"}, 35, "extreme-channel window"),
        ({"num_levels": 6, "method": "vdip-extreme"}, 65, "6 levels"),
    ],
)
def test_least_canvas_follows_levels_and_window(settings, least, why):
    got, reason = Config(**settings).least_canvas
    assert got == least
    assert why in reason


BAD = [("method", "vdip"), ("method", 3), ("bright_spread", "true"), ("start", "cold")]
BAD += [
    (name, value)
    for name in ("channels", "skip_channels", "num_levels", "kernel_hidden", "num_samples", "sigma_every")
    for value in (0, -1, 2.0, "8", True, float("nan"))
]
BAD += [
    (name, value)
    for name in ("nonlocal_from", "prefit_steps", "variational_steps", "ssim_steps")
    for value in (-1, 1.5, "8")
]
BAD += [
    (name, value)
    for name in ("lr_image", "lr_kernel", "lr_decay", "sigma_decay")
    for value in (0, -1e-3, float("inf"), float("nan"), "0.1")
]
BAD += [(name, value) for name in ("sigma_t", "kernel_weight") for value in (-1.0, float("nan"))]
BAD += [("lr_milestones", (0,)), ("lr_milestones", (10, 2.5))]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_setting_out_of_range_is_refused(name, value):
    with pytest.raises(Refusal) as caught:
        Config(**{name: value})
    message = str(caught.value)
    assert name in message and "must be" in message and "got " in message
    assert message.endswith(".") and ". " not in message and "\n" not in message


def test_schedule_without_steps_is_refused_but_after_a_classical_start():
    nothing = dict(prefit_steps=0, variational_steps=0, ssim_steps=0)
    with pytest.raises(Refusal, match="number of steps .* at least 1, got 0"):
        Config(**nothing)
    assert Config(**nothing, start="classical").num_steps == 0


@pytest.mark.parametrize(
    ("preset", "settings", "title"),
    [
        ("published", {}, "vdip-sparse"),
        ("cold", {"method": "dip"}, "dip"),
        ("instant", {}, "classical"),
        ("quick", {}, "refined"),
        ("quick", {"variational_steps": 5, "method": "vdip-extreme"}, "refined-vdip-extreme"),
    ],
)
def test_results_from_a_classical_start_are_listed_apart_from_the_six_methods(preset, settings, title):
    assert Config.preset(preset, **settings).title == title


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("quik", {}, ["instant, quick, best, published, cold", "'quik'", "did you mean 'quick'?"]),
        ("quick", {"chanels": 8}, ["'chanels'", "did you mean 'channels'?"]),
        ("quick", {"method": "vdip-sprase"}, ["'vdip-sprase'", "did you mean 'vdip-sparse'?"]),
        ("quick", {"channels": 0}, ["channels", "at least 1", "got 0"]),
    ],
)
def test_unknown_preset_or_setting_is_refused_with_the_nearest(name, overrides, words):
    with pytest.raises(Refusal) as caught:
        Config.preset(name, **overrides)
    assert all(word in str(caught.value) for word in words), str(caught.value)
