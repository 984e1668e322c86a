"""Solving a data set: which images by which methods and seeds, in batches, continuing where it stopped."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vdip_jax import metrics, records
from vdip_jax.batches import Estimate, OutOfMemory, grouped, room, solve_batch
from vdip_jax.checks import Refusal
from vdip_jax.config import Config
from vdip_jax.datasets import Case, Dataset, Pair, cropped, image_header, load_case
from vdip_jax.metrics import PROTOCOLS
from vdip_jax.photographs import read_image
from vdip_jax.quality import BrisqueModel
from vdip_jax.records import Record
from vdip_jax.results import final_losses, finite
from vdip_jax.scoring import Picture, assess

Tell = Callable[[str], None]


class Task(NamedTuple):
    """One solve: an image, a method and a seed."""

    pair: Pair
    method: str
    seed: int


class Plan(NamedTuple):
    """How to solve: a `Config` for each method, and what holds for all.

    Attributes:
      configs: settings by what their results are listed under, `Config.title`.
      kernel_size: (height, width) for every image, or None for the size of its true kernel.
      crop: side in pixels of the central square to solve, 0 for the whole image.
      batch_size: images of one size to solve at once.
      max_memory: bytes that a device may use; larger batches are split, larger images fail.
      max_seconds: no batch is begun that would end later than this.
      brisque_model: for the no-reference score BRISQUE.
      about: what every record says of the run.
    """

    configs: Mapping[str, Config]
    kernel_size: tuple[int, int] | None = None
    crop: int = 0
    batch_size: int = 1
    max_memory: int = sys.maxsize
    max_seconds: float = float("inf")
    brisque_model: BrisqueModel | None = None
    about: Mapping[str, Any] = {}


def make_tasks(pairs: Iterable[Pair], methods: Sequence[str], seeds: Sequence[int]) -> list[Task]:
    """Every image by every method with every seed, image by image."""
    return [Task(pair, method, seed) for seed in seeds for pair in pairs for method in methods]


def pending(tasks: Sequence[Task], done: Sequence[Record]) -> list[Task]:
    """Tasks without a record, and those that failed, to be tried again."""
    finished = {(record["name"], record["method"], record["seed"]) for record in done if not record["failed"]}
    return [task for task in tasks if (task.pair.name, task.method, task.seed) not in finished]


def solve_tasks(dataset: Dataset, tasks: Sequence[Task], plan: Plan, folder: Path, tell: Tell) -> int:
    """Solve, score and record the tasks; return how many were left for want of time."""
    began, pace, left = time.monotonic(), 0.0, len(tasks)
    for group in grouped(tasks, lambda task: _likeness(task, plan), plan.batch_size):
        # Seconds a pixel of the slowest batch so far foretell the next one.
        pixels = sum(_pixels(task) for task in group)
        if time.monotonic() - began + pace * pixels > plan.max_seconds:
            return left
        started = time.monotonic()
        for record, picture in _solve_group(dataset, group, plan):
            records.write_record(folder, record, picture)
            left -= 1
            tell(f"{len(tasks) - left}/{len(tasks)} {summary(record)}")
        pace = max(pace, (time.monotonic() - started) / max(pixels, 1))
    return left


def score_pictures(
    dataset: Dataset,
    pairs: Sequence[Pair],
    find: Callable[[Pair], Picture],
    method: str,
    plan: Plan,
    folder: Path,
    tell: Tell,
) -> None:
    """Score pictures that exist: `find` reads that of a pair; none is solved for."""
    for number, pair in enumerate(pairs, 1):
        task = Task(pair, method, 0)
        try:
            case = load_case(dataset, pair)
            record = _record(task, plan, scores=assess(case, find(pair), plan.brisque_model))
        except Refusal as refusal:
            record = _record(task, plan, failed=str(refusal))
        records.write_record(folder, record)
        tell(f"{number}/{len(pairs)} {summary(record)}")


def summary(record: Record) -> str:
    """A record in a line."""
    title = f"{record['name']} {record['method']} seed {record['seed']}"
    if record["failed"]:
        return f"{title}: FAILED: {record['failed']}"
    parts = []
    if "restored" in record:
        after = record["restored"]["rgb"]
        parts.append(f"{after['psnr']:.2f} dB / {after['ssim']:.3f} ({records.gain(record):+.2f} dB), protocol rgb")
        if after["at_border"]:
            parts.append(f"WARNING: best shift {after['shift']} on the border of the search")
    if "kernel_error" in record:
        parts.append(f"kernel correlation {record['kernel_error']['ncc']:.3f}")
    if record.get("ok") is False:
        parts.append("NOT FINITE: the last good state")
    if "seconds" in record:
        parts.append(f"{record['seconds']:.0f} s")
    return f"{title}: {', '.join(parts)}"


def _solve_group(dataset: Dataset, group: Sequence[Task], plan: Plan) -> Iterable[tuple[Record, Picture | None]]:
    """Records and pictures of tasks that are solved together, whatever becomes of each."""
    cases: dict[Task, Case] = {}
    for task in group:
        try:
            cases[task] = cropped(load_case(dataset, task.pair), plan.crop)
        except Refusal as refusal:
            yield _record(task, plan, failed=str(refusal)), None
    if not cases:
        return
    first, config = next(iter(cases.values())), plan.configs[next(iter(cases)).method]
    if plan.kernel_size is None:
        assert first.kernel is not None
    size = plan.kernel_size or first.kernel.shape  # type: ignore[union-attr]
    title = ", ".join(f"{task.pair.name} {task.method}" for task in cases)
    started = time.perf_counter()
    try:
        if room(first.y.shape, size, config, plan.max_memory, "--crop") < len(cases):
            raise OutOfMemory
        images, seeds = [case.y for case in cases.values()], [task.seed for task in cases]
        estimates = solve_batch(images, seeds, config, title, kernel_size=size)
    except OutOfMemory:
        if len(cases) > 1:
            middle = (len(cases) + 1) // 2
            for part in (list(cases)[:middle], list(cases)[middle:]):
                yield from _solve_group(dataset, part, plan)
        else:
            height, width = first.y.shape[:2]
            reason = f"{width}x{height} pixels need more memory than there is; give a --crop."
            yield _record(next(iter(cases)), plan, failed=reason), None
        return
    except Refusal as refusal:
        for task in cases:
            yield _record(task, plan, failed=str(refusal)), None
        return
    seconds = (time.perf_counter() - started) / len(cases)
    for (task, case), estimate in zip(cases.items(), estimates, strict=True):
        picture = Picture(estimate.image.reshape(case.y.shape), estimate.std.reshape(case.y.shape), estimate.kernel)
        solved = {
            "ok": bool(estimate.ok),
            "kernel_size": list(estimate.kernel.shape),
            "seconds": round(seconds, 2),
            "batch": len(cases),
            "final_loss": final_losses(estimate.loss, config),
            "agreement": finite(estimate.agreement),
            "choice": int(estimate.choice),
            "share": float(estimate.share),
            "reserve": float(estimate.reserve),
            "candidates": _candidates(case, estimate),
        }
        scores = assess(case, picture, plan.brisque_model)
        yield _record(task, plan, solved=solved, scores=scores), picture


def _candidates(case: Case, estimate: Estimate) -> list[dict[str, Any]]:
    """What the answer was chosen from, by the criterion, and what each was worth."""
    found = []
    for image, kernel, criterion in zip(*estimate.candidates, strict=True):
        scores: dict[str, Any] = {"criterion": finite(criterion)}
        if case.truth is not None:
            shaped = image.reshape(case.truth.shape)
            scores["psnr"] = {protocol: metrics.score(shaped, case.truth, protocol).psnr for protocol in PROTOCOLS}
        if case.kernel is not None:
            scores["ncc"] = metrics.kernel_error(kernel, case.kernel).ncc
        found.append(scores)
    return found


def _record(
    task: Task,
    plan: Plan,
    failed: str | None = None,
    solved: Mapping[str, Any] = {},
    scores: Mapping[str, Any] = {},
) -> Record:
    pair = task.pair
    identity = {"name": pair.name, "image": pair.image, "kernel": pair.kernel, "category": pair.category}
    return {**identity, "method": task.method, "seed": task.seed, "failed": failed, **solved, **scores, **plan.about}


def _likeness(task: Task, plan: Plan) -> tuple[Any, ...]:
    """What tasks must have in common to be solved together; those with a problem are alone."""
    pair = task.pair
    try:
        image = image_header(pair.blurred)
        kernel = image_header(pair.kernel_file)[:2] if plan.kernel_size is None and pair.kernel_file else None
    except Refusal:
        return (task,)
    return (task,) if pair.problem else (image, kernel, task.method)


def _pixels(task: Task) -> int:
    try:
        height, width, _ = image_header(task.pair.blurred)
    except Refusal:
        return 0
    return height * width


def read_result(folder: Path, pair: Pair, image: str, kernel: str) -> Picture:
    """The picture that another program, or an earlier run, made of a pair.

    Args:
      folder: holds the files.
      pair: the blurred image.
      image, kernel: the files' names, with {name}, {image} and {kernel} for those of the pair; the kernel's is
        optional, an .npy in the convention of true convolution.

    Raises:
      Refusal: if there is no picture, or it or the kernel cannot be read.
    """
    fields = {"name": pair.name, "image": pair.image, "kernel": pair.kernel}
    path = folder / image.format(**fields)
    if not path.exists():
        raise Refusal(f"expected the result {path.name}, found none.")
    kernel_path = folder / kernel.format(**fields) if kernel else None
    if kernel_path is None or not kernel_path.exists():
        return Picture(read_image(path).pixels)
    return Picture(read_image(path).pixels, None, _read_kernel(kernel_path))


def _read_kernel(path: Path) -> np.ndarray:
    try:
        kernel = np.load(path)
    except (OSError, ValueError) as error:
        raise Refusal(f"{path.name}: expected an .npy file of a kernel [kh, kw] ({error}).") from None
    if kernel.ndim != 2 or not np.isfinite(kernel).all() or not kernel.sum() > 0:
        raise Refusal(f"{path.name}: expected a finite kernel [kh, kw] with a positive sum, got shape {kernel.shape}.")
    return kernel
