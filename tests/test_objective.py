"""The losses by hand: NumPy in float64, no network."""

import functools

import jax
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from vdip_jax import METHODS, Config, objective
from vdip_jax.objective import Noise, Posterior

FRAME, KERNEL_SHAPE = (34, 36), (5, 3)
CANVAS = (38, 38)
CHANNELS = 3


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def example():
    """A posterior, an observed image and three draws."""
    std = 0.05 + 0.2 * random(*CANVAS, CHANNELS, seed=1)
    kernel = random(*KERNEL_SHAPE, seed=2)
    posterior = Posterior(random(*CANVAS, CHANNELS), std, np.log(std), kernel / kernel.sum())
    eps = np.random.default_rng(3).standard_normal((3, *CANVAS, CHANNELS))
    return posterior, random(*FRAME, CHANNELS, seed=4), eps


def point(posterior):
    zeros = np.zeros_like(posterior.std)
    return posterior._replace(std=zeros, log_std=zeros)


def reblurred(image, kernel):
    planes = [scipy.signal.convolve2d(image[..., c], kernel, mode="valid") for c in range(CHANNELS)]
    return np.stack(planes, axis=-1)


def likelihood_by_hand(posterior, y, eps):
    """Equation 16 with the first-order term counted twice, sample by sample."""
    total = 0.0
    for draw in eps:
        r = reblurred(posterior.mean + posterior.std * draw, posterior.kernel) - y
        first = [np.diff(r, axis=a) for a in (0, 1)]
        second = [np.diff(r, 2, axis=a) for a in (0, 1)]
        mixed = np.diff(first[0], axis=1)
        total += (r**2).sum() / 2
        total += 2 * sum((d**2).sum() for d in first) / 4
        total += (sum((d**2).sum() for d in second) + 2 * (mixed**2).sum()) / 8
    return -total / len(eps) / posterior.mean.size


# float64 throughout: rounding of FFT and of sums over some thousand entries.
close = functools.partial(np.testing.assert_allclose, rtol=1e-10)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_expected_log_likelihood_is_the_mean_over_samples_of_residual_and_its_differences(num_samples):
    posterior, y, eps = example()
    eps = eps[:num_samples]
    got = jax.jit(objective.expected_log_likelihood)(posterior, y, eps)
    close(got, likelihood_by_hand(posterior, y, eps))


def test_prefit_loss_is_the_squared_error_over_both_moments_and_the_kernel():
    posterior, y, _ = example()
    frame = (slice(2, 36), slice(1, 37))
    moments = np.concatenate([posterior.mean[frame], posterior.std[frame]], axis=-1)
    targets = objective.Targets(y, 0.3 * y, posterior.kernel[::-1])
    wanted = np.concatenate([y, 0.3 * y], axis=-1)
    expected = ((moments - wanted) ** 2).mean() + ((posterior.kernel - posterior.kernel[::-1]) ** 2).mean()
    close(jax.jit(objective.prefit_loss)(posterior, targets), expected)


def test_ssim_loss_is_that_of_the_reblurred_mean_with_zeros_outside():
    posterior, y, _ = example()
    blurred = reblurred(posterior.mean, posterior.kernel)

    def window(image):
        planes = [scipy.ndimage.gaussian_filter(image[..., c], 1.5, mode="constant", radius=5) for c in range(CHANNELS)]
        return np.stack(planes, axis=-1)

    ma, mb = window(blurred), window(y)
    va, vb, ab = window(blurred**2) - ma**2, window(y**2) - mb**2, window(blurred * y) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    close(jax.jit(objective.ssim_loss)(posterior, y), 1 - similarity.mean())


def test_ssim_loss_is_zero_where_the_reblurred_mean_is_the_image():
    posterior, _, _ = example()
    y = reblurred(posterior.mean, posterior.kernel)
    np.testing.assert_allclose(jax.jit(objective.ssim_loss)(posterior, y), 0, rtol=0, atol=1e-10)


def test_ssim_loss_gives_the_std_no_gradient():
    posterior, y, _ = example()
    gradient = jax.jit(jax.grad(objective.ssim_loss))(posterior, y)
    assert not np.any(gradient.std) and not np.any(gradient.log_std)
    assert np.any(gradient.mean) and np.any(gradient.kernel)


def sparse_by_hand(mean, std):
    total = 0.0
    for axis in (0, 1):
        variances = np.moveaxis(std, axis, 0) ** 2
        power = np.diff(mean, axis=axis) ** 2 + np.moveaxis(variances[1:] + variances[:-1], 0, axis)
        total += (power / (power + 1e-6)).sum()
    return total / 4 / (37 * 37 * CHANNELS)


@pytest.mark.parametrize("method", METHODS)
def test_variational_loss_is_likelihood_plus_the_weighed_terms_of_the_method(method):
    posterior, y, eps = example()
    gaussian, prior = METHODS[method]
    if not gaussian:
        posterior = point(posterior)
    zeros = np.zeros(posterior.mean.shape)
    config, sigma_t = Config(method=method, kernel_weight=7.0), 0.3
    got = jax.jit(objective.variational_loss, static_argnums=4)(
        posterior, y, Noise(eps[:1], zeros, zeros), sigma_t, config
    )
    negative_kl = 0.0
    if prior:
        negative_kl -= 7.0 * (posterior.kernel**2).sum() / 2
        # The extreme penalty is p/p in every window of the dark and of the bright channel: (1 + 1) / 4.
        negative_kl -= sparse_by_hand(posterior.mean, posterior.std) if prior == "sparse" else 0.5
        if gaussian:
            negative_kl += posterior.log_std.sum() / posterior.mean.size
    close(got, -likelihood_by_hand(posterior, y, eps[:1]) - sigma_t * negative_kl)


@pytest.mark.parametrize(
    ("method", "num_samples", "drawn"),
    [
        ("dip", 1, (False, False)),
        ("dip-extreme", 4, (False, False)),
        ("vdip-std", 2, (True, False)),
        ("vdip-sparse", 1, (True, False)),
        ("vdip-extreme", 3, (True, True)),
    ],
)
def test_noise_is_drawn_only_where_the_method_needs_it(method, num_samples, drawn):
    config = Config(method=method, num_samples=num_samples)
    noise = objective.draw_noise(jax.random.key(0), (20, 21, 3), "float32", config)
    samples = num_samples if drawn[0] else 1
    assert noise.likelihood.shape == (samples, 20, 21, 3)
    assert noise.dark.shape == noise.bright.shape == (20, 21, 3)
    assert (bool(noise.likelihood.any()), bool(noise.dark.any())) == drawn
    fields = [*noise.likelihood, noise.dark, noise.bright] if drawn[1] else list(noise.likelihood) if drawn[0] else []
    for i, field in enumerate(fields):
        # 1260 standard normal draws: standard errors 0.028 of the mean, 0.02 of the spread; five of each.
        assert abs(field.mean()) < 0.14 and abs(field.std() - 1) < 0.1
        # Fresh draws for each use: correlations of independent draws stay within five standard errors.
        assert all(abs((field * other).mean()) < 0.14 for other in fields[:i])
