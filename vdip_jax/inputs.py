"""What bin/deblur is to solve: photographs and kernels, read and checked before any work starts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from vdip_jax import checks
from vdip_jax.checks import Refusal
from vdip_jax.classical import largest_kernel
from vdip_jax.config import Config
from vdip_jax.images import find_images
from vdip_jax.photographs import Photo, read_image, read_kernel
from vdip_jax.samples import load_sample
from vdip_jax.solver import check_sizes

_DEFAULT_KERNEL_SIZE = 31

_INPUT = flags.DEFINE_multi_string(
    "input", [], "An image, a folder, a glob, or sample:NAME; may be repeated. Also taken as plain arguments."
)
_KERNEL_SIZE = flags.DEFINE_string(
    "kernel_size",
    None,
    "Odd side of the kernel in pixels, or HEIGHTxWIDTH: at least the blur's extent in the image as it is solved; "
    f"by default {_DEFAULT_KERNEL_SIZE}, less for a photograph too small for that, and for a sample what fits it.",
)
_KERNEL = flags.DEFINE_string(
    "kernel", None, "File of a known kernel, .npy [kh, kw] or an image, true convolution; only the image is solved."
)
_INIT_KERNEL = flags.DEFINE_string(
    "init_kernel", None, "File of an estimate of the kernel to set out from, in place of the classical one."
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side",
    1024,
    "Shrink a larger image to this many pixels on its longer side; 0 keeps its size.",
    lower_bound=0,
)

# Flags that `recorded` tells.
RECORDED = ("input", "kernel_size", "kernel", "init_kernel")


class Task(NamedTuple):
    """One photograph to solve: its source as it was asked for, kernel size, and the truth where it is known."""

    source: str
    photo: Photo
    kernel_size: tuple[int, int]
    truth: np.ndarray | None = None


def given_kernel(config: Config) -> np.ndarray | None:
    """The kernel of --kernel or --init_kernel."""
    given = {flag.name: flag.value for flag in (_KERNEL, _INIT_KERNEL, _KERNEL_SIZE) if flag.value is not None}
    if len(given) > 1:
        raise Refusal(
            f"{' and '.join(f'--{name}' for name in given)} contradict each other: a kernel that is given has its "
            f"size, and is known or an estimate; leave one out."
        )
    if not given or "kernel_size" in given:
        return None
    if "init_kernel" in given and config.start != "classical":
        raise Refusal("--init_kernel needs --start=classical, as the presets instant, quick and best have it.")
    ((name, file),) = given.items()
    try:
        return np.asarray(checks.check_kernel(read_kernel(Path(file))), np.float32)
    except Refusal as refusal:
        raise Refusal(f"--{name}={file}: {refusal}") from None


def _kernel_size(
    image_size: tuple[int, int], fitting: int | tuple[int, int], kernel: np.ndarray | None
) -> tuple[int, int]:
    """The kernel's size for one image: that of a given one, the flag's, or `fitting`."""
    size: object = fitting
    if kernel is not None:
        size = kernel.shape
    elif _KERNEL_SIZE.value is not None:
        parts = _KERNEL_SIZE.value.lower().split("x")
        whole = [int(part) for part in parts if part.strip().lstrip("+-").isdigit()]
        size = _KERNEL_SIZE.value if len(whole) != len(parts) else whole[0] if len(whole) == 1 else tuple(whole)
    return checks.check_kernel_size(size, image_size)


def tasks(arguments: Sequence[str], kernel: np.ndarray | None, config: Config) -> list[Task]:
    """Read every photograph and check it, so that what can fail fails before any work starts."""
    if arguments and _INPUT.value:
        raise Refusal(f"images are given twice, as arguments ({arguments[0]} ...) and by --input; use one of the two.")
    sources = list(arguments) or _INPUT.value or ["sample:clock"]
    found = []
    for source in sources:
        if source.startswith("sample:"):
            sample = load_sample(source.removeprefix("sample:"))
            size = _kernel_size(sample.photo.pixels.shape[:2], sample.kernel_size, kernel)
            found.append(Task(source, sample.photo, size, sample.truth))
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
            found.append(Task(str(path), photo, size))
    names = [task.photo.name for task in found]
    for name in names:
        if names.count(name) > 1:
            both = [task.source for task in found if task.photo.name == name]
            raise Refusal(f"{' and '.join(both[:2])} would both be written as {name}.png; solve them in two runs.")
    return found


def about_kernel(task: Task, kernel: np.ndarray | None) -> dict[str, Any]:
    """What `solve` is told of the kernel."""
    if kernel is None:
        return {"kernel_size": task.kernel_size}
    return {"kernel" if _INIT_KERNEL.value is None else "init_kernel": kernel}


def recorded(task: Task) -> list[str]:
    """The flags that name a task once more."""
    source = task.source if task.source.startswith("sample:") else os.path.abspath(task.source)
    for flag in (_KERNEL, _INIT_KERNEL):
        if flag.value is not None:
            return [f"--input={source}", f"--{flag.name}={os.path.abspath(flag.value)}"]
    return [f"--input={source}", f"--kernel_size={task.kernel_size[0]}x{task.kernel_size[1]}"]
