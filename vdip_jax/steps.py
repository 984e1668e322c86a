"""One image's optimisation: state, start, one pure update."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vdip_jax import objective
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
# Where in the schedule each update is after the one before it, when the networks set out from a doubtful start. A third
# of the steps is enough to build on one; from nothing all of them are needed (docs/refinement.md).
FIRST_PACE = 3

# Under 'image' that network's vector; under 'kernel', unless the kernel is known, the tree of the other.
Params = dict[str, Any]


class Problem(NamedTuple):
    """What stays fixed while one image is solved.

    `y` [H, W, C]; `z_image` [H', W', 3] and `z_kernel` [200], the generators' inputs; `kernel` [kh, kw] if it
    is known, else None; `targets` of the prefit phase; `kernel_base` [kh, kw], logits that those of the kernel's
    generator are added to; `key` for the draws of each step. Whether a classical start is to be `trusted`; `anew` says
    that one is left aside, and `tried` [kh, kw] is the kernel that there was before the networks set out.
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
    tried: jax.Array


class State(NamedTuple):
    """What an update changes.

    `params` are the newest, `good` the last parameters whose loss and gradient were finite; `ok` turns False, and
    the state stands still on `good`, when an update was not finite. `loss` [num_steps], each in its place in the
    schedule, is NaN where no step has been.
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
        tried=nothing.kernel,
    )
    if begun is None:
        return problem
    warm = Targets(begun.image, nothing.std, (1 - _SPREAD_MASS) * begun.kernel + _SPREAD_MASS * nothing.kernel)
    targets, base = choose(begun.ok, (warm, jnp.log(warm.kernel)), (nothing, problem.kernel_base))
    trusted = begun.ok & ~_is_doubtful(begun)
    return problem._replace(targets=targets, kernel_base=base, trusted=trusted, anew=~begun.ok, tried=begun.kernel)


def _is_doubtful(begun: Start) -> jax.Array:
    """Whether a start is of use but not to be trusted. Of a known kernel the agreement is NaN."""
    return begun.ok & (begun.agreement < UNSURE)


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


def first_attempt(begun: Start | None, config: Config) -> tuple[int, bool | jax.Array]:
    """How many updates a first attempt has, which a doubtful start is given before the others; and whether one is due.

    For a batch if it is for one image.
    """
    due = begun is not None and _is_doubtful(begun).any()
    return math.ceil(config.num_steps / FIRST_PACE), due


def after_first_attempt(problem: Problem, params: Params, config: Config) -> Problem:
    """The problem from nothing, after an attempt from a doubtful start that came to `params`; any other as it was."""
    again = problem._replace(
        targets=_nothing_known(problem.y, problem.kernel_base.shape),
        kernel_base=jnp.zeros_like(problem.kernel_base),
        anew=jnp.ones((), bool),
        tried=estimate(problem, params, config).kernel,
    )
    return choose(problem.trusted | problem.anew, problem, again)


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
    pace: int | jax.Array = 1,
) -> State:
    """The update at the place `step` in the schedule, counted over all phases, which goes on by `pace` with each.

    An update whose loss or gradient is not finite is not made. The extreme-channel methods go on after it, as
    in the release; for the others it is the end: the state falls back on the last good parameters.
    """

    def loss_of(params: Params) -> jax.Array:
        return phase_loss(problem, estimate(problem, params, config), step, config, draws)

    loss, grads = jax.value_and_grad(loss_of)(state.params)
    skips = METHODS[config.method].prior == "extreme"
    made = state.ok & jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grads))
    updates, opt_state = optimizer(config).update(grads, state.opt_state, state.params, made=made, pace=pace)
    if config.hold_kernel and "kernel" in updates:
        held = ~problem.anew & (step < config.hold_kernel)
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


def phase_loss(problem: Problem, posterior: Posterior, step: jax.Array, config: Config, draws: Draws) -> jax.Array:
    """The loss of the phase that `step` falls in; where a classical start is left aside there is a variational one too.

    A switch on the loss alone, so that all phases share one compiled pass through the networks.
    """
    y = problem.y

    def prefit(q: Posterior) -> jax.Array:
        return objective.prefit_loss(q, problem.targets)

    def variational(q: Posterior) -> jax.Array:
        return objective.variational_loss(q, y, draws(problem, step, config), kl_weight(step, config), config)

    def ssim(q: Posterior) -> jax.Array:
        return objective.ssim_loss(q, y)

    def by_start(q: Posterior) -> jax.Array:
        return jax.lax.cond(problem.anew, variational, ssim, q)

    least = round(_VARIATIONAL_SHARE * (config.variational_steps + config.ssim_steps))
    num_by_start = max(0, least - config.variational_steps) if config.start == "classical" else 0
    # The step has no batch axis, so that of a batch too only one of these is computed.
    phases = (
        (prefit, config.prefit_steps),
        (variational, config.variational_steps),
        (by_start, num_by_start),
        (ssim, config.ssim_steps - num_by_start),
    )
    losses = [loss for loss, num_steps in phases if num_steps]
    *stops, _ = itertools.accumulate(num_steps for _, num_steps in phases if num_steps)
    return jax.lax.switch(sum((step >= stop for stop in stops), jnp.zeros((), int)), losses, posterior)


def kl_weight(step: jax.Array, config: Config) -> jax.Array:
    """sigma_t: decays by `sigma_decay` every `sigma_every` steps after the prefit phase."""
    since_prefit = jnp.maximum(step - config.prefit_steps, 0)
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
