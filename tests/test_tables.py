"""Tables from records: means, counts, published rows beside, nothing lost."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from vdip_jax.datasets import Dataset, Pair
from vdip_jax.rendering import as_csv, as_json, as_text, cell_text
from vdip_jax.tables import AVERAGE, failures, make_tables, published, warnings

TEXTS = ("text_01_kernel_01", "text_01_kernel_02", "people_01_kernel_01")


def dataset(name="lai2016", names=TEXTS):
    pairs = [Pair(stem, stem[:-10], stem[-9:], stem.split("_")[0], Path("blurred") / f"{stem}.png") for stem in names]
    return Dataset(name, "A title", tuple(pairs), (), "convolution")


def score(psnr, ssim=0.8, shift=(0.0, 0.0), at_border=False):
    return {protocol: dict(psnr=psnr + more, ssim=ssim, shift=shift, at_border=at_border) for protocol, more in MORE}


MORE = (("rgb", 0.0), ("selfdeblur", 1.5))


def record(name, psnr, method="vdip-sparse", seed=0, **more):
    category = name.split("_")[0]
    base = dict(name=name, category=category, method=method, seed=seed, failed=None, ok=True, seconds=10.0)
    return {**base, "blurred": score(20.0, 0.5), "restored": score(psnr), **more}


def failed(name, method="vdip-sparse"):
    return dict(name=name, category=name.split("_")[0], method=method, seed=0, failed="it broke.")


def row(tables, title, name):
    table = next(table for table in tables if table.title.startswith(title))
    return table, next(row for row in table.rows if row.name == name)


def test_means_and_counts_by_category_and_over_all():
    tables = make_tables(dataset(), [record(TEXTS[0], 22.0), record(TEXTS[1], 24.0), record(TEXTS[2], 31.0)])
    table, mine = row(tables, "Image, protocol rgb", "vdip-sparse")
    assert mine.cells["text"] == ((23.0, pytest.approx(0.8)), 2, 20)
    assert mine.cells["people"] == ((31.0, pytest.approx(0.8)), 1, 20)
    assert mine.cells[AVERAGE] == ((pytest.approx(77 / 3), pytest.approx(0.8)), 3, 100)
    assert cell_text(table, mine, "text") == "23.00 / 0.800 (2 of 20)"
    assert cell_text(table, mine, "natural") == "-"
    _, other = row(tables, "Image, protocol selfdeblur", "vdip-sparse")
    assert other.cells["text"].values[0] == 24.5
    _, blurred = row(tables, "Image, protocol rgb", "blurred")
    assert blurred.cells[AVERAGE] == ((20.0, 0.5), 3, 100)


def test_a_failed_image_is_missing_from_the_count_and_listed():
    records = [record(TEXTS[0], 22.0), failed(TEXTS[1])]
    tables = make_tables(dataset(), records)
    assert row(tables, "Image, protocol rgb", "vdip-sparse")[1].cells["text"].num == 1
    assert failures(records) == ["text_01_kernel_02, vdip-sparse, seed 0: failed: it broke."]
    assert "Failed: 1\n  text_01_kernel_02" in as_text(tables, records)
    assert as_json(tables, records)["failed"] == failures(records)


def test_only_failures_make_no_table_but_a_list():
    assert make_tables(dataset(), [failed(TEXTS[0])]) == []
    assert as_text([], [failed(TEXTS[0])]).startswith("Failed: 1")


def test_a_result_that_is_not_finite_counts_and_is_listed():
    records = [record(TEXTS[0], 12.0, ok=False)]
    assert row(make_tables(dataset(), records), "Image, protocol rgb", "vdip-sparse")[1].cells["text"].num == 1
    assert "last good state" in failures(records)[0]


def test_seeds_are_averaged_within_an_image_before_images_are():
    records = [record(TEXTS[0], 20.0), record(TEXTS[0], 24.0, seed=1), record(TEXTS[1], 30.0)]
    tables = make_tables(dataset(), records)
    _, mine = row(tables, "Image, protocol rgb", "vdip-sparse (2 seeds)")
    assert mine.cells["text"].values[0] == pytest.approx(26.0)
    assert mine.cells["text"].num == 2
    _, spread = row(tables, "Spread", "vdip-sparse")
    assert spread.cells["text"].values[0] == pytest.approx(np.std([20, 24], ddof=1))


def test_methods_have_rows_of_their_own():
    records = [record(TEXTS[0], 22.0), record(TEXTS[0], 26.0, method="dip")]
    tables = make_tables(dataset(), records)
    assert row(tables, "Image, protocol rgb", "dip")[1].cells["text"].values[0] == 26.0
    # The blurred image counts once.
    assert row(tables, "Image, protocol rgb", "blurred")[1].cells["text"].num == 1


def test_published_rows_stand_beside_with_their_source_and_are_not_averaged_in():
    tables = make_tables(dataset(), [record(TEXTS[0], 22.0)])
    _, theirs = row(tables, "Image, protocol rgb", "VDIP-Sparse")
    assert theirs.cells[AVERAGE].values == (25.12, 0.869)
    assert theirs.cells["text"].values == (27.24, 0.927)
    assert theirs.cells["text"].num is None
    assert "Table I" in theirs.source and "not stated" in theirs.source
    _, later = row(tables, "Image, protocol rgb", "Deblur-INR")
    assert "selfdeblur" in later.source
    text = as_text(tables, [])
    assert "VDIP-Sparse [1]" in text and "[1] Huo et al., TPAMI 2023, Table I" in text


def test_published_kernel_errors_are_the_first_metric():
    error = {"rmse": 0.001, "ncc": 0.9, "ssd": 0.01}
    tables = make_tables(dataset(), [record(TEXTS[0], 22.0, kernel_error=error)])
    assert row(tables, "Kernel error", "VDIP-Sparse")[1].cells["text"].values == (0.0006, None, None)
    assert row(tables, "Kernel error", "vdip-sparse")[1].cells["text"].values == (0.001, 0.9, 0.01)


def test_levin_has_its_own_published_rows_and_error_ratio():
    levin = Dataset("levin2009", "Levin", (Pair("im1_kernel1_img", "im1", "kernel1", "im1", Path("x")),), (), "")
    ratio = {"ratio": 1.2, "psnr": 31.0, "reference": "somebody's method"}
    tables = make_tables(levin, [{**record("im1_kernel1_img", 30.0, error_ratio=ratio), "category": "im1"}])
    assert row(tables, "Image, protocol selfdeblur", "Deblur-INR")[1].cells[AVERAGE].values == (33.74, 0.938)
    table, mine = row(tables, "Error ratio", "vdip-sparse")
    assert mine.cells[AVERAGE] == ((1.2, 31.0), 1, 32)
    assert "somebody's method" in table.title
    assert row(tables, "Error ratio", "Deblur-INR")[1].cells[AVERAGE].values == (1.185, None)


def test_another_data_set_has_no_published_rows():
    tables = make_tables(dataset("other"), [record(TEXTS[0], 22.0)])
    assert {row.source for table in tables for row in table.rows} == {"measured"}
    assert row(tables, "Image, protocol rgb", "vdip-sparse")[1].cells["text"][1:] == (1, 2)


def test_shift_on_the_border_is_warned_of():
    assert warnings([record(TEXTS[0], 22.0)]) == []
    lines = warnings([record(TEXTS[0], 22.0, restored=score(22.0, shift=(10.0, 0.25), at_border=True))])
    assert len(lines) == 1
    assert "(10.0, 0.25) by protocol rgb, (10.0, 0.25) by protocol selfdeblur" in lines[0]


def test_no_reference_measures_that_are_missing_leave_a_gap():
    measures = {"niqe": None, "piqe": 40.0}
    tables = make_tables(dataset(), [record(TEXTS[0], 22.0, no_reference=measures)])
    table, mine = row(tables, "Without a reference", "vdip-sparse")
    assert cell_text(table, mine, "text") == "- / - / 40.000 (1 of 20)"


def test_truth_against_itself_is_infinite_in_every_form():
    tables = make_tables(dataset(), [record(TEXTS[0], float("inf"))])
    table, mine = row(tables, "Image, protocol rgb", "vdip-sparse")
    assert cell_text(table, mine, "text").startswith("inf")
    assert json.loads(json.dumps(as_json(tables, [])))["tables"][0]["rows"][1]["cells"]["text"]["values"][0] == np.inf


def test_csv_holds_a_number_a_line():
    tables = make_tables(dataset(), [record(TEXTS[0], 22.0)])
    lines = list(csv.DictReader(io.StringIO(as_csv(tables))))
    mine = [line for line in lines if line["row"] == "vdip-sparse" and line["category"] == "text"]
    assert [line["value"] for line in mine if line["metric"] == "PSNR dB"] == ["22.0", "23.5"]
    assert {line["source"] for line in lines if line["row"] == "vdip-sparse"} == {"measured"}


def test_every_published_table_tells_its_source():
    assert all(table["source"] and table["rows"] for table in published().values())
