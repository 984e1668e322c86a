"""The two untrained networks: an encoder-decoder for the image, a two-layer perceptron for the kernel.

linen lives here and nowhere else. The rest of the program sees pure functions. The image network's many small arrays
can be one vector: an update is then a handful of operations and not hundreds, in compile time as in run time. The
perceptron's few large ones are better left as they are: then its gradient, an outer product, is never written down.

A layer computes in the precision of its input; parameters and the moments of norms have at least that of float32.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vdip_jax.convolution import convolve
from vdip_jax.normalisation import normalise

KERNEL_INPUT = 200
IMAGE_INPUT = 3
INPUT_SCALE = 0.1


def _reach(fan_in: int) -> Callable[..., jax.Array]:
    """Weights and biases alike start uniform within +-1/sqrt(fan_in): the bound, the draw is `initial_parameters`'."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jnp.full(shape, fan_in**-0.5, dtype)

    return init


def reflect(image: jax.Array) -> jax.Array:
    """Pad [H, W, C] by one pixel on each side, mirrored about the edge pixel (`jnp.pad` is slower backwards)."""
    image = jnp.concatenate([image[1:2], image, image[-2:-1]], axis=0)
    return jnp.concatenate([image[:, 1:2], image, image[:, -2:-1]], axis=1)


def upsample(image: jax.Array) -> jax.Array:
    """Double [H, W, C] by bilinear interpolation at half-pixel centres, edges repeated."""
    height, width, channels = image.shape
    above = jnp.concatenate([image[:1], image[:-1]], axis=0)
    below = jnp.concatenate([image[1:], image[-1:]], axis=0)

    def doubled_columns(row: jax.Array) -> jax.Array:
        left = jnp.concatenate([row[:, :1], row[:, :-1]], axis=1)
        right = jnp.concatenate([row[:, 1:], row[:, -1:]], axis=1)
        # Neighbours in memory become neighbouring columns in the reshape below.
        return jnp.concatenate([0.25 * left + 0.75 * row, 0.75 * row + 0.25 * right], axis=-1)

    rows = [doubled_columns(0.25 * above + 0.75 * image), doubled_columns(0.75 * image + 0.25 * below)]
    return jnp.stack(rows, axis=1).reshape(2 * height, 2 * width, channels)


def _parameter_type(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


class Conv(nn.Module):
    """Convolution of `size` 1, or 3 padded by reflection, with bias.

    Where a norm follows, which takes the bias away again, the bias is a parameter but not added: in half precision it
    would drown the differences that the norm is after, since nothing holds it back from growing.
    """

    features: int
    size: int = 1
    stride: int = 1
    normed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        depth = x.shape[-1]
        init = _reach(depth * self.size**2)
        weight = self.param("weight", init, (self.size, self.size, depth, self.features), _parameter_type(x))
        bias = self.param("bias", init, (self.features,), _parameter_type(x))
        weight, bias = weight.astype(x.dtype), bias.astype(x.dtype)
        x = convolve(reflect(x), weight, self.stride) if self.size > 1 else jnp.tensordot(x, weight[0, 0], 1)
        return x if self.normed else x + bias


class Norm(nn.Module):
    """`normalise` with its parameters: per channel over the pixels of one image, then LeakyReLU(`slope`)."""

    zero: bool = False
    slope: float = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = nn.initializers.zeros if self.zero else nn.initializers.ones
        scale = self.param("scale", start, (x.shape[-1],), _parameter_type(x))
        offset = self.param("offset", nn.initializers.zeros, (x.shape[-1],), _parameter_type(x))
        return normalise(x, scale, offset, self.slope)


class Block(nn.Module):
    """Convolution, norm, LeakyReLU(0.2)."""

    features: int
    size: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.features, self.size, self.stride, normed=True, name="conv")(x)
        return Norm(slope=0.2, name="norm")(x)


