"""solve: chunks, batches, shapes, known kernels, jit and vmap, runs that break."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from mosaics import all_come_to, comes_to
from programs import ROOT

from vdip_jax import (
    Config,
    Progress,
    Refusal,
    Result,
    alternation,
    answers,
    classical,
    finishing,
    nonblind,
    search,
    solve,
    steps,
    uncertainty,
)
from vdip_jax.candidates import Candidates, criterion

CONFIG = Config(
    channels=4,
    skip_channels=4,
    num_levels=1,
    nonlocal_from=0,
    kernel_hidden=16,
    prefit_steps=2,
    variational_steps=3,
    ssim_steps=2,
    lr_kernel=1e-3,
)
KEY = jax.random.key(7)
SIZE = (24, 20)
KERNEL_SIZE = (5, 3)
KNOWN = np.outer([1, 2, 3, 2, 1], [1, 2, 1]).astype(np.float32) / 36
# Two compiled programs of one computation round differently, and Adam divides small gradients by their own
# size: after these 7 steps the results differ by some 1e-6, by 3e-4 where a gradient next to zero changes its sign,
# which hangs on the processor; a wrong key or image differs by 0.01 and more.
ROUNDING = 5e-4
DIFFERENT = 1e-3


pytestmark = pytest.mark.usefixtures("quick_compilation")


def photo(seed, channels=1):
    """A blurred image [H, W, C]: blobs convolved with the known kernel."""
    noise = np.random.default_rng(seed).random((SIZE[0] + 4, SIZE[1] + 2, channels))
    sharp = scipy.ndimage.gaussian_filter(noise, (1, 1, 0))
    sharp = (sharp - sharp.min()) / (sharp.max() - sharp.min())
    planes = [scipy.signal.convolve2d(sharp[..., c], KNOWN, mode="valid") for c in range(channels)]
    return np.clip(np.stack(planes, axis=-1), 0, 1).astype(np.float32)


PHOTOS = np.stack([photo(seed) for seed in range(3)])
GRAY = PHOTOS[0, ..., 0]


def run(y=GRAY, key=KEY, *, config=CONFIG, **options):
    if "kernel" not in options:
        options["kernel_size"] = KERNEL_SIZE
    return jax.tree.map(np.asarray, solve(y, key, config=config, **options))


@pytest.fixture(scope="module")
def plain():
    return run()


@pytest.fixture(scope="module")
def batch():
    return run(PHOTOS)


@pytest.fixture(scope="module")
def singles():
    return [run(y[..., 0], jax.random.fold_in(KEY, i)) for i, y in enumerate(PHOTOS)]


@pytest.fixture(scope="module")
def colour():
    """Three channels and three Monte Carlo samples."""
    return run(photo(0, 3), config=dataclasses.replace(CONFIG, num_samples=3))


@pytest.fixture(scope="module")
def known():
    return run(kernel=2 * KNOWN)


def assert_identical(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_close(first, second):
    for name, a, b in zip(Result._fields[:-1], first, second, strict=False):
        # The std is scaled by what the image leaves unexplained, where little is left.
        share = 0.05 if name == "std" else 0
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=share, atol=ROUNDING, err_msg=name)
    np.testing.assert_allclose(first.candidates.criterion, second.candidates.criterion, atol=1e-3)


def check_result(result, shape):
    assert result.image.shape == result.std.shape == shape
    assert ((result.image >= 0) & (result.image <= 1)).all()
    assert ((result.std > 0) & (result.std < 1)).all()
    assert result.kernel.shape == KERNEL_SIZE
    assert (result.kernel >= 0).all()
    # float32 sum of 15 numbers.
    np.testing.assert_allclose(result.kernel.sum(), 1, rtol=1e-6)
    assert result.loss.shape == (CONFIG.num_steps,)
    assert np.isfinite(result.loss).all()
    assert result.ok.shape == () and result.ok
    assert {leaf.dtype for leaf in (result.image, result.std, result.kernel, result.loss)} == {np.dtype("float32")}


def test_gray_image_gives_a_gray_image_and_a_kernel_of_sum_one(plain):
    check_result(plain, SIZE)


def test_colour_image_and_several_samples_give_a_colour_image_and_one_kernel(colour):
    check_result(colour, (*SIZE, 3))


def test_image_with_one_channel_keeps_its_axis_and_its_numbers(plain):
    result = run(GRAY[..., None])
    check_result(result, (*SIZE, 1))
    candidates = result.candidates._replace(image=result.candidates.image[..., 0])
    bare = result._replace(image=result.image[..., 0], std=result.std[..., 0], candidates=candidates)
    assert_identical(bare, plain)


def test_image_is_the_canvas_cropped_to_the_observed_frame(monkeypatch):
    config = dataclasses.replace(CONFIG, sigma_every=999)

    def coordinates(problem, params, config):
        """A posterior whose mean counts the canvas's pixels."""
        canvas = problem.z_image.shape[:2]
        mean = jnp.arange(np.prod(canvas), dtype=jnp.float32).reshape(*canvas, 1)
        return steps.Posterior(mean, mean, mean, jnp.full(KERNEL_SIZE, 1 / 15))

    monkeypatch.setattr(steps, "estimate", coordinates)
    monkeypatch.setattr(steps, "update", lambda problem, state, **_: state)
    image = run(config=config).image
    expected = np.arange(28 * 22, dtype=np.float32).reshape(28, 22)[2:26, 1:21]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("chunk_steps", [1, 3, 1000])
