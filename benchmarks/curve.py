"""How good the answer is if a run ends after so many seconds: mean PSNR of several presets on several images.

python benchmarks/curve.py --data_dir=levin2009 --only='*_kernel2_img' --output=out/curve

Goes on where it stopped. Seconds are those of a compiled program: each is first run for a step, unmeasured, and scoring
is left out.
"""

import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
from absl import app, flags

from vdip_jax import Config, Progress, datasets, metrics, solve
from vdip_jax.images import write_text
from vdip_jax.runtime import commit, describe, use_compile_cache

_DATA_DIR = flags.DEFINE_string("data_dir", None, "The data set.", required=True)
_ONLY = flags.DEFINE_list("only", None, "Glob patterns of the images.")
_PRESETS = flags.DEFINE_list("presets", ["instant", "quick", "cold"], "What to compare.")
_CROP = flags.DEFINE_integer("crop", 0, "Side in pixels of the central square to solve, 0 for the whole image.")
_PROTOCOL = flags.DEFINE_string("protocol", "selfdeblur", f"One of {', '.join(metrics.PROTOCOLS)}.")
_MAX_SECONDS = flags.DEFINE_float("max_seconds", float("inf"), "A run ends after so many seconds.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Each preset is run with each of these.")
_OUTPUT = flags.DEFINE_string("output", "out/curve", "Folder for points.json and curve.png.")

# A point is taken at most every so many times the seconds of the one before.
_SPACING = 1.25

Point = dict[str, Any]


def main(_: Sequence[str]) -> None:
    """Measure what is not yet in points.json, then draw."""
    use_compile_cache()
    folder = Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "points.json"
    runs: list[dict[str, Any]] = json.loads(file.read_text())["runs"] if file.exists() else []
    dataset = datasets.find_dataset(Path(_DATA_DIR.value))
    # Images of one size together: a program is compiled once.
    pairs = sorted(datasets.choose(dataset, _ONLY.value), key=lambda pair: (pair.kernel, pair.name))
    warm = None
    for preset, pair in itertools.product(_PRESETS.value, pairs):
        for seed in map(int, _SEEDS.value):
            mine = {"name": pair.name, "preset": preset, "seed": seed}
            if any(mine.items() <= run.items() for run in runs):
                continue
            case = datasets.cropped(datasets.load_case(dataset, pair), _CROP.value)
            assert case.kernel is not None and case.truth is not None
            program = (preset, case.y.shape, case.kernel.shape)
            config = Config.preset(preset)
            if warm != program:
                jax.clear_caches()
                curve(case, config, seed, last_step=1)
                warm = program
            points = curve(case, config, seed)
            score = metrics.score(case.y, case.truth, _PROTOCOL.value)
            runs.append({**mine, "blurred": score.psnr, "points": points})
            print(
                f"{pair.name} {preset} seed {seed}: {points[-1]['psnr']:.2f} dB after {points[-1]['seconds']:.1f} s",
                flush=True,
            )
            about = {"protocol": _PROTOCOL.value, "crop": _CROP.value, "commit": commit(), **describe()}
            about["command"] = " ".join(["python", "benchmarks/curve.py", *sys.argv[1:]])
            what = f"{dataset.title}, {len(pairs)} images: PSNR against seconds of {', '.join(_PRESETS.value)}"
            write_text(file, json.dumps({"what": what, **about, "runs": runs}, indent=1) + "\n")
    draw(runs, folder / "curve.png")


def curve(case: datasets.Case, config: Config, seed: int, last_step: int | None = None) -> list[Point]:
    """PSNR of the answer, and of what it is chosen from, at several times of one run; up to `last_step`, if given."""
    points: list[Point] = []
    # Time that went into looking, not solving.
    paused = 0.0
    began = time.perf_counter()

    def look(progress: Progress) -> bool:
        nonlocal paused
        here = time.perf_counter()
        seconds = here - began - paused
        ends = progress.step in (last_step, progress.num_steps) or seconds > _MAX_SECONDS.value
        if not points or ends or seconds > _SPACING * points[-1]["seconds"]:
            best = jax.block_until_ready(progress.best())
            # Making the answer is part of having it.
            seconds += time.perf_counter() - here
            made = (best.image, *best.candidates.image)
            scores = [metrics.score(np.asarray(image), case.truth, _PROTOCOL.value) for image in made]
            answer, *candidates = [round(score.psnr, 3) for score in scores]
            points.append(
                {
                    "seconds": round(seconds, 3),
                    "step": progress.step,
                    "psnr": answer,
                    "candidates": candidates,
                    "criterion": np.asarray(best.candidates.criterion).round(3).tolist(),
                }
            )
        paused += time.perf_counter() - here
        return ends

    assert case.kernel is not None
    solve(jnp.asarray(case.y), jax.random.key(seed), kernel_size=case.kernel.shape, config=config, callback=look)
    return points


def mean_curve(runs: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and mean PSNR over the images; an image's blurred input counts until its first answer."""
    seconds = np.unique([point["seconds"] for run in runs for point in run["points"]])
    curves = []
    for run in runs:
        times = [point["seconds"] for point in run["points"]]
        values = np.array([run["blurred"], *(point["psnr"] for point in run["points"])])
        curves.append(values[np.searchsorted(times, seconds, side="right")])
    return seconds, np.mean(curves, 0)


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """The mean curves of all presets, seconds on a logarithmic axis."""
    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for preset in dict.fromkeys(run["preset"] for run in runs):
        mine = [run for run in runs if run["preset"] == preset]
        seconds, psnr = mean_curve(mine)
        axes.plot(
            seconds, psnr, drawstyle="steps-post", label=f"{preset} ({len({run['name'] for run in mine})} images)"
        )
        axes.plot(seconds[-1], psnr[-1], "o", color=axes.lines[-1].get_color())
    axes.axhline(np.mean([run["blurred"] for run in runs]), linestyle=":", color="gray", label="blurred")
    axes.set(xscale="log", xlabel="seconds an image, compiled", ylabel="mean PSNR in dB")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    app.run(main)
