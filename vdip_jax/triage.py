"""What a photograph is, before any work on it: blank, noise, already sharp, or blurred as expected.

NumPy on the host. Sharp is what has steep edges in every direction: a moving camera leaves them steep in one direction
at most, defocus in none. What is not shown to be sharp by them counts as blurred; where they are nearly so the kernel
that is estimated decides. Limits were chosen by measurement (docs/photographs.md).
"""

from typing import NamedTuple

import numpy as np

from vdip_jax.checks import Refusal

KINDS = ("blank", "noise", "sharp", "blurred")
# Edges of a sharp photograph rise within so many pixels. Of 29 sharp ones two fifths do; blurred by shakes of 5 to 9
# pixels, lines of 5 or a Gaussian of 1 pixel none: the least have 2.46; under a line of 3 few, whose edges were thin.
SHARP_WIDTH = 2.35
STEEP = "its edges are sharp in every direction"
# So are those whose edges are not much wider, if the estimated kernel leaves at least so much of a straight edge to one
# step, where a line of 3 pixels leaves a third; or if it is not agreed on, as it is where edges are so steep and there
# is a blur (docs/photographs.md).
_NEARLY_SHARP_WIDTH, _STEEPEST, _AGREED = 4.4, 0.45, 0.8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Eight bits round to half a level, of which a second difference has four; JPEG leaves less on even shading.
_ROUNDING = 3 / 255
# Noise averaged over twice the block has a quarter of the variance; what is left of structure has as much or more.
_NOISE_GROWTH = 0.45
# Differences of noise are normal (3); those of noise clipped at black or white have longer tails, edges longer yet.
_NOISE_KURTOSIS, _CLIPPED_KURTOSIS = 3.5, 6.0
_LEAST_BLOCKS = 8
_TILE, _TILES_A_SIDE = 128, 12
# Steps that a rise may have on either side of the steepest, and pixels beyond in which a thin line falls again.
_REACH, _LOOK = 5, 3
_MARGIN = _REACH + _LOOK + 2
_DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
# A Gaussian line's flank is steeper than an edge under the same blur, relative to its height.
_THIN = 1.5
# Edges count from this rise, from so many standard deviations of noise, and from this share of a tile's strongest.
_LEAST_RISE, _LEAST_DEVIATIONS, _LEAST_SHARE = 0.12, 8, 0.5
_LEAST_EDGES, _LEAST_TILES = 20, 4


class Finding(NamedTuple):
    """What `examine` finds.

    `kind`: one of `KINDS`. `edge_width`: pixels in which edges rise, in the direction where they rise least steeply;
    infinite where too few edges tell. `clipped`: share of pixels, 0 ... 1, that are black or at the largest value.
    `noise`: standard deviation of white noise in the luma.
    """

    kind: str
    edge_width: float
    clipped: float
    noise: float


def examine(pixels: np.ndarray) -> Finding:
    """Tell what a photograph is, without a truth; up to 12 megapixels in about a second.

    Args:
      pixels: [H, W] or [H, W, 3] in [0, 1].
    """
    image = gray(pixels)
    clipped = float((overexposed(pixels) | (image <= 0)).mean())
    tiles = _tiles(image)
    noise, width = float(np.median(_noise(tiles))), edge_width(image)
    if _blank(image):
        kind = "blank"
    elif _only_noise(image):
        kind = "noise"
    else:
        kind = "sharp" if width <= SHARP_WIDTH else "blurred"
    return Finding(kind, width, clipped, noise)


def nearly_sharp(finding: Finding) -> bool:
    """Whether edges are so steep that there is little blur, if any, which then shows clearly."""
    return finding.edge_width <= _NEARLY_SHARP_WIDTH


def why_left(kernel: np.ndarray, agreement: float) -> str | None:
    """Why a nearly sharp photograph is to be left as it is, in words; None if there is blur to remove.

    `kernel`: [kh, kw], found by settings that agree so far, in the frame in which it would be removed. An upright or a
    level edge rises in steps that are its sums over rows or columns.
    """
    if min(kernel.sum(0).max(), kernel.sum(1).max()) >= _STEEPEST:
        return "the kernel that it shows is all but a point"
    if agreement < _AGREED:
        return f"its edges are nearly sharp, and settings agree on what blur there may be by {agreement:.2f} only"
    return None


