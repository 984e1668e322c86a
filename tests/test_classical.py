"""The classical start: its parts against other programs and by hand, the whole on mosaics and Levin's photographs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from vdip_jax import classical, datasets, metrics
from vdip_jax.checks import Refusal
from vdip_jax.operators import blur

SIZE, KERNEL_SIZE = (96, 100), (9, 9)


def mosaic(shape, seed=0):
    """Overlapping rectangles of random gray or colour: [H, W, C]."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, 0.5, np.float32)
    for _ in range(120):
        top, left = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        height, width = rng.integers(4, 30, 2)
        image[top : top + height, left : left + width] = rng.random(shape[2])
    return image


def stroke(size=KERNEL_SIZE):
    """A bent stroke, centred, sum 1."""
    kernel = np.zeros(size, np.float32)
    middle = size[0] // 2
    kernel[middle, 1:-2] = 1
    kernel[middle - 2 : middle, -3] = 2
    return kernel / kernel.sum()


def photo(channels=1, kernel=None, noise=0.0, seed=0):
    """A sharp mosaic in the frame, and what the stroke makes of it with noise of a standard deviation."""
    kernel = stroke() if kernel is None else kernel
    kh, kw = kernel.shape
    sharp = mosaic((SIZE[0] + kh - 1, SIZE[1] + kw - 1, channels), seed)
    y = np.stack([scipy.signal.convolve2d(sharp[..., c], kernel, mode="valid") for c in range(channels)], -1)
    y += noise * np.random.default_rng(1).standard_normal(y.shape)
    return sharp[kh // 2 : kh // 2 + SIZE[0], kw // 2 : kw // 2 + SIZE[1]], y.clip(0, 1).astype(np.float32)


@functools.cache
def started(channels=1, noise=0.0):
    """Truth, blurred image, start."""
    sharp, y = photo(channels, noise=noise)
    return sharp, y, jax.tree.map(np.asarray, classical.deblur(jnp.asarray(y), KERNEL_SIZE))


@pytest.mark.parametrize(("channels", "noise", "gain"), [(1, 0.0, 8), (3, 0.01, 5)])
def test_a_blurred_mosaic_is_recovered_with_its_kernel(channels, noise, gain):
    sharp, y, start = started(channels, noise)
    assert start.ok
    assert start.image.shape == y.shape and start.kernel.shape == KERNEL_SIZE
    assert ((start.image >= 0) & (start.image <= 1)).all() and (start.kernel >= 0).all()
    np.testing.assert_allclose(start.kernel.sum(), 1, rtol=1e-5)
    assert metrics.kernel_error(start.kernel, stroke()).ncc > 0.9
    assert metrics.score(start.image, sharp).psnr > metrics.score(y, sharp).psnr + gain


def test_jit_and_vmap_agree_with_the_plain_call():
    _, y, start = started()
    both = jnp.asarray(np.stack([y, photo(seed=1)[1]]))
    got = jax.jit(jax.vmap(lambda y: classical.deblur(y, KERNEL_SIZE)))(both)
    assert got.ok.all()
    assert metrics.kernel_error(np.asarray(got.kernel[0]), start.kernel).ncc > 0.99
    np.testing.assert_allclose(got.image[0], start.image, atol=0.05)


@pytest.mark.parametrize("content", ["blank", "noise"])
def test_what_shows_no_blur_gives_no_start_or_a_finite_one(content):
    rng = np.random.default_rng(0)
    y = {"blank": np.full((*SIZE, 1), 0.4, np.float32), "noise": rng.random((*SIZE, 1), np.float32)}[content]
    start = classical.deblur(jnp.asarray(y), KERNEL_SIZE)
    assert jnp.isfinite(start.image).all() and jnp.isfinite(start.kernel).all()


@pytest.mark.parametrize("collapsed", ["delta", "empty", "nan"])
def test_collapsed_kernels_are_of_no_use_and_one_that_is_not_wins(monkeypatch, collapsed):
    _, y = photo()
    bad = np.zeros(KERNEL_SIZE, np.float32)
    bad[4, 4] = {"delta": 1.0, "empty": 0.0, "nan": np.nan}[collapsed]
    for sparsity, ok in ((1.0, False), (8e-3, True)):

        def estimate(gray, kernel_size, trial, sparsity=sparsity):
            return jnp.where(trial.sparsity == jnp.float32(sparsity), stroke(), bad)

        monkeypatch.setattr(classical, "_coarse_to_fine", estimate)
        start = classical.deblur(jnp.asarray(y), KERNEL_SIZE)
        assert bool(start.ok) is ok
    assert metrics.kernel_error(np.asarray(start.kernel), stroke()).ncc > 0.9


@pytest.mark.parametrize(("name", "gain"), [("im1_kernel5", 7), ("im3_kernel3", 8)])
def test_a_captured_image_gains(data_dir, name, gain):
    dataset = datasets.find_dataset(data_dir / "levin2009")
    case = datasets.load_case(dataset, datasets.choose(dataset, [f"{name}*"])[0])
    start = classical.deblur(jnp.asarray(case.y, jnp.float32)[..., None], case.kernel.shape)
    after = metrics.score(np.asarray(start.image)[..., 0], case.truth).psnr
    assert after > metrics.score(case.y, case.truth).psnr + gain
    assert metrics.kernel_error(np.asarray(start.kernel), case.kernel).ncc > 0.8


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_of_a_blurred_image_is_measured(noise):
    smooth = scipy.ndimage.gaussian_filter(mosaic((200, 201, 1))[..., 0], 2)
    gray = smooth + noise * np.random.default_rng(0).standard_normal(smooth.shape)
    np.testing.assert_allclose(classical.noise_level(jnp.asarray(gray)), noise, rtol=0.06)


def test_noisier_images_are_trusted_less():
    clean, noisy = (classical.trust(jnp.asarray(photo(noise=noise)[1][..., 0])) for noise in (0.0, 0.05))
    assert clean > 5 * noisy > 0


def test_criterion_prefers_the_true_kernel_to_wrong_ones():
    _, y = photo(noise=0.005)
    wrong = [stroke().T, stroke()[::-1, ::-1], np.full(KERNEL_SIZE, 1 / 81, np.float32)]
    gray = jnp.asarray(y[..., 0])
    scores = [
        float(classical.criterion(gray, classical.finish(jnp.asarray(y), jnp.asarray(kernel))[..., 0], kernel))
        for kernel in map(jnp.asarray, [stroke(), *wrong])
    ]
    assert scores[0] + 0.3 < min(scores[1:])


def test_criterion_is_that_of_its_formula():
    rng = np.random.default_rng(0)
    image, kernel = rng.random((20, 22)).astype(np.float32), stroke((5, 5))
    gray = rng.random((20, 22)).astype(np.float32)
    residual = blur(jnp.asarray(image), jnp.asarray(kernel)) - gray[2:-2, 2:-2]
    down, right = np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]
    length = np.hypot(down, right)
    expected = np.log((residual**2).mean()) + 4 * np.log(length.mean() / np.sqrt((length**2).mean()))
    np.testing.assert_allclose(classical.criterion(gray, image, kernel), expected, rtol=1e-4)


