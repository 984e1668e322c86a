"""Reduced precision in the image's network, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core
from jax.lax import Precision

from vdip_jax import Config, convolution, programs, solver
from vdip_jax.generators import ImageGenerator, generate, initial_parameters, parameter_vector
from vdip_jax.normalisation import normalise

SMALL = dict(
    channels=8,
    skip_channels=4,
    num_levels=2,
    nonlocal_from=1,
    kernel_hidden=16,
    prefit_steps=1,
    variational_steps=1,
    ssim_steps=1,
)
# Half the distance between neighbouring numbers of bfloat16, relative.
BFLOAT16 = 2.0**-8
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_error(x, exact):
    return float(np.linalg.norm(np.asarray(x, float) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("size", [1, 3])
def test_convolution_in_half_precision_rounds_its_result_alone(size):
    x, weight = jnp.asarray(random(9, 8, 16), jnp.bfloat16), jnp.asarray(random(size, size, 16, 4), jnp.bfloat16)
    result = convolution.convolve(x, weight, 1)
    assert result.dtype == jnp.bfloat16
    exact = convolution.convolve_plainly(x.astype(jnp.float32), weight.astype(jnp.float32), 1)
    np.testing.assert_allclose(np.asarray(result, np.float32), exact, rtol=BFLOAT16, atol=1e-5)


def test_norm_in_half_precision_has_moments_of_float32():
    # In bfloat16 a mean over 4,096 pixels of 8 with a deviation of 0.1 would be lost.
    x = jnp.asarray(8 + 0.1 * random(64, 64, 3), jnp.bfloat16)
    scale, offset = jnp.ones(3), jnp.zeros(3)
    result, pull = jax.vjp(normalise, x, scale, offset)
    exact, pull_exactly = jax.vjp(normalise, x.astype(jnp.float32), scale, offset)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(result, np.float32), exact, rtol=BFLOAT16, atol=1e-5)
    probe = jnp.asarray(random(64, 64, 3, seed=1), jnp.bfloat16)
    gradients, exactly = pull(probe), pull_exactly(probe.astype(jnp.float32))
    assert [part.dtype for part in gradients] == [jnp.bfloat16, jnp.float32, jnp.float32]
    for part, exact in zip(gradients, exactly, strict=True):
        assert relative_error(part, exact) < 2 * BFLOAT16


def test_network_in_half_precision_has_float32_parameters_and_logits_near_those_of_float32():
    z = jnp.asarray(np.random.default_rng(0).random((24, 21, 3)) / 10, jnp.float32)
    size = {name: SMALL[name] for name in ("channels", "skip_channels", "num_levels", "nonlocal_from")}
    single, half = (ImageGenerator(features=2, **size, dtype=dtype) for dtype in (None, jnp.bfloat16))
    draw = jax.jit(initial_parameters, static_argnums=0)
    parameters = draw(single, KEY, z)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype(jnp.float32)}
    jax.tree.map(np.testing.assert_array_equal, draw(half, KEY, z), parameters)

    def value_and_gradient(generator):
        @jax.jit
        def run(parameters):
            value, pull = jax.vjp(lambda p: generate(generator, p, z), parameters)
            return value, parameter_vector(pull(jnp.asarray(random(*value.shape, seed=1)))[0])

        return run(parameters)

    (value, gradient), (exact, exact_gradient) = value_and_gradient(half), value_and_gradient(single)
    assert value.dtype == gradient.dtype == jnp.float32
    # Without a difference nothing would have been rounded.
    assert BFLOAT16 / 4 < relative_error(value, exact) < 6 * BFLOAT16
    # A probe of noise is the worst case: where an activation is near zero, rounding changes its slope.
    assert relative_error(gradient, exact_gradient) < 0.2


def products(config, colors=3, kernel=None):
    """Precision and type of every matrix product and convolution in a step, gradients included."""
    size = (3, 3)
    begun = jax.eval_shape(lambda y: programs.begin(y, KEY, kernel, None, size, config, 0), jnp.zeros((20, 20, colors)))
    found = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                found.add((equation.params["precision"][0], equation.invars[0].aval.dtype.name))
            inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: isinstance(p, core.ClosedJaxpr))
            for closed in inner:
                if isinstance(closed, core.ClosedJaxpr):
                    walk(closed.jaxpr)

    walk(jax.make_jaxpr(lambda p, s: programs.updates(p, s, 0, 1, config, 0))(*begun).jaxpr)
    assert found
    return found


KNOWN = np.full((3, 3), 1 / 9, np.float32)
FLOAT32, TENSORFLOAT32 = (Precision.HIGHEST, "float32"), (Precision.HIGH, "float32")


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_products_have_the_precision_asked_for_in_the_image_network_and_float32_elsewhere(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert products(Config(precision="float32", **SMALL)) == {FLOAT32}
    # With one colour and a known kernel there is nothing but the image's network that multiplies matrices.
    assert products(Config(precision="tensorfloat32", **SMALL), 1, KNOWN) == {TENSORFLOAT32}
    assert products(Config(precision="tensorfloat32", **SMALL)) == {FLOAT32, TENSORFLOAT32}
    # On CPUs products of bfloat16 are made in float32; how they are is not asked.
    half = products(Config(precision="bfloat16", **SMALL))
    assert {"bfloat16", "float32"} == {dtype for _, dtype in half}
    assert FLOAT32 in half and TENSORFLOAT32 not in half


def test_run_in_half_precision_returns_float32():
    y = jnp.asarray(np.random.default_rng(0).random((20, 20)), jnp.float32)
    single, half = (
        solver.solve(y, KEY, kernel_size=3, config=Config(precision=precision, **SMALL), chunk_steps=3)
        for precision in ("float32", "bfloat16")
    )
    assert half.ok and {leaf.dtype.name for leaf in (half.image, half.std, half.kernel)} == {"float32"}
    assert 0 < relative_error(half.image, np.asarray(single.image, float)) < 0.1
