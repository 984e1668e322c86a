"""What an update of the networks costs, by arithmetic."""

import itertools

from vdip_jax.config import METHODS, Config
from vdip_jax.generators import IMAGE_INPUT, KERNEL_INPUT


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
