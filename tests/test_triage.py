"""What a photograph is before any work: blank, noise, sharp or blurred."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
from mosaics import mosaic

from vdip_jax import Refusal
from vdip_jax.photographs import read_image
from vdip_jax.samples import shake_kernel
from vdip_jax.triage import SHARP_WIDTH, Finding, edge_width, examine, gray, nearly_sharp, refuse_hopeless, why_left


def noise(size, level, smooth=0.0, seed=0):
    field = np.random.default_rng(seed).normal(0, 1, size)
    field = scipy.ndimage.gaussian_filter(field, smooth) if smooth else field
    return (0.5 + level * field / field.std()).clip(0, 1).astype(np.float32)


def blurred(pixels, kernel):
    kernel = kernel.reshape(*kernel.shape, *(1,) * (pixels.ndim - 2))
    return scipy.ndimage.convolve(pixels, kernel.astype(np.float32), mode="nearest")


CASES = {
    "constant": (np.full((100, 120), 0.4, np.float32), "blank"),
    "even shading": (np.tile(np.linspace(0.2, 0.8, 300, dtype=np.float32), (200, 1)), "blank"),
    "rounding": (np.round(np.tile(np.linspace(0.4, 0.41, 300), (200, 1)) * 255) / 255, "blank"),
    "white noise": (noise((256, 256), 0.1), "noise"),
    "strong noise, clipped": (noise((256, 256), 0.6), "noise"),
    "colour noise": (np.stack([noise((256, 256), 0.1, seed=i) for i in range(3)], -1), "noise"),
    "smoothed noise": (noise((256, 256), 0.1, smooth=0.7), "noise"),
    "sharp patches": (mosaic((400, 380, 1))[..., 0], "sharp"),
    "blurred patches": (blurred(mosaic((400, 380, 1))[..., 0], np.ones((5, 5)) / 25), "blurred"),
    "moved to the right": (blurred(mosaic((400, 380, 1))[..., 0], np.ones((1, 7)) / 7), "blurred"),
    "too small to tell": (mosaic((40, 44, 1))[..., 0], "blurred"),
}


@pytest.mark.parametrize("case", CASES)
def test_kinds(case):
    pixels, kind = CASES[case]
    assert examine(pixels.astype(np.float32)).kind == kind


@pytest.mark.parametrize("name", ["camera", "rocket"])
def test_photographs_are_sharp_until_they_are_blurred(name):
    pixels = getattr(skimage.data, name)().astype(np.float32) / 255
    assert examine(pixels).kind == "sharp"
    for kernel in (shake_kernel(7, seed=1), np.ones((1, 5)) / 5, np.eye(9) / 9):
        assert examine(blurred(pixels, kernel)).kind == "blurred"


@pytest.mark.parametrize("name", ["im1_kernel5", "im2_kernel1", "im3_kernel7", "im4_kernel4"])
def test_no_captured_blur_is_taken_for_sharp(levin, name):
    finding = examine(levin(name))
    assert finding.kind == "blurred" and finding.edge_width > SHARP_WIDTH


def test_no_synthetic_blur_is_taken_for_sharp_and_some_truths_are(data_dir):
    folder = data_dir / "lai2016"
    for name in ("manmade_01_kernel_01", "people_02_kernel_02", "text_01_kernel_03", "saturated_02_kernel_01"):
        assert examine(read_image(folder / "blurred" / f"{name}.png").pixels).kind == "blurred"
    truths = [examine(read_image(path).pixels).kind for path in sorted((folder / "ground_truth").glob("*.png"))][::2]
    assert truths.count("sharp") >= 2 and set(truths) <= {"sharp", "blurred"}


def test_edges_widen_with_blur():
    pixels = mosaic((300, 300, 1))[..., 0]
    widths = [edge_width(scipy.ndimage.gaussian_filter(pixels, sigma)) for sigma in (0.5, 1, 1.5)]
    assert widths[0] < widths[1] < widths[2]


def test_clipped_pixels_and_noise_are_told():
    pixels = (0.2 + 0.6 * mosaic((200, 200, 3))).astype(np.float32)
    pixels[:50] = 1
    finding = examine(pixels + np.where(pixels < 1, noise(pixels.shape, 0.02) - 0.5, 0).astype(np.float32))
    assert 0.2 < finding.clipped < 0.35
    assert 0.005 < finding.noise < 0.03


def test_only_the_hopeless_are_refused():
    for case, word in (("constant", "blank"), ("white noise", "noise")):
        with pytest.raises(Refusal, match=word):
            refuse_hopeless(examine(CASES[case][0]))
    for case in ("sharp patches", "blurred patches", "too small to tell"):
        refuse_hopeless(examine(CASES[case][0]))


def test_gray_is_luma():
    np.testing.assert_allclose(gray(np.ones((2, 3, 3))), np.ones((2, 3)), rtol=1e-6)
    assert gray(np.ones((2, 3))).shape == (2, 3)


@pytest.mark.parametrize(("width", "steep"), [(2.9, True), (4.3, True), (4.5, False), (np.inf, False)])
def test_edges_tell_where_there_can_be_little_blur(width, steep):
    assert nearly_sharp(Finding("blurred", width, 0.0, 0.01)) == steep


def shaken(rows, columns):
    """A kernel [5, 5] whose rows and columns sum to these."""
    return np.outer(rows, columns).astype(np.float32)


POINT, LINE = (0, 0.2, 0.6, 0.2, 0), (0, 1 / 3, 1 / 3, 1 / 3, 0)
# The least that a sharp photograph left to one step, and the most that a blurred one did (docs/photographs.md).
LEAST_SHARP, MOST_BLURRED = (0, 0.27, 0.46, 0.27, 0), (0, 0.28, 0.44, 0.28, 0)


@pytest.mark.parametrize(
    ("kernel", "agreement", "why"),
    [
        (shaken(POINT, POINT), 0.9, "all but a point"),
        (shaken(POINT, POINT), 0.1, "all but a point"),
        (shaken(LEAST_SHARP, LEAST_SHARP), 0.9, "all but a point"),
        (shaken(MOST_BLURRED, MOST_BLURRED), 0.9, None),
        (shaken(POINT, LINE), 0.9, None),
        (shaken(LINE, POINT), 0.9, None),
        (np.eye(3, dtype=np.float32) / 3, 0.9, None),
        (shaken(POINT, LINE), 0.7, "by 0.70 only"),
    ],
)
def test_a_point_and_a_kernel_that_is_not_agreed_on_show_no_blur(kernel, agreement, why):
    told = why_left(kernel, agreement)
    assert why in told if why else told is None
