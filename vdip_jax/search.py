"""The search for a kernel, by maximum a posteriori from coarse to fine: several settings side by side, compared.

The latent image of a scale has few gradients (an L0 penalty by half-quadratic splitting: Xu, Zheng and Jia, CVPR 2013;
Pan, Hu, Su and Yang, CVPR 2014), the kernel fits its gradients by least squares (Cho and Lee, SIGGRAPH Asia 2009).
One setting suits few images: several are tried, what they give is compared without a truth, and at every scale the
worse half goes on from the kernels of the better one. At coarse scales two groups do so, each by itself, for one wrong
kernel must not spread to all; where the last ones agree, the kernel is likely right (docs/refinement.md).
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vdip_jax import kernels, periodic, pyramid
from vdip_jax.alternation import few_gradients, fit, fit_to, if_any
from vdip_jax.candidates import Candidates
from vdip_jax.finishing import UNSURE, judged, misfit
from vdip_jax.optimizers import choose
from vdip_jax.threads import are_best_apart, side_by_side

_ROUNDS = 5
_SPARSITY_FLOOR = 1e-4


class Trial(NamedTuple):
    """A setting: `sparsity` weighs the L0 penalty and falls by `decay` a round; gradients under `keep` are left out.

    `width` weighs how wide a kernel is where trials are compared (`_ranking`).
    """

    sparsity: jax.Array
    decay: jax.Array
    keep: jax.Array
    width: jax.Array


# Of several searches the first is believed unless another's criterion is lower at the end or, with the last weight,
# lower by the margin (docs/refinement.md).
_MARGIN, _WIDTH_AT_LAST = 1.25, 2.0
# The weight where one of several kernels is chosen because the first is doubtful.
_WIDTH_IN_DOUBT = 0.5
# A kernel is doubtful too if it leaves unexplained more than so many times the noise.
_UNEXPLAINED = 3.0
_GROUPS = 2
# At so many of the finest scales, and never at the coarsest, the groups are one.
_JOINED_SCALES = 4
# Kernels to begin with, of parts of the image, are right in their coarse shape: so many of the finest scales are left.
_SEEDED_SCALES = 3
# sparsity, decay, keep; one group after the other
_TRIALS = (
    (2e-3, 1.1, 0.0),
    (8e-3, 1.1, 0.0),
    (8e-3, 1.2, 0.1),
    (3.2e-2, 1.1, 0.0),
    (4e-3, 1.1, 0.0),
    (8e-3, 1.1, 0.05),
    (1.6e-2, 1.1, 0.0),
    (4e-2, 1.2, 0.0),
)


class Found(NamedTuple):
    """An estimated `kernel` [kh, kw], whether it is of any use, and the `agreement` of the trials, 1 if equal.

    `misfit` of the picture by which kernels are compared, in standard deviations of the noise.
    """

    kernel: jax.Array
    ok: jax.Array
    agreement: jax.Array
    misfit: jax.Array

    @property
    @jax.jit
    def doubtful(self) -> jax.Array:
        """Whether the trials do not agree, the picture leaves much unexplained, or the kernel may be a blob."""
        return (self.agreement < UNSURE) | (self.misfit > _UNEXPLAINED) | kernels.is_small(self.kernel)


def search(
    gray: jax.Array,
    kernel_size: tuple[int, int],
    widths: tuple[float, ...],
    seeds: jax.Array | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Found:
    """Search for the kernel of a blurred image [H, W], once with each of the `widths`, and choose.

    Args:
      gray: [H, W], in [0, 1] up to noise.
      kernel_size: odd height and width, at least the blur's extent.
      widths: how much each search prefers a wide kernel. As long as the image is rough a narrow one leaves less
        unexplained than the true one, and without a preference (0) often wins at every scale.
      seeds: kernels [N, kh, kw] to begin with at a fine scale; without any, nothing is known at the coarsest.
      limits: of the images by which kernels are compared, as `judged` has it.
    """
    return _polished(gray, _searched(gray, kernel_size, widths, seeds, limits), widths, limits)


@jax.jit
def most_plausible(gray: jax.Array, found: Sequence[Found]) -> Found:
    """Of several found that whose kernel explains an image [H, W] best, whatever each was compared by before.

    By images that go beyond 0 and 1 and by the width, so that no blob wins (docs/refinement.md); of equals the first.
    """
    each: Found = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    first = implausibility(gray, each.kernel).argmin()
    return jax.tree.map(lambda leaf: leaf[first], each)


@jax.jit
def joined(gray: jax.Array, one: Found, other: Found) -> Found:
    """What two searches that know nothing of each other come to: the mean of their kernels, if they are alike.

    Each errs in its own way then; else one of them is wrong, and the more plausible is taken (docs/refinement.md).
    """
    likelier = most_plausible(gray, [one, other])
    alike = one.ok & other.ok & (kernels.likeness(one.kernel, other.kernel) >= UNSURE)
    return likelier._replace(kernel=jnp.where(alike, kernels.mean(one.kernel, other.kernel), likelier.kernel))


def implausibility(gray: jax.Array, estimates: jax.Array) -> jax.Array:
    """What `most_plausible` compares kernels [N, kh, kw] of an image [H, W] by: lower is better."""
    criterion = judged(gray, estimates, limits=(-math.inf, math.inf)).criterion
    return _ranking(estimates, criterion, _WIDTH_IN_DOUBT)


def _searched(
    gray: jax.Array,
    kernel_size: tuple[int, int],
    widths: Sequence[float],
    seeds: jax.Array | None,
    limits: tuple[float, float],
) -> Candidates:
    """What each search comes to [S, N], as `_coarse_to_fine` has it."""
    if len(widths) == 1 or not are_best_apart(gray):
        return _coarse_to_fine(gray, kernel_size, widths, seeds, limits)
    found = side_by_side(lambda width: _coarse_to_fine(gray, kernel_size, (width,), seeds, limits), widths)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)


def _coarse_to_fine(
    gray: jax.Array,
    kernel_size: tuple[int, int],
    widths: Sequence[float],
    seeds: jax.Array | None,
    limits: tuple[float, float],
) -> Candidates:
    """What the trials of searches [S, N] with these `widths` come to at the finest scale, the better half of each."""
    sizes = pyramid.scales((gray.shape[0], gray.shape[1]), kernel_size)
    trials = Trial(*np.array([(*trial, width) for width in widths for trial in _TRIALS], gray.dtype).T)
    first = 0 if seeds is None else max(0, len(sizes) - _SEEDED_SCALES)
    begun = _two_pixels(sizes[first][1], gray.dtype) if seeds is None else _resized(seeds, sizes[first][1])
    estimates = begun[np.arange(len(trials.width)) % len(_TRIALS) % len(begun)]
    for level in range(first, len(sizes)):
        image_size, size = sizes[level]
        finer = len(sizes) - 1 - level
        at_once = len(estimates) // len(widths)
        groups = len(widths) * (1 if finer < min(_JOINED_SCALES, len(sizes) - 1) else _GROUPS)
        if finer >= 2:
            # Twice: the coarse scales cost little, and a kernel that went wrong there stays wrong.
            found = _scale(gray, estimates, trials, level * _ROUNDS, image_size, at_once, limits)
            estimates, trials = _carried(found.kernel, found.criterion, trials, groups, size)
        found = _scale(gray, estimates, trials, level * _ROUNDS, image_size, at_once, limits)
        if finer:
            next_size = sizes[level + 1][1]
            estimates, trials = _carried(found.kernel, found.criterion, trials, groups, next_size, finer == 1)
    return jax.tree.map(lambda leaf: leaf.reshape(len(widths), -1, *leaf.shape[1:]), found)


@functools.partial(jax.jit, static_argnames=("groups", "size", "halved"))
def _carried(
    estimates: jax.Array, criterion: jax.Array, trials: Trial, groups: int, size: tuple[int, int], halved: bool = False
) -> tuple[jax.Array, Trial]:
    """Kernels of a `size` for the trials to go on from: the worse half of each group takes those of the better.

    If `halved`, the better half goes on alone.
    """
    firsts = np.arange(0, len(criterion), len(criterion) // groups)
    ranking = _ranking(estimates, criterion, trials.width)
    ranked = ranking.reshape(groups, -1).argsort(1) + firsts[:, None]
    better, worse = (half.ravel() for half in jnp.split(ranked, 2, axis=1))
    estimates = estimates.at[worse].set(estimates[better])
    if halved:
        estimates, trials = estimates[better], Trial(*(column[better] for column in trials))
    return _resized(estimates, size), trials


def _two_pixels(size: tuple[int, int], dtype: jnp.dtype) -> np.ndarray:
    """The kernel [1, kh, kw] that knows nothing: two pixels, for one alone would already explain everything.

    NumPy, so that a start has no program more to compile.
    """
    kh, kw = size
    kernel = np.zeros((1, kh, kw), dtype)
    kernel[:, kh // 2, kw // 2 : kw // 2 + 2] = 1 / min(kw, 2)
    return kernel


def _resized(estimates: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Kernels [N, kh, kw] shown in another number of pixels."""
    if size == estimates.shape[1:]:
        return estimates
    estimates = jax.image.resize(estimates, (len(estimates), *size), "linear").clip(0)
    return estimates / estimates.sum((1, 2), keepdims=True)


