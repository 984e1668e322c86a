"""The cost of an update, against the operations in the traced program."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import Config
from vdip_jax.cost import multiply_adds
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
        elif "branches" in equation.params:
            # Of the ways to convolve, the last is the primitive: every operation counted directly.
            total += counted(equation.params["branches"][-1].jaxpr)
        else:
            for parameter in equation.params.values():
                inner = getattr(parameter, "jaxpr", parameter)
                total += counted(inner) if hasattr(inner, "eqns") else 0
    return total


@pytest.mark.parametrize("method", ["vdip-sparse", "dip"])
def test_operations_are_those_of_the_traced_networks(method):
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
