"""The search for a kernel: its steps by hand, its scales."""

import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import KERNEL_SIZE, SIZE, all_come_to, comes_to, photo, stroke

from vdip_jax import finishing, pyramid, search
from vdip_jax.candidates import Candidates
from vdip_jax.checks import Refusal

pytestmark = pytest.mark.usefixtures("quick_compilation")

WIDTHS = (0.0, 2.0)


def test_the_worse_half_goes_on_from_the_better_one_at_the_coarsest_scale_in_each_of_two_groups(monkeypatch):
    calls = []

    def scale(gray, estimates, trials, before, image_size, at_once, limits):
        assert before == 5 * sizes.index(image_size) and 2 * at_once == len(estimates)
        calls.append((image_size, np.asarray(estimates), np.asarray(trials.keep)))
        # Later trials are better, by more than what the width of their kernels weighs; a kernel is told by its number.
        number = jnp.arange(len(estimates), dtype=jnp.float32)
        kernel = jnp.broadcast_to(1.0 + number[:, None, None], estimates.shape)
        return Candidates(jnp.zeros((len(estimates), *SIZE, 1)), kernel, -10 * number)

    monkeypatch.setattr(search, "_scale", scale)
    sizes = [size for size, _ in pyramid.scales(SIZE, (15, 15))]
    assert len(sizes) == 4
    found = search._coarse_to_fine(jnp.zeros(SIZE), (15, 15), WIDTHS, None, (0, 1))
    assert [size for size, *_ in calls] == [size for size in sizes[:-2] for _ in range(2)] + sizes[-2:]
    np.testing.assert_array_equal(calls[1][1][:, 0, 0], [3, 4, 3, 4, 7, 8, 7, 8, 11, 12, 11, 12, 15, 16, 15, 16])
    np.testing.assert_array_equal(calls[3][1][:, 0, 0], [5, 6, 7, 8] * 2 + [13, 14, 15, 16] * 2)
    # Only the better half of each search goes to the finest.
    np.testing.assert_array_equal(calls[-1][2], np.asarray(calls[0][2])[[7, 6, 5, 4, 15, 14, 13, 12]])
    assert found.kernel.shape[:2] == (2, 4)


@pytest.mark.parametrize(("side", "num_scales"), [(15, 3), (7, 1)])
def test_a_search_that_begins_with_kernels_does_so_at_the_third_finest_scale(monkeypatch, side, num_scales):
    calls = []

    def scale(gray, estimates, trials, before, image_size, at_once, limits):
        calls.append((image_size, np.asarray(estimates), before))
        return Candidates(jnp.zeros((len(estimates), *SIZE, 1)), estimates, -jnp.arange(len(estimates), dtype=float))

    monkeypatch.setattr(search, "_scale", scale)
    seeds = jnp.asarray(np.stack([np.roll(stroke((side, side)), number, 0) for number in (0, 1, 2)]))
    sizes = pyramid.scales(SIZE, (side, side))
    found = search._coarse_to_fine(jnp.zeros(SIZE), (side, side), (2.0,), seeds, (0, 1))
    expected = sizes[-num_scales:]
    assert [size for size, *_ in calls] == [
        size for size, _ in (expected[:1] + expected if num_scales > 2 else expected)
    ]
    image_size, estimates, before = calls[0]
    assert before == 5 * (len(sizes) - num_scales)
    # Each trial begins with one of them, in turn, in the pixels of that scale.
    assert estimates.shape == (8, *expected[0][1])
    np.testing.assert_allclose(estimates.sum((1, 2)), 1, rtol=1e-5)
    np.testing.assert_array_equal(estimates[:3], estimates[3:6])
    assert np.abs(estimates[0] - estimates[1]).max() > 0.01
    assert found.kernel.shape == (1, 4 if num_scales > 1 else 8, side, side)


def narrow_and_wide():
    """A kernel of one entry's width and one of three, with the logarithm of what their squares sum to."""
    narrow, wide = np.zeros(KERNEL_SIZE, np.float32), np.zeros(KERNEL_SIZE, np.float32)
    narrow[4, 4:6], wide[3:6, 3:6] = 1 / 2, 1 / 9
    return jnp.asarray(np.stack([narrow, wide])), np.log([1 / 2, 1 / 9])


@pytest.mark.parametrize("width", [0.0, 2.0])
def test_a_search_that_weighs_the_width_lets_the_wide_kernel_win(width):
    kernels, logs = narrow_and_wide()
    trials = search.Trial(*np.tile(np.array([0.01, 1.1, 0.0, width], np.float32), (2, 1)).T)
    carried, _ = search._carried(kernels, jnp.asarray([-2.0, 0.0]), trials, 1, KERNEL_SIZE)
    assert width * (logs[0] - logs[1]) > 2 or not width
    np.testing.assert_allclose(carried, kernels[jnp.full(2, int(width > 0))])


