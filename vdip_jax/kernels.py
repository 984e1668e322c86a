"""What an estimated kernel is made fit for: without specks, centred, and of use."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# A kernel's entries under this share of its largest, then components under this share of its mass, are noise.
_LEAST_ENTRY, _LEAST_COMPONENT = 0.05, 0.02
# Above this share of the mass in one entry a kernel blurs nothing.
DELTA = 0.9


def cleaned(kernel: jax.Array) -> jax.Array:
    """Without small entries and small isolated components, sum 1; all zero if nothing is left."""
    kernel = jnp.where(kernel > _LEAST_ENTRY * kernel.max(), kernel, 0).clip(0)
    labels = components(kernel > 0)
    mass = jax.ops.segment_sum(kernel.ravel(), labels.ravel(), kernel.size + 1)
    kernel = jnp.where(mass[labels] >= _LEAST_COMPONENT * kernel.sum(), kernel, 0)
    total = kernel.sum()
    return jnp.where(total > 0, kernel / jnp.where(total > 0, total, 1), 0)


def components(support: jax.Array) -> jax.Array:
    """Label the 8-connected components of a mask [kh, kw]: a number above 0 each, 0 outside."""
    kh, kw = support.shape

    def grow(labels: jax.Array) -> jax.Array:
        padded = jnp.pad(labels, 1)
        around = [padded[i : i + kh, j : j + kw] for i in range(3) for j in range(3)]
        return jnp.where(support, functools.reduce(jnp.maximum, around), 0)

    first = jnp.where(support, jnp.arange(1, kh * kw + 1).reshape(kh, kw), 0)
    return jax.lax.while_loop(
        lambda pair: (pair[0] != pair[1]).any(), lambda pair: (pair[1], grow(pair[1])), (first, grow(first))
    )[1]


def centred(kernel: jax.Array) -> jax.Array:
    """Move the middle of what is not zero to the middle of the frame, by whole pixels: there all of it has room."""
    starts = []
    for axis, length in enumerate(kernel.shape):
        present = kernel.any(1 - axis)
        first, last = present.argmax(), length - 1 - present[::-1].argmax()
        starts.append((first + last) // 2)
    padded = jnp.pad(kernel, [(length // 2, length // 2) for length in kernel.shape])
    return jax.lax.dynamic_slice(padded, starts, kernel.shape)


def framed(kernel: np.ndarray, side: int) -> np.ndarray:
    """A kernel [n, n] in a frame of another odd side around the same middle, sum 1; what lies outside is left out."""
    padded = np.pad(kernel, max(0, side - len(kernel)) // 2)
    first = (len(padded) - side) // 2
    kept = padded[first : first + side, first : first + side]
    return kept / kept.sum()


def extent(kernel: jax.typing.ArrayLike) -> tuple[int, int]:
    """How many rows and columns of a kernel [kh, kw] hold an entry above a twentieth of its largest."""
    rows, columns = _extent(np.asarray(kernel))
    return int(rows), int(columns)


def is_small(kernel: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """Whether a kernel [kh, kw] fills less than half of its frame, both in rows and in columns: often a blob."""
    rows, columns = _extent(kernel)
    return (2 * rows < kernel.shape[0]) & (2 * columns < kernel.shape[1])


def _extent(kernel: jax.Array | np.ndarray) -> tuple[Any, Any]:
    """`extent` by NumPy or, in a trace, by JAX."""
    present = kernel > _LEAST_ENTRY * kernel.max()
    return present.any(1).sum(), present.any(0).sum()


def likeness(a: jax.Array, b: jax.Array) -> jax.Array:
    """Normalised cross-correlation of two kernels [kh, kw], shifted to where they are most alike: 1 if equal."""
    return _correlation(a, b).max() / jnp.sqrt((a**2).sum() * (b**2).sum())


def mean(a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean of two kernels [kh, kw], where a is, b shifted to where they are most alike; sum 1."""
    correlation = _correlation(a, b)
    shift = jnp.array(jnp.unravel_index(correlation.argmax(), correlation.shape))
    # Shifts wrap around in a frame that has room for both.
    moved = jnp.roll(jnp.pad(b, [(0, n - 1) for n in b.shape]), shift, (0, 1))[: a.shape[0], : a.shape[1]]
    return (a + moved) / (a + moved).sum()


def _correlation(a: jax.Array, b: jax.Array) -> jax.Array:
    """Of two kernels [kh, kw], by how far b is shifted, [2 kh - 1, 2 kw - 1]; shifts wrap around."""
    size = (2 * a.shape[0] - 1, 2 * a.shape[1] - 1)
    return jnp.fft.irfft2(jnp.fft.rfft2(a, s=size) * jnp.fft.rfft2(b, s=size).conj(), s=size)


def useful(kernels: jax.Array) -> jax.Array:
    """Whether kernels [..., kh, kw] are finite, sum to one and blur at all."""
    finite = jnp.isfinite(kernels).all((-2, -1)) & (kernels.sum((-2, -1)) > 0.5)
    return finite & (kernels.max((-2, -1)) < DELTA)
