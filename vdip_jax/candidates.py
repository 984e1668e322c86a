"""Possible answers to one blurred image, compared without a truth."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax.operators import blur

_LUMA = (0.299, 0.587, 0.114)


class Candidates(NamedTuple):
    """Answers to choose from: images [N, H, W, C], kernels [N, kh, kw], and the `criterion` [N] of each.

    An answer of no use has an infinite criterion.
    """

    image: jax.Array
    kernel: jax.Array
    criterion: jax.Array


def compare(y: jax.Array, images: jax.Array, kernels: jax.Array, usable: jax.Array) -> Candidates:
    """`Candidates` for the blurred image `y` [H, W, C]; those not `usable` [N] get an infinite criterion."""
    gray = luma(y)
    # One after another, for memory.
    scores = jax.lax.map(lambda pair: criterion(gray, luma(pair[0]), pair[1]), (images, kernels))
    return Candidates(images, kernels, jnp.where(usable & jnp.isfinite(scores), scores, jnp.inf))


def criterion(gray: jax.Array, image: jax.Array, kernel: jax.Array) -> jax.Array:
    """How implausible an answer is, without a truth: lower is better; only answers to one image compare.

    log |k * x - y|^2 + 4 log(|Dx|_1 / |Dx|_2): a wrong kernel leaves a residual, or rings, which spoils the normalised
    sparsity of gradients (Krishnan, Tay and Fergus, CVPR 2011). Chosen by measurement (docs/refinement.md).

    Args:
      gray, image: [H, W], blurred and restored.
      kernel: [kh, kw].
    """
    length = jnp.sqrt(jnp.diff(image, axis=0)[:, :-1] ** 2 + jnp.diff(image, axis=1)[:-1] ** 2 + 1e-12)
    sparsity = length.mean() / jnp.sqrt((length**2).mean())
    return jnp.log(unexplained(gray, image, kernel)) + 4 * jnp.log(sparsity)


def unexplained(gray: jax.Array, image: jax.Array, kernel: jax.Array) -> jax.Array:
    """|k * x - y|^2, the mean over the pixels of y [H, W] whose blur the frame of x [H, W] shows in full.

    Where k * x goes beyond 0 or 1 it is cut off, as y was.
    """
    kh, kw = kernel.shape
    height, width = gray.shape
    residual = blur(image, kernel).clip(0, 1) - gray[kh // 2 : height - kh // 2, kw // 2 : width - kw // 2]
    return (residual**2).mean()


def luma(y: jax.Array) -> jax.Array:
    """[H, W, C] to [H, W]: the channel itself, or the weighted sum of three."""
    return y[..., 0] if y.shape[-1] == 1 else y @ jnp.asarray(_LUMA, y.dtype)
