"""Seeds side by side, failed runs once more, one answer made of them."""

import numpy as np
import pytest

from vdip_jax import Config, restarts
from vdip_jax.batches import Estimate
from vdip_jax.candidates import Candidates
from vdip_jax.restarts import Chosen, Run, Seeds, choose, decisions, solve_several, weights

SHARP = np.kron(np.random.default_rng(0).random((8, 8)), np.ones((6, 6))).astype(np.float32)
BLURRED = ((SHARP + np.roll(SHARP, 1, 1) + np.roll(SHARP, 2, 1)) / 3).astype(np.float32)
CONFIG = Config.preset("cold", prefit_steps=1, variational_steps=1, ssim_steps=1)


EVEN = np.full((3, 3), 1 / 9, np.float32)
ROW = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], np.float32) / 3


def estimate(criterion, image=SHARP, ok=True, kernel=EVEN):
    candidates = Candidates(image[None], kernel[None], np.array([criterion]))
    told = np.array(ok), np.array(np.nan), np.array(0), np.array(0.0), np.array(0.0)
    return Estimate(image, image, kernel, np.zeros(3), *told, candidates)


def test_the_lowest_criterion_of_those_that_did_not_fail_is_chosen():
    runs = [
        Run(0, estimate(-5), ()),
        Run(1, estimate(-9), ("flat",)),
        Run(2, estimate(-7), ()),
    ]
    chosen = choose(runs)
    assert chosen.seed == 2 and chosen.failures == () and len(chosen.runs) == 3
    assert choose(runs[1:2]).seed == 1
    (decision,) = decisions(chosen)
    assert decision.value == "2"
    assert "seed 0: -5.00; seed 1: -9.00, failed (flat); seed 2: -7.00" in decision.why
    assert decisions(choose(runs[:1])) == []


def test_seeds_that_came_to_the_same_are_averaged_the_better_weighing_more():
    near = EVEN + 0.01 * ROW - 0.01 * ROW.T
    runs = [
        Run(3, estimate(-7.1, SHARP, kernel=near), ()),
        Run(4, estimate(-7.2, BLURRED), ()),
        Run(5, estimate(-7.2 + 5e-3, 0 * SHARP, kernel=ROW), ()),
        Run(6, estimate(-7.15, np.nan * SHARP), ("diverged",)),
        Run(7, estimate(np.inf, 0 * SHARP), ()),
    ]
    share = weights(runs)
    first = np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(share, [first, 1 - first, 0, 0, 0], rtol=1e-6)
    chosen = choose(runs)
    assert chosen.seed == 4
    np.testing.assert_allclose(chosen.estimate.image, first * SHARP + (1 - first) * BLURRED, atol=1e-6)
    np.testing.assert_allclose(chosen.estimate.kernel, first * near + (1 - first) * EVEN, atol=1e-7)
    assert chosen.estimate.image.dtype == np.float32
    (decision,) = decisions(chosen)
    assert decision.value == "3, 4" and "kernels agree" in decision.why


def test_a_kernel_moved_by_a_pixel_is_another_one():
    moved = [Run(0, estimate(-7, kernel=ROW), ()), Run(1, estimate(-7, kernel=np.roll(ROW, 1, 0)), ())]
    np.testing.assert_array_equal(weights(moved), [1, 0])


@pytest.mark.parametrize("criterion, failures", [(np.inf, ()), (-7.0, ("flat",))])
def test_what_failed_is_not_averaged(criterion, failures):
    runs = [Run(seed, estimate(criterion, image), failures) for seed, image in enumerate((SHARP, BLURRED))]
    np.testing.assert_array_equal(weights(runs), [1, 0])
    np.testing.assert_array_equal(choose(runs).estimate.image, SHARP)


class Solver:
    """Stands for `solve_batch`: a criterion and an image for each seed; keeps what it was asked for."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def __call__(self, images, seeds, config, title, keep, profile, **kernel):
        self.asked.append(list(seeds))
        found = [self.answers[seed] for seed in seeds]
        keep("progress", lambda: found)
        return found


@pytest.fixture
def solver(monkeypatch):
    def set_up(answers, at_once=10):
        stand_in = Solver(answers)
        monkeypatch.setattr(restarts, "solve_batch", stand_in)
        monkeypatch.setattr(restarts, "room", lambda *_: at_once)
        return stand_in

    return set_up


def run(images, seeds, keep=lambda progress, estimates: False):
    return solve_several(images, seeds, CONFIG, "t", 10**10, keep, kernel_size=(3, 3))


def test_all_seeds_of_all_images_go_together(solver):
    asked = solver({5: estimate(-5), 6: estimate(-7), 7: estimate(-6)})
    chosen = run([BLURRED, BLURRED], Seeds(5, 3))
    assert asked.asked == [[5, 6, 7, 5, 6, 7]]
    assert [one.seed for one in chosen] == [6, 6] and isinstance(chosen[0], Chosen)


def test_as_many_at_once_as_there_is_room_for(solver):
    asked, told = solver({0: estimate(-5), 1: estimate(-7), 2: estimate(-6)}, at_once=2), []

    def keep(progress, estimates):
        told.append([float(one.candidates.criterion[0]) for one in estimates()])
        return False

    assert run([BLURRED], Seeds(0, 3), keep)[0].seed == 1
    assert asked.asked == [[0, 1], [2]]
    # The best so far is that of all that were solved.
    assert told == [[-7.0], [-7.0]]


def test_a_run_that_failed_is_tried_once_more_with_another_seed(solver):
    asked = solver({0: estimate(-9, ok=False), 1: estimate(-5)})
    (chosen,) = run([BLURRED], Seeds(0, 1))
    assert asked.asked == [[0], [1]] and chosen.seed == 1 and chosen.runs[0].failures == ("diverged",)
    asked = solver({0: estimate(-9, np.zeros_like(SHARP)), 1: estimate(-5, np.zeros_like(SHARP))})
    (chosen,) = run([BLURRED], Seeds(0, 1))
    assert asked.asked == [[0], [1]] and chosen.seed == 0 and chosen.failures == ("flat",)


def test_an_ended_run_is_not_tried_again(solver):
    asked = solver({0: estimate(-9, ok=False), 1: estimate(-5)})
    run([BLURRED], Seeds(0, 1), lambda progress, estimates: True)
    assert asked.asked == [[0]]
