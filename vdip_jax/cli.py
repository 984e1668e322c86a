"""bin/deblur: blurred photographs in, sharp images, kernels and uncertainty maps out."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from vdip_jax import METHODS, Config, Refusal, __version__, checks, metrics, options, remarks
from vdip_jax.batches import Estimate, OutOfMemory, grouped, room, solve_batch
from vdip_jax.classical import largest_kernel
from vdip_jax.images import Photo, find_images, read_image
from vdip_jax.results import final_losses, finite, result_paths, write_result
from vdip_jax.runtime import describe, use_compile_cache
from vdip_jax.samples import load_sample
from vdip_jax.solver import Progress, check_sizes

_DEFAULT_KERNEL_SIZE = 31

_INPUT = flags.DEFINE_multi_string(
    "input", [], "An image, a folder, a glob, or sample:NAME; may be repeated. Also taken as plain arguments."
)
_OUTPUT = flags.DEFINE_string("output", "deblurred", "Folder for the results; made if it is not there.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results that exist.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_KERNEL_SIZE = flags.DEFINE_string(
    "kernel_size",
    None,
    "Odd side of the kernel in pixels, or HEIGHTxWIDTH: at least the blur's extent in the image as it is solved; "
    f"by default {_DEFAULT_KERNEL_SIZE}, less for a photograph too small for that, and for a sample what fits it.",
)
_KERNEL = flags.DEFINE_string(
    "kernel", None, "A known kernel, .npy [kh, kw], true convolution; only the image is solved."
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side",
    1024,
    "Shrink a larger image to this many pixels on its longer side; 0 keeps its size.",
    lower_bound=0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.", lower_bound=0)
_TIME_BUDGET = flags.DEFINE_float(
    "time_budget", None, "Seconds an image: after them the best so far is the answer.", lower_bound=0
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "Folder for a trace of a few steps of each batch, as TensorBoard, XProf and Perfetto open it."
)
flags.adopt_module_key_flags(options)

# The best so far is written anew at most this often, and never for more than a tenth of the time.
_SECONDS_A_PREVIEW = 20.0


class Task(NamedTuple):
    """One photograph to solve: its source as it was asked for, kernel size, and the truth where it is known."""

    source: str
    photo: Photo
    kernel_size: tuple[int, int]
    truth: np.ndarray | None = None


def run() -> None:
    """Entry point of the console script."""
    options.run_program(main, "deblur", sys.modules[__name__])


def main(argv: Sequence[str]) -> None:
    """Check everything, then solve. Exits 0, 1 for refused input, 2 if an image was not finished, 130 on Ctrl-C."""
    try:
        config = options.make_config(_METHOD.value)
        kernel = _known_kernel()
        tasks = _tasks(argv[1:], kernel, config)
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


def _known_kernel() -> np.ndarray | None:
    if _KERNEL.value is None:
        return None
    if _KERNEL_SIZE.value is not None:
        raise Refusal("--kernel and --kernel_size contradict each other: a known kernel has its size; leave one out.")
    try:
        kernel = np.load(_KERNEL.value)
    except (OSError, ValueError) as error:
        raise Refusal(f"--kernel={_KERNEL.value}: expected an .npy file of a kernel [kh, kw] ({error}).") from None
    return np.asarray(checks.check_kernel(kernel), np.float32)


def _kernel_size(
    image_size: tuple[int, int], fitting: int | tuple[int, int], kernel: np.ndarray | None
) -> tuple[int, int]:
    """The kernel's size for one image: that of a known one, the flag's, or `fitting`."""
    size: object = fitting
    if kernel is not None:
        size = kernel.shape
    elif _KERNEL_SIZE.value is not None:
        parts = _KERNEL_SIZE.value.lower().split("x")
        whole = [int(part) for part in parts if part.strip().lstrip("+-").isdigit()]
        size = _KERNEL_SIZE.value if len(whole) != len(parts) else whole[0] if len(whole) == 1 else tuple(whole)
    return checks.check_kernel_size(size, image_size)


def _tasks(arguments: Sequence[str], kernel: np.ndarray | None, config: Config) -> list[Task]:
    """Read every photograph and check it, so that what can fail fails before any work starts."""
    if arguments and _INPUT.value:
        raise Refusal(f"images are given twice, as arguments ({arguments[0]} ...) and by --input; use one of the two.")
    sources = list(arguments) or _INPUT.value or ["sample:clock"]
    tasks = []
    for source in sources:
        if source.startswith("sample:"):
            sample = load_sample(source.removeprefix("sample:"))
            size = _kernel_size(sample.photo.pixels.shape[:2], sample.kernel_size, kernel)
            tasks.append(Task(source, sample.photo, size, sample.truth))
            continue
        for path in find_images([source]):
            photo = read_image(path, _MAX_SIDE.value)
            try:
                height, width = photo.pixels.shape[:2]
                fitting = min(_DEFAULT_KERNEL_SIZE, largest_kernel((height, width)))
                size = _kernel_size((height, width), fitting, kernel)
                check_sizes((height, width), size, config, kernel is not None)
            except Refusal as refusal:
                raise Refusal(f"{path}: {refusal}") from None
            tasks.append(Task(str(path), photo, size))
    names = [task.photo.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            both = [task.source for task in tasks if task.photo.name == name]
            raise Refusal(f"{' and '.join(both[:2])} would both be written as {name}.png; solve them in two runs.")
    return tasks


def _output_folder(tasks: Sequence[Task]) -> Path:
    """The folder for results; made only once everything else has been found good."""
    folder = Path(_OUTPUT.value)
    paths = [path for task in tasks for path in result_paths(folder, task.photo.name)]
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

    known: dict[str, Any] = {"kernel_size": batch[0].kernel_size} if kernel is None else {"kernel": kernel}
    try:
        images = [task.photo.pixels for task in batch]
        # Every image has the same seed: its result does not depend on what else is in the run.
        seeds = [_SEED.value] * len(batch)
        results = solve_batch(images, seeds, config, title, keep, _PROFILE.value, **known)
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
    source = task.source if task.source.startswith("sample:") else os.path.abspath(task.source)
    recorded = [f"--input={source}"] + [
        f"--{flag.name}={_flag_text(flag.value)}"
        for flag in options.own_flags(sys.modules[__name__]).values()
        if flag.name not in ("input", "overwrite", "profile", "kernel_size", "kernel") and flag.value is not None
    ]
    if _KERNEL.value is None:
        recorded.append(f"--kernel_size={task.kernel_size[0]}x{task.kernel_size[1]}")
    else:
        recorded.append(f"--kernel={os.path.abspath(_KERNEL.value)}")
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
