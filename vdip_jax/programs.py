"""What `solver` compiles: start, updates and results of one image or a batch. Nowhere else is there a batch axis.

`shards` is 0 for one image and else the number of devices that a batch is spread over.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from vdip_jax import answers, classical, steps
from vdip_jax.answers import Result
from vdip_jax.classical import Start
from vdip_jax.config import Config
from vdip_jax.steps import Problem, State
from vdip_jax.threads import are_best_apart, side_by_side


def start(
    images: jax.Array, kernel: jax.Array | None, kernel_size: tuple[int, int], config: Config, shards: int
) -> Start | None:
    """The classical estimate, if the settings ask for one; with a `kernel` given only the image is estimated."""
    if config.start != "classical":
        return None

    def one(y: jax.Array) -> Start:
        if kernel is None:
            return classical.deblur(y, kernel_size)
        return classical.with_known(y, kernel)

    # A program of several images takes a CPU longer than as many of one.
    if shards == 1 and are_best_apart(images, kernel):
        begun = side_by_side(_over_images(one, 0), list(images))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)
    return _over_images(one, shards)(images)


# Over several devices as one program; on one, each scale's program serves again where it is needed again.
start_apart = jax.jit(start, static_argnames=("kernel_size", "config", "shards"))


@functools.partial(jax.jit, static_argnames=("kernel_size", "config", "shards"))
def begin(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    begun: Start | None,
    kernel_size: tuple[int, int],
    config: Config,
    shards: int,
) -> tuple[Problem, State]:
    """Problem and parameters to set out with, from what was `begun` classically, if anything was."""

    def one(y: jax.Array, key: jax.Array, begun: Start | None) -> tuple[Problem, State]:
        problem = steps.pose(y, key, kernel_size, kernel, begun)
        return problem, steps.start(problem, key, config)

    return _over_images(one, shards)(images, keys, begun)


def updates(problem: Problem, state: State, first: Any, stop: Any, config: Config, shards: int, pace: Any = 1) -> State:
    """The updates from the `first` up to `stop`, counted from 0 and `pace` apart in the schedule."""

    def body(step: jax.Array, state: State) -> State:
        # The place in the schedule has no batch axis: were it batched, every phase's loss would be computed each time.
        update = functools.partial(steps.update, step=step * pace, config=config, pace=pace)
        return _over_images(update, shards)(problem, state)

    return jax.lax.fori_loop(first, stop, body, state)


# A chunk writes its state over the old one; inside somebody else's program there is no buffer to give away.
advance = jax.jit(updates, static_argnames=("config", "shards"), donate_argnames="state")
traced_updates = jax.jit(updates, static_argnames=("config", "shards"))


@functools.partial(jax.jit, static_argnames=("config", "shards"))
def begin_again(problem: Problem, state: State, keys: jax.Array, config: Config, shards: int) -> tuple[Problem, State]:
    """What to go on with after a first attempt: where the start was not doubtful, what was begun with."""

    def one(problem: Problem, state: State, key: jax.Array) -> tuple[Problem, State]:
        problem = steps.after_first_attempt(problem, state.good, config)
        return problem, steps.start(problem, key, config)

    return _over_images(one, shards)(problem, state, keys)


@functools.partial(jax.jit, static_argnames=("config", "shards"))
def started(images: jax.Array, begun: Start, config: Config, shards: int) -> Result:
    """The result of ending with the classical start."""
    return _over_images(functools.partial(answers.of_start, config=config), shards)(images, begun)


@functools.partial(jax.jit, static_argnames=("config", "shards"))
def finish(problem: Problem, state: State, begun: Start | None, config: Config, shards: int) -> Result:
    """The result of ending at `state`."""
    return _over_images(functools.partial(answers.of_run, config=config), shards)(problem, state, begun)


def _over_images(function: Callable, shards: int) -> Callable:
    """`function` of one image, for a batch that is spread over so many devices.

    Products are of float32, but those of the image's network (`Config.precision`).
    """

    def exactly(*arguments: Any) -> Any:
        with jax.default_matmul_precision("float32"):
            return function(*arguments)

    if shards < 2:
        return jax.vmap(exactly) if shards else exactly
    mesh = jax.make_mesh((shards,), ("image",), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:shards])
    spec = PartitionSpec("image")
    # Devices have nothing to tell each other, and the loops below need not know that there are several.
    return jax.shard_map(jax.vmap(exactly), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
