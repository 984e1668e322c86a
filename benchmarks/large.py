"""A photograph of 12 megapixels, blurred by a hand's shake, through bin/deblur: time, memory, gain.

python benchmarks/large.py --output=FOLDER [--json=FILE] SHARP...     sharp photographs, tiled to fill the picture

Blurred in light, with noise, as a JPEG file. Memory is what the operating system saw bin/deblur take at most.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image

from vdip_jax import blur, metrics
from vdip_jax.photographs import read_image
from vdip_jax.runtime import commit, describe
from vdip_jax.samples import shake_kernel
from vdip_jax.transfer import to_light, to_stored

_OUTPUT = flags.DEFINE_string("output", None, "Folder for the photograph and its results.", required=True)
_SIZE = flags.DEFINE_list("size", ["3000", "4000"], "Height and width.")
_KERNEL = flags.DEFINE_integer("kernel", 41, "Odd side of the shake's frame.")
_NOISE = flags.DEFINE_float("noise", 0.01, "Standard deviation of white noise in stored values.")
_PRESET = flags.DEFINE_string("preset", "instant", "That of bin/deblur.")
_MAX_MEMORY = flags.DEFINE_integer("max_memory", 4, "Gigabytes, for bin/deblur.")
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")

_TILE = (768, 1024)


def sharp(paths: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Photographs in turn, every other time mirrored, one beside and below the other: [*size, 3]."""
    tiles = []
    for path in paths:
        picture = Image.fromarray(np.round(read_image(Path(path)).pixels * 255).astype(np.uint8).squeeze())
        tiles.append(np.asarray(picture.convert("RGB").resize(_TILE[::-1], Image.Resampling.LANCZOS), np.float32) / 255)
    rows, columns = (-(-n // tile) for n, tile in zip(size, _TILE, strict=True))
    turned = [tiles[n % len(tiles)][:, :: (-1) ** (n // len(tiles))] for n in range(rows * columns)]
    strips = [np.concatenate(turned[columns * row : columns * (row + 1)], 1) for row in range(rows)]
    return np.concatenate(strips)[: size[0], : size[1]]


def blurred(picture: np.ndarray, kernel: np.ndarray, noise: float) -> np.ndarray:
    """What a camera would store of the middle of a picture [H, W, 3], as 8 bits."""
    light = to_light(picture, "srgb")
    seen = np.asarray(blur(jnp.asarray(light), jnp.asarray(kernel, jnp.float32)))
    stored = to_stored(seen.clip(0, 1), "srgb") + noise * np.random.default_rng(0).standard_normal(seen.shape)
    return np.round(stored.clip(0, 1) * 255).astype(np.uint8)


def main(argv: Sequence[str]) -> None:
    """Make it, restore it, tell."""
    height, width = (int(n) for n in _SIZE.value)
    folder, margin = Path(_OUTPUT.value), _KERNEL.value - 1
    folder.mkdir(parents=True, exist_ok=True)
    truth = sharp(argv[1:], (height + margin, width + margin))
    photo = folder / "large photo.jpg"
    pixels = blurred(truth, shake_kernel(_KERNEL.value, seed=3), _NOISE.value)
    Image.fromarray(pixels).save(photo, quality=95)
    truth = truth[margin // 2 : -margin // 2, margin // 2 : -margin // 2]

    program = Path(__file__).resolve().parent.parent / "bin" / "deblur"
    flags_given = [f"--preset={_PRESET.value}", f"--max_memory={_MAX_MEMORY.value}", f"--output={folder}"]
    began = time.perf_counter()
    subprocess.run([program, photo, *flags_given, "--overwrite"], check=True)
    seconds = time.perf_counter() - began
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    restored = read_image(folder / "large photo.png").pixels
    # Of a quarter of the rows and columns: aligning all of it would take minutes and say the same.
    window = np.s_[height // 4 : height // 2, width // 4 : width // 2]
    before, after = (
        metrics.score(image[window], truth[window]).psnr for image in (pixels.astype(np.float32) / 255, restored)
    )
    told = {
        "what": f"{width}x{height} pixels, {_PRESET.value}: {seconds:.0f} s, {kilobytes * 1024 / 1e9:.2f} GB at most, "
        f"{before:.2f} to {after:.2f} dB",
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "seconds": round(seconds, 1),
        "peak_gigabytes": round(kilobytes * 1024 / 1e9, 3),
        "psnr": {"blurred": round(before, 3), "restored": round(after, 3)},
        **describe(),
    }
    print(told["what"])
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    app.run(main)
