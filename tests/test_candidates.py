"""The criterion that candidates are compared by."""

import jax.numpy as jnp
import numpy as np
from mosaics import KERNEL_SIZE, photo, stroke

from vdip_jax import nonblind
from vdip_jax.candidates import compare, criterion
from vdip_jax.operators import blur


def test_criterion_prefers_the_true_kernel_to_wrong_ones():
    _, y = photo(noise=0.005)
    wrong = [stroke().T, stroke()[::-1, ::-1], np.full(KERNEL_SIZE, 1 / 81, np.float32)]
    gray = jnp.asarray(y[..., 0])
    scores = [
        float(criterion(gray, nonblind.deconvolve(gray, kernel), kernel))
        for kernel in map(jnp.asarray, [stroke(), *wrong])
    ]
    assert scores[0] + 0.3 < min(scores[1:])


def test_criterion_is_that_of_its_formula():
    rng = np.random.default_rng(0)
    # What is blurred beyond 0 and 1 was cut off.
    image, kernel = (5 * rng.random((20, 22)) - 2).astype(np.float32), stroke((5, 5))
    gray = rng.random((20, 22)).astype(np.float32)
    blurred = np.asarray(blur(jnp.asarray(image), jnp.asarray(kernel)))
    assert (blurred < 0).any() and (blurred > 1).any()
    residual = blurred.clip(0, 1) - gray[2:-2, 2:-2]
    down, right = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    length = np.hypot(down, right)
    expected = np.log((residual**2).mean()) + 4 * np.log(length.mean() / np.sqrt((length**2).mean()))
    np.testing.assert_allclose(criterion(gray, image, kernel), expected, rtol=1e-4)


def test_comparison_of_colour_is_that_of_its_luma_and_leaves_out_what_is_of_no_use():
    sharp, y = photo(channels=3, noise=0.01)
    images = jnp.stack([sharp, y, jnp.full_like(y, jnp.nan), y])
    kernels = jnp.stack([stroke()] * 4)
    found = compare(jnp.asarray(y), images, kernels, jnp.asarray([True, True, True, False]))
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    for i in (0, 1):
        expected = criterion(jnp.asarray(y @ weights), images[i] @ weights, kernels[i])
        np.testing.assert_allclose(found.criterion[i], expected, rtol=1e-4)
    assert found.criterion[0] < found.criterion[1]
    assert np.isinf(found.criterion[2:]).all()
