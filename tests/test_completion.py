"""The whole photograph from a part: no seams, the right size, within memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import Config, completion, nonblind
from vdip_jax.batches import on_host
from vdip_jax.completion import complete, tile_side
from vdip_jax.operators import blur
from vdip_jax.planning import Plan
from vdip_jax.solver import solve
from vdip_jax.tiles import Tile, tiling

pytestmark = pytest.mark.usefixtures("quick_compilation")

KERNEL = np.zeros((7, 9), np.float32)
KERNEL[3, 1:8] = 1 / 7
SIZE = (250, 330)
PART = Tile(40, 60, 128, 128)


@pytest.fixture(scope="module")
def photograph():
    """Sharp [250, 330, 3], and blurred with a little noise."""
    rng = np.random.default_rng(0)
    canvas = (SIZE[0] + 6, SIZE[1] + 8)
    cells = rng.uniform(0.1, 0.9, (canvas[0] // 12 + 1, canvas[1] // 12 + 1, 3))
    sharp = np.kron(cells, np.ones((12, 12, 1)))[: canvas[0], : canvas[1]].astype(np.float32)
    exact = np.asarray(blur(jnp.asarray(sharp), jnp.asarray(KERNEL)))
    noisy = (exact + rng.normal(0, 0.005, exact.shape)).clip(0, 1).astype(np.float32)
    return sharp[3:-3, 4:-4], noisy


def solved(plan, config=None):
    config = config or Config.preset("instant")
    result = solve(jnp.asarray(plan.y), jax.random.key(0), kernel=jnp.asarray(KERNEL), config=config)
    return on_host(result, None)[0]


@pytest.fixture(scope="module")
def restored(photograph):
    """By tiles of the least side, and by one alone."""
    _, y = photograph
    plan = Plan(y, PART, (7, 9))
    estimate, told = solved(plan), []
    limit = completion._COPIES * y.nbytes + 2 * 140**2 * 300
    several = complete(plan, estimate, Config.preset("instant"), "auto", limit, lambda *done: told.append(done))
    alone = complete(plan, estimate, Config.preset("instant"), "classical", 10**10)
    return several, alone, told, tile_side(plan, (7, 9), limit)


def test_all_of_it_is_restored_and_progress_told(photograph, restored):
    sharp, y = photograph
    several, _, told, side = restored
    assert several.image.shape == several.std.shape == y.shape
    assert 100 < side < 140
    number = len(tiling(SIZE, side, 9))
    assert told == [(i, number) for i in range(1, number + 1)] and number >= 6
    assert ((several.image - sharp) ** 2).mean() < 0.25 * ((y - sharp) ** 2).mean()


@pytest.mark.parametrize(
    ("preset", "agreement", "judged"),
    [
        ("instant", 0.9, (False, False)),
        ("instant", 0.5, (True, False)),
        ("instant", np.nan, (False, True)),
        # Without a classical start the kernel is an estimate all the same.
        ("cold", np.nan, (False, False)),
    ],
)
def test_the_data_are_trusted_as_far_as_the_kernel(photograph, monkeypatch, preset, agreement, judged):
    _, y = photograph
    plan, seen = Plan(y, PART, (7, 9)), []
    monkeypatch.setattr(completion.finishing, "fidelity", lambda y, kernel, *told: seen.append(told) or 3000.0)
    estimate = solved(plan)._replace(agreement=np.float32(agreement))
    complete(plan, estimate, Config.preset(preset), "classical", 10**10)
    assert seen == [judged]


def test_some_of_the_photograph_stays_where_the_kernel_is_doubtful(photograph, monkeypatch):
    _, y = photograph
    plan = Plan(y, PART, (7, 9))
    # The data trusted as before, so that nothing else differs.
    monkeypatch.setattr(completion.finishing, "fidelity", lambda y, kernel, doubtful, known: 3000.0)
    each = [solved(plan)._replace(agreement=np.float32(agreement)) for agreement in (0.96, 0.3)]
    sure, doubtful = (complete(plan, it, Config.preset("instant"), "auto", 10**10) for it in each)
    assert sure.reserve == 0 and 0.001 < doubtful.reserve < 0.5
    np.testing.assert_allclose(doubtful.image, sure.image + doubtful.reserve * (y - sure.image), atol=1e-5)
    assert (doubtful.std >= sure.std).all() and doubtful.std.mean() > sure.std.mean()
    # No more than so much where the network has found another kernel.
    monkeypatch.setattr(completion, "_MOST_LEFT", doubtful.reserve / 2)
    found = each[1]._replace(choice=np.array(2))
    assert complete(plan, found, Config.preset("instant"), "auto", 10**10).reserve == doubtful.reserve / 2


def _around(tile):
    """What is missing around a tile."""
    return (tile.top, SIZE[0] - tile.top - tile.height), (tile.left, SIZE[1] - tile.left - tile.width)


def test_there_is_no_seam(photograph, restored):
    """At tiles' borders the errors are no larger than elsewhere, and the picture is that of one tile."""
    sharp, _ = photograph
    several, alone, _, side = restored
    error = np.abs(several.image - sharp).mean(-1)
    at_border = np.zeros(SIZE, bool)
    for tile in tiling(SIZE, side, 9):
        for axis, start, length in ((0, tile.top, tile.height), (1, tile.left, tile.width)):
            for edge in (start, start + length):
                if 0 < edge < SIZE[axis]:
                    at_border[(slice(None),) * axis + (slice(edge - 12, edge + 12),)] = True
    inside = np.zeros(SIZE, bool)
    inside[16:-16, 16:-16] = True
    assert error[at_border & inside].mean() < 1.05 * error[~at_border & inside].mean()
    difference = np.abs(several.image - alone.image).max(-1)
    # Where one tile goes over into another.
    shared = sum(np.pad(np.ones((t.height, t.width), int), _around(t)) for t in tiling(SIZE, side, 9)) > 1
    assert np.quantile(difference[shared & inside], 0.99) < 0.02
    # A few pixels, as sums are rounded, come to another minimum of the prior, which is not convex; a seam would be a
    # line of them, as long as a tile.
    assert difference[inside].max() < 0.05 and (difference[inside] >= 0.03).sum() <= side // 20
    np.testing.assert_allclose(several.std[inside], alone.std[inside], rtol=0.2, atol=0.005)


