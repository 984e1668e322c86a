"""Which part is solved, with how large a kernel, and why."""

import numpy as np
import pytest
from mosaics import comes_to, mosaic

from vdip_jax import classical, planning
from vdip_jax.planning import Plan, plan
from vdip_jax.tiles import Tile

PIXELS = mosaic((200, 260, 3), seed=1)


@pytest.fixture
def kernels_seen(monkeypatch):
    """Kernels that looks come to, in order, and how settings agree on them; the pictures they see are kept."""
    asked = []

    def set_up(*found):
        given = iter(found)

        def estimate(gray, kernel_size):
            asked.append(np.asarray(gray))
            kernel, agreement = next(given)
            return comes_to(kernel, agreement)

        monkeypatch.setattr(classical, "estimate", estimate)
        return asked

    return set_up


def stroke(down, right):
    kernel = np.zeros((9, 9), np.float32)
    for i in range(-3, 4):
        kernel[4 + i * down, 4 + i * right] = 1 / 7
    return kernel


def told(made: Plan):
    return {decision.what: decision for decision in made.decisions}


def test_a_small_photograph_is_solved_whole(kernels_seen):
    kernels_seen()
    for side in (0, 260, 480):
        made = plan(PIXELS, (9, 9), side, known=False)
        assert made.is_whole and made.part == Tile(0, 0, 200, 260) and made.kernel_size == (9, 9)
        assert made.y.shape == PIXELS.shape and made.warnings == ()
        assert set(told(made)) == {"part that is solved"}


def test_the_kernel_is_looked_for_unless_its_size_is_given(kernels_seen):
    kernels_seen((stroke(0, 1), 0.9), (stroke(0, 1), 0.85))
    looks = []
    made = plan(PIXELS, None, 0, known=False, tell=looks.append)
    assert [round(look.agreement, 2) for look in looks] == [0.9, 0.85]
    # By half, 7 pixels show one of 14.
    assert made.kernel_size == (19, 19) and made.is_whole
    assert told(made)["kernel size"].value == "19x19"
    assert "part 1 as it is shows a kernel of 1x7 pixels" in told(made)["kernel size"].why
    assert "part 1 shrunk by 2 shows a kernel of 2x14 pixels" in told(made)["kernel size"].why


def test_of_a_large_one_the_best_part_and_others_are_compared(kernels_seen):
    asked = kernels_seen((stroke(0, 1), 0.8), (stroke(0, 1), 0.9), (stroke(0, 1), 0.85))
    made = plan(PIXELS, (9, 9), 80, known=False)
    assert not made.is_whole and made.y.shape == (80, 80, 3) and made.warnings == ()
    assert len(asked) == 3 and all(gray.shape == (80, 80) for gray in asked)
    # The second one is that on which settings agree most.
    np.testing.assert_allclose(asked[1], planning.gray(made.y), rtol=1e-6)
    assert told(made)["blur"].value == "is taken to be the same everywhere"


def test_a_part_larger_than_looks_lies_around_the_best_one(kernels_seen, monkeypatch):
    monkeypatch.setattr(planning, "_SIDE", 60)
    asked = kernels_seen((stroke(0, 1), 0.9), (stroke(0, 1), 0.8), (stroke(0, 1), 0.8))
    made = plan(PIXELS, (9, 9), 150, known=False)
    assert made.y.shape == (150, 150, 3) and all(gray.shape == (60, 60) for gray in asked)
    seen = np.lib.stride_tricks.sliding_window_view(planning.gray(made.y), (60, 60))
    assert (np.abs(seen - asked[0]).max((2, 3)) < 1e-6).any()


def test_blur_that_differs_is_warned_of(kernels_seen):
    kernels_seen((stroke(0, 1), 0.9), (stroke(1, 0), 0.85), (stroke(0, 1), 0.8))
    made = plan(PIXELS, (9, 9), 80, known=False)
    (warning,) = made.warnings
    assert "agree by 0.14 only" in warning and f"row {made.part.top}, column {made.part.left}" in warning
    assert told(made)["blur"].value == "may not be the same everywhere"


def test_a_part_that_shows_nothing_clearly_is_no_sign_of_that(kernels_seen):
    kernels_seen((stroke(0, 1), 0.9), (stroke(1, 0), 0.5), (stroke(1, 1), 0.7))
    made = plan(PIXELS, (9, 9), 80, known=False)
    assert made.warnings == () and "only one part" in told(made)["blur"].why


def test_a_known_kernel_is_not_estimated(kernels_seen):
    assert kernels_seen() == []
    assert not plan(PIXELS, (9, 9), 80, known=True).is_whole


def test_of_a_narrow_photograph_the_part_has_its_whole_width():
    made = plan(PIXELS[:50], (9, 9), 80, known=True)
    assert (made.part.height, made.part.width) == (50, 80) == planning.part_size((50, 260), 80)
    assert planning.part_size((50, 260), 0) == (50, 260)