def refuse_hopeless(finding: Finding) -> None:
    """Refuse what no kernel can be told from.

    Raises:
      Refusal: for a blank image and for one of nothing but noise.
    """
    if finding.kind == "blank":
        raise Refusal(
            "expected a photograph with edges that show its blur, got a blank or evenly shaded one; "
            "give another, or stretch its contrast."
        )
    if finding.kind == "noise":
        raise Refusal(
            f"expected a photograph with edges that show its blur, got nothing but noise (standard deviation "
            f"{finding.noise:.2g}); give one with more light, or average several."
        )


def gray(pixels: np.ndarray) -> np.ndarray:
    """The luma [H, W] float32 of [H, W] or [H, W, 3]."""
    pixels = np.asarray(pixels, np.float32)
    return pixels if pixels.ndim == 2 else pixels @ _LUMA


def overexposed(pixels: np.ndarray) -> np.ndarray:
    """Which pixels [H, W] have a channel within 1.5 of 255 levels of the picture's largest value, whatever that is.

    Files are not always scaled to 1, and JPEG wavers about the limit. White paper counts as well as a lamp.
    """
    limit = pixels.max() - 1.5 / 255
    if pixels.ndim == 2:
        return pixels >= limit
    # A channel after the other: reductions over a short last axis are slow.
    return (pixels[..., 0] >= limit) | (pixels[..., 1] >= limit) | (pixels[..., 2] >= limit)


def edge_width(image: np.ndarray) -> float:
    """Pixels in which the edges of [H, W] rise, in the direction where they rise least steeply.

    Infinite where a direction has too few edges in too few places. A sharp text in the corner of a blurred photograph
    does not count for much: of the edges of a tile the steeper quarter tells, of the tiles the median.
    """
    if min(image.shape) <= 2 * _MARGIN:
        return float("inf")
    widths = _tile_widths(_tiles(image))
    if (np.isfinite(widths).sum(1) < _LEAST_TILES).any():
        return float("inf")
    return float(np.nanmedian(widths, axis=1).max())


def _blank(image: np.ndarray) -> bool:
    """Whether an image holds nothing but rounding and even shading."""
    return all(
        2 * step >= n or np.abs(_second_difference(image, step, axis)).max() <= _ROUNDING
        for step in (1, 4, 16)
        for axis, n in enumerate(image.shape)
    )


def _second_difference(image: np.ndarray, step: int, axis: int) -> np.ndarray:
    """y(i - step) - 2 y(i) + y(i + step) along an axis, valid part: even shading leaves nothing of it."""
    lines = image.swapaxes(0, axis)
    return lines[2 * step :] - 2 * lines[step:-step] + lines[: -2 * step]


def _only_noise(image: np.ndarray) -> bool:
    """Whether averages over larger and larger blocks differ as little as those of white or slightly smoothed noise."""
    power = []
    for side in (4, 8, 16, 32):
        means = block_means(image, side)
        if min(means.shape) >= _LEAST_BLOCKS:
            power.append(np.mean([(_second_difference(means, 1, axis) ** 2).mean() for axis in (0, 1)]))
    growing = any(b > _NOISE_GROWTH * a for a, b in zip(power, power[1:], strict=False))
    return len(power) > 1 and not growing and _kurtosis(image) <= _kurtosis_limit(image)


