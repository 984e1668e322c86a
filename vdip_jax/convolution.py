"""The convolution of the image's network, as each platform does it fastest."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2016): 16 products for four outputs of a 3x3 window in place
# of 36, as matrices for one axis: of a tile of four inputs, of the window, of the four products.
_TILE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_WINDOW = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_PRODUCTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
# Below that the sums around the products take as long as is saved.
_LEAST_CHANNELS, _LEAST_PIXELS = 64, 2000

Grid = list[list[jax.Array]]


def convolve(padded: jax.Array, weight: jax.Array, stride: int) -> jax.Array:
    """Cross-correlate `padded` [H + w - 1, W + w - 1, I] with `weight` [w, w, I, O], valid part.

    On CPUs matrix products instead of a convolution primitive, which is several times slower there, its weight
    gradient inside a loop by an order of magnitude; on accelerators the primitive is the fast path. Half precision is
    that of the operands and of the result; sums are of float32.
    """
    # Asked here and not when compiling (`jax.lax.platform_dependent`): both ways and their gradients would be traced.
    if jax.default_backend() != "cpu":
        return convolve_one_by_one(padded, weight, stride)
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    minimal = weight.shape[0] == 3 and stride == 1
    minimal = minimal and min(weight.shape[2:]) >= _LEAST_CHANNELS and height * width >= _LEAST_PIXELS
    by_products = convolve_minimally if minimal else functools.partial(convolve_by_rows, stride=stride)
    wide = jnp.promote_types(padded.dtype, jnp.float32)
    return by_products(padded.astype(wide), weight.astype(wide)).astype(padded.dtype)


def convolve_plainly(padded: jax.Array, weight: jax.Array, stride: int, precision: str | None = None) -> jax.Array:
    """`convolve` by the primitive, in a `precision` other than JAX's default if one is given."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    windows = (stride, stride)
    image = jax.lax.conv_general_dilated(
        padded[None], weight, windows, "VALID", dimension_numbers=dimensions, precision=precision
    )
    return image[0]


