"""Blur sharp photographs by hand shakes of their own, as a data set for bin/evaluate and bin/deblur.

python benchmarks/photographs.py --output=photos coffee.png chelsea.png rocket.jpg
"""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from absl import app, flags

from vdip_jax import blur
from vdip_jax.images import write_image
from vdip_jax.photographs import read_image
from vdip_jax.transfer import to_light, to_stored

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the data set.", required=True)
_MAX_SIDE = flags.DEFINE_integer("max_side", 400, "Shrink a larger photograph to this longer side.")
_KERNEL_SIZES = flags.DEFINE_list("kernel_sizes", ["21", "27", "31"], "Odd sides of the kernels, in turn.")
_NOISE = flags.DEFINE_float("noise", 0.01, "Standard deviation of white noise.")
_TRANSFER = flags.DEFINE_enum("transfer", "none", ("none", "srgb"), "Blur pictures as stored, or the light they show.")
_SEED = flags.DEFINE_integer("seed", 0, "Of shakes and noise.")

# Exposure in this many moments; a shaking hand keeps its speed but for a pull to the middle and small thrusts.
_MOMENTS = 2000
_DAMPING, _PULL, _THRUST = 0.995, 2e-5, 0.02


def shake(size: int, generator: np.random.Generator) -> np.ndarray:
    """A kernel [size, size] of a hand's trajectory, sum 1; after Boracchi and Foi (IEEE TIP 2012, Sec. II)."""
    place, speed, path = np.zeros(2), generator.standard_normal(2), []
    for _ in range(_MOMENTS):
        speed = _DAMPING * speed - _PULL * place + _THRUST * generator.standard_normal(2)
        place = place + speed
        path.append(place)
    points = np.array(path)
    points -= (points.max(0) + points.min(0)) / 2
    # Within the kernel but for one pixel a side.
    points *= (size - 4) / 2 / np.abs(points).max()
    places = points + size // 2
    kernel = np.histogram2d(*places.T, bins=size, range=[(-0.5, size - 0.5)] * 2)[0]
    kernel = scipy.ndimage.gaussian_filter(kernel, 0.6)
    return kernel / kernel.sum()


def main(argv: Sequence[str]) -> None:
    """Write blurred/, ground_truth/ and kernels/."""
    generator = np.random.default_rng(_SEED.value)
    folder = Path(_OUTPUT.value)
    for name in ("blurred", "ground_truth", "kernels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(argv[1:]):
        sharp = read_image(Path(path), _MAX_SIDE.value).pixels
        size = int(_KERNEL_SIZES.value[i % len(_KERNEL_SIZES.value)])
        kernel = shake(size, generator)
        light = to_light(sharp, _TRANSFER.value)
        blurred = to_stored(np.asarray(blur(jnp.asarray(light), jnp.asarray(kernel, jnp.float32))), _TRANSFER.value)
        blurred = blurred + _NOISE.value * generator.standard_normal(blurred.shape)
        half, name = size // 2, Path(path).stem
        write_image(folder / "blurred" / f"{name}_kernel_{i + 1:02d}.png", blurred.clip(0, 1))
        write_image(folder / "ground_truth" / f"{name}.png", sharp[half:-half, half:-half])
        # Eight bits: the kernel is read back scaled to sum 1.
        write_image(folder / "kernels" / f"kernel_{i + 1:02d}.png", kernel / kernel.max())


if __name__ == "__main__":
    app.run(main)
