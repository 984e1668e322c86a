"""Crops that tell of a blur: edges in many directions, apart from each other."""

import numpy as np
import pytest
from mosaics import mosaic

from vdip_jax import Refusal
from vdip_jax.crops import crops


def overlaps(corners, side):
    return any(abs(a[0] - b[0]) < side and abs(a[1] - b[1]) < side for i, a in enumerate(corners) for b in corners[:i])


def test_the_crop_with_edges_is_found():
    pixels = np.full((300, 400), 0.5, np.float32)
    pixels[150:250, 260:360] = mosaic((100, 100, 1))[..., 0]
    ((top, left),) = crops(pixels, 100, 1)
    assert abs(top - 150) <= 14 and abs(left - 260) <= 14


def test_stripes_in_one_direction_tell_less_than_edges_in_many():
    pixels = np.full((120, 400), 0.5, np.float32)
    pixels[:, :120] = np.kron(np.arange(20) % 2, np.ones(6))
    pixels[:, 280:] = 0.5 + 0.3 * (mosaic((120, 120, 1))[..., 0] - 0.5)
    assert crops(pixels, 120, 1)[0][1] > 200


def test_burnt_out_pixels_tell_little():
    pixels = np.full((128, 400), 0.5, np.float32)
    patches = mosaic((128, 128, 1))[..., 0]
    pixels[:, :128] = np.where(patches > 0.5, 1, 0.1)
    pixels[:, 272:] = 0.2 + 0.5 * patches
    assert crops(pixels, 128, 1)[0][1] > 200


def test_several_lie_apart_and_inside_and_come_out_the_same_again():
    pixels = mosaic((260, 340, 3), seed=2)
    found = crops(pixels, 80, 3)
    assert len(found) == 3 and not overlaps(found, 80)
    assert all(0 <= top <= 180 and 0 <= left <= 260 for top, left in found)
    assert crops(pixels, 80, 3) == found


def test_fewer_where_no_more_fit_and_one_that_is_all():
    pixels = mosaic((90, 100, 1))[..., 0]
    assert len(crops(pixels, 80, 3)) == 1
    assert crops(pixels[:, :90], 90, 3) == [(0, 0)]
    assert len(crops(np.full((64, 64), 0.5, np.float32), 32, 2)) == 1


def test_a_large_photograph_is_averaged_first():
    pixels = np.full((2400, 3000), 0.5, np.float32)
    pixels[1000:1400, 2000:2400] = np.kron(mosaic((100, 100, 1))[..., 0], np.ones((4, 4)))
    ((top, left),) = crops(pixels, 400, 1)
    assert abs(top - 1000) < 60 and abs(left - 2000) < 60


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(Refusal, match="40x50.*60"):
        crops(np.zeros((40, 50), np.float32), 60, 1)
