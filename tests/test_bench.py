"""bin/bench."""

import functools
import json

from programs import refused, run

bench = functools.partial(run, "bench")


def test_a_case_that_is_none_is_refused():
    for case in ("128:31", "128x128", "128x128:4", "20x20:31"):
        refused(bench(f"--case={case}"))


def test_numbers_are_told_and_written(tmp_path):
    cases = ("--case=33x33:3", "--case=33x33:5")
    run = bench("--preset=cold", "--steps=1", "--colors=1", *cases, f"--json={tmp_path / 'b.json'}")
    assert run.returncode == 0, run.stderr
    assert "33x33 ssim: kernel 5 takes" in run.stdout
    record = json.loads((tmp_path / "b.json").read_text())
    assert [case["kernel"] for case in record["cases"]] == [3, 5]
    for case in record["cases"]:
        assert set(case["seconds_a_step"]) == {"prefit", "variational", "ssim"}
        assert min(case["compile_seconds"], case["peak_megabytes"], *case["seconds_a_step"].values()) > 0
    assert record["versions"]["jax"]
