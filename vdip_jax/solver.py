"""solve(y, key): start, phases, chunks, choice, batches. The batch axis exists here and nowhere below."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import checks, classical, steps
from vdip_jax.classical import Start
from vdip_jax.config import Config
from vdip_jax.objective import Posterior
from vdip_jax.operators import observed_frame
from vdip_jax.steps import Problem, State

# A chunk should last about this long: long enough to cost nothing, short enough for progress and Ctrl-C.
_SECONDS_A_CHUNK = 2.0


# The classical estimate is the answer only if its criterion is lower than another's by more than this.
_HANDICAP = 0.3


class Candidates(NamedTuple):
    """What the answer is chosen from: images [N, *y's shape], kernels [N, kh, kw], and `classical.criterion` [N].

    N is 1 for the classical estimate alone and for a network without one; else they are the classical estimate, the
    network's image, and the image that `classical.finish` makes of the network's kernel. An answer of no use has an
    infinite criterion.
    """

    image: jax.Array
    kernel: jax.Array
    criterion: jax.Array


class Result(NamedTuple):
    """What `solve` returns; for a batch every field has a leading axis [B].

    Attributes:
      image: the sharp image, y's shape, in [0, 1]: the candidate with the lowest criterion, the classical estimate only
        if by a margin.
      std: its standard deviation a pixel and channel, y's shape. With a variational phase that of q(x), stale after an
        SSIM phase, since that loss does not see it, and zero for the point methods; without one the candidates'
        root mean square distance from the image.
      kernel: [kh, kw], non-negative, sums to 1, true-convolution convention.
      loss: [num_steps], the loss before each update; NaN for steps that were not made.
      ok: False if an update was not finite, image and kernel are then those of the last good state; or if the
        classical estimate was asked for and is of no use.
      choice: which of the candidates the answer is.
      candidates: `Candidates`.
    """

    image: jax.Array
    std: jax.Array
    kernel: jax.Array
    loss: jax.Array
    ok: jax.Array
    choice: jax.Array
    candidates: Candidates


class Progress(NamedTuple):
    """What a callback is told after each chunk: `step` of `num_steps` done, `loss` and `ok` scalars or [B].

    After a classical start the phase is 'start' and the step 0. `best()` makes the `Result` that ending here would
    give, to be called before the callback returns.
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
    config: Config | None = None,
    callback: Callable[[Progress], bool | None] | None = None,
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
    check_sizes(image_size, size, config, kernel is not None)

    images = y[..., None] if y.ndim == 2 else y
    if batched and key.ndim == 0:
        key = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(y.shape[0]))
    if checks.is_concrete(y, key, kernel):

        def tell(progress: Progress) -> bool:
            best = progress.best
            told = progress._replace(best=lambda: _shaped(best(), y.shape))
            return callback is not None and callback(told) is True

        result = _solve_chunked(images, key, kernel, size, config, batched, tell, chunk_steps)
    else:
        result = _solve_traced(images, key, kernel, size, config, batched)
    return _shaped(result, y.shape)


def check_sizes(image_size: tuple[int, int], kernel_size: tuple[int, int], config: Config, known: bool) -> None:
    """Refuse an image too small for what `config` does with it; `known`: the kernel need not be estimated.

    Raises:
      Refusal: says what was expected.
    """
    if config.num_steps:
        checks.check_canvas(image_size, kernel_size, *config.least_canvas)
    if config.start == "classical" and not known:
        classical.check_pyramid(image_size, kernel_size)


def _shaped(result: Result, shape: tuple[int, ...]) -> Result:
    """Images in the `shape` of y, whose channel axis may have been left out."""
    candidates = result.candidates
    *batch, count = candidates.criterion.shape
    return result._replace(
        image=result.image.reshape(shape),
        std=result.std.reshape(shape),
        candidates=candidates._replace(image=candidates.image.reshape(*batch, count, *shape[len(batch) :])),
    )


def _solve_traced(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
) -> Result:
    begun = _start(images, kernel, kernel_size, config, batched)
    if not config.num_steps:
        return _started(images, begun, batched)
    problem, state = _begin(images, keys, kernel, begun, kernel_size, config, batched)
    state = _traced_steps(problem, state, 0, config.num_steps, config, batched)
    return _finish(problem, state, begun, config, batched)


def _solve_chunked(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
    tell: Callable[[Progress], bool],
    chunk_steps: int | None,
) -> Result:
    begun = _start(images, kernel, kernel_size, config, batched)
    if begun is not None:
        begun = jax.block_until_ready(begun)
        no_loss = jnp.full(begun.ok.shape, jnp.nan, images.dtype)
        started = functools.partial(_started, images, begun, batched)
        if tell(Progress("start", 0, config.num_steps, no_loss, begun.ok, started)) or not config.num_steps:
            return started()
    problem, state = _begin(images, keys, kernel, begun, kernel_size, config, batched)
    done, chunk = 0, chunk_steps or 1
    while done < config.num_steps:
        began = time.perf_counter()
        stop = min(done + chunk, config.num_steps)
        state = jax.block_until_ready(_advance(problem, state, done, stop, config, batched))
        # The first chunk, one step, may hold the compilation and says little of the pace: grow by doubling.
        seconds = (time.perf_counter() - began) / (stop - done)
        chunk = chunk_steps or max(1, min(2 * chunk, round(_SECONDS_A_CHUNK / seconds)))
        done = stop
        # Copies, for the next chunk writes over this state.
        loss, ok = state.loss[..., done - 1], jnp.array(state.ok, copy=True)
        finish = functools.partial(_finish, problem, state, begun, config, batched)
        if tell(Progress(config.phase_of(done - 1), done, config.num_steps, loss, ok, finish)):
            break
    return _finish(problem, state, begun, config, batched)


