"""Linear operators against direct sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from vdip_jax.operators import blur, difference, gaussian_window, observed_frame, sliding_minimum

# Image and kernel shapes: odd, even, non-square, prime, a kernel as large as the image, a single pixel.
SHAPES = [
    ((16, 16), (3, 3)),
    ((16, 17), (5, 3)),
    ((17, 16, 1), (3, 7)),
    ((23, 29, 3), (9, 5)),
    ((24, 20, 3), (4, 6)),
    ((15, 40, 3), (15, 1)),
    ((21, 13), (21, 13)),
    ((9, 8, 3), (1, 1)),
]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def random(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).random(shape).astype(dtype)


def random_kernel(shape, dtype=np.float64):
    kernel = random(shape, 1)
    return (kernel / kernel.sum()).astype(dtype)


def probe_for(value):
    return random(value.shape, 2)


def value_and_pull(function, x):
    """The value at `x`, and the gradient of its inner product with `probe_for` it; one compiled program."""
    probe = probe_for(jax.eval_shape(function, x))

    @jax.jit
    def run(x):
        value, pull = jax.vjp(function, x)
        return value, pull(probe)[0]

    return run(x)


def by_channel(function, image):
    """Apply a function of [H, W] to every channel."""
    if image.ndim == 2:
        return function(image)
    return np.stack([function(image[..., c]) for c in range(image.shape[-1])], axis=-1)


# In float64 only the FFT's rounding is left; in float32 a few units in the last place of 1.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
@pytest.mark.parametrize(("shape", "kernel_shape"), SHAPES)
def test_fft_blur_equals_direct_true_convolution(x64, shape, kernel_shape, dtype, tolerance):
    image, kernel = random(shape, dtype=dtype), random_kernel(kernel_shape, dtype)
    expected = by_channel(
        lambda plane: scipy.signal.convolve2d(plane.astype(float), kernel.astype(float), mode="valid"), image
    )
    got = jax.jit(blur)(image, kernel)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("shape", "kernel_shape"), SHAPES)
def test_adjoint_of_blur_is_full_correlation_and_keeps_inner_products(x64, shape, kernel_shape):
    image, kernel = random(shape), random_kernel(kernel_shape)

    def apply(image):
        return blur(image, kernel)

    @jax.jit
    def both(image, probe):
        return apply(image), jax.linear_transpose(apply, image)(probe)[0]

    probe = random(jax.eval_shape(apply, image).shape, 2)
    blurred, transposed = both(image, probe)
    expected = by_channel(lambda plane: scipy.signal.correlate2d(plane, kernel, mode="full"), probe)
    # float64, sums of up to some hundred products of numbers below 1.
    np.testing.assert_allclose(transposed, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose((blurred * probe).sum(), (image * transposed).sum(), rtol=1e-12)


@pytest.mark.parametrize(("shape", "kernel_shape"), [SHAPES[1], SHAPES[4]])
def test_gradient_of_blur_to_the_kernel_is_a_correlation_of_images(x64, shape, kernel_shape):
    image, kernel = random(shape), random_kernel(kernel_shape)
    blurred, gradient = value_and_pull(lambda kernel: blur(image, kernel), kernel)
    probe = probe_for(blurred)
    planes = image.reshape(*shape[:2], -1), probe.reshape(*blurred.shape[:2], -1)
    expected = sum(
        scipy.signal.correlate2d(planes[0][..., c], planes[1][..., c], mode="valid")[::-1, ::-1]
        for c in range(planes[0].shape[-1])
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-11)
    np.testing.assert_allclose((blurred * probe).sum(), (kernel * gradient).sum(), rtol=1e-12)


def test_blur_with_a_shifted_delta_moves_the_image_in_the_direction_of_true_convolution():
    image, kernel = random((8, 9), dtype=np.float32), np.zeros((3, 3), np.float32)
    kernel[0, 2] = 1
    np.testing.assert_allclose(jax.jit(blur)(image, kernel), image[2:, :-2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_difference_is_next_minus_this(axis):
    image = random((5, 4, 3), dtype=np.float32)
    np.testing.assert_array_equal(difference(jnp.asarray(image), axis), np.diff(image, axis=axis))


@pytest.mark.parametrize("kernel_shape", [(3, 3), (5, 9), (1, 7)])
@pytest.mark.parametrize("trail", [(), (3,)])
def test_observed_frame_starts_at_half_the_kernel(kernel_shape, trail):
    size = (10, 7)
    kh, kw = kernel_shape
    canvas = random((size[0] + kh - 1, size[1] + kw - 1, *trail))
    expected = canvas[(kh - 1) // 2 :][: size[0], (kw - 1) // 2 :][:, : size[1]]
    np.testing.assert_array_equal(observed_frame(canvas, size), expected)


def test_observed_frame_is_where_a_centred_delta_leaves_the_image():
    canvas, kernel = random((14, 11, 3), dtype=np.float32), np.zeros((5, 3), np.float32)
    kernel[2, 1] = 1
    np.testing.assert_allclose(jax.jit(blur)(canvas, kernel), observed_frame(canvas, (10, 9)), rtol=0, atol=1e-6)


def gaussian_oracle(plane):
    return scipy.ndimage.gaussian_filter(plane, 1.5, mode="constant", radius=5)


# The window is larger than some of the images: everything beyond them counts as zero.
@pytest.mark.parametrize("shape", [(16, 19), (7, 30), (3, 12, 11), (2, 3, 5, 4)])
def test_gaussian_window_equals_scipy_with_zeros_outside(x64, shape):
    image = random(shape)
    planes = image.reshape(-1, *shape[-2:])
    expected = np.stack([gaussian_oracle(plane) for plane in planes]).reshape(shape)
    got = jax.jit(gaussian_window, static_argnums=(1, 2))(image, 11, 1.5)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15)


def test_gaussian_window_is_its_own_adjoint_and_gradient(x64):
    shape = (9, 13)
    # The operator as a matrix, column by column, from the independent oracle.
    matrix = np.stack([gaussian_oracle(unit.reshape(shape)).ravel() for unit in np.eye(9 * 13)], axis=1)
    image = random(shape)
    value, gradient = value_and_pull(lambda image: gaussian_window(image, 11, 1.5), image)
    probe = probe_for(value)
    np.testing.assert_allclose(gradient.ravel(), matrix.T @ probe.ravel(), rtol=0, atol=1e-14)
    np.testing.assert_allclose((value * probe).sum(), (image * gradient).sum(), rtol=1e-13)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-16)


@pytest.mark.parametrize(("shape", "size"), [((9, 12), 1), ((9, 12), 2), ((10, 7), 5), ((13, 8), 8), ((40, 36), 35)])
def test_sliding_minimum_equals_the_minimum_of_every_window(shape, size):
    image = random(shape, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    np.testing.assert_array_equal(jax.jit(sliding_minimum, static_argnums=1)(image, size), windows.min(axis=(2, 3)))


@pytest.mark.parametrize(("shape", "size"), [((10, 7), 5), ((13, 9), 6), ((40, 36), 35)])
def test_gradient_of_sliding_minimum_goes_to_the_pixel_that_is_the_minimum(x64, shape, size):
    # Distinct values: each window has one minimum.
    image = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(float)
    value, gradient = value_and_pull(lambda image: sliding_minimum(image, size), image)
    probe = probe_for(value)
    expected = np.zeros(shape)
    for i, j in np.ndindex(*value.shape):
        window = image[i : i + size, j : j + size]
        row, column = np.unravel_index(window.argmin(), window.shape)
        expected[i + row, j + column] += probe[i, j]
    np.testing.assert_allclose(gradient, expected, rtol=1e-13)
