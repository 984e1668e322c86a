"""How good the answer is after so many steps: from a classical start, and from a uniform kernel and the blurred image.

python benchmarks/warm.py --data_dir=levin2009 --only='*_kernel7_img,*_kernel8_img' --output=out/warm

One run a preset, its images in one batch, looked at after --looks steps; a schedule shorter than the last look is
stretched to it. What has been looked at is kept in points.json, whatever becomes of the rest.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from vdip_jax import Config, Progress, datasets, metrics, solve
from vdip_jax.config import PRECISIONS
from vdip_jax.images import write_text
from vdip_jax.runtime import commit, describe, line, use_compile_cache

_DATA_DIR = flags.DEFINE_string("data_dir", None, "The data set.", required=True)
_ONLY = flags.DEFINE_list("only", None, "Glob patterns of the images: of one size, with kernels of one size.")
_PRESETS = flags.DEFINE_list("presets", ["published", "best"], "What to compare.")
_LOOKS = flags.DEFINE_list("looks", ["100", "250", "550", "1500", "5500"], "Steps after which the answer is scored.")
_CROP = flags.DEFINE_integer("crop", 0, "Side in pixels of the central square to solve, 0 for the whole image.")
_PRECISION = flags.DEFINE_enum("precision", "tensorfloat32", PRECISIONS, "Of the image network's products.")
_CHANNELS = flags.DEFINE_integer("channels", None, "Width of the image network; by default the preset's.")
_PROTOCOL = flags.DEFINE_string("protocol", "selfdeblur", f"One of {', '.join(metrics.PROTOCOLS)}.")
_SEED = flags.DEFINE_integer("seed", 0, "Of all random draws.")
_OUTPUT = flags.DEFINE_string("output", "out/warm", "Folder for points.json.")


def main(_: Sequence[str]) -> None:
    """Run every preset and print the mean over the images at every look."""
    use_compile_cache()
    folder = Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = datasets.find_dataset(Path(_DATA_DIR.value))
    pairs = datasets.choose(dataset, _ONLY.value)
    cases = [datasets.cropped(datasets.load_case(dataset, pair), _CROP.value) for pair in pairs]
    looks = sorted(map(int, _LOOKS.value))
    about = {
        "what": f"{dataset.title}, {len(pairs)} images: PSNR after so many steps of {', '.join(_PRESETS.value)}",
        "command": " ".join(["python", "benchmarks/warm.py", *sys.argv[1:]]),
        "commit": commit(),
        "protocol": _PROTOCOL.value,
        "precision": _PRECISION.value,
        "images": [pair.name for pair in pairs],
        "blurred": [round(_psnr(case.y, case), 3) for case in cases],
        **describe(),
    }
    runs: dict[str, list[dict[str, Any]]] = {}
    for preset in _PRESETS.value:
        runs[preset] = []

        def keep(point: dict[str, Any], preset: str = preset) -> None:
            runs[preset].append(point)
            line(preset, f"after {point['step']} steps, {point['seconds']:.0f} s: {np.mean(point['psnr']):.2f} dB")
            write_text(folder / "points.json", json.dumps({**about, "runs": runs}, indent=1) + "\n")

        run(cases, stretched(preset, looks[-1]), looks, keep)


def stretched(preset: str, num_steps: int) -> Config:
    """The preset, its last phase and milestones longer where it has fewer steps."""
    width = {} if _CHANNELS.value is None else {"channels": _CHANNELS.value}
    config = Config.preset(preset, precision=_PRECISION.value, **width)
    if config.num_steps >= num_steps:
        return config
    before = config.num_steps - config.ssim_steps
    ratio = (num_steps - before) / config.ssim_steps
    milestones = tuple(round(ratio * step) for step in config.lr_milestones)
    return dataclasses.replace(config, ssim_steps=num_steps - before, lr_milestones=milestones)


def run(
    cases: Sequence[datasets.Case], config: Config, looks: Sequence[int], keep: Callable[[dict[str, Any]], None]
) -> None:
    """Tell `keep` at every look what the answer, and each of what it is chosen from, is worth.

    Seconds are those of the run so far, compilation included, looking not.
    """
    paused, began = 0.0, time.perf_counter()

    def look(progress: Progress) -> bool:
        nonlocal paused
        here = time.perf_counter()
        if progress.step in (0, *looks):
            best = jax.tree.map(np.asarray, progress.best())
            candidates = [
                [round(_psnr(image, case), 3) for image in images]
                for images, case in zip(best.candidates.image, cases, strict=True)
            ]
            psnr = [round(_psnr(image, case), 3) for image, case in zip(best.image, cases, strict=True)]
            ncc = [
                round(metrics.kernel_error(kernel, case.kernel).ncc, 4)
                for kernel, case in zip(best.kernel, cases, strict=True)
            ]
            point = {"step": progress.step, "seconds": round(here - began - paused, 2), "psnr": psnr}
            keep({**point, "candidates": candidates, "ncc": ncc})
        paused += time.perf_counter() - here
        return progress.step >= looks[-1]

    y = jnp.stack([case.y.reshape(*case.y.shape[:2], -1) for case in cases])
    kernel = cases[0].kernel
    assert kernel is not None
    chunk = int(np.gcd.reduce(looks))
    key = jax.random.key(_SEED.value)
    solve(y, key, kernel_size=kernel.shape, config=config, callback=look, chunk_steps=chunk)


def _psnr(image: np.ndarray, case: datasets.Case) -> float:
    return metrics.score(image.reshape(case.y.shape), case.truth, _PROTOCOL.value).psnr


if __name__ == "__main__":
    app.run(main)
