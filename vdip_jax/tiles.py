"""A picture of any size, restored piece by piece within a limit of memory, without seams."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Between the parts of two tiles that are taken alone, over so many pixels one goes over into the other.
_RAMP = 32


class Tile(NamedTuple):
    """A rectangle of a picture: `top`, `left` and size in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The indices of its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def around(part: Tile, wanted: tuple[int, int], size: tuple[int, int]) -> Tile:
    """As much as is `wanted` (height, width) around the middle of a part of a picture of `size`, as far as it goes."""

    def along(start: int, length: int, new: int, whole: int) -> tuple[int, int]:
        new = min(new, whole)
        return min(max(0, start + (length - new) // 2), whole - new), new

    top, height = along(part.top, part.height, wanted[0], size[0])
    left, width = along(part.left, part.width, wanted[1], size[1])
    return Tile(top, left, height, width)


def tiling(size: tuple[int, int], side: int, margin: int) -> list[Tile]:
    """Tiles of one size, at most `side` pixels a side, that cover a picture of `size` (height, width).

    Neighbours overlap by twice `margin`, which is what a tile does not know well at its border, and a ramp between.
    """
    (height, rows), (width, columns) = (_along(length, side, 2 * margin + _RAMP) for length in size)
    return [Tile(top, left, height, width) for top, left in itertools.product(rows, columns)]


def _along(length: int, side: int, overlap: int) -> tuple[int, list[int]]:
    """How long tiles are along an axis and where they begin: as few as possible, and as short as so many allow."""
    if length <= side:
        return length, [0]
    count = math.ceil((length - side) / max(1, side - overlap)) + 1
    side = min(side, math.ceil((length + (count - 1) * overlap) / count))
    return side, [round(i * (length - side) / (count - 1)) for i in range(count)]


def blended(
    picture: np.ndarray,
    tiles: list[Tile],
    margin: int,
    restore: Callable[[np.ndarray], np.ndarray],
    tell: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Restore `picture` [H, W, ...] tile by tile, neighbours going over into each other.

    Args:
      picture: floating point.
      tiles: those of `tiling`, made with the same `margin`.
      margin: pixels of a tile's border, where the picture goes on, that are not used.
      restore: gets the pixels of a tile and gives as many, of as many channels as it likes.
      tell: called with the number of tiles done after each.
    """
    height, width = picture.shape[:2]
    restored: np.ndarray = np.zeros(())
    weights = np.zeros((height, width, *(1,) * (picture.ndim - 2)), picture.dtype)
    for done, tile in enumerate(tiles, start=1):
        part = restore(picture[tile.window])
        if not restored.ndim:
            restored = np.zeros((height, width, *part.shape[2:]), picture.dtype)
        down = _weights(tile.top, tile.height, height, margin)
        right = _weights(tile.left, tile.width, width, margin)
        weight = np.outer(down, right).astype(picture.dtype).reshape(tile.height, tile.width, *weights.shape[2:])
        restored[tile.window] += weight * part
        weights[tile.window] += weight
        tell(done)
    restored /= weights
    return restored


def _weights(start: int, length: int, whole: int, margin: int) -> np.ndarray:
    """Of a tile's pixels along an axis: none in the margin, a ramp, one; one at the picture's own border."""
    position = np.arange(length)
    weight = np.ones(length)
    if start > 0:
        weight *= np.clip((position - margin + 1) / _RAMP, 0, 1)
    if start + length < whole:
        weight *= np.clip((length - position - margin) / _RAMP, 0, 1)
    return weight
