"""A classical blind start, in seconds: the kernel by searches from coarse to fine (`search`), then the picture.

Two searches, one of which does not let a narrow kernel win, as the other often does; where that leaves doubt two more,
one of them by images that may go beyond 1, as lights did that were clipped. A large image is searched in parts as well:
some show the kernel better than the whole does, with its mixture of contents. What they come to is begun with in one
more search of the whole, which is joined with those from nothing (docs/refinement.md). `finishing` makes the picture.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax.candidates import luma
from vdip_jax.checks import is_concrete
from vdip_jax.finishing import UNSURE, fidelity
from vdip_jax.nonblind import deconvolve
from vdip_jax.optimizers import choose
from vdip_jax.search import Found, joined, most_plausible, search
from vdip_jax.threads import are_best_apart, side_by_side

# What the two searches weigh the width of a kernel with, those in doubt, and the one that begins with kernels of parts.
_WIDTHS, _IN_DOUBT, _OF_PARTS = (0.0, 2.0), (1.0,), (2.0,)
# The limits of the images by which each of those in doubt compares.
_LIMITS_IN_DOUBT = ((0.0, 1.0), (0.0, math.inf))
# Side of a part in pixels. An image of fewer than so many times its pixels, or in which a part is less than so many
# kernels wide, so that parts come to blobs, is searched as a whole only.
_PART, _LEAST_PARTS, _LEAST_KERNELS = 400, 2, 7


class Start(NamedTuple):
    """What a classical start gives: `image` of y's shape, `kernel` [kh, kw], and whether that is of any use.

    `agreement`: how alike the kernels are that several trials come to, 1 if equal; NaN for a known kernel. `fidelity`:
    weight of the data in the image.
    """

    image: jax.Array
    kernel: jax.Array
    ok: jax.Array
    agreement: jax.Array
    fidelity: jax.Array


def deblur(y: jax.Array, kernel_size: tuple[int, int]) -> Start:
    """Estimate the kernel, then the image. Pure: jit, vmap and any device; compiled once a scale.

    Args:
      y: [H, W, C], blurred, in [0, 1] up to noise.
      kernel_size: odd height and width, at least the blur's extent.

    Returns:
      A `Start`; not `ok` where every trial collapsed into a kernel that blurs nothing, or nothing finite came out.
    """
    found = estimate(luma(y), kernel_size)
    weight = fidelity(y, found.kernel, found.agreement < UNSURE)
    return Start(deconvolve(y, found.kernel, fidelity=weight), found.kernel, found.ok, found.agreement, weight)


def with_known(y: jax.Array, kernel: jax.Array) -> Start:
    """The `Start` to an image [H, W, C] whose kernel [kh, kw] need not be estimated."""
    weight = fidelity(y, kernel, known=True)
    image = deconvolve(y, kernel, fidelity=weight)
    return Start(image, kernel, jnp.ones((), bool), jnp.full((), jnp.nan, y.dtype), weight)


def estimate(gray: jax.Array, kernel_size: tuple[int, int]) -> Found:
    """Estimate the kernel of a blurred image [H, W], as `deblur` does."""
    # The programs of each scale are shared by all that call this only if all do it with one precision.
    with jax.default_matmul_precision("float32"):
        whole, parts = first_estimate(gray, kernel_size), _parts(gray, kernel_size)
        again = functools.partial(_in_doubt, gray, kernel_size)
        if parts is None:
            return _if_better(gray, whole, whole.doubtful, again)
        of_parts = search(gray, kernel_size, _OF_PARTS, _of_parts(parts, kernel_size))
        whole = _if_better(gray, whole, whole.doubtful & of_parts.doubtful, again)
        return joined(gray, of_parts, whole)


def first_estimate(gray: jax.Array, kernel_size: tuple[int, int]) -> Found:
    """The same of the whole image and by the first two searches alone, whether or not they leave doubt."""
    with jax.default_matmul_precision("float32"):
        return search(gray, kernel_size, _WIDTHS)


def _in_doubt(gray: jax.Array, kernel_size: tuple[int, int]) -> list[Found]:
    """By the searches of the whole image that are made where the first two leave doubt."""

    def one(limits: tuple[float, float]) -> Found:
        return search(gray, kernel_size, _IN_DOUBT, limits=limits)

    if are_best_apart(gray):
        return side_by_side(one, _LIMITS_IN_DOUBT)
    return [one(limits) for limits in _LIMITS_IN_DOUBT]


def _if_better(gray: jax.Array, found: Found, doubtful: jax.Array, again: Callable[[], list[Found]]) -> Found:
    """What is found, or if that is doubtful the most plausible of it and of what is found `again`."""
    if is_concrete(doubtful) and not doubtful:
        return found
    return choose(doubtful, most_plausible(gray, [found, *again()]), found)


def _parts(gray: jax.Array, kernel_size: tuple[int, int]) -> jax.Array | None:
    """Squares [N, h, w] at the corners and in the middle of an image [H, W]; None where that is hardly larger than one.

    None also where a part would show too little of the kernel.
    """
    height, width = gray.shape
    side = min(_PART, height, width)
    if height * width < _LEAST_PARTS * side**2 or side < _LEAST_KERNELS * max(kernel_size):
        return None
    bottom, right = height - side, width - side
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    # Of a strip, the corners of one end are one.
    return jnp.stack([gray[i : i + side, j : j + side] for i, j in dict.fromkeys(corners)])


def _of_parts(parts: jax.Array, kernel_size: tuple[int, int]) -> jax.Array:
    """The kernels [N, kh, kw] of parts [N, h, w] of an image, each found by itself."""

    def one(part: jax.Array) -> jax.Array:
        return search(part, kernel_size, _WIDTHS).kernel

    if are_best_apart(parts):
        return jnp.stack(side_by_side(one, list(parts)))
    return jax.vmap(one)(parts)
