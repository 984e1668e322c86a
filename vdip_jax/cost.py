"""What solving costs, by arithmetic: operations of an update, memory of a run."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import steps
from vdip_jax.config import METHODS, Config
from vdip_jax.generators import IMAGE_INPUT, KERNEL_INPUT


class _Buffers(NamedTuple):
    """Bytes of float32 buffers for each pixel of the canvas, as XLA plans them.

    Those of a step, beside its network's channels and for each of them; of the finish, beside the image's colours and
    for each.
    """

    step: int
    step_channel: int
    finish: int
    finish_color: int


# Canvases from 158 to 542 pixels, 32 to 128 channels: within a tenth of the plan of a step, mostly above it; a sixth of
# that of the finish.
_ON_CPU = _Buffers(1100, 85, 120, 60)
# Canvases from 286 to 1098 pixels, 32 to 128 channels: up to a tenth above the plan, and what a run took.
_ON_GPU = _Buffers(800, 45, 110, 30)


# Of two searches for a kernel side by side, as XLA plans one for a CPU; for a GPU it is not known.
_SEARCHES = 350


def _buffers() -> _Buffers:
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU


def memory(image_size: tuple[int, int], kernel_size: tuple[int, int], config: Config, colors: int) -> int:
    """Bytes of device memory that solving one image of a batch takes, about; in float32.

    Args:
      image_size, kernel_size: (height, width) in pixels.
      config: settings.
      colors: channels of the image.
    """
    pixels = (image_size[0] + kernel_size[0] - 1) * (image_size[1] + kernel_size[1] - 1)
    classical = pixels * max(_SEARCHES, finish_bytes(colors)) if config.start == "classical" else 0
    if not config.num_steps:
        return classical
    step, channel, *_ = _buffers()
    return max(classical, _state(kernel_size, config, colors) + pixels * (step + channel * config.channels))


def finish_bytes(colors: int) -> int:
    """Bytes for each pixel of the canvas that `nonblind.deconvolve` takes for an image of so many `colors`, about."""
    *_, beside, color = _buffers()
    return beside + color * colors


@functools.cache
def _state(kernel_size: tuple[int, int], config: Config, colors: int) -> int:
    """Bytes of the networks' parameters and what the optimizer keeps of them, whatever the image's size."""
    side = config.least_canvas[0]

    def state() -> steps.State:
        key = jax.random.key(0)
        return steps.start(steps.pose(jnp.zeros((side, side, colors)), key, kernel_size, None), key, config)

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(state)))


def largest_side(
    image_size: tuple[int, int], kernel_size: tuple[int, int], config: Config, colors: int, limit: int
) -> int:
    """Longer side in pixels to which an image must shrink for its `memory` to be at most `limit` bytes."""
    long = max(image_size)

    def fits(side: int) -> bool:
        size = tuple(max(1, side * n // long) for n in image_size)
        return memory((size[0], size[1]), kernel_size, config, colors) <= limit

    return next((side for side in range(long, 0, -max(1, long // 64)) if fits(side)), 0)


def multiply_adds(canvas: tuple[int, int], kernel_size: tuple[int, int], config: Config, colors: int) -> int:
    """Multiply-adds of the matrix products and convolutions in one update, counted directly (no fast algorithm).

    Forward pass, and backward pass for the inputs and for the weights of every layer; of the first ones, which are
    fed with noise, for the weights alone. Norms, losses and transforms, some 2 % more, are left out.

    Args:
      canvas: (height, width) of the latent image in pixels.
      kernel_size: (height, width) of the kernel in pixels.
      config: settings.
      colors: channels of the image.
    """
    sizes = list(itertools.accumulate(range(config.num_levels), lambda size, _: _halved(size), initial=canvas))
    pixels = [height * width for height, width in sizes]
    channels, skip, inner = config.channels, config.skip_channels, max(config.channels // 2, 1)
    first = pixels[0] * IMAGE_INPUT * skip + pixels[1] * 9 * IMAGE_INPUT * channels
    rest = 0
    for level in range(config.num_levels):
        fine, coarse = pixels[level], pixels[level + 1]
        if level:
            rest += fine * channels * skip + coarse * 9 * channels**2
        rest += coarse * 9 * channels**2
        if level >= config.nonlocal_from:
            height, width = sizes[level + 1]
            pooled = (height // 2) * (width // 2)
            rest += coarse * 4 * channels * inner + (coarse + pooled) * inner**2
        rest += fine * (9 * (channels + skip) * channels + channels**2)
    moments = 2 if METHODS[config.method].gaussian else 1
    rest += pixels[0] * channels * moments * colors
    hidden = config.kernel_hidden
    first += KERNEL_INPUT * hidden
    rest += hidden * kernel_size[0] * kernel_size[1]
    return 2 * first + 3 * rest


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
