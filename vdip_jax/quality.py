"""Scores without a truth: PIQE, NIQE and BRISQUE; the lower the better.

NumPy in float64 on the host, as in `metrics`. All three look at the mean-subtracted, contrast-normalised (MSCN)
luma: photographs give it nearly one distribution, and blur, noise and ringing change that. Each follows the numbers
of its authors' or MATLAB's program, borders and rounding included: no-reference scores are compared across papers.
"""

import functools
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.special

from vdip_jax.checks import Refusal

PIQE_BLOCK, NIQE_BLOCK = 16, 96
FEATURES = 36
# MATLAB's rgb2gray, to the digits it calculates with; they sum to 1.
_GRAY_WEIGHTS = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
_STUDIO_WEIGHTS = np.array([65.481, 128.553, 24.966])
# Bicubic interpolation (a = -0.5) in the middle between two pixels, stretched by 2 against aliasing.
_HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
_SHAPES = np.arange(200, 10001) / 1000
# (E|x|)^2 / E x^2 of a generalised Gaussian of each shape; rises with the shape.
_RATIOS = scipy.special.gamma(2 / _SHAPES) ** 2 / (scipy.special.gamma(1 / _SHAPES) * scipy.special.gamma(3 / _SHAPES))


class BrisqueModel(NamedTuple):
    """A support vector regression from the 36 features of BRISQUE to a score, and how it wants them scaled.

    `gamma` and `rho`: width of the Gaussian kernel and offset; `coefficients` [N] of the support `vectors` [N, 36];
    `minimum` and `maximum` [36]: the features that are scaled to `lower` and `upper`.
    """

    gamma: float
    rho: float
    coefficients: np.ndarray
    vectors: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    lower: float
    upper: float


