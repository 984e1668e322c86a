"""The networks' normalisation and its written-out gradient against autodiff of the plain formula."""

import jax.numpy as jnp
import numpy as np
import pytest
from probes import assert_same, random, value_and_gradients

from vdip_jax import normalisation
from vdip_jax.normalisation import normalise

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("slope", [1, 0.2])
@pytest.mark.parametrize("many", [0, 10**9], ids=["made anew", "kept"])
def test_value_and_gradient_equal_autodiff_of_the_moments(x64, monkeypatch, slope, many):
    monkeypatch.setattr(normalisation, "_MANY_ENTRIES", many)

    def plain(x, scale, offset):
        mean, variance = x.mean((0, 1)), x.var((0, 1))
        normed = (x - mean) / jnp.sqrt(variance + 1e-5) * scale + offset
        return jnp.where(normed >= 0, normed, slope * normed)

    def written_out(x, scale, offset):
        return normalise(x, scale, offset, slope)

    arguments, probe = (3 + random(5, 6, 4), random(4, seed=1), random(4, seed=2)), random(5, 6, 4, seed=3)
    expected, got = (value_and_gradients(f, probe, *arguments) for f in (plain, written_out))
    assert_same(got, expected)


def test_a_constant_channel_becomes_its_offset():
    x = jnp.full((4, 4, 2), 0.7)
    value, gradients = value_and_gradients(normalise, jnp.ones((4, 4, 2)), x, jnp.ones(2), jnp.ones(2))
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in gradients)
