"""What a kernel size that was not known costs: `instant` with the true size, one half too large, and the found one.

python benchmarks/kernel_sizes.py --data_dir=levin2009 --json=FILE [NAME ...]     names may be globs
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from vdip_jax import classical, datasets, metrics, planning
from vdip_jax.datasets import Case
from vdip_jax.images import write_text
from vdip_jax.runtime import commit, describe, use_compile_cache

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data set.", required=True)
_CROP = flags.DEFINE_integer("crop", 0, "Side of the central part to solve; 0 for all.")
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")


def gain(case: Case, side: int) -> float:
    """dB of the classical estimate with a kernel of `side` pixels above the blurred image, protocol selfdeblur."""
    y = jnp.asarray(case.y.reshape(*case.y.shape[:2], -1), jnp.float32)
    start = classical.deblur(y, (side, side))
    image = np.asarray(start.image).reshape(case.y.shape)
    before, after = (metrics.score(pixels, case.truth, "selfdeblur").psnr for pixels in (case.y, image))
    return after - before


def measure(case: Case) -> dict[str, object]:
    """Sizes and gains of one image."""
    true = max(case.kernel.shape)
    found = planning.plan(np.asarray(case.y, np.float32), None, 0, known=False).kernel_size[0]
    sizes = {"true": true, "half too large": round(1.5 * true) // 2 * 2 + 1, "found": found}
    return {name: {"size": size, "gain": round(gain(case, size), 3)} for name, size in sizes.items()}


def main(argv: Sequence[str]) -> None:
    """Print a row an image, then means."""
    use_compile_cache()
    dataset = datasets.find_dataset(Path(_DATA_DIR.value))
    rows = {}
    for pair in datasets.choose(dataset, argv[1:] or ["*"]):
        began = time.perf_counter()
        rows[pair.name] = measure(datasets.cropped(datasets.load_case(dataset, pair), _CROP.value))
        told = "; ".join(f"{name} {row['size']}: {row['gain']:+.2f}" for name, row in rows[pair.name].items())
        print(f"{pair.name}: {told}; {time.perf_counter() - began:.0f} s", flush=True)
        means = {name: float(np.mean([row[name]["gain"] for row in rows.values()])) for name in rows[pair.name]}
        if _JSON.value:
            about = {
                "what": f"kernel sizes, instant, {len(rows)} images",
                "title": dataset.title,
                "dataset": dataset.name,
            }
            about |= {"command": " ".join(["python", *sys.argv]), "commit": commit(), "crop": _CROP.value}
            write_text(Path(_JSON.value), json.dumps({**about, "means": means, "rows": rows, **describe()}, indent=1))
    print("mean gain: " + "; ".join(f"{name} {mean:+.2f}" for name, mean in means.items()))


if __name__ == "__main__":
    app.run(main)
