"""bin/deblur: blurred photographs in, sharp images, kernels and uncertainty maps out."""

import difflib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from vdip_jax import METHODS, PRESETS, Config, Refusal, __version__, checks, metrics, solve
from vdip_jax.images import (
    Photo,
    find_images,
    read_image,
)
from vdip_jax.results import Estimate, final_losses, result_paths, write_result
from vdip_jax.runtime import Reporter, describe, use_compile_cache
from vdip_jax.samples import load_sample

_DEFAULT_KERNEL_SIZE = 31

_INPUT = flags.DEFINE_multi_string(
    "input", [], "An image, a folder, a glob, or sample:NAME; may be repeated. Also taken as plain arguments."
)
_OUTPUT = flags.DEFINE_string("output", "deblurred", "Folder for the results; made if it is not there.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results that exist.")
_PRESET = flags.DEFINE_string("preset", "quick", f"Settings to start from: {', '.join(PRESETS)}.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_KERNEL_SIZE = flags.DEFINE_string(
    "kernel_size",
    None,
    "Odd side of the kernel in pixels, or HEIGHTxWIDTH: at least the blur's extent in the image as it is solved; "
    f"by default {_DEFAULT_KERNEL_SIZE}, and for a sample what fits it.",
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
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images of one size to solve at once.", lower_bound=1)
_COMPILE_CACHE = flags.DEFINE_bool("compile_cache", True, "Keep compiled programs for later runs.")
_PREFIT_STEPS = flags.DEFINE_integer("prefit_steps", None, "Steps of the prefit phase; by default the preset's.")
_VARIATIONAL_STEPS = flags.DEFINE_integer(
    "variational_steps", None, "Steps of the variational phase; by default the preset's."
)
_SSIM_STEPS = flags.DEFINE_integer("ssim_steps", None, "Steps of the SSIM phase; by default the preset's.")
_CHANNELS = flags.DEFINE_integer("channels", None, "Width of the image network; by default the preset's.")
_LR_IMAGE = flags.DEFINE_float("lr_image", None, "Learning rate of the image network; by default the preset's.")
_LR_KERNEL = flags.DEFINE_float("lr_kernel", None, "Learning rate of the kernel network; by default the preset's.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Monte Carlo samples a step; by default the preset's.")

_OVERRIDES = (_PREFIT_STEPS, _VARIATIONAL_STEPS, _SSIM_STEPS, _CHANNELS, _LR_IMAGE, _LR_KERNEL, _NUM_SAMPLES)


class Task(NamedTuple):
    """One photograph to solve: its source as it was asked for, kernel size, and the truth where it is known."""

    source: str
    photo: Photo
    kernel_size: tuple[int, int]
    truth: np.ndarray | None = None


def run() -> None:
    """Entry point of the console script."""
    # Else absl prints JAX's search for devices.
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=_parse)


