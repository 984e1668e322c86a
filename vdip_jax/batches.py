"""Several photographs at once: those alike go through the solver together."""

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from vdip_jax.answers import Result
from vdip_jax.candidates import Candidates
from vdip_jax.checks import Refusal
from vdip_jax.config import Config
from vdip_jax.cost import largest_side, memory
from vdip_jax.runtime import Reporter, Trace, few_mappings, raise_lost_interrupt
from vdip_jax.solver import Progress, solve

Task = TypeVar("Task")


class OutOfMemory(Exception):
    """The device has too little memory for a batch."""


class Estimate(NamedTuple):
    """One image's `Result` on the host, as NumPy arrays."""

    image: np.ndarray
    std: np.ndarray
    kernel: np.ndarray
    loss: np.ndarray
    ok: np.ndarray
    agreement: np.ndarray
    choice: np.ndarray
    share: np.ndarray
    reserve: np.ndarray
    candidates: Candidates

    @property
    def num_steps(self) -> int:
        """Steps that were made; after a doubtful start those of the last attempt."""
        return int(np.isfinite(self.loss).sum())


def on_host(result: Result, count: int | None) -> list[Estimate]:
    """The images of a result, of a batch of `count` or, with None, of one image."""
    host = jax.tree.map(np.asarray, result)
    parts = [host] if count is None else [jax.tree.map(operator.itemgetter(i), host) for i in range(count)]
    return [Estimate(*part) for part in parts]


def by_known_kernel(image: np.ndarray, kernel: np.ndarray) -> Estimate:
    """The classical estimate of an image [H, W] or [H, W, C] in [0, 1] by a kernel [kh, kw]."""
    y = jnp.asarray(image.reshape(*image.shape[:2], -1))
    return on_host(solve(y, jax.random.key(0), kernel=jnp.asarray(kernel), config=Config.preset("instant")), None)[0]


def room(shape: tuple[int, ...], kernel_size: tuple[int, int], config: Config, limit: int, flag: str) -> int:
    """How many images of a `shape` [H, W] or [H, W, C] can be solved at once within `limit` bytes on each device.

    Raises:
      Refusal: if not even one; it says which size would fit, to be given as `flag`.
    """
    height, width, *channels = shape
    image_size, colors = (height, width), channels[0] if channels else 1
    one = memory(image_size, kernel_size, config, colors)
    if one <= limit:
        # Devices that a CPU is split into share its memory.
        return limit // one * (1 if jax.default_backend() == "cpu" else jax.local_device_count())
    side = largest_side(image_size, kernel_size, config, colors, limit)
    raise Refusal(
        f"{width}x{height} pixels need about {one / 1e9:.1f} GB of memory, and there are {limit / 1e9:.1f}; "
        + (f"give {flag}={side}." if side else "no size fits: take --preset=quick, or --preset=instant.")
    )


def grouped(tasks: Sequence[Task], likeness: Callable[[Task], Hashable], batch_size: int) -> list[list[Task]]:
    """Up to `batch_size` tasks of equal `likeness` together, in the order of each group's first."""
    groups: list[list[Task]] = []
    # The group of each likeness that still has room.
    filling: dict[Hashable, list[Task]] = {}
    for task in tasks:
        key = likeness(task)
        if key not in filling or len(filling[key]) == batch_size:
            filling[key] = []
            groups.append(filling[key])
        filling[key].append(task)
    return groups


def solve_batch(
    images: Sequence[np.ndarray],
    seeds: Sequence[int],
    config: Config,
    title: str,
    keep: Callable[[Progress, Callable[[], list[Estimate]]], bool] | None = None,
    profile: str | None = None,
    **kernel: Any,
) -> list[Estimate]:
    """Solve images [H, W] or [H, W, C] of one shape together, each with the draws of its own seed.

    Args:
      images: in [0, 1].
      seeds: one an image; an image's result does not depend on what it is solved beside.
      config: settings.
      title: what progress is reported under.
      keep: called now and then with the progress and what makes the estimates so far; True ends the run with them.
      profile: folder for a trace of a few steps.
      **kernel: `kernel_size` or `kernel`, as for `solve`.

    Raises:
      OutOfMemory: if the device's memory does not suffice.
    """
    few_mappings()
    keys = [jax.random.key(seed) for seed in seeds]
    y = [jnp.asarray(image.reshape(*image.shape[:2], -1)) for image in images]
    count = None if len(images) == 1 else len(images)
    try:
        with Reporter(title) as report, Trace(profile) as trace:

            def tell(progress: Progress) -> bool:
                raise_lost_interrupt()
                trace(progress)
                report(progress)
                return keep is not None and keep(progress, lambda: on_host(progress.best(), count))

            one = (y[0], keys[0]) if count is None else (jnp.stack(y), jnp.stack(keys))
            return on_host(solve(*one, config=config, callback=tell, **kernel), count)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
            raise OutOfMemory(str(error)) from error
        raise
