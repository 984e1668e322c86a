"""bin/deblur: blurred photographs in, sharp images, kernels and uncertainty maps out."""

import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vdip_jax import METHODS, Config, Refusal, __version__, inputs, metrics, options, remarks
from vdip_jax.batches import Estimate, OutOfMemory, grouped, room, solve_batch
from vdip_jax.inputs import Task
from vdip_jax.results import final_losses, finite, result_paths, write_result
from vdip_jax.runtime import describe, use_compile_cache
from vdip_jax.solver import Progress

_OUTPUT = flags.DEFINE_string("output", "deblurred", "Folder for the results; made if it is not there.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results that exist.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.", lower_bound=0)
_TIME_BUDGET = flags.DEFINE_float(
    "time_budget", None, "Seconds an image: after them the best so far is the answer.", lower_bound=0
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "Folder for a trace of a few steps of each batch, as TensorBoard, XProf and Perfetto open it."
)
flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(inputs)

# The best so far is written anew at most this often, and never for more than a tenth of the time.
_SECONDS_A_PREVIEW = 20.0


def run() -> None:
    """Entry point of the console script."""
    options.run_program(main, "deblur", sys.modules[__name__])


def main(argv: Sequence[str]) -> None:
    """Check everything, then solve. Exits 0, 1 for refused input, 2 if an image was not finished, 130 on Ctrl-C."""
    try:
        config = options.make_config(_METHOD.value)
        kernel = inputs.given_kernel(config)
        tasks = inputs.tasks(argv[1:], kernel, config)
        batch_size = min(options.BATCH_SIZE.value, _room(tasks, config))
        output = _output_folder(tasks)
        if batch_size < min(options.BATCH_SIZE.value, len(tasks)):
            print(f"deblur: batches of {batch_size}, for more there is no room in memory.", file=sys.stderr)
    except Refusal as refusal:
        sys.exit(f"deblur: {refusal}")
    if options.COMPILE_CACHE.value:
        use_compile_cache()
    try:
        batches = grouped(tasks, _likeness, batch_size)
        finished = [_solve_batch(batch, kernel, config, output) for batch in batches]
    except KeyboardInterrupt:
        print(f"deblur: stopped; {output} holds images finished before and the best so far.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0 if all(finished) else 2)


def _output_folder(tasks: Sequence[Task]) -> Path:
    """The folder for results; made only once everything else has been found good."""
    folder = Path(_OUTPUT.value)
    paths = [path for task in tasks for path in result_paths(folder, task.photo)]
    existing = next((path for path in paths if path.exists()), None)
    if existing is not None and not _OVERWRITE.value:
        raise Refusal(f"{existing} exists already; give --overwrite to replace it, or another --output.")
    if _PROFILE.value is not None:
        _make_folder(Path(_PROFILE.value), "--profile")
    _make_folder(folder, "--output")
    return folder


def _make_folder(folder: Path, flag: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise Refusal(f"{flag}={folder}: expected a folder that can be written to ({error.strerror}).") from None


def _room(tasks: Sequence[Task], config: Config) -> int:
    """How many of the photographs fit into memory at once, whichever they are; refused if one alone does not."""
    limit, counts = options.max_memory(), []
    for task in tasks:
        try:
            counts.append(room(task.photo.pixels.shape, task.kernel_size, config, limit, "--max_side"))
        except Refusal as refusal:
            raise Refusal(f"{task.source}: {refusal}") from None
    return min(counts)


def _likeness(task: Task) -> Hashable:
    """What tasks must have in common to be solved together."""
    return task.photo.pixels.shape, task.kernel_size


def _solve_batch(batch: Sequence[Task], kernel: np.ndarray | None, config: Config, output: Path) -> bool:
    """Solve images of one shape together and write their files, early ones too; True if all came out finite."""
    for task in batch:
        for note in task.photo.notes:
            print(f"{task.photo.name}: {note}", file=sys.stderr)
    title = ", ".join(task.photo.name for task in batch)
    began = time.perf_counter()
    written, cost = 0.0, 0.0

    def keep(progress: Progress, estimates: Callable[[], list[Estimate]]) -> bool:
        """Write the best so far now and then; True when time is up."""
        nonlocal written, cost
        seconds = time.perf_counter() - began
        due = seconds - written >= max(_SECONDS_A_PREVIEW, 10 * cost)
        if progress.step < progress.num_steps and (due or progress.phase == "start"):
            for task, result in zip(batch, estimates(), strict=True):
                write_result(output, task.photo, result, _record(task, result, config, seconds, progress.step))
            written = time.perf_counter() - began
            cost = written - seconds
        return _TIME_BUDGET.value is not None and time.perf_counter() - began >= _TIME_BUDGET.value

    try:
        images = [task.photo.pixels for task in batch]
        # Every image has the same seed: its result does not depend on what else is in the run.
        seeds = [_SEED.value] * len(batch)
        results = solve_batch(
            images, seeds, config, title, keep, _PROFILE.value, **inputs.about_kernel(batch[0], kernel)
        )
    except OutOfMemory:
        height, width = batch[0].photo.pixels.shape[:2]
        hint = "a smaller --batch_size" if len(batch) > 1 else "a smaller --max_side"
        print(
            f"deblur: {title}: {width}x{height} pixels need more memory than there is; give {hint}.",
            file=sys.stderr,
        )
        return False
    seconds = time.perf_counter() - began
    for task, result in zip(batch, results, strict=True):
        record = _record(task, result, config, seconds, int(np.isfinite(result.loss).sum()))
        files = write_result(output, task.photo, result, record)
        _tell(task, result, config, record)
        print(f"{task.photo.name}: {seconds:.0f} s, wrote in {output}: {' '.join(path.name for path in files)}")
    return all(bool(result.ok) for result in results)


def _record(task: Task, result: Estimate, config: Config, seconds: float, num_steps: int) -> dict[str, Any]:
    """All that is told of one image's result, after `num_steps` steps, ready for JSON."""
    recorded = inputs.recorded(task) + [
        f"--{flag.name}={_flag_text(flag.value)}"
        for flag in options.own_flags(sys.modules[__name__]).values()
        if flag.name not in ("overwrite", "profile", *inputs.RECORDED) and flag.value is not None
    ]
    record: dict[str, Any] = {
        "version": __version__,
        "source": task.source,
        "notes": task.photo.notes,
        "ok": bool(result.ok),
        "seed": _SEED.value,
        "kernel_size": task.kernel_size,
        "config": vars(config),
        "flags": recorded,
        "seconds": round(seconds, 2),
        "steps": num_steps,
        "final_loss": final_losses(result.loss, config),
        "answer": remarks.answer(result, config),
        "agreement": finite(result.agreement),
        "criterion": [finite(value) for value in result.candidates.criterion],
        **describe(),
    }
    if task.truth is not None:
        y = task.photo.pixels
        images = {"blurred": y, "restored": result.image.reshape(y.shape)}
        scores = {name: metrics.score(image, task.truth)._asdict() for name, image in images.items()}
        record["score"] = {"protocol": "rgb", **scores}
    return record


def _tell(task: Task, result: Estimate, config: Config, record: dict[str, Any]) -> None:
    """Say what became of an image."""
    name = task.photo.name
    for doubt in remarks.doubts(result, config):
        print(f"{name}: {doubt}", file=sys.stderr)
    if config.start == "classical":
        print(f"{name}: the answer is {record['answer']}")
    if "score" in record:
        before, after = record["score"]["blurred"], record["score"]["restored"]
        print(
            f"{name}: PSNR {before['psnr']:.2f} -> {after['psnr']:.2f} dB ({after['psnr'] - before['psnr']:+.2f}), "
            f"SSIM {before['ssim']:.3f} -> {after['ssim']:.3f}, protocol rgb"
        )


def _flag_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run()
