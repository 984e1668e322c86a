"""How large the blur of a photograph is: the kernel's frame, found by looking and not asked for."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vdip_jax import classical, kernels

# Sides of frames, a fifth apart: photographs alike then share compiled programs.
SIZES = (7, 9, 11, 13, 15, 19, 23, 27, 31, 37, 45, 55, 65, 77, 93, 111, 133)
# One frame for every look: what is longer shows in a smaller picture.
FRAME = 31
_SHRINKS = (1, 2, 4)
# A kernel that fills more of its frame may go on beyond it.
_FULL = 0.85
# A look is believed if its settings agree by that.
_TRUSTED = 0.8
# Room around what was found.
_MARGIN = 1.25


class Look(NamedTuple):
    """A kernel's extent (rows, columns) in pixels of the photograph, as one shrunk by `shrink` shows it."""

    shrink: int
    extent: tuple[int, int]
    agreement: float


class Support(NamedTuple):
    """A frame for the kernel: its side, and what was seen on the way there."""

    size: int
    looks: tuple[Look, ...]


def find(parts: Sequence[np.ndarray]) -> Support:
    """Estimate kernels of parts of a picture and of smaller copies, in one over-sized frame.

    The longest that can be believed counts: a frame that is too small shows a part of the blur or a blob; one that is
    too large costs little (docs/photographs.md).

    Args:
      parts: [H, W] each, of one size, blurred, in [0, 1], at least 10 pixels a side.
    """
    looks = [look for part in parts for look in _looks(part)]
    believed = [look for look in looks if look.agreement >= _TRUSTED] or [look for look in looks if look.shrink == 1]
    reach = max(max(look.extent) for look in believed)
    largest = fitting(classical.largest_kernel((parts[0].shape[0], parts[0].shape[1])))
    return Support(min(largest, next((side for side in SIZES if side >= _MARGIN * reach), SIZES[-1])), tuple(looks))


def _looks(gray: np.ndarray) -> list[Look]:
    looks: list[Look] = []
    for shrink in _SHRINKS:
        small = _shrunk(gray, shrink)
        frame = min(FRAME, classical.largest_kernel((small.shape[0], small.shape[1])))
        # What smaller copies show no better is not looked for there.
        if looks and (frame < FRAME or shrink > 2 and max(looks[-1].extent) < _FULL * FRAME * looks[-1].shrink):
            break
        found = classical.estimate(jnp.asarray(small), (frame, frame))
        rows, columns = kernels.extent(found.kernel)
        looks.append(Look(shrink, (shrink * rows, shrink * columns), float(found.agreement)))
    return looks


def fitting(side: int) -> int:
    """The largest of `SIZES` that is at most `side`, or the least of all."""
    return max((size for size in SIZES if size <= side), default=SIZES[0])


def _shrunk(gray: np.ndarray, factor: int) -> np.ndarray:
    """[H, W] by means of blocks of `factor` pixels, what is left over at the end cut off."""
    height, width = (n // factor for n in gray.shape)
    return gray[: height * factor, : width * factor].reshape(height, factor, width, factor).mean((1, 3))
