"""What an evaluation tells of a picture."""

import numpy as np
import pytest
import scipy.ndimage

from vdip_jax import Refusal
from vdip_jax.datasets import Case
from vdip_jax.metrics import score
from vdip_jax.scoring import Picture, assess, reference_image


def smooth(shape, seed=0):
    image = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), (1, 1, 0)[: len(shape)])
    image = (image - image.min()) / np.ptp(image)
    return (np.round(image * 255) / 255).astype(np.float32)


KERNEL = np.full((1, 5), 1 / 5)


def case(shape=(48, 52), **more):
    truth = smooth(shape)
    return Case(scipy.ndimage.uniform_filter1d(truth, 5, axis=1), truth, KERNEL, **more)


def test_the_truth_is_perfect_by_both_protocols():
    known = case()
    scores = assess(known, Picture(known.truth, None, KERNEL))
    for protocol in ("rgb", "selfdeblur"):
        assert scores["restored"][protocol]["psnr"] == np.inf
        assert scores["restored"][protocol]["ssim"] == pytest.approx(1)
        assert scores["blurred"][protocol]["psnr"] < 40
    assert scores["kernel_error"]["ncc"] == pytest.approx(1)
    assert scores["error_ratio"]["ratio"] == 0
    assert "calibration" not in scores and "range_corrected" not in scores


def test_pictures_are_scored_as_eight_bits_hold_them():
    known = case((48, 52, 3))
    image = np.clip(known.truth + 0.3 / 255, 0, 1)
    assert assess(known, Picture(image))["restored"]["rgb"]["psnr"] == np.inf


def test_the_error_ratio_compares_with_the_non_blind_result():
    known = case()
    reference = score(reference_image(known), known.truth)
    scores = assess(known, Picture(known.y))
    expected = 10 ** ((reference.psnr - scores["restored"]["rgb"]["psnr"]) / 10)
    assert scores["error_ratio"]["ratio"] == pytest.approx(expected, rel=0.02)
    assert scores["error_ratio"]["psnr"] == pytest.approx(reference.psnr)
    assert "true kernel" in scores["error_ratio"]["reference"]


def test_colour_images_have_no_error_ratio():
    known = case((48, 52, 3))
    assert "error_ratio" not in assess(known, Picture(known.y))


def test_calibration_needs_a_spread():
    known = case()
    wide = assess(known, Picture(known.y, np.full(known.y.shape, 0.9)))
    assert wide["calibration"]["within"] == (1, 1, 1)
    assert "calibration" not in assess(known, Picture(known.y, np.zeros(known.y.shape)))


def test_a_stretched_truth_is_scored_beside():
    known = case(stretched=np.clip(1.9 * case().truth - 0.1, 0, 1))
    scores = assess(known, Picture(known.stretched))
    assert scores["range_corrected"]["restored"]["rgb"]["psnr"] > 50
    assert scores["restored"]["rgb"]["psnr"] < 20
    assert scores["range_corrected"]["blurred"]["rgb"]["psnr"] < 30


def test_without_truth_and_kernel_only_no_reference_measures_remain():
    scores = assess(Case(smooth((100, 100)), None, None), Picture(smooth((100, 100), 1), None, KERNEL))
    assert list(scores) == ["no_reference"]
    assert scores["no_reference"]["piqe"] > 0 and scores["no_reference"]["niqe"] > 0


def test_measures_that_an_image_gives_none_of_are_none():
    blank = np.full((100, 100), 0.5, np.float32)
    assert assess(Case(blank, None, None), Picture(blank))["no_reference"]["niqe"] is None
    small = smooth((48, 52))
    assert assess(Case(small, None, None), Picture(small))["no_reference"]["niqe"] is None


def test_a_gray_image_may_come_in_three_equal_channels():
    known = case()
    coloured = np.repeat(known.truth[..., None], 3, axis=-1)
    assert assess(known, Picture(coloured))["restored"]["rgb"]["psnr"] == np.inf
    coloured[0, 0, 0] = 1 - coloured[0, 0, 0]
    with pytest.raises(Refusal, match="48x52 .*, got 48x52x3"):
        assess(known, Picture(coloured))


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(Refusal, match="expected a picture of 48x52 .*, got 48x53"):
        assess(case(), Picture(np.zeros((48, 53))))