def main(argv: Sequence[str]) -> None:
    """Check everything, then solve. Exits 0, 1 for refused input, 2 if an image was not finished, 130 on Ctrl-C."""
    try:
        config = _config()
        kernel = _known_kernel()
        tasks = _tasks(argv[1:], kernel, config)
        output = _output_folder(tasks)
    except Refusal as refusal:
        sys.exit(f"deblur: {refusal}")
    if _COMPILE_CACHE.value:
        use_compile_cache()
    try:
        finished = [_solve_batch(batch, kernel, config, output) for batch in _batches(tasks)]
    except KeyboardInterrupt:
        print(f"deblur: stopped; images finished before are in {output}.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0 if all(finished) else 2)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        message = " ".join(str(error).split())
        # absl names the nearest flag for close misspellings only.
        if "Unknown command line flag" in message and "Did you mean" not in message:
            unknown = message.split("'")[1]
            near = difflib.get_close_matches(unknown, _own_flags(), n=1, cutoff=0.3)
            message += f" Did you mean: {near[0]} ?" if near else ""
        sys.exit(f"deblur: {message.rstrip(' .')}; see bin/deblur --help.")


def _own_flags() -> dict[str, flags.Flag]:
    """This program's own flags by name, without absl's."""
    return {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(sys.modules[__name__])}


def _config() -> Config:
    overrides = {holder.name: holder.value for holder in _OVERRIDES if holder.value is not None}
    config = Config.preset(_PRESET.value, method=_METHOD.value, **overrides)
    if _NUM_SAMPLES.value is not None and _NUM_SAMPLES.value > 1 and not METHODS[config.method].gaussian:
        raise Refusal(
            f"--num_samples needs a method with a Gaussian q(x), got --method={config.method}; "
            f"leave it out or take vdip-sparse."
        )
    return config


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
                size = _kernel_size(photo.pixels.shape[:2], _DEFAULT_KERNEL_SIZE, kernel)
                checks.check_canvas(photo.pixels.shape[:2], size, *config.least_canvas)
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise Refusal(f"--output={folder}: expected a folder that can be written to ({error.strerror}).") from None
    return folder


def _batches(tasks: Sequence[Task]) -> list[list[Task]]:
    """Neighbouring tasks of one shape and kernel size, up to --batch_size together."""
    batches: list[list[Task]] = []
    for task in tasks:
        alike = batches and (batches[-1][0].photo.pixels.shape, batches[-1][0].kernel_size) == (
            task.photo.pixels.shape,
            task.kernel_size,
        )
        if alike and len(batches[-1]) < _BATCH_SIZE.value:
            batches[-1].append(task)
        else:
            batches.append([task])
    return batches


def _solve_batch(batch: Sequence[Task], kernel: np.ndarray | None, config: Config, output: Path) -> bool:
    """Solve images of one shape together and write their files; True if all came out finite."""
    for task in batch:
        for note in task.photo.notes:
            print(f"{task.photo.name}: {note}", file=sys.stderr)
    height, width = batch[0].photo.pixels.shape[:2]
    y = jnp.stack([jnp.asarray(task.photo.pixels.reshape(height, width, -1)) for task in batch])
    # Every image has the same key: its result does not depend on what it is solved beside.
    keys = jnp.stack([jax.random.key(_SEED.value)] * len(batch))
    title = ", ".join(task.photo.name for task in batch)
    began = time.perf_counter()
    known = {"kernel_size": batch[0].kernel_size} if kernel is None else {"kernel": jnp.asarray(kernel)}
    try:
        with Reporter(title) as report:
            if len(batch) == 1:
                single = solve(y[0], keys[0], config=config, callback=report, **known)
                results = [Estimate(*map(np.asarray, single))]
            else:
                whole = Estimate(*map(np.asarray, solve(y, keys, config=config, callback=report, **known)))
                results = [Estimate(*fields) for fields in zip(*whole, strict=True)]
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
            raise
        hint = "a smaller --batch_size" if len(batch) > 1 else "a smaller --max_side"
        print(
            f"deblur: {title}: {width}x{height} pixels need more memory than there is; give {hint}.",
            file=sys.stderr,
        )
        return False
    seconds = time.perf_counter() - began
    for task, result in zip(batch, results, strict=True):
        _write(task, result, config, output, seconds)
    return all(bool(result.ok) for result in results)


def _write(task: Task, result: Estimate, config: Config, output: Path, seconds: float) -> None:
    """Write one image's files and say where they are and, if the truth is known, what was gained."""
    source = task.source if task.source.startswith("sample:") else os.path.abspath(task.source)
    recorded = [f"--input={source}"] + [
        f"--{flag.name}={_flag_text(flag.value)}"
        for flag in _own_flags().values()
        if flag.name not in ("input", "overwrite", "kernel_size", "kernel") and flag.value is not None
    ]
    if _KERNEL.value is None:
        recorded.append(f"--kernel_size={task.kernel_size[0]}x{task.kernel_size[1]}")
    else:
        recorded.append(f"--kernel={os.path.abspath(_KERNEL.value)}")
    name, y = task.photo.name, task.photo.pixels
    record: dict[str, object] = {
        "version": __version__,
        "source": task.source,
        "notes": task.photo.notes,
        "ok": bool(result.ok),
        "seed": _SEED.value,
        "kernel_size": task.kernel_size,
        "config": vars(config),
        "flags": recorded,
        "seconds": round(seconds, 2),
        "final_loss": final_losses(result.loss, config),
        **describe(),
    }
    if task.truth is not None:
        before, after = metrics.score(y, task.truth), metrics.score(result.image.reshape(y.shape), task.truth)
        record["score"] = {"protocol": "rgb", "blurred": before._asdict(), "restored": after._asdict()}
        print(
            f"{name}: PSNR {before.psnr:.2f} -> {after.psnr:.2f} dB ({after.psnr - before.psnr:+.2f}), "
            f"SSIM {before.ssim:.3f} -> {after.ssim:.3f}, protocol rgb"
        )
    written = write_result(output, task.photo, result, record)
    if not result.ok:
        print(f"{name}: an update was not finite; these files hold the last good state.", file=sys.stderr)
    print(f"{name}: {seconds:.0f} s, wrote in {output}: {' '.join(path.name for path in written)}")


def _flag_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run()
