"""solve(y, key): what may be asked, then the programs one after another, in chunks."""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import checks, programs, pyramid, steps
from vdip_jax.answers import Result
from vdip_jax.classical import Start
from vdip_jax.config import Config
from vdip_jax.steps import Problem, State

# A chunk should last about this long: long enough to cost nothing, short enough for progress and Ctrl-C.
_SECONDS_A_CHUNK = 2.0


class Progress(NamedTuple):
    """What a callback is told after each chunk: `step` of `num_steps` done, `loss` and `ok` scalars or [B].

    After a classical start the phase is 'start' and the step 0; where that is doubtful, for an image of a batch at
    least, a first attempt comes before the steps of the schedule (`steps.first_attempt`). `best()` makes the `Result`
    that ending here would give, to be called before the callback returns.
    """

    phase: str
    step: int
    num_steps: int
    loss: jax.Array
    ok: jax.Array
    best: Callable[[], Result]


def solve(
    y: jax.Array,
    key: jax.Array,
    *,
    kernel_size: int | tuple[int, int] | None = None,
    kernel: jax.Array | None = None,
    init_kernel: jax.Array | None = None,
    config: Config | None = None,
    callback: Callable[[Progress], bool | None] | None = None,
    chunk_steps: int | None = None,
) -> Result:
    """Recover the sharp image, the blur kernel and a per-pixel uncertainty from a blurred image.

    Called normally, runs compiled chunks of steps with `callback` between them, the images of a batch spread over
    all local devices. Called inside `jit` or `vmap`, traces to one pure program with the same numbers to rounding;
    `callback` is then not called.

    Args:
      y: [H, W], [H, W, C] or [B, H, W, C], floating point in [0, 1], C 1 or 3.
      key: a JAX random key. Image i of a batch uses `fold_in(key, i)`; [B] keys are used as they are.
      kernel_size: odd side of the kernel in pixels, or (height, width), at least the blur's extent.
      kernel: a known kernel [kh, kw], true-convolution convention; only the image is then solved for.
      init_kernel: an estimate [kh, kw] to set out from in place of the classical one; needs `start='classical'`.
      config: settings; `Config()`, the published ones, by default.
      callback: called with a `Progress` after a classical start and after each chunk; returning True ends the run
        with the best so far.
      chunk_steps: updates a chunk; by default as many as take about two seconds. Does not change results.

    Returns:
      A `Result`.

    Raises:
      Refusal: (a ValueError) for input that cannot be worked on, before any work starts.
    """
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise checks.Refusal(f"config must be a vdip_jax.Config, got {type(config).__name__}.")
    if chunk_steps is not None:
        checks.check_number("chunk_steps", chunk_steps, low=1, integer=True)
    y = checks.check_images(y)
    batched = y.ndim == 4
    key = checks.check_key(key, y.shape[0] if batched else None)
    height, width = y.shape[1:3] if batched else y.shape[:2]
    image_size = (height, width)
    if kernel is not None and init_kernel is not None:
        raise checks.Refusal("kernel and init_kernel contradict each other: known, or an estimate; leave one out.")
    if init_kernel is not None and config.start != "classical":
        raise checks.Refusal(
            f"init_kernel needs settings that set out from an estimate, got start={config.start!r}; "
            f"take start='classical', as the presets instant, quick and best have it."
        )
    given = kernel if init_kernel is None else init_kernel
    if given is not None:
        given = checks.check_kernel(given).astype(y.dtype)
        if kernel_size is not None and checks.check_kernel_size(kernel_size, image_size) != given.shape:
            raise checks.Refusal(
                f"kernel_size must be that of the given kernel, {given.shape}, got {kernel_size!r}; "
                f"leave one of them out."
            )
        kernel_size = (given.shape[0], given.shape[1])
    elif kernel_size is None:
        raise checks.Refusal(
            "kernel_size must be given when kernel is not; take an odd number above the blur's extent in pixels."
        )
    size = checks.check_kernel_size(kernel_size, image_size)
    check_sizes(image_size, size, config, given is not None)

    images = y[..., None] if y.ndim == 2 else y
    if batched and key.ndim == 0:
        key = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(y.shape[0]))
    known = kernel is not None
    if not checks.is_concrete(y, key, given):
        return _shaped(_solve(images, key, given, known, size, config, int(batched)), y.shape)
    shards = 0
    if batched:
        shards = min(jax.local_device_count(), y.shape[0])
        images, key = _filled(images, shards), _filled(key, shards)

    def tell(progress: Progress) -> bool:
        best = progress.best
        told = progress._replace(best=lambda: _shaped(best(), y.shape))
        if batched:
            told = told._replace(loss=told.loss[: y.shape[0]], ok=told.ok[: y.shape[0]])
        return callback is not None and callback(told) is True

    return _shaped(_solve(images, key, given, known, size, config, shards, tell, chunk_steps), y.shape)


