"""The networks' normalisation with the LeakyReLU behind it, and its gradient in few passes over memory."""

import functools

import jax
import jax.numpy as jnp

_EPSILON = 1e-5
# More than a GPU's cache holds.
_MANY_ENTRIES = 2**23
# One row of so many gives a first idea of an image's mean.
_ROWS_A_PIVOT = 16


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: jax.Array, scale: jax.Array, offset: jax.Array, slope: float = 1) -> jax.Array:
    """Batch normalisation of [H, W, C] over its own pixels, then LeakyReLU(`slope`), none by default.

    Epsilon 1e-5, biased variance, moments of float32 at least. The gradient is written out: fewer passes over memory,
    and less rounding, than differentiating the moments.
    """
    return _normalise(x, scale, offset, slope)[0]


def _normalise(
    x: jax.Array, scale: jax.Array, offset: jax.Array, slope: float
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean, variance = _moments(x.astype(scale.dtype))
    saved = (x, scale, offset, mean, jax.lax.rsqrt(variance + _EPSILON))
    normed = _whitened(*saved) * scale + offset
    return _leaky(normed, normed, slope).astype(x.dtype), saved


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over pixels, both in one pass over memory: about the mean of some rows, so as not to cancel."""
    pivot = x[::_ROWS_A_PIVOT].mean(axis=(0, 1))
    mean = x.mean(axis=(0, 1))
    return mean, ((x - pivot) ** 2).mean(axis=(0, 1)) - (mean - pivot) ** 2


def _whitened(x: jax.Array, scale: jax.Array, offset: jax.Array, mean: jax.Array, inverse: jax.Array) -> jax.Array:
    return (x.astype(scale.dtype) - mean) * inverse


def _leaky(x: jax.Array, of: jax.Array, slope: float) -> jax.Array:
    return x if slope == 1 else jnp.where(of >= 0, x, slope * x)


def _normalise_gradient(slope: float, saved: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[jax.Array, ...]:
    x, scale, offset, _, inverse = saved
    pixels = x.shape[0] * x.shape[1]
    whitened = _whitened(*saved)

    def through_leaky(scale: jax.Array) -> jax.Array:
        return _leaky(cotangent.astype(scale.dtype), whitened * scale + offset, slope)

    of_normed = through_leaky(scale)
    mean, projection = of_normed.mean(axis=(0, 1)), (of_normed * whitened).mean(axis=(0, 1))
    if x.size >= _MANY_ENTRIES:
        # Made anew in the second pass over memory, since what is not kept need not be written and read. The barrier,
        # around vectors, keeps XLA from seeing that it is the same.
        scale, projection = jax.lax.optimization_barrier((scale, projection))
        of_normed = through_leaky(scale)
    of_x = (scale * inverse) * (of_normed - mean - whitened * projection)
    return of_x.astype(x.dtype), projection * pixels, mean * pixels


normalise.defvjp(_normalise, _normalise_gradient)
