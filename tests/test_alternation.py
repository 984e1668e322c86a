"""The two halves of a round of the classical start, each where the other is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import KERNEL_SIZE, photo, stroke

from vdip_jax import alternation

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_kernel_is_read_off_a_sharp_image_exactly_and_wrapped_gradients_do_no_harm():
    sharp, y = photo()
    got = alternation.fit_to(jnp.asarray(sharp[..., 0]), jnp.asarray(y[..., 0]), jnp.zeros(KERNEL_SIZE))
    np.testing.assert_allclose(got, stroke(), atol=0.02)


def test_where_no_kernel_is_found_the_one_before_stays():
    flat, before = jnp.full((64, 64), 0.5), jnp.asarray(stroke(), jnp.float32)
    np.testing.assert_array_equal(alternation.fit_to(flat, flat, before), before)
    np.testing.assert_array_equal(alternation.if_any(jnp.full_like(before, jnp.nan), before), before)


def test_an_image_with_few_gradients_keeps_edges_and_drops_noise():
    step = np.zeros((32, 32), np.float32)
    step[8:24, 8:24] = 1
    noisy = step + 0.02 * np.random.default_rng(0).standard_normal(step.shape).astype(np.float32)
    delta = jnp.zeros((3, 3)).at[1, 1].set(1)
    image = jax.jit(alternation.few_gradients)(noisy, delta, jnp.asarray(0.02))
    np.testing.assert_allclose(image, step, atol=0.03)
    assert np.abs(image - step).mean() < 0.3 * np.abs(noisy - step).mean()
