"""bin/bench."""

import functools
import json

from programs import refused, run

bench = functools.partial(run, "bench")


def test_a_case_that_is_none_is_refused():
    for case in ("128:31", "128x128", "128x128:4", "20x20:31", "128x128:31*0", "128x128:31*two"):
        refused(bench(f"--case={case}"))


def test_numbers_are_told_and_written(tmp_path):
    cases = ("--case=33x33:3", "--case=33x33:5", "--case=33x33:5*2")
    files = (f"--json={tmp_path / 'b.json'}", f"--profile={tmp_path / 'profile'}")
    run = bench("--preset=cold", "--steps=1", "--colors=1", *cases, *files)
    assert run.returncode == 0, run.stderr
    assert "33x33 ssim: kernel 5 takes" in run.stdout
    record = json.loads((tmp_path / "b.json").read_text())
    assert [(case["kernel"], case["batch"]) for case in record["cases"]] == [(3, 1), (5, 1), (5, 2)]
    for case in record["cases"]:
        phases = {"prefit", "variational", "ssim"}
        assert set(case["seconds_a_step"]) == set(case["share_of_matmul"]) == set(case["share_of_copy"]) == phases
        numbers = [case[name] for name in case if name.endswith(("seconds", "megabytes", "_a_second", "_a_step"))]
        assert min(value for value in numbers if not isinstance(value, dict)) > 0
        assert 0 < min(case["share_of_matmul"].values()) and max(case["share_of_matmul"].values()) < 1
        assert case["compile_again_seconds"] < case["compile_seconds"]
    one, two = record["cases"][1:]
    # Both are rounded to 0.01.
    assert abs(two["gflop_a_step"] - 2 * one["gflop_a_step"]) <= 0.02
    assert len(list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))) == 3
    assert record["versions"]["jax"]
