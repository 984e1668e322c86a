"""Adam for each network with its own learning rate, as XLA can do it in place."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vdip_jax.config import Config

_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.999, 1e-8


def optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Adam for the parameters under 'image' and 'kernel'; moments go on through all phases.

    Its `update` takes beside the gradients whether the update is `made`: one that is not changes nothing; and at what
    `pace` the learning rates are gone through, 1 if an update at a time.
    """
    boundaries = {config.prefit_steps + milestone: config.lr_decay for milestone in config.lr_milestones}
    rates = {"image": config.lr_image, "kernel": config.lr_kernel}
    transforms = {name: adam(optax.piecewise_constant_schedule(rate, boundaries)) for name, rate in rates.items()}
    return optax.partition(transforms, lambda params: {name: name for name in params})


def adam(learning_rate: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """`optax.adam`, to rounding, of an update that is `made` or not.

    The update is computed from the moments as they are kept. Were they chosen only after it, XLA would compute them
    once more for the parameters, from the old ones, which must then be copied before they are overwritten: for a large
    kernel that takes longer than all the rest of the update.
    """

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        return optax.ScaleByAdamState(
            jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
        )

    def update(
        updates: optax.Updates,
        state: optax.ScaleByAdamState,
        params: optax.Params | None = None,
        *,
        made: jax.Array,
        pace: float | jax.Array = 1,
        **_: Any,
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        new = optax.ScaleByAdamState(
            state.count + 1,
            optax.tree.update_moment(updates, state.mu, _DECAY, 1),
            optax.tree.update_moment(updates, state.nu, _SQUARE_DECAY, 2),
        )
        rate = learning_rate(state.count * pace)
        state = choose(made, new, state)
        mean = optax.tree.bias_correction(state.mu, _DECAY, state.count)
        square = optax.tree.bias_correction(state.nu, _SQUARE_DECAY, state.count)
        steps = jax.tree.map(
            lambda m, s: jnp.where(made, -rate * m / (jnp.sqrt(s) + _EPSILON), 0).astype(m.dtype), mean, square
        )
        return steps, state

    return optax.GradientTransformationExtraArgs(init, update)


def choose(condition: jax.Array, new: Any, old: Any) -> Any:
    """One of two trees of arrays, by a scalar condition."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
