"""The loop over a data set, with a solver that costs nothing."""

import time

import numpy as np
import pytest

from vdip_jax import Config, Refusal, evaluation, records
from vdip_jax.batches import Estimate, OutOfMemory
from vdip_jax.candidates import Candidates
from vdip_jax.cost import memory
from vdip_jax.datasets import find_dataset
from vdip_jax.evaluation import Plan, make_tasks, pending, solve_tasks, summary
from vdip_jax.images import write_image

CONFIG = Config.preset("cold")
ABOUT = {"device": "cpu"}


def write(path, shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.random.default_rng(0).random(shape))


@pytest.fixture
def dataset(tmp_path):
    """Three images of one size and one of another, one kernel."""
    write(tmp_path / "kernels" / "k1.png", (3, 5))
    for name, shape in (("a", (50, 60)), ("b", (50, 60)), ("c", (60, 50)), ("d", (50, 60))):
        for path in (f"blurred/{name}_k1.png", f"ground_truth/{name}.png"):
            write(tmp_path / path, shape)
    return find_dataset(tmp_path)


@pytest.fixture
def solver(monkeypatch):
    """Stands for the solver; keeps the sizes of its batches and does what it is told."""
    state = {"batches": [], "most": 99, "refuse": None, "sleep": 0.0}

    def solve_batch(images, seeds, config, title, *, kernel_size):
        state["batches"].append((len(images), images[0].shape, tuple(kernel_size), tuple(seeds)))
        time.sleep(state["sleep"])
        if len(images) > state["most"]:
            raise OutOfMemory
        if state["refuse"]:
            raise Refusal(state["refuse"])
        kernel, loss = np.full(kernel_size, 1 / np.prod(kernel_size)), np.zeros(config.num_steps)
        estimates = []
        for image in images:
            y = image[..., None]
            candidates = Candidates(y[None], kernel[None], np.zeros(1))
            told = np.True_, np.float32(1), np.int64(0), np.float32(0), np.float32(0)
            estimates.append(Estimate(y, y * 0, kernel, loss, *told, candidates))
        return estimates

    monkeypatch.setattr(evaluation, "solve_batch", solve_batch)
    return state


def run(dataset, tmp_path, methods=("dip",), seeds=(0,), **plan):
    """Solve everything; the records by name, and how many tasks were left."""
    folder, told = tmp_path / "out", []
    tasks = make_tasks(dataset.pairs, methods, seeds)
    with records.opened(folder, {}):
        plan = Plan({method: CONFIG for method in methods}, about=ABOUT, **plan)
        left = solve_tasks(dataset, tasks, plan, folder, told.append)
    assert len(told) == len(tasks) - left
    return {(r["name"], r["method"], r["seed"]): r for r in records.read_records(folder)}, left


def test_images_of_one_size_are_solved_together(dataset, tmp_path, solver):
    found, left = run(dataset, tmp_path, batch_size=2)
    assert left == 0 and len(found) == 4
    assert solver["batches"] == [
        (2, (50, 60), (3, 5), (0, 0)),
        (1, (60, 50), (3, 5), (0,)),
        (1, (50, 60), (3, 5), (0,)),
    ]
    assert found["a_k1", "dip", 0]["batch"] == 2
    assert all(record["device"] == "cpu" and record["restored"] for record in found.values())


def test_every_image_is_solved_by_every_method_with_every_seed(dataset, tmp_path, solver):
    found, _ = run(dataset, tmp_path, methods=("dip", "vdip-std"), seeds=(0, 5), batch_size=9)
    assert len(found) == 4 * 2 * 2
    # Methods are programs of their own; seeds are not.
    assert sorted(size for size, *_ in solver["batches"]) == [2, 2, 6, 6]


def test_too_large_a_batch_is_split(dataset, tmp_path, solver):
    solver["most"] = 1
    found, _ = run(dataset, tmp_path, batch_size=3)
    assert [size for size, *_ in solver["batches"]] == [3, 2, 1, 1, 1, 1]
    assert not any(record["failed"] for record in found.values())


