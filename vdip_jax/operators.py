"""Linear operators on images: blur by FFT, differences, Gaussian window, sliding minimum, border crop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vdip_jax.checks import Refusal


def blur(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """True convolution of `image` with `kernel`, valid part (y = k * x of the paper's Eq. 1).

    Computed by FFT at the image's own size: the valid part sees no wrap-around, so nothing is padded and the
    cost does not depend on the kernel's size.

    Args:
      image: [H', W'] or [H', W', C].
      kernel: [kh, kw], no larger than the image.

    Returns:
      [H' - kh + 1, W' - kw + 1] or the same with C, in the image's dtype.

    Raises:
      Refusal: for shapes other than these.
    """
    fits = (
        image.ndim in (2, 3)
        and kernel.ndim == 2
        and all(k <= n for k, n in zip(kernel.shape, image.shape, strict=False))
    )
    if not fits:
        raise Refusal(
            f"blur needs an image [H, W] or [H, W, C] and a kernel [kh, kw] no larger, "
            f"got shapes {tuple(image.shape)} and {tuple(kernel.shape)}."
        )
    height, width = image.shape[:2]
    kh, kw = kernel.shape
    spectrum = jnp.fft.rfft2(kernel, s=(height, width), axes=(0, 1))
    if image.ndim == 3:
        spectrum = spectrum[..., None]
    full = jnp.fft.irfft2(jnp.fft.rfft2(image, axes=(0, 1)) * spectrum, s=(height, width), axes=(0, 1))
    return full[kh - 1 :, kw - 1 :]


def difference(image: jax.Array, axis: int) -> jax.Array:
    """Forward difference along `axis`, valid part: one entry fewer there."""
    return jnp.diff(image, axis=axis)


def observed_frame(canvas: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Crop a canvas [H + kh - 1, W + kw - 1, ...] to the frame [H, W, ...] of the observed image."""
    height, width = size
    top, left = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
    return canvas[top : top + height, left : left + width]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gaussian_window(image: jax.Array, size: int, sigma: float) -> jax.Array:
    """Weighted mean under a separable Gaussian window, zero-padded to the same size.

    The operator is its own adjoint, which is also its gradient here: faster than differentiating the sums.

    Args:
      image: [..., H, W].
      size: odd side of the window in pixels.
      sigma: standard deviation in pixels.
    """
    offsets = np.arange(size) - size // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    for axis in (image.ndim - 2, image.ndim - 1):
        margin = [(0, 0)] * image.ndim
        margin[axis] = (size // 2, size // 2)
        padded, length = jnp.pad(image, margin), image.shape[axis]
        shifted = [jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(size)]
        image = sum((float(w) * part for w, part in zip(weights, shifted, strict=True)), jnp.zeros((), image.dtype))
    return image


gaussian_window.defvjp(
    lambda image, size, sigma: (gaussian_window(image, size, sigma), None),
    lambda size, sigma, _, cotangent: (gaussian_window(cotangent, size, sigma),),
)


def sliding_minimum(image: jax.Array, size: int) -> jax.Array:
    """Minimum over every full `size` x `size` window of `image` [H, W], no padding.

    By doubling: the minimum over 2n entries is that of two minima over n, so a window of 35 takes six
    steps an axis in place of 35, and so does its gradient.
    """
    for axis in (0, 1):
        span = 1
        while span < size:
            shift = min(span, size - span)
            length = image.shape[axis]
            image = jnp.minimum(
                jax.lax.slice_in_dim(image, 0, length - shift, axis=axis),
                jax.lax.slice_in_dim(image, shift, length, axis=axis),
            )
            span += shift
    return image
