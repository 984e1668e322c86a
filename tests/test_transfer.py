"""Stored values, light and back."""

import numpy as np
import pytest

from vdip_jax.transfer import spread_as_stored, to_light, to_stored


def test_known_values_of_srgb():
    np.testing.assert_allclose(to_light(np.array([0, 0.5, 1.0]), "srgb"), [0, 0.21404, 1], atol=1e-5)
    np.testing.assert_allclose(to_stored(np.array([0, 0.18, 1.0]), "srgb"), [0, 0.46136, 1], atol=1e-5)


@pytest.mark.parametrize("transfer", ["none", "srgb"])
def test_back_and_forth_is_exact_to_sixteen_bits(transfer):
    stored = (np.arange(65536) / 65535).astype(np.float32)
    back = to_stored(to_light(stored, transfer), transfer)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(np.round(back * 65535), np.arange(65536))


def test_light_grows_with_what_is_stored():
    assert (np.diff(to_light(np.linspace(0, 1, 1000), "srgb")) > 0).all()


def test_spread_is_that_of_what_is_stored():
    light, std = np.array([0.2, 0.6]), np.array([1e-4, 1e-4])
    slope = (to_stored(light + 1e-6, "srgb") - to_stored(light - 1e-6, "srgb")) / 2e-6
    np.testing.assert_allclose(spread_as_stored(light, std, "srgb"), slope * std, rtol=1e-3)
    np.testing.assert_array_equal(spread_as_stored(light, std, "none"), std)
    # Not beyond what can be stored.
    np.testing.assert_allclose(spread_as_stored(np.array([1.0]), np.array([5.0]), "srgb"), 0.5)
