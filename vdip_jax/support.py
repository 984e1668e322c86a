"""How large the blur of a photograph is: the kernel's frame, found by looking and not asked for."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vdip_jax import classical, kernels

# Frames a factor of a fifth apart: photographs alike then share compiled programs.
SIZES = (7, 9, 11, 13, 15, 19, 23, 27, 31, 37, 45, 55, 65, 77, 93, 111)
FIRST = 31
# A kernel that fills more of its frame may go on beyond it; one that fills less has too much room.
_FULL, _ROOMY = 0.85, 0.6
# Room around what was found.
_MARGIN = 1.25


class Support(NamedTuple):
    """A frame for the kernel: its side, the kernels' frames and extents on the way there, and whether it is full.

    `looks`: pairs (frame's side, extent (rows, columns)), one for each estimate that was made.
    """

    size: int
    looks: tuple[tuple[int, tuple[int, int]], ...]
    full: bool


def find(gray: np.ndarray, first: int = FIRST) -> Support:
    """Estimate kernels in frames of several sizes until one fits: over-sized first, larger while it is filled.

    Args:
      gray: [H, W], blurred, in [0, 1].
      first: side of the frame to begin with.
    """
    largest = fitting(classical.largest_kernel((gray.shape[0], gray.shape[1])))
    size, looks = min(fitting(first), largest), []
    while True:
        kernel = classical.estimate(jnp.asarray(gray), (size, size)).kernel
        extent = kernels.extent(kernel)
        looks.append((size, extent))
        full = max(extent) > _FULL * size
        if not full or size == largest:
            break
        size = next(larger for larger in SIZES if larger > 1.4 * size or larger == largest)
    if max(extent) < _ROOMY * size:
        size = next(side for side in SIZES if side >= _MARGIN * max(extent))
    return Support(size, tuple(looks), full)


def fitting(side: int) -> int:
    """The largest of `SIZES` that is at most `side`, or the least of all."""
    return max((size for size in SIZES if size <= side), default=SIZES[0])
