"""Linear operators on a periodic canvas, where a blur is a product of spectra."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import scipy.fft


class Gradients(NamedTuple):
    """Differences of an image [..., P, Q] with its neighbours `down` and `right`, of the image's shape each.

    Two arrays, for a loop over one that holds both takes a CPU up to twenty times as long.
    """

    down: jax.Array
    right: jax.Array


def fast_canvas(size: tuple[int, int], kernel_size: tuple[int, int]) -> tuple[int, int]:
    """The least canvas that holds a full convolution without wrapping around and whose FFT is fast."""
    height, width = (scipy.fft.next_fast_len(n + k - 1, real=True) for n, k in zip(size, kernel_size, strict=True))
    return height, width


def gradients(image: jax.Array) -> Gradients:
    """Periodic forward differences of [..., P, Q]."""
    return Gradients(*(jnp.roll(image, -1, axis) - image for axis in (-2, -1)))


def gradients_adjoint(fields: Gradients) -> jax.Array:
    """Adjoint of `gradients`: minus the divergence."""
    return jnp.roll(fields.down, 1, -2) - fields.down + jnp.roll(fields.right, 1, -1) - fields.right


def spread(planes: jax.Array, canvas: tuple[int, int]) -> jax.Array:
    """Put [C, H, W] into the corner [:H, :W] of a periodic canvas; from both sides its edges fill the rest."""
    rest = [n - m for n, m in zip(canvas, planes.shape[1:], strict=True)]
    before = [n // 2 for n in rest]
    margin = [(0, 0), *((b, n - b) for b, n in zip(before, rest, strict=True))]
    return jnp.roll(jnp.pad(planes, margin, mode="edge"), [-b for b in before], (1, 2))


def transfer(kernel: jax.Array, canvas: tuple[int, int]) -> jax.Array:
    """Spectrum of the blur that keeps the frame in place: the kernel's centre lies at the origin."""
    padded = jnp.pad(kernel, [(0, n - k) for n, k in zip(canvas, kernel.shape, strict=True)])
    return jnp.fft.rfft2(jnp.roll(padded, [-(k // 2) for k in kernel.shape], (0, 1)))


def laplacian(canvas: tuple[int, int], dtype: Any) -> jax.Array:
    """Spectrum [P, Q // 2 + 1] of `gradients_adjoint` after `gradients`."""
    rows, columns = canvas
    down = 2 - 2 * jnp.cos(2 * jnp.pi * jnp.arange(rows, dtype=dtype) / rows)
    right = 2 - 2 * jnp.cos(2 * jnp.pi * jnp.arange(columns // 2 + 1, dtype=dtype) / columns)
    return down[:, None] + right
