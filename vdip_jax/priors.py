"""Closed-form expectations of the priors on the image, and the Gaussian prior on the kernel.

Each image prior is a penalty: larger is less likely. All are means over pixels, as the release has them.
"""

import jax
import jax.numpy as jnp

from vdip_jax.config import EXTREME_WINDOW
from vdip_jax.operators import difference, sliding_minimum

_SPARSE_FLOOR = 1e-6
_SPREAD_FLOOR = 1e-32
# The release has 1e-45, a denormal that XLA flushes to zero; 1e-30 is kept and as far below any p that matters.
_EXTREME_FLOOR = 1e-30


def expected_squared_difference(mean: jax.Array, std: jax.Array, axis: int) -> jax.Array:
    """E[(D x)^2] under q for forward differences along `axis`: (D E)^2 + S[i+1]^2 + S[i]^2 (paper Eq. 13)."""
    length = mean.shape[axis]
    variance = std**2
    return (
        difference(mean, axis) ** 2
        + jax.lax.slice_in_dim(variance, 1, length, axis=axis)
        + jax.lax.slice_in_dim(variance, 0, length - 1, axis=axis)
    )


def sparse_penalty(mean: jax.Array, std: jax.Array) -> jax.Array:
    """Sparse gradient penalty, rho(u) = log|u| by its quadratic bound (paper Eqs. 7, 12 to 14).

    The weights 1/(p + 1e-6) are constants of the bound: no gradient flows through them.

    Args:
      mean, std: [H', W', C], the posterior's two moments on the canvas.

    Returns:
      Scalar.
    """
    height, width, channels = mean.shape
    total = jnp.zeros((), mean.dtype)
    for axis in (0, 1):
        power = expected_squared_difference(mean, std, axis)
        weight = jax.lax.stop_gradient(1 / (power + _SPARSE_FLOOR))
        total += (power * weight).sum()
    return total / 4 / ((height - 1) * (width - 1) * channels)


def extreme_penalty(
    mean: jax.Array, std: jax.Array, eps_dark: jax.Array, eps_bright: jax.Array, bright_spread: str
) -> jax.Array:
    """Extreme-channel penalty: dark channel of x and of 1 - x near zero (paper Eqs. 15, 24 to 30).

    Args:
      mean, std: [H', W', C].
      eps_dark, eps_bright: standard normal draws of the same shape.
      bright_spread: 'released' for the spread that the published numbers have, 'exact' for that of (1 - x)^2.

    Returns:
      Scalar.
    """
    height, width, _ = mean.shape
    windows = (height - EXTREME_WINDOW + 1) * (width - EXTREME_WINDOW + 1)
    variance = std**2
    bright = 1 - mean
    dark_variance = 4 * mean**2 * variance + 2 * variance**2
    bright_variance = 4 * bright**2 * variance + 2 * variance**2
    if bright_spread == "released":
        bright_variance = 4 * variance + 4 * mean**2 * variance + 2 * variance**2
    total = jnp.zeros((), mean.dtype)
    for value, spread, eps in ((mean, dark_variance, eps_dark), (bright, bright_variance, eps_bright)):
        draw = value**2 + variance + eps * jnp.sqrt(spread + _SPREAD_FLOOR)
        power = sliding_minimum(draw.min(axis=-1), EXTREME_WINDOW)
        weight = jax.lax.stop_gradient(1 / (power + _EXTREME_FLOOR))
        total += (power * weight).sum()
    return total / 4 / windows


def kernel_penalty(kernel: jax.Array) -> jax.Array:
    """Standard Gaussian prior on the kernel, sum of k^2 / 2; not divided by a pixel count."""
    return (kernel**2).sum() / 2