def _ranking(estimates: jax.Array, criterion: jax.Array, width: float | jax.Array) -> jax.Array:
    """The criterion of kernels [..., kh, kw], the lower the wider a kernel is; infinite where it is infinite itself."""
    narrowness = jnp.log(jnp.square(estimates).sum((-2, -1)))
    return jnp.where(jnp.isfinite(criterion), criterion + width * narrowness, jnp.inf)


@functools.partial(jax.jit, static_argnames=("image_size", "at_once", "limits"))
def _scale(
    gray: jax.Array,
    estimates: jax.Array,
    trials: Trial,
    before: int | jax.Array,
    image_size: tuple[int, int],
    at_once: int,
    limits: tuple[float, float],
) -> Candidates:
    """Rounds of image and kernel at one scale, each trial from its estimate [kh, kw]; what they come to.

    `before`: the number of rounds at coarser scales. `at_once`: of the trials, one search after the other, for memory.
    """
    if image_size != gray.shape:
        gray = jax.image.resize(gray, image_size, "linear")
    kernel_size = (estimates.shape[1], estimates.shape[2])
    canvas = periodic.fast_canvas(image_size, kernel_size)
    observed = periodic.spread(gray[None], canvas)[0]

    def rounds(trial: tuple[jax.Array, Trial]) -> jax.Array:
        estimate, setting = trial

        def one(i: jax.Array, kernel: jax.Array) -> jax.Array:
            sparsity = jnp.maximum(setting.sparsity / setting.decay ** (before + i), _SPARSITY_FLOOR)
            latent = few_gradients(observed, kernel, sparsity)
            fitted = kernels.centred(kernels.cleaned(fit(latent, observed, image_size, kernel_size, setting.keep)))
            return if_any(fitted, kernel)

        return jax.lax.fori_loop(0, _ROUNDS, one, estimate)

    return judged(gray, jax.lax.map(rounds, (estimates, trials), batch_size=at_once), limits=limits)


