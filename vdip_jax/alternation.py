"""The two halves of a round of the classical start: the image for a kernel, the kernel for an image.

The image has few gradients, by an L0 penalty and half-quadratic splitting (Xu, Zheng and Jia, CVPR 2013; Pan, Hu, Su
and Yang, CVPR 2014); the kernel fits gradients by least squares (Cho and Lee, SIGGRAPH Asia 2009).
"""

import jax
import jax.numpy as jnp

from vdip_jax import kernels, periodic

# The splitting's weight doubles from twice the sparsity.
_SPLITTING_ROUNDS = 16
_KERNEL_RIDGE = 2.0
_CG_STEPS = 30


def few_gradients(observed: jax.Array, kernel: jax.Array, sparsity: jax.Array) -> jax.Array:
    """Minimise |k * x - y|^2 + sparsity |Dx|_0 over x on y's periodic canvas [P, Q] (Xu, Zheng and Jia, Sec. 3)."""
    rows, columns = observed.shape
    transfer = periodic.transfer(kernel, (rows, columns))
    data = transfer.conj() * jnp.fft.rfft2(observed)
    curvature, laplacian = jnp.abs(transfer) ** 2, periodic.laplacian((rows, columns), observed.dtype)

    def split(i: jax.Array, image: jax.Array) -> jax.Array:
        weight = 2 * sparsity * 2.0**i
        down, right = periodic.gradients(image)
        kept = down**2 + right**2 > sparsity / weight
        few = periodic.Gradients(jnp.where(kept, down, 0), jnp.where(kept, right, 0))
        spectrum = data + weight * jnp.fft.rfft2(periodic.gradients_adjoint(few))
        return jnp.fft.irfft2(spectrum / (curvature + weight * laplacian), s=(rows, columns))

    return jax.lax.fori_loop(0, _SPLITTING_ROUNDS, split, observed)


def fit(
    latent: jax.Array, observed: jax.Array, image_size: tuple[int, int], kernel_size: tuple[int, int], keep: jax.Array
) -> jax.Array:
    """The kernel whose blur of the latent image's gradients comes nearest to the observed ones (Cho and Lee, Eq. 5).

    Gradients near the border are left out: those that wrap around would turn every kernel into a cross. What is left
    is blurred inside the frame, so the normal equations need nothing but correlations at the kernel's own lags.
    """
    (height, width), (kh, kw), (rows, columns) = image_size, kernel_size, latent.shape
    row, column = jnp.arange(rows)[:, None], jnp.arange(columns)
    inside = (row > kh // 2) & (row < height - kh // 2 - 2) & (column > kw // 2) & (column < width - kw // 2 - 2)
    gradients = periodic.gradients(latent)
    shown = inside & (gradients.down**2 + gradients.right**2 >= keep**2)
    spectra = [
        (jnp.fft.rfft2(sharp * shown), jnp.fft.rfft2(blurred))
        for sharp, blurred in zip(gradients, periodic.gradients(observed), strict=True)
    ]
    own = jnp.fft.irfft2(sum(jnp.abs(x) ** 2 for x, _ in spectra), s=(rows, columns))
    cross = jnp.fft.irfft2(sum(x.conj() * y for x, y in spectra), s=(rows, columns))
    right = jnp.roll(cross, (kh // 2, kw // 2), (0, 1))[:kh, :kw]
    lags = jnp.roll(own, (kh - 1, kw - 1), (0, 1))[: 2 * kh - 1, : 2 * kw - 1]
    size = periodic.fast_canvas((2 * kh - 1, 2 * kw - 1), (kh, kw))
    spectrum = jnp.fft.rfft2(lags, s=size)

    def normal(kernel: jax.Array) -> jax.Array:
        full = jnp.fft.irfft2(jnp.fft.rfft2(kernel, s=size) * spectrum, s=size)
        return full[kh - 1 : 2 * kh - 1, kw - 1 : 2 * kw - 1] + _KERNEL_RIDGE * kernel

    return jax.scipy.sparse.linalg.cg(normal, right, tol=0.0, maxiter=_CG_STEPS)[0]


def fit_to(image: jax.Array, gray: jax.Array, kernel: jax.Array) -> jax.Array:
    """The kernel [kh, kw] that blurred a restored image [H, W] into `gray` [H, W], cleaned; `kernel` if none is found.

    By least squares on gradients (Cho and Lee 2009, Eq. 5).
    """
    size, kernel_size = (gray.shape[0], gray.shape[1]), (kernel.shape[0], kernel.shape[1])
    canvas = periodic.fast_canvas(size, kernel_size)
    latent, observed = periodic.spread(jnp.stack([image, gray]), canvas)
    return if_any(kernels.cleaned(fit(latent, observed, size, kernel_size, jnp.zeros((), gray.dtype))), kernel)


def if_any(fitted: jax.Array, before: jax.Array) -> jax.Array:
    """A fitted kernel, cleaned; the one before if nothing of it is left."""
    return jnp.where(jnp.isfinite(fitted).all() & (fitted.sum() > 0), fitted, before)
