"""What a person should know of an answer, in words."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from vdip_jax import answers, finishing, kernels, verdict
from vdip_jax.batches import Estimate
from vdip_jax.candidates import Candidates, luma
from vdip_jax.config import Config
from vdip_jax.finishing import UNSURE


def answer(result: Estimate, config: Config, unchanged: bool = True) -> str:
    """Which of the candidates the answer is, and how much of the photograph is left in it.

    If it is shown `unchanged`, also how much of the network's image is.
    """
    if config.start == "uniform":
        return "the network's image"
    if _useless(result) and len(result.candidates.criterion) == 1:
        return "the blurred image: the classical estimate was of no use"
    name = (
        "the classical estimate",
        "the network's image",
        "the finish with the network's kernel",
        "the finish with the kernel of the network's first attempt"
        if result.agreement < UNSURE
        else "the finish with the mean of the classical and the network's kernel",
    )[result.choice]
    mixed_in = []
    if unchanged and len(result.candidates.criterion) > 1 and result.choice != answers.network_candidate(config):
        mixed_in.append(f"{float(result.share):.0%} of the network's image")
    if result.reserve >= 0.005:
        mixed_in.append(f"{float(result.reserve):.0%} of the photograph")
    return f"{name}, with {' and '.join(mixed_in)}" if mixed_in else name


def unharmed(y: np.ndarray) -> Estimate:
    """The photograph `y` [H, W] or [H, W, C] as its own answer, with a kernel that blurs nothing."""
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1
    none = Candidates(np.zeros((0, *y.shape)), np.zeros((0, 3, 3)), np.zeros(0))  # type: ignore[arg-type]
    ok, agreement, choice, share, reserve = (np.array(a) for a in (True, np.nan, 0, 0.0, 0.0))
    return Estimate(y, np.zeros_like(y), kernel, np.zeros(0), ok, agreement, choice, share, reserve, none)


# Of `verdict.FAULTS`; one is told otherwise.
_FAULTS = {
    "delta": "no blur was removed, for the kernel is a single point; try another --kernel_size or --seed.",
    "flat": "the picture came out flat; try another --seed, or --preset=instant.",
    "worse": "the picture looks worse than the blurred one, with more noise or ghosts; try --restarts=4 or another "
    "--kernel_size.",
}


# From this share of the photograph on it is said how little the kernel is believed.
_MUCH_LEFT = 0.5
# With a right kernel some five times the noise at most is left unexplained, with a wrong one often ten and more.
_MUCH_UNEXPLAINED = 6.0


def misfit_of(y: np.ndarray, result: Estimate) -> float:
    """What the candidate that was chosen leaves unexplained of a photograph `y` [H, W] or [H, W, C]: 1 is the noise.

    NaN where there is none, for the photograph is given back as it is.
    """
    if not len(result.candidates.image):
        return np.nan
    planes, image = (jnp.asarray(a.reshape(*y.shape[:2], -1)) for a in (y, result.candidates.image[result.choice]))
    return float(finishing.misfit(luma(planes), luma(image), jnp.asarray(result.candidates.kernel[result.choice])))


def doubts(result: Estimate, config: Config, faults: Sequence[str] = (), misfit: float = np.nan) -> list[str]:
    """Why the answer may be wrong and what to do about it, a sentence each; empty if nothing tells so.

    `faults`: what `verdict.failures` found. `misfit`: as `misfit_of` has it.
    """
    height, width = result.kernel.shape
    found = []
    if config.start == "classical" and _useless(result):
        begun = f"; the network set out from a uniform kernel of {height}x{width}" if config.num_steps else ""
        found.append(f"the classical estimate found no blur and is of no use{begun}.")
    # Of a known kernel the agreement is NaN.
    elif result.agreement < UNSURE:
        begun = "; the network set out from it and then from a uniform one" if config.num_steps else ""
        found.append(
            f"the kernel is doubtful, for settings agree by {result.agreement:.2f} only (1: fully){begun}; "
            "try another --kernel_size."
        )
    elif np.isfinite(result.agreement):
        if verdict.at_border(result.kernel):
            found.append(
                f"the kernel reaches the edge of its frame of {height}x{width} pixels and may go on beyond: "
                f"try --kernel_size={round(0.7 * max(height, width)) * 2 + 1}."
            )
        if kernels.is_small(np.asarray(result.kernel)):
            rows, columns = kernels.extent(result.kernel)
            found.append(
                f"the kernel fills {rows}x{columns} of {height}x{width} pixels: if the blur is longer, it was "
                f"missed; if not, --kernel_size={max(rows, columns) // 2 * 2 + 3} is faster and safer."
            )
    if result.reserve >= _MUCH_LEFT:
        found.append(
            f"{float(result.reserve):.0%} of the photograph is left in the answer, for errors as large as all that the "
            "kernel changes in it are to be expected: little is gained, if anything; try another --kernel_size."
        )
    if misfit > _MUCH_UNEXPLAINED:
        found.append(
            f"the answer leaves {misfit:.0f} times as much unexplained as the noise would: the kernel may be wrong, "
            "the blur not everywhere the same, or bright lights cut off; try --restarts=4 or another --kernel_size."
        )
    found += [_FAULTS[fault] for fault in faults if fault in _FAULTS]
    if not result.ok and config.num_steps:
        found.append("an update was not finite; these files hold the last good state.")
    return found


def _useless(result: Estimate) -> bool:
    """Whether the classical estimate collapsed."""
    return len(result.candidates.criterion) > 0 and not np.isfinite(result.candidates.criterion[0])
