"""One image's updates: schedule, learning rates, all six methods, updates that are not finite."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from vdip_jax import METHODS, Config, objective, steps
from vdip_jax.classical import Start
from vdip_jax.generators import parameter_tree, parameter_vector
from vdip_jax.objective import Posterior
from vdip_jax.optimizers import optimizer
from vdip_jax.steps import State

# The canvas of 36x36 is just large enough for the extreme-channel window.
SMALL = dict(
    channels=4,
    skip_channels=4,
    num_levels=1,
    nonlocal_from=0,
    kernel_hidden=16,
    prefit_steps=3,
    variational_steps=6,
    ssim_steps=4,
    lr_kernel=1e-3,
)
KEY = jax.random.key(0)
NEVER = -1


pytestmark = pytest.mark.usefixtures("quick_compilation")


def config_of(method):
    return Config(method=method, **SMALL)


@functools.cache
def begin(config):
    """A problem and its first state, with parameters from NumPy: `steps.start` would compile for longer."""
    noise = np.random.default_rng(0).random((32, 34))
    y = scipy.ndimage.gaussian_filter(noise, 1.5)[..., None].astype(np.float32)
    problem = steps.pose(jnp.asarray((y - y.min()) / (y.max() - y.min())), KEY, (5, 3), None)
    shapes = jax.eval_shape(lambda: steps.start(problem, KEY, config))
    draws = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(draws.uniform(-0.3, 0.3, leaf.shape), leaf.dtype), shapes.params)
    opt_state = optimizer(config).init(params)
    return problem, State(params, opt_state, params, jnp.ones((), bool), jnp.full(config.num_steps, jnp.nan))


@functools.cache
def updater(config):
    """One compiled update with the same draws at every step, but for NaN at the step `poisoned`."""

    @jax.jit
    def run(problem, state, step, poisoned, pace=1):
        def draws(problem, step, config):
            noise = steps.draws(problem, 0, config)
            return noise._replace(likelihood=noise.likelihood + jnp.where(step == poisoned, jnp.nan, 0))

        return steps.update(problem, state, step, config, draws, pace)

    return run


def states(config, poisoned=NEVER):
    """The state before each update and the last, as NumPy arrays."""
    problem, state = begin(config)
    history = [state]
    for step in range(config.num_steps):
        history.append(updater(config)(problem, history[-1], step, poisoned))
    return jax.tree.map(np.asarray, history)


def assert_equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def differing(first, second):
    """The networks whose parameters differ."""
    return {name for name in first if (parameter_vector(first[name]) != parameter_vector(second[name])).any()}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_finite_losses_that_fall_in_every_phase(method):
    last = states(config_of(method))[-1]
    assert last.ok
    assert np.isfinite(last.loss).all()
    for phase in (last.loss[:3], last.loss[3:9], last.loss[9:]):
        assert phase[-1] < phase[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last.params))


def test_methods_differ_in_the_variational_phase_only_where_they_should():
    losses = {method: states(config_of(method))[-1].loss for method in METHODS}
    for kind in ("dip", "vdip"):
        names = [name for name in METHODS if name.startswith(f"{kind}")]
        prefit = [losses[name][:3] for name in names]
        # The same network and the same loss before any prior enters; rounding of one compiled program against
        # another's.
        np.testing.assert_allclose(prefit, [prefit[0]] * 3, rtol=1e-4)
    assert len({float(loss[3]) for loss in losses.values()}) == len(METHODS)


@pytest.mark.parametrize("poisoned", [3, 6])
def test_update_that_is_not_finite_ends_the_run_on_the_last_good_parameters(poisoned):
    history = states(config_of("vdip-sparse"), poisoned)
    before, after, last = history[poisoned], history[poisoned + 1], history[-1]
    assert before.ok and not after.ok and not last.ok
    # The newest parameters made the loss NaN; the last that did not are those of one update before.
    assert_equal(after.params, history[poisoned - 1].params)
    assert differing(after.params, before.params) == {"image", "kernel"}
    for state in (after, last):
        assert_equal(state.params, before.good)
        assert_equal(state.good, before.good)
        assert_equal(state.opt_state, before.opt_state)


def test_loss_is_not_a_number_for_steps_that_were_not_made():
    loss = states(config_of("vdip-sparse"), 6)[-1].loss
    assert np.isfinite(loss[:6]).all()
    assert np.isnan(loss[6:]).all()


def test_extreme_method_skips_an_update_that_is_not_finite_and_goes_on():
    history = states(config_of("vdip-extreme"), 6)
    before, after, following = history[6:9]
    assert after.ok and history[-1].ok
    assert_equal(after.params, before.params)
    assert_equal(after.opt_state, before.opt_state)
    assert differing(following.params, after.params) == {"image", "kernel"}
    loss = history[-1].loss
    assert np.isnan(loss[6])
    assert np.isfinite(np.delete(loss, 6)).all()


def test_good_parameters_are_the_last_whose_loss_was_finite():
    history = states(config_of("vdip-sparse"))
    for earlier, state in zip(history, history[1:], strict=False):
        assert_equal(state.good, earlier.params)


@pytest.mark.parametrize("method", ["dip-sparse", "vdip-sparse"])
def test_point_methods_have_zero_std_and_gaussian_ones_do_not(method):
    config = config_of(method)
    problem, state = begin(config)
    posterior = jax.jit(steps.estimate, static_argnums=2)(problem, state.params, config)
    assert posterior.mean.shape == posterior.std.shape == posterior.log_std.shape == (36, 36, 1)
    assert (posterior.mean > 0).all() and (posterior.mean < 1).all()
    assert posterior.kernel.shape == (5, 3)
    if METHODS[method].gaussian:
        assert (posterior.std > 0).all() and (posterior.std < 1).all()
        # float32 rounding of exp(log S) against S.
        np.testing.assert_allclose(jnp.exp(posterior.log_std), posterior.std, rtol=1e-5)
    else:
        assert not posterior.std.any() and not posterior.log_std.any()


def test_log_std_stays_finite_where_the_std_underflows():
    config = config_of("vdip-sparse")
    problem, state = begin(config)
    network = steps._image_generator(problem, config)
    tree = parameter_tree(network, state.params["image"], problem.z_image)
    tree["output"]["bias"] = tree["output"]["bias"].at[1].set(-1000.0)
    params = {**state.params, "image": parameter_vector(tree)}
    posterior = jax.jit(steps.estimate, static_argnums=2)(problem, params, config)
    assert not posterior.std.any()
    assert (posterior.log_std < -900).all() and jnp.isfinite(posterior.log_std).all()


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.2), (499, 0.2), (500, 0.2), (1499, 0.2), (1500, 0.02), (2499, 0.02), (2500, 0.002), (5499, 2e-5)],
)
def test_kl_weight_decays_every_thousand_steps_after_prefit(step, expected):
    # float32 powers of 0.1.
    np.testing.assert_allclose(steps.kl_weight(jnp.asarray(step), Config(sigma_t=0.2)), expected, rtol=1e-5)


# An estimate of a kernel, and the picture it makes.
KERNEL, IMAGE = jnp.zeros((5, 3)).at[2].set(1 / 3), jnp.full((32, 34, 1), 0.7)


def check_set_out(problem, warm):
    """From that estimate, or from the blurred image and the uniform kernel."""
    np.testing.assert_array_equal(problem.targets.image, IMAGE if warm else problem.y)
    middle = 0.9 / 3 + 0.1 / 15 if warm else 1 / 15
    np.testing.assert_allclose(jax.nn.softmax(problem.kernel_base, (0, 1))[2], middle, rtol=1e-5)
    np.testing.assert_allclose(problem.targets.kernel[2], middle, rtol=1e-5)


@pytest.mark.parametrize(
    ("ok", "agreement", "trusted"), [(True, 0.95, True), (True, 0.7, False), (True, np.nan, True), (False, 0.95, False)]
)
def test_only_from_an_estimate_that_is_of_use_the_network_sets_out(ok, agreement, trusted):
    begun = Start(IMAGE, KERNEL, jnp.asarray(ok), jnp.asarray(agreement), jnp.asarray(5000.0))
    problem = steps.pose(jnp.full((32, 34, 1), 0.5), KEY, (5, 3), None, begun)
    assert bool(problem.trusted) is trusted and bool(problem.anew) is not ok
    check_set_out(problem, ok)
    # Before the 13 updates of the schedule there is an attempt at a doubtful one that is of use.
    warm = dataclasses.replace(config_of("vdip-sparse"), start="classical")
    num_steps, due = steps.first_attempt(begun, warm)
    assert num_steps == 5 and bool(due) is bool(ok and agreement < 0.85)
    assert steps.first_attempt(None, warm) == (5, False)


@pytest.mark.parametrize("doubtful", [True, False])
def test_after_a_first_attempt_only_a_doubtful_start_is_left_aside(doubtful):
    config = dataclasses.replace(config_of("vdip-sparse"), start="classical")
    problem, state = begin(config)
    begun = Start(IMAGE, KERNEL, jnp.asarray(True), jnp.asarray(0.5 if doubtful else 0.9), jnp.asarray(5000.0))
    posed = steps.pose(problem.y, KEY, (5, 3), None, begun)
    again = jax.jit(steps.after_first_attempt, static_argnums=2)(posed, state.params, config)
    check_set_out(again, not doubtful)
    if not doubtful:
        jax.tree.map(np.testing.assert_array_equal, again._replace(key=None), posed._replace(key=None))
        return
    # What the first attempt came to is kept.
    first = jax.jit(steps.estimate, static_argnums=2)(posed, state.params, config)
    np.testing.assert_allclose(again.tried, first.kernel, rtol=1e-5)
    assert again.anew and not again.trusted


def test_a_fast_attempt_comes_to_lower_learning_rates_in_fewer_updates():
    config = dataclasses.replace(config_of("vdip-sparse"), lr_milestones=(2,), lr_decay=1e-6)
    problem, state = begin(config)
    moved = []
    for step in (0, 3, 6):
        after = updater(config)(problem, state, step, NEVER, 3)
        moved.append(np.abs(after.params["image"] - state.params["image"]).max())
        assert np.flatnonzero(np.isfinite(after.loss)).tolist() == list(range(0, step + 1, 3))
        state = after
    # The rate falls after the 3 of the prefit phase and 2 more.
    assert moved[2] < 1e-4 * min(moved[:2])


@pytest.mark.parametrize("trusted", [True, False])
def test_a_kernel_that_is_begun_with_stands_still_while_the_image_learns(trusted):
    config = dataclasses.replace(config_of("vdip-sparse"), hold_kernel=2)
    problem, state = begin(config)
    problem = problem._replace(anew=jnp.asarray(not trusted))
    moved = []
    for step in range(4):
        after = updater(config)(problem, state, step, NEVER)
        moved.append(differing(after.params, state.params))
        state = after
    both = {"image", "kernel"}
    assert moved == [{"image"} if trusted else both] * 2 + [both] * 2


@pytest.mark.parametrize(
    ("step", "phase"), [(0, "prefit"), (2, "prefit"), (3, "variational"), (8, "variational"), (9, "ssim"), (12, "ssim")]
)
def test_each_step_has_the_loss_of_its_phase(step, phase):
    check_phase(config_of("vdip-sparse"), step, phase)


@pytest.mark.parametrize(
    ("step", "anew", "phase"),
    [(2, True, "prefit"), (3, False, "ssim"), (3, True, "variational"), (6, True, "variational"), (7, True, "ssim")],
)
def test_of_an_attempt_from_nothing_two_fifths_are_variational(step, anew, phase):
    config = dataclasses.replace(config_of("vdip-sparse"), start="classical", variational_steps=0, ssim_steps=10)
    check_phase(config, step, phase, anew=jnp.asarray(anew))


def check_phase(config, step, phase, **attempt):
    problem = begin(config)[0]._replace(**attempt)
    draws = np.random.default_rng(step)
    std = draws.uniform(0.1, 0.2, (36, 36, 1)).astype(np.float32)
    kernel = np.full((5, 3), 1 / 15, np.float32)
    posterior = Posterior(draws.random((36, 36, 1)).astype(np.float32), std, np.log(std), kernel)
    noise = steps.draws(problem, step, config)
    expected = {
        "prefit": lambda: objective.prefit_loss(posterior, problem.targets),
        "variational": lambda: objective.variational_loss(posterior, problem.y, noise, 0.1, config),
        "ssim": lambda: objective.ssim_loss(posterior, problem.y),
    }[phase]
    got = phase_loss(problem, posterior, step, config)
    # Two compiled programs of one formula in float32.
    np.testing.assert_allclose(got, jax.jit(expected)(), rtol=1e-5)


@functools.partial(jax.jit, static_argnums=3)
def phase_loss(problem, posterior, step, config):
    return steps.phase_loss(problem, posterior, step, config, steps.draws)


def test_draws_depend_on_the_step_and_on_nothing_else():
    config = config_of("vdip-sparse")
    problem, _ = begin(config)
    first, again, other = (steps.draws(problem, step, config).likelihood for step in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_inputs_are_drawn_on_the_canvas_and_differ_between_keys():
    y = jnp.zeros((12, 13, 3))
    problem, other = (steps.pose(y, jax.random.key(seed), (5, 3), None) for seed in (0, 1))
    assert problem.z_image.shape == (16, 15, 3)
    assert problem.z_kernel.shape == (200,)
    assert (problem.z_image != other.z_image).mean() > 0.99
    assert (problem.z_kernel != other.z_kernel).mean() > 0.99


def test_state_starts_clean_and_without_a_kernel_network_where_the_kernel_is_known():
    config = config_of("vdip-sparse")
    y = jax.ShapeDtypeStruct((32, 34, 1), jnp.float32)
    kernel = jax.ShapeDtypeStruct((5, 3), jnp.float32)

    def start(y, kernel):
        return steps.start(steps.pose(y, KEY, (5, 3), kernel), KEY, config)

    assert set(jax.eval_shape(start, y, None).params) == {"image", "kernel"}
    known = jax.eval_shape(start, y, kernel)
    assert set(known.params) == {"image"}
    assert known.loss.shape == (config.num_steps,)
