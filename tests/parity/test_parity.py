"""The golden numbers: files of VDIP_PARITY_DIR, by default those beside this file.

Arrays named `*_correlation` are kernels in the correlation convention, ours rotated by 180 degrees. Golden
weights are [out, in, kh, kw] and [out, in]; ours [kh, kw, in, out] and [in, out].
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import objective, programs, steps
from vdip_jax.config import Config
from vdip_jax.generators import ImageGenerator, KernelGenerator, parameter_vector
from vdip_jax.objective import Noise, Posterior

pytestmark = pytest.mark.usefixtures("quick_compilation")
PARITY = Path(os.environ.get("VDIP_PARITY_DIR", Path(__file__).parent))


def golden(name):
    return dict(np.load(PARITY / f"{name}.npz"))


def flip(kernel):
    return kernel[::-1, ::-1]


def close(actual, expected, relative):
    """To `relative` of the array's largest entry."""
    scale = max(np.abs(expected).max(), 1e-30)
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=relative * scale)


def image_tree(entries, prefix):
    """The golden arrays `<prefix>level0/skip/conv/weight`, ... as the image generator's tree."""
    tree = {}
    for name, value in entries.items():
        if not name.startswith(prefix):
            continue
        *path, leaf = name.removeprefix(prefix).split("/")
        if path[0].startswith("level"):
            path[:2] = [f"{path[0]}_{path[1]}"]
        elif path[0] == "output":
            path = ["output"]
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    return tree


def kernel_tree(entries, prefix=""):
    """The kernel generator's tree; its outputs reversed, which rotates the kernel into our convention."""
    return {
        "hidden_weight": entries[f"{prefix}hidden_weight"].T,
        "hidden_bias": entries[f"{prefix}hidden_bias"],
        "out_weight": entries[f"{prefix}out_weight"][::-1].T,
        "out_bias": entries[f"{prefix}out_bias"][::-1],
    }


def image_generator(tree, num_levels=5):
    return ImageGenerator(
        features=tree["output"]["weight"].shape[-1],
        channels=tree["level0_down1"]["conv"]["weight"].shape[-1],
        skip_channels=tree["level0_skip"]["conv"]["weight"].shape[-1],
        num_levels=num_levels,
        nonlocal_from=2,
    )


def check_image_generator(dtype, value_tolerance, gradient_tolerance):
    entries = golden("image_generator")
    tree = jax.tree.map(lambda a: jnp.asarray(a, dtype), image_tree(entries, "param:"))
    z, probe = jnp.asarray(entries["z"], dtype), jnp.asarray(entries["probe"], dtype)
    generator = image_generator(tree)

    @jax.jit
    def run(tree):
        output, pull = jax.vjp(lambda t: jax.nn.sigmoid(generator.apply({"params": t}, z)), tree)
        return output, pull(probe)[0]

    output, grads = run(tree)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, entries["output"], rtol=0, atol=value_tolerance)
    expected = image_tree(entries, "grad:")
    assert jax.tree.structure(expected) == jax.tree.structure(grads)
    # Parameters in front of a norm have a true gradient of zero, where only rounding can be compared: by absolute
    # size, on the scale of the network's gradients.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for (path, want), got in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(grads), strict=True):
        own = np.abs(want).max()
        tolerance = gradient_tolerance * (own if own > 1e-4 * largest else largest)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=str(path))


def test_image_generator_float64(x64):
    check_image_generator(jnp.float64, 7e-5, 6e-5)


def test_image_generator_float32():
    check_image_generator(jnp.float32, 1e-5, 1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-8), ("float32", 1e-5)])
def test_kernel_generator(x64, dtype, tolerance):
    entries = golden("kernel_generator")
    tree = jax.tree.map(lambda a: jnp.asarray(a, dtype), kernel_tree(entries))
    expected = flip(entries["kernel_correlation"])
    generator = KernelGenerator(tree["hidden_bias"].size, expected.shape)
    kernel = jax.nn.softmax(generator.apply({"params": tree}, jnp.asarray(entries["z"], dtype)), axis=(0, 1))
    assert kernel.dtype == dtype
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "value", "gradient"), [("float64", 5e-6, 6e-5), ("float32", 1e-5, 1e-4)])
@pytest.mark.parametrize("prior", ["sparse", "extreme"])
@pytest.mark.parametrize("term", ["negative_kl", "expected_log_likelihood", "ssim_objective"])
def test_objective(x64, prior, term, dtype, value, gradient):
    entries = {name: jnp.asarray(array, dtype) for name, array in golden(f"objective_{prior}").items()}
    config = Config(method=f"vdip-{prior}")
    zeros = jnp.zeros_like(entries["eps"])
    noise = Noise(entries["eps"][None], entries.get("eps_dark", zeros), entries.get("eps_bright", zeros))
    terms = {
        "negative_kl": lambda q: objective.negative_kl(q, noise, config),
        "expected_log_likelihood": lambda q: objective.expected_log_likelihood(q, entries["y"], noise.likelihood),
        "ssim_objective": lambda q: -objective.ssim_loss(q, entries["y"]),
    }

    def of(mean, std, kernel):
        return terms[term](Posterior(mean, std, jnp.log(std), kernel))

    arguments = entries["mean"], entries["std"], flip(entries["kernel_correlation"])
    result, grads = jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))(*arguments)
    np.testing.assert_allclose(result, entries[term], rtol=value)
    close(grads[0], entries[f"{term}_grad_mean"], gradient)
    close(grads[1], entries[f"{term}_grad_std"], gradient)
    close(grads[2], flip(entries[f"{term}_grad_kernel"]), gradient)


