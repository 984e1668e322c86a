"""The standard deviation foretells errors, in size and in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import datasets, finishing, metrics, nonblind, uncertainty
from vdip_jax.operators import blur

pytestmark = pytest.mark.usefixtures("quick_compilation")


def mosaic(size, cell, seed=0):
    cells = np.random.default_rng(seed).uniform(0.2, 0.8, (size // cell + 1, size // cell + 1))
    return np.kron(cells, np.ones((cell, cell)))[:size, :size].astype(np.float32)


def blurred(image, kernel, noise, seed=0):
    exact = np.asarray(blur(jnp.asarray(image), jnp.asarray(kernel)))
    return (exact + np.random.default_rng(seed).normal(0, noise, exact.shape)).clip(0, 1).astype(np.float32)


def test_it_is_larger_at_edges_than_in_flat_areas():
    field = np.asarray(uncertainty.pattern(jnp.asarray(mosaic(128, 32))[..., None]))[..., 0]
    assert field.shape == (128, 128) and (field > 0).all()
    assert field[30:34].mean() > 2 * field[14:18, 14:18].mean()


def test_it_is_that_of_every_channel_and_has_its_shape():
    image = np.stack([mosaic(96, 24, seed) for seed in range(3)], axis=-1)
    kernel = jnp.ones((3, 5)) / 15
    std = uncertainty.refit(jnp.asarray(image), jnp.asarray(image), kernel)
    alone = uncertainty.pattern(jnp.asarray(image[..., 1:2]))[..., 0]
    assert std.shape == (96, 96, 3)
    np.testing.assert_allclose(std[..., 1] / std[0, 0, 1], alone / alone[0, 0], rtol=1e-4)


def test_more_noise_and_more_blur_make_it_larger():
    image = mosaic(160, 13)

    def level(side, noise):
        kernel = jnp.ones((side, side)) / side**2
        y = blurred(np.pad(image, side // 2, mode="edge"), kernel, noise)
        return float(uncertainty.scale(jnp.asarray(y), jnp.asarray(image), kernel))

    assert level(5, 0.002) < level(5, 0.02)
    assert level(3, 0.01) < level(9, 0.01)


def test_what_is_left_unexplained_makes_it_larger_up_to_a_bound():
    image, kernel, levels = mosaic(160, 13), jnp.ones((5, 5)) / 25, []
    y = blurred(np.pad(image, 2, mode="edge"), kernel, 0.01)
    # Too wide to pass for noise, of 0, 0.6 and 10 times its strength.
    stripes = np.sqrt(2) * np.sin(np.arange(160, dtype=np.float32) * 2 * np.pi / 16)[:, None]
    for strength in (0, 0.006, 0.1):
        levels.append(float(uncertainty.scale(jnp.asarray(y + strength * stripes), jnp.asarray(image), kernel)))
    # 1.36 times the variance, and the bound.
    assert 1.2 < levels[1] / levels[0] < 1.6
    assert levels[2] > 1.5 * levels[1]


def test_it_is_larger_where_a_second_answer_differs():
    difference = np.zeros((64, 64, 1), np.float32)
    difference[20:44, 20:44] = 0.1
    std = np.asarray(uncertainty.widened(jnp.full((64, 64, 1), 0.03), jnp.asarray(difference), jnp.array(0.2)))
    np.testing.assert_allclose(std[32, 32], np.hypot(0.03, 0.4 * 0.1), rtol=1e-4)
    np.testing.assert_allclose(std[:8], 0.03, rtol=1e-6)


@pytest.mark.parametrize("name", ["im1_kernel5", "im4_kernel1"])
def test_captured_images_are_covered(data_dir, name):
    """Of 95 pixels in a hundred the error is at most two standard deviations, and larger where that is larger."""
    dataset = datasets.find_dataset(data_dir / "levin2009")
    case = datasets.load_case(dataset, datasets.choose(dataset, [f"{name}*"])[0])
    y, kernel = jnp.asarray(case.y, jnp.float32)[..., None], jnp.asarray(case.kernel, jnp.float32)
    image = nonblind.deconvolve(y, kernel, fidelity=finishing.fidelity(y, kernel))
    std = np.asarray(jax.jit(uncertainty.refit)(y, image, kernel))[..., 0]
    image = np.asarray(image)[..., 0]
    found = metrics.calibration(image, std, case.truth, metrics.score(image, case.truth).shift)
    assert 0.9 < found.within[1] < 0.99
    assert found.rank_correlation > 0.3
