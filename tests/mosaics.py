"""Blurred mosaics with a known kernel, small enough to restore in a test."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal

from vdip_jax import finishing
from vdip_jax.search import Found

SIZE, KERNEL_SIZE = (96, 100), (9, 9)


def mosaic(shape, seed=0):
    """Overlapping rectangles of random gray or colour: [H, W, C]."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, 0.5, np.float32)
    for _ in range(120):
        top, left = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        height, width = rng.integers(4, 30, 2)
        image[top : top + height, left : left + width] = rng.random(shape[2])
    return image


def stroke(size=KERNEL_SIZE):
    """A bent stroke, centred, sum 1."""
    kernel = np.zeros(size, np.float32)
    middle = size[0] // 2
    kernel[middle, 1:-2] = 1
    kernel[middle - 2 : middle, -3] = 2
    return kernel / kernel.sum()


def photo(channels=1, kernel=None, noise=0.0, seed=0, exposure=1):
    """A sharp mosaic in the frame, and what the stroke makes of it with noise of a standard deviation.

    The lights of a longer exposure are clipped.
    """
    kernel = stroke() if kernel is None else kernel
    kh, kw = kernel.shape
    sharp = exposure * mosaic((SIZE[0] + kh - 1, SIZE[1] + kw - 1, channels), seed)
    y = np.stack([scipy.signal.convolve2d(sharp[..., c], kernel, mode="valid") for c in range(channels)], -1)
    y += noise * np.random.default_rng(1).standard_normal(y.shape)
    return sharp[kh // 2 : kh // 2 + SIZE[0], kw // 2 : kw // 2 + SIZE[1]], y.clip(0, 1).astype(np.float32)


def all_come_to(estimates):
    """What `search._searched` is replaced by: each search finds these kernels [N, kh, kw]."""

    def searched(gray, size, widths, seeds, limits):
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * len(widths)), finishing.judged(gray, estimates))

    return searched


def comes_to(kernel, agreement):
    """What `classical.estimate` is made to give."""
    return Found(jnp.asarray(kernel), *map(jnp.array, (True, agreement, 1.0)))
