"""Seconds of the answer without a network, `instant`: one image at a time, and several in one batch.

python benchmarks/starts.py --data_dir=levin2009 --json=FILE [NAME ...]     names may be globs

Images whose kernels have one size make a batch. Both ways take turns, compiled beforehand; the least of the turns
counts, for other programs only ever add to it.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from vdip_jax import Config, datasets, solve
from vdip_jax.images import write_text
from vdip_jax.runtime import commit, describe, use_compile_cache

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data set.", required=True)
_TURNS = flags.DEFINE_integer("turns", 3, "How often each is timed.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")


def main(argv: Sequence[str]) -> None:
    """Print a row a size of kernel, then the largest and the mean over the images."""
    use_compile_cache()
    dataset = datasets.find_dataset(Path(_DATA_DIR.value))
    alike: dict[tuple[tuple[int, ...], ...], list[tuple[str, np.ndarray]]] = defaultdict(list)
    for pair in datasets.choose(dataset, argv[1:] or ["*"]):
        case = datasets.load_case(dataset, pair)
        alike[case.y.shape, case.kernel.shape].append((pair.name, case.y))
    rows = [row(size, some) for (_, size), some in alike.items()]
    alone = [seconds for each in rows for seconds in each["alone"].values()]
    together = sum(each["together"] for each in rows) / len(alone)
    print(f"an image alone {np.mean(alone):.2f} s, at most {max(alone):.2f}; in a batch {together:.2f} s")
    if _JSON.value:
        about = {"what": f"Seconds of instant, {len(alone)} images, alone and in batches", "dataset": dataset.name}
        about |= {"title": dataset.title, "command": " ".join(["python", *sys.argv]), "commit": commit()}
        write_text(Path(_JSON.value), json.dumps({**about, "rows": rows, **describe()}, indent=1) + "\n")


def row(size: tuple[int, int], some: Sequence[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """The least seconds of each image [H, W] or [H, W, C] alone and of all in one batch, with a kernel of `size`."""
    images = [jnp.asarray(y.reshape(*y.shape[:2], -1), jnp.float32) for _, y in some]
    batch = jnp.stack(images)
    ways = [lambda y=y: _solve(y, size) for y in (*images, batch)]
    for way in (ways[0], ways[-1]):
        way()
    turns = [[_seconds(way) for way in ways] for _ in range(_TURNS.value)]
    *alone, together = np.min(turns, axis=0).round(3).tolist()
    print(
        f"kernel {size[0]}x{size[1]}, {len(some)} images: alone {np.mean(alone):.2f} s, at most {max(alone):.2f}; "
        f"in a batch {together / len(some):.2f} s an image",
        flush=True,
    )
    return {
        "kernel": list(size),
        "alone": dict(zip((name for name, _ in some), alone, strict=True)),
        "together": together,
    }


def _solve(y: jax.Array, size: tuple[int, int]) -> None:
    jax.block_until_ready(solve(y, jax.random.key(0), kernel_size=size, config=Config.preset("instant")))


def _seconds(way: Callable[[], None]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    app.run(main)