@pytest.mark.parametrize(
    ("criterion", "widest", "chosen"),
    [
        ((-9.0, -9.0), 1, 1),
        ((-9.0, -7.0), 1, 0),
        ((np.inf, -1.0), 1, 1),
        ((-9.0, -9.1), 0, 1),
        ((-9.0, -8.9), 0, 0),
        ((-9.0, np.inf), 1, 0),
    ],
)
def test_the_second_search_has_to_be_better_or_wider_by_a_margin(monkeypatch, criterion, widest, chosen):
    kernels, logs = narrow_and_wide()
    if not widest:
        kernels, logs = kernels[::-1], logs[::-1]
    gain = 2 * (logs[0] - logs[1]) + criterion[0] - criterion[1]
    assert (gain > 1.25 or criterion[1] < criterion[0]) == bool(chosen)
    _, y = photo()
    searched = Candidates(jnp.zeros((2, 1, *SIZE, 1)), kernels[:, None], jnp.asarray(criterion, jnp.float32)[:, None])
    # Nothing is found in the second look, so that the chosen kernel stays.
    monkeypatch.setattr(search, "fit_to", lambda image, gray, kernel: kernel)
    found = search._polished.__wrapped__(jnp.asarray(y[..., 0]), searched, WIDTHS, (0, 1))
    np.testing.assert_array_equal(found.kernel, kernels[chosen])


def test_agreement_is_how_alike_the_best_kernel_and_the_one_least_like_it_are(monkeypatch):
    _, y = photo()
    right, moved, wrong = stroke(), np.roll(stroke(), 1, 0), np.full(KERNEL_SIZE, 1 / 81, np.float32)
    useless = np.zeros(KERNEL_SIZE, np.float32)
    agreements = []
    for estimates in ((right, moved, right), (wrong, moved, right), (right, moved, useless)):
        estimates = jnp.asarray(np.stack(estimates), jnp.float32)
        monkeypatch.setattr(search, "_searched", all_come_to(estimates))
        agreements.append(float(search.search(jnp.asarray(y[..., 0]), KERNEL_SIZE, WIDTHS).agreement))
    expected = np.sqrt(1 / 81 / (right**2).sum())
    np.testing.assert_allclose(agreements, [1, expected, 0], atol=1e-4)


@pytest.mark.parametrize("kernel_size", [(3, 3), (19, 19), (75, 75), (5, 31), (41, 3)])
def test_scales_go_from_coarse_to_the_size_asked_for_in_odd_kernels(kernel_size):
    sizes = pyramid.scales((200, 300), kernel_size)
    assert sizes[-1] == ((200, 300), kernel_size)
    for (coarse, small), (fine, large) in zip(sizes, sizes[1:], strict=False):
        assert all(1.3 < b / a < 1.5 for a, b in zip(coarse, fine, strict=True))
        assert all(a <= b for a, b in zip(small, large, strict=True))
    assert all(side % 2 == 1 and side >= 3 for _, size in sizes for side in size)
    assert max(sizes[0][1]) <= 7


def test_an_image_too_small_for_the_pyramid_is_refused():
    pyramid.check_pyramid((80, 100), (31, 31))
    assert pyramid.scales((80, 100), (31, 31))[0] == ((29, 36), (11, 11))
    with pytest.raises(Refusal, match="at least 66x66 .* got 60x100"):
        pyramid.check_pyramid((60, 100), (31, 31))


def test_the_largest_kernel_is_the_largest_that_is_not_refused():
    for size in ((10, 99), (66, 200), (67, 67), (68, 68), (300, 251)):
        side = pyramid.largest_kernel(size)
        assert side % 2 == 1
        pyramid.check_pyramid(size, (side, side))
        with pytest.raises(Refusal):
            pyramid.check_pyramid(size, (side + 2, side + 2))


def test_a_blob_that_explains_a_clipped_image_is_less_plausible_than_the_right_kernel():
    _, y = photo(exposure=3)
    gray = jnp.asarray(y[..., 0])
    blob = np.zeros(KERNEL_SIZE, np.float32)
    blob[4, 3:6] = 1 / 4, 1 / 2, 1 / 4
    criterion = finishing.judged(gray, jnp.asarray(np.stack([blob, stroke()]))).criterion
    assert criterion[0] < criterion[1]
    right, wrong = comes_to(stroke(), 0.9), comes_to(blob, 0.9)
    for found in ([wrong, right], [right, wrong], [wrong, wrong, right]):
        np.testing.assert_array_equal(search.most_plausible(gray, found).kernel, stroke())


def test_of_two_that_are_alike_the_mean_is_taken_and_of_others_the_more_plausible():
    _, y = photo(noise=0.01)
    gray = jnp.asarray(y[..., 0])
    soft = np.asarray(0.8 * stroke() + 0.1 * np.roll(stroke(), 1, 0) + 0.1 * np.roll(stroke(), -1, 0), np.float32)
    unlike, useless = np.full(KERNEL_SIZE, 1 / 81, np.float32), np.zeros(KERNEL_SIZE, np.float32)
    right = comes_to(stroke(), 0.9)
    for one, other, expected in (
        (right, comes_to(soft, 0.8), (stroke() + soft) / 2),
        (comes_to(soft, 0.8), right, (stroke() + soft) / 2),
        # It is where the first one is.
        (right, comes_to(np.roll(soft, 1, 1), 0.8), (stroke() + soft) / 2),
        (right, comes_to(unlike, 0.99), stroke()),
        (comes_to(unlike, 0.99), right, stroke()),
        (comes_to(useless, 0.99)._replace(ok=jnp.array(False)), right, stroke()),
        (right, right._replace(ok=jnp.array(False)), stroke()),
    ):
        found = search.joined(gray, one, other)
        np.testing.assert_allclose(found.kernel, expected, atol=1e-6)
        assert found.ok and found.agreement == np.float32(0.9)
