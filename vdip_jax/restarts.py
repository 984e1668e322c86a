"""Several seeds side by side, a failed run tried again, and the best answer kept without a truth."""

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
    """The best of several runs of one image, and all of them."""

    estimate: Estimate
    seed: int
    failures: tuple[str, ...]
    runs: tuple[Run, ...]


def choose(runs: Sequence[Run]) -> Chosen:
    """The run that did not fail with the lowest criterion; of several that failed, the lowest of these."""
    best = min(runs, key=lambda run: (bool(run.failures), run.criterion))
    return Chosen(best.estimate, best.seed, best.failures, tuple(runs))


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
    told = "; ".join(
        f"seed {run.seed}: {run.criterion:.2f}" + (f", failed ({', '.join(run.failures)})" if run.failures else "")
        for run in chosen.runs
    )
    return [Decision("seed", str(chosen.seed), f"the lowest criterion: {told}")]


def _run(y: np.ndarray, seed: int, estimate: Estimate) -> Run:
    wrong = failures(y, estimate.image.reshape(y.shape), estimate.kernel, bool(estimate.ok))
    return Run(seed, estimate, tuple(wrong))
