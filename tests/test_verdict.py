"""Failed answers are seen, good ones are not called so."""

import numpy as np
import pytest
import scipy.ndimage

from vdip_jax.verdict import at_border, failures, sparsity

SHARP = np.kron(np.random.default_rng(0).random((12, 12)), np.ones((10, 10)))
LINE = np.ones((1, 9)) / 9
BLURRED = scipy.ndimage.convolve(SHARP, LINE, mode="nearest")
KERNEL = np.zeros((11, 11))
KERNEL[5, 1:10] = 1 / 9
DELTA = np.zeros((11, 11))
DELTA[5, 5] = 1


def test_a_good_answer_has_no_fault():
    assert failures(BLURRED, SHARP, KERNEL, True) == []
    colour = np.stack([BLURRED] * 3, -1), np.stack([SHARP] * 3, -1)
    assert failures(*colour, KERNEL, True) == []


@pytest.mark.parametrize(
    ("image", "kernel", "finite", "fault"),
    [
        (SHARP, KERNEL, False, "diverged"),
        (SHARP, DELTA, True, "delta"),
        (np.zeros_like(SHARP), KERNEL, True, "flat"),
        (np.full_like(SHARP, np.nan), KERNEL, True, "flat"),
        (0.5 + 0.2 * (BLURRED - 0.5), KERNEL, True, "flat"),
        (BLURRED + np.random.default_rng(1).normal(0, 0.1, SHARP.shape), KERNEL, True, "worse"),
    ],
)
def test_every_fault_is_named(image, kernel, finite, fault):
    assert failures(BLURRED, image, kernel, finite) == [fault]


def test_ghosts_are_worse():
    ghosts = BLURRED + 0.5 * (BLURRED - np.roll(BLURRED, 9, 1)) - 0.5 * (BLURRED - np.roll(BLURRED, 5, 0))
    assert sparsity(ghosts) > sparsity(BLURRED)


def test_a_kernel_that_is_cut_off_lies_at_the_border():
    assert not at_border(KERNEL)
    assert at_border(np.roll(KERNEL, 2, 1))
    assert at_border(np.full((9, 9), 1 / 81))
