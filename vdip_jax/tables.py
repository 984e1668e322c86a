"""Tables of an evaluation, computed from its records, beside published ones.

Measured and published numbers stand in rows of their own and are never averaged together.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from vdip_jax.config import METHODS
from vdip_jax.datasets import Dataset
from vdip_jax.metrics import PROTOCOLS
from vdip_jax.records import Record

AVERAGE = "Average"


class Cell(NamedTuple):
    """Means of a table's metrics over `num` images `of` the full set; published ones have no numbers of images."""

    values: tuple[float | None, ...]
    num: int | None = None
    of: int | None = None


class Row(NamedTuple):
    """One method: `source` is 'measured' or the publication; `cells` by category."""

    name: str
    source: str
    cells: dict[str, Cell]


class Table(NamedTuple):
    """What was measured, in which metrics, over which categories."""

    title: str
    protocol: str
    metrics: tuple[str, ...]
    formats: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


# From a record to the numbers of a table, or None if it has none.
Pick = Callable[[Record], Sequence[float | None] | None]


class Kind(NamedTuple):
    """A table to be: its records, how its numbers are picked from one, and which published table belongs beside."""

    title: str
    protocol: str
    metrics: tuple[str, ...]
    formats: tuple[str, ...]
    records: Sequence[Record]
    pick: Pick
    blurred: Pick | None = None
    beside: str = ""


# The published tables that belong beside the measured ones, by data set and kind.
_PUBLISHED: dict[str, dict[str, tuple[str, ...]]] = {
    "levin2009": {"image": ("levin2009",), "error ratio": ("levin2009",)},
    "lai2016": {"image": ("lai2016_uniform", "lai2016_uniform_later"), "kernel": ("lai2016_kernel_error",)},
    "lai2016_real": {"no reference": ("lai2016_real_no_reference",)},
}


@functools.cache
def published() -> dict[str, Any]:
    """Published numbers by table: metric, protocol, source and rows."""
    with resources.files("vdip_jax").joinpath("data", "published.json").open() as file:
        return json.load(file)


def make_tables(dataset: Dataset, records: Sequence[Record]) -> list[Table]:
    """All tables that the records give something for."""
    columns = (*sorted({record["category"] for record in records}), AVERAGE)
    tables = []
    for kind in _kinds(records):
        rows = _measured(dataset, kind.records, kind.pick, kind.blurred)
        if rows:
            beside = _PUBLISHED.get(dataset.name, {}).get(kind.beside, ())
            theirs = [row for key in beside for row in _published(key, kind.metrics)]
            tables.append(Table(kind.title, kind.protocol, kind.metrics, kind.formats, columns, (*rows, *theirs)))
    return tables


def _kinds(records: Sequence[Record]) -> list[Kind]:
    """The tables that there may be, in order."""
    kinds, look = [], (("PSNR dB", "SSIM"), (".2f", ".3f"))
    for protocol in PROTOCOLS:
        pick, blurred = (_at(which, protocol, keys=("psnr", "ssim")) for which in ("restored", "blurred"))
        kinds.append(Kind(f"Image, protocol {protocol}", protocol, *look, records, pick, blurred, "image"))
    for protocol in PROTOCOLS:
        title = f"Image against the truth in the range it was blurred in, protocol {protocol}"
        pick, blurred = (
            _at("range_corrected", which, protocol, keys=("psnr", "ssim")) for which in ("restored", "blurred")
        )
        kinds.append(Kind(title, protocol, *look, records, pick, blurred))
    references = "; ".join(
        sorted({record["error_ratio"]["reference"] for record in records if "error_ratio" in record})
    )
    spread = "Spread between seeds: standard deviation of an image's PSNR, mean over images"
    within = "Share of errors within 1, 2 and 3 standard deviations, and rank correlation of the two"
    return [
        *kinds,
        Kind(spread, "rgb", ("dB",), (".2f",), _spreads(records), _at(keys=("spread",))),
        Kind(
            "Kernel error, sum-normalised kernels, best alignment",
            "any",
            ("RMSE", "NCC", "SSD"),
            (".5f", ".3f", ".4f"),
            records,
            _at("kernel_error", keys=("rmse", "ncc", "ssd")),
            beside="kernel",
        ),
        Kind(
            f"Error ratio against the non-blind result, {references}",
            "rgb",
            ("error ratio", "non-blind PSNR dB"),
            (".3f", ".2f"),
            records,
            _at("error_ratio", keys=("ratio", "psnr")),
            beside="error ratio",
        ),
        Kind(
            "Without a reference, lower is better",
            "any",
            ("NIQE", "BRISQUE", "PIQE"),
            (".3f", ".3f", ".3f"),
            records,
            _at("no_reference", keys=("niqe", "brisque", "piqe")),
            beside="no reference",
        ),
        Kind(within, "rgb", ("1", "2", "3", "rank"), (".3f", ".3f", ".3f", ".3f"), records, _calibration),
        Kind("Seconds an image, compilation included", "any", ("seconds",), (".1f",), records, _at(keys=("seconds",))),
    ]


