"""One deblurred photograph as a page to look at that needs no other file: before and after, kernel, doubts, reasons."""

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vdip_jax import kernels, markup
from vdip_jax.batches import Estimate
from vdip_jax.config import Config
from vdip_jax.curve import decimal_ticks, loss_curve
from vdip_jax.images import kernel_picture, write_text
from vdip_jax.markup import escaped
from vdip_jax.photographs import Photo

# Of the two large pictures, which a photograph of twelve megapixels would else make into tens of megabytes.
_SIDE, _QUALITY = 1600, 90
_STD_SIDE, _KERNEL_SIDE, _ICON_SIDE = 800, 320, 32
# What pictures smaller than this are enlarged towards, by whole factors.
_LEAST_SIDE = 640
_REGIONS, _REGION_SIDE = 3, 160
# Not to be broken at its dashes.
_FLAG = re.compile(r"--\w+(=[^\s;,]*\w)?")
# Nothing is loaded, and a name that got past the escaping could load nothing either.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Region(NamedTuple):
    """A square of a picture: its upper left pixel, its side, and by how much it changed, root mean square."""

    top: int
    left: int
    side: int
    change: float


def write_page(path: Path, photo: Photo, result: Estimate, record: Mapping[str, Any], doubts: Sequence[str]) -> None:
    """Write the page of one photograph, whole or not at all.

    Args:
      path: of the HTML file.
      photo: as it was solved.
      result: what came out; image and std have as many entries as the photograph.
      record: what `bin/deblur` records: 'answer', 'seconds', 'seed', 'device', 'version', 'versions', 'config' and
        'flags'; 'score', where there is a truth; 'decisions', if any, each a mapping of texts 'what', 'value', 'why'.
      doubts: sentences on why the answer may be wrong.
    """
    y = photo.pixels
    image, std = result.image.reshape(y.shape), result.std.reshape(y.shape)
    config = Config(**record["config"])
    parts = [
        _header(photo, result, record),
        _doubts(doubts),
        _comparison(photo, image),
        _zoom(photo, image),
        f"<div class=pair>{_kernel(result.kernel)}{_std(std, config)}</div>",
        _section("How the loss went", loss_curve(result.loss, config.phases)),
        _decisions(record.get("decisions", [])),
        _details(record),
        f"<script>\n{_asset('page.js')}</script>",
    ]
    icon = markup.png(kernel_picture(result.kernel, _ICON_SIDE))
    head = f"<meta http-equiv=Content-Security-Policy content=\"{_POLICY}\">\n<link rel=icon href='{icon}'>\n"
    write_text(path, markup.document(f"{photo.name}: deblurred", _asset("page.css"), filter(None, parts), head))


