"""Scores against the truth, protocol `rgb`: crop, best shift, PSNR and SSIM over all channels; kernel likeness.

NumPy in float64 on the host: scoring is no part of a compiled program. A published number is comparable only
under its protocol, so a score is always quoted with its name.
"""

import itertools
from typing import NamedTuple

import numpy as np

from vdip_jax.checks import Refusal

CROP = 15
MAX_SHIFT = 10
_FRACTIONS = 4


class Score(NamedTuple):
    """`psnr` in dB with peak 1, `ssim`, and the `shift` (down, right) in pixels of the estimate against the truth.

    `at_border` warns that the best shift lies on the border of the search range.
    """

    psnr: float
    ssim: float
    shift: tuple[float, float]
    at_border: bool


def score(estimate: np.ndarray, truth: np.ndarray) -> Score:
    """Score `estimate` against `truth` by the protocol `rgb`.

    15 px are cropped from each side of the truth; the estimate may shift by up to 10 px in steps of 0.25 px
    (bilinear), and the shift with the smallest squared error is taken. SSIM has an 11x11 Gaussian window, sigma
    1.5, valid windows only, population covariance, mean over channels.

    Args:
      estimate, truth: [H, W] or [H, W, C], the same shape, values in [0, 1].

    Raises:
      Refusal: for shapes that differ or are too small to crop.
    """
    if estimate.shape != truth.shape:
        raise Refusal(f"estimate and truth must have one shape, got {estimate.shape} and {truth.shape}.")
    if min(truth.shape[:2]) < 2 * CROP + 11:
        raise Refusal(f"scoring needs at least {2 * CROP + 11} pixels a side, got {truth.shape[0]}x{truth.shape[1]}.")
    estimate, truth = (np.asarray(a, np.float64).reshape(*a.shape[:2], -1) for a in (estimate, truth))
    cropped = truth[CROP:-CROP, CROP:-CROP]
    best = (np.inf, (0.0, 0.0), cropped)
    for fraction in itertools.product(np.arange(_FRACTIONS) / _FRACTIONS, repeat=2):
        moved = _interpolate(estimate, *fraction)
        errors = _squared_errors(moved, cropped)
        # Whole shifts run over -10 ... 10; with a fraction on top the last would leave the range.
        errors = errors[: errors.shape[0] - (fraction[0] > 0), : errors.shape[1] - (fraction[1] > 0)]
        row, column = np.unravel_index(errors.argmin(), errors.shape)
        if errors[row, column] < best[0]:
            shift = (row - MAX_SHIFT + fraction[0], column - MAX_SHIFT + fraction[1])
            top, left = row + CROP - MAX_SHIFT, column + CROP - MAX_SHIFT
            patch = moved[top : top + cropped.shape[0], left : left + cropped.shape[1]]
            best = (errors[row, column], (float(shift[0]), float(shift[1])), patch)
    _, shift, aligned = best
    at_border = max(abs(shift[0]), abs(shift[1])) >= MAX_SHIFT
    return Score(psnr(aligned, cropped), ssim(aligned, cropped), shift, at_border)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 1; infinite for equal images."""
    error = float(((np.asarray(a, np.float64) - b) ** 2).mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of [H, W, C] in [0, 1]: valid 11x11 Gaussian windows, sigma 1.5, mean over channels."""
    moments = _window(np.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b, aa, bb, ab = moments
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    contrast = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return float((luminance * contrast).mean())


def kernel_likeness(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Maximum normalised cross-correlation of two kernels over all shifts; 1 is perfect."""
    size = tuple(e + t - 1 for e, t in zip(estimate.shape, truth.shape, strict=True))
    spectrum = np.fft.rfft2(estimate, size) * np.conj(np.fft.rfft2(truth, size))
    return float(np.fft.irfft2(spectrum, size).max() / (np.linalg.norm(estimate) * np.linalg.norm(truth)))


def _interpolate(image: np.ndarray, down: float, right: float) -> np.ndarray:
    """`image` read at positions moved by fractions of a pixel; the last row and column repeat."""
    for axis, fraction in ((0, down), (1, right)):
        if fraction:
            following = np.concatenate([image.take(range(1, image.shape[axis]), axis), image.take([-1], axis)], axis)
            image = (1 - fraction) * image + fraction * following
    return image


def _squared_errors(image: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Squared error of `patch` against `image` at every whole shift of -10 ... 10, by FFT: [21, 21]."""
    margin = CROP - MAX_SHIFT
    area = image[margin : image.shape[0] - margin, margin : image.shape[1] - margin]
    height, width = patch.shape[:2]
    shifts = 2 * MAX_SHIFT + 1
    spectrum = np.fft.rfft2(area, axes=(0, 1)) * np.conj(np.fft.rfft2(patch, area.shape[:2], axes=(0, 1)))
    products = np.fft.irfft2(spectrum, area.shape[:2], axes=(0, 1))[:shifts, :shifts].sum(-1)
    table = np.zeros((area.shape[0] + 1, area.shape[1] + 1))
    table[1:, 1:] = (area**2).sum(-1).cumsum(0).cumsum(1)
    energy = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    return energy[:shifts, :shifts] - 2 * products + (patch**2).sum()


def _window(images: np.ndarray) -> np.ndarray:
    """Gaussian mean of [N, H, W, C] over valid 11x11 windows, sigma 1.5."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets**2) / 4.5)
    weights /= weights.sum()
    for axis in (1, 2):
        length = images.shape[axis] - 10
        images = sum(w * images.take(range(i, i + length), axis) for i, w in enumerate(weights))
    return images
