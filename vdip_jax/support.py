"""How large the blur of a photograph is, and where it shows best: found by looking at parts of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vdip_jax import classical, kernels, pyramid
from vdip_jax.tiles import Tile, around
from vdip_jax.triage import block_means

# Sides of frames, a fifth apart: photographs alike then share compiled programs. One of 7 pixels cuts off what a shake
# within 5 leaves beside its middle.
SIZES = (9, 11, 13, 15, 19, 23, 27, 31, 37, 45, 55, 65, 77, 93, 111, 133)
# One frame for looks: what is longer shows in a smaller picture. If that shows nothing clearly, a wider one.
FRAME, _WIDE = 31, 93
_SHRINKS = (1, 2, 4)
# A kernel that fills more of its frame may go on beyond it.
_FULL = 0.85
# A look is believed if its settings agree by that.
_TRUSTED = 0.8
# Room around what was found; where nothing can be believed, that is wide by its specks.
_MARGIN = 1.25


class Look(NamedTuple):
    """The kernel [n, n] that a part shows in a picture shrunk by `shrink`, and how far settings agree on it."""

    part: int
    shrink: int
    kernel: np.ndarray
    agreement: float

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of the kernel in pixels of the photograph."""
        rows, columns = kernels.extent(self.kernel)
        return self.shrink * rows, self.shrink * columns

    @property
    def is_believed(self) -> bool:
        """Whether settings agree well enough."""
        return self.agreement >= _TRUSTED

    @property
    def is_full(self) -> bool:
        """Whether the kernel fills its frame, and may go on beyond."""
        return max(self.extent) >= _FULL * len(self.kernel) * self.shrink

    @property
    def is_wide(self) -> bool:
        """Whether the frame is the wider one."""
        return len(self.kernel) > FRAME


class Support(NamedTuple):
    """A frame for the kernel: its side, and what was seen on the way there; `decisive`: the longest kernel."""

    size: int
    decisive: Look
    looks: tuple[Look, ...]

    @property
    def comparable(self) -> list[Look]:
        """The looks in the frame and at the scale of the decisive one."""
        kind = (self.decisive.shrink, self.decisive.is_wide)
        return [look for look in self.looks if (look.shrink, look.is_wide) == kind]


class Comparison(NamedTuple):
    """The part that shows its kernel best, and the least `likeness` of the others' to it, of those to be believed.

    `likeness` is NaN where no other can be believed.
    """

    best: int
    likeness: float


def find(
    gray: np.ndarray,
    parts: Sequence[Tile],
    largest: int,
    tell: Callable[[Look], None] = lambda look: None,
    steep: bool = False,
) -> Support:
    """Estimate kernels of parts of a picture and of smaller copies, in one over-sized frame.

    The longest that can be believed and does not fill its frame counts: a frame that is too small shows a part of the
    blur or a blob; one that is too large costs little where the kernel shows clearly (docs/photographs.md). Parts are
    looked at at all scales until one can be believed, then at the decisive one only. If none can, a look at the first
    in a wider frame is the last. Where edges are steep the blur is short: what leaves room in its frame is not looked
    for in a smaller copy, nor anything in a wider frame.

    Args:
      gray: [H, W], blurred, in [0, 1].
      parts: the most telling one first; at least 10 pixels a side.
      largest: side of a kernel for which there is room.
      tell: called with each look.
      steep: whether the picture's edges are (`triage.nearly_sharp`).
    """
    looks: list[Look] = []
    wide: list[Look] = []
    for number in range(len(parts)):
        looks += _looks(gray, parts, number, tell, steep)
        if any(look.is_believed for look in looks):
            break
    else:
        if not steep and _frame(parts[0], 1, _WIDE) > FRAME:
            wide.append(look_at(gray, parts, 0, 1, _WIDE))
            tell(wide[0])
    shrink = _longest(looks).shrink
    looks += [look_at(gray, parts, number, shrink) for number in range(looks[-1].part + 1, len(parts))]
    # A kernel that the other frame had room for would have been clear there.
    counting = [look for look in wide if look.is_believed and max(look.extent) > FRAME] or looks
    decisive = _longest(counting)
    margin = _MARGIN if any(look.is_believed for look in counting) else 1
    return Support(side_for(decisive, largest, margin), decisive, (*looks, *wide))


def side_for(look: Look, largest: int, margin: float = _MARGIN) -> int:
    """Side of a frame for `margin` times the kernel of a look, where there is room for `largest`."""
    wanted = next((side for side in SIZES if side >= margin * max(look.extent)), SIZES[-1])
    return min(max((side for side in SIZES if side <= largest), default=SIZES[0]), wanted)


def look_at(gray: np.ndarray, parts: Sequence[Tile], number: int, shrink: int, side: int = FRAME) -> Look:
    """Estimate the kernel of one of the parts, with as much around it as makes as many pixels in the shrunk picture.

    In a frame of at most `side` pixels. In a wider one searches take long, and there are no more of them in doubt.
    """
    window = _window(parts[number], shrink, gray.shape)
    frame = _frame(window, shrink, side)
    estimate = classical.estimate if side == FRAME else classical.first_estimate
    found = estimate(jnp.asarray(block_means(gray[window.window], shrink)), (frame, frame))
    return Look(number, shrink, np.asarray(found.kernel), float(found.agreement))


def shrink_for(size: int) -> int:
    """By how much to shrink a picture for a kernel of a `size` to fill the frame of a look."""
    return next((shrink for shrink in _SHRINKS if size <= shrink * FRAME), _SHRINKS[-1])


def compared(looks: Sequence[Look]) -> Comparison:
    """Of looks in one frame and at one scale, that on which settings agree most, where it is most likely right."""
    best, *others = sorted(looks, key=lambda look: -look.agreement)
    likenesses = [
        float(kernels.likeness(jnp.asarray(best.kernel), jnp.asarray(other.kernel)))
        for other in others
        if other.is_believed
    ]
    return Comparison(best.part, min(likenesses, default=float("nan")))


def _looks(
    gray: np.ndarray, parts: Sequence[Tile], number: int, tell: Callable[[Look], None], steep: bool
) -> list[Look]:
    """Of one part, at all scales that have something to add."""
    looks: list[Look] = []
    for shrink in _SHRINKS:
        # What smaller copies show no better is not looked for there.
        if looks and _frame(_window(parts[number], shrink, gray.shape), shrink) < FRAME:
            break
        if shrink > (1 if steep else 2) and not looks[-1].is_full:
            break
        looks.append(look_at(gray, parts, number, shrink))
        tell(looks[-1])
    return looks


def _longest(looks: Sequence[Look]) -> Look:
    """Of those believed that leave room in their frame; else one scale beyond those that fill it; else as it is."""
    believed = [look for look in looks if look.is_believed]
    with_room = [look for look in believed if not look.is_full]
    beyond = 2 * max((look.shrink for look in believed), default=0)
    # What is not believed and fills its frame is noise.
    further = [look for look in looks if look.shrink == beyond and not look.is_full]
    as_it_is = [look for look in looks if look.shrink == 1]
    return max(with_room or further or believed or as_it_is, key=lambda look: max(look.extent))


def _window(part: Tile, shrink: int, size: tuple[int, int]) -> Tile:
    """What a look at a part takes in of a picture of `size`: `shrink` times its height and width."""
    return around(part, (shrink * part.height, shrink * part.width), size)


def _frame(window: Tile, shrink: int, side: int = FRAME) -> int:
    """Side of the kernel's frame, `side` if there is room, in what is seen of a window."""
    return min(side, pyramid.largest_kernel((window.height // shrink, window.width // shrink)))
