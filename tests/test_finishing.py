"""The picture of an estimated kernel, as far as the data can be trusted."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from mosaics import mosaic, photo, stroke

from vdip_jax import finishing, nonblind
from vdip_jax.datasets import choose, cropped, find_dataset, load_case
from vdip_jax.metrics import score


def test_of_a_doubtful_kernel_the_data_are_trusted_less_where_the_criterion_prefers_it():
    _, y = photo()
    y = jnp.asarray(y)
    for kernel, doubt in ((stroke(), 1), (stroke().T, 3)):
        kernel = jnp.asarray(kernel, jnp.float32)
        expected = nonblind.deconvolve(y, kernel, fidelity=finishing.trust(y, nonblind.PICTURE, doubt))
        # By rounding; with the other weight the mean is 6e-4 and more.
        got = nonblind.deconvolve(y, kernel, fidelity=finishing.fidelity(y, kernel, doubtful=True))
        assert np.abs(got - expected).mean() < 1e-4


# Measured: 2.4, 1.2, 0.5 and 0 dB.
@pytest.mark.parametrize(
    ("name", "low", "high", "gain"),
    [
        ("lai2016/text_02_kernel_01", 2, 4, 1.5),
        ("lai2016/manmade_03_kernel_01", 1.3, 4, 0.7),
        ("levin2009/im3_kernel3_img", 0.5, 0.8, 0.3),
        ("levin2009/im1_kernel1_img", 0.99, 1.01, -0.01),
    ],
)
def test_a_picture_tells_how_far_the_data_are_trusted(data_dir, name, low, high, gain):
    folder, image = name.split("/")
    dataset = find_dataset(data_dir / folder)
    case = cropped(load_case(dataset, choose(dataset, [image])[0]), 180)
    y, kernel = jnp.atleast_3d(jnp.asarray(case.y, jnp.float32)), jnp.asarray(case.kernel, jnp.float32)
    expected, weight = finishing.trust(y, nonblind.PICTURE), finishing.fidelity(y, kernel, known=True)
    assert low < weight / expected < high
    # Of an estimated kernel not as much.
    assert finishing.fidelity(y, kernel) / expected < 1.7
    before, after = (
        score(np.asarray(nonblind.deconvolve(y, kernel, fidelity=w)), np.atleast_3d(case.truth)).psnr
        for w in (expected, weight)
    )
    assert after >= before + gain


def test_strong_noise_is_not_for_the_picture_to_tell():
    y = jnp.asarray(photo(noise=0.05)[1])
    weight, expected = finishing.fidelity(y, jnp.asarray(stroke())), finishing.trust(y, nonblind.PICTURE)
    np.testing.assert_allclose(weight, expected, rtol=0.02)


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
    ("agreement", "error", "share"),
    [
        (np.nan, 0.1, 0),
        (1, 0.1, 0),
        (0.95, 0.1, 0),
        (0.65, 0.1, 1 / 3),
        (0.35, 0.1, 1 / 2),
        (0, 0.1, 1 / 2),
        # Twice the error weighs a fourth.
        (0.35, 0.2, 4 / 5),
        (0.65, 0.05, 1 / 9),
        (0.35, 0, 0),
    ],
)
def test_the_less_is_expected_of_a_picture_the_more_of_the_photograph_is_left(agreement, error, share):
    some = jnp.full((4, 5, 1), error), jnp.full((4, 5, 1), -0.1)
    np.testing.assert_allclose(finishing.reserve(agreement, *some), share, atol=1e-6)


def test_nothing_is_left_of_a_photograph_that_did_not_change():
    assert finishing.reserve(0.3, jnp.zeros((4, 5, 1)), jnp.zeros((4, 5, 1))) == 0
