"""The picture of an estimated kernel, as far as the data can be trusted."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from mosaics import mosaic, photo, stroke

from vdip_jax import finishing, nonblind


def test_of_a_doubtful_kernel_the_data_are_trusted_less_where_the_criterion_prefers_it():
    _, y = photo()
    y = jnp.asarray(y)
    for kernel, doubt in ((stroke(), 1), (stroke().T, 3)):
        kernel = jnp.asarray(kernel, jnp.float32)
        for doubtful in (False, True):
            weight = finishing.trust(y, nonblind.PICTURE, doubt if doubtful else 1)
            expected = nonblind.deconvolve(y, kernel, fidelity=weight)
            # By rounding; with the other weight the mean is 6e-4 and more.
            assert np.abs(finishing.finish(y, kernel, doubtful) - expected).mean() < 1e-4


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_of_a_blurred_image_is_measured(noise):
    smooth = scipy.ndimage.gaussian_filter(mosaic((200, 201, 1))[..., 0], 2)
    gray = smooth + noise * np.random.default_rng(0).standard_normal(smooth.shape)
    np.testing.assert_allclose(finishing.noise_level(jnp.asarray(gray)), noise, rtol=0.06)


def test_noisier_images_are_trusted_less():
    images = (jnp.asarray(photo(noise=noise)[1]) for noise in (0.0, 0.05))
    clean, noisy = (finishing.trust(image, nonblind.PICTURE) for image in images)
    assert clean > 5 * noisy > 0


def test_doubt_counts_for_little_where_noise_is_strong():
    for noise, least, most in ((0.0, 0.33, 0.5), (0.05, 0.9, 1)):
        y = jnp.asarray(photo(noise=noise)[1])
        sure, doubtful = (finishing.trust(y, nonblind.PICTURE, doubt) for doubt in (1.0, 3.0))
        assert least < doubtful / sure < most


@pytest.mark.parametrize(
    ("agreement", "share"), [(np.nan, 0), (1, 0), (0.75, 0), (0.7, 0.15), (0.65, 0.3), (0.1, 0.3), (0, 0.3)]
)
def test_the_less_settings_agree_the_more_of_the_photograph_is_left(agreement, share):
    np.testing.assert_allclose(finishing.reserve(agreement), share, atol=1e-6)
