"""How a photograph is to be solved: on which part of it, with how large a kernel; told with reasons."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vdip_jax import pyramid, support
from vdip_jax.crops import crops
from vdip_jax.tiles import Tile, around
from vdip_jax.triage import gray

# Kernels of parts of a photograph less alike than this are not one kernel (docs/photographs.md).
_ALIKE = 0.6
# Looks are at so many parts, and at no more pixels a side.
_PARTS, _SIDE = 3, 400


class Decision(NamedTuple):
    """What was decided automatically, and why."""

    what: str
    value: str
    why: str


class Plan(NamedTuple):
    """What to solve of a photograph, and what there is to say of that.

    Attributes:
      light: [H, W] or [H, W, 3], the whole photograph as it is solved.
      part: what kernel and network are solved on.
      kernel_size: (height, width) in pixels.
      decisions: in the order in which they were made.
      warnings: sentences.
    """

    light: np.ndarray
    part: Tile
    kernel_size: tuple[int, int]
    decisions: tuple[Decision, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def y(self) -> np.ndarray:
        """The pixels of the part."""
        return self.light[self.part.window]

    @property
    def is_whole(self) -> bool:
        """Whether the part is all of the photograph."""
        return self.y.shape == self.light.shape


def plan(
    light: np.ndarray,
    kernel_size: tuple[int, int] | None,
    side: int,
    known: bool,
    tell: Callable[[support.Look], None] = lambda look: None,
    steep: bool = False,
) -> Plan:
    """Choose the part to solve, at most `side` pixels a side unless that is 0, and find the kernel's size.

    Args:
      light: [H, W] or [H, W, 3] in [0, 1].
      kernel_size: where it was asked for; None to find it.
      side: of the part.
      known: whether the kernel is given and needs no estimate.
      tell: called with what is seen on the way to the kernel's size.
      steep: whether edges are so steep that the kernel is short.
    """
    height, width = light.shape[:2]
    wanted = part_size((height, width), side)
    is_whole = wanted == (height, width)
    parts = _parts(light, min(side or _SIDE, _SIDE))
    best, decisions, warnings, looks = 0, [], [], []
    if kernel_size is None:
        found = support.find(gray(light), parts, pyramid.largest_kernel(wanted), tell, steep)
        kernel_size = (found.size, found.size)
        decisions.append(_about_support(found))
        looks = found.comparable
    elif not (is_whole or known):
        shrink = support.shrink_for(max(kernel_size))
        whole = gray(light)
        looks = [support.look_at(whole, parts, number, shrink) for number in range(len(parts))]
    if len(looks) > 1:
        best, likeness = support.compared(looks)
        decisions.append(_about_likeness(likeness))
        if likeness < _ALIKE:
            warnings.append(
                f"kernels of parts of the picture agree by {likeness:.2f} only (1: fully): if the blur is not the same "
                f"everywhere, the result is right near row {parts[best].top}, column {parts[best].left} only."
            )
    part = around(parts[best], wanted, (height, width))
    decisions.insert(0, _about_part(part, is_whole, len(looks)))
    return Plan(light, part, kernel_size, tuple(decisions), tuple(warnings))


def _parts(light: np.ndarray, side: int) -> list[Tile]:
    """The most informative parts to look at; one that is all, if that is no larger than `side`."""
    height, width = light.shape[:2]
    if max(height, width) <= side:
        return [Tile(0, 0, height, width)]
    side = min(side, height, width)
    return [Tile(top, left, side, side) for top, left in crops(light, side, _PARTS)]


def part_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of what is solved of a photograph of this size; a `side` of 0 stands for all of it."""
    return (min(side, size[0]), min(side, size[1])) if side else size


def _about_part(part: Tile, is_whole: bool, number: int) -> Decision:
    if is_whole:
        return Decision("part that is solved", f"all, {part.width}x{part.height} pixels", "it is not large")
    among = f"around that of {number} parts with many edges on whose kernel settings agree most"
    why = among if number > 1 else "around the part with the most edges in many directions"
    where = f"{part.width}x{part.height} pixels from column {part.left}, row {part.top}"
    return Decision("part that is solved", where, f"{why}; the rest is restored with its kernel")


def _about_support(found: support.Support) -> Decision:
    looks = [
        f"part {look.part + 1} {'as it is' if look.shrink == 1 else f'shrunk by {look.shrink}'}"
        f"{' in a wider frame' if look.is_wide else ''} shows a kernel of "
        f"{look.extent[0]}x{look.extent[1]} pixels, settings agreeing by {look.agreement:.2f}"
        for look in found.looks
    ]
    return Decision("kernel size", f"{found.size}x{found.size}", "; ".join(looks))


def _about_likeness(likeness: float) -> Decision:
    if np.isnan(likeness):
        return Decision("blur", "is taken to be the same everywhere", "only one part shows its kernel clearly")
    same = "is taken to be" if likeness >= _ALIKE else "may not be"
    return Decision("blur", f"{same} the same everywhere", f"kernels of parts agree by {likeness:.2f}")
