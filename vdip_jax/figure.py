"""bin/figure: the paper's figures from measurements, each a PNG with its numbers as CSV."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from vdip_jax import METHODS, PRESETS, Config, Refusal, checks, datasets, figures, records
from vdip_jax.runtime import describe
from vdip_jax.timing import measure_apart, parse_case

_KINDS = ("time", "kernels", "failures")

_RESULTS = flags.DEFINE_string("results", None, "For kernels and failures: the output folder of bin/evaluate.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "For kernels and failures: the data set that was evaluated.")
_OUTPUT = flags.DEFINE_string("output", None, "The PNG; by default figure-KIND.png. The CSV goes beside it.")
_LIMIT = flags.DEFINE_integer("limit", 6, "For failures: how many.", lower_bound=1)
_BENCH = flags.DEFINE_string("bench", None, "For time: draw what bin/bench --json wrote instead of measuring.")
_CASES = flags.DEFINE_multi_string(
    "case",
    ["96x96:31", "128x128:31", "192x192:31", "256x256:31", "128x128:15", "128x128:51", "128x128:75"],
    "For time: HEIGHTxWIDTH:KERNEL in pixels; may be repeated.",
)
_PRESET = flags.DEFINE_string("preset", "published", f"For time: settings, {', '.join(PRESETS)}.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"For time: one of {', '.join(METHODS)}.")


def run() -> None:
    """Entry point of the console script."""
    logging.set_verbosity(logging.WARNING)
    app.run(main)


def main(argv: Sequence[str]) -> None:
    """Draw one figure. Exits 0, or 1 for refused input."""
    try:
        kind = argv[1] if len(argv) == 2 else " ".join(argv[1:])
        checks.check_choice("the figure", kind, _KINDS)
        path = Path(_OUTPUT.value or f"figure-{kind}.png")
        if path.suffix != ".png" or not path.parent.is_dir():
            raise Refusal(f"--output={path}: expected a name ending in .png in a folder that exists.")
        if kind == "time":
            _time(path)
        else:
            _pictures(kind, path)
    except Refusal as refusal:
        sys.exit(f"figure: {refusal}")
    print(f"figure: wrote {path} and {path.with_suffix('.csv').name}")


def _time(path: Path) -> None:
    if _BENCH.value is not None:
        try:
            measured = json.loads(Path(_BENCH.value).read_text())
            config = Config.preset(measured["preset"], method=measured["method"])
            rows, where = measured["cases"], measured["device"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal(f"--bench={_BENCH.value}: expected what bin/bench --json writes ({error!r}).") from None
    else:
        config = Config.preset(_PRESET.value, method=_METHOD.value)
        cases = [parse_case(case, config) for case in _CASES.value]
        rows = []
        for case in cases:
            height, width = case.size
            print(f"figure: timing {height}x{width}, kernel {case.kernel}", file=sys.stderr, flush=True)
            rows.append(measure_apart(config, case, 3, 2))
        where = str(describe()["device"])
    figures.draw_time(rows, config, where, path)


def _pictures(kind: str, path: Path) -> None:
    if _RESULTS.value is None or _DATA_DIR.value is None:
        raise Refusal(f"the figure {kind!r} needs --results, an output of bin/evaluate, and its --data_dir.")
    folder = Path(_RESULTS.value)
    settings = records.read_settings(folder)
    dataset = datasets.find_dataset(Path(_DATA_DIR.value), settings["dataset"])
    found = records.read_records(folder)
    if kind == "kernels":
        figures.draw_kernels(folder, dataset, found, path)
    else:
        figures.draw_failures(folder, dataset, found, path, _LIMIT.value)


if __name__ == "__main__":
    run()
