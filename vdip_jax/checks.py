"""Refusals: one sentence that says what was expected, what came and what to do."""

import difflib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SSIM_WINDOW = 11


class Refusal(ValueError):
    """Input that cannot be worked on; the message is written for the person who gave it."""


def is_concrete(*arrays: Any) -> bool:
    """True if no argument is being traced by `jit`, `vmap` or `grad`, so that values may be looked at."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a `value` outside `choices`, naming the nearest one."""
    choices = list(choices)
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise Refusal(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}.")


def check_number(name: str, value: Any, *, low: float, integer: bool = False, open_low: bool = False) -> None:
    """Refuse a `value` that is not a finite number of at least (`open_low`: above) `low`."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    what = ("an integer" if integer else "a number") + (f" above {low:g}" if open_low else f" of at least {low:g}")
    good = isinstance(value, kinds) and not isinstance(value, bool) and np.isfinite(value)
    if not good or value < low or (open_low and value == low):
        raise Refusal(f"{name} must be {what}, got {value!r}.")


def check_kernel_size(kernel_size: Any, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return `kernel_size`, an odd integer or a pair (height, width) of them, as a pair that fits the image."""
    pair = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
    whole = len(pair) == 2 and all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in pair)
    if not whole or any(n < 3 or n % 2 == 0 for n in pair):
        raise Refusal(
            f"kernel_size must be an odd integer of at least 3, or a pair (height, width) of them, "
            f"got {kernel_size!r}; take the next odd number above the blur's extent in pixels."
        )
    if pair[0] > image_size[0] or pair[1] > image_size[1]:
        raise Refusal(
            f"kernel_size must not exceed the image, got {pair[0]}x{pair[1]} for an image of "
            f"{image_size[0]}x{image_size[1]} (height x width); give a smaller kernel_size."
        )
    return int(pair[0]), int(pair[1])


def check_images(y: Any) -> jax.Array:
    """Return `y` as a float array [H, W], [H, W, C] or [B, H, W, C] in [0, 1]; values are seen only if concrete."""
    if not hasattr(y, "dtype") or not hasattr(y, "shape"):
        raise Refusal(f"y must be an array, got {type(y).__name__}; pass a NumPy or JAX array.")
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise Refusal(
            f"y must be a floating-point array with values in [0, 1], got dtype {y.dtype}; convert it first, "
            f"for 8-bit images with y.astype('float32') / 255."
        )
    if y.dtype not in (jnp.float32, jnp.float64):
        raise Refusal(f"y must be float32 or float64, got {y.dtype}; convert it with y.astype('float32').")
    if y.ndim not in (2, 3, 4):
        raise Refusal(f"y must have shape [H, W], [H, W, C] or [B, H, W, C], got {tuple(y.shape)}.")
    if y.ndim > 2 and y.shape[-1] not in (1, 3):
        raise Refusal(
            f"y must have 1 or 3 channels last, got shape {tuple(y.shape)}; "
            f"drop an alpha channel with y[..., :3], or stack gray images as [B, H, W, 1]."
        )
    if 0 in y.shape:
        raise Refusal(f"y must hold at least one pixel, got shape {tuple(y.shape)}.")
    if is_concrete(y):
        values = np.asarray(y)
        if not np.isfinite(values).all():
            raise Refusal(
                f"y must be finite, got {int((~np.isfinite(values)).sum())} NaN or infinite values; repair them first."
            )
        if values.min() < 0 or values.max() > 1:
            raise Refusal(
                f"y must lie in [0, 1], got values from {values.min():.4g} to {values.max():.4g}; "
                f"divide by the largest possible value, or clip."
            )
    return jnp.asarray(y)


def check_canvas(image_size: tuple[int, int], kernel_size: tuple[int, int], least: int, why: str) -> None:
    """Refuse an image whose latent canvas (image plus kernel minus one) has a side under `least`."""
    need = max(least - k + 1 for k in kernel_size)
    if need < SSIM_WINDOW:
        need, why = SSIM_WINDOW, f"the SSIM window of {SSIM_WINDOW}x{SSIM_WINDOW}"
    if min(image_size) < need:
        raise Refusal(
            f"the image must be at least {need} pixels on each side with a kernel of {kernel_size[0]}x{kernel_size[1]} "
            f"({why}), got {image_size[0]}x{image_size[1]} (height x width); give a larger image."
        )


def check_kernel(kernel: Any) -> jax.Array:
    """Return a known blur `kernel` [kh, kw], odd-sized, non-negative, scaled to sum 1."""
    if not hasattr(kernel, "dtype") or getattr(kernel, "ndim", 0) != 2:
        raise Refusal(f"kernel must be a two-dimensional array [kh, kw], got {_described(kernel)}.")
    if not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise Refusal(
            f"kernel must be a floating-point array, got {kernel.dtype}; convert it with kernel.astype('float32')."
        )
    if is_concrete(kernel):
        values = np.asarray(kernel)
        if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
            raise Refusal(
                "kernel must be finite and non-negative with a positive sum, got one that is not; repair it first."
            )
    kernel = jnp.asarray(kernel)
    return kernel / kernel.sum()


def check_key(key: Any, batch_size: int | None) -> jax.Array:
    """Return `key`, a typed JAX random key; for a batch also one key an image, [B]."""
    if not (hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise Refusal(f"key must be a JAX random key such as jax.random.key(0), got {_described(key)}.")
    if key.shape not in ((), (batch_size,)):
        wanted = "one key" if batch_size is None else f"one key or {batch_size} keys, one an image"
        raise Refusal(f"key must be {wanted}, got an array of keys of shape {key.shape}.")
    return key


def _described(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array of dtype {value.dtype} and shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r}"
