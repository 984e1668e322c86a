"""Tiles cover a picture and leave no seam."""

import numpy as np
import pytest

from vdip_jax.tiles import Tile, around, blended, tiling


@pytest.mark.parametrize("size", [(40, 50), (300, 200), (301, 517), (256, 999)])
@pytest.mark.parametrize("margin", [0, 7, 40])
def test_tiles_are_of_one_size_and_overlap_by_margins_and_ramp(size, margin):
    tiles = tiling(size, 200, margin)
    ((height, width),) = {(tile.height, tile.width) for tile in tiles}
    overlap = 2 * margin + 32
    for side, whole, count in zip(
        (height, width), size, (len({t.top for t in tiles}), len({t.left for t in tiles})), strict=True
    ):
        # Neither larger than so many need to be, nor more than must be.
        assert side == whole if count == 1 else side == -(-(whole + (count - 1) * overlap) // count) <= 200
        assert count == 1 or (count - 1) * 200 - (count - 2) * overlap < whole
    covered = np.zeros(size, int)
    for tile in tiles:
        assert covered[tile.window].shape == (tile.height, tile.width)
        covered[tile.window] += 1
    assert covered.min() == 1
    tops = sorted({tile.top for tile in tiles})
    assert all(a + height - b >= overlap for a, b in zip(tops, tops[1:], strict=False))


def test_what_does_nothing_gives_the_picture_back():
    picture = np.random.default_rng(0).random((301, 217, 3)).astype(np.float32)
    told = []
    same = blended(picture, tiling((301, 217), 128, 10), 10, lambda tile: tile, told.append)
    np.testing.assert_allclose(same, picture, atol=1e-6)
    assert told == list(range(1, len(told) + 1)) and len(told) > 4


def test_margins_are_not_used_and_seams_are_ramps():
    """Each tile is wrong in its margin, and its level is another's: the result has neither an error nor a step."""
    picture = np.zeros((400, 90), np.float32)
    levels = iter([0.0, 1.0, 2.0, 3.0, 4.0])

    def restore(tile):
        found = np.full_like(tile, next(levels))
        found[:12] = found[-12:] = 1e3
        return found

    tiles = tiling((400, 90), 160, 12)
    result = blended(picture, tiles, 12, restore)
    inside = result[12:-12]
    assert inside.max() == len(tiles) - 1
    assert np.abs(np.diff(inside, axis=0)).max() < 2 / 32
    # At the picture's own border there is nothing else.
    assert (result[:12] == 1e3).all()


@pytest.mark.parametrize(
    ("part", "wanted", "found"),
    [
        (Tile(40, 50, 10, 20), (20, 40), Tile(35, 40, 20, 40)),
        (Tile(40, 50, 10, 20), (4, 6), Tile(43, 57, 4, 6)),
        (Tile(0, 70, 10, 20), (30, 40), Tile(0, 50, 30, 40)),
        (Tile(40, 50, 10, 20), (500, 40), Tile(0, 40, 60, 40)),
    ],
)
def test_around_a_part_there_is_as_much_as_the_picture_has(part, wanted, found):
    assert around(part, wanted, (60, 90)) == found