class NonLocal(nn.Module):
    """Dot-product non-local block without softmax, bracketed so that it is linear in pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width, channels = x.shape
        inner = max(channels // 2, 1)

        def pooled(t: jax.Array) -> jax.Array:
            t = t[: height // 2 * 2, : width // 2 * 2]
            return t.reshape(height // 2, 2, width // 2, 2, inner).max(axis=(1, 3)).reshape(-1, inner)

        g = pooled(Conv(inner, name="g")(x))
        phi = pooled(Conv(inner, name="phi")(x))
        theta = Conv(inner, name="theta")(x)
        # theta (phi^T g): [inner, inner] in the middle where (theta phi^T) g would hold pixels x pixels.
        attended = jnp.tensordot(theta, phi.T @ g / g.shape[0], 1)
        return x + Norm(zero=True, name="norm")(Conv(channels, normed=True, name="out")(attended))


class ImageGenerator(nn.Module):
    """Encoder-decoder with skip connections: noise [H', W', 3] to logits [H', W', features].

    Computes in `dtype`, by default that of the noise, which the logits have in any case.
    """

    features: int
    channels: int
    skip_channels: int
    num_levels: int
    nonlocal_from: int
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        skips, t = [], z.astype(self.dtype or z.dtype)
        for i in range(self.num_levels):
            name = f"level{i}"
            skips.append(Block(self.skip_channels, name=f"{name}_skip")(t))
            t = Block(self.channels, 3, 2, name=f"{name}_down1")(t)
            if i >= self.nonlocal_from:
                t = NonLocal(name=f"{name}_nonlocal")(t)
            t = Block(self.channels, 3, name=f"{name}_down2")(t)
        for i in reversed(range(self.num_levels)):
            name, skip = f"level{i}", skips[i]
            t = _centre_crop(upsample(t), skip.shape[:2])
            t = Norm(name=f"{name}_concat_norm")(jnp.concatenate([skip, t], axis=-1))
            t = Block(self.channels, 3, name=f"{name}_up1")(t)
            t = Block(self.channels, name=f"{name}_up2")(t)
        return Conv(self.features, name="output")(t).astype(z.dtype)


class KernelGenerator(nn.Module):
    """Perceptron: noise [200] to the logits [kh, kw] of a softmax over the kernel's entries."""

    hidden: int
    kernel_size: tuple[int, int]

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        hidden = jnp.minimum(nn.relu(_linear(self, "hidden", z, self.hidden)), 6)
        logits = _linear(self, "out", hidden, self.kernel_size[0] * self.kernel_size[1])
        return logits.reshape(self.kernel_size)


def _linear(module: nn.Module, name: str, x: jax.Array, features: int) -> jax.Array:
    init = _reach(x.shape[-1])
    weight = module.param(f"{name}_weight", init, (x.shape[-1], features), x.dtype)
    return _product(x, weight) + module.param(f"{name}_bias", init, (features,), x.dtype)


@jax.custom_vjp
def _product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """[N] times [N, M]. The gradient is written out: an outer product in the order of the weight's memory."""
    return x @ weight


def _product_gradient(saved: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = saved
    return weight @ cotangent, x[:, None] @ cotangent[None]


_product.defvjp(lambda x, weight: (x @ weight, (x, weight)), _product_gradient)


def _centre_crop(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    top, left = (x.shape[0] - size[0]) // 2, (x.shape[1] - size[1]) // 2
    return x[top : top + size[0], left : left + size[1]]


def draw_input(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The fixed noise that a generator is fed with, uniform in [0, 0.1]."""
    return jax.random.uniform(key, shape, dtype, 0, INPUT_SCALE)


def initial_parameters(generator: nn.Module, key: jax.Array, z: jax.Array) -> Any:
    """Random parameters of `generator` for an input like `z`, as linen's tree of named arrays.

    One draw serves all arrays: a draw each, some two hundred, would take ten seconds to compile.
    """
    starts = generator.init(jax.random.key(0), z)["params"]
    leaves = jax.tree.leaves(starts)
    entries = jax.random.uniform(key, (sum(leaf.size for leaf in leaves),), leaves[0].dtype, -1, 1)

    def drawn(path: tuple[Any, ...], start: jax.Array, entries: jax.Array) -> jax.Array:
        return start * entries if path[-1].key.endswith(("weight", "bias")) else start

    return jax.tree.map_with_path(drawn, starts, parameter_tree(generator, entries, z))


def parameter_vector(tree: Any) -> jax.Array:
    """All entries of a tree of parameters as one vector [N]."""
    return ravel_pytree(tree)[0]


def parameter_tree(generator: nn.Module, vector: jax.Array, z: jax.Array) -> Any:
    """The vector [N] as the tree of parameters that `generator` has for an input like `z`."""
    shapes, tree = _parameter_shapes(generator, jax.ShapeDtypeStruct(z.shape, z.dtype))
    sizes = [math.prod(leaf.shape) for leaf in shapes]
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    parts = jnp.split(vector, stops)
    arrays = [part.reshape(leaf.shape) for part, leaf in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(tree, arrays)


@functools.lru_cache(maxsize=64)
def _parameter_shapes(generator: nn.Module, z: jax.ShapeDtypeStruct) -> tuple[list[jax.ShapeDtypeStruct], Any]:
    """Leaves and structure of the tree. Kept, for to find them out is to trace the whole network."""
    return jax.tree.flatten(jax.eval_shape(generator.init, jax.random.key(0), z)["params"])


def generate(generator: nn.Module, parameters: Any, z: jax.Array) -> jax.Array:
    """Run `generator` with a tree of `parameters` on its input `z`."""
    return jnp.asarray(generator.apply({"params": parameters}, z))
