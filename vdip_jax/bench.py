"""bin/bench: seconds a step of each phase, compile time and peak memory, for given image and kernel sizes."""

import concurrent.futures
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags

from vdip_jax import METHODS, PRESETS, Config, Refusal, checks, solver
from vdip_jax.images import replacing
from vdip_jax.runtime import describe

_CASES = flags.DEFINE_multi_string(
    "case",
    ["128x128:15", "128x128:31", "128x128:75", "255x255:15", "255x255:27", "255x255:75"],
    "HEIGHTxWIDTH:KERNEL in pixels; may be repeated.",
)
_PRESET = flags.DEFINE_string("preset", "published", f"Settings to time: {', '.join(PRESETS)}.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_COLORS = flags.DEFINE_integer("colors", 3, "Colour channels of the image.", lower_bound=1, upper_bound=3)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps a measurement; the median of three is told.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")


def run() -> None:
    """Entry point of the console script."""
    app.run(main)


def main(argv: Sequence[str]) -> None:
    """Time every case in a process of its own, so that its peak memory and compile time are its own."""
    del argv
    try:
        config = Config.preset(_PRESET.value, method=_METHOD.value)
        cases = [_parse(case, config) for case in _CASES.value]
    except Refusal as refusal:
        sys.exit(f"bench: {refusal}")
    rows = []
    print(f"{'image':>10} {'kernel':>6} {'canvas':>10}  {'compile s':>9}  {'seconds a step':<44} peak MB")
    for size, kernel in cases:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
            row = process.submit(measure, config, size, kernel, _COLORS.value, _STEPS.value).result()
        rows.append(row)
        canvas = tuple(n + kernel - 1 for n in size)
        steps = "  ".join(f"{name} {seconds:.3f}" for name, seconds in row["seconds_a_step"].items())
        print(
            f"{size[0]:>5}x{size[1]:<4} {kernel:>6} {canvas[0]:>5}x{canvas[1]:<4}  {row['compile_seconds']:>9.1f}  "
            f"{steps:<44} {row['peak_megabytes']:.0f}",
            flush=True,
        )
    _tell_ratios(rows)
    if _JSON.value:
        record = {
            "command": ["bin/bench", *sys.argv[1:]],
            "preset": _PRESET.value,
            "method": _METHOD.value,
            **rows[0]["where"],
        }
        record["cases"] = [{name: value for name, value in row.items() if name != "where"} for row in rows]
        with replacing(Path(_JSON.value)) as temporary:
            Path(temporary).write_text(json.dumps(record, indent=1) + "\n")


def measure(config: Config, size: tuple[int, int], kernel: int, colors: int, num_steps: int) -> dict:
    """Compile for an image of `size` with a square `kernel` and time `num_steps` steps of each phase."""
    y = jax.random.uniform(jax.random.key(0), (*size, colors))
    began = time.perf_counter()
    begin = (y, jax.random.key(0), None)
    problem, state = jax.block_until_ready(
        solver._begin(*begin, kernel_size=(kernel, kernel), config=config, batched=False)
    )
    compiled = solver._advance.lower(problem, state, 0, 1, config=config, batched=False).compile()
    compile_seconds = time.perf_counter() - began
    seconds, first = {}, 0
    for name, phase_steps in config.phases:
        last = min(num_steps, phase_steps)
        state = jax.block_until_ready(compiled(problem, state, first, first + 1))
        runs = []
        for _ in range(3):
            began = time.perf_counter()
            state = jax.block_until_ready(compiled(problem, state, first, first + last))
            runs.append((time.perf_counter() - began) / last)
        seconds[name] = statistics.median(runs)
        first += phase_steps
    statistics_of_device = jax.devices()[0].memory_stats() or {}
    peak = statistics_of_device.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert bool(jnp.isfinite(state.params["image"]).all())
    return {
        "image": list(size),
        "kernel": kernel,
        "canvas_pixels": (size[0] + kernel - 1) * (size[1] + kernel - 1),
        "colors": colors,
        "compile_seconds": round(compile_seconds, 2),
        "seconds_a_step": {name: round(value, 4) for name, value in seconds.items()},
        "peak_megabytes": round(peak / 1e6, 1),
        "peak_is": "device memory" if statistics_of_device else "resident memory of the process, compiler included",
        "where": describe(),
    }


def _tell_ratios(rows: Sequence[dict]) -> None:
    """Step time at the largest kernel over that at the smallest, for each image size, beside that of the canvases."""
    for size in {tuple(row["image"]) for row in rows}:
        alike = sorted((row for row in rows if tuple(row["image"]) == size), key=lambda row: row["kernel"])
        small, large = alike[0], alike[-1]
        if small is large:
            continue
        for phase, seconds in large["seconds_a_step"].items():
            print(
                f"{size[0]}x{size[1]} {phase}: kernel {large['kernel']} takes "
                f"{seconds / small['seconds_a_step'][phase]:.2f} times kernel {small['kernel']}, "
                f"its canvas has {large['canvas_pixels'] / small['canvas_pixels']:.2f} times the pixels"
            )


def _parse(case: str, config: Config) -> tuple[tuple[int, int], int]:
    try:
        image, kernel = case.split(":")
        height, width = image.split("x")
        size, side = (int(height), int(width)), int(kernel)
    except ValueError:
        raise Refusal(f"--case must be HEIGHTxWIDTH:KERNEL such as 128x128:31, got {case!r}.") from None
    checks.check_kernel_size(side, size)
    checks.check_canvas(size, (side, side), *config.least_canvas)
    return size, side


if __name__ == "__main__":
    run()