def test_a_part_that_is_all_is_the_answer_itself(photograph):
    _, y = photograph
    plan = Plan(y[:64, :64], Tile(0, 0, 64, 64), (7, 9))
    estimate = solved(plan)
    whole = complete(plan, estimate, Config.preset("instant"), "auto", 10**10)
    np.testing.assert_array_equal(whole.image, estimate.image)
    np.testing.assert_array_equal(whole.std, estimate.std)


SMALL = Config.preset("quick", channels=4, skip_channels=4, num_levels=1, prefit_steps=2, ssim_steps=3)


def test_the_network_restores_tiles_too(photograph):
    _, y = photograph
    plan = Plan(y[:100, :128], Tile(10, 0, 64, 64), (7, 9))
    whole = complete(plan, solved(plan), SMALL, "network", 10**10)
    assert whole.image.shape == (100, 128, 3)
    assert 0 <= whole.image.min() and whole.image.max() <= 1 and (whole.std > 0).all()


def test_its_own_image_is_taken_where_the_part_is_all(photograph):
    _, y = photograph
    plan = Plan(y[:64, :64], Tile(0, 0, 64, 64), (7, 9))
    estimate = solved(plan, SMALL)
    whole = complete(plan, estimate, SMALL, "network", 10**10)
    np.testing.assert_allclose(whole.image, estimate.candidates.image[1], atol=1e-6)
    classical = complete(plan, estimate, SMALL, "classical", 10**10)
    expected = nonblind.deconvolve(jnp.asarray(plan.y), jnp.asarray(KERNEL))
    assert np.abs(classical.image - np.asarray(expected)).mean() < 0.02
