"""The kernel's frame is found."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import comes_to, mosaic

from vdip_jax import classical, pyramid
from vdip_jax.operators import blur
from vdip_jax.samples import shake_kernel
from vdip_jax.support import FRAME, SIZES, Look, compared, find, look_at, shrink_for
from vdip_jax.tiles import Tile

pytestmark = pytest.mark.usefixtures("quick_compilation")


def box(rows, columns, side=FRAME):
    kernel = np.zeros((side, side), np.float32)
    top, left = (side - rows) // 2, (side - columns) // 2
    kernel[top : top + rows, left : left + columns] = 1 / (rows * columns)
    return jnp.asarray(kernel)


def parts(count, side=100):
    return [Tile(0, side * i, side, side) for i in range(count)]


PICTURE = np.zeros((400, 420), np.float32)


@pytest.fixture
def shows(monkeypatch):
    """A function that sets what looks show: extents and agreements, in order."""

    def set_up(*found):
        given = iter(found)

        def estimate(gray, kernel_size, side):
            assert kernel_size == (side, side) and gray.shape == (100, 100)
            extent, agreement = next(given)
            return comes_to(box(*extent, side), agreement)

        # The wider frame: all that there is room for in a part.
        for name, side in (("estimate", FRAME), ("first_estimate", 47)):
            monkeypatch.setattr(classical, name, functools.partial(estimate, side=side))

    return set_up


@pytest.mark.parametrize(
    ("found", "size"),
    [
        # as it is, by half, by a quarter
        ([((12, 14), 0.95), ((7, 7), 0.95)], 19),
        ([((12, 14), 0.95), ((30, 20), 0.5), ((30, 30), 0.5)], 19),
        # A blob, and what it hides.
        ([((16, 12), 0.95), ((22, 22), 0.89)], 55),
        ([((31, 30), 0.9), ((31, 30), 0.9), ((23, 20), 0.9)], 133),
        # What fills its frame is at least as long; the next scale shows how long, even if less clearly.
        ([((31, 30), 0.9), ((12, 11), 0.9)], 31),
        ([((31, 30), 0.9), ((23, 24), 0.6)], 65),
        ([((31, 30), 0.9), ((23, 28), 0.6), ((31, 30), 0.4)], 45),
        ([((16, 12), 0.6), ((31, 30), 0.9), ((31, 30), 0.9)], 133),
    ],
)
def test_the_longest_that_is_believed_counts(shows, found, size):
    shows(*found)
    result = find(PICTURE, parts(1), largest=199)
    assert result.size == size
    assert [look.agreement for look in result.looks] == pytest.approx([agreement for _, agreement in found])
    assert [look.shrink for look in result.looks] == [1, 2, 4][: len(found)]
    for look, (extent, _) in zip(result.looks, found, strict=True):
        assert look.extent == tuple(look.shrink * n for n in extent)


@pytest.mark.parametrize(
    ("wide", "size"),
    [
        # Nothing to be believed: as it is, without room around it.
        (((40, 40), 0.7), 23),
        (((36, 30), 0.8), 45),
        # A blob.
        (((31, 9), 0.9), 23),
        # One that fills the wider frame too.
        (((47, 30), 0.9), 65),
    ],
)
def test_a_wider_frame_is_the_last_resort(shows, wide, size):
    shows(((20, 9), 0.3), ((3, 3), 0.4), ((5, 5), 0.79), ((3, 3), 0.4), wide)
    told = []
    result = find(PICTURE, parts(2), 199, told.append)
    assert result.size == size and told == list(result.looks)
    assert [(look.part, look.shrink, look.is_wide) for look in result.looks] == [
        (0, 1, False),
        (0, 2, False),
        (1, 1, False),
        (1, 2, False),
        (0, 1, True),
    ]
    # Kernels of other frames cannot be compared with it.
    assert len(result.comparable) == (1 if result.decisive.is_wide else 2)


@pytest.mark.parametrize(
    ("found", "size"),
    [
        ([((5, 4), 0.9)], 9),
        ([((8, 3), 0.9)], 11),
        ([((20, 9), 0.7)], 23),
        # What fills its frame goes on beyond it all the same.
        ([((31, 9), 0.9), ((22, 10), 0.9)], 55),
    ],
)
def test_where_edges_are_steep_only_a_full_frame_asks_for_more(shows, found, size):
    shows(*found)
    result = find(PICTURE, parts(1), largest=199, steep=True)
    assert result.size == size and len(result.looks) == len(found)


def test_other_parts_are_looked_at_where_the_first_showed_it(shows):
    shows(((16, 12), 0.95), ((22, 22), 0.89), ((20, 26), 0.9), ((30, 30), 0.7))
    result = find(PICTURE, parts(3), largest=199)
    # The longest one that is believed, of the second part.
    assert result.size == 65 and result.decisive.part == 1
    assert [(look.part, look.shrink) for look in result.looks] == [(0, 1), (0, 2), (1, 2), (2, 2)]


def test_parts_are_looked_at_until_one_is_believed(shows):
    shows(((16, 12), 0.5), ((22, 22), 0.79), ((12, 14), 0.9), ((3, 3), 0.4), ((12, 12), 0.9))
    told = []
    result = find(PICTURE, parts(3), 199, told.append)
    # Those on the way to one that is believed.
    assert told == list(result.looks[:4])
    assert [(look.part, look.shrink) for look in result.looks] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    assert result.decisive.part == 1 and result.size == 19


def test_there_is_no_larger_frame_than_there_is_room_for(shows):
    shows(((16, 12), 0.95), ((22, 22), 0.89))
    assert find(PICTURE, parts(1), largest=48).size == 45


def test_a_kernel_up_to_the_edge_of_its_frame_fills_it():
    found = [Look(0, shrink, np.asarray(box(5, side)), 0.9) for shrink in (1, 2) for side in (26, 27, 31)]
    assert [look.is_full for look in found] == [False, True, True] * 2


def test_smaller_pictures_show_more_around_the_part(monkeypatch):
    seen = []

    def estimate(gray, kernel_size):
        seen.append(gray)
        return comes_to(box(5, 5), 0.9)

    monkeypatch.setattr(classical, "estimate", estimate)
    picture = np.random.default_rng(0).random((300, 500)).astype(np.float32)
    look_at(picture, [Tile(50, 200, 100, 100)], 0, 2)
    look_at(picture, [Tile(200, 400, 100, 100)], 0, 2)
    look_at(picture, [Tile(50, 200, 100, 100)], 0, 4)
    assert [gray.shape for gray in seen] == [(100, 100), (100, 100), (75, 100)]
    np.testing.assert_allclose(seen[0][0, 0], picture[:2, 150:152].mean(), rtol=1e-6)
    np.testing.assert_allclose(seen[1][-1, -1], picture[-2:, -2:].mean(), rtol=1e-6)
    np.testing.assert_allclose(seen[2][-1, 0], picture[-4:, 50:54].mean(), rtol=1e-6)


def stroke(down, right, length=4):
    kernel = np.zeros((FRAME, FRAME), np.float32)
    for i in range(-length, length + 1):
        kernel[15 + i * down, 15 + i * right] = 1
    return kernel / kernel.sum()


def test_the_part_is_taken_whose_settings_agree_most():
    looks = [Look(0, 2, stroke(0, 1), 0.81), Look(1, 2, stroke(0, 1), 0.95), Look(2, 2, stroke(1, 0), 0.7)]
    # What cannot be believed says nothing of the blur.
    assert compared(looks) == (1, pytest.approx(1))
    looks[2] = looks[2]._replace(agreement=0.9)
    assert compared(looks) == (1, pytest.approx(1 / 9))
    assert np.isnan(compared([looks[1], looks[0]._replace(agreement=0.2)]).likeness)


def test_a_size_that_is_known_tells_how_small_to_look():
    assert [shrink_for(size) for size in (3, 31, 33, 61, 75, 123, 999)] == [1, 1, 2, 2, 4, 4, 4]


def test_frames_are_odd_and_a_fifth_apart():
    assert all(size % 2 for size in SIZES)
    assert all(1.1 < large / small < 1.3 for small, large in zip(SIZES, SIZES[1:], strict=False))


def test_a_small_picture_has_small_frames():
    noise = np.random.default_rng(0).random((24, 26)).astype(np.float32)
    assert find(noise, [Tile(0, 0, 24, 26)], pyramid.largest_kernel((24, 26))).size <= 9


def test_a_shake_is_measured():
    kernel = shake_kernel(13, seed=4)
    sharp = mosaic((135, 135, 1), seed=3)[..., 0]
    y = np.asarray(blur(jnp.asarray(sharp), jnp.asarray(kernel)))
    y = y + np.random.default_rng(3).normal(0, 0.003, y.shape).astype(np.float32)
    assert 11 <= find(y, [Tile(0, 0, *y.shape)], 61).size <= 19
