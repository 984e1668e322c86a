"""Scores against the truth, by protocol: crop, best shift, PSNR and SSIM; kernel error; calibration of the std.

NumPy in float64 on the host: scoring is no part of a compiled program. A published number is comparable only
under its protocol, so a score is always quoted with its name.
"""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage

from vdip_jax.checks import Refusal, check_choice

CROP = 15
MAX_SHIFT = 10
PROTOCOLS = ("rgb", "selfdeblur")
_FRACTIONS = 4
_WINDOW = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


class Score(NamedTuple):
    """`psnr` in dB with peak 1, `ssim`, and the `shift` (down, right) in pixels of the estimate against the truth.

    `at_border` warns that the best shift lies on the border of the search range.
    """

    psnr: float
    ssim: float
    shift: tuple[float, float]
    at_border: bool


class KernelError(NamedTuple):
    """Three forms of the error of a kernel, after the best alignment of the sum-normalised kernels.

    `rmse`: root of the mean squared difference over the pixels of the smallest frame that holds both; `ncc`: maximum
    normalised cross-correlation, 1 is perfect; `ssd`: sum of squared differences.
    """

    rmse: float
    ncc: float
    ssd: float


class Calibration(NamedTuple):
    """How well a standard deviation foretells the error.

    `within`: share of pixels whose error is at most 1, 2 and 3 standard deviations; `rank_correlation`: Spearman's,
    of standard deviation and absolute error, NaN if one of them is constant.
    """

    within: tuple[float, float, float]
    rank_correlation: float


