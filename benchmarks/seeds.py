"""How good the choice among seeds is, from an evaluation with several: the criterion against the truth.

python benchmarks/seeds.py OUTPUT     OUTPUT of bin/evaluate --seeds=0,1,2,3
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Print a row an image: what each seed gave, the best, the worst, the mean and the chosen one."""
    images: dict[str, list[dict]] = {}
    for path in sorted((folder / "records").glob("*.json")):
        record = json.loads(path.read_text())
        images.setdefault(record["name"], []).append(record)
    rows = []
    for name, records in images.items():
        psnr = [record["restored"]["selfdeblur"]["psnr"] for record in records]
        criteria = [record["candidates"][record["choice"]]["criterion"] for record in records]
        row = [psnr[int(np.argmin(criteria))], max(psnr), min(psnr), float(np.mean(psnr))]
        rows.append(row)
        seeds = " ".join(f"{value:.2f}" for value in psnr)
        print(f"{name}: {seeds}; chosen {row[0]:.2f}, best {row[1]:.2f}, worst {row[2]:.2f}, mean {row[3]:.2f}")
    chosen, best, worst, mean = np.mean(rows, axis=0)
    never = sum(row[0] == row[2] and row[1] > row[2] + 0.05 for row in rows)
    print(f"mean over {len(rows)}: chosen {chosen:.2f}, best {best:.2f}, worst {worst:.2f}, all {mean:.2f} dB")
    print(f"the worst was chosen {never} times, where seeds are more than 0.05 dB apart")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