def test_chunked_run_equals_the_straight_run_bit_for_bit(plain, chunk_steps):
    assert_identical(run(chunk_steps=chunk_steps), plain)


def test_chunked_batch_equals_the_straight_batch_bit_for_bit(batch):
    assert_identical(run(PHOTOS, chunk_steps=2), batch)


def test_same_key_gives_the_same_result_and_another_key_another(plain):
    assert_identical(run(key=jax.random.key(7)), plain)
    other = run(key=jax.random.key(8))
    assert np.abs(other.image - plain.image).max() > DIFFERENT
    assert np.abs(other.kernel - plain.kernel).max() > DIFFERENT


def test_batch_equals_its_images_one_by_one_with_folded_keys(batch, singles):
    assert batch.image.shape == batch.std.shape == (3, *SIZE, 1)
    assert batch.kernel.shape == (3, *KERNEL_SIZE)
    assert batch.loss.shape == (3, CONFIG.num_steps)
    assert batch.ok.tolist() == [True] * 3
    for i, single in enumerate(singles):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], batch), single)
    assert np.abs(singles[0].image - singles[1].image).max() > DIFFERENT


def test_batch_takes_one_key_an_image(batch):
    keys = jnp.stack([jax.random.fold_in(KEY, i) for i in range(3)])
    assert_identical(run(PHOTOS, keys), batch)


def test_batch_takes_the_keys_as_they_are_given(batch):
    keys = jnp.stack([jax.random.fold_in(KEY, i) for i in (1, 0, 2)])
    other = run(PHOTOS, keys)
    assert np.abs(other.image[0] - batch.image[0]).max() > DIFFERENT
    np.testing.assert_array_equal(other.image[2], batch.image[2])


def test_known_kernel_is_returned_scaled_and_only_the_image_is_solved(known, plain):
    check_result(known, SIZE)
    np.testing.assert_allclose(known.kernel, KNOWN, rtol=1e-6)
    # The prefit's kernel term is a constant that the free kernel does not have.
    assert np.abs(known.image - plain.image).max() > DIFFERENT


def test_known_kernel_may_come_with_its_own_size(known):
    assert_identical(run(kernel=2 * KNOWN, kernel_size=KERNEL_SIZE), known)


def read(progress):
    return progress._replace(loss=np.array(progress.loss), ok=np.array(progress.ok))


def test_callback_sees_every_chunk_in_order_to_the_last_step(plain):
    seen = []
    result = run(chunk_steps=2, callback=lambda progress: seen.append(read(progress)))
    assert all(isinstance(progress, Progress) for progress in seen)
    assert [(p.step, p.phase, p.num_steps) for p in seen] == [
        (2, "prefit", 7), (4, "variational", 7), (6, "ssim", 7), (7, "ssim", 7)
    ]  # fmt: skip
    assert [p.loss for p in seen] == [result.loss[p.step - 1] for p in seen]
    assert all(p.ok for p in seen)
    assert_identical(result, plain)


def test_callback_sees_monotone_steps_where_the_chunks_choose_themselves():
    seen = []
    run(callback=lambda progress: seen.append(progress.step))
    assert seen == sorted(set(seen))
    assert seen[0] >= 1 and seen[-1] == CONFIG.num_steps