@functools.partial(jax.jit, static_argnames=("widths", "limits"))
def _polished(gray: jax.Array, searched: Candidates, widths: tuple[float, ...], limits: tuple[float, float]) -> Found:
    """The best kernel; a better image shows more of it: once more against that one, if that is any better."""
    firsts = jax.vmap(_ranking)(searched.kernel, searched.criterion, jnp.array(widths)).argmin(1)
    each = np.arange(len(widths))
    criterion = searched.criterion[each, firsts]
    at_last = _ranking(searched.kernel[each, firsts], criterion, _WIDTH_AT_LAST)
    gain = jnp.maximum(criterion[0] - criterion, at_last[0] - at_last - _MARGIN)
    # The first one against itself, which may be infinity less infinity.
    search = gain.at[0].set(0).argmax()
    found = jax.tree.map(lambda leaf: leaf[search], searched)
    best = jax.tree.map(lambda leaf: leaf[firsts[search]], found)
    fitted = fit_to(best.image[..., 0].clip(0, 1), gray, best.kernel)
    again = jax.tree.map(lambda leaf: leaf[0], judged(gray, fitted[None], limits=limits))
    last = choose(again.criterion < best.criterion, again, best)
    # How alike the best one and that least like it are.
    alike = jax.vmap(kernels.likeness, (0, None))(found.kernel, best.kernel).min()
    finite = jnp.isfinite(found.criterion)
    agreement = jnp.where(finite.all(), alike, 0)
    left = misfit(gray, last.image[..., 0], last.kernel)
    return Found(last.kernel, jnp.isfinite(best.criterion), agreement, left)