def failures(records: Iterable[Record]) -> list[str]:
    """A sentence for each image without a result, or with one that is not what was asked for."""
    lines = []
    for record in records:
        title = f"{record['name']}, {record['method']}, seed {record['seed']}"
        if record["failed"]:
            lines.append(f"{title}: failed: {record['failed']}")
        elif record.get("ok") is False:
            lines.append(f"{title}: an update was not finite; the last good state is scored.")
    return lines


def warnings(records: Iterable[Record]) -> list[str]:
    """A sentence for each image whose best shift lies on the border of the search."""
    lines = []
    for record in records:
        shifts = [
            f"{tuple(score['shift'])} by protocol {protocol}"
            for protocol, score in record.get("restored", {}).items()
            if score["at_border"]
        ]
        if shifts:
            title = f"{record['name']}, {record['method']}, seed {record['seed']}"
            lines.append(f"{title}: best shift on the border of the search, {', '.join(shifts)}.")
    return lines


def _measured(
    dataset: Dataset,
    records: Sequence[Record],
    pick: Pick,
    blurred: Pick | None,
) -> list[Row]:
    """A row a method, and before them one of the blurred images themselves."""
    rows = []
    if blurred is not None:
        # Each blurred image once, whatever was made of it.
        once = {record["name"]: record for record in records if blurred(record) is not None}
        if once:
            rows.append(Row("blurred", "measured", _cells(dataset, list(once.values()), blurred)))
    for method in sorted({record["method"] for record in records}, key=_order):
        mine = [record for record in records if record["method"] == method and not record["failed"]]
        cells = _cells(dataset, [record for record in mine if pick(record) is not None], pick)
        if cells:
            seeds = len({record["seed"] for record in mine})
            rows.append(Row(method if seeds == 1 else f"{method} ({seeds} seeds)", "measured", cells))
    return rows


def _order(method: str) -> tuple[int, str]:
    """Methods as in the paper's Table I, then others by name."""
    return (list(METHODS).index(method) if method in METHODS else len(METHODS), method)


def _spreads(records: Iterable[Record]) -> list[Record]:
    """A record for each image and method that was solved with several seeds, with the spread of its PSNR."""
    by_image: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if "restored" in record:
            by_image.setdefault((record["name"], record["method"]), []).append(record)
    return [
        {**several[0], "spread": float(np.std([record["restored"]["rgb"]["psnr"] for record in several], ddof=1))}
        for several in by_image.values()
        if len(several) > 1
    ]


def _cells(dataset: Dataset, records: Sequence[Record], pick: Pick) -> dict[str, Cell]:
    """Means over seeds, then over images, by category and over all."""
    if not records:
        return {}
    by_image: dict[tuple[str, str], list[list[float]]] = {}
    for record in records:
        picked = pick(record)
        assert picked is not None
        values = [np.nan if value is None else float(value) for value in picked]
        by_image.setdefault((record["category"], record["name"]), []).append(values)
    means = {key: np.mean(values, axis=0) for key, values in by_image.items()}
    columns = {AVERAGE: list(means.values())}
    for (category, _), values in means.items():
        columns.setdefault(category, []).append(values)
    return {
        column: Cell(
            tuple(_finite(value) for value in np.mean(values, axis=0)),
            len(values),
            dataset.full_count(None if column == AVERAGE else column),
        )
        for column, values in columns.items()
    }


def _published(key: str, wanted: Sequence[str]) -> list[Row]:
    """Rows of a published table in the metrics `wanted`, by those it has."""
    table = published()[key]
    names = {"PSNR dB": "psnr", "SSIM": "ssim", "error ratio": "error_ratio"}
    source = f"{table['source']}; protocol: {table.get('protocol', table['metric'])}"

    def cell(numbers: Any) -> Cell:
        if not isinstance(numbers, Mapping):
            # A single number is the first metric of its table.
            return Cell((numbers, *(None for _ in wanted[1:])))
        return Cell(tuple(numbers.get(names.get(metric, metric)) for metric in wanted))

    rows = []
    for name, numbers in table["rows"].items():
        by_category = isinstance(numbers, Mapping) and AVERAGE in numbers
        cells = {k.lower() if k != AVERAGE else k: cell(v) for k, v in numbers.items()} if by_category else {}
        rows.append(Row(name, source, cells or {AVERAGE: cell(numbers)}))
    return rows


def _at(*path: str, keys: Sequence[str]) -> Pick:
    """Picks the numbers `keys` at a path in a record, None if it does not lead to any."""

    def pick(record: Record) -> list[float | None] | None:
        found: Any = record
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or all(found.get(key) is None for key in keys):
            return None
        return [found.get(key) for key in keys]

    return pick


def _calibration(record: Record) -> Sequence[float | None] | None:
    found = record.get("calibration")
    return None if found is None else (*found["within"], found["rank_correlation"])


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
