"""What one image's run gives: the answer, chosen without a truth among candidates."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import finishing, nonblind, steps, uncertainty
from vdip_jax.alternation import fit_to
from vdip_jax.candidates import Candidates, compare, luma
from vdip_jax.classical import Start
from vdip_jax.config import Config
from vdip_jax.objective import Posterior
from vdip_jax.operators import observed_frame
from vdip_jax.search import implausibility
from vdip_jax.steps import Problem, State

# The classical estimate is the answer only if its criterion is lower than another's by more than this: it is itself the
# best of several by this criterion, which flatters it; a doubtful one most of all (docs/refinement.md).
_HANDICAP, _HANDICAP_IN_DOUBT = 0.3, 1.0
# So is half of the mean kernel.
_HANDICAP_OF_MEAN = 0.03
# An answer and the network's image err alike if the answer's error has more than so many times the variance of their
# difference (docs/refinement.md).
_ALIKE = 2.0


class Result(NamedTuple):
    """What `solve` returns; for a batch every field has a leading axis [B].

    Attributes:
      image: the sharp image, y's shape, in [0, 1]: the candidate with the lowest criterion, the classical estimate only
        if by a margin; of two attempts that with the more plausible kernel (`search.implausibility`); with the more of
        y left in it the more doubtful the classical kernel is, if it comes of that (`finishing.reserve`); with a share
        of the network's image mixed in (`networks_share`).
      std: standard deviation of its error a pixel and channel, y's shape, by `uncertainty.refit`, larger where the
        network's image differs; with `Config.std='posterior'` that of q(x), stale after an SSIM phase, since that loss
        does not see it, and zero for the point methods.
      kernel: [kh, kw], non-negative, sums to 1, true-convolution convention.
      loss: [num_steps], the loss before each update of the last attempt, in its place in the schedule; NaN where there
        was none.
      ok: False if an update was not finite, image and kernel are then those of the last good state; or if the
        classical estimate was asked for and is of no use.
      agreement: how alike the kernels are that the classical estimate came to with several settings, up to 1: below
        `finishing.UNSURE` the kernel is doubtful. NaN without a classical estimate of the kernel.
      choice: which of the candidates the answer is.
      share: how much of the network's image is mixed in, 0 ... 1/2.
      reserve: how much of y is left in it, 0 ... 1.
      candidates: what the answer is chosen from. One for the classical estimate alone and for a network without one;
        else the classical estimate, the network's image, and those that `nonblind` makes of the network's kernel
        and of the mean of the two kernels, each fitted once more to such an image; after a doubtful estimate, of
        the kernel of the network's first attempt in place of the mean.
    """

    image: jax.Array
    std: jax.Array
    kernel: jax.Array
    loss: jax.Array
    ok: jax.Array
    agreement: jax.Array
    choice: jax.Array
    share: jax.Array
    reserve: jax.Array
    candidates: Candidates


def of_start(y: jax.Array, begun: Start, config: Config) -> Result:
    """The result of a run that ends with the classical estimate; the blurred image, unharmed, if that is of no use."""
    candidates = compare(y, begun.image[None], begun.kernel[None], begun.ok[None])
    image = jnp.where(begun.ok, begun.image, y)
    errors = jnp.where(begun.ok, uncertainty.refit(y, image, begun.kernel), 0)
    std = errors if config.std == "refit" else jnp.zeros_like(y)
    reserve = finishing.reserve(begun.agreement, errors, y - image)
    image, std = _mixed(image, std, y, reserve, config)
    no_loss, choice, share = jnp.zeros(0, y.dtype), jnp.zeros((), int), jnp.zeros((), y.dtype)
    return Result(image, std, begun.kernel, no_loss, begun.ok, begun.agreement, choice, share, reserve, candidates)


def of_run(problem: Problem, state: State, begun: Start | None, config: Config) -> Result:
    """The result of ending at `state`, after what was `begun` classically, if anything was."""
    posterior, newest_finite = _newest_finite(problem, state, config)
    frame = functools.partial(observed_frame, size=(problem.y.shape[0], problem.y.shape[1]))
    images, kernels, usable = frame(posterior.mean)[None], posterior.kernel[None], jnp.ones(1, bool)
    if begun is not None:
        # Two estimates err in different ways: their mean is often nearer than either, if neither is wrong.
        other = jnp.where(problem.trusted, (begun.kernel + posterior.kernel) / 2, problem.tried)
        refined = jnp.stack([posterior.kernel, other])
        finished, refined = jax.lax.map(functools.partial(_finished, problem, begun), refined)
        images = jnp.concatenate([begun.image[None], images, finished])
        kernels = jnp.concatenate([begun.kernel[None], kernels, refined])
        usable = jnp.stack([begun.ok, True, True, begun.ok])
    candidates = compare(problem.y, images, kernels, usable)
    choice = best(candidates.criterion)
    if begun is not None:
        # Only where it is needed: images are made again.
        in_doubt = functools.partial(best_in_doubt, luma(problem.y), candidates)
        choice = jax.lax.cond(problem.trusted | ~begun.ok, lambda: choice, in_doubt)
    image = images[choice]
    errors = uncertainty.refit(problem.y, image, kernels[choice])
    std = errors if config.std == "refit" else frame(posterior.std)
    agreement, share, reserve = jnp.full((), jnp.nan, std.dtype), jnp.zeros((), std.dtype), jnp.zeros((), std.dtype)
    if begun is not None:
        agreement, network = begun.agreement, network_candidate(config)
        worse_by = candidates.criterion[network] - candidates.criterion[choice]
        share = networks_share(worse_by, errors, images[network] - image)
        reserve = finishing.reserve(agreement, errors, problem.y - image)
        reserve = jnp.where(comes_of_start(choice, agreement), reserve, 0)
        image, std = _mixed(image, std, problem.y, reserve, config)
        image, std = _mixed(image, std, images[network], share, config)
        reserve *= 1 - share
    ok = state.ok & newest_finite
    return Result(image, std, kernels[choice], state.loss, ok, agreement, choice, share, reserve, candidates)


def _mixed(
    image: jax.Array, std: jax.Array, other: jax.Array, share: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """An answer [H, W, C] with a share of another one in it, and its standard deviation where it is made anew."""
    mixed, widened = uncertainty.mixed(image, std, other, share)
    return mixed, widened if config.std == "refit" else std


def _finished(problem: Problem, begun: Start, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The picture [H, W, C] that a network's kernel [kh, kw] stands for, and that kernel.

    Unless it is the known one, it is fitted once more to the picture before.
    """

    def finish(kernel: jax.Array) -> jax.Array:
        # Where the start is trusted all have its weight of the data: the criterion prefers pictures that have less.
        weight = jax.lax.cond(
            problem.trusted, lambda: begun.fidelity, lambda: finishing.fidelity_in_doubt(problem.y, kernel)
        )
        return nonblind.deconvolve(problem.y, kernel, fidelity=weight)

    image = finish(kernel)
    if problem.kernel is None:
        # The picture shows more of the kernel than the network does, but has errors of its own: half of each.
        kernel = (kernel + fit_to(luma(image), luma(problem.y), kernel)) / 2
        image = finish(kernel)
    return image, kernel


