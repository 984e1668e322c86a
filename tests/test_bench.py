"""bin/bench."""

import functools
import json

from programs import refused, run
from small import NETWORKS

from vdip_jax import Config, timing
from vdip_jax.cost import multiply_adds

bench = functools.partial(run, "bench")


def test_a_case_that_is_none_is_refused():
    for case in ("128:31", "128x128", "128x128:4", "20x20:31", "128x128:31*0", "128x128:31*two"):
        refused(bench(f"--case={case}"))


def test_numbers_are_told_and_written(tmp_path):
    files = (f"--json={tmp_path / 'b.json'}", f"--profile={tmp_path / 'profile'}")
    run = bench("--preset=cold", "--steps=1", "--colors=1", "--case=33x33:3*2", *files)
    assert run.returncode == 0, run.stderr
    assert "33x33, kernel 3, 2 images: all 600 steps would take" in run.stdout
    record = json.loads((tmp_path / "b.json").read_text())
    (case,) = record["cases"]
    assert (case["kernel"], case["batch"]) == (3, 2)
    phases = {"prefit", "variational", "ssim"}
    assert set(case["seconds_a_step"]) == set(case["share_of_matmul"]) == set(case["share_of_copy"]) == phases
    numbers = [case[name] for name in case if name.endswith(("seconds", "megabytes", "_a_second", "_a_step"))]
    assert min(value for value in numbers if not isinstance(value, dict)) > 0
    assert 0 < min(case["share_of_matmul"].values()) and max(case["share_of_matmul"].values()) < 1
    products = 2 * multiply_adds((35, 35), (3, 3), Config.preset("cold", **NETWORKS), 1)
    # Rounded to 0.01.
    assert abs(case["gflop_a_step"] - 2e-9 * products) <= 0.005
    assert len(list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))) == 1
    assert record["versions"]["jax"]


def test_kernels_of_one_image_size_are_compared():
    def row(kernel, pixels, seconds, batch=1):
        return {
            "image": [33, 40],
            "batch": batch,
            "kernel": kernel,
            "canvas_pixels": pixels,
            "seconds_a_step": {"ssim": seconds},
        }

    rows = [row(9, 150, 0.6), row(3, 100, 0.5), row(5, 120, 0.5), row(3, 100, 9.0, batch=2)]
    (line,) = timing.ratios(rows)
    assert line == "33x40 ssim: kernel 9 takes 1.20 times kernel 3, its canvas has 1.50 times the pixels"