def score(estimate: np.ndarray, truth: np.ndarray, protocol: str = "rgb") -> Score:
    """Score `estimate` against `truth`.

    15 px are cropped from each side of the truth; the estimate may shift by up to 10 px in steps of 0.25 px
    (bilinear), and the shift with the smallest squared error is taken. SSIM has an 11x11 Gaussian window, sigma
    1.5, valid windows only, population covariance, mean over channels.

    `rgb` takes all channels. `selfdeblur`, after the published scripts of SelfDeblur (Ren et al., CVPR 2020), takes
    the luma of colour images in studio range, which alone adds 1.32 dB to gray differences, and shrinks both for
    SSIM by max(1, round(min(h, w) / 256)); gray images are used as they are.

    Args:
      estimate, truth: [H, W] or [H, W, C], the same shape, values in [0, 1].
      protocol: one of `PROTOCOLS`.

    Raises:
      Refusal: for shapes that differ or are too small to crop, or an unknown protocol.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    if estimate.shape != truth.shape:
        raise Refusal(f"estimate and truth must have one shape, got {estimate.shape} and {truth.shape}.")
    if min(truth.shape[:2]) < 2 * CROP + 11:
        raise Refusal(f"scoring needs at least {2 * CROP + 11} pixels a side, got {truth.shape[0]}x{truth.shape[1]}.")
    estimate, truth = (np.asarray(a, np.float64).reshape(*a.shape[:2], -1) for a in (estimate, truth))
    if protocol == "selfdeblur":
        estimate, truth = _studio_luma(estimate), _studio_luma(truth)
    shift = _best_shift(estimate, truth)
    aligned, cropped = _shifted(estimate, shift), truth[CROP:-CROP, CROP:-CROP]
    at_border = max(abs(shift[0]), abs(shift[1])) >= MAX_SHIFT
    factor = max(1, round(min(cropped.shape[:2]) / 256)) if protocol == "selfdeblur" else 1
    return Score(psnr(aligned, cropped), ssim(_shrunk(aligned, factor), _shrunk(cropped, factor)), shift, at_border)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 1; infinite for equal images."""
    error = float(((np.asarray(a, np.float64) - b) ** 2).mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of [H, W, C] in [0, 1]: valid 11x11 Gaussian windows, sigma 1.5, mean over channels."""
    mean_a, mean_b, aa, bb, ab = (_windowed(image) for image in (a, b, a * a, b * b, a * b))
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    contrast = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return float((luminance * contrast).mean())


def error_ratio(estimate: Score, reference: Score) -> float:
    """Squared error of a blind estimate over that of a non-blind one, each aligned (Levin et al., CVPR 2009)."""
    return float(10 ** ((reference.psnr - estimate.psnr) / 10))


def kernel_error(estimate: np.ndarray, truth: np.ndarray) -> KernelError:
    """Error of `estimate` [kh, kw] against `truth`, of any sizes, over all whole shifts of the one over the other."""
    estimate, truth = (np.asarray(kernel, np.float64) / kernel.sum() for kernel in (estimate, truth))
    size = [e + t - 1 for e, t in zip(estimate.shape, truth.shape, strict=True)]
    spectrum = scipy.fft.rfft2(estimate, size) * np.conj(scipy.fft.rfft2(truth, size))
    product = scipy.fft.irfft2(spectrum, size).max()
    norms = (estimate**2).sum(), (truth**2).sum()
    ssd = max(0.0, norms[0] + norms[1] - 2 * product)
    pixels = np.prod([max(e, t) for e, t in zip(estimate.shape, truth.shape, strict=True)])
    return KernelError(float(np.sqrt(ssd / pixels)), float(product / np.sqrt(norms[0] * norms[1])), float(ssd))


def calibration(
    estimate: np.ndarray, std: np.ndarray, truth: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)
) -> Calibration:
    """Compare the standard deviation `std` of `estimate` with its error, cropped and shifted as by `score`.

    Args:
      estimate, std, truth: [H, W] or [H, W, C], the same shape.
      shift: that of the estimate against the truth, as `score` found it.
    """
    estimate, std, truth = (np.asarray(a, np.float64).reshape(*a.shape[:2], -1) for a in (estimate, std, truth))
    error = np.abs(_shifted(estimate, shift) - truth[CROP:-CROP, CROP:-CROP])
    spread = _shifted(std, shift)
    within = [float((error <= multiple * spread).mean()) for multiple in (1, 2, 3)]
    constant = np.ptp(error) == 0 or np.ptp(spread) == 0
    rank = np.nan if constant else float(np.corrcoef(_ranks(error), _ranks(spread))[0, 1])
    return Calibration((within[0], within[1], within[2]), rank)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Place of each value in their order, equal ones sharing the mean of theirs."""
    _, order, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[order.ravel()]


def _best_shift(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The shift with the smallest squared error; no shifted image is made.

    A bilinear shift by the whole numbers s and a fraction mixes the four neighbours a of each pixel with weights
    w: its squared error is sum_ab w_a w_b <e(s+a), e(s+b)> - 2 sum_a w_a <e(s+a), t> + <t, t>. One FFT gives the
    products with t for all s, summed-area tables those of e with itself, and the 16 fractions share them.
    """
    margin, count = CROP - MAX_SHIFT, 2 * MAX_SHIFT + 1
    area = estimate[margin : estimate.shape[0] - margin, margin : estimate.shape[1] - margin]
    cropped = truth[CROP:-CROP, CROP:-CROP]
    products = _correlation(area, cropped)[:count, :count]
    energies = {
        offset: _window_sums(area, offset, cropped.shape[:2])[:count, :count]
        for offset in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
    }
    best, shift = np.inf, (0.0, 0.0)
    steps = np.arange(_FRACTIONS) / _FRACTIONS
    for fraction in itertools.product(steps, repeat=2):
        # Whole shifts run over -10 ... 10; with a fraction on top the last would leave the range.
        rows, columns = (count - (part > 0) for part in fraction)
        weights = {(a, b): abs(1 - a - fraction[0]) * abs(1 - b - fraction[1]) for a in (0, 1) for b in (0, 1)}
        weights = {neighbour: weight for neighbour, weight in weights.items() if weight}
        errors = np.zeros((rows, columns))
        for (a, b), weight in weights.items():
            errors -= 2 * weight * products[a : a + rows, b : b + columns]
            for (c, d), other in weights.items():
                # <e(s+a), e(s+b)> depends on the upper one's place and the offset between the two.
                (top, left), (bottom, right) = sorted(((a, b), (c, d)))
                energy = energies[bottom - top, right - left]
                errors += weight * other * energy[top : top + rows, left : left + columns]
        row, column = np.unravel_index(errors.argmin(), errors.shape)
        if errors[row, column] < best:
            best = errors[row, column]
            shift = (float(row - MAX_SHIFT + fraction[0]), float(column - MAX_SHIFT + fraction[1]))
    return shift


def _correlation(area: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Inner products of `patch` with the part of `area` that begins at each place, over all channels."""
    size = [scipy.fft.next_fast_len(n, real=True) for n in area.shape[:2]]
    spectra = [scipy.fft.rfft2(image, size, axes=(0, 1), workers=-1) for image in (area, patch)]
    return scipy.fft.irfft2((spectra[0] * spectra[1].conj()).sum(-1), size, workers=-1)


def _window_sums(area: np.ndarray, offset: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Sums of area(p) area(p + offset) over the windows of `size` that begin at each place p."""
    height, width = area.shape[:2]
    other = area[offset[0] :, max(0, offset[1]) : width + min(0, offset[1])]
    left = max(0, -offset[1])
    table = np.zeros((height + 1, width + 1))
    product = area[: other.shape[0], left : left + other.shape[1]] * other
    table[1 : 1 + product.shape[0], 1 + left : 1 + left + product.shape[1]] = product.sum(-1)
    table = table.cumsum(0).cumsum(1)
    down, right = size
    return table[down:, right:] - table[:-down, right:] - table[down:, :-right] + table[:-down, :-right]


def _shifted(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """The crop of `image` [H, W, C], read at positions moved by `shift`."""
    for axis, amount in enumerate(shift):
        whole = int(np.floor(amount))
        fraction = amount - whole
        length = image.shape[axis] - 2 * CROP
        near = image.take(range(CROP + whole, CROP + whole + length), axis)
        if fraction:
            near = (1 - fraction) * near + fraction * image.take(
                range(CROP + whole + 1, CROP + whole + 1 + length), axis
            )
        image = near
    return image


def _studio_luma(image: np.ndarray) -> np.ndarray:
    """Luma [H, W, 1] of RGB in studio range, 16/255 to 235/255 (ITU-R BT.601); gray as it is."""
    if image.shape[-1] == 1:
        return image
    return (16 + image @ np.array([65.481, 128.553, 24.966]))[..., None] / 255


def _shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """Every `factor`-th pixel after a box filter of that side, borders symmetric, as MATLAB's imfilter places it."""
    if factor == 1:
        return image
    # An even box has no middle: MATLAB takes the upper left of its middle pixels, SciPy the lower right.
    origin = -1 if factor % 2 == 0 else 0
    for axis in (0, 1):
        image = scipy.ndimage.uniform_filter1d(image, factor, axis, mode="reflect", origin=origin)
    return image[::factor, ::factor]


def _windowed(image: np.ndarray) -> np.ndarray:
    """Gaussian mean of [H, W, C] over valid 11x11 windows, sigma 1.5."""
    for axis in (0, 1):
        image = scipy.ndimage.correlate1d(image, _WINDOW, axis)
    return image[5:-5, 5:-5]
