"""One image's optimisation: state, start, one pure update."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vdip_jax import objective
from vdip_jax.checks import is_concrete
from vdip_jax.classical import Start
from vdip_jax.config import METHODS, Config
from vdip_jax.finishing import UNSURE
from vdip_jax.generators import (
    IMAGE_INPUT,
    KERNEL_INPUT,
    ImageGenerator,
    KernelGenerator,
    draw_input,
    generate,
    initial_parameters,
    parameter_tree,
    parameter_vector,
)
from vdip_jax.objective import Noise, Posterior, Targets, draw_noise
from vdip_jax.optimizers import choose, optimizer

# Of an estimated kernel, the share of the mass that is spread evenly, so that what is missing can grow.
_SPREAD_MASS = 0.1
# From a uniform kernel SSIM alone goes astray: that share of the updates after the prefit phase, as published (2,000 of
# 5,000), is variational first where nothing comes from a classical start.
_VARIATIONAL_SHARE = 0.4
# The share of the updates that a doubtful start gets; with the rest the networks set out anew, from nothing.
_FIRST_SHARE = 1 / 3

# Under 'image' that network's vector; under 'kernel', unless the kernel is known, the tree of the other.
Params = dict[str, Any]


class Problem(NamedTuple):
    """What stays fixed while one image is solved.

    `y` [H, W, C]; `z_image` [H', W', 3] and `z_kernel` [200], the generators' inputs; `kernel` [kh, kw] if it
    is known, else None; `targets` of the prefit phase; `kernel_base` [kh, kw], logits that those of the kernel's
    generator are added to; `key` for the draws of each step. Whether a classical start is to be `trusted`; if not there
    are two attempts, and `anew` says whether this one leaves the start aside, `since` which update, at what `pace` the
    schedule is gone through (1: an update at a time), and `tried` [kh, kw], the kernel that there was before it.
    """

    y: jax.Array
    key: jax.Array
    z_image: jax.Array
    z_kernel: jax.Array
    kernel: jax.Array | None
    targets: Targets
    kernel_base: jax.Array
    trusted: jax.Array
    anew: jax.Array
    since: jax.Array
    pace: jax.Array
    tried: jax.Array


class State(NamedTuple):
    """What an update changes.

    `params` are the newest, `good` the last parameters whose loss and gradient were finite; `ok` turns False, and
    the state stands still on `good`, when an update was not finite. `loss` [num_steps] is NaN where no step has been.
    """

    params: Params
    opt_state: optax.OptState
    good: Params
    ok: jax.Array
    loss: jax.Array


def pose(
    y: jax.Array,
    key: jax.Array,
    kernel_size: tuple[int, int],
    kernel: jax.Array | None,
    begun: Start | None = None,
) -> Problem:
    """Draw the generators' fixed inputs for an image `y` [H, W, C], and say where they set out.

    From what was `begun`, image and kernel, if that is of use: the kernel's generator is then a correction to it. Else,
    as published, from the blurred image and the uniform kernel.
    """
    canvas = (y.shape[0] + kernel_size[0] - 1, y.shape[1] + kernel_size[1] - 1)
    key_image, key_kernel, key_steps = jax.random.split(jax.random.fold_in(key, 0), 3)
    z_image = draw_input(key_image, (*canvas, IMAGE_INPUT), y.dtype)
    z_kernel = draw_input(key_kernel, (KERNEL_INPUT,), y.dtype)
    nothing = _nothing_known(y, kernel_size)
    problem = Problem(
        y=y,
        key=key_steps,
        z_image=z_image,
        z_kernel=z_kernel,
        kernel=kernel,
        targets=nothing,
        kernel_base=jnp.zeros(kernel_size, y.dtype),
        trusted=jnp.ones((), bool),
        anew=jnp.zeros((), bool),
        since=jnp.zeros((), int),
        pace=jnp.ones((), y.dtype),
        tried=nothing.kernel,
    )
    if begun is None:
        return problem
    warm = Targets(begun.image, nothing.std, (1 - _SPREAD_MASS) * begun.kernel + _SPREAD_MASS * nothing.kernel)
    targets, base = choose(begun.ok, (warm, jnp.log(warm.kernel)), (nothing, problem.kernel_base))
    # Of a known kernel the agreement is NaN.
    trusted = begun.ok & ~(begun.agreement < UNSURE)
    problem = problem._replace(targets=targets, kernel_base=base, trusted=trusted, anew=~begun.ok, tried=begun.kernel)
    return problem._replace(pace=jnp.where(_is_doubtful(problem), 1 / _FIRST_SHARE, problem.pace))


def _nothing_known(y: jax.Array, kernel_size: tuple[int, ...]) -> Targets:
    """What the prefit phase fits as published: the blurred image and the uniform kernel."""
    return Targets(y, jnp.zeros_like(y), jnp.full(kernel_size, 1 / math.prod(kernel_size), y.dtype))


def start(problem: Problem, key: jax.Array, config: Config) -> State:
    """Random parameters, fresh optimizer moments."""
    key_image, key_kernel = jax.random.split(jax.random.fold_in(key, 1))
    image = initial_parameters(_image_generator(problem, config), key_image, problem.z_image)
    params: Params = {"image": parameter_vector(image)}
    if problem.kernel is None:
        params["kernel"] = initial_parameters(_kernel_generator(problem, config), key_kernel, problem.z_kernel)
    return State(
        params=params,
        opt_state=optimizer(config).init(params),
        good=params,
        ok=jnp.ones((), bool),
        loss=jnp.full((config.num_steps,), jnp.nan, problem.y.dtype),
    )


def first_attempt(problem: Problem, config: Config) -> int:
    """The number of updates after which `another_attempt` is due, 0 if none is: for a batch if it is for one image.

    In a trace, which cannot look at the start, one always is after a classical start.
    """
    doubtful = _is_doubtful(problem)
    if config.start != "classical" or (is_concrete(doubtful) and not doubtful.any()):
        return 0
    return round(_FIRST_SHARE * config.num_steps)


def _is_doubtful(problem: Problem) -> jax.Array:
    """Whether the networks set out from a start that is not trusted."""
    return ~problem.trusted & ~problem.anew


def another_attempt(problem: Problem, state: State, since: int, config: Config) -> tuple[Problem, State]:
    """What goes on `since` the end of a `first_attempt` at a doubtful start: from nothing, what was found kept.

    From any other start the same goes on.
    """
    again = problem._replace(
        targets=_nothing_known(problem.y, problem.kernel_base.shape),
        kernel_base=jnp.zeros_like(problem.kernel_base),
        anew=jnp.ones((), bool),
        since=jnp.full((), since),
        pace=jnp.full((), 1 / (1 - _FIRST_SHARE), problem.pace.dtype),
        tried=estimate(problem, state.good, config).kernel,
    )
    # A key that no step draws from.
    fresh = start(problem, jax.random.fold_in(problem.key, config.num_steps), config)._replace(loss=state.loss)
    return choose(_is_doubtful(problem), (again, fresh), (problem, state))


def estimate(problem: Problem, params: Params, config: Config) -> Posterior:
    """Run the generators: the posterior that `params` stand for, std zero where q(x) is a point."""
    channels = problem.y.shape[-1]
    network = _image_generator(problem, config)
    with jax.default_matmul_precision(config.precision):
        logits = generate(network, parameter_tree(network, params["image"], problem.z_image), problem.z_image)
    mean = jax.nn.sigmoid(logits[..., :channels])
    kernel = problem.kernel
    if kernel is None:
        kernel_logits = generate(_kernel_generator(problem, config), params["kernel"], problem.z_kernel)
        kernel = jax.nn.softmax(kernel_logits + problem.kernel_base, axis=(0, 1))
    if METHODS[config.method].gaussian:
        # log S from the logits: log(sigmoid) underflows to -inf, log_sigmoid does not.
        return Posterior(
            mean, jax.nn.sigmoid(logits[..., channels:]), jax.nn.log_sigmoid(logits[..., channels:]), kernel
        )
    return Posterior(mean, jnp.zeros_like(mean), jnp.zeros_like(mean), kernel)


# What an update draws; replaced where golden draws are put in.
Draws = Callable[[Problem, jax.Array, Config], Noise]


def draws(problem: Problem, step: jax.Array, config: Config) -> Noise:
    """The random draws of the update number `step`."""
    shape = (*problem.z_image.shape[:2], problem.y.shape[-1])
    return draw_noise(jax.random.fold_in(problem.key, step), shape, problem.y.dtype, config)


def update(
    problem: Problem,
    state: State,
    step: jax.Array,
    config: Config,
    draws: Draws = draws,
) -> State:
    """The update number `step`, counted over all phases.

    An update whose loss or gradient is not finite is not made. The extreme-channel methods go on after it, as
    in the release; for the others it is the end: the state falls back on the last good parameters.
    """

    def loss_of(params: Params) -> jax.Array:
        return phase_loss(problem, estimate(problem, params, config), step, config, draws)

    loss, grads = jax.value_and_grad(loss_of)(state.params)
    skips = METHODS[config.method].prior == "extreme"
    made = state.ok & jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads))
    updates, opt_state = optimizer(config).update(grads, state.opt_state, state.params, made=made, pace=problem.pace)
    if config.hold_kernel and "kernel" in updates:
        held = ~problem.anew & (scheduled(problem, step) < config.hold_kernel)
        updates = {**updates, "kernel": jax.tree.map(lambda change: jnp.where(held, 0, change), updates["kernel"])}
    # An update that is made begins at the parameters that it has just found good, one that is not ends at them.
    good = choose(made, state.params, state.good)
    return State(
        params=optax.apply_updates(state.params if skips else good, updates),
        opt_state=opt_state,
        good=good,
        ok=state.ok if skips else made,
        loss=state.loss.at[step].set(jnp.where(state.ok, loss, jnp.nan)),
    )


def scheduled(problem: Problem, step: jax.Array) -> jax.Array:
    """Where in the schedule the update number `step` is; each attempt goes through all of it."""
    return jnp.floor((step - problem.since) * problem.pace).astype(int)


def phase_loss(problem: Problem, posterior: Posterior, step: jax.Array, config: Config, draws: Draws) -> jax.Array:
    """The loss of the phase that `step` falls in; where a classical start is left aside there is a variational one too.

    A switch on the loss alone, so that all phases share one compiled pass through the networks.
    """
    y, position = problem.y, scheduled(problem, step)

    def variational(q: Posterior) -> jax.Array:
        return objective.variational_loss(q, y, draws(problem, step, config), kl_weight(position, config), config)

    num_variational: int | jax.Array = config.variational_steps
    if config.start == "classical":
        least = round(_VARIATIONAL_SHARE * (config.variational_steps + config.ssim_steps))
        num_variational = jnp.where(problem.anew, max(num_variational, least), num_variational)
    phase = jnp.int32(position >= config.prefit_steps) + (position >= config.prefit_steps + num_variational)
    losses = (
        lambda q: objective.prefit_loss(q, problem.targets),
        variational,
        lambda q: objective.ssim_loss(q, y),
    )
    return jax.lax.switch(phase, losses, posterior)


def kl_weight(position: jax.Array, config: Config) -> jax.Array:
    """sigma_t at a `position` in the schedule: decays by `sigma_decay` every `sigma_every` after the prefit phase."""
    since_prefit = jnp.maximum(position - config.prefit_steps, 0)
    return config.sigma_t * config.sigma_decay ** (since_prefit // config.sigma_every)


def _image_generator(problem: Problem, config: Config) -> ImageGenerator:
    moments = 2 if METHODS[config.method].gaussian else 1
    return ImageGenerator(
        features=moments * problem.y.shape[-1],
        channels=config.channels,
        skip_channels=config.skip_channels,
        num_levels=config.num_levels,
        nonlocal_from=config.nonlocal_from,
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
    )


def _kernel_generator(problem: Problem, config: Config) -> KernelGenerator:
    height = problem.z_image.shape[0] - problem.y.shape[0] + 1
    width = problem.z_image.shape[1] - problem.y.shape[1] + 1
    return KernelGenerator(config.kernel_hidden, (height, width))
