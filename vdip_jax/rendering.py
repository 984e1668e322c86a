"""Tables of an evaluation as text, CSV and plain values."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from vdip_jax import tables
from vdip_jax.records import Record
from vdip_jax.tables import Row, Table


def as_text(made: Iterable[Table], records: Sequence[Record]) -> str:
    """The tables, failures and warnings to read."""
    parts = [table_text(table) for table in made]
    for title, lines in (("Failed", tables.failures(records)), ("Warnings", tables.warnings(records))):
        if lines:
            parts.append("\n".join([f"{title}: {len(lines)}", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    """One table in columns."""
    header = ["", *table.columns]
    lines: list[list[str]] = [header]
    for row in table.rows:
        lines.append([row_title(table, row), *(cell_text(table, row, column) for column in table.columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = ["  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    title = f"{table.title}: {' / '.join(table.metrics)}"
    return "\n".join([title, "-" * len(title), *text, *notes(table)])


def row_title(table: Table, row: Row) -> str:
    """The row's name, and for a published one the number of its source."""
    return row.name if row.source == "measured" else f"{row.name} [{_sources(table).index(row.source) + 1}]"


def notes(table: Table) -> list[str]:
    """The sources of the published rows by number."""
    return [f"[{number}] {source}" for number, source in enumerate(_sources(table), 1)]


def _sources(table: Table) -> list[str]:
    return list(dict.fromkeys(row.source for row in table.rows if row.source != "measured"))


def cell_text(table: Table, row: Row, column: str) -> str:
    """A cell's means and, of measured ones, how many images they are of."""
    cell = row.cells.get(column)
    if cell is None:
        return "-"
    means = zip(cell.values, table.formats, strict=True)
    text = " / ".join("-" if value is None else format(value, look) for value, look in means)
    return text if cell.num is None else f"{text} ({cell.num} of {cell.of})"


def as_csv(made: Iterable[Table]) -> str:
    """The tables as one in long form, a number a line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "protocol", "row", "source", "category", "metric", "value", "count", "of"])
    for table in made:
        for row in table.rows:
            for category, cell in row.cells.items():
                for metric, value in zip(table.metrics, cell.values, strict=True):
                    if value is not None:
                        where = [table.title, table.protocol, row.name, row.source, category, metric]
                        writer.writerow([*where, value, cell.num, cell.of])
    return file.getvalue()


def as_json(made: Iterable[Table], records: Sequence[Record]) -> dict[str, Any]:
    """The tables, failures and warnings as plain values."""

    def plain(row: Row) -> dict[str, Any]:
        return {**row._asdict(), "cells": {column: cell._asdict() for column, cell in row.cells.items()}}

    return {
        "tables": [{**table._asdict(), "rows": [plain(row) for row in table.rows]} for table in made],
        "failed": tables.failures(records),
        "warnings": tables.warnings(records),
    }
