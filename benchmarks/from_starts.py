"""An evaluation whose classical starts are those of an earlier one: searched for on CPUs, refined on a GPU.

python benchmarks/from_starts.py --starts=out/instant --data_dir=lai2016 --preset=best --output=out/best

The search is many small programs, compiled anew for every size of image, and would fill most of a short lease of a GPU.
Here its kernel and agreement are read from an evaluation by `instant`, the picture is finished anew, and everything
else is `bin/evaluate`, with its flags. Seconds are without the search.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from vdip_jax import classical, evaluate, evaluation, finishing
from vdip_jax.datasets import Case, Dataset, Pair, load_case

_STARTS = flags.DEFINE_string("starts", None, "Folder of an evaluation by --preset=instant.", required=True)


def main(argv: Sequence[str]) -> None:
    """As `bin/evaluate`, one image at a time."""
    read: list[str] = []

    def load(dataset: Dataset, pair: Pair) -> Case:
        read.append(pair.name)
        return load_case(dataset, pair)

    def deblur(y: jax.Array, kernel_size: tuple[int, int]) -> classical.Start:
        kernel, agreement = _found(Path(_STARTS.value), read[-1])
        assert kernel.shape == kernel_size
        doubtful = agreement < finishing.UNSURE
        return classical.Start(finishing.finish(y, kernel, doubtful), kernel, jnp.array(True), jnp.array(agreement))

    evaluation.load_case, classical.deblur = load, deblur
    flags.FLAGS.batch_size = 1
    evaluate.main(argv)


def _found(folder: Path, name: str) -> tuple[jax.Array, float]:
    """The kernel [kh, kw] that an evaluation came to for an image, and how settings agreed on it."""
    named = f"{name}.classical.seed0"
    record = json.loads((folder / "records" / f"{named}.json").read_text())
    return jnp.asarray(np.load(folder / "pictures" / f"{named}_kernel.npy")), record["agreement"]


if __name__ == "__main__":
    app.run(main)
