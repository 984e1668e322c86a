"""Adam against optax's, updates that are not made, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vdip_jax import Config
from vdip_jax.optimizers import adam, optimizer

RATE = optax.piecewise_constant_schedule(0.01, {5: 0.5})


def gradients(step):
    return {"a": jax.random.normal(jax.random.key(step), (7, 3)), "b": jnp.full((2,), 10.0 ** (step - 6))}


def test_updates_equal_those_of_optax():
    ours, theirs = adam(RATE), optax.adam(RATE)
    states = ours.init(gradients(0)), theirs.init(gradients(0))
    for step in range(12):
        made, one = jax.jit(ours.update)(gradients(step), states[0], made=True)
        expected, other = jax.jit(theirs.update)(gradients(step), states[1])
        states = one, other
        # Two compiled programs of one formula in float32.
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), made, expected)


def test_an_update_that_is_not_made_changes_nothing_even_if_it_is_not_finite():
    ours = adam(RATE)
    update = jax.jit(ours.update)
    _, state = update(gradients(0), ours.init(gradients(0)), made=True)
    poison = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), gradients(1))
    updates, after = update(poison, state, made=False)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates))
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_learning_rates_are_halved_at_milestones_counted_from_the_end_of_prefit():
    config = Config(prefit_steps=3, lr_milestones=(2, 4, 5), lr_decay=0.5, lr_image=0.01, lr_kernel=1e-4)
    both = optimizer(config)
    params = {"image": jnp.zeros(2), "kernel": jnp.zeros(3)}
    ones = jax.tree.map(jnp.ones_like, params)
    state = both.init(params)
    rates = {"image": [], "kernel": []}
    advance = jax.jit(both.update)
    for _ in range(10):
        # Under a constant gradient of one every Adam step has the size of its learning rate.
        updates, state = advance(ones, state, params, made=True)
        for name, rate in rates.items():
            rate.append(-float(updates[name][0]))
    factors = np.array([1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.125, 0.125])
    # float32 rounding of Adam's 1 - 0.999^t; a missed milestone is a factor of 2.
    np.testing.assert_allclose(rates["image"], 0.01 * factors, rtol=1e-4)
    np.testing.assert_allclose(rates["kernel"], 1e-4 * factors, rtol=1e-4)


def test_learning_rates_are_gone_through_at_a_pace():
    ours, one = adam(optax.piecewise_constant_schedule(1.0, {4: 0.5})), jnp.ones(())
    state = ours.init(one)
    rates = []
    for _ in range(4):
        update, state = ours.update(one, state, made=True, pace=2.0)
        rates.append(-float(update))
    # float32 rounding of Adam's 1 - 0.999^t.
    np.testing.assert_allclose(rates, [1, 1, 0.5, 0.5], rtol=1e-4)


def test_updates_in_a_loop_need_no_room_for_a_second_copy():
    """But for the gradient: a copy of parameters or moments each step would cost more time than the update."""
    size = 2**20
    ours = adam(optax.constant_schedule(0.01))

    def step(_, carried):
        params, good, state, target = carried
        loss, grads = jax.value_and_grad(lambda p: ((p - target) ** 2).sum())(params)
        made = jnp.isfinite(loss)
        updates, state = ours.update(grads, state, made=made)
        good = jnp.where(made, params, good)
        return good + updates, good, state, target

    line = jnp.zeros(size)
    loop = jax.jit(lambda carried: jax.lax.fori_loop(0, 3, step, carried), donate_argnums=0)
    compiled = loop.lower((line, line, ours.init(line), line)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.5 * line.nbytes
