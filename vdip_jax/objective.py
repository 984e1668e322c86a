"""The losses of the three phases: prefit, variational (negative ELBO, paper Eq. 11) and SSIM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax.config import METHODS, Config
from vdip_jax.operators import blur, difference, gaussian_window, observed_frame
from vdip_jax.priors import extreme_penalty, kernel_penalty, sparse_penalty

_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


class Posterior(NamedTuple):
    """q(x), by its moments on the canvas [H', W', C], and the kernel [kh, kw]; `log_std` comes from the logits."""

    mean: jax.Array
    std: jax.Array
    log_std: jax.Array
    kernel: jax.Array


class Targets(NamedTuple):
    """What the prefit phase aims at: moments of q(x) on the frame of y [H, W, C], and a kernel [kh, kw]."""

    image: jax.Array
    std: jax.Array
    kernel: jax.Array


class Noise(NamedTuple):
    """The standard normal draws of one step: [M, H', W', C] for the likelihood, [H', W', C] for the prior."""

    likelihood: jax.Array
    dark: jax.Array
    bright: jax.Array


def draw_noise(key: jax.Array, shape: tuple[int, ...], dtype: Any, config: Config) -> Noise:
    """Draw what the variational phase needs on a canvas of `shape` [H', W', C].

    Where q(x) is a point: zeros, one sample.
    """
    method = METHODS[config.method]
    zeros = jnp.zeros(shape, dtype)
    if not method.gaussian:
        return Noise(zeros[None], zeros, zeros)
    likelihood = jax.random.normal(jax.random.fold_in(key, 0), (config.num_samples, *shape), dtype)
    if method.prior != "extreme":
        return Noise(likelihood, zeros, zeros)
    dark, bright = jax.random.normal(jax.random.fold_in(key, 1), (2, *shape), dtype)
    return Noise(likelihood, dark, bright)


def expected_log_likelihood(posterior: Posterior, y: jax.Array, eps: jax.Array) -> jax.Array:
    """Monte Carlo expected log-likelihood on the residual and its first and second differences (Eq. 16).

    The first-order term stands twice in the released settings, once on the blurred output and once on blurred
    gradients; convolution commutes with differences, so it is computed once and doubled.

    Args:
      posterior: on the canvas.
      y: [H, W, C].
      eps: [M, H', W', C].

    Returns:
      Scalar, per entry of the canvas.
    """

    def energy(sample_eps: jax.Array) -> jax.Array:
        residual = blur(posterior.mean + posterior.std * sample_eps, posterior.kernel) - y
        down, right = difference(residual, 0), difference(residual, 1)
        first = (down**2).sum() + (right**2).sum()
        second = (difference(down, 0) ** 2).sum() + 2 * (difference(down, 1) ** 2).sum()
        second += (difference(right, 1) ** 2).sum()
        return (residual**2).sum() / 2 + 2 * first / 4 + second / 8

    return -jax.vmap(energy)(eps).mean() / posterior.mean.size


def negative_kl(posterior: Posterior, noise: Noise, config: Config) -> jax.Array:
    """Minus KL(q || prior) up to constants: entropy less the penalties on image and kernel."""
    method = METHODS[config.method]
    mean, std = posterior.mean, posterior.std
    total = -config.kernel_weight * kernel_penalty(posterior.kernel)
    if method.gaussian:
        total += posterior.log_std.sum() / mean.size
    if method.prior == "sparse":
        total -= sparse_penalty(mean, std)
    if method.prior == "extreme":
        total -= extreme_penalty(mean, std, noise.dark, noise.bright, config.bright_spread)
    return total


def ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean SSIM of two images [H, W, C] in [0, 1]: 11x11 Gaussian window, sigma 1.5, zero-padded."""
    a, b = jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)
    mean_a, mean_b, aa, bb, ab = gaussian_window(jnp.stack([a, b, a * a, b * b, a * b]), 11, 1.5)
    luminance = (2 * mean_a * mean_b + _SSIM_C1) / (mean_a**2 + mean_b**2 + _SSIM_C1)
    covariance, variances = ab - mean_a * mean_b, aa - mean_a**2 + bb - mean_b**2
    return (luminance * (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)).mean()


def prefit_loss(posterior: Posterior, targets: Targets) -> jax.Array:
    """Squared error of mean and std on y's frame, and of the kernel, against the targets."""
    mean = observed_frame(posterior.mean, targets.image.shape[:2])
    std = observed_frame(posterior.std, targets.image.shape[:2])
    image = ((mean - targets.image) ** 2).mean() / 2 + ((std - targets.std) ** 2).mean() / 2
    return image + ((posterior.kernel - targets.kernel) ** 2).mean()


def variational_loss(posterior: Posterior, y: jax.Array, noise: Noise, sigma_t: jax.Array, config: Config) -> jax.Array:
    """Negative ELBO (Eq. 11) with the KL weighed by `sigma_t`; the likelihood alone where there is no prior."""
    loss = -expected_log_likelihood(posterior, y, noise.likelihood)
    if METHODS[config.method].prior is None:
        return loss
    return loss - sigma_t * negative_kl(posterior, noise, config)


def ssim_loss(posterior: Posterior, y: jax.Array) -> jax.Array:
    """1 - SSIM of the reblurred mean and y."""
    return 1 - ssim(blur(posterior.mean, posterior.kernel), y)
