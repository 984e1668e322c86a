"""A standard deviation a pixel that foretells the error of an answer, without a truth.

The published schedule leaves the one of q(x) stale, and the classical estimate has none. Here the answer itself is
blurred again, given the photograph's noise, and restored again: what is then lost tells how much was lost before (a
parametric bootstrap). Were image and kernel right, as much would be left unexplained then as now; what is left beyond
tells of a wrong kernel (a posterior predictive check). Where errors are, is told by the gradients: at edges and in
texture, near and within reach of the kernel; and by a second answer, where that differs. Weights and exponents by
measurement (docs/uncertainty.md).
"""

import jax
import jax.numpy as jnp

from vdip_jax import nonblind
from vdip_jax.candidates import luma, unexplained
from vdip_jax.finishing import blurred_again, noise_level, trust
from vdip_jax.operators import gaussian_window

_STEPS = 30
# The answer is smoother than the truth, and its kernel wrong: errors are larger than those made again, the more so the
# more is left unexplained; from so many times what should be to so many, beyond which they neither shrink nor grow.
_INFLATION = 2.3
_MISFIT_EXPONENT, _LEAST_MISFIT, _MOST_MISFIT, _LEAST_LEFT = 2, 0.7, 1.5, 1e-12
# Windows in pixels over which squared gradients are averaged, and how the std grows with the means.
_NEAR, _FAR = (7, 1.0), (49, 8.0)
_EXPONENT = 0.35
_LEAST_GRADIENT = 1e-4
# The window for squared differences of two answers.
_AROUND = (13, 2.0)


@jax.jit
def refit(y: jax.Array, image: jax.Array, kernel: jax.Array) -> jax.Array:
    """Standard deviation [H, W, C] of the error of `image` as the answer to `y`, both [H, W, C].

    Args:
      y: blurred, in [0, 1].
      image: restored.
      kernel: [kh, kw], sum 1, what the answer takes the blur for.
    """
    return scale(luma(y), luma(image), kernel) * pattern(image)


def mixed(image: jax.Array, std: jax.Array, other: jax.Array, share: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An answer [H, W, C] with a share of a second one in it, and its standard deviation, as `widened` has it."""
    difference = other - image
    return image + share * difference, widened(std, difference, share)


def widened(std: jax.Array, difference: jax.Array, share: jax.Array) -> jax.Array:
    """`std` [H, W, C] where a second answer, with its `difference` from the first, may be right by so large a `share`.

    The variance of a mixture: that of either answer, and that between them.
    """
    squared = gaussian_window(jnp.moveaxis(difference**2, -1, 0), *_AROUND)
    return jnp.sqrt(std**2 + share * (1 - share) * jnp.moveaxis(squared, 0, -1))


def pattern(image: jax.Array) -> jax.Array:
    """Where errors are large: a field of the shape of an image [H, W, C], to be scaled."""
    planes = jnp.moveaxis(image, -1, 0)
    down = jnp.diff(planes, axis=1, append=planes[:, -1:])
    right = jnp.diff(planes, axis=2, append=planes[:, :, -1:])
    squared = down**2 + right**2
    near, far = (gaussian_window(squared, size, sigma) for size, sigma in (_NEAR, _FAR))
    field = ((near + _LEAST_GRADIENT**2) * (far + _LEAST_GRADIENT**2)) ** (_EXPONENT / 2)
    return jnp.moveaxis(field, 0, -1)


@jax.jit
def scale(gray: jax.Array, latent: jax.Array, kernel: jax.Array) -> jax.Array:
    """What `pattern` is to be multiplied by: so that its root mean square is that of the errors to be expected.

    Args:
      gray, latent: [H, W], blurred and restored.
      kernel: [kh, kw].
    """
    again = blurred_again(latent, kernel, noise_level(gray))
    fidelity = trust(gray[..., None], nonblind.RANKING)
    restored = nonblind.deconvolve(again, kernel, fidelity=fidelity, num_steps=_STEPS, method=nonblind.RANKING)
    left, foretold = unexplained(gray, latent, kernel), unexplained(again, restored, kernel)
    # Of a blank image nothing is left either time.
    misfit = jnp.sqrt((left + _LEAST_LEFT) / (foretold + _LEAST_LEFT))
    expected = jnp.sqrt(((restored - latent) ** 2).mean())
    expected *= _INFLATION * jnp.clip(misfit, _LEAST_MISFIT, _MOST_MISFIT) ** _MISFIT_EXPONENT
    return expected / jnp.sqrt((pattern(latent[..., None]) ** 2).mean())