def block_means(image: np.ndarray, side: int) -> np.ndarray:
    """Means [H // side, W // side] over blocks; a rest below or on the right is left out."""
    height, width = (n // side for n in image.shape)
    return image[: height * side, : width * side].reshape(height, side, width, side).mean((1, 3))


def _kurtosis(image: np.ndarray) -> float:
    """Of the differences of neighbours, about zero."""
    square = np.concatenate([np.diff(image[::3], axis=1).ravel(), np.diff(image[:, ::3], axis=0).ravel()]) ** 2
    return float((square**2).mean() / max(square.mean(), 1e-20) ** 2)


def _kurtosis_limit(image: np.ndarray) -> float:
    return _CLIPPED_KURTOSIS if ((image <= 0) | (image >= 1)).mean() > 0.2 else _NOISE_KURTOSIS


def _tiles(image: np.ndarray) -> np.ndarray:
    """Square tiles [N, S, S] spread evenly over [H, W]; their inner parts cover it unless it is very large."""
    side = min(_TILE, max(48, min(image.shape) // 4), *image.shape)
    starts = []
    for n in image.shape:
        count = min(_TILES_A_SIDE, -(-(n - 2 * _MARGIN) // max(1, side - 2 * _MARGIN)))
        starts.append(np.linspace(0, n - side, max(1, count)).astype(int))
    views = np.lib.stride_tricks.sliding_window_view(image, (side, side))
    return views[np.ix_(*starts)].reshape(-1, side, side)


def _noise(tiles: np.ndarray) -> np.ndarray:
    """Standard deviation [N] of white noise in tiles [N, S, S] (Donoho), as `finishing.noise_level`."""
    side = tiles.shape[1] // 2 * 2
    a, b, c, d = (tiles[:, i:side:2, j:side:2] for i in (0, 1) for j in (0, 1))
    return np.median(np.abs(a - b - c + d), axis=(1, 2)) / 2 / 0.6745


def _tile_widths(tiles: np.ndarray) -> np.ndarray:
    """Edge widths [4, N] of tiles [N, S, S] in four directions; NaN where a tile has too few edges in one."""
    least = np.maximum(_LEAST_RISE, _LEAST_DEVIATIONS * _noise(tiles))
    widths = np.full((len(_DIRECTIONS), len(tiles)), np.nan)
    for direction in range(len(_DIRECTIONS)):
        tile, rise, width = _flanks(tiles, direction)
        for i in range(len(tiles)):
            own = slice(*np.searchsorted(tile, [i, i + 1]))
            if own.start == own.stop:
                continue
            strong = rise[own] >= max(least[i], _LEAST_SHARE * np.quantile(rise[own], 0.98))
            if strong.sum() >= _LEAST_EDGES:
                widths[direction, i] = np.quantile(width[own][strong], 0.25)
    return widths


def _flanks(tiles: np.ndarray, direction: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges that rise along a direction: the tile [M], ascending, that each is in, its rise [M] and its width [M].

    An edge is where neighbours differ most along the direction, and more than across it. It rises as long as values
    do; its width is the rise over the steepest step. A thin line's is corrected for its steeper flanks.
    """
    (dy, dx), (py, px) = _DIRECTIONS[direction], _DIRECTIONS[(direction + 2) % 4]
    inner = tiles.shape[1] - 2 * _MARGIN

    def at(down: int, right: int) -> np.ndarray:
        top, left = _MARGIN + down, _MARGIN + right
        return tiles[:, top : top + inner, left : left + inner]

    step = at(dy, dx) - at(0, 0)
    size, before, after = np.abs(step), np.abs(at(0, 0) - at(-dy, -dx)), np.abs(at(2 * dy, 2 * dx) - at(dy, dx))
    along = np.abs(at(2 * dy, 2 * dx) + at(dy, dx) - at(0, 0) - at(-dy, -dx))
    across = np.abs(at(dy + py, dx + px) + at(py, px) - at(dy - py, dx - px) - at(-py, -px))
    tile, row, column = np.nonzero((size > before) & (size >= after) & (size > 0.02) & (along >= across))
    offsets = np.arange(-_REACH - _LOOK, _REACH + _LOOK + 2)
    sign = np.sign(step[tile, row, column])[:, None]
    lines = tiles[tile[:, None], (row + _MARGIN)[:, None] + offsets * dy, (column + _MARGIN)[:, None] + offsets * dx]
    rise, steepness = _rises(sign * lines)
    return tile, rise, np.hypot(dy, dx) / steepness


def _rises(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height [M] and relative steepness [M] of the rise in the middle of [M, 2 (reach + look + 1)]."""
    steps = np.diff(lines, axis=1)
    middle = _REACH + _LOOK
    top = middle + 1 + np.logical_and.accumulate(steps[:, middle + 1 : middle + 1 + _REACH] > 0, axis=1).sum(1)
    foot = middle - np.logical_and.accumulate(steps[:, middle - 1 : middle - 1 - _REACH : -1] > 0, axis=1).sum(1)
    each, beyond = np.arange(len(lines)), np.arange(1, _LOOK + 1)
    high, low = lines[each, top], lines[each, foot]
    rise = high - low
    falls = high - lines[each[:, None], top[:, None] + beyond].min(1)
    falls = np.maximum(falls, lines[each[:, None], foot[:, None] - beyond].max(1) - low)
    steepness = steps[:, middle] / rise
    return rise, np.where(falls > rise / 2, steepness / _THIN, steepness)