def network_candidate(config: Config) -> int:
    """Which of the candidates is the image of the network itself."""
    return 1 if config.start == "classical" else 0


def comes_of_start(choice: jax.typing.ArrayLike, agreement: jax.typing.ArrayLike) -> jax.Array:
    """Whether a candidate's kernel is the classical one or, of a doubtful one, that which the first attempt made of it.

    So that doubt of the one is doubt of the other.
    """
    return (jnp.asarray(choice) == 0) | (jnp.asarray(choice) == 3) & (jnp.asarray(agreement) < finishing.UNSURE)


def networks_share(worse_by: jax.Array, errors: jax.Array, difference: jax.Array) -> jax.Array:
    """How much of the answer is the network's image, the rest being the candidate that was chosen.

    Each errs in its own way, so that a mean is nearer to the truth; the rougher the network still is, the less of it:
    both weigh exp(-criterion). Where they differ by much less than the chosen one errs, they err alike for the most
    part, and what the network does otherwise it does worse: the criterion then counts so many times as much
    (docs/refinement.md).

    Args:
      worse_by: the criterion of the network's image, less that of the chosen one.
      errors: standard deviation [H, W, C] of the error of the chosen one.
      difference: [H, W, C], of the network's image from it.
    """
    alike = (errors**2).mean() / jnp.maximum(_ALIKE * (difference**2).mean(), 1e-12)
    share = jax.nn.sigmoid(-jnp.maximum(worse_by, 0) * jnp.maximum(alike, 1))
    # Where nothing is of use, infinity less infinity is not a number.
    return jnp.nan_to_num(share)


def best(criterion: jax.Array) -> jax.Array:
    """Index of the candidate to answer with, by the criterion [N] of each, in the order of `Result.candidates`."""
    return criterion.at[0].add(_HANDICAP).at[-1].add(_HANDICAP_OF_MEAN).argmin()


def best_in_doubt(gray: jax.Array, candidates: Candidates) -> jax.Array:
    """Index of the candidate to answer with after a doubtful start to an image [H, W].

    Of the finishes with the kernels of both attempts that with the most plausible one: their criterion prefers what is
    wrong too often (docs/refinement.md). The start if its criterion is lower by a margin.
    """
    finishes = candidates.criterion[2:]
    by_kernel = jnp.where(jnp.isfinite(finishes), implausibility(gray, candidates.kernel[2:]), jnp.inf)
    attempt = 2 + by_kernel.argmin()
    return jnp.where(candidates.criterion[0] + _HANDICAP_IN_DOUBT < candidates.criterion[attempt], 0, attempt)


def _newest_finite(problem: Problem, state: State, config: Config) -> tuple[Posterior, jax.Array]:
    """What the newest parameters make if that is finite, else the last good ones; and which it was."""
    versions = jax.tree.map(lambda *leaves: jnp.stack(leaves), state.good, state.params)
    # One after another, so that one pass is compiled.
    made = jax.lax.map(lambda params: steps.estimate(problem, params, config), versions)
    of_good, of_newest = jnp.isfinite(made.mean).all((1, 2, 3)) & jnp.isfinite(made.kernel).all((1, 2))
    answer = jax.tree.map(lambda pair: jnp.where(of_newest, pair[1], jnp.where(of_good, pair[0], 0)), made)
    return answer, of_newest
