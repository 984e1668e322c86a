"""Scores against scikit-image and brute force."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vdip_jax import Refusal
from vdip_jax.metrics import CROP, MAX_SHIFT, calibration, error_ratio, kernel_error, psnr, score, ssim

# The smallest scorable height; smooth, so that fractional shifts have something to find.
SHAPE = (41, 44, 3)


def smooth(seed=0, shape=SHAPE):
    noise = np.random.default_rng(seed).random(shape)
    image = scipy.ndimage.gaussian_filter(noise, (1.5, 1.5, 0)[: len(shape)])
    return (image - image.min()) / (image.max() - image.min())


def noisy(image, sigma=0.05):
    return np.clip(image + sigma * np.random.default_rng(9).standard_normal(image.shape), 0, 1)


def crop(image):
    return image[CROP:-CROP, CROP:-CROP]


def skimage_ssim(a, b):
    return structural_similarity(
        a, b, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def test_psnr_equals_scikit_image():
    a, b = smooth(), smooth(1)
    np.testing.assert_allclose(psnr(a, b), peak_signal_noise_ratio(a, b, data_range=1), rtol=1e-12)


@pytest.mark.parametrize("shape", [(41, 44, 3), (11, 11, 1), (12, 30, 1)])
def test_ssim_equals_scikit_image_on_valid_windows(shape):
    a = smooth(0, shape)
    b = noisy(a)
    # Both in float64; scikit-image truncates its window at 3.5 sigma, the same 11 pixels.
    np.testing.assert_allclose(ssim(a, b), skimage_ssim(a, b), rtol=1e-10)


def test_score_is_that_of_the_cropped_images_where_no_shift_helps():
    # Less contrast, no noise: bilinear shifts average noise away, and a fraction would then win.
    truth = smooth()
    estimate = 0.8 * truth + 0.1
    got = score(estimate, truth)
    assert got.shift == (0, 0)
    assert not got.at_border
    np.testing.assert_allclose(got.psnr, peak_signal_noise_ratio(crop(truth), crop(estimate), data_range=1), rtol=1e-12)
    np.testing.assert_allclose(got.ssim, skimage_ssim(crop(truth), crop(estimate)), rtol=1e-10)


@pytest.mark.parametrize("shape", [(41, 41), (41, 44, 1), (41, 44, 3)])
def test_truth_against_itself_is_perfect(shape):
    truth = smooth(0, shape)
    assert score(truth, truth) == (float("inf"), pytest.approx(1, abs=1e-12), (0.0, 0.0), False)


def test_gray_with_and_without_a_channel_axis_score_the_same():
    truth, estimate = smooth(0, (41, 44)), smooth(1, (41, 44))
    assert score(estimate, truth) == score(estimate[..., None], truth[..., None])


def brute_force(estimate, truth):
    """Smallest squared error over all shifts of -10 ... 10 by 0.25, and the shift, pixel by pixel."""
    estimate, truth = (a.reshape(*a.shape[:2], -1) for a in (estimate, truth))
    shifts = np.arange(-MAX_SHIFT * 4, MAX_SHIFT * 4 + 1) / 4
    # One sampling at every quarter pixel that any shift can reach; every fourth of it is then a shifted image.
    margin = CROP - MAX_SHIFT
    grids = [np.arange(margin * 4, (n - 1 - margin) * 4 + 1) / 4 for n in truth.shape[:2]]
    points = np.meshgrid(*grids, indexing="ij")
    planes = [scipy.ndimage.map_coordinates(estimate[..., c], points, order=1) for c in range(estimate.shape[-1])]
    fine, cropped = np.stack(planes, axis=-1), crop(truth)
    errors = np.empty((len(shifts), len(shifts)))
    for i, j in np.ndindex(*errors.shape):
        patch = fine[i::4, j::4][: cropped.shape[0], : cropped.shape[1]]
        errors[i, j] = ((patch - cropped) ** 2).mean()
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    return errors[i, j], (shifts[i], shifts[j])


def moved(truth, down, right):
    return noisy(scipy.ndimage.shift(truth, (down, right, 0), order=1, mode="mirror"), 0.01)


@pytest.mark.parametrize(
    ("down", "right", "at_border"),
    [
        (0, 0, False),
        (3, -7, False),
        (2.25, -0.5, False),
        (-4.75, 9.75, False),
        (10, 0, True),
        (-10, -10, True),
        (2.5, 10, True),
        (-9.75, 3, False),
    ],
)
def test_best_shift_equals_that_of_brute_force(down, right, at_border):
    truth = smooth()
    estimate = moved(truth, down, right)
    error, shift = brute_force(estimate, truth)
    got = score(estimate, truth)
    assert got.shift == shift == (down, right)
    np.testing.assert_allclose(got.psnr, -10 * np.log10(error), rtol=1e-10)
    assert got.at_border == at_border


@pytest.mark.parametrize(("down", "right"), [(0, 10.5), (10.75, 1), (-10.5, 0), (2, -12)])
def test_shift_stays_within_the_range_where_the_estimate_moved_beyond_it(down, right):
    truth = smooth()
    estimate = moved(truth, down, right)
    error, shift = brute_force(estimate, truth)
    got = score(estimate, truth)
    assert got.shift == shift
    assert max(map(abs, got.shift)) == MAX_SHIFT
    assert got.at_border
    np.testing.assert_allclose(got.psnr, -10 * np.log10(error), rtol=1e-10)


@pytest.mark.parametrize("seed", [1, 2])
def test_best_shift_of_unrelated_images_equals_that_of_brute_force(seed):
    truth, estimate = smooth(0, (43, 41, 1)), smooth(seed, (43, 41, 1))
    error, shift = brute_force(estimate, truth)
    got = score(estimate, truth)
    assert got.shift == shift
    np.testing.assert_allclose(got.psnr, -10 * np.log10(error), rtol=1e-10)


@pytest.mark.parametrize("offset", [(0, 0), (2, 3), (-3, 1)])
def test_a_shifted_kernel_has_no_error(offset):
    kernel = np.zeros((11, 13))
    kernel[4:7, 5:8] = np.random.default_rng(0).random((3, 3))
    shifted = np.roll(kernel, offset, axis=(0, 1))
    for scale in (1, 3):
        got = kernel_error(scale * shifted, kernel)
        np.testing.assert_allclose(got, (0, 1, 0), atol=1e-8)


def test_kernel_error_takes_kernels_of_different_sizes():
    kernel = np.random.default_rng(0).random((5, 3))
    padded = np.pad(kernel, ((1, 3), (2, 4)))
    np.testing.assert_allclose(kernel_error(padded, kernel), (0, 1, 0), atol=1e-8)
    np.testing.assert_allclose(kernel_error(kernel, padded), (0, 1, 0), atol=1e-8)


def test_kernel_error_of_crossing_strokes():
    row, column = np.ones((1, 5)), np.ones((5, 1))
    got = kernel_error(row, column)
    # They cross in one entry of five: four entries of 1/5 remain of each, in a frame of 5x5.
    np.testing.assert_allclose(got, (np.sqrt(8 / 25 / 25), 1 / 5, 8 / 25), rtol=1e-12)


def test_kernel_error_of_a_mirrored_stroke():
    stroke = np.array([[1.0, 2.0, 4.0]])
    # At best 4·1 + 2·2 + 1·4 or, shifted by two, 4·4.
    assert kernel_error(stroke[:, ::-1], stroke).ncc == pytest.approx(16 / 21, abs=1e-12)


def test_kernel_error_equals_that_of_a_search_over_all_shifts():
    estimate, truth = (np.random.default_rng(seed).random(shape) for seed, shape in ((0, (5, 7)), (1, (7, 3))))
    estimate, truth = estimate / estimate.sum(), truth / truth.sum()
    fixed = np.pad(truth, 8)
    best = min(
        ((np.pad(estimate, ((i, 23 - 5 - i), (j, 19 - 7 - j))) - fixed) ** 2).sum()
        for i in range(19)
        for j in range(13)
    )
    got = kernel_error(estimate, truth)
    np.testing.assert_allclose((got.ssd, got.rmse), (best, np.sqrt(best / 49)), rtol=1e-10)


def luma(image):
    return (65.481 * image[..., 0] + 128.553 * image[..., 1] + 24.966 * image[..., 2] + 16) / 255


def test_selfdeblur_scores_the_luma_of_colour_images_in_studio_range():
    truth, estimate = smooth(), noisy(smooth())
    got, expected = score(estimate, truth, "selfdeblur"), score(luma(estimate), luma(truth))
    np.testing.assert_allclose(got[:2], expected[:2], rtol=1e-10)
    assert got.shift == expected.shift


def test_selfdeblur_gives_gray_colours_the_studio_range_and_gray_images_none():
    truth = smooth(0, (41, 44))
    estimate = noisy(truth)
    gray = score(estimate, truth)
    assert score(estimate, truth, "selfdeblur") == gray
    rgb = [np.repeat(image[..., None], 3, axis=-1) for image in (estimate, truth)]
    colour = score(*rgb, "selfdeblur")
    assert colour.psnr - gray.psnr == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)
    assert colour.shift == gray.shift


@pytest.mark.parametrize(
    ("side", "factor"), [(255 + 30, 1), (384 + 30, 2), (500 + 30, 2), (700 + 30, 3), (937 + 30, 4)]
)
def test_selfdeblur_shrinks_for_ssim_as_matlab_does(side, factor):
    truth = smooth(0, (side, side + 9))
    estimate = 0.8 * truth + 0.2 * smooth(1, truth.shape)
    # No shift is found for this estimate, so the expected SSIM is that of the cropped, box-filtered images.
    assert score(estimate, truth).shift == (0, 0)
    # imfilter(image, ones(f)/f^2, 'symmetric', 'same') by its definition: the box begins floor((f-1)/2) before.
    before = (factor - 1) // 2
    shrunk = []
    for image in (estimate, truth):
        padded = np.pad(crop(image), ((before, factor), (before, factor)), mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (factor, factor)).mean((2, 3))
        shrunk.append(windows[: side - 30 : factor, : side - 21 : factor, None])
    assert score(estimate, truth, "selfdeblur").ssim == pytest.approx(skimage_ssim(*shrunk), abs=1e-10)


def test_error_ratio_is_that_of_the_squared_errors():
    truth = smooth()
    estimate, reference = 0.8 * truth + 0.1, 0.9 * truth + 0.05
    # Deviations of 0.2 and 0.1 of the same picture.
    assert error_ratio(score(estimate, truth), score(reference, truth)) == pytest.approx(4, rel=1e-9)


def test_calibration_of_errors_drawn_from_the_foretold_spread():
    generator = np.random.default_rng(0)
    truth = smooth(0, (141, 144))
    std = generator.uniform(0.01, 0.1, truth.shape)
    estimate = truth + std * generator.standard_normal(truth.shape)
    got = calibration(estimate, std, truth)
    np.testing.assert_allclose(got.within, (0.6827, 0.9545, 0.9973), atol=0.01)
    spread, error = (crop(image).ravel() for image in (std, np.abs(estimate - truth)))
    assert got.rank_correlation == pytest.approx(scipy.stats.spearmanr(spread, error)[0], abs=1e-12)
    assert 0.3 < got.rank_correlation < 0.8


def test_calibration_follows_the_shift():
    truth = smooth(0, (60, 60))
    estimate = np.roll(truth, (3, -2), axis=(0, 1))
    std = np.roll(np.full(truth.shape, 1e-9), (3, -2), axis=(0, 1))
    assert calibration(estimate, std, truth, (3.0, -2.0)).within == (1, 1, 1)
    assert calibration(estimate, std, truth).within[2] < 0.1


def test_calibration_of_a_constant_spread_has_no_rank():
    truth = smooth(0, (60, 60))
    assert np.isnan(calibration(noisy(truth), np.full(truth.shape, 0.1), truth).rank_correlation)


def test_unknown_protocol_is_refused():
    with pytest.raises(Refusal, match="rgb, selfdeblur, got 'rbg'"):
        score(smooth(), smooth(), "rbg")


def test_images_of_two_shapes_are_refused():
    with pytest.raises(Refusal, match=r"one shape, got \(41, 44, 3\) and \(41, 44\)"):
        score(smooth(), smooth()[..., 0])


@pytest.mark.parametrize("shape", [(40, 44), (44, 40, 3)])
def test_image_too_small_to_crop_is_refused(shape):
    with pytest.raises(Refusal, match=f"at least 41 pixels a side, got {shape[0]}x{shape[1]}"):
        score(np.zeros(shape), np.zeros(shape))
