"""The scales at which a kernel is searched for, and how large an image has to be for them."""

import math

from vdip_jax.checks import Refusal

_RATIO = 2**-0.5
# The coarsest kernel is about this wide: three pixels hold no shape yet.
_LEAST_KERNEL = 5


def scales(image_size: tuple[int, int], kernel_size: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Sizes of image and kernel from coarse to fine, 1/sqrt(2) apart, as coarse as the image allows."""
    count = max(0, math.floor(math.log(_LEAST_KERNEL / max(kernel_size)) / math.log(_RATIO) + 1e-9))
    sizes = [(image_size, kernel_size)]
    for level in range(1, count + 1):
        ratio = _RATIO**level
        height, width = (math.ceil(n * ratio) for n in image_size)
        kh, kw = (min(k, max(3, round(k * ratio) // 2 * 2 + 1)) for k in kernel_size)
        if not _suffices((height, width), (kh, kw)):
            break
        sizes.append(((height, width), (kh, kw)))
    return sizes[::-1]


def largest_kernel(image_size: tuple[int, int]) -> int:
    """The largest odd side of a kernel that an image of this size can show, at least 3."""
    return max(3, (min(image_size) // 2 - 3) // 2 * 2 + 1)


def _suffices(image_size: tuple[int, int], kernel_size: tuple[int, int]) -> bool:
    """Whether some gradients are far enough from the border to show the whole kernel."""
    return all(n >= 2 * k + 4 for n, k in zip(image_size, kernel_size, strict=True))


def check_pyramid(image_size: tuple[int, int], kernel_size: tuple[int, int]) -> None:
    """Refuse an image in which no gradient is far enough from the border to show the kernel.

    Raises:
      Refusal: says the least size.
    """
    if not _suffices(image_size, kernel_size):
        (height, width), (kh, kw) = image_size, kernel_size
        raise Refusal(
            f"the classical start needs an image of at least {2 * kh + 4}x{2 * kw + 4} pixels (height x width) for a "
            f"kernel of {kh}x{kw}, got {height}x{width}; give a smaller kernel_size, or start='uniform'."
        )
