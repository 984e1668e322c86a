"""bin/bench: seconds a step, compile time and memory for given sizes, as shares of what the machine can do."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from vdip_jax import METHODS, PRESETS, Config, Refusal
from vdip_jax.config import PRECISIONS
from vdip_jax.images import write_text
from vdip_jax.runtime import commit
from vdip_jax.timing import measure_apart, parse_case, ratios

_CASES = flags.DEFINE_multi_string(
    "case",
    ["128x128:15", "128x128:31", "128x128:75", "255x255:15", "255x255:27", "255x255:75"],
    "HEIGHTxWIDTH:KERNEL in pixels, or HEIGHTxWIDTH:KERNEL*IMAGES for a batch; may be repeated.",
)
_PRESET = flags.DEFINE_string("preset", "published", f"Settings to time: {', '.join(PRESETS)}.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_PRECISION = flags.DEFINE_enum(
    "precision", "tensorfloat32", PRECISIONS, "Of the image network's products, and of the large product beside them."
)
_CHANNELS = flags.DEFINE_integer("channels", None, "Width of the image network; by default the preset's.")
_COLORS = flags.DEFINE_integer("colors", 3, "Colour channels of the image.", lower_bound=1, upper_bound=3)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps a measurement; the median of five is told.", lower_bound=1)
_PROFILE = flags.DEFINE_string(
    "profile", None, "Folder for a trace of a step of each phase, as TensorBoard, XProf and Perfetto open it."
)
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")


def run() -> None:
    """Entry point of the console script."""
    app.run(main)


def main(argv: Sequence[str]) -> None:
    """Time every case in processes of its own, so that its peak memory and compile time are its own."""
    del argv
    try:
        width = {} if _CHANNELS.value is None else {"channels": _CHANNELS.value}
        config = Config.preset(_PRESET.value, method=_METHOD.value, precision=_PRECISION.value, **width)
        cases = [parse_case(case, config) for case in _CASES.value]
    except Refusal as refusal:
        sys.exit(f"bench: {refusal}")
    rows = []
    for case in cases:
        row = measure_apart(config, case, _COLORS.value, _STEPS.value, _PROFILE.value)
        rows.append(row)
        print(_lines(row, config), flush=True)
    for line in ratios(rows):
        print(line)
    if _JSON.value:
        record = {
            "command": ["bin/bench", *sys.argv[1:]],
            "commit": commit(),
            "preset": _PRESET.value,
            "method": _METHOD.value,
            "channels": config.channels,
            "precision": config.precision,
            **rows[0]["where"],
        }
        record["cases"] = [{name: value for name, value in row.items() if name != "where"} for row in rows]
        write_text(Path(_JSON.value), json.dumps(record, indent=1) + "\n")


def _lines(row: Mapping[str, Any], config: Config) -> str:
    """One case in words."""
    height, width = row["image"]
    seconds = row["seconds_a_step"]
    whole = sum(seconds[name] * count for name, count in config.phases)
    lines = [
        f"{height}x{width}, kernel {row['kernel']}, {row['batch']} image{'s' * (row['batch'] > 1)}: "
        f"all {config.num_steps} steps would take {whole:.0f} s; "
        f"compiled in {row['compile_seconds']:.1f} s, from the cache in {row['compile_again_seconds']:.1f} s; "
        f"buffers {row['buffer_megabytes']:.0f} MB, peak {row['peak_megabytes']:.0f} MB ({row['peak_is']}), "
        f"where it compiles {row['compile_peak_megabytes']:.0f} MB",
        f"    a step: {row['gflop_a_step']} GFLOP in products, {row['gigabytes_a_step']} GB of traffic; "
        f"the machine: {row['matmul_gflop_a_second']:.0f} GFLOP/s in a large product, "
        f"{row['copy_gigabytes_a_second']:.1f} GB/s in a copy",
    ]
    for name, value in seconds.items():
        products, traffic = row["share_of_matmul"][name], row["share_of_copy"][name]
        lines.append(f"    {name}: {value:.4f} s, {products:.0%} of the product's rate, {traffic:.0%} of the copy's")
    return "\n".join(lines)


if __name__ == "__main__":
    run()
