"""What bin/deblur is to solve: photographs and kernels, read and checked before any work starts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from vdip_jax import checks, support, triage
from vdip_jax.checks import Refusal
from vdip_jax.config import Config
from vdip_jax.images import find_images
from vdip_jax.photographs import Photo, read_image, read_kernel
from vdip_jax.planning import part_size
from vdip_jax.samples import load_sample
from vdip_jax.solver import check_sizes
from vdip_jax.transfer import TRANSFERS
from vdip_jax.triage import Finding

# Side of the part that the kernel is found on, on a CPU and on anything faster.
_CROP, _CROP_FAST = 400, 1024

_INPUT = flags.DEFINE_multi_string(
    "input", [], "An image, a folder, a glob, or sample:NAME; may be repeated. Also taken as plain arguments."
)
_KERNEL_SIZE = flags.DEFINE_string(
    "kernel_size",
    None,
    "Odd side of the kernel in pixels, or HEIGHTxWIDTH: at least the blur's extent in the image as it is solved; or "
    "auto, which finds it: the default, but for a sample, of which it is known.",
)
_KERNEL = flags.DEFINE_string(
    "kernel", None, "File of a known kernel, .npy [kh, kw] or an image, true convolution; only the image is solved."
)
_INIT_KERNEL = flags.DEFINE_string(
    "init_kernel", None, "File of an estimate of the kernel to set out from, in place of the classical one."
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side",
    0,
    "Shrink a larger image to this many pixels on its longer side; by default its size is kept.",
    lower_bound=0,
)
_CROP_SIDE = flags.DEFINE_integer(
    "crop",
    None,
    "Side in pixels of the part that kernel and network are solved on, the rest being restored with that kernel; "
    f"0 for the whole image, by default {_CROP} on a CPU and {_CROP_FAST} on anything faster.",
    lower_bound=0,
)
_TRANSFER = flags.DEFINE_enum(
    "transfer",
    "auto",
    ("auto", *TRANSFERS),
    "Curve between stored values and light, in which a blur adds up: srgb for photographs, none for images that were "
    "blurred as they are stored; by default none for floating-point files and samples, else srgb.",
)
_FORCE = flags.DEFINE_bool("force", False, "Deblur an image even if it looks sharp, blank or like noise.")

# Flags that `recorded` tells.
RECORDED = ("input", "kernel_size", "kernel", "init_kernel")


class Task(NamedTuple):
    """One photograph to solve.

    Attributes:
      source: as it was asked for.
      photo: its pixels and what belongs to them.
      kernel_size: None if it is to be found.
      transfer: one of `TRANSFERS`.
      finding: what was seen before any work; None if nothing was to be looked at.
      truth: where it is known.
      sharp: why it is to be given back as it is, in words; None if it is to be deblurred.
    """

    source: str
    photo: Photo
    kernel_size: tuple[int, int] | None
    transfer: str
    finding: Finding | None = None
    truth: np.ndarray | None = None
    sharp: str | None = None


def crop_side() -> int:
    """Side in pixels of the part to solve, 0 for all."""
    if _CROP_SIDE.value is None:
        return _CROP if jax.default_backend() == "cpu" else _CROP_FAST
    return _CROP_SIDE.value


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


def _kernel_size(image_size: tuple[int, int], kernel: np.ndarray | None) -> tuple[int, int] | None:
    """The kernel's size for one image: that of a given one, or the flag's; None if it is to be found."""
    if kernel is not None:
        return checks.check_kernel_size(kernel.shape, image_size)
    if _KERNEL_SIZE.value in (None, "auto"):
        return None
    parts = _KERNEL_SIZE.value.lower().split("x")
    whole = [int(part) for part in parts if part.strip().lstrip("+-").isdigit()]
    size: object = _KERNEL_SIZE.value if len(whole) != len(parts) else whole[0] if len(whole) == 1 else tuple(whole)
    return checks.check_kernel_size(size, image_size)


def tasks(arguments: Sequence[str], kernel: np.ndarray | None, config: Config) -> list[Task]:
    """Read every photograph and check it, so that what can fail fails before any work starts."""
    if arguments and _INPUT.value:
        raise Refusal(f"images are given twice, as arguments ({arguments[0]} ...) and by --input; use one of the two.")
    sources = list(arguments) or _INPUT.value or ["sample:clock"]
    found = []
    for source in sources:
        if source.startswith("sample:"):
            found.append(_sample(source, kernel))
            continue
        for path in find_images([source]):
            photo = read_image(path, _MAX_SIDE.value)
            try:
                found.append(_task(str(path), photo, kernel, config))
            except Refusal as refusal:
                raise Refusal(f"{path}: {refusal}") from None
    names = [task.photo.name for task in found]
    for name in names:
        if names.count(name) > 1:
            both = [task.source for task in found if task.photo.name == name]
            raise Refusal(f"{' and '.join(both[:2])} would both be written as {name}.png; solve them in two runs.")
    return found


def _sample(source: str, kernel: np.ndarray | None) -> Task:
    sample = load_sample(source.removeprefix("sample:"))
    size = _kernel_size(sample.photo.pixels.shape[:2], kernel)
    if size is None and _KERNEL_SIZE.value is None:
        size = sample.kernel_size
    transfer = "none" if _TRANSFER.value == "auto" else _TRANSFER.value
    return Task(source, sample.photo, size, transfer, truth=sample.truth)


def _task(source: str, photo: Photo, kernel: np.ndarray | None, config: Config) -> Task:
    height, width = photo.pixels.shape[:2]
    size = _kernel_size((height, width), kernel)
    # The least that would do, where the size is still to be found.
    check_sizes(part_size((height, width), crop_side()), size or (support.SIZES[0],) * 2, config, kernel is not None)
    finding = triage.examine(photo.pixels)
    if not _FORCE.value:
        triage.refuse_hopeless(finding)
    transfer = _TRANSFER.value
    if transfer == "auto":
        transfer = "none" if photo.origin.depth == "float32" else "srgb"
    if _FORCE.value:
        return Task(source, photo, size, transfer)
    sharp = triage.STEEP if finding.kind == "sharp" else None
    return Task(source, photo, size, transfer, finding, sharp=sharp)


def about_kernel(kernel_size: tuple[int, int], kernel: np.ndarray | None) -> dict[str, Any]:
    """What `solve` is told of the kernel."""
    if kernel is None:
        return {"kernel_size": kernel_size}
    return {"kernel" if _INIT_KERNEL.value is None else "init_kernel": kernel}


def recorded(task: Task, kernel_size: tuple[int, int]) -> list[str]:
    """The flags that name a task once more, with the kernel size that it was solved with."""
    source = task.source if task.source.startswith("sample:") else os.path.abspath(task.source)
    for flag in (_KERNEL, _INIT_KERNEL):
        if flag.value is not None:
            return [f"--input={source}", f"--{flag.name}={os.path.abspath(flag.value)}"]
    return [f"--input={source}", f"--kernel_size={kernel_size[0]}x{kernel_size[1]}"]
