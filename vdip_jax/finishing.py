"""How far the data can be trusted in the picture that `nonblind` makes of a kernel, and kernels by their pictures.

Noise, a kernel that is only an estimate and what small total variation takes away leave something unexplained.
"""

import functools

import jax
import jax.numpy as jnp

from vdip_jax import kernels, nonblind
from vdip_jax.candidates import Candidates, compare, luma, unexplained
from vdip_jax.operators import blur

_TRIAL_STEPS = 30
# Standard deviation of rounding to 8 bits.
_ROUNDING = 1 / 255 / 12**0.5
# The data are trusted the less the more noise there is: so many times its variance, and that of what the model misses
# beside (docs/refinement.md).
_DISTRUST = {nonblind.PICTURE: (6.0, 1.5e-4), nonblind.RANKING: (3.0, 1e-4)}
# Kernels less alike than this went wrong more often than not. The model then misses so many times as much, if the
# criterion prefers that (docs/refinement.md).
UNSURE = 0.85
_DOUBT = 3.0
# How many times as much the model may miss, as the picture tells; the last only of a kernel that is known.
_MISSED = (2.0, 1.0, 0.5, 0.125)
# From this agreement on no error of a kernel is reckoned with, down to the second more and more (docs/refinement.md).
_BELIEVED, _DISBELIEVED = 0.95, 0.35


@functools.partial(jax.jit, static_argnames="known")
def fidelity(y: jax.Array, kernel: jax.Array, doubtful: bool | jax.Array = False, known: bool = False) -> jax.Array:
    """The weight of the data in the picture that `kernel` [kh, kw] makes of y [H, W, C].

    As suits the picture; of a `doubtful` kernel as `fidelity_in_doubt` has it. More is trusted to one that is `known`.
    """
    suitable = functools.partial(_suitable, missed=_MISSED if known else _MISSED[:-1])
    return jax.lax.cond(jnp.asarray(doubtful), fidelity_in_doubt, suitable, y, kernel)


def fidelity_in_doubt(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """The errors of a doubtful kernel show as ghosts: the data are trusted less then, if the criterion prefers it."""
    sure, less = (judged(luma(y), kernel[None], doubt).criterion[0] for doubt in (1.0, _DOUBT))
    return trust(y, nonblind.PICTURE, jnp.where(less < sure, _DOUBT, 1.0))


def _suitable(y: jax.Array, kernel: jax.Array, missed: tuple[float, ...]) -> jax.Array:
    """The trust that restores best what is known: the picture itself, blurred again (a parametric bootstrap).

    Small total variation takes contrast from fine strokes: in text, which is full of them, more is lost by too little
    trust than by too much (docs/refinement.md).
    """
    restore = functools.partial(nonblind.deconvolve, kernel=kernel)
    image = restore(luma(y), fidelity=trust(y, nonblind.PICTURE))
    again = blurred_again(image, kernel, jnp.sqrt(_noise_variance(y))).clip(0, 1)

    def error(weight: jax.Array) -> jax.Array:
        return ((restore(again, fidelity=weight) - image) ** 2).mean()

    weights = jnp.stack([trust(y, nonblind.PICTURE, doubt) for doubt in missed])
    return weights[jax.lax.map(error, weights).argmin()]


def blurred_again(image: jax.Array, kernel: jax.Array, noise: float | jax.Array) -> jax.Array:
    """What `kernel` [kh, kw] makes of a picture [H, W], its edge going on beyond, and white noise of that deviation."""
    margin = [(n // 2, n // 2) for n in kernel.shape]
    drawn = jax.random.normal(jax.random.key(0), image.shape, image.dtype)
    return blur(jnp.pad(image, margin, mode="edge"), kernel) + noise * drawn


def reserve(agreement: float | jax.Array, errors: jax.Array, difference: jax.Array) -> jax.Array:
    """How much of the photograph, 0 ... 1, is to be left in the picture that a kernel makes.

    A wrong kernel's picture errs as much as the photograph does, and in another way: their mean is nearer to the truth.
    Each weighs inversely to the variance of its error. The photograph's is taken to be what the picture changes, the
    picture's counts the less the more settings agree on the kernel (docs/refinement.md).

    Args:
      agreement: on the kernel; NaN of a known one, with which nothing is left.
      errors: standard deviation [H, W, C] of the picture's error.
      difference: [H, W, C], of the photograph from the picture.
    """
    doubt = jnp.clip((_BELIEVED - agreement) / (_BELIEVED - _DISBELIEVED), 0, 1)
    expected = doubt * (errors**2).mean()
    return jnp.nan_to_num(expected / (expected + (difference**2).mean()))


def noise_level(gray: jax.Array) -> jax.Array:
    """Standard deviation of white noise in an image [H, W] that a blur left without finest detail (Donoho)."""
    height, width = (n // 2 * 2 for n in gray.shape)
    a, b, c, d = (gray[i:height:2, j:width:2] for i in (0, 1) for j in (0, 1))
    return jnp.median(jnp.abs(a - b - c + d)) / 2 / 0.6745


@jax.jit
def misfit(gray: jax.Array, image: jax.Array, kernel: jax.Array) -> jax.Array:
    """What an answer, image [H, W] and kernel [kh, kw], leaves unexplained of a blurred image [H, W]: 1 is the noise.

    Root mean square over the standard deviation of the noise, of which there is at least that of rounding to 8 bits.
    """
    return jnp.sqrt(unexplained(gray, image, kernel)) / jnp.maximum(noise_level(gray), _ROUNDING)


def trust(y: jax.Array, method: nonblind.Method, doubt: float | jax.Array = 1.0) -> jax.Array:
    """A method's weight of the data, y [H, W, C]: the less the more noise there is and the model misses.

    With `doubt` it is taken to miss so many times as much.
    """
    of_noise, missed = _DISTRUST[method]
    return 1 / (of_noise * _noise_variance(y) + doubt * missed)


def _noise_variance(y: jax.Array) -> jax.Array:
    """Of y [H, W, C], the mean over its channels."""
    return (jax.vmap(noise_level, in_axes=-1)(y) ** 2).mean()


@functools.partial(jax.jit, static_argnames="limits")
def judged(
    gray: jax.Array,
    estimates: jax.Array,
    doubt: float | jax.Array = 1.0,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Candidates:
    """What kernels [N, kh, kw] make of an image [H, W], the data trusted with so much doubt, compared.

    By images within the limits. Those of a picture, 0 and 1, are the better judges of kernels that are nearly right.
    But what was clipped, lights, white paper and night, the right kernel then leaves unexplained, and a blob can win
    (docs/refinement.md).
    """
    y = gray[..., None]
    restore = functools.partial(
        nonblind.deconvolve,
        y,
        fidelity=trust(y, nonblind.RANKING, doubt),
        num_steps=_TRIAL_STEPS,
        method=nonblind.RANKING,
        limits=limits,
    )
    # One after another: side by side they would take as many times the memory, and no less time.
    return compare(y, jax.lax.map(restore, estimates), estimates, kernels.useful(estimates))