def test_what_a_callback_was_told_can_be_read_after_the_run():
    seen = []
    run(chunk_steps=3, callback=seen.append)
    assert [bool(progress.ok) for progress in seen] == [True] * 3
    assert np.isfinite([float(progress.loss) for progress in seen]).all()


def test_callback_of_a_batch_sees_every_image():
    seen = []
    result = run(PHOTOS, chunk_steps=7, callback=lambda progress: seen.append(read(progress)))
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0].loss, result.loss[:, -1])
    assert seen[0].ok.tolist() == [True] * 3


def solve_plainly(y, key):
    return solve(y, key, kernel_size=KERNEL_SIZE, config=CONFIG)


def test_solve_inside_jit_equals_the_plain_call(plain):
    assert_close(jax.tree.map(np.asarray, jax.jit(solve_plainly)(GRAY, KEY)), plain)


def folded_keys():
    return jnp.stack([jax.random.fold_in(KEY, i) for i in range(3)])


@pytest.mark.parametrize("function", [solve_plainly, jax.jit(solve_plainly)], ids=["plain", "jitted"])
def test_vmap_of_solve_equals_the_images_one_by_one(function, singles):
    results = jax.tree.map(np.asarray, jax.vmap(function)(PHOTOS[..., 0], folded_keys()))
    for i, single in enumerate(singles):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], results), single)


def test_callback_is_not_called_inside_jit():
    seen = []
    jax.eval_shape(lambda y: solve(y, KEY, kernel_size=KERNEL_SIZE, config=CONFIG, callback=seen.append), GRAY)
    assert seen == []


def test_float64_image_is_solved_in_float64_where_jax_has_it():
    with jax.enable_x64(True):
        y = jax.ShapeDtypeStruct(SIZE, jnp.float64)
        result = jax.eval_shape(lambda y: solve(y, KEY, kernel_size=KERNEL_SIZE, config=CONFIG), y)
    assert {leaf.dtype for leaf in result[:4]} == {jnp.dtype("float64")}


def test_run_that_overflows_stops_and_keeps_a_finite_image():
    # The first update throws the parameters so far that the network's squares overflow.
    result = run(config=dataclasses.replace(CONFIG, lr_image=1e30))
    assert not result.ok
    assert np.isfinite(result.loss[0]) and not np.isfinite(result.loss[1])
    for field in (result.image, result.std, result.kernel):
        assert np.isfinite(field).all()
    np.testing.assert_allclose(result.kernel.sum(), 1, rtol=1e-6)


def test_image_that_breaks_in_the_middle_leaves_the_others_of_its_batch_alone(monkeypatch, singles):
    # A setting that no step of this schedule reaches, so that programs compiled with the fault stay apart.
    config = dataclasses.replace(CONFIG, sigma_every=1001)
    healthy = steps.update
    broken_image = jnp.asarray(PHOTOS[1])

    def update(problem, state, **options):
        """The true update, its draws NaN at step 3 of one image."""

        def draws(problem, step, config):
            broken = (step == 3) & (problem.y == broken_image).all()
            return jax.tree.map(lambda eps: jnp.where(broken, jnp.nan, eps), steps.draws(problem, step, config))

        return healthy(problem, state, draws=draws, **options)

    monkeypatch.setattr(steps, "update", update)
    seen = []
    result = run(PHOTOS, config=config, chunk_steps=2, callback=lambda progress: seen.append(read(progress)))
    assert [p.ok.tolist() for p in seen] == [[True] * 3] + [[True, False, True]] * 3
    assert result.ok.tolist() == [True, False, True]
    assert np.isfinite(result.image).all() and np.isfinite(result.kernel).all()
    for i in (0, 2):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], result), singles[i])
    # The broken one is not where it started: it keeps what it had learned up to its last good state.
    np.testing.assert_allclose(result.loss[1, :3], singles[1].loss[:3], rtol=0, atol=ROUNDING)
    assert np.isnan(result.loss[1, 3])
    np.testing.assert_allclose(result.kernel[1].sum(), 1, rtol=1e-6)


WARM = dataclasses.replace(CONFIG, start="classical", variational_steps=0)


@pytest.fixture(scope="module")
def refined():
    return run(config=WARM)


