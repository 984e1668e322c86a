"""Non-blind deconvolution: its shrinkage, its border, real images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from vdip_jax.datasets import choose, find_dataset, load_case
from vdip_jax.metrics import psnr, score
from vdip_jax.nonblind import deconvolve, shrink
from vdip_jax.operators import blur


def patches(shape, seed=0):
    """A picture of flat patches, as the prior likes them."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), (4, 4, 0))
    return np.float32(0.2 + 0.6 * (noise > np.median(noise)))


def stroke(shape):
    kernel = np.random.default_rng(1).random(shape).astype(np.float32) ** 3
    return kernel / kernel.sum()


def problem(size, channels, kernel_shape, seed=0):
    """Blurred image, its truth in the same frame, and the kernel."""
    kh, kw = kernel_shape
    canvas = patches((size[0] + kh - 1, size[1] + kw - 1, channels), seed)
    kernel = stroke(kernel_shape)
    y = np.clip(np.asarray(blur(jnp.asarray(canvas), jnp.asarray(kernel))), 0, 1)
    top, left = (kh - 1) // 2, (kw - 1) // 2
    return y, canvas[top : top + size[0], left : left + size[1]], kernel


@pytest.mark.parametrize("stiffness", [0.5, 4.0, 60.0, 256.0])
def test_shrinkage_finds_the_minimum_of_a_fine_search(stiffness, x64):
    v = np.concatenate([np.linspace(-1, 1, 81), [2.5, -0.003, 1e-6]])
    candidates = np.linspace(-2.5, 2.5, 500001)
    got = np.asarray(shrink(jnp.asarray(v), stiffness))

    def cost(w, at):
        return np.abs(w) ** (2 / 3) + stiffness / 2 * (w - at) ** 2

    best = np.array([cost(candidates, at).min() for at in v])
    # No worse than the grid, and the grid is no better than its spacing lets it be.
    np.testing.assert_array_less(cost(got, v), best + 1e-9)
    np.testing.assert_allclose(cost(got, v), best, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels", "kernel_shape"),
    [((64, 64), 1, (9, 9)), ((61, 70), 3, (5, 11)), ((48, 47), 1, (11, 3))],
)
def test_a_noise_free_image_is_recovered_to_its_border(size, channels, kernel_shape):
    y, truth, kernel = problem(size, channels, kernel_shape)
    x = np.asarray(deconvolve(jnp.asarray(y), jnp.asarray(kernel)))
    assert x.shape == y.shape
    assert psnr(x, truth) > psnr(y, truth) + 8
    squared = (x - truth) ** 2
    inner = squared[10:-10, 10:-10]
    border = (squared.sum() - inner.sum()) / (squared.size - inner.size)
    assert border < 8 * inner.mean() + 1e-4


def test_the_mirrored_kernel_does_not_do():
    y, truth, kernel = problem((64, 64), 1, (9, 9))
    right, wrong = (np.asarray(deconvolve(jnp.asarray(y), jnp.asarray(k))) for k in (kernel, kernel[::-1, ::-1]))
    assert psnr(right, truth) > psnr(wrong, truth) + 5


def test_the_delta_kernel_changes_little():
    y, _, _ = problem((48, 48), 1, (5, 5))
    delta = jnp.zeros((5, 5)).at[2, 2].set(1)
    np.testing.assert_allclose(deconvolve(jnp.asarray(y), delta), y, atol=0.02)


def test_compiled_and_batched_results_are_those_of_single_ones():
    problems = [problem((48, 50), 3, (5, 7), seed) for seed in (0, 1)]
    y, kernel = (jnp.stack([jnp.asarray(parts[i]) for parts in problems]) for i in (0, 2))
    batch = jax.jit(jax.vmap(deconvolve))(y, kernel)
    for i in range(2):
        np.testing.assert_allclose(batch[i], deconvolve(y[i], kernel[i]), atol=2e-3)


def test_a_stronger_fidelity_fits_the_data_better():
    y, _, kernel = problem((48, 48), 1, (7, 7))
    noisy = np.clip(y + 0.02 * np.random.default_rng(0).standard_normal(y.shape), 0, 1).astype(np.float32)
    misfits = []
    for fidelity in (500.0, 2e4):
        x = deconvolve(jnp.asarray(noisy), jnp.asarray(kernel), fidelity=fidelity)
        again = np.asarray(blur(x, jnp.asarray(kernel)))
        misfits.append(((again - noisy[3:-3, 3:-3]) ** 2).mean())
    assert misfits[1] < 0.9 * misfits[0]


@pytest.mark.parametrize(("name", "gain"), [("im2_kernel3_img", 6), ("im1_kernel7_img", 9)])
def test_a_captured_image_gains_with_its_true_kernel(data_dir, name, gain):
    dataset = find_dataset(data_dir / "levin2009")
    case = load_case(dataset, choose(dataset, [name])[0])
    x = np.asarray(deconvolve(jnp.asarray(case.y[..., None]), jnp.asarray(case.kernel, jnp.float32)))[..., 0]
    assert score(x, case.truth).psnr > score(case.y, case.truth).psnr + gain