def convolve_one_by_one(padded: jax.Array, weight: jax.Array, stride: int) -> jax.Array:
    """`convolve` by the primitive, each image of a batch by itself, and so its gradient.

    Under `vmap` the primitive, every image having its own weights, would become one grouped convolution, which takes
    a GPU longer than the images one after the other, most of it to interleave their channels.
    """
    # The gradient is made where the precision asked for here is no longer that of its surroundings.
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return _convolve_one_by_one(padded, weight, stride, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_one_by_one(padded: jax.Array, weight: jax.Array, stride: int, precision: str | None) -> jax.Array:
    return _one_by_one(functools.partial(convolve_plainly, stride=stride, precision=precision))(padded, weight)


def _convolve_one_by_one_gradient(
    stride: int, precision: str | None, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def gradient(padded: jax.Array, weight: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        plainly = functools.partial(convolve_plainly, stride=stride, precision=precision)
        return jax.vjp(plainly, padded, weight)[1](cotangent)

    return _one_by_one(gradient)(*saved, cotangent)


_convolve_one_by_one.defvjp(
    lambda padded, weight, *settings: (_convolve_one_by_one(padded, weight, *settings), (padded, weight)),
    _convolve_one_by_one_gradient,
)


def _one_by_one(function: Callable) -> Callable:
    """`function` of arrays, which `vmap` writes out for every entry of a batch."""
    single = jax.custom_batching.custom_vmap(function)

    @single.def_vmap
    def written_out(size: int, batched: Sequence[bool], *arguments: jax.Array) -> tuple[Any, Any]:
        results = [
            function(*(a[i] if along else a for a, along in zip(arguments, batched, strict=True))) for i in range(size)
        ]
        stacked = jax.tree.map(lambda *entries: jnp.stack(entries), *results)
        return stacked, jax.tree.map(lambda _: True, stacked)

    return single


def convolve_by_rows(padded: jax.Array, weight: jax.Array, stride: int) -> jax.Array:
    """`convolve` by one matrix product: rows of a window side by side in its depth, columns added up after it."""
    size, _, depth, features = weight.shape
    height = (padded.shape[0] - size) // stride + 1
    width = (padded.shape[1] - size) // stride + 1
    rows = [padded[i : i + stride * (height - 1) + 1 : stride] for i in range(size)]
    stacked = jnp.concatenate(rows, axis=-1)
    columns = weight.transpose(0, 2, 1, 3).reshape(size * depth, size, features)
    if stride == 1:
        # All columns of the window in one product over contiguous memory, then shifted sums.
        flat = stacked.reshape(-1, size * depth) @ columns.reshape(size * depth, -1)
        product = flat.reshape(height, -1, size, features)
        return functools.reduce(jnp.add, [product[:, j : j + width, j] for j in range(size)])
    last = stride * (width - 1) + 1
    return functools.reduce(
        jnp.add, [jnp.tensordot(stacked[:, j : j + last : stride], columns[:, j], 1) for j in range(size)]
    )


@jax.custom_vjp
def convolve_minimally(padded: jax.Array, weight: jax.Array) -> jax.Array:
    """`convolve` of a 3x3 window without stride by minimal filtering, with 16/36 of the multiplications.

    The gradient is written out, for that of slices is slow; its products are as few. Sixteen matrices in a list and
    not one array, since putting them together would take longer than filling them.
    """
    return _convolve_minimally(padded, weight)[0]


def _convolve_minimally(padded: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[Grid, jax.Array]]:
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    rows, columns = _num_tiles(height, width)
    even = jnp.pad(padded, ((0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
    # Tiles of 4x4 overlap by two: each is made of blocks of 2x2, its own and the next ones.
    blocks = even.reshape(rows + 1, 2, columns + 1, 2, -1)
    pixels = [
        [blocks[i // 2 : i // 2 + rows, i % 2, j // 2 : j // 2 + columns, j % 2] for j in range(4)] for i in range(4)
    ]
    tiles = _over_grid(lambda tile: tile.reshape(rows * columns, -1), _transformed(_TILE, pixels))
    window = _of_window(weight)
    products = [[(tiles[i][j] @ window[i, j]).reshape(rows, columns, -1) for j in range(4)] for i in range(4)]
    image = _interleaved(_transformed(_PRODUCTS, products))
    return image[:height, :width], (tiles, window)


def _convolve_minimally_gradient(saved: tuple[Grid, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The transforms' transposes in reverse order."""
    tiles, window = saved
    height, width = cotangent.shape[:2]
    rows, columns = _num_tiles(height, width)
    even = jnp.pad(cotangent, ((0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
    blocks = even.reshape(rows, 2, columns, 2, -1)
    pixels = [[blocks[:, i, :, j] for j in range(2)] for i in range(2)]
    products = _over_grid(lambda p: p.reshape(rows * columns, -1), _transformed(_PRODUCTS.T, pixels))
    of_window = jnp.stack([jnp.stack([tiles[i][j].T @ products[i][j] for j in range(4)]) for i in range(4)])
    of_weight = jax.linear_transpose(_of_window, jnp.zeros((3, 3, *window.shape[2:]), window.dtype))(of_window)[0]
    of_tiles = [[(products[i][j] @ window[i, j].T).reshape(rows, columns, -1) for j in range(4)] for i in range(4)]
    overlapping = _transformed(_TILE.T, of_tiles)

    def block(i: int, j: int) -> jax.Array:
        """Sum of the four tiles that hold a pixel [i, j] of every block."""
        shifts = [(a, b) for a in range(2) for b in range(2)]
        parts = [jnp.pad(overlapping[i + 2 * a][j + 2 * b], ((a, 1 - a), (b, 1 - b), (0, 0))) for a, b in shifts]
        return functools.reduce(jnp.add, parts)

    of_padded = _interleaved([[block(i, j) for j in range(2)] for i in range(2)])
    return of_padded[: height + 2, : width + 2], of_weight


convolve_minimally.defvjp(_convolve_minimally, _convolve_minimally_gradient)


def _num_tiles(height: int, width: int) -> tuple[int, int]:
    return -(-height // 2), -(-width // 2)


def _of_window(weight: jax.Array) -> jax.Array:
    """[3, 3, I, O] to [4, 4, I, O]."""
    matrix = _WINDOW.astype(weight.dtype)
    return jnp.einsum("ai,bj,ijco->abco", matrix, matrix, weight)


def _transformed(matrix: np.ndarray, grid: Grid) -> Grid:
    """`matrix` times `grid` times its transpose, all entries of the matrix being -1, 0 or 1."""
    rows = [[_sum(row, column) for column in zip(*grid, strict=True)] for row in matrix]
    return [[_sum(column, row) for column in matrix] for row in rows]


def _sum(signs: np.ndarray, terms: Sequence[jax.Array]) -> jax.Array:
    first, *rest = [(sign, term) for sign, term in zip(signs, terms, strict=True) if sign]
    total = first[1] if first[0] > 0 else -first[1]
    for sign, term in rest:
        total = total + term if sign > 0 else total - term
    return total


def _over_grid(function: Callable[[jax.Array], jax.Array], grid: Grid) -> Grid:
    return [[function(entry) for entry in row] for row in grid]


def _interleaved(grid: Grid) -> jax.Array:
    """2x2 images [h, w, C], each a pixel of every block, as one [2 h, 2 w, C]."""
    height, width, channels = grid[0][0].shape
    stacked = jnp.stack([jnp.stack(row, axis=2) for row in grid], axis=1)
    return stacked.reshape(2 * height, 2 * width, channels)
