"""The embedded photographs."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from vdip_jax import Refusal, metrics
from vdip_jax.samples import SAMPLES, load_sample, shake_kernel


def test_the_clock_is_a_photograph_without_a_truth():
    sample = load_sample("clock")
    assert sample.photo.pixels.shape == (300, 400)
    assert sample.photo.pixels.dtype == np.float32
    assert sample.truth is None


def test_the_astronaut_is_the_truth_blurred_by_the_kernel_and_rounded():
    sample = load_sample("astronaut")
    y = sample.photo.pixels
    assert y.shape == sample.truth.shape == (255, 255, 3)
    assert sample.kernel.shape == sample.kernel_size
    np.testing.assert_allclose(y * 255, np.round(y * 255), atol=1e-4)
    half = sample.kernel_size[0] // 2
    inner = slice(half, -half)
    expected = convolve2d(sample.truth[..., 0], sample.kernel, mode="valid")
    residual = y[inner, inner, 0] - expected
    # Gaussian noise of 0.005 and rounding to 1/255; a flipped kernel leaves ten times as much.
    assert residual.std() == pytest.approx(np.hypot(0.005, 1 / 255 / np.sqrt(12)), rel=0.03)


def test_the_blurred_astronaut_scores_well_below_the_truth():
    sample = load_sample("astronaut")
    assert metrics.score(sample.photo.pixels, sample.truth).psnr == pytest.approx(21.45, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_a_shake_kernel_is_a_centred_stroke_of_unit_sum(seed):
    kernel = shake_kernel(19, seed)
    assert kernel.shape == (19, 19)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-5)
    assert kernel.min() >= 0
    assert 18 <= (kernel > 0).sum() < 19 * 19 / 2
    rows, columns = np.nonzero(kernel)
    assert max(np.ptp(rows), np.ptp(columns)) in (16, 17)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_the_same_every_time(name):
    np.testing.assert_array_equal(load_sample(name).photo.pixels, load_sample(name).photo.pixels)


def test_an_unknown_sample_is_refused():
    with pytest.raises(Refusal, match="did you mean 'clock'"):
        load_sample("clocks")
