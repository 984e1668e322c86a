"""Operators on a periodic canvas: adjoint, spectrum of the Laplacian, room for a full convolution."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from vdip_jax import periodic

RNG = np.random.default_rng(0)


def test_divergence_is_the_adjoint_of_the_gradients(x64):
    image, fields = RNG.random((2, 7, 9)), RNG.random((2, 2, 7, 9))
    left = (np.stack(periodic.gradients(jnp.asarray(image))) * fields).sum()
    right = (image * periodic.gradients_adjoint(periodic.Gradients(*jnp.asarray(fields)))).sum()
    np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("canvas", [(8, 10), (9, 15)])
def test_laplacian_is_the_spectrum_of_gradients_and_adjoint(x64, canvas):
    image = jnp.asarray(RNG.random(canvas))
    expected = periodic.gradients_adjoint(periodic.gradients(image))
    got = jnp.fft.irfft2(jnp.fft.rfft2(image) * periodic.laplacian(canvas, image.dtype), s=canvas)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_blur_by_transfer_keeps_the_frame_in_place(x64):
    image, kernel = RNG.random((12, 15)), RNG.random((3, 5))
    transfer = periodic.transfer(jnp.asarray(kernel), image.shape)
    got = jnp.fft.irfft2(jnp.fft.rfft2(image) * transfer, s=image.shape)
    np.testing.assert_allclose(got, scipy.ndimage.convolve(image, kernel, mode="wrap"), atol=1e-12)


@pytest.mark.parametrize(("size", "kernel_size"), [((255, 255), (19, 19)), ((37, 101), (5, 31))])
def test_fast_canvas_holds_the_full_convolution(size, kernel_size):
    for n, k, got in zip(size, kernel_size, periodic.fast_canvas(size, kernel_size), strict=True):
        assert n + k - 1 <= got < 1.2 * (n + k - 1)
        while any(got % prime == 0 for prime in (2, 3, 5)):
            got //= next(prime for prime in (2, 3, 5) if got % prime == 0)
        assert got == 1


def test_spread_keeps_the_image_and_repeats_its_edges():
    planes = jnp.asarray(RNG.random((1, 4, 5)))
    canvas = periodic.spread(planes, (8, 9))[0]
    np.testing.assert_array_equal(canvas[:4, :5], planes[0])
    np.testing.assert_array_equal(canvas[4, :5], planes[0, 3])
    np.testing.assert_array_equal(canvas[7, :5], planes[0, 0])