def check_sizes(image_size: tuple[int, int], kernel_size: tuple[int, int], config: Config, given: bool) -> None:
    """Refuse an image too small for what `config` does with it; `given`: the kernel need not be estimated.

    Raises:
      Refusal: says what was expected.
    """
    if config.num_steps:
        checks.check_canvas(image_size, kernel_size, *config.least_canvas)
    if config.start == "classical" and not given:
        pyramid.check_pyramid(image_size, kernel_size)


def _filled(batch: jax.Array, shards: int) -> jax.Array:
    """The first one repeated at the end, so that every shard has equally many."""
    missing = -batch.shape[0] % shards
    return jnp.concatenate([batch, jnp.repeat(batch[:1], missing, axis=0)]) if missing else batch


def _shaped(result: Result, shape: tuple[int, ...]) -> Result:
    """As many images as in the `shape` of y, whose channel axis may have been left out."""
    if len(shape) == 4:
        result = jax.tree.map(lambda leaf: leaf[: shape[0]], result)
    candidates = result.candidates
    *batch, count = candidates.criterion.shape
    return result._replace(
        image=result.image.reshape(shape),
        std=result.std.reshape(shape),
        candidates=candidates._replace(image=candidates.image.reshape(*batch, count, *shape[len(batch) :])),
    )


def _solve(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    known: bool,
    kernel_size: tuple[int, int],
    config: Config,
    shards: int,
    tell: Callable[[Progress], bool] | None = None,
    chunk_steps: int | None = None,
) -> Result:
    """In chunks, with `tell` called between them; without one, as a single program that can be traced.

    A `kernel` is `known` or else an estimate to set out from. `shards` is as in `programs`.
    """
    begun = (programs.start if shards < 2 else programs.start_apart)(images, kernel, kernel_size, config, shards)
    first, due = steps.first_attempt(begun, config)
    # A given kernel is not doubtful; within a trace nobody can tell.
    if kernel is not None or (checks.is_concrete(due) and not due):
        first = 0
    if begun is not None:
        started = functools.partial(programs.started, images, begun, config, shards)
        if tell is not None:
            no_loss, ok = jnp.full(begun.ok.shape, jnp.nan, images.dtype), jax.block_until_ready(begun).ok
            if tell(Progress("start", 0, first + config.num_steps, no_loss, ok, started)):
                return started()
        if not config.num_steps:
            return started()
    problem, state = programs.begin(images, keys, kernel if known else None, begun, kernel_size, config, shards)
    if tell is not None:
        return _in_chunks(problem, state, keys, begun, first, config, shards, tell, chunk_steps)
    if first:
        attempted = functools.partial(
            programs.traced_updates, problem, config=config, shards=shards, pace=steps.FIRST_PACE
        )
        state = jax.lax.cond(due, lambda: attempted(state, 0, first), lambda: state)
        problem, state = programs.begin_again(problem, state, keys, config, shards)
    state = programs.traced_updates(problem, state, 0, config.num_steps, config, shards)
    return programs.finish(problem, state, begun, config, shards)


def _in_chunks(
    problem: Problem,
    state: State,
    keys: jax.Array,
    begun: Start | None,
    first: int,
    config: Config,
    shards: int,
    tell: Callable[[Progress], bool],
    chunk_steps: int | None,
) -> Result:
    num_steps, done, chunk, ended = first + config.num_steps, 0, chunk_steps or 1, False
    while not ended:
        if first and done == first:
            problem, state = programs.begin_again(problem, state, keys, config, shards)
        # Of each attempt the steps are counted from 0.
        before, pace, until = (0, steps.FIRST_PACE, first) if done < first else (first, 1, num_steps)
        began = time.perf_counter()
        stop = min(done + chunk, until)
        state = programs.advance(problem, state, done - before, stop - before, config, shards, pace)
        state = jax.block_until_ready(state)
        # The first chunk, one step, may hold the compilation and says little of the pace: grow by doubling.
        seconds = (time.perf_counter() - began) / (stop - done)
        chunk = chunk_steps or max(1, min(2 * chunk, round(_SECONDS_A_CHUNK / seconds)))
        done = stop
        last = (done - before - 1) * pace
        # Copies, for the next chunk writes over this state.
        loss, ok = state.loss[..., last], jnp.array(state.ok, copy=True)
        best = functools.cache(functools.partial(programs.finish, problem, state, begun, config, shards))
        ended = tell(Progress(config.phase_of(last), done, num_steps, loss, ok, best)) or done == num_steps
    return best()