def test_refined_answer_is_the_one_of_four_candidates_with_the_lowest_criterion(refined):
    candidates = refined.candidates
    assert candidates.image.shape == (4, *SIZE) and candidates.kernel.shape == (4, *KERNEL_SIZE)
    np.testing.assert_array_equal(refined.kernel, candidates.kernel[refined.choice])
    assert refined.agreement > finishing.UNSURE and refined.choice == answers.best(jnp.asarray(candidates.criterion))
    for image, kernel, value in zip(*candidates, strict=True):
        np.testing.assert_allclose(criterion(GRAY, image, kernel), value, rtol=1e-4)
    start, network, *refined_kernels = candidates.kernel
    # Of all the weight of the start's picture.
    weight = finishing.fidelity(GRAY[..., None], start)

    def finish(kernel):
        return nonblind.deconvolve(GRAY[..., None], kernel, fidelity=weight)[..., 0]

    for image, kernel, before in zip(
        candidates.image[2:], refined_kernels, (network, (start + network) / 2), strict=True
    ):
        # Half of what the picture of the kernel before shows.
        fitted = alternation.fit_to(finish(before), GRAY, before)
        assert np.abs(fitted - before).max() > 1e-3
        np.testing.assert_allclose(kernel, (before + fitted) / 2, atol=1e-4)
        np.testing.assert_allclose(image, finish(kernel), atol=1e-3)


@pytest.mark.parametrize(("agreement", "doubt"), [(0.95, 0), (0.5, 0.75), (0.2, 1)])
def test_some_of_the_photograph_stays_in_the_picture_of_a_doubtful_kernel(agreement, doubt):
    y = photo(0)
    image, kernel = y[::-1], jnp.asarray(KNOWN)
    begun = classical.Start(image, kernel, jnp.asarray(True), jnp.asarray(agreement, jnp.float32), 5000.0)
    result = answers.of_start(y, begun, Config.preset("instant"))
    sure = np.asarray(uncertainty.refit(y, image, kernel))
    expected = doubt * (sure**2).mean()
    left = expected / (expected + ((y - image) ** 2).mean())
    np.testing.assert_allclose(result.reserve, left, rtol=1e-3)
    np.testing.assert_allclose(result.image, image + left * (y - image), atol=1e-4)
    np.testing.assert_array_equal(result.candidates.image[0], image)
    assert (result.std > sure).all() if doubt else np.allclose(result.std, sure)


def test_a_share_of_the_networks_image_is_in_the_answer(refined):
    worse_by = refined.candidates.criterion[1] - refined.candidates.criterion[refined.choice]
    chosen, network = refined.candidates.image[refined.choice], refined.candidates.image[1]
    errors = np.asarray(uncertainty.refit(GRAY[..., None], chosen[..., None], refined.kernel))
    alike = (errors**2).mean() / (2 * ((network - chosen) ** 2).mean())
    share = 1 / (1 + np.exp(worse_by * max(alike, 1)))
    np.testing.assert_allclose(refined.share, share, rtol=1e-3)
    assert np.abs(refined.image - chosen).max() > 1e-4
    np.testing.assert_allclose(refined.image, (1 - share) * chosen + share * network, atol=1e-6)


def test_the_networks_share_is_the_smaller_the_worse_its_image_and_the_more_alike_the_errors():
    def share(worse_by, error=0.1, difference=0.1):
        some = jnp.full((4, 5, 1), error), jnp.full((4, 5, 1), difference)
        return answers.networks_share(jnp.array(worse_by, float), *some)

    np.testing.assert_allclose([share(-0.1), share(0)], 0.5)
    np.testing.assert_allclose([share(1), share(2)], [1 / (1 + np.e), 1 / (1 + np.e**2)])
    # The criterion counts twice and fifty times as much where the two differ by much less than the answer errs.
    np.testing.assert_allclose(share(1, difference=0.05), share(2), rtol=1e-5)
    assert share(1, difference=0.01) < 1e-6
    np.testing.assert_allclose([share(1, difference=0.2), share(1, difference=0.1 / 2**0.5)], share(1))
    # A network that is the answer itself; one whose image is of no use; nothing that is.
    np.testing.assert_allclose([share(0, difference=0.0), share(np.inf), share(np.nan)], [0.5, 0, 0])


