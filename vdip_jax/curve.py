"""The losses of a run drawn as SVG for a page: logarithmic, phase by phase."""

import math
from collections.abc import Sequence

import numpy as np

from vdip_jax.markup import escaped

_MOST_POINTS = 500
# Share of the width under which the name of a phase would run into the next one's, on a telephone too.
_LEAST_NAME = 0.25


def loss_curve(loss: np.ndarray, phases: Sequence[tuple[str, int]]) -> str:
    """A <figure class=curve> of the losses; empty if no step was made.

    Lengths along the axes are shares, so that the drawing takes any width while its text keeps its size.

    Args:
      loss: [num_steps], NaN for steps that were not made. Losses that are not positive have no place on the axis; the
        caption tells how many.
      phases: name and number of steps of each, in order, as `Config.phases`.
    """
    loss = np.where(np.isfinite(loss), loss, np.nan)
    made = int(np.flatnonzero(np.isfinite(loss)).max(initial=-1)) + 1
    known = loss[:made]
    if not (known > 0).any():
        return ""
    width = math.ceil(made / _MOST_POINTS)
    parts = _parts(made, phases)
    lines = [_points(known, first, stop, width) for _, first, stop in parts]
    shown = [value for line in lines for _, value in line]
    ticks = decimal_ticks(min(shown), max(shown))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def height(value: float) -> float:
        return 1 - (math.log10(value) - low) / (high - low)

    last = max(made - 1, 1)
    paths = "".join(_path([(step / last, height(value)) for step, value in line]) for line in lines if line)
    axes = _rows([(height(tick), f"{tick:g}") for tick in _sparse(ticks)]) + _columns(last)
    names = _names([(name, first / last) for name, first, _ in parts])
    svg = (
        f"<svg role=img aria-label='{escaped(_told(known, parts))}'>{axes}{names}"
        f"<svg viewBox='0 0 1 1' preserveAspectRatio=none width='100%' height='100%'>{paths}</svg></svg>"
    )
    return f"<figure class=curve>{svg}<figcaption>{escaped(_caption(loss, made, parts, width))}</figcaption></figure>"


def decimal_ticks(low: float, high: float) -> list[float]:
    """One, two and five times powers of ten, two or more: the last up to `low` > 0 to the first from `high` on."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    ticks = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in (1, 2, 5)]
    start = max(i for i, tick in enumerate(ticks) if tick <= low)
    stop = min(i for i, tick in enumerate(ticks) if tick >= high and i > start)
    return ticks[start : stop + 1]


def _parts(made: int, phases: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Name, first step and stop of each phase of which a step was made."""
    parts, first = [], 0
    for name, num_steps in phases:
        if first < made:
            parts.append((name, first, min(first + num_steps, made)))
        first += num_steps
    return parts


def _points(loss: np.ndarray, first: int, stop: int, width: int) -> list[tuple[float, float]]:
    """The steps of a phase by `width` at once: their middle and the median of their positive losses."""
    points = []
    for start in range(first, stop, width):
        end = min(start + width, stop)
        some = loss[start:end]
        if (some > 0).any():
            points.append(((start + end - 1) / 2, float(np.median(some[some > 0]))))
    return points


def _path(points: Sequence[tuple[float, float]]) -> str:
    # The line of no length at the end makes a dot of a single point.
    text = "L".join(f"{x:.4f} {y:.4f}" for x, y in points)
    return f"<path d='M{text}h0' vector-effect=non-scaling-stroke></path>"


def _sparse(ticks: Sequence[float]) -> list[float]:
    """Few enough of the ticks to be read: powers of ten alone, then not each of them."""
    if len(ticks) <= 7:
        return list(ticks)
    decades = [tick for tick in ticks if f"{tick:e}".startswith("1.0")]
    return decades[:: math.ceil(len(decades) / 7)]


def _rows(ticks: Sequence[tuple[float, str]]) -> str:
    """Lines across at shares of the height, with their numbers left of them."""
    return "".join(
        f"<line class=grid x1=0 x2='100%' y1='{y:.2%}' y2='{y:.2%}'></line>"
        f"<text x=0 y='{y:.2%}' dx=-8 dy='.35em' text-anchor=end>{text}</text>"
        for y, text in ticks
    )


def _columns(last: int) -> str:
    """The numbers of steps under the drawing, of which `last` is its right end."""
    spacing = next(tick for tick in decimal_ticks(max(1, last / 10), last) if last / tick <= 5 and tick >= 1)
    steps = range(0, last + 1, int(spacing))
    numbers = "".join(f"<text x='{step / last:.2%}' y='100%' dy=18 text-anchor=middle>{step}</text>" for step in steps)
    return f"{numbers}<text x='100%' y='100%' dy=36 text-anchor=end>step</text>"


def _names(starts: Sequence[tuple[str, float]]) -> str:
    """A line where each phase begins, and its name above; a second row where two would run into one another."""
    lines, names, end = "", "", 0.0
    for name, x in starts:
        top = 8 if x >= end else 24
        end = x + _LEAST_NAME if top == 8 else end
        lines += f"<line class=phase x1='{x:.2%}' x2='{x:.2%}' y1=-{top} y2='100%'></line>"
        names += f"<text class=phase x='{x:.2%}' y=-{top} dx=5 dy='.35em'>{escaped(name)}</text>"
    return lines + names


def _told(loss: np.ndarray, parts: Sequence[tuple[str, int, int]]) -> str:
    """How each phase went, for those who do not see the curve."""
    phases = []
    for name, first, stop in parts:
        mine = loss[first:stop]
        mine = mine[np.isfinite(mine)]
        if mine.size:
            phases.append(f"{name} from {mine[0]:.3g} to {mine[-1]:.3g} in {stop - first} steps")
    return f"Loss: {', '.join(phases)}"


def _caption(loss: np.ndarray, made: int, parts: Sequence[tuple[str, int, int]], width: int) -> str:
    sentences = [f"{_told(loss[:made], parts)}."]
    if len(parts) > 1:
        sentences.append("Every phase has a loss of its own: a jump between two tells nothing.")
    if made < len(loss):
        sentences.append(f"The run was ended after {made} of {len(loss)} steps.")
    if width > 1:
        sentences.append(f"A point is the median of {width} steps.")
    if lost := int((loss[:made] <= 0).sum()):
        sentences.append(f"Losses that were not positive and are not drawn: {lost}.")
    return " ".join(sentences)