def piqe(image: np.ndarray) -> float:
    """PIQE of `image` as MATLAB's `piqe`: 0 is best, 100 worst (Venkatanath et al., NCC 2015).

    Blocks of 16x16 with enough contrast count; in each, edges without variation tell of blocking, and the spread of
    the middle columns against that of the others tells of noise. A blank image has no such block and scores 100.

    The image is taken to 8 bits and, if in colour, to MATLAB's rgb2gray; padded symmetrically, below and on the
    right, to multiples of 16; divided by its maximum and rounded to 0 ... 255, halves upwards.

    Args:
      image: [H, W], [H, W, 1] or [H, W, 3] in [0, 1], 16 pixels a side or more.

    Raises:
      Refusal: for another shape, a smaller image or values outside [0, 1].
    """
    luma = _gray(_checked(image, PIQE_BLOCK, "PIQE"))
    luma = np.pad(luma, [(0, -n % PIQE_BLOCK) for n in luma.shape], mode="symmetric")
    luma = _rounded(255 * (luma / max(luma.max(), 1)))
    blocks = _blocks(_mscn(luma, "nearest"), PIQE_BLOCK)
    variance = blocks.var((1, 2), ddof=1)
    active = variance > 0.1
    blocks, variance = blocks[active], variance[active]
    edges = np.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]], axis=1)
    segments = np.lib.stride_tricks.sliding_window_view(edges, 6, axis=-1)
    blocked = (segments.std(-1, ddof=1) < 0.1).any((1, 2))
    # MATLAB deletes column by column, so that the second column deleted is not the second of the middle.
    deviation, middle, others = np.sqrt(variance), blocks[:, :, 7:9], np.delete(blocks, (7, 9), axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = middle.std((1, 2), ddof=1) / others.std((1, 2), ddof=1)
        noisy = deviation > 2 * np.abs(deviation - ratio) / np.maximum(deviation, ratio)
    distortion = blocked * (1 - variance) + noisy * variance
    return float(100 * (1 + distortion.sum()) / (1 + len(blocks)))


def niqe(image: np.ndarray) -> float:
    """NIQE of `image` as BasicSR's and the authors' program: 2 to 4 for good photographs (Mittal et al., SPL 2013).

    Distance of the features of its 96x96 blocks, at full and half size, from those of undistorted photographs; a rest
    below or on the right is cut off. Blocks without variation tell nothing; an image without others, a blank one,
    gives NaN. Where there is but one other, its covariance counts as zero: larger images are judged better.

    Colour is taken to luma in studio range (ITU-R BT.601) and gray to 0 ... 255, each rounded: a gray image and the
    same in three channels differ in contrast by 219 / 255, and so in score.

    Args:
      image: [H, W], [H, W, 1] or [H, W, 3] in [0, 1], 96 pixels a side or more.

    Raises:
      Refusal: for another shape, a smaller image or values outside [0, 1].
    """
    image = _checked(image, NIQE_BLOCK, "NIQE")
    luma = _rounded(255 * image[..., 0] if image.shape[-1] == 1 else 16 + image @ _STUDIO_WEIGHTS)
    luma = luma[tuple(slice(n - n % NIQE_BLOCK) for n in luma.shape)]
    scales = (luma, NIQE_BLOCK), (_halved(luma), NIQE_BLOCK // 2)
    features = np.hstack([_niqe_features(_blocks(_mscn(scale, "nearest"), side)) for scale, side in scales])
    complete = features[~np.isnan(features).any(1)]
    if not len(complete):
        return float("nan")
    mean, covariance = _pristine()
    # The mean takes also what incomplete blocks know, the covariance does not; so do the authors.
    difference = mean - np.nanmean(features, axis=0)
    if len(complete) > 1:
        covariance = covariance + np.cov(complete, rowvar=False)
    return float(np.sqrt(difference @ np.linalg.pinv(covariance / 2) @ difference))


def brisque(image: np.ndarray, model: BrisqueModel) -> float:
    """BRISQUE of `image` under `model`: 0 is best, 100 worst in the authors' scale (Mittal et al., TIP 2012).

    The features are those of the authors' program, not rounded to its six decimals: luma by MATLAB's rgb2gray from
    8 bits, zero beyond the border, products of neighbours across the border. A blank image gives NaN.

    Args:
      image: [H, W], [H, W, 1] or [H, W, 3] in [0, 1], 14 pixels a side or more.
      model: as `read_brisque_model` reads it.

    Raises:
      Refusal: for another shape, a smaller image or values outside [0, 1].
    """
    luma = _gray(_checked(image, 2 * 7, "BRISQUE"))
    features = np.concatenate([_brisque_features(scale) for scale in (luma, _halved(luma))])
    share = (features - model.minimum) / (model.maximum - model.minimum)
    scaled = model.lower + (model.upper - model.lower) * share
    kernel = np.exp(-model.gamma * ((model.vectors - scaled) ** 2).sum(-1))
    return float(kernel @ model.coefficients - model.rho)


def read_brisque_model(model_path: str | Path, range_path: str | Path) -> BrisqueModel:
    """Read a model of BRISQUE, such as the authors' `allmodel` and `allrange`.

    Args:
      model_path: an epsilon-SVR with Gaussian (rbf) kernel over 36 features, the text that libsvm's svm-train saves.
      range_path: the ranges of the 36 features, the text that svm-scale -s saves.

    Raises:
      Refusal: for a file that cannot be read or is something else.
    """
    wanted = "the text of a libsvm model with svm_type epsilon_svr and kernel_type rbf over 36 features"
    lines = _lines(model_path, wanted)
    split = lines.index("SV") if "SV" in lines else len(lines)
    header = {name: value for name, _, value in (line.partition(" ") for line in lines[:split])}
    kind = [f"{name} {header.get(name, 'missing')}" for name in ("svm_type", "kernel_type")]
    if kind != ["svm_type epsilon_svr", "kernel_type rbf"]:
        raise Refusal(f"{model_path}: expected {wanted}, got {' and '.join(kind)[:80]}.")
    try:
        gamma, rho, count = float(header["gamma"]), float(header["rho"]), int(header["total_sv"])
        rows = [line.split() for line in lines[split + 1 :]]
        if not count == len(rows) > 0:
            raise ValueError(f"{len(rows)} support vectors where total_sv is {count}")
        coefficients, vectors = np.array([float(row[0]) for row in rows]), np.array([_dense(row[1:]) for row in rows])
    except (KeyError, ValueError) as error:
        raise Refusal(f"{model_path}: expected {wanted}, got one that is damaged ({error}).") from None
    return BrisqueModel(gamma, rho, coefficients, vectors, *_ranges(range_path))


def _ranges(path: str | Path) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Minimum and maximum [36] of the features, and what they are scaled to."""
    wanted = "the text that svm-scale -s saves: x; lower and upper; 36 lines of index, minimum and larger maximum"
    lines = _lines(path, wanted)
    try:
        lower, upper = map(float, lines[1].split())
        index, minimum, maximum = np.array([line.split() for line in lines[2:]], np.float64).T
        if lines[0] == "x" and index.tolist() == list(range(1, FEATURES + 1)) and (minimum < maximum).all():
            return minimum, maximum, lower, upper
    except (IndexError, ValueError):
        pass
    raise Refusal(f"{path}: expected {wanted}; got something else.")


def _lines(path: str | Path, wanted: str) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text("ascii").strip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: expected {wanted}, but it cannot be read ({error}).") from None


def _dense(pairs: list[str]) -> np.ndarray:
    """The vector [36] that libsvm writes as index:value, counted from 1 and without zeros."""
    vector = np.zeros(FEATURES)
    for index, _, value in (pair.partition(":") for pair in pairs):
        if not 1 <= int(index) <= FEATURES:
            raise ValueError(f"feature {index}")
        vector[int(index) - 1] = float(value)
    return vector


def _checked(image: np.ndarray, least: int, name: str) -> np.ndarray:
    """The image as float64 [H, W, C], C being 1 or 3."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (1, 3)):
        raise Refusal(f"{name} needs an image [H, W], [H, W, 1] or [H, W, 3], got shape {image.shape}.")
    if min(image.shape[:2]) < least:
        raise Refusal(f"{name} needs at least {least} pixels a side, got {image.shape[0]}x{image.shape[1]}.")
    # Written so that NaN is refused too.
    if not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):
        found = f"{image.dtype} from {image.min()} to {image.max()}"
        raise Refusal(f"{name} needs floating-point values in [0, 1], got {found}; scale or clip them.")
    return image.astype(np.float64).reshape(*image.shape[:2], -1)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Non-negative `values` to whole numbers, halves upwards as MATLAB has it; NumPy's go to the even number."""
    return np.floor(values + 0.5)


def _gray(image: np.ndarray) -> np.ndarray:
    """Whole gray levels 0 ... 255 [H, W] of [H, W, C], as MATLAB's rgb2gray makes them of an 8-bit image."""
    pixels = _rounded(255 * image)
    return pixels[..., 0] if pixels.shape[-1] == 1 else _rounded(pixels @ _GRAY_WEIGHTS)


def _mscn(luma: np.ndarray, border: str) -> np.ndarray:
    """Luma less its local mean, over its local standard deviation plus 1: 7x7 Gaussian windows, sigma 7/6."""
    mean, square = (scipy.ndimage.gaussian_filter(a, 7 / 6, mode=border, radius=3) for a in (luma, luma**2))
    difference = luma - mean
    # Where the luma is flat only rounding is left, whose sign would make features out of nothing.
    difference[np.abs(difference) < 1e-9] = 0
    return difference / (np.sqrt(np.abs(square - mean**2)) + 1)


def _halved(luma: np.ndarray) -> np.ndarray:
    """Half the size, odd sizes rounded up, as MATLAB's imresize: bicubic, antialiased, borders symmetric."""
    for axis in (0, 1):
        luma = scipy.ndimage.correlate1d(luma, _HALVING, axis, mode="reflect", origin=-1)
    return luma[::2, ::2]


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """The blocks [N, side, side] of [H, W], whose sides are multiples."""
    return values.reshape(len(values) // side, side, -1, side).swapaxes(1, 2).reshape(-1, side, side)


def _shape(ratio: np.ndarray) -> np.ndarray:
    """Shape of the generalised Gaussian with this (E|x|)^2 / E x^2, to 0.001; the least, 0.2, for NaN."""
    above = np.searchsorted(_RATIOS, ratio).clip(1, len(_RATIOS) - 1)
    nearest = above - (ratio - _RATIOS[above - 1] <= _RATIOS[above] - ratio)
    return np.where(np.isnan(ratio), _SHAPES[0], _SHAPES[nearest])


def _fit(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit an asymmetric generalised Gaussian to each block of [N, H, W] by moments (Lasmar et al., ICIP 2009).

    Returns the shape and the root mean squares of the negative and the positive samples, NaN where there are none.
    """
    squares = samples**2
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (np.sqrt((squares * side).sum((1, 2)) / side.sum((1, 2))) for side in (samples < 0, samples > 0))
        balance = left / right
        skew = (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
        ratio = np.abs(samples).mean((1, 2)) ** 2 / squares.mean((1, 2))
    return _shape(ratio * skew), left, right


def _fit_products(blocks: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Fits of the products of neighbours in four directions: shape, mean, left and right. Each block is a torus."""
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        mean = (right - left) * _width(shape) * scipy.special.gamma(2 / shape) / scipy.special.gamma(1 / shape)
        yield shape, mean, left, right


def _width(shape: np.ndarray) -> np.ndarray:
    """Scale parameter of a generalised Gaussian with standard deviation 1."""
    return np.sqrt(scipy.special.gamma(1 / shape) / scipy.special.gamma(3 / shape))


def _niqe_features(blocks: np.ndarray) -> np.ndarray:
    """18 features of each block, [N, 18]."""
    shape, left, right = _fit(blocks)
    features = [shape, _width(shape) * (left + right) / 2]
    for shape, mean, left, right in _fit_products(blocks):
        features += [shape, mean, _width(shape) * left, _width(shape) * right]
    return np.stack(features, axis=1)


def _brisque_features(luma: np.ndarray) -> np.ndarray:
    """18 features of luma [H, W] in 0 ... 255."""
    block = _mscn(luma, "constant")[None]
    square = (block**2).mean((1, 2))
    with np.errstate(invalid="ignore"):
        features = [_shape(np.abs(block).mean((1, 2)) ** 2 / square), square]
    for shape, mean, left, right in _fit_products(block):
        features += [shape, mean, left**2, right**2]
    return np.concatenate(features)


@functools.cache
def _pristine() -> tuple[np.ndarray, np.ndarray]:
    """Mean [36] and covariance [36, 36] of NIQE's features over undistorted photographs."""
    with resources.files("vdip_jax").joinpath("data", "niqe_pris_params.npz").open("rb") as file, np.load(file) as data:
        return data["mu_pris_param"][0], data["cov_pris_param"]