@pytest.mark.parametrize(("lead", "choice"), [(0.4, 0), (0.2, 2), (np.inf, 0)])
def test_the_classical_estimate_is_the_answer_only_by_a_margin(lead, choice):
    assert answers.best(jnp.asarray([-9 - lead, -8, -9, -8.5])) == choice


@pytest.mark.parametrize(("lead", "choice"), [(0.02, 2), (0.05, 3)])
def test_the_mean_kernel_counts_only_where_it_is_clearly_better(lead, choice):
    assert answers.best(jnp.asarray([-9, -8, -9, -9 - lead])) == choice


@pytest.mark.parametrize(
    ("start", "last", "choice"), [(-9.0, -8.5, 3), (-9.6, -8.5, 0), (-9.0, np.inf, 2), (np.inf, -8.5, 3)]
)
def test_in_doubt_the_attempt_is_chosen_whose_kernel_explains_the_photograph_best(start, last, choice):
    y, across = photo(0), np.zeros(KERNEL_SIZE, np.float32)
    across[2] = 1 / 3
    kernels = jnp.asarray(np.stack([across, KNOWN, np.full(KERNEL_SIZE, 1 / 15, np.float32), KNOWN]))
    candidates = Candidates(jnp.stack([y] * 4), kernels, jnp.array([start, -20, -9, last]))
    assert answers.best_in_doubt(y[..., 0], candidates) == choice


@pytest.mark.parametrize("way", ["chunks", "jit", "batch"])
def test_from_a_doubtful_start_there_is_a_short_attempt_first(monkeypatch, way):
    monkeypatch.setattr(classical, "estimate", lambda gray, size: comes_to(KNOWN, 0.5))
    # A share of its own, so that programs compiled with a sure start stay apart.
    config = dataclasses.replace(WARM, ssim_steps=7, hold_kernel=1)
    told = []
    if way == "chunks":
        result = run(config=config, chunk_steps=2, callback=lambda progress: told.append(read(progress)))
        assert [progress.step for progress in told] == [0, 2, 3, 5, 7, 9, 11, 12]
        assert {progress.num_steps for progress in told} == {12}
        phases = ["start", "ssim", "ssim", "prefit", "ssim", "ssim", "ssim", "ssim"]
        assert [progress.phase for progress in told] == phases
    elif way == "jit":
        result = jax.jit(lambda y: solve(y, KEY, kernel_size=KERNEL_SIZE, config=config))(GRAY)
    else:
        both = run(PHOTOS[:2, ..., 0:1], key=jnp.stack([KEY, KEY]), config=config)
        result = jax.tree.map(lambda leaf: leaf[0], both)
    start, network, again, first = result.candidates.kernel
    np.testing.assert_array_equal(start, KNOWN)
    # The network's second kernel knows nothing of the start, that of its first attempt is next to it.
    assert np.abs(network - 1 / 15).max() < 0.02 < np.abs(first - 1 / 15).max()
    assert np.isfinite(result.loss).all() and result.choice in (0, 2, 3)
    # Doubt of the start is doubt of what came of it; a kernel that is found from nothing is another one.
    assert (result.reserve > 0) == (result.choice != 2)
    image, chosen = np.asarray(result.image).reshape(GRAY.shape), result.candidates.image[result.choice]
    chosen, other = chosen.reshape(GRAY.shape), result.candidates.image[1].reshape(GRAY.shape)
    mixed_in = result.share * (other - chosen) + result.reserve * (GRAY - chosen)
    np.testing.assert_allclose(image, chosen + mixed_in, atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "agreement", "comes"), [(0, 0.5, True), (0, 0.9, True), (1, 0.5, False), (2, 0.5, False), (3, 0.5, True)]
)
def test_which_kernels_come_of_the_start(choice, agreement, comes):
    assert answers.comes_of_start(choice, agreement) == comes
    assert not answers.comes_of_start(3, 0.9)