def test_a_batch_for_which_there_is_no_room_is_split_before_it_is_begun(dataset, tmp_path, solver):
    most = 2 * memory((50, 60), (3, 5), CONFIG, 1)
    found, _ = run(dataset, tmp_path, batch_size=3, max_memory=most)
    assert [size for size, *_ in solver["batches"]] == [2, 1, 1]
    assert not any(record["failed"] for record in found.values())


def test_an_image_for_which_there_is_no_room_is_not_begun(dataset, tmp_path, solver):
    found, _ = run(dataset, tmp_path, max_memory=10**6)
    assert not solver["batches"]
    assert all("pixels need about" in record["failed"] for record in found.values())


def test_an_image_too_large_for_memory_fails_alone(dataset, tmp_path, solver):
    solver["most"] = 0
    found, left = run(dataset, tmp_path)
    assert left == 0
    assert all("60x50 pixels need more memory" in found[name, "dip", 0]["failed"] for name in ("a_k1", "b_k1"))


def test_what_the_solver_refuses_is_recorded(dataset, tmp_path, solver):
    solver["refuse"] = "the image must be larger."
    found, _ = run(dataset, tmp_path, batch_size=2)
    assert {record["failed"] for record in found.values()} == {"the image must be larger."}


def test_an_unreadable_image_fails_and_the_rest_of_its_batch_goes_on(dataset, tmp_path, solver):
    (tmp_path / "ground_truth" / "b.png").write_text("no image")
    found, _ = run(dataset, tmp_path, batch_size=3)
    assert "cannot be read" in found["b_k1", "dip", 0]["failed"]
    assert not found["a_k1", "dip", 0]["failed"] and not found["d_k1", "dip", 0]["failed"]


def test_the_kernel_size_can_be_given_for_all(dataset, tmp_path, solver):
    run(dataset, tmp_path, kernel_size=(7, 7))
    assert {size for _, _, size, _ in solver["batches"]} == {(7, 7)}


def test_a_crop_is_solved_and_scored(dataset, tmp_path, solver):
    found, _ = run(dataset, tmp_path, crop=45)
    assert {shape for _, shape, *_ in solver["batches"]} == {(45, 45)}
    assert found["a_k1", "dip", 0]["restored"]["rgb"]["psnr"] > 0


def test_no_image_is_begun_that_would_end_too_late(dataset, tmp_path, solver):
    solver["sleep"] = 0.5
    found, left = run(dataset, tmp_path, max_seconds=0.9)
    # The first takes over half of the time, so that the next would end after it.
    assert (len(found), left) == (1, 3)


def test_pending_are_those_without_a_record_and_those_that_failed(dataset):
    tasks = make_tasks(dataset.pairs, ["dip"], [0])
    done = [{"name": "a_k1", "method": "dip", "seed": 0, "failed": None}]
    done.append({"name": "b_k1", "method": "dip", "seed": 0, "failed": "it broke."})
    done.append({"name": "c_k1", "method": "dip", "seed": 1, "failed": None})
    assert [task.pair.name for task in pending(tasks, done)] == ["b_k1", "c_k1", "d_k1"]


def test_a_line_tells_of_failures_and_warnings():
    base = {"name": "a", "method": "dip", "seed": 0}
    assert summary({**base, "failed": "it broke."}).endswith("FAILED: it broke.")
    score = {"rgb": dict(psnr=20.0, ssim=0.5, shift=(10, 0), at_border=True)}
    line = summary({**base, "failed": None, "blurred": score, "restored": score, "ok": False, "seconds": 3.0})
    assert "WARNING: best shift (10, 0)" in line and "NOT FINITE" in line and line.endswith("3 s")


@pytest.mark.parametrize("kernel", ["no array", np.zeros((3, 5)), np.ones(5), np.full((3, 5), np.nan)], ids=str)
def test_a_kernel_of_another_program_that_is_none_is_refused(dataset, tmp_path, kernel):
    if isinstance(kernel, str):
        (tmp_path / "kernel.npy").write_text(kernel)
    else:
        np.save(tmp_path / "kernel.npy", kernel)
    with pytest.raises(Refusal, match="kernel.npy: expected"):
        evaluation.read_result(tmp_path / "blurred", dataset.pairs[0], "{name}.png", "../kernel.npy")
