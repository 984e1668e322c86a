"""Non-blind deconvolution: the image that a known kernel blurred, under sparse gradients.

Their total variation is small (Rudin, Osher and Fatemi, Physica D 1992) or the sum of their lengths to the power of
2/3 (Krishnan and Fergus, NIPS 2009, Eq. 1). Splitting the blurred image off as well makes the border free (Almeida and
Figueiredo, IEEE TIP 2013; Matakos, Ramani and Fessler, IEEE TIP 2013), so that no edge is tapered and nothing rings in
from outside. Alternating directions of multipliers, two FFTs and two inverse FFTs a step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import periodic
from vdip_jax.checks import Refusal, check_number, is_concrete
from vdip_jax.periodic import Gradients

# Over-relaxing the blurred image's split settles the border in about half the steps.
_OVER_RELAXATION = 1.8
# The start is at most 1.26 times the root: an error of 2e-11 is left after five steps, 3e-6 after four.
_NEWTON_STEPS = 5


class Method(NamedTuple):
    """What makes gradients sparse, and the penalties of the splits.

    `PICTURE` is for the picture to keep, after 80 steps: what the power would turn into patches stays texture.
    `RANKING`, for 30 steps, restores less well, but what it makes of wrong kernels is the further from what it makes of
    right ones (docs/refinement.md).

    Attributes:
      total_variation: whether |D x| counts, else |D x|^(2/3).
      gradient: penalty of the gradients' split, for three channels.
      blur: that of the blurred image's, as a share of the fidelity. Both decide how fast what settles.
      border: that of the first steps, if it is less; None to leave that out. Where nothing was seen, beyond the frame
        and of what was clipped, a step goes the further the less it is; the finest detail wants it large.
    """

    total_variation: bool
    gradient: float
    blur: float
    border: float | None


PICTURE = Method(True, 15.0, 0.02, 10.0)
RANKING = Method(False, 144.0, 0.1, None)
# One of so many steps has the penalty for the border.
_BORDER_STEPS = 4


class _Problem(NamedTuple):
    """What stays: the observation on its canvas [P, Q] and what the image's step divides by.

    `observed`: [C, P, Q], of no weight out of sight. `seen`: [P, Q], the fidelity where `observed` was seen, else zero.
    `transfer`, `curvature`: [P, Q // 2 + 1], spectra of the blur and of the least squares. `penalty` and
    `gradient_penalty`: those of the splits.
    """

    observed: jax.Array
    seen: jax.Array
    transfer: jax.Array
    penalty: jax.Array
    gradient_penalty: jax.Array
    curvature: jax.Array

    def penalised(self, penalty: jax.Array) -> "_Problem":
        """The same with another penalty of the blurred image's split."""
        curvature = self.curvature + (penalty - self.penalty) * jnp.abs(self.transfer) ** 2
        return self._replace(penalty=penalty, curvature=curvature)


class _Splits(NamedTuple):
    """The iterates: image and its blur, what stands for the blur and for the gradients, and their multipliers.

    All [C, P, Q]. Multipliers are scaled.
    """

    image: jax.Array
    blurred: jax.Array
    blur_split: jax.Array
    blur_dual: jax.Array
    gradient_dual: Gradients


def deconvolve(
    y: jax.Array,
    kernel: jax.Array,
    *,
    fidelity: float | jax.Array = 5000.0,
    num_steps: int = 80,
    method: Method = PICTURE,
    limits: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
    """Minimise fidelity/2 |k * x - y|^2 + sum |D x| over the canvas x, and crop it to the frame of `y`.

    k * x is the true convolution of `operators.blur`, compared where `y` shows it; where `y` is 0 or 1 it was clipped,
    and a blur beyond costs nothing. |D x|, or its power as the method has it, is one length a pixel, over both
    directions and all channels: edges that coincide cost less. The default fidelity is for an image without visible
    noise. Compiled once a shape, number of steps and method.

    Args:
      y: [H, W] or [H, W, C], blurred, in [0, 1] up to noise.
      kernel: [kh, kw], odd-sized, sum 1.
      fidelity: weight of the data, above 0: the cleaner `y` and the more exact the kernel, the larger.
      num_steps: rounds of the alternation, at least 1.
      method: what makes gradients sparse, and how the alternation is penalised.
      limits: where x is cut off: a picture at 0 and 1. What was blurred before it was clipped went on beyond.

    Returns:
      x in the frame of `y`, same shape and dtype, within the limits.

    Raises:
      Refusal: for shapes, a fidelity or a number of steps other than these.
    """
    if y.ndim not in (2, 3) or kernel.ndim != 2 or any(n % 2 == 0 for n in kernel.shape):
        raise Refusal(
            f"deconvolve needs an image [H, W] or [H, W, C] and a kernel [kh, kw] of odd sides, "
            f"got shapes {tuple(y.shape)} and {tuple(kernel.shape)}."
        )
    check_number("num_steps", num_steps, low=1, integer=True)
    if is_concrete(fidelity):
        check_number("fidelity", float(fidelity), low=0, open_low=True)
    return _deconvolve(jnp.asarray(y), jnp.asarray(kernel), fidelity, method, limits, int(num_steps))


def shrink(gradients: Gradients, penalty: float | jax.Array, total_variation: bool) -> Gradients:
    """The w that minimises, pixel by pixel, |w|^p + penalty/2 |w - gradients|^2, p = 1 for total variation, else 2/3.

    Only the length changes, as `_share_of_length` and `_share_of_power` have it.

    Args:
      gradients: [C, ...] each; the length |.| runs over both directions and all channels.
      penalty: above 0.
      total_variation: which of the two.

    Returns:
      The same shape.
    """
    length = jnp.sqrt((gradients.down**2 + gradients.right**2).sum(0))
    share = (_share_of_length if total_variation else _share_of_power)(length, jnp.asarray(penalty, length.dtype))
    return Gradients(share * gradients.down, share * gradients.right)


def _share_of_length(length: jax.Array, penalty: jax.Array) -> jax.Array:
    """With p = 1 a length falls by 1 / penalty, down to zero."""
    return jnp.maximum(1 - 1 / (penalty * length), 0)


def _share_of_power(length: jax.Array, penalty: jax.Array) -> jax.Array:
    """With p = 2/3 (Krishnan and Fergus, Eq. 5).

    With |w| = c^(3/4) s^3, |gradients| = c^(3/4) q and c = 2 / (3 penalty), a stationary point solves
    s^4 - q s + 1 = 0. Its largest root beats w = 0 exactly from q = 2 on. The quartic is convex, and positive at
    q^(1/3) to the right of the root, from where Newton's method descends to it without overshooting.
    """
    ratio = length / (2 / (3 * penalty)) ** 0.75
    q = jnp.maximum(ratio, 2)
    # Not jnp.cbrt, which alone takes a CPU as long as the whole step.
    root = q ** (1 / 3)
    for _ in range(_NEWTON_STEPS):
        cube = root**3
        root -= (root * (cube - q) + 1) / (4 * cube - q)
    return jnp.where(ratio > 2, root**3 / q, 0)


@functools.partial(jax.jit, static_argnames=("method", "num_steps"))
def _deconvolve(
    y: jax.Array,
    kernel: jax.Array,
    fidelity: float | jax.Array,
    method: Method,
    limits: tuple[float, float],
    num_steps: int,
) -> jax.Array:
    height, width = y.shape[:2]
    # Channels first: the transforms then run over adjacent memory.
    planes = jnp.moveaxis(jnp.atleast_3d(y), -1, 0)
    problem = _pose(planes, kernel.astype(y.dtype), jnp.asarray(fidelity, y.dtype), method)
    splits, num_first = _start(problem), 0
    if method.border is not None:
        num_first = num_steps // _BORDER_STEPS
        penalty = jnp.minimum(method.border, problem.penalty)
        splits = _alternate(splits, problem.penalised(penalty), num_first, method)
        # Scaled by another penalty from here on.
        splits = splits._replace(blur_dual=splits.blur_dual * penalty / problem.penalty)
    splits = _alternate(splits, problem, num_steps - num_first, method)
    image = splits.image[:, :height, :width].clip(*limits)
    return jnp.moveaxis(image, 0, -1).reshape(y.shape)


def _pose(planes: jax.Array, kernel: jax.Array, fidelity: jax.Array, method: Method) -> _Problem:
    """Lay [C, H, W] on a canvas of at least [H + kh - 1, W + kw - 1] whose FFT is fast."""
    height, width = planes.shape[1:]
    rows, columns = periodic.fast_canvas((height, width), (kernel.shape[0], kernel.shape[1]))
    observed = periodic.spread(planes, (rows, columns))
    seen = jnp.zeros((rows, columns), planes.dtype).at[:height, :width].set(fidelity)
    transfer = periodic.transfer(kernel, (rows, columns))
    penalty = method.blur * fidelity
    # So that equal channels are shrunk as one of them would be: their joint length has as many squares.
    exponent = 1 / 2 if method.total_variation else 2 / 3
    gradient_penalty = jnp.asarray(method.gradient * (3 / len(planes)) ** exponent, planes.dtype)
    laplacian = periodic.laplacian((rows, columns), planes.dtype)
    curvature = penalty * jnp.abs(transfer) ** 2 + gradient_penalty * laplacian
    return _Problem(observed, seen, transfer, penalty, gradient_penalty, curvature)


def _start(problem: _Problem) -> _Splits:
    """The observed image stands for its own restoration and for its own blur; multipliers are zero."""
    observed = problem.observed
    blurred = jnp.fft.irfft2(problem.transfer * jnp.fft.rfft2(observed), s=observed.shape[1:])
    none = jnp.zeros_like(observed)
    return _Splits(observed, blurred, observed, none, Gradients(none, none))


def _alternate(splits: _Splits, problem: _Problem, num_steps: int, method: Method) -> _Splits:
    step = functools.partial(_step, problem=problem, total_variation=method.total_variation)
    return jax.lax.fori_loop(0, num_steps, lambda _, splits: step(splits), splits)


def _step(splits: _Splits, problem: _Problem, total_variation: bool) -> _Splits:
    """One round of the alternation: blurred image and gradients, their multipliers, then the image."""
    observed, seen, transfer, penalty, gradient_penalty, curvature = problem
    relaxed = _OVER_RELAXATION * splits.blurred + (1 - _OVER_RELAXATION) * splits.blur_split + splits.blur_dual
    # Of a clipped pixel it is only known that the blur goes at least as far.
    beyond = ((observed >= 1) & (relaxed > 1)) | ((observed <= 0) & (relaxed < 0))
    blur_split = jnp.where(beyond, relaxed, (seen * observed + penalty * relaxed) / (seen + penalty))
    blur_dual = relaxed - blur_split

    target = jax.tree.map(jnp.add, periodic.gradients(splits.image), splits.gradient_dual)
    gradients = shrink(target, gradient_penalty, total_variation)
    gradient_dual = jax.tree.map(jnp.subtract, target, gradients)
    reflected = jax.tree.map(jnp.subtract, gradients, gradient_dual)

    # Least squares in the image, diagonal in Fourier space.
    spectrum = penalty * transfer.conj() * jnp.fft.rfft2(blur_split - blur_dual)
    spectrum += gradient_penalty * jnp.fft.rfft2(periodic.gradients_adjoint(reflected))
    spectrum /= curvature
    image, blurred = (jnp.fft.irfft2(part, s=observed.shape[1:]) for part in (spectrum, transfer * spectrum))
    return _Splits(image, blurred, blur_split, blur_dual, gradient_dual)