def test_beside_a_doubtful_start_a_sure_one_comes_to_what_it_does_alone(monkeypatch):
    doubtful = PHOTOS[1, ..., 0].mean()
    # Arrays, so that one program is traced for both.
    monkeypatch.setattr(
        classical,
        "estimate",
        lambda gray, size: comes_to(KNOWN, jnp.where(abs(gray.mean() - doubtful) < 1e-6, 0.5, 0.9)),
    )
    config = dataclasses.replace(WARM, ssim_steps=8, hold_kernel=1)
    alone = run(PHOTOS[0, ..., 0:1], config=config)
    told = []
    keys = jnp.stack([KEY, KEY])
    both = run(
        PHOTOS[:2, ..., 0:1],
        key=keys,
        config=config,
        chunk_steps=4,
        callback=lambda progress: told.append(progress.step),
    )
    assert told == [0, 4, 8, 12, 14]
    np.testing.assert_allclose(both.agreement, [0.9, 0.5])
    np.testing.assert_allclose(both.image[0], alone.image, atol=ROUNDING)
    np.testing.assert_allclose(both.loss[0], alone.loss, rtol=1e-3)
    np.testing.assert_allclose(both.candidates.kernel[0], alone.candidates.kernel, atol=ROUNDING)


def test_std_is_that_of_the_answer_unless_the_posterior_is_asked_for(refined):
    chosen = refined.candidates.image[refined.choice]
    expected = uncertainty.refit(GRAY[..., None], chosen[..., None], refined.kernel)[..., 0]
    difference = refined.candidates.image[1] - chosen
    share = (refined.image - chosen)[difference != 0] / difference[difference != 0]
    expected = uncertainty.widened(expected[..., None], difference[..., None], np.median(share))[..., 0]
    np.testing.assert_allclose(refined.std, expected, rtol=2e-3)
    posterior = run(config=dataclasses.replace(WARM, std="posterior"))
    np.testing.assert_allclose(posterior.image, refined.image, atol=1e-5)
    assert np.corrcoef(posterior.std.ravel(), refined.std.ravel())[0, 1] < 0.9
    point = run(config=dataclasses.replace(WARM, std="posterior", method="dip"))
    assert not point.std.any()


def test_kernel_network_sets_out_from_the_classical_kernel(refined):
    held = run(config=dataclasses.replace(WARM, lr_kernel=1e-9, lr_image=1e-9))
    start, network = held.candidates.kernel[:2]
    # Of the mass a tenth is spread evenly; the network's own logits are small but not zero.
    np.testing.assert_allclose(network, 0.9 * start + 0.1 / start.size, rtol=0.9)
    assert np.corrcoef(network.ravel(), start.ravel())[0, 1] > 0.95


def test_no_steps_after_a_classical_start_give_the_classical_estimate(refined):
    config = dataclasses.replace(WARM, prefit_steps=0, ssim_steps=0)
    told = []
    result = run(config=config, callback=lambda progress: told.append((progress.phase, progress.step)))
    assert told == [("start", 0)]
    assert result.loss.shape == (0,) and result.ok and result.choice == 0
    start = refined.candidates.image[0]
    # Settings agree on this small image by less than 0.95.
    assert 0 < result.reserve < 0.1
    np.testing.assert_allclose(result.image, start + result.reserve * (GRAY - start), atol=1e-6)
    assert (result.std > 0).all()


def test_a_start_of_no_use_is_left_out_and_alone_gives_the_blurred_image_back(monkeypatch):
    delta = jnp.zeros((2, *KERNEL_SIZE)).at[:, 2, 1].set(1.0)
    monkeypatch.setattr(search, "_searched", all_come_to(delta))
    result = run(config=WARM)
    assert np.isinf(result.candidates.criterion).tolist() == [True, False, False, True] and result.ok
    assert result.choice in (1, 2)
    # The kernel's network then sets out from the uniform kernel.
    assert result.kernel.max() < 0.3
    alone = run(config=dataclasses.replace(WARM, prefit_steps=0, ssim_steps=0))
    assert not alone.ok and not alone.std.any()
    np.testing.assert_array_equal(alone.image, GRAY)


def test_best_so_far_is_what_ending_there_gives_and_true_ends_it():
    bests = []

    def stop_at_two(progress):
        bests.append(jax.tree.map(np.asarray, progress.best()))
        return progress.step == 2

    ended = run(config=WARM, callback=stop_at_two, chunk_steps=1)
    assert [best.candidates.criterion.shape for best in bests] == [(1,), (4,), (4,)]
    assert bests[-1].image.shape == SIZE
    assert_identical(bests[-1], ended)
    assert np.isfinite(ended.loss).tolist() == [True, True, False, False]
    assert ended.ok


