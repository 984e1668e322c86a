"""The embedded photographs: one really blurred, one sharp and blurred here so that the gain can be scored."""

from importlib import resources
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image

from vdip_jax.checks import check_choice
from vdip_jax.operators import blur
from vdip_jax.photographs import Photo

SAMPLES = ("clock", "astronaut")
_KERNEL_SIZES = {"clock": (15, 35), "astronaut": (19, 19)}
_NOISE = 0.005


class Sample(NamedTuple):
    """An embedded photograph, a kernel size that fits it, and the truth [H, W, 3] and [kh, kw] where known."""

    photo: Photo
    kernel_size: tuple[int, int]
    truth: np.ndarray | None = None
    kernel: np.ndarray | None = None


def load_sample(name: str) -> Sample:
    """Load the sample `name`, one of `SAMPLES`.

    'clock' is a real photograph taken with a moving camera. 'astronaut' is sharp; it is blurred here with a
    camera-shake path, given Gaussian noise of standard deviation 0.005 and rounded to 8 bits.

    Raises:
      Refusal: for an unknown name.
    """
    check_choice("a sample", name, SAMPLES)
    with resources.files("vdip_jax").joinpath("samples", f"{name}.png").open("rb") as file:
        pixels = np.asarray(Image.open(file), np.float32) / 255
    size = _KERNEL_SIZES[name]
    if name == "clock":
        return Sample(Photo(name, pixels), size)
    kernel = shake_kernel(size[0], seed=4)
    blurred = np.asarray(blur(jnp.asarray(pixels), jnp.asarray(kernel)))
    noisy = blurred + np.random.default_rng(0).normal(0, _NOISE, blurred.shape)
    half = size[0] // 2
    photo = Photo(name, (np.round(np.clip(noisy, 0, 1) * 255) / 255).astype(np.float32))
    return Sample(photo, size, pixels[half:-half, half:-half], kernel)


def shake_kernel(size: int, seed: int) -> np.ndarray:
    """A camera-shake kernel [size, size]: the exposure along a smooth random path that fills the frame."""
    generator = np.random.default_rng(seed)
    time = np.linspace(0, 1, 2000)
    path = np.zeros((2, time.size))
    for frequency in (0.5, 1.0, 1.5, 2.0):
        phase = generator.uniform(0, 2 * np.pi, (2, 1))
        path += generator.normal(0, 1 / frequency, (2, 1)) * np.cos(2 * np.pi * frequency * time + phase)
    low, high = path.min(axis=1, keepdims=True), path.max(axis=1, keepdims=True)
    # Scaled by the longer extent, centred, and kept a pixel off the frame.
    path = (path - (low + high) / 2) / (high - low).max() * (size - 3) + (size - 1) / 2
    kernel = np.zeros((size, size))
    whole = np.floor(path).astype(int)
    part = path - whole
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
            np.add.at(kernel, (whole[0] + down, whole[1] + right), weight)
    return (kernel / kernel.sum()).astype(np.float32)
