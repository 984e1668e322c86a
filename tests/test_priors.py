"""Closed forms of the priors against Monte Carlo estimates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax.config import EXTREME_WINDOW
from vdip_jax.priors import expected_squared_difference, extreme_penalty, kernel_penalty, sparse_penalty

NUM_DRAWS = 100_000
RNG_SEED = 3
# One window: what the extreme prior sees is then one pixel, chosen by the minimum.
CANVAS = (EXTREME_WINDOW, EXTREME_WINDOW, 1)


def moments(shape, seed=0):
    draws = np.random.default_rng(seed)
    return draws.random(shape).astype(np.float32), (0.05 + 0.3 * draws.random(shape)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
def test_closed_form_of_the_squared_difference_equals_its_monte_carlo_mean(axis):
    mean, std = moments((4, 5, 1))
    draws = mean + std * np.random.default_rng(RNG_SEED).standard_normal((NUM_DRAWS, *mean.shape))
    squared = np.diff(draws, axis=axis + 1) ** 2
    standard_error = squared.std(axis=0) / np.sqrt(NUM_DRAWS)
    got = expected_squared_difference(jnp.asarray(mean), jnp.asarray(std), axis)
    # Some 16 comparisons: beyond 4 standard errors by chance once in a thousand seeds, and the seed is fixed.
    assert (np.abs(got - squared.mean(axis=0)) < 4 * standard_error).all()


def test_sparse_penalty_is_the_weighted_sum_of_both_directions():
    mean, std = (a.astype(float) for a in moments((6, 5, 3)))
    total = 0.0
    for axis in (0, 1):
        ahead, here = (0, slice(1, None)), (0, slice(None, -1))
        after, before = (tuple(s if a == axis else slice(None) for a in (0, 1)) for s in (ahead[1], here[1]))
        power = (mean[after] - mean[before]) ** 2 + std[after] ** 2 + std[before] ** 2
        total += (power / (power + 1e-6)).sum()
    expected = total / 4 / (5 * 4 * 3)
    got = jax.jit(sparse_penalty)(*moments((6, 5, 3)))
    # float32 sums of 135 numbers near 1.
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_weights_of_the_sparse_penalty_carry_no_gradient():
    mean, std = moments((6, 5, 3))
    scale = 4 * 5 * 4 * 3
    weights = [1 / (expected_squared_difference(mean, std, axis) + 1e-6) for axis in (0, 1)]

    def with_constants(mean, std):
        return sum((w * expected_squared_difference(mean, std, axis)).sum() for axis, w in enumerate(weights)) / scale

    got = jax.jit(jax.grad(sparse_penalty, argnums=(0, 1)))(mean, std)
    expected = jax.jit(jax.grad(with_constants, argnums=(0, 1)))(mean, std)
    for a, b in zip(got, expected, strict=True):
        # The same float32 operations in another order; gradients are of order 0.1.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        assert np.abs(a).max() > 1e-2


@pytest.fixture(scope="module")
def extreme():
    """Value and gradients of the penalty of a uniform canvas by mean, std and both draws, under each spread."""

    def of(mean, std, dark, bright, spread):
        return extreme_penalty(jnp.full(CANVAS, mean), jnp.full(CANVAS, std), dark, bright, spread)

    compiled = jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2, 3)), static_argnums=4)

    def run(mean, std, spread):
        return compiled(mean, std, jnp.zeros(CANVAS), jnp.zeros(CANVAS), spread)

    return run


def spread_of(gradient, power):
    """The spread that multiplies the draws: d penalty / d draw = spread / power / 4, over all ties."""
    return 4 * power * float(gradient.sum())


def monte_carlo_spread(value, std):
    """Standard deviation of the square of a Gaussian, and its standard error."""
    squares = (value + std * np.random.default_rng(RNG_SEED).standard_normal(1_000_000)) ** 2
    centred = (squares - squares.mean()) ** 2
    spread = np.sqrt(centred.mean())
    return spread, centred.std() / 1000 / (2 * spread)


@pytest.mark.parametrize(("mean", "std"), [(0.2, 0.1), (0.7, 0.3), (0.5, 0.02)])
def test_exact_spread_is_the_monte_carlo_spread_of_dark_and_bright_channel(extreme, mean, std):
    _, gradients = extreme(mean, std, "exact")
    for value, gradient in ((mean, gradients[2]), (1 - mean, gradients[3])):
        expected, error = monte_carlo_spread(value, std)
        assert abs(spread_of(gradient, value**2 + std**2) - expected) < 4 * error


@pytest.mark.parametrize(("mean", "std"), [(0.2, 0.1), (0.7, 0.3), (0.5, 0.02)])
def test_released_spread_lacks_the_cross_term_in_the_bright_channel_only(extreme, mean, std):
    (_, exact), (_, released) = extreme(mean, std, "exact"), extreme(mean, std, "released")
    np.testing.assert_array_equal(released[2], exact[2])
    power = (1 - mean) ** 2 + std**2
    # (1 - x)^2 has 4 S^2 (1 - E)^2; the release has 4 S^2 (1 + E^2).
    got = spread_of(released[3], power) ** 2 - spread_of(exact[3], power) ** 2
    np.testing.assert_allclose(got, 8 * mean * std**2, rtol=1e-4)


def test_extreme_penalty_counts_half_for_every_pair_of_positive_minima():
    # p/p is 1 in every window of both channels: (1 + 1) / 4, whatever the values.
    mean, std = moments((37, 36, 3))
    noise = np.zeros_like(mean)
    np.testing.assert_allclose(jax.jit(extreme_penalty, static_argnums=4)(mean, std, noise, noise, "exact"), 0.5)


def test_gradient_of_the_extreme_penalty_goes_to_the_extreme_pixels_with_constant_weights():
    mean = np.full(CANVAS[:2] + (3,), 0.5, np.float32)
    mean[3, 4, 1], mean[20, 30, 2] = 0.1, 0.8
    std = np.full_like(mean, 0.01)
    noise = np.zeros_like(mean)
    gradient = jax.jit(jax.grad(extreme_penalty), static_argnums=4)(mean, std, noise, noise, "exact")
    expected = np.zeros_like(mean)
    # d(u^2 + S^2) / (u^2 + S^2) / 4 with the denominator held; u is E where dark, 1 - E where bright.
    expected[3, 4, 1] = 2 * 0.1 / (0.1**2 + 0.01**2) / 4
    expected[20, 30, 2] = -2 * 0.2 / (0.2**2 + 0.01**2) / 4
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_priors_are_finite_where_q_is_a_point(extreme, value):
    for spread in ("released", "exact"):
        penalty, gradients = extreme(value, 0.0, spread)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((penalty, gradients)))
    flat, zeros = jnp.full((6, 5, 3), value), jnp.zeros((6, 5, 3))
    penalty, gradients = jax.jit(jax.value_and_grad(sparse_penalty, argnums=(0, 1)))(flat, zeros)
    assert penalty == 0
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_kernel_penalty_is_half_the_sum_of_squares():
    kernel = np.array([[0.5, 0.25], [0.25, 0.0]], np.float32)
    assert kernel_penalty(kernel) == pytest.approx(0.1875)