def most_changed(before: np.ndarray, after: np.ndarray, side: int, count: int) -> list[Region]:
    """The squares that differ most between two pictures [H, W] or [H, W, C], most first; none overlaps another.

    They lie on a grid of an eighth of their side. Squares without any difference are left out.
    """
    energy = ((after - before) ** 2).reshape(*before.shape[:2], -1).mean(-1)
    total = np.pad(energy.cumsum(0, dtype=float).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = (np.arange(0, length - side + 1, max(1, side // 8)) for length in energy.shape)

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return total[np.ix_(rows, columns)]

    inside = at(tops + side, lefts + side) - at(tops, lefts + side) - at(tops + side, lefts) + at(tops, lefts)
    mean = inside / side**2
    found: list[Region] = []
    while len(found) < count and mean.max() > 1e-9:
        i, j = np.unravel_index(mean.argmax(), mean.shape)
        top, left = int(tops[i]), int(lefts[j])
        found.append(Region(top, left, side, float(np.sqrt(mean[i, j]))))
        mean[np.ix_(abs(tops - top) < side, abs(lefts - left) < side)] = 0
    return found


def _header(photo: Photo, result: Estimate, record: Mapping[str, Any]) -> str:
    facts = [
        f"{_size(photo.pixels)} pixels",
        "kernel {}x{}".format(*result.kernel.shape),
        *([f"{result.num_steps} steps"] if result.num_steps else []),
        _duration(record["seconds"]),
        record["device"],
        f"vdip_jax {record['version']}",
    ]
    listed = "".join(f"<li>{escaped(fact)}</li>" for fact in facts)
    notes = f"<p class=note>{_prose('; '.join(photo.notes))}</p>" if photo.notes else ""
    return (
        f"<header><h1>{escaped(photo.name)}</h1><p>Deblurred; the answer is {escaped(record['answer'])}.</p>"
        f"<ul class=facts>{listed}</ul>{notes}</header>"
    )


def _doubts(doubts: Sequence[str]) -> str:
    if not doubts:
        return ""
    items = "".join(f"<li>{_prose(doubt)}</li>" for doubt in doubts)
    return f"<section class=doubts><h2>Not to be trusted blindly</h2><ul>{items}</ul></section>"


def _comparison(photo: Photo, image: np.ndarray) -> str:
    """The restored picture with the blurred one over it, of which a divider shows more or less."""
    height, width = photo.pixels.shape[:2]
    scale = min(1, _SIDE / max(height, width))
    factor = max(1, _LEAST_SIDE // max(height, width))
    note = "Drag the line, or move it with the arrow keys."
    if scale < 1:
        note += f" Shown at {round(scale * width)}x{round(scale * height)} of {_size(photo.pixels)} pixels."
    before, after = (
        markup.image(markup.jpeg(pixels, _SIDE, _QUALITY, photo.origin.icc), name, " draggable=false")
        + f"<span class=label>{name}</span>"
        for name, pixels in (("blurred", photo.pixels), ("restored", image))
    )
    room = f"--width: {factor * scale * width:.0f}; --ratio: {width / height:.5f}"
    return (
        f"<section><figure><div class=compare style='{room}'>"
        f"<div class=after>{after}</div><div class=before>{before}</div>"
        f"<input type=range min=0 max=100 step=1 value=50 autocomplete=off "
        f"aria-label='Share of the blurred picture that is shown, in percent'>"
        f"<div class=divider></div></div><figcaption>{escaped(note)}</figcaption></figure></section>"
    )


def _zoom(photo: Photo, image: np.ndarray) -> str:
    """The most changed squares of both pictures, pixel by pixel."""
    y = photo.pixels
    side = min(_REGION_SIDE, min(y.shape[:2]) // 3)
    factor = max(2, 2 * _REGION_SIDE // side)
    rows = []
    for region in most_changed(y, image, side, _REGIONS):
        square = np.s_[region.top : region.top + side, region.left : region.left + side]
        pair = "".join(
            markup.figure(markup.png(pixels[square], photo.origin.icc), name, f" width={factor * side}")
            for name, pixels in (("blurred", y), ("restored", image))
        )
        rows.append(f"<li>{pair}<div class=note>{_where(region, y.shape)}</div></li>")
    if not rows:
        return _section("Where it changed most", "<p>Nowhere: the answer is the photograph as it was.</p>")
    note = f"<p class=note>{side}x{side} pixels each, not shrunk, enlarged up to {factor} times.</p>"
    return _section("Where it changed most", f"{note}<ol class=zoom>{''.join(rows)}</ol>")


def _where(region: Region, shape: Sequence[int]) -> str:
    """A region's place in the photograph, drawn and told, and its change."""
    height, width = shape[:2]
    return (
        f"<svg class=place preserveAspectRatio=xMinYMin viewBox='0 0 {width} {height}' aria-hidden=true>"
        f"<rect width={width} height={height}></rect>"
        f"<rect x={region.left} y={region.top} width={region.side} height={region.side}></rect></svg>"
        f"<p>From column {region.left}, row {region.top}. Changed by {255 * region.change:.3g} of 255 gray levels, "
        "root mean square.</p>"
    )


def _kernel(kernel: np.ndarray) -> str:
    height, width = kernel.shape
    factor = max(1, _KERNEL_SIDE // max(height, width))
    # Whole pixels, about a third of the width.
    bar = int(max(1, decimal_ticks(max(1, width / 3), width)[0]))
    rows, columns = kernels.extent(kernel)
    return _section(
        "The kernel",
        f"<figure class=kernel style='--width: {factor * width}'>"
        f"{markup.image(markup.png(kernel_picture(kernel)), 'kernel')}"
        f"<div class=bar style='width: {bar / width:.2%}'></div><div class=length>{bar} px</div></figure>"
        f"<p class=note>What a point of light was spread to. Its noticeable part takes {rows}x{columns} pixels, height "
        f"by width, of a frame of {height}x{width}; white is the largest entry, {kernel.max():.3g} of the light.</p>",
    )


def _std(std: np.ndarray, config: Config) -> str:
    """The map of uncertainty in gray, on the scale that its file has: white is the 99th percentile."""
    if not std.any():
        return _section("Uncertainty", "<p class=note>There is no map: this answer tells no standard deviation.</p>")
    white = float(np.percentile(std, 99) or std.max())
    meaning = (
        "How far a pixel is to be expected from the truth: two thirds lie within it, 95 in a hundred within twice."
        if config.std == "refit"
        else "The standard deviation of every pixel, as the fitted distribution has it."
    )
    gray = np.sqrt((std**2).reshape(*std.shape[:2], -1).mean(-1))
    return _section(
        "Uncertainty",
        f"<figure class=std>{markup.image(markup.jpeg(gray / white, _STD_SIDE, _QUALITY), 'standard deviation')}"
        f"<div class=scale></div><div class=ends><span>0</span>"
        f"<span>{white:.3g}, which is {255 * white:.3g} of 255 gray levels</span></div></figure>"
        f"<p class=note>{meaning} A hundredth of the values is above the scale.</p>",
    )


def _decisions(decisions: Sequence[Mapping[str, str]]) -> str:
    if not decisions:
        return ""
    rows = "".join(
        f"<div><dt>{escaped(decision['what'])}</dt><dd class=value>{escaped(decision['value'])}</dd>"
        f"<dd>{_prose(decision['why'])}</dd></div>"
        for decision in decisions
    )
    return _section("What was decided automatically, and why", f"<dl class=decisions>{rows}</dl>")


def _details(record: Mapping[str, Any]) -> str:
    """What a repetition needs."""
    command = " \\\n  ".join(shlex.quote(word) for word in ("bin/deblur", *record["flags"]))
    blocks = [
        _scores(record["score"]) if "score" in record else "",
        f"<h3>Command</h3><pre>{escaped(command)}</pre>",
        _table("Settings", {"seed": record["seed"], **record["config"]}),
        _table("Versions", {"vdip_jax": record["version"], **record["versions"]}),
    ]
    title = "Settings, seed, versions, command" + (" and scores" if "score" in record else "")
    return f"<section><details><summary>{title}</summary>{''.join(blocks)}</details></section>"


def _scores(score: Mapping[str, Any]) -> str:
    before, after = score["blurred"], score["restored"]
    rows = "".join(
        f"<tr><th>{escaped(name)}</th><td>{escaped(_value(before[name]))}</td><td>{escaped(_value(after[name]))}</td></tr>"
        for name in before
    )
    return (
        f"<h3>Scores, protocol {escaped(score['protocol'])}</h3><div class=scroll>"
        f"<table><tr><th></th><td>blurred</td><td>restored</td></tr>{rows}</table></div>"
    )


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(_value(value))}</dd></div>" for name, value in values.items()
    )
    return f"<h3>{title}</h3><dl class=values>{rows}</dl>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _value(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_value, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _prose(text: str) -> str:
    """A sentence with a capital, a stop, and flags set off."""
    whole = text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return _FLAG.sub(r"<code>\g<0></code>", escaped(whole))


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.2g} s" if seconds < 10 else f"{rest} s"


def _asset(name: str) -> str:
    return resources.files("vdip_jax").joinpath("data", name).read_text("utf-8")
