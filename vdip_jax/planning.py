"""How a photograph is to be solved: on which part of it, with how large a kernel; told with reasons."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vdip_jax import classical, kernels, support
from vdip_jax.candidates import luma
from vdip_jax.crops import crops
from vdip_jax.tiles import Tile

# Kernels of parts of a photograph less alike than this are not one kernel (docs/photographs.md).
_ALIKE = 0.6
_PARTS = 3


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


def plan(light: np.ndarray, kernel_size: tuple[int, int] | None, side: int, known: bool) -> Plan:
    """Choose the part to solve, at most `side` pixels a side unless that is 0, and find the kernel's size.

    Args:
      light: [H, W] or [H, W, 3] in [0, 1].
      kernel_size: where it was asked for; None to find it.
      side: of the part.
      known: whether the kernel is given and needs no estimate.
    """
    places = _places(light, side)
    decisions, warnings = [], []
    if kernel_size is None:
        found = support.find([gray(light[place.window]) for place in places])
        kernel_size = (found.size, found.size)
        decisions.append(_about_support(found))
    if len(places) > 1 and not known:
        # Where settings agree most on the kernel it is most likely right.
        estimates = [classical.estimate(jnp.asarray(gray(light[place.window])), kernel_size) for place in places]
        best = int(np.argmax([float(estimate.agreement) for estimate in estimates]))
        places = [places[best], *places[:best], *places[best + 1 :]]
        alike = min(float(kernels.likeness(estimates[best].kernel, other.kernel)) for other in estimates)
        decisions.append(_about_likeness(alike, len(places)))
        if alike < _ALIKE:
            warnings.append(
                f"kernels of {len(places)} parts of the picture agree by {alike:.2f} only (1: fully): if the blur is "
                f"not the same everywhere, the result is right near row {places[0].top}, column {places[0].left} only."
            )
    decisions.insert(0, _about_part(light, places[0], side, len(places)))
    return Plan(light, places[0], kernel_size, tuple(decisions), tuple(warnings))


def gray(pixels: np.ndarray) -> np.ndarray:
    """The luma of [H, W] or [H, W, C]."""
    return np.asarray(luma(jnp.asarray(pixels.reshape(*pixels.shape[:2], -1))))


def _places(light: np.ndarray, side: int) -> list[Tile]:
    """The most informative parts; one that is all, if that is no larger than `side`."""
    height, width = light.shape[:2]
    if not side or max(height, width) <= side:
        return [Tile(0, 0, height, width)]
    side = min(side, height, width)
    return [Tile(top, left, side, side) for top, left in crops(light, side, _PARTS)]


def _about_part(light: np.ndarray, part: Tile, side: int, number: int) -> Decision:
    height, width = light.shape[:2]
    if (part.height, part.width) == (height, width):
        return Decision("part that is solved", f"all, {width}x{height} pixels", f"it is not larger than {side}")
    among = f"of the {number} parts with the most edges in many directions, that on whose kernel settings agree most"
    why = among if number > 1 else "the part with the most edges in many directions"
    where = f"{part.width}x{part.height} pixels from column {part.left}, row {part.top}"
    return Decision("part that is solved", where, f"{why}; the rest is restored with its kernel")


def _about_support(found: support.Support) -> Decision:
    looks = [
        f"{'as it is' if look.shrink == 1 else f'shrunk by {look.shrink}'} it shows a kernel of "
        f"{look.extent[0]}x{look.extent[1]} pixels, settings agreeing by {look.agreement:.2f}"
        for look in found.looks
    ]
    return Decision("kernel size", f"{found.size}x{found.size}", "; ".join(looks))


def _about_likeness(alike: float, number: int) -> Decision:
    same = "is taken to be" if alike >= _ALIKE else "may not be"
    return Decision("blur", f"{same} the same everywhere", f"kernels of {number} parts agree by {alike:.2f}")
