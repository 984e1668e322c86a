"""The parts of a photograph that tell most of its blur: many strong edges in many orientations.

NumPy on the host. A kernel is estimated from edges, each of which shows it in one direction only: what counts is the
direction that a crop shows least of, the smaller eigenvalue of its structure tensor.
"""

import numpy as np
import scipy.ndimage

from vdip_jax.checks import Refusal
from vdip_jax.triage import block_means, gray, overexposed

# A larger photograph is averaged to about so many pixels: blurred edges do not need the finest grid.
_PIXELS = 2_000_000
# Crops lie on a grid of so many cells a side of theirs.
_CELLS_A_SIDE = 16
# Beside overexposed pixels the picture is no longer a blurred one, and its gradients are worth so much.
_CLIPPED_WORTH = 0.25
# A crop that tells less than this share of what the best one tells is left out.
_LEAST_SHARE = 0.25


def crops(pixels: np.ndarray, side: int, count: int) -> list[tuple[int, int]]:
    """Choose crops to estimate a kernel from: the best one first, then others apart from it, without overlap.

    The later ones are chosen by what they tell times the distance from those before, so that a blur that varies over
    the picture shows. The same image gives the same crops.

    Args:
      pixels: [H, W] or [H, W, 3] in [0, 1].
      side: of the square crops, in pixels.
      count: how many at most. Fewer come, at least one, where no more fit or the others tell little beside the best.

    Returns:
      Top and left pixel of each.

    Raises:
      Refusal: for an image smaller than a crop.
    """
    height, width = pixels.shape[:2]
    if not 0 < side <= min(height, width):
        raise Refusal(
            f"a crop must fit the image of {height}x{width} pixels, got a side of {side}; give a smaller one."
        )
    worth, cell = _worths(pixels, side)
    rows, columns = (_starts(n, cell, size - side) for n, size in zip(worth.shape, (height, width), strict=True))
    allowed, nearest = worth >= max(_LEAST_SHARE * worth.max(), 1e-12), np.ones(worth.shape)
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count and (allowed.any() or not chosen):
        row, column = np.unravel_index(np.argmax(np.where(allowed, worth * nearest, 0)), worth.shape)
        down, right = np.abs(rows - rows[row])[:, None], np.abs(columns - columns[column])
        allowed &= (down >= side) | (right >= side)
        distance = np.hypot(down, right)
        nearest = np.minimum(nearest, distance) if chosen else distance
        chosen.append((int(rows[row]), int(columns[column])))
    return chosen


def _starts(count: int, cell: int, last: int) -> np.ndarray:
    """First pixels of `count` crops a cell apart, the last one at the border, which the grid need not meet."""
    starts = np.minimum(cell * np.arange(count), last)
    starts[-1] = last
    return starts


def _worths(pixels: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """What the crop at each place of a grid tells, the smaller eigenvalue of its structure tensor; and the grid's step.

    The sums over crops are differences of sums from the corner (summed-area tables).
    """
    height, width = pixels.shape[:2]
    factor = max(1, round((height * width / _PIXELS) ** 0.5))
    factor = min(factor, side)
    cells = max(1, side // factor // _CELLS_A_SIDE)
    tensor = _cell_tensors(pixels, factor, cells)
    table = np.pad(tensor.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    n = side // (factor * cells)
    xx, yy, xy = table[:, n:, n:] - table[:, :-n, n:] - table[:, n:, :-n] + table[:, :-n, :-n]
    return (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy), factor * cells


def _cell_tensors(pixels: np.ndarray, factor: int, size: int) -> np.ndarray:
    """Structure tensors (xx, yy, xy) [3, H', W'] of cells of `size` pixels of the image averaged by `factor`.

    Each is scaled to its root mean square gradient, so that one lamp does not outweigh a facade, less the noise, which
    is taken to be all that the tenth part of cells with least holds.
    """
    image = block_means(gray(pixels), factor)
    burnt = block_means(overexposed(pixels), factor) > 0
    weight = np.where(scipy.ndimage.maximum_filter(burnt, 5), _CLIPPED_WORTH, 1)
    down, right = (weight * scipy.ndimage.gaussian_filter(image, 1, order) for order in ((1, 0), (0, 1)))
    tensor = np.stack([block_means(product, size) for product in (right * right, down * down, right * down)])
    power = tensor[0] + tensor[1]
    noise = np.quantile(power, 0.1)
    return tensor * (np.maximum(power - noise, 0) / np.maximum(power, 1e-12) ** 1.5)
