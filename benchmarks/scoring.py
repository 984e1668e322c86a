"""Seconds to score a 1024x768 RGB picture by both protocols: `python benchmarks/scoring.py --json=FILE`."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import scipy.ndimage
from absl import app, flags

from vdip_jax import metrics, quality
from vdip_jax.runtime import commit, describe

_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
_RUNS = 5


def main(_: list[str]) -> None:
    """Score the same pair several times; tell the medians."""
    generator = np.random.default_rng(0)
    truth = scipy.ndimage.gaussian_filter(generator.random((768, 1024, 3)), (2, 2, 0))
    truth = (truth - truth.min()) / np.ptp(truth)
    estimate = np.clip(np.roll(truth, (2, -3), (0, 1)) + 0.02 * generator.standard_normal(truth.shape), 0, 1)
    tasks = {f"protocol {name}": lambda name=name: metrics.score(estimate, truth, name) for name in metrics.PROTOCOLS}
    tasks["NIQE"] = lambda: quality.niqe(estimate)
    tasks["PIQE"] = lambda: quality.piqe(estimate)
    seconds = {}
    for name, task in tasks.items():
        runs = []
        for _ in range(_RUNS):
            began = time.perf_counter()
            task()
            runs.append(time.perf_counter() - began)
        seconds[name] = round(statistics.median(runs), 3)
        print(f"{name}: {seconds[name]:.3f} s")
    if _JSON.value:
        record = {"what": f"Seconds to score a 1024x768 RGB picture: {seconds}", "seconds": seconds, "commit": commit()}
        command = " ".join(["python", "benchmarks/scoring.py", *sys.argv[1:]])
        Path(_JSON.value).write_text(json.dumps({**record, "command": command, **describe()}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
