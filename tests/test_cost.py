"""The cost of an update, against the operations in the traced program."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import Config, programs, search
from vdip_jax.cost import largest_side, memory, multiply_adds
from vdip_jax.steps import estimate, pose, start


def counted(jaxpr):
    """Multiply-adds of matrix products and convolutions in a traced program."""
    total = 0
    for equation in jaxpr.eqns:
        shapes = [variable.aval.shape for variable in equation.invars]
        entries = math.prod(equation.outvars[0].aval.shape)
        name = equation.primitive.name
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += entries * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            # A window [h, w, I, O]: each entry of the output takes h w I.
            total += entries * math.prod(shapes[1][:-1])
        else:
            for parameter in equation.params.values():
                inner = getattr(parameter, "jaxpr", parameter)
                total += counted(inner) if hasattr(inner, "eqns") else 0
    return total


@pytest.mark.parametrize("method", ["vdip-sparse", "dip"])
def test_operations_are_those_of_the_traced_networks(monkeypatch, method):
    # There convolutions are those of the primitive, every operation counted directly.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = Config(method=method, channels=12, skip_channels=4, num_levels=3, nonlocal_from=1, kernel_hidden=20)
    y = jnp.zeros((35, 40, 3))
    key = jax.random.key(0)
    problem = pose(y, key, (5, 7), None)
    params = jax.eval_shape(lambda: start(problem, key, config)).params
    forward = counted(jax.make_jaxpr(lambda params: estimate(problem, params, config))(params).jaxpr)
    first = 39 * 46 * 3 * 4 + 20 * 23 * 9 * 3 * 12 + 200 * 20
    assert multiply_adds((39, 46), (5, 7), config, 3) == 3 * forward - first


def test_published_network_costs_what_was_counted_before():
    """About 47 and 77 GFLOP at 128x128 with kernels of 31 and 75; that count holds some 2 % of other operations too."""
    for kernel, gflop in ((31, 47), (75, 77)):
        canvas = (127 + kernel, 127 + kernel)
        count = 2e-9 * multiply_adds(canvas, (kernel, kernel), Config(), 3)
        np.testing.assert_allclose(count, gflop, rtol=0.025)


def test_memory_is_what_the_compiler_plans(quick_compilation):
    """For the small network, whose program compiles soon; within a tenth."""
    config, size, kernel = Config.preset("cold"), (150, 170), (31, 31)
    begin = jax.jit(lambda y, key: programs.begin(y, key, None, None, kernel_size=kernel, config=config, shards=0))
    problem, state = jax.eval_shape(begin, jnp.zeros((*size, 3)), jax.random.key(0))
    plan = programs.advance.lower(problem, state, 0, 1, config=config, shards=0).compile().memory_analysis()
    planned = plan.temp_size_in_bytes + plan.argument_size_in_bytes
    np.testing.assert_allclose(memory(size, kernel, config, 3), planned, rtol=0.1)


@pytest.mark.parametrize(
    ("size", "kernel", "megabytes"), [((256, 256), 31, 616.5), ((1024, 680), 75, 5238.0)], ids=["small", "large"]
)
def test_memory_on_a_gpu_is_what_runs_took(monkeypatch, size, kernel, megabytes):
    """Peaks of the published network on an H100 (ledger 2026-11-26-bench-h100-first)."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(memory(size, (kernel, kernel), Config(), 3) / 1e6, megabytes, rtol=0.1)


def test_memory_of_a_classical_estimate_is_what_the_compiler_plans_for_two_searches(quick_compilation):
    """At the finest scale, four trials each; of a gray image, whose finish takes less. Within a tenth."""
    size, kernel = (200, 220), (31, 31)
    trials = search.Trial(*(jnp.ones(4) for _ in search.Trial._fields))
    program = search._scale.lower(jnp.zeros(size), jnp.zeros((4, *kernel)), trials, 0, size, 4, (0, 1))
    plan = program.compile().memory_analysis()
    planned = 2 * (plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes)
    np.testing.assert_allclose(memory(size, kernel, Config.preset("instant"), 1), planned, rtol=0.1)


def test_memory_of_a_classical_estimate_alone_needs_no_network():
    instant, quick = Config.preset("instant"), Config.preset("quick")
    assert 0 < 5 * memory((300, 400), (31, 31), instant, 3) < memory((300, 400), (31, 31), quick, 3)


def test_largest_side_fits_and_a_larger_one_does_not():
    config, limit = Config(), 10**9
    side = largest_side((300, 400), (31, 31), config, 3, limit)
    assert memory((side * 3 // 4, side), (31, 31), config, 3) <= limit
    # Tried in steps of a 64th.
    assert memory(((side + 7) * 3 // 4, side + 7), (31, 31), config, 3) > limit
    assert largest_side((300, 400), (31, 31), config, 3, 10**12) == 400
    assert largest_side((300, 400), (31, 31), config, 3, 1000) == 0
