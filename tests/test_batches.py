"""Grouping tasks and solving several images at once."""

import numpy as np
import pytest

from vdip_jax import Config, Refusal, batches
from vdip_jax.batches import OutOfMemory, grouped, room, solve_batch
from vdip_jax.cost import memory

TINY = Config.preset(
    "cold", channels=4, skip_channels=4, num_levels=1, prefit_steps=1, variational_steps=1, ssim_steps=1
)


def test_groups_fill_up_with_what_is_alike_in_the_order_of_their_first():
    assert grouped(["a1", "b1", "a2", "a3", "b2"], lambda task: task[0], 2) == [["a1", "a2"], ["b1", "b2"], ["a3"]]
    assert grouped(["a1", "b1", "a2"], lambda task: task[0], 1) == [["a1"], ["b1"], ["a2"]]
    assert grouped([], str, 3) == []


def test_as_many_images_as_memory_has_room_for():
    one = memory((40, 44), (5, 5), TINY, 3)
    assert room((40, 44, 3), (5, 5), TINY, 3 * one + 1, "--max_side") == 3
    assert room((40, 44, 3), (5, 5), TINY, one, "--max_side") == 1
    assert room((40, 44), (5, 5), TINY, one, "--max_side") >= 1


def test_an_image_without_room_is_refused_with_the_size_that_fits():
    limit = memory((400, 300), (5, 5), TINY, 3) // 2
    with pytest.raises(Refusal, match=r"^300x400 pixels need about .* GB of memory.*give --max_side=(\d+)\.$") as told:
        room((400, 300, 3), (5, 5), TINY, limit, "--max_side")
    side = int(str(told.value).rpartition("=")[2][:-1])
    assert 200 < side < 400
    assert room((side, side * 300 // 400, 3), (5, 5), TINY, limit, "--max_side") == 1
    with pytest.raises(Refusal, match="no size fits: take --preset=quick"):
        room((400, 300, 3), (5, 5), TINY, 1000, "--max_side")


def test_an_image_does_not_depend_on_what_it_is_solved_beside(quick_compilation):
    images = [np.random.default_rng(seed).random((40, 44)).astype(np.float32) for seed in (0, 1)]
    together = solve_batch(images, [3, 4], TINY, "both", kernel_size=5)
    alone = solve_batch(images[1:], [4], TINY, "one", kernel_size=5)
    assert together[1].image.shape == (40, 44, 1)
    np.testing.assert_allclose(together[1].image, alone[0].image, atol=2e-3)
    assert np.abs(together[0].image - together[1].image).max() > 0.05


def test_whoever_keeps_the_best_so_far_sees_host_arrays_and_may_end_the_run(quick_compilation):
    image, seen = np.random.default_rng(0).random((40, 44)).astype(np.float32), []

    def keep(progress, estimates):
        seen.append((progress.step, estimates()))
        return progress.step >= 1

    (ended,) = solve_batch([image], [0], TINY, "one", keep, kernel_size=5)
    ((step, (best,)),) = seen
    assert step == 1 < TINY.num_steps
    assert isinstance(best.candidates.criterion, np.ndarray)
    np.testing.assert_array_equal(best.image, ended.image)


@pytest.mark.parametrize(("message", "kind"), [("RESOURCE_EXHAUSTED: 9 GiB", OutOfMemory), ("INTERNAL: other", None)])
def test_want_of_memory_is_told_from_other_errors(monkeypatch, message, kind):
    import jax

    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(batches, "solve", broken)
    with pytest.raises(kind or jax.errors.JaxRuntimeError, match=message):
        solve_batch([np.zeros((40, 44), np.float32)], [0], TINY, "title", kernel_size=5)
