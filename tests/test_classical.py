"""The classical start: which searches are made and believed; what it comes to on mosaics and Levin's photographs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import KERNEL_SIZE, SIZE, all_come_to, comes_to, photo, stroke

from vdip_jax import classical, datasets, metrics, search

pytestmark = pytest.mark.usefixtures("quick_compilation")


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
    for other, ok in ((bad, False), (stroke(), True)):
        estimates = jnp.asarray(np.stack([bad, other]), jnp.float32)
        monkeypatch.setattr(search, "_searched", all_come_to(estimates))
        start = classical.deblur(jnp.asarray(y), KERNEL_SIZE)
        assert bool(start.ok) is ok
    assert metrics.kernel_error(np.asarray(start.kernel), stroke()).ncc > 0.9


BLOB, LINE = np.zeros(KERNEL_SIZE, np.float32), np.zeros(KERNEL_SIZE, np.float32)
BLOB[4:6, 4:6], LINE[:, 4] = 1 / 4, 1 / 9


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("first", "held", "beyond", "searches", "doubtful"),
    [
        # Trials that agree on the right kernel leave no doubt.
        ((stroke(), stroke()), (LINE, LINE), (BLOB, BLOB), 1, False),
        # They do not agree.
        ((BLOB, stroke().T), (LINE, LINE), (stroke(), stroke()), 3, False),
        ((BLOB, stroke().T), (stroke(), stroke()), (LINE, LINE), 3, False),
        # They agree on what leaves much unexplained.
        ((LINE, LINE), (BLOB, BLOB), (stroke(), stroke()), 3, False),
        # They agree on what may be a blob.
        ((BLOB, BLOB), (LINE, LINE), (stroke(), stroke()), 3, False),
        # The other two find no better one.
        ((stroke(), BLOB), (LINE, LINE), (BLOB, BLOB), 3, True),
    ],
)
def test_where_two_searches_leave_doubt_two_more_are_believed_if_they_are_better(
    monkeypatch, traced, first, held, beyond, searches, doubtful
):
    _, y = photo(noise=0.01)
    asked = []
    in_doubt = dict(zip(classical._LIMITS_IN_DOUBT, (held, beyond), strict=True))

    def searched(gray, size, widths, seeds, limits):
        asked.append(widths)
        kernels = first if widths == classical._WIDTHS else in_doubt[limits]
        return all_come_to(jnp.asarray(np.stack(kernels), jnp.float32))(gray, size, widths, seeds, limits)

    monkeypatch.setattr(search, "_searched", searched)
    # Nothing is found in the second look, so that the chosen kernel stays.
    monkeypatch.setattr(search, "fit_to", lambda image, gray, kernel: kernel)
    monkeypatch.setattr(search, "_polished", search._polished.__wrapped__)

    def estimate(gray):
        return classical.estimate(gray, KERNEL_SIZE)

    found = (jax.jit(estimate) if traced else estimate)(jnp.asarray(y[..., 0]))
    # A trace cannot look at what it makes: there all are always made.
    assert asked == [classical._WIDTHS, classical._IN_DOUBT, classical._IN_DOUBT][: 3 if traced else searches]
    np.testing.assert_allclose(found.kernel, stroke(), atol=1e-6)
    assert bool(found.doubtful) is doubtful


@pytest.mark.parametrize(
    ("size", "kernel", "corners"),
    [
        ((683, 1024), 31, [(0, 0), (0, 624), (283, 0), (283, 624), (141, 312)]),
        # Hardly larger than a part.
        ((500, 600), 31, None),
        ((300, 500), 31, None),
        # A strip.
        ((240, 900), 31, [(0, 0), (0, 660), (0, 330)]),
        # Too little of the kernel would be seen in each.
        ((683, 1024), 57, [(0, 0), (0, 624), (283, 0), (283, 624), (141, 312)]),
        ((683, 1024), 59, None),
        ((200, 900), 31, None),
    ],
)
def test_parts_are_squares_at_the_corners_and_in_the_middle_of_an_image_of_twice_their_size(size, kernel, corners):
    place = jnp.asarray(np.indices(size).transpose(1, 2, 0) @ [1, 10_000])
    parts = classical._parts(place, (kernel, kernel))
    if corners is None:
        assert parts is None
    else:
        side = min(400, *size)
        assert parts.shape == (len(corners), side, side)
        assert [(int(part[0, 0]) % 10_000, int(part[0, 0]) // 10_000) for part in parts] == corners


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("of_parts", "of_whole", "in_doubt"),
    [
        # One of the two that leaves no doubt is enough.
        ((0.9, 1.0), (0.9, 1.0), False),
        ((0.9, 1.0), (0.7, 1.0), False),
        ((0.9, 1.0), (0.9, 9.0), False),
        ((0.7, 1.0), (0.9, 1.0), False),
        ((0.9, 9.0), (0.9, 1.0), False),
        # Trials do not agree, or much is left unexplained.
        ((0.7, 1.0), (0.7, 1.0), True),
        ((0.9, 9.0), (0.7, 1.0), True),
    ],
)
def test_a_search_begins_with_kernels_of_parts_and_one_of_the_whole_with_nothing_and_both_in_doubt_make_more(
    monkeypatch, traced, of_parts, of_whole, in_doubt
):
    monkeypatch.setattr(classical, "_PART", 24)
    monkeypatch.setattr(classical, "_LEAST_KERNELS", 2)
    corners = [(0, 0), (0, 96), (76, 0), (76, 96), (38, 48)]
    y = np.zeros((100, 120), np.float32)
    for number, (i, j) in enumerate(corners):
        y[i : i + 24, j : j + 24] = 2**number / 32
    asked = []

    def searched(gray, size, widths, seeds=None, limits=(0, 1)):
        if gray.shape == (24, 24):
            assert widths == classical._WIDTHS
            return comes_to(jnp.full(size, gray.mean()), 0.9)
        if seeds is not None:
            assert widths == (2.0,)
            # That each part's kernel is among those to begin with is seen in what they sum to.
            return comes_to(seeds.sum(0), of_parts[0])._replace(misfit=jnp.array(of_parts[1]))
        asked.append(widths)
        first = widths == classical._WIDTHS
        return comes_to(jnp.full(size, 2.0 if first else 4.0), of_whole[0])._replace(misfit=jnp.array(of_whole[1]))

    def joined(gray, one, other):
        return one._replace(kernel=one.kernel + other.kernel)

    monkeypatch.setattr(classical, "search", searched)
    monkeypatch.setattr(classical, "most_plausible", lambda gray, found: found[-1])
    monkeypatch.setattr(classical, "joined", joined)

    def estimate(gray):
        return classical.estimate(gray, KERNEL_SIZE)

    found = (jax.jit(estimate) if traced else estimate)(jnp.asarray(y))
    # A trace cannot look at what it makes: there those in doubt are always made.
    assert asked == [classical._WIDTHS] + [classical._IN_DOUBT] * (2 if traced or in_doubt else 0)
    np.testing.assert_allclose(found.kernel, 31 / 32 + (4 if in_doubt else 2), atol=1e-6)


def test_a_mosaic_of_several_parts_is_recovered_with_its_kernel(monkeypatch):
    monkeypatch.setattr(classical, "_PART", 64)
    _, y = photo()
    start = classical.deblur(jnp.asarray(y), KERNEL_SIZE)
    assert start.ok and metrics.kernel_error(np.asarray(start.kernel), stroke()).ncc > 0.9


def test_parts_searched_as_one_program_come_to_what_each_comes_to_by_itself():
    _, y = photo()
    parts = jnp.stack([y[:64, :64, 0], y[-64:, -64:, 0]])
    alone = classical._of_parts(parts, KERNEL_SIZE)
    at_once = jax.jit(lambda parts: classical._of_parts(parts, KERNEL_SIZE))(parts)
    for one, other in zip(alone, at_once, strict=True):
        assert metrics.kernel_error(np.asarray(one), np.asarray(other)).ncc > 0.99


# The last one comes to 4.5 to 5.3 dB and 0.73 to 0.77, as sums are rounded, by one processor or another.
@pytest.mark.parametrize(
    ("name", "gain", "ncc"), [("im1_kernel5", 7, 0.8), ("im3_kernel3", 7, 0.8), ("im4_kernel7", 3, 0.6)]
)
def test_a_captured_image_gains(data_dir, name, gain, ncc):
    dataset = datasets.find_dataset(data_dir / "levin2009")
    case = datasets.load_case(dataset, datasets.choose(dataset, [f"{name}*"])[0])
    # A frame for all three, that of the last one's kernel, so that one pyramid is compiled.
    start = classical.deblur(jnp.asarray(case.y, jnp.float32)[..., None], (23, 23))
    after = metrics.score(np.asarray(start.image)[..., 0], case.truth).psnr
    assert after > metrics.score(case.y, case.truth).psnr + gain
    assert metrics.kernel_error(np.asarray(start.kernel), case.kernel).ncc > ncc
