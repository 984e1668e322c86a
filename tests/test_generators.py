"""The networks' parts against plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import assert_same, random, value_and_gradients

from vdip_jax import generators
from vdip_jax.generators import (
    ImageGenerator,
    KernelGenerator,
    NonLocal,
    generate,
    initial_parameters,
    parameter_tree,
    parameter_vector,
)

IMAGE = ImageGenerator(features=6, channels=8, skip_channels=4, num_levels=2, nonlocal_from=1)
KERNEL = KernelGenerator(hidden=16, kernel_size=(5, 3))
Z_IMAGE = np.zeros((13, 14, 3), np.float32)
Z_KERNEL = np.zeros(200, np.float32)
GENERATORS = {"image": (IMAGE, Z_IMAGE), "kernel": (KERNEL, Z_KERNEL)}


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def initial(quick_compilation):
    """What `initial_parameters` draws for both networks."""
    draw = jax.jit(initial_parameters, static_argnums=0)
    return {name: draw(generator, jax.random.key(1), z) for name, (generator, z) in GENERATORS.items()}


@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (9, 6)])
def test_linear_nonlocal_block_equals_the_naive_product(x64, shape):
    channels, inner = 6, 3
    x = random(*shape, channels)
    tree = jax.eval_shape(NonLocal().init, jax.random.key(0), x)["params"]
    # The norm starts at zero, which would hide the rest: all parameters random.
    keys = iter(range(1, 100))
    params = jax.tree.map(lambda leaf: random(*leaf.shape, seed=next(keys)), tree)

    def project(name):
        return x @ params[name]["weight"][0, 0] + params[name]["bias"]

    def pooled(t):
        rows, columns = shape[0] // 2, shape[1] // 2
        blocks = [t[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1)) for i in range(rows) for j in range(columns)]
        return np.stack(blocks)

    theta, phi, g = project("theta").reshape(-1, inner), pooled(project("phi")), pooled(project("g"))
    attended = ((theta @ phi.T) @ g / len(g)).reshape(*shape, inner)
    out = attended @ params["out"]["weight"][0, 0] + params["out"]["bias"]
    norm = (out - out.mean((0, 1))) / np.sqrt(out.var((0, 1)) + 1e-5)
    expected = x + norm * params["norm"]["scale"] + params["norm"]["offset"]
    assert_same(jax.jit(NonLocal().apply)({"params": params}, x), expected)


@pytest.mark.parametrize("shape", [(4, 5, 2), (1, 3, 1), (2, 2, 3)])
def test_upsampling_equals_linear_resize(x64, shape):
    def resize(x):
        return jax.image.resize(x, (2 * shape[0], 2 * shape[1], shape[2]), "linear")

    probe = random(2 * shape[0], 2 * shape[1], shape[2], seed=1)
    expected = value_and_gradients(resize, probe, random(*shape))
    assert_same(value_and_gradients(generators.upsample, probe, random(*shape)), expected)


@pytest.mark.parametrize("shape", [(4, 5, 2), (2, 3, 1)])
def test_reflection_equals_jnp_pad(x64, shape):
    def pad(x):
        return jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="reflect")

    probe = random(shape[0] + 2, shape[1] + 2, shape[2], seed=1)
    expected = value_and_gradients(pad, probe, random(*shape))
    assert_same(value_and_gradients(generators.reflect, probe, random(*shape)), expected)


NETWORKS = pytest.mark.parametrize(("name", "generator", "z"), [(name, *it) for name, it in GENERATORS.items()])


@NETWORKS
def test_parameter_vector_and_tree_hold_the_same_entries(name, generator, z):
    expected = jax.eval_shape(generator.init, jax.random.key(0), z)["params"]
    size = sum(leaf.size for leaf in jax.tree.leaves(expected))
    tree = parameter_tree(generator, jnp.arange(size), z)
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    assert jax.tree.map(jnp.shape, tree) == jax.tree.map(jnp.shape, expected)
    # Round trip: every entry once, in its place.
    np.testing.assert_array_equal(parameter_vector(tree), np.arange(size))


@NETWORKS
def test_generating_from_the_vector_equals_applying_the_tree(initial, name, generator, z):
    vector = parameter_vector(initial[name])
    z = z + np.random.default_rng(0).random(z.shape, np.float32)
    expected = jax.jit(generator.apply)({"params": initial[name]}, z)
    # The same program but for where its parameters come from.
    found = jax.jit(lambda vector: generate(generator, parameter_tree(generator, vector, z), z))(vector)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_convolutions_start_uniform_within_their_fan_in(initial):
    weights = 0
    for path, leaf in jax.tree.leaves_with_path(initial["image"]):
        names = [part.key for part in path]
        if names[-1] not in ("weight", "bias"):
            continue
        node = initial["image"]
        for name in names[:-1]:
            node = node[name]
        bound = np.prod(node["weight"].shape[:3]) ** -0.5
        assert np.abs(leaf).max() <= bound, path
        if leaf.size >= 200:
            # Uniform: the largest of n is within a few parts in n of the bound, the spread is bound / sqrt(3).
            assert np.abs(leaf).max() > 0.97 * bound, path
            np.testing.assert_allclose(leaf.std(), bound / 3**0.5, rtol=0.1, err_msg=str(path))
            weights += 1
    assert weights >= 4


def test_perceptron_starts_uniform_within_its_fan_in(initial):
    tree = initial["kernel"]
    for name, fan_in in (("hidden", 200), ("out", 16)):
        for leaf in (tree[f"{name}_weight"], tree[f"{name}_bias"]):
            assert np.abs(leaf).max() <= fan_in**-0.5
            assert np.abs(leaf).max() > 0.6 * fan_in**-0.5


def test_norms_start_at_one_and_the_nonlocal_norm_at_zero(initial):
    scales = 0
    for path, leaf in jax.tree.leaves_with_path(initial["image"]):
        names = [part.key for part in path]
        if names[-1] == "offset":
            np.testing.assert_array_equal(leaf, 0)
        if names[-1] == "scale":
            np.testing.assert_array_equal(leaf, 0 if "nonlocal" in names[0] else 1)
            scales += 1
    # Of two levels each: skip, down1, down2, join, up1, up2; and one non-local block.
    assert scales == 13


def test_two_keys_draw_different_parameters(initial):
    other = jax.jit(initial_parameters, static_argnums=0)(KERNEL, jax.random.key(2), Z_KERNEL)
    assert np.abs(parameter_vector(other) - parameter_vector(initial["kernel"])).max() > 0.01


@pytest.mark.parametrize("size", [(5, 5), (6, 9), (13, 14)])
def test_image_generator_keeps_the_canvas_size(size):
    z = jax.ShapeDtypeStruct((*size, 3), jnp.float32)
    variables = jax.eval_shape(IMAGE.init, jax.random.key(0), z)
    assert jax.eval_shape(IMAGE.apply, variables, z).shape == (*size, 6)


def test_kernel_generator_starts_near_the_uniform_kernel(initial):
    logits = KERNEL.apply({"params": initial["kernel"]}, np.full(200, 0.05, np.float32))
    assert logits.shape == (5, 3)
    np.testing.assert_allclose(jax.nn.softmax(logits, axis=(0, 1)), 1 / 15, rtol=0.7)


def test_input_noise_is_uniform_from_zero_to_a_tenth():
    z = generators.draw_input(jax.random.key(0), (100, 100), jnp.float32)
    assert z.min() >= 0
    assert z.max() < 0.1
    # 10,000 draws: the mean's standard error is 0.0003, the spread is 0.1 / sqrt(12).
    assert abs(z.mean() - 0.05) < 0.0015
    np.testing.assert_allclose(z.std(), 0.1 / 12**0.5, rtol=0.03)
