"""How good what several seeds come to is, from an evaluation with several: the choice by the criterion, and the mean.

python benchmarks/seeds.py OUTPUT [DATA]     OUTPUT of bin/evaluate --seeds=0,1,2,3; DATA, its data set

With DATA also the mean that `bin/deblur --restarts` makes (`restarts.choose`), from the pictures in OUTPUT, which have
8 bits.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vdip_jax import datasets, metrics, records, restarts
from vdip_jax.batches import Estimate
from vdip_jax.candidates import Candidates
from vdip_jax.records import Record

_PROTOCOL = "selfdeblur"


def main(folder: Path, data: Path | None = None) -> None:
    """Print a row an image: what each seed gave, the best, the worst, the mean of the scores, the chosen one."""
    images: dict[str, list[Record]] = {}
    for record in records.read_records(folder):
        images.setdefault(record["name"], []).append(record)
    truths = _truths(data, list(images), records.read_settings(folder)["crop"]) if data else {}
    rows = []
    for name, seeds in images.items():
        psnr = [record["restored"][_PROTOCOL]["psnr"] for record in seeds]
        row = [psnr[int(np.argmin([_criterion(record) for record in seeds]))], max(psnr), min(psnr), np.mean(psnr)]
        told = f"chosen {row[0]:.2f}, best {row[1]:.2f}, worst {row[2]:.2f}, all {row[3]:.2f}"
        if truths:
            answer = restarts.choose([_run(folder, record) for record in seeds]).estimate.image
            row.append(metrics.score(answer, truths[name], _PROTOCOL).psnr)
            told += f"; answer {row[-1]:.2f}"
        rows.append(row)
        print(f"{name}: {' '.join(f'{value:.2f}' for value in psnr)}; {told}")
    chosen, best, worst, mean, *answer = np.mean(rows, axis=0)
    times = sum(row[0] == row[2] and row[1] > row[2] + 0.05 for row in rows)
    print(f"mean over {len(rows)}: chosen {chosen:.2f}, best {best:.2f}, worst {worst:.2f}, all {mean:.2f} dB")
    print(f"the worst was chosen {times} times, where seeds are more than 0.05 dB apart")
    if truths:
        worse = sum(row[4] <= row[2] for row in rows)
        print(f"the answer: {answer[0]:.2f} dB on average, {worse} times no better than the worst seed")


def _truths(data: Path, names: Sequence[str], crop: int) -> dict[str, np.ndarray | None]:
    dataset = datasets.find_dataset(data)
    cases = {pair.name: datasets.load_case(dataset, pair) for pair in datasets.choose(dataset, names)}
    return {name: (datasets.cropped(case, crop) if crop else case).truth for name, case in cases.items()}


def _criterion(record: Record) -> float:
    return record["candidates"][record["choice"]]["criterion"]


def _run(folder: Path, record: Record) -> restarts.Run:
    """A run as it is recorded: its answer, kernel and criterion; nothing else of it is known."""
    picture = records.read_picture(folder, record)
    candidates = Candidates(None, None, np.array([_criterion(record)]))
    unknown, chosen = np.array(np.nan), np.array(0)
    told = unknown, unknown, unknown, chosen, unknown
    estimate = Estimate(picture.image, unknown, picture.kernel, *told, candidates)
    return restarts.Run(record["seed"], estimate, ())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