def trajectory(dtype):
    """The losses and the final posterior of the golden run, our update fed with its draws."""
    entries = golden("trajectory_sparse")
    y = jnp.asarray(entries["y"], dtype)
    image = image_tree(entries, "param:")
    config = Config(
        channels=image["level0_down1"]["conv"]["weight"].shape[-1],
        skip_channels=image["level0_skip"]["conv"]["weight"].shape[-1],
        kernel_hidden=entries["kparam:hidden_bias"].size,
        prefit_steps=int(entries["num_prefit"]),
        variational_steps=int(entries["num_variational"]),
        ssim_steps=int(entries["num_ssim"]),
        lr_image=float(entries["lr_image"]),
        lr_kernel=float(entries["lr_kernel"]),
        lr_milestones=tuple(entries["lr_milestones"].tolist()),
        lr_decay=float(entries["lr_gamma"]),
        sigma_t=float(entries["noise_sigma"]),
        sigma_decay=float(entries["noise_decay"]),
        sigma_every=int(entries["noise_decay_every"]),
        precision="float32",
    )
    kernel_size = entries["final_kernel_correlation"].shape
    problem = steps.pose(y, jax.random.key(0), kernel_size, None)._replace(
        z_image=jnp.asarray(entries["z"], dtype), z_kernel=jnp.asarray(entries["z_kernel"], dtype)
    )
    params = {"image": image, "kernel": kernel_tree(entries, "kparam:")}
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
    params["image"] = parameter_vector(params["image"])
    state = steps.start(problem, jax.random.key(0), config)
    assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(jnp.shape, params)
    state = state._replace(params=params, good=params)
    eps = jnp.asarray(entries["eps"], dtype)

    def draws(problem, step, config):
        return Noise(eps[step - config.prefit_steps][None], jnp.zeros(()), jnp.zeros(()))

    @jax.jit
    def run(state):
        return jax.lax.fori_loop(0, config.num_steps, lambda i, s: steps.update(problem, s, i, config, draws), state)

    state = run(state)
    return entries, state.loss, steps.estimate(problem, state.params, config)


def test_trajectory_float64(x64):
    entries, loss, posterior = trajectory("float64")
    ssim_phase = int(entries["num_prefit"] + entries["num_variational"])
    np.testing.assert_allclose(loss[:ssim_phase], entries["losses"][:ssim_phase], rtol=1e-9)
    np.testing.assert_allclose(loss[ssim_phase:], entries["losses"][ssim_phase:], rtol=1e-6)
    np.testing.assert_allclose(posterior.kernel, flip(entries["final_kernel_correlation"]), rtol=0, atol=1e-8)
    np.testing.assert_allclose(posterior.mean, entries["final_mean"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(posterior.std, entries["final_std"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def float32_losses():
    entries, loss, _ = trajectory("float32")
    return loss[:3], entries["losses"][:3]


def test_first_two_losses_float32(float32_losses):
    loss, expected = float32_losses
    np.testing.assert_allclose(loss[:2], expected[:2], rtol=1e-4)


@pytest.mark.xfail(
    jax.__version_info__ >= (0, 11),
    reason="1.75e-4 on jax 0.12: a gradient entry below its own rounding (1.8e-8 in an array rounded to 1.2e-7) "
    "decides by its sign a whole Adam step; which way it falls is up to the compiler",
    strict=False,
)
def test_third_loss_float32(float32_losses):
    loss, expected = float32_losses
    np.testing.assert_allclose(loss[2], expected[2], rtol=1e-4)


def test_published_image_generator_has_the_published_number_of_parameters():
    y = jax.ShapeDtypeStruct((64, 64, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    _, state = jax.eval_shape(
        lambda y, key: programs.begin(y, key, None, None, kernel_size=(5, 5), config=Config(), shards=0), y, key
    )
    assert state.params["image"].size == 2_360_326
