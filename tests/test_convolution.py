"""Every way to convolve against the primitive."""

import functools

import jax
import numpy as np
import pytest

from vdip_jax import convolution

# Differences of one formula's two ways to compute it, float64 and numbers of order 1 to 100.
ROUNDING = 1e-12


pytestmark = pytest.mark.usefixtures("quick_compilation")


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def value_and_gradients(function, x, weight):
    """The value, and the gradients of its inner product with a random image."""

    @jax.jit
    def run(x, weight):
        value, pull = jax.vjp(function, x, weight)
        return value, pull(random(*value.shape, seed=2).astype(value.dtype))

    return run(x, weight)


def assert_same(first, second, relative):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * max(1, np.abs(b).max()))


def plainly(stride):
    return functools.partial(convolution.convolve_plainly, stride=stride)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(8, 10), (9, 7), (3, 4)])
def test_convolution_by_rows_equals_the_primitive(x64, shape, stride):
    x, weight = random(*shape, 3), random(3, 3, 3, 4, seed=1)
    expected = value_and_gradients(plainly(stride), x, weight)
    by_rows = functools.partial(convolution.convolve_by_rows, stride=stride)
    assert_same(value_and_gradients(by_rows, x, weight), expected, ROUNDING)
    chosen = functools.partial(convolution.convolve, stride=stride)
    assert_same(value_and_gradients(chosen, x, weight), expected, ROUNDING)


@pytest.mark.parametrize("shape", [(8, 10), (9, 7), (8, 5), (3, 4), (3, 3)])
def test_minimal_filtering_equals_the_primitive(x64, shape):
    x, weight = random(*shape, 3), random(3, 3, 3, 4, seed=1)
    expected = value_and_gradients(plainly(1), x, weight)
    assert_same(value_and_gradients(convolution.convolve_minimally, x, weight), expected, ROUNDING)


def test_minimal_filtering_of_a_batch_equals_its_images(x64):
    x, weight = random(2, 7, 8, 3), random(2, 3, 3, 3, 4, seed=1)
    together = jax.jit(jax.vmap(convolution.convolve_minimally))(x, weight)
    alone = [convolution.convolve_plainly(*one, 1) for one in zip(x, weight, strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=0, atol=ROUNDING * np.abs(together).max())


def test_minimal_filtering_rounds_like_the_primitive_in_float32():
    """Both against float64, at the depth of the published network: no more than twice the error."""
    x, weight = random(22, 25, 144), random(3, 3, 144, 128, seed=1)
    with jax.enable_x64(True):
        exact = jax.tree.map(np.asarray, value_and_gradients(plainly(1), x, weight))
    rounded = x.astype(np.float32), weight.astype(np.float32)
    for parts in zip(
        jax.tree.leaves(exact),
        jax.tree.leaves(value_and_gradients(plainly(1), *rounded)),
        jax.tree.leaves(value_and_gradients(convolution.convolve_minimally, *rounded)),
        strict=True,
    ):
        truth, plain, minimal = (np.asarray(part, float) for part in parts)
        assert np.sqrt(((minimal - truth) ** 2).mean()) < 2 * np.sqrt(((plain - truth) ** 2).mean())


@pytest.mark.parametrize(
    ("shape", "weight", "stride", "minimal"),
    [
        ((47, 47, 64), (3, 3, 64, 64), 1, True),
        ((46, 46, 64), (3, 3, 64, 64), 1, False),
        ((60, 60, 63), (3, 3, 63, 64), 1, False),
        ((60, 60, 64), (3, 3, 64, 64), 2, False),
    ],
)
def test_minimal_filtering_is_for_large_images_of_many_channels_on_a_cpu(monkeypatch, shape, weight, stride, minimal):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    run = jax.jit(functools.partial(convolution.convolve, stride=stride))
    text = run.lower(np.zeros(shape), np.zeros(weight)).as_text()
    products = text.count("stablehlo.dot_general")
    assert products > 15 if minimal else products < 15


@pytest.mark.parametrize("stride", [1, 2])
def test_one_by_one_equals_the_primitive_alone_and_in_a_batch(x64, stride):
    x, weight = random(3, 9, 10, 3), random(3, 3, 3, 3, 4, seed=1)
    function = functools.partial(convolution.convolve_one_by_one, stride=stride)
    expected = [value_and_gradients(plainly(stride), *one) for one in zip(x, weight, strict=True)]
    assert_same(value_and_gradients(function, x[0], weight[0]), expected[0], ROUNDING)
    probe = random(*expected[0][0].shape, seed=2)

    def with_gradients(x, weight):
        value, pull = jax.vjp(function, x, weight)
        return value, pull(probe)

    together = jax.jit(jax.vmap(with_gradients))(x, weight)
    assert_same(together, jax.tree.map(lambda *parts: np.stack(parts), *expected), ROUNDING)
    shared = jax.jit(jax.vmap(with_gradients, (0, None)))(x, weight[0])
    alone = [value_and_gradients(plainly(stride), one, weight[0]) for one in x]
    assert_same(shared, jax.tree.map(lambda *parts: np.stack(parts), *alone), ROUNDING)


def test_a_batch_is_no_grouped_convolution_on_a_gpu(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def gradients(x, weight):
        return jax.grad(lambda *both: convolution.convolve(*both, 1).sum(), (0, 1))(x, weight)

    traced = jax.jit(jax.vmap(gradients)).trace(np.zeros((3, 9, 10, 3)), np.zeros((3, 3, 3, 3, 4)))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) >= 6
    assert all("batch_group_count = 1 " in line and "feature_group_count = 1 " in line for line in convolutions)
