"""The whole photograph, once its kernel is known from a part of it: tile by tile, within a limit of memory."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vdip_jax import cost, nonblind, tiles
from vdip_jax.batches import Estimate
from vdip_jax.config import Config
from vdip_jax.solver import solve

FINISHES = ("auto", "classical", "network")
# Tiles larger than this are no faster, and take longer between signs of life.
_SIDE = 1024
# What is left of the memory for a tile beside the picture itself.
_SHARE_OF_MEMORY = 0.5


def classical_side(kernel_size: tuple[int, int], colors: int, limit: int) -> int:
    """Side in pixels of the tiles of the classical finish that fit into `limit` bytes; at least four kernels."""
    fitting = int((_SHARE_OF_MEMORY * limit / cost.finish_bytes(colors)) ** 0.5) - max(kernel_size)
    return max(4 * max(kernel_size), min(_SIDE, fitting))


def classically(
    light: np.ndarray,
    kernel: np.ndarray,
    fidelity: float,
    limit: int,
    tell: Callable[[int, int], None],
) -> np.ndarray:
    """The picture [H, W] or [H, W, C] that `kernel` blurred into `light`, by `nonblind`, in tiles.

    Args:
      light: blurred, float32 in [0, 1].
      kernel: [kh, kw], sum 1.
      fidelity: weight of the data, as for `nonblind.deconvolve`.
      limit: bytes of memory.
      tell: called with the number of tiles done and of all after each.
    """
    margin = max(kernel.shape)
    colors = 1 if light.ndim == 2 else light.shape[-1]
    parts = tiles.tiling(light.shape[:2], classical_side(kernel.shape, colors, limit), margin)
    known = jnp.asarray(kernel, light.dtype)

    def restore(tile: np.ndarray) -> np.ndarray:
        return np.asarray(nonblind.deconvolve(jnp.asarray(tile), known, fidelity=fidelity))

    return tiles.blended(light, parts, margin, restore, lambda done: tell(done, len(parts)))