def _start(
    images: jax.Array, kernel: jax.Array | None, kernel_size: tuple[int, int], config: Config, batched: bool
) -> Start | None:
    """The classical estimate, if the settings ask for one; with a known kernel only the image is estimated."""
    if config.start != "classical":
        return None

    def one(y: jax.Array) -> Start:
        if kernel is None:
            return classical.deblur(y, kernel_size)
        return Start(classical.finish(y, kernel), kernel, jnp.ones((), bool))

    return jax.vmap(one)(images) if batched else one(images)


@functools.partial(jax.jit, static_argnames="batched")
def _started(images: jax.Array, begun: Start, batched: bool) -> Result:
    """The result of a run that ends with the classical estimate."""

    def one(y: jax.Array, begun: Start) -> Result:
        candidates = _compared(y, begun.image[None], begun.kernel[None], begun.ok[None])
        nothing = jnp.zeros_like(y)
        # Of no use: the blurred image, unharmed.
        image = jnp.where(begun.ok, begun.image, y)
        return Result(image, nothing, begun.kernel, jnp.zeros(0, y.dtype), begun.ok, jnp.zeros((), int), candidates)

    return jax.vmap(one)(images, begun) if batched else one(images, begun)


def _compared(y: jax.Array, images: jax.Array, kernels: jax.Array, usable: jax.Array) -> Candidates:
    """Candidates [N, ...] with their criterion, infinite where they are not `usable` [N]."""
    gray = classical.luma(y)
    # One after another, for memory.
    scores = jax.lax.map(lambda pair: classical.criterion(gray, classical.luma(pair[0]), pair[1]), (images, kernels))
    return Candidates(images, kernels, jnp.where(usable & jnp.isfinite(scores), scores, jnp.inf))


@functools.partial(jax.jit, static_argnames=("kernel_size", "config", "batched"))
def _begin(
    images: jax.Array,
    keys: jax.Array,
    kernel: jax.Array | None,
    begun: Start | None,
    kernel_size: tuple[int, int],
    config: Config,
    batched: bool,
) -> tuple[Problem, State]:
    def one(y: jax.Array, key: jax.Array, begun: Start | None) -> tuple[Problem, State]:
        problem = steps.pose(y, key, kernel_size, kernel, begun)
        return problem, steps.start(problem, key, config)

    return jax.vmap(one)(images, keys, begun) if batched else one(images, keys, begun)


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
def _finish(problem: Problem, state: State, begun: Start | None, config: Config, batched: bool) -> Result:
    def one(problem: Problem, state: State, begun: Start | None) -> Result:
        # The newest parameters count only if what they make is finite; a loop, so that one pass is compiled.
        versions = jax.tree.map(lambda *leaves: jnp.stack(leaves), state.good, state.params)

        def keep_finite(i: jax.Array, kept: tuple[Posterior, jax.Array]) -> tuple[Posterior, jax.Array]:
            posterior = steps.estimate(problem, jax.tree.map(lambda leaf: leaf[i], versions), config)
            finite = jnp.isfinite(posterior.mean).all() & jnp.isfinite(posterior.kernel).all()
            return jax.tree.map(lambda new, old: jnp.where(finite, new, old), (posterior, finite), (kept[0], False))

        shapes = jax.eval_shape(lambda: steps.estimate(problem, state.params, config))
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        posterior, newest_finite = jax.lax.fori_loop(0, 2, keep_finite, (nothing, jnp.zeros((), bool)))
        frame = functools.partial(observed_frame, size=(problem.y.shape[0], problem.y.shape[1]))
        ok = state.ok & newest_finite
        images, kernels, usable = frame(posterior.mean)[None], posterior.kernel[None], jnp.ones(1, bool)
        if begun is not None:
            finished = classical.finish(problem.y, posterior.kernel)
            images = jnp.stack([begun.image, images[0], finished])
            kernels = jnp.stack([begun.kernel, kernels[0], kernels[0]])
            usable = jnp.stack([begun.ok, jnp.ones((), bool), jnp.ones((), bool)])
        candidates = _compared(problem.y, images, kernels, usable)
        # The classical estimate is itself the best of several by this criterion, which flatters it.
        choice = candidates.criterion.at[0].add(_HANDICAP if begun is not None else 0).argmin()
        std = frame(posterior.std)
        if begun is not None and not config.variational_steps:
            std = jnp.sqrt(((images - images[choice]) ** 2).mean(0))
        return Result(images[choice], std, kernels[choice], state.loss, ok, choice, candidates)

    return jax.vmap(one)(problem, state, begun) if batched else one(problem, state, begun)
