"""Two ways to compute one thing, and their gradients, compared."""

import jax
import numpy as np

# Differences of one formula's two ways to compute it, float64 and numbers of order 1 to 100.
ROUNDING = 1e-12


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def value_and_gradients(function, probe, *arguments):
    """The value, and the gradients of its inner product with `probe`."""

    @jax.jit
    def run(*arguments):
        value, pull = jax.vjp(function, *arguments)
        return value, pull(probe)

    return run(*arguments)


def assert_same(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * max(1, np.abs(b).max()))