def test_refined_batch_gives_each_image_its_own_answer(refined):
    result = run(PHOTOS, config=WARM)
    assert result.candidates.image.shape == (3, 4, *SIZE, 1)
    assert result.choice.shape == (3,)
    alone = run(PHOTOS[1, ..., 0], jax.random.fold_in(KEY, 1), config=WARM)
    np.testing.assert_allclose(result.candidates.image[1, :2, ..., 0], alone.candidates.image[:2], atol=0.02)


SPREAD = """
import sys
import jax, numpy as np
import test_solver

assert jax.device_count() == 4
seen = []
result = test_solver.run(np.stack([*test_solver.PHOTOS] * 2), config=test_solver.WARM, callback=seen.append)
assert all(progress.ok.shape == progress.loss.shape == (6,) for progress in seen)
np.savez(sys.argv[1], *jax.tree.leaves(result))
"""


def test_batch_spread_over_four_devices_equals_the_batch_on_one(tmp_path):
    """Six images: the devices get two each, the last of them copies that nobody sees."""
    environment = {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    command = [sys.executable, "-P", "-c", SPREAD, str(tmp_path / "spread.npz")]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, **environment})
    together = run(np.stack([*PHOTOS] * 2), config=WARM)
    with np.load(tmp_path / "spread.npz") as arrays:
        spread = jax.tree.unflatten(jax.tree.structure(together), arrays.values())
    for a, b in zip(jax.tree.leaves(spread), jax.tree.leaves(together), strict=True):
        assert a.shape == b.shape
    np.testing.assert_array_equal(spread.ok, together.ok)
    # Another program, and the start has thresholds: what lies at one goes either way as sums are rounded: few pixels.
    for a, b in ((spread.image, together.image), (spread.std, together.std)):
        assert np.median(np.abs(a - b)) < ROUNDING
    np.testing.assert_allclose(spread.loss, together.loss, atol=0.01)
    np.testing.assert_allclose(spread.candidates.image, together.candidates.image, atol=0.02)
    np.testing.assert_allclose(spread.candidates.kernel, together.candidates.kernel, atol=0.02)
    first, second, *_ = spread.candidates.image
    assert np.abs(first - second).max() > 0.2


def test_with_a_known_kernel_the_start_is_its_finish():
    result = run(kernel=KNOWN, config=WARM)
    np.testing.assert_allclose(result.candidates.kernel, np.stack([KNOWN] * 4), rtol=1e-6)
    for finished in result.candidates.image[2:]:
        np.testing.assert_allclose(result.candidates.image[0], finished, atol=1e-4)


def test_an_estimated_kernel_is_set_out_from_and_goes_on_to_change(refined):
    result = run(init_kernel=3 * KNOWN, config=WARM)
    np.testing.assert_allclose(result.candidates.kernel[0], KNOWN, rtol=1e-6)
    assert np.isnan(result.agreement) and np.isfinite(result.loss).all()
    moved = np.abs(result.candidates.kernel[1] - KNOWN).max()
    assert moved > 1e-3
    # It is nearer to the estimate than what sets out from the classical one.
    assert np.abs(refined.candidates.kernel[1] - KNOWN).max() > moved


def test_an_estimated_kernel_that_cannot_be_set_out_from_is_refused():
    for arguments, words in (
        (dict(kernel=KNOWN, config=WARM), "contradict"),
        (dict(config=CONFIG), "start='classical'"),
        (dict(kernel_size=3, config=WARM), "given kernel"),
        (dict(config=WARM, init_kernel=-KNOWN), "non-negative"),
    ):
        with pytest.raises(Refusal, match=words):
            solve(GRAY, KEY, **{"init_kernel": KNOWN, **arguments})


def test_refining_inside_jit_gives_the_same_start(refined):
    solved = jax.jit(lambda y: solve(y, KEY, kernel_size=KERNEL_SIZE, config=WARM))(GRAY)
    np.testing.assert_allclose(solved.candidates.image[0], refined.candidates.image[0], atol=1e-3)
    assert np.isfinite(solved.loss).all()


def test_image_too_small_for_a_classical_start_is_refused():
    with pytest.raises(Refusal, match="start='uniform'"):
        run(np.zeros((24, 24), np.float32), config=WARM, kernel_size=11, kernel=None)