def test_components_are_those_of_scipy():
    support = np.random.default_rng(3).random((17, 21)) > 0.7
    labels, count = scipy.ndimage.label(support, np.ones((3, 3)))
    got = np.asarray(classical.components(jnp.asarray(support)))
    assert ((got > 0) == support).all()
    assert len({*zip(labels[support], got[support], strict=True)}) == count == len(np.unique(got[support]))


def test_a_winding_component_is_one():
    support = np.ones((9, 9), bool)
    support[1:8:2] = False
    support[1:8:4, -1] = support[3:8:4, 0] = True
    assert len(np.unique(classical.components(jnp.asarray(support)))) == 2


def test_small_entries_and_isolated_specks_are_dropped():
    kernel = stroke()
    dirty = kernel.copy()
    dirty[0, 0] = 0.004 * kernel.sum()
    dirty[8, 4] = 0.015 * kernel.sum()
    dirty[4, 0] = -0.1
    np.testing.assert_allclose(classical._cleaned(jnp.asarray(dirty)), kernel, atol=1e-6)
    assert not classical._cleaned(jnp.full((5, 5), -1.0)).any()


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-2, 2)])
def test_centre_of_mass_is_moved_to_the_middle(shift):
    kernel = np.zeros((9, 9), np.float32)
    kernel[3:6, 4] = 1 / 3
    moved = classical._centred(jnp.asarray(np.roll(kernel, shift, (0, 1))))
    np.testing.assert_allclose(moved, kernel, atol=1e-6)


def test_kernel_is_read_off_a_sharp_image_exactly_and_wrapped_gradients_do_no_harm():
    sharp, y = photo()
    got = classical._fit_to(jnp.asarray(sharp[..., 0]), jnp.asarray(y[..., 0]), jnp.zeros(KERNEL_SIZE))
    np.testing.assert_allclose(got, stroke(), atol=0.02)


@pytest.mark.parametrize("kernel_size", [(3, 3), (19, 19), (75, 75), (5, 31), (41, 3)])
def test_scales_go_from_coarse_to_the_size_asked_for_in_odd_kernels(kernel_size):
    sizes = classical.scales((200, 300), kernel_size)
    assert sizes[-1] == ((200, 300), kernel_size)
    for (coarse, small), (fine, large) in zip(sizes, sizes[1:], strict=False):
        assert all(1.3 < b / a < 1.5 for a, b in zip(coarse, fine, strict=True))
        assert all(a <= b for a, b in zip(small, large, strict=True))
    assert all(side % 2 == 1 and side >= 3 for _, size in sizes for side in size)
    assert max(sizes[0][1]) <= 7


def test_an_image_too_small_for_the_pyramid_is_refused():
    classical.check_pyramid((80, 100), (31, 31))
    assert classical.scales((80, 100), (31, 31))[0] == ((29, 36), (11, 11))
    with pytest.raises(Refusal, match="at least 66x66 .* got 60x100"):
        classical.check_pyramid((60, 100), (31, 31))
