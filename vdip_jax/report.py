"""An evaluation as one page that needs no other file: tables, failures, pictures, worst cases first."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vdip_jax import markup, tables
from vdip_jax.checks import Refusal
from vdip_jax.datasets import Case, Dataset, Pair, cropped, load_case
from vdip_jax.images import kernel_picture, write_text
from vdip_jax.markup import escaped
from vdip_jax.records import Record, gain, read_picture, read_settings
from vdip_jax.rendering import cell_text, notes, row_title
from vdip_jax.tables import Table

_SIDE = 480
_KERNEL_SIDE = 150
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 2rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr.measured { background: #eef6ee; font-weight: 600 }
.scroll { overflow-x: auto } .note { color: #666; font-size: .9em }
section { border-top: 1px solid #ccc; padding: .5rem 0 1rem } .row { display: flex; flex-wrap: wrap; gap: .8rem }
figure { margin: 0 } figcaption { font-size: .85em; color: #444 } img { max-width: 100%; display: block }
img.kernel { image-rendering: pixelated; background: #000 }
"""


def write_report(folder: Path, dataset: Dataset, records: Sequence[Record], made: Sequence[Table]) -> Path:
    """Write `report.html` into the folder of an evaluation; return its path."""
    settings = read_settings(folder)
    told = ", ".join(f"{name}={value}" for name, value in settings.items() if name not in ("format", "title"))
    devices = sorted({f"{record['device']}, jax {record['versions']['jax']}" for record in records})
    commits = sorted({str(record["commit"]) for record in records})
    parts = [
        f"<h1>{escaped(dataset.title)}</h1>",
        f"<p class=note>{len(records)} records; {escaped(told)}.<br>Device: {escaped('; '.join(devices))}. "
        f"Commit: {escaped(', '.join(commits))}.</p>",
        *(_table(table) for table in made),
        _list("Failed", tables.failures(records)),
        _list("Warnings", tables.warnings(records)),
        "<h2>Pictures, the least gain first</h2>",
        *(
            _section(folder, dataset, pair, mine, settings.get("crop", 0))
            for pair, mine in _worst_first(dataset, records)
        ),
    ]
    path = folder / "report.html"
    write_text(path, markup.document(f"{dataset.title}: evaluation", _STYLE, parts))
    return path


def _worst_first(dataset: Dataset, records: Iterable[Record]) -> list[tuple[Pair, list[Record]]]:
    """Each image with its records, in order of the smallest gain among them."""
    pairs = {pair.name: pair for pair in dataset.pairs}
    by_image: dict[str, list[Record]] = {}
    for record in records:
        if record["name"] in pairs:
            by_image.setdefault(record["name"], []).append(record)

    def least(name: str) -> tuple[float, str]:
        gains = [value for value in map(gain, by_image[name]) if not np.isnan(value)]
        return (min(gains, default=0.0), name)

    return [(pairs[name], by_image[name]) for name in sorted(by_image, key=least)]


def _section(folder: Path, dataset: Dataset, pair: Pair, records: Sequence[Record], crop: int) -> str:
    try:
        case: Case | None = cropped(load_case(dataset, pair), crop)
    except Refusal:
        case = None
    first = []
    if case is not None:
        blurred = next((record["blurred"]["rgb"] for record in records if "blurred" in record), None)
        first.append(_figure("blurred" + (f": {_quality(blurred)}" if blurred else ""), case.y))
        if case.truth is not None:
            first.append(_figure("truth", case.truth))
        if case.kernel is not None:
            first.append(_kernel("true kernel", case.kernel))
    rows = [f"<div class=row>{''.join(first)}</div>"]
    for record in sorted(records, key=lambda record: (record["method"], record["seed"])):
        rows.append(f"<div class=row>{_restored(folder, record)}</div>")
    return f"<section><h3>{escaped(pair.name)}</h3>{''.join(rows)}</section>"


def _restored(folder: Path, record: Record) -> str:
    title = f"{record['method']}, seed {record['seed']}"
    if record["failed"]:
        return f"<p>{escaped(title)}: failed: {escaped(record['failed'])}</p>"
    if "restored" in record:
        title += f": {_quality(record['restored']['rgb'])} ({gain(record):+.2f} dB)"
    picture = read_picture(folder, record)
    if picture is None:
        return f"<p>{escaped(title)}; its picture is not in this folder.</p>"
    figures = [_figure(title, picture.image)]
    if picture.std is not None:
        figures.append(_figure(f"std, white is {record['std_scale']:.3g}", picture.std))
    if picture.kernel is not None:
        error = f": correlation {record['kernel_error']['ncc']:.3f}" if "kernel_error" in record else ""
        figures.append(_kernel(f"kernel{error}", picture.kernel))
    return "".join(figures)


def _quality(score: dict[str, float]) -> str:
    return f"{score['psnr']:.2f} dB / {score['ssim']:.3f}"


def _figure(caption: str, pixels: np.ndarray) -> str:
    return markup.figure(markup.jpeg(pixels, _SIDE, 88), caption)


def _kernel(caption: str, kernel: np.ndarray) -> str:
    return markup.figure(markup.png(kernel_picture(kernel, _KERNEL_SIDE)), caption, " class=kernel")


def _table(table: Table) -> str:
    head = "".join(f"<th>{escaped(column)}" for column in ("", *table.columns))
    rows = []
    for row in table.rows:
        cells = "".join(f"<td>{escaped(cell_text(table, row, column))}" for column in table.columns)
        kind = "measured" if row.source == "measured" else "published"
        rows.append(f"<tr class={kind}><td>{escaped(row_title(table, row))}{cells}")
    sources = "".join(f"<p class=note>{escaped(note)}</p>" for note in notes(table))
    title = f"{table.title}: {' / '.join(table.metrics)}"
    return f"<h2>{escaped(title)}</h2><div class=scroll><table><tr>{head}{''.join(rows)}</table></div>{sources}"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}: {len(lines)}</h2><ul>{''.join(f'<li>{escaped(line)}' for line in lines)}</ul>"
