"""bin/bench: seconds a step of each phase, compile time and peak memory, for given image and kernel sizes."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from vdip_jax import METHODS, PRESETS, Config, Refusal
from vdip_jax.images import write_text
from vdip_jax.timing import measure_apart, parse_case

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
        cases = [parse_case(case, config) for case in _CASES.value]
    except Refusal as refusal:
        sys.exit(f"bench: {refusal}")
    rows = []
    print(f"{'image':>10} {'kernel':>6} {'canvas':>10}  {'compile s':>9}  {'seconds a step':<44} peak MB")
    for size, kernel in cases:
        row = measure_apart(config, size, kernel, _COLORS.value, _STEPS.value)
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
        write_text(Path(_JSON.value), json.dumps(record, indent=1) + "\n")


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


if __name__ == "__main__":
    run()
