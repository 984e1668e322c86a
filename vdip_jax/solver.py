"""solve(y, key): phases, chunks, batches. The batch axis exists here and nowhere below."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import checks, steps
from vdip_jax.config import Config
from vdip_jax.objective import Posterior
from vdip_jax.operators import observed_frame
from vdip_jax.steps import Problem, State

# A chunk should last about this long: long enough to cost nothing, short enough for progress and Ctrl-C.
_SECONDS_A_CHUNK = 2.0


class Result(NamedTuple):
    """What `solve` returns; for a batch every field has a leading axis [B].

    Attributes:
      image: the sharp image, y's shape, in [0, 1].
      std: its standard deviation a pixel and channel, y's shape; zero for the point methods. After an SSIM
        phase it is stale, since that loss does not see it.
      kernel: [kh, kw], non-negative, sums to 1, true-convolution convention.
      loss: [num_steps], the loss before each update; NaN for steps that were not made.
      ok: False if an update was not finite; image and kernel are then those of the last good state.
    """

    image: jax.Array
    std: jax.Array
    kernel: jax.Array
    loss: jax.Array
    ok: jax.Array


class Progress(NamedTuple):
    """What a callback is told after each chunk: `step` of `num_steps` done, `loss` and `ok` scalars or [B]."""

    phase: str
    step: int
    num_steps: int
    loss: jax.Array
    ok: jax.Array


def solve(
    y: jax.Array,
    key: jax.Array,
    *,
    kernel_size: int | tuple[int, int] | None = None,
    kernel: jax.Array | None = None,
    config: Config | None = None,
    callback: Callable[[Progress], None] | None = None,
    chunk_steps: int | None = None,
) -> Result:
    """Recover the sharp image, the blur kernel and a per-pixel uncertainty from a blurred image.

    Called normally, runs compiled chunks of steps with `callback` between them. Called inside `jit` or `vmap`,
    traces to one pure program with the same numbers to rounding; `callback` is then not called.

    Args:
      y: [H, W], [H, W, C] or [B, H, W, C], floating point in [0, 1], C 1 or 3.
      key: a JAX random key. Image i of a batch uses `fold_in(key, i)`; [B] keys are used as they are.
      kernel_size: odd side of the kernel in pixels, or (height, width), at least the blur's extent.
      kernel: a known kernel [kh, kw], true-convolution convention; only the image is then solved for.
      config: settings; `Config()`, the published ones, by default.
      callback: called with a `Progress` after each chunk.
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
    if kernel is not None:
        kernel = checks.check_kernel(kernel).astype(y.dtype)
        if kernel_size is not None and checks.check_kernel_size(kernel_size, image_size) != kernel.shape:
            raise checks.Refusal(
                f"kernel_size must be the known kernel's {kernel.shape}, got {kernel_size!r}; leave one of them out."
            )
        kernel_size = (kernel.shape[0], kernel.shape[1])
    elif kernel_size is None:
        raise checks.Refusal(
            "kernel_size must be given when kernel is not; take an odd number above the blur's extent in pixels."
        )
    size = checks.check_kernel_size(kernel_size, image_size)
    checks.check_canvas(image_size, size, *config.least_canvas)

    images = y[..., None] if y.ndim == 2 else y
    if batched and key.ndim == 0:
        key = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(y.shape[0]))
    if checks.is_concrete(y, key, kernel):
        result = _solve_chunked(images, key, kernel, size, config, batched, callback, chunk_steps)
    else:
        result = _solve_traced(images, key, kernel, size, config, batched)
    return result._replace(image=result.image.reshape(y.shape), std=result.std.reshape(y.shape))


def _solve_traced(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
) -> Result:
    problem, state = _begin(images, keys, kernel, kernel_size, config, batched)
    state = _traced_steps(problem, state, 0, config.num_steps, config, batched)
    return _finish(problem, state, config, batched)


def _solve_chunked(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
    callback: Callable[[Progress], None] | None,
    chunk_steps: int | None,
) -> Result:
    problem, state = _begin(images, keys, kernel, kernel_size, config, batched)
    done, chunk = 0, chunk_steps or 1
    while done < config.num_steps:
        began = time.perf_counter()
        stop = min(done + chunk, config.num_steps)
        state = jax.block_until_ready(_advance(problem, state, done, stop, config, batched))
        # The first chunk, one step, may hold the compilation and says little of the pace: grow by doubling.
        seconds = (time.perf_counter() - began) / (stop - done)
        chunk = chunk_steps or max(1, min(2 * chunk, round(_SECONDS_A_CHUNK / seconds)))
        done = stop
        if callback is not None:
            # A copy of ok, for the next chunk writes over this state.
            loss, ok = state.loss[..., done - 1], jnp.array(state.ok, copy=True)
            callback(Progress(config.phase_of(done - 1), done, config.num_steps, loss, ok))
    return _finish(problem, state, config, batched)


@functools.partial(jax.jit, static_argnames=("kernel_size", "config", "batched"))
def _begin(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
) -> tuple[Problem, State]:
    def one(y: jax.Array, key: jax.Array) -> tuple[Problem, State]:
        problem = steps.pose(y, key, kernel_size, kernel)
        return problem, steps.start(problem, key, config)

    return jax.vmap(one)(images, keys) if batched else one(images, keys)


def _steps(problem: Problem, state: State, first: Any, stop: Any, config: Config, batched: bool) -> State:
    def body(step: jax.Array, state: State) -> State:
        # The step number has no batch axis: were it batched, every phase's loss would be computed each time.
        update = functools.partial(steps.update, step=step, config=config)
        return (jax.vmap(update) if batched else update)(problem, state)

    return jax.lax.fori_loop(first, stop, body, state)


# A chunk writes its state over the old one; inside somebody else's program there is no buffer to give away.
_advance = jax.jit(_steps, static_argnames=("config", "batched"), donate_argnames="state")
_traced_steps = jax.jit(_steps, static_argnames=("config", "batched"))


@functools.partial(jax.jit, static_argnames=("config", "batched"))
def _finish(problem: Problem, state: State, config: Config, batched: bool) -> Result:
    def one(problem: Problem, state: State) -> Result:
        # The newest parameters count only if what they make is finite; a loop, so that one pass is compiled.
        candidates = jax.tree.map(lambda *leaves: jnp.stack(leaves), state.good, state.params)

        def keep_finite(i: jax.Array, kept: tuple[Posterior, jax.Array]) -> tuple[Posterior, jax.Array]:
            posterior = steps.estimate(problem, jax.tree.map(lambda leaf: leaf[i], candidates), config)
            finite = jnp.isfinite(posterior.mean).all() & jnp.isfinite(posterior.kernel).all()
            return jax.tree.map(lambda new, old: jnp.where(finite, new, old), (posterior, finite), (kept[0], False))

        shapes = jax.eval_shape(lambda: steps.estimate(problem, state.params, config))
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        posterior, newest_finite = jax.lax.fori_loop(0, 2, keep_finite, (nothing, jnp.zeros((), bool)))
        frame = functools.partial(observed_frame, size=(problem.y.shape[0], problem.y.shape[1]))
        return Result(
            frame(posterior.mean),
            frame(posterior.std),
            posterior.kernel,
            state.loss,
            state.ok & newest_finite,
        )

    return jax.vmap(one)(problem, state) if batched else one(problem, state)
