"""Several seeds side by side, a failed run tried again, and one answer made of them without a truth."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vdip_jax.batches import Estimate, room, solve_batch
from vdip_jax.config import Config
from vdip_jax.planning import Decision
from vdip_jax.runtime import line
from vdip_jax.solver import Progress
from vdip_jax.verdict import failures

Keep = Callable[[Progress, Callable[[], list[Estimate]]], bool]

# Where kernels are as alike as this, as they lie, seeds came to one answer with errors of their own. A picture whose
# criterion is higher by the other weighs e times less in the mean. By measurement (docs/photographs.md).
_ALIKE, _SPREAD = 0.95, 0.1


class Seeds(NamedTuple):
    """As many seeds as `number`, from the `first` on."""

    first: int
    number: int


class Run(NamedTuple):
    """What one seed came to, and what is wrong with it (`verdict.failures`)."""

    seed: int
    estimate: Estimate
    failures: tuple[str, ...]

    @property
    def criterion(self) -> float:
        """That of its answer: lower is better, for one image."""
        return float(self.estimate.candidates.criterion[self.estimate.choice])


class Chosen(NamedTuple):
    """The answer of several runs of one image, the `seed` of the best and what is wrong with that, and all of them."""

    estimate: Estimate
    seed: int
    failures: tuple[str, ...]
    runs: tuple[Run, ...]


def choose(runs: Sequence[Run]) -> Chosen:
    """The best run: of those that did not fail, if there are any, that with the lowest criterion.

    Image and kernel are the mean of the best run's and of those that came to the same (`weights`), for errors that
    hang on the seed cancel. All else is the best run's.
    """
    best, share = _best(runs), weights(runs)
    # What weighs nothing may not be finite.
    used = [run.estimate for run, weight in zip(runs, share, strict=True) if weight]

    def mean(name: str) -> np.ndarray:
        parts = [getattr(estimate, name) for estimate in used]
        return np.average(parts, axis=0, weights=share[share > 0]).astype(parts[0].dtype)

    estimate = best.estimate._replace(image=mean("image"), kernel=mean("kernel"))
    return Chosen(estimate, best.seed, best.failures, tuple(runs))


def weights(runs: Sequence[Run]) -> np.ndarray:
    """What each run [N] weighs in the mean, sum 1: nothing if it failed or its kernel is not that of the best one."""
    best = _best(runs)
    share = np.array([1.0 if run is best else _share(run, best) for run in runs])
    return share / share.sum()


def _best(runs: Sequence[Run]) -> Run:
    return min(runs, key=lambda run: (bool(run.failures), run.criterion))


def _share(run: Run, best: Run) -> float:
    """What a run weighs beside the best one, from 0 to 1."""
    a, b = run.estimate.kernel, best.estimate.kernel
    alike = float((a * b).sum()) >= _ALIKE * float(np.linalg.norm(a) * np.linalg.norm(b))
    if run.failures or best.failures or not alike or not np.isfinite(best.criterion):
        return 0.0
    return math.exp((best.criterion - run.criterion) / _SPREAD)


def solve_several(
    images: Sequence[np.ndarray],
    seeds: Seeds,
    config: Config,
    title: str,
    limit: int,
    keep: Keep,
    profile: str | None = None,
    **kernel: Any,
) -> list[Chosen]:
    """Solve images of one shape together, each with every seed, as many at once as there is room for.

    Args:
      images: [H, W] or [H, W, C] in [0, 1].
      seeds: an image's result does not depend on what it is solved beside.
      config: settings.
      title: what progress is reported under.
      limit: bytes of memory.
      keep: called now and then with the progress and what makes the best estimates so far, one an image; True ends the
        run with them.
      profile: folder for a trace of a few steps.
      **kernel: `kernel_size` or `kernel`, as for `solve`.

    Raises:
      OutOfMemory: if the device's memory does not suffice.
      Refusal: if not even one image fits into `limit`.
    """
    size = kernel.get("kernel_size") or next(iter(kernel.values())).shape
    at_once = room(images[0].shape, size, config, limit, "--crop")
    pairs = [(i, seeds.first + n) for i in range(len(images)) for n in range(seeds.number)]
    runs: list[list[Run]] = [[] for _ in images]
    ended = False

    def solve(some: Sequence[tuple[int, int]]) -> None:
        def chosen(estimates: Sequence[Estimate]) -> list[Estimate]:
            """One an image, as far as it has any."""
            found = [list(mine) for mine in runs]
            for (i, seed), estimate in zip(some, estimates, strict=True):
                found[i].append(_run(images[i], seed, estimate))
            return [choose(mine).estimate for mine in found if mine]

        def told(progress: Progress, estimates: Callable[[], list[Estimate]]) -> bool:
            nonlocal ended
            all_begun = all(mine or any(i == j for j, _ in some) for i, mine in enumerate(runs))
            ended = all_begun and keep(progress, lambda: chosen(estimates()))
            return ended

        estimates = solve_batch(
            [images[i] for i, _ in some], [seed for _, seed in some], config, title, told, profile, **kernel
        )
        for (i, seed), estimate in zip(some, estimates, strict=True):
            runs[i].append(_run(images[i], seed, estimate))

    for first in range(0, len(pairs), at_once):
        solve(pairs[first : first + at_once])
        if ended:
            break
    failed = [i for i, mine in enumerate(runs) if config.num_steps and all(run.failures for run in mine)]
    if failed and not ended:
        line(title, f"failed ({', '.join(runs[failed[0]][0].failures)}); once more with another seed")
        for i in failed:
            solve([(i, seeds.first + seeds.number)])
    return [choose(mine) for mine in runs]


def decisions(chosen: Chosen) -> list[Decision]:
    """What there is to say of the choice."""
    if len(chosen.runs) == 1:
        return []
    used = [run.seed for run, weight in zip(chosen.runs, weights(chosen.runs), strict=True) if weight >= 0.01]
    told = "; ".join(
        f"seed {run.seed}: {run.criterion:.2f}" + (f", failed ({', '.join(run.failures)})" if run.failures else "")
        for run in chosen.runs
    )
    alone = f"the lowest criterion: {told}"
    alike = f"the mean of the seeds whose kernels agree with that of the lowest criterion, {chosen.seed}: {told}"
    return [Decision("seed", ", ".join(map(str, used)), alike if len(used) > 1 else alone)]


def _run(y: np.ndarray, seed: int, estimate: Estimate) -> Run:
    wrong = failures(y, estimate.image.reshape(y.shape), estimate.kernel, bool(estimate.ok))
    return Run(seed, estimate, tuple(wrong))
