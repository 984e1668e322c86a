"""bin/figure: pictures with their numbers, refusals."""

import csv
import functools
import io
import json

import numpy as np
import pytest
from programs import refused, run
from test_report import make_folder, scored

from vdip_jax import records
from vdip_jax.photographs import read_image
from vdip_jax.scoring import Picture

figure = functools.partial(run, "figure")


def rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_time_is_drawn_from_a_benchmark(tmp_path):
    pytest.importorskip("matplotlib")
    steps = {"prefit": 0.1, "variational": 0.2, "ssim": 0.3}
    cases = [
        dict(image=[side, side], kernel=kernel, canvas_pixels=(side + kernel - 1) ** 2, seconds_a_step=steps)
        | dict(compile_seconds=9.0, peak_megabytes=100.0)
        for side, kernel in ((64, 31), (128, 31), (256, 31), (128, 15), (128, 75))
    ]
    bench = {"preset": "published", "method": "vdip-sparse", "device": "a device", "cases": cases}
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    run = figure("time", "--bench=bench.json", "--output=time.png", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert np.ptp(read_image(tmp_path / "time.png").pixels) > 0.5
    table = rows(tmp_path / "time.csv")
    assert len(table) == 5
    # 500 prefit, 2000 variational and 3000 SSIM steps.
    assert float(table[0]["seconds_an_image"]) == 500 * 0.1 + 2000 * 0.2 + 3000 * 0.3


def test_failures_are_the_worst_images(tmp_path):
    make_folder(tmp_path, {"good": 3.0, "bad": -2.0, "broken": None, "fair": 1.0})
    run = figure("failures", "--results=out", "--data_dir=set", "--limit=2", "--output=f.png", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert [(row["name"], float(row["gain_db"])) for row in rows(tmp_path / "f.csv")] == [
        ("bad_k1", -2),
        ("fair_k1", 1),
    ]
    assert read_image(tmp_path / "f.png").pixels.ndim == 3


def test_kernels_stand_side_by_side(tmp_path):
    folder, _ = make_folder(tmp_path, {"good": 3.0, "bad": -2.0})
    sharp = np.zeros((3, 5))
    sharp[1, 2] = 1
    record = next(record for record in records.read_records(folder) if record["name"] == "bad_k1")
    error = {"rmse": 0.1, "ncc": 0.5, "ssd": 0.2}
    other = {**record, "method": "vdip-sparse", "kernel_error": error, "restored": scored(29.0)}
    records.write_record(folder, other, Picture(np.zeros((50, 60, 3)), None, sharp))
    run = figure("kernels", "--results=out", "--data_dir=set", "--output=k.png", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    table = rows(tmp_path / "k.csv")
    assert [(row["name"], row["method"]) for row in table] == [("bad_k1", "dip"), ("bad_k1", "vdip-sparse")]
    assert float(table[1]["peak"]) == 1 and float(table[1]["ncc"]) == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiem",), ("did you mean 'time'",)),
        ((), ("time, kernels, failures",)),
        (("kernels",), ("--results", "--data_dir")),
        (("kernels", "--results=out", "--data_dir=set"), ("point and a variational",)),
        (("failures", "--results=set", "--data_dir=set"), ("settings.json",)),
        (("time", "--bench=none.json"), ("none.json", "bin/bench")),
        (("time", "--output=nowhere/time.png"), ("--output",)),
    ],
)
def test_bad_input_is_refused(tmp_path, arguments, words):
    make_folder(tmp_path, {"good": 3.0})
    refused(figure(*arguments, cwd=tmp_path), *words)


def test_methods_on_different_images_are_no_comparison(tmp_path):
    folder, _ = make_folder(tmp_path, {"good": 3.0, "bad": -2.0})
    record = next(record for record in records.read_records(folder) if record["name"] == "bad_k1")
    (folder / "records" / "bad_k1.dip.seed0.json").unlink()
    records.write_record(folder, {**record, "method": "vdip-sparse"}, records.read_picture(folder, record))
    refused(figure("kernels", "--results=out", "--data_dir=set", cwd=tmp_path), "dip, vdip-sparse")
