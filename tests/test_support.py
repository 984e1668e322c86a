"""The kernel's frame is found."""

import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import mosaic

from vdip_jax import classical
from vdip_jax.operators import blur
from vdip_jax.samples import shake_kernel
from vdip_jax.support import FRAME, SIZES, Look, find


def box(rows, columns, side=FRAME):
    kernel = np.zeros((side, side), np.float32)
    top, left = (side - rows) // 2, (side - columns) // 2
    kernel[top : top + rows, left : left + columns] = 1 / (rows * columns)
    return jnp.asarray(kernel)


@pytest.fixture
def shows(monkeypatch):
    """A function that sets what each look shows: extent and agreement by the picture's height."""

    def set_up(found):
        def estimate(gray, kernel_size):
            assert kernel_size == (FRAME, FRAME)
            extent, agreement = found[gray.shape[0]]
            return classical.Found(box(*extent), jnp.array(True), jnp.array(agreement))

        monkeypatch.setattr(classical, "estimate", estimate)

    return set_up


@pytest.mark.parametrize(
    ("found", "size"),
    [
        # as it is, by half, by a quarter
        ({400: ((12, 14), 0.95), 200: ((7, 7), 0.95)}, 19),
        ({400: ((12, 14), 0.95), 200: ((30, 20), 0.5), 100: ((30, 30), 0.5)}, 19),
        # A blob, and what it hides.
        ({400: ((16, 12), 0.95), 200: ((22, 22), 0.89)}, 55),
        ({400: ((31, 30), 0.9), 200: ((31, 30), 0.9), 100: ((23, 20), 0.9)}, 133),
        # Nothing to be believed.
        ({400: ((20, 9), 0.3), 200: ((3, 3), 0.4)}, 27),
    ],
)
def test_the_longest_that_is_believed_counts(shows, found, size):
    shows(found)
    result = find([np.zeros((400, 420), np.float32)])
    assert result.size == size
    first, *rest = result.looks
    assert first == Look(1, found[400][0], pytest.approx(found[400][1]))
    assert [look.shrink for look in rest] == [2, 4][: len(found) - 1]
    assert rest[0].extent == tuple(2 * n for n in found[200][0])


def test_looks_at_several_parts_count_together(shows):
    shows({400: ((12, 14), 0.5), 200: ((19, 7), 0.81)})
    result = find([np.zeros((400, 420), np.float32)] * 2)
    assert result.size == 55 and len(result.looks) == 4


def test_frames_are_odd_and_a_fifth_apart():
    assert all(size % 2 for size in SIZES)
    assert all(1.1 < large / small < 1.3 for small, large in zip(SIZES, SIZES[1:], strict=False))


def test_a_small_picture_has_small_frames():
    assert find([np.random.default_rng(0).random((24, 26)).astype(np.float32)]).size <= 9


def test_a_shake_is_measured():
    kernel = shake_kernel(13, seed=4)
    sharp = mosaic((135, 135, 1), seed=3)[..., 0]
    y = np.asarray(blur(jnp.asarray(sharp), jnp.asarray(kernel)))
    y = y + np.random.default_rng(3).normal(0, 0.003, y.shape).astype(np.float32)
    assert 11 <= find([y]).size <= 19
