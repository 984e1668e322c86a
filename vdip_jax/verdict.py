"""Whether an answer is one, seen without a truth: how a run that failed looks."""

import numpy as np

from vdip_jax.kernels import DELTA

FAULTS = ("diverged", "delta", "flat", "worse")
# With less than this share of the blurred picture's contrast, a restored one is flat.
_CONTRAST = 0.5
# A kernel with this share of its mass in the outermost lines of its frame may go on beyond them.
_AT_BORDER = 0.1


def failures(y: np.ndarray, image: np.ndarray, kernel: np.ndarray, finite: bool) -> list[str]:
    """What is wrong with an answer, some of `FAULTS`; empty if nothing can be seen to be.

    'diverged': an update was not finite. 'delta': the kernel blurs nothing. 'flat': black, white or without contrast.
    'worse': the gradients of the picture are less sparse than those of the blurred one, as ghosts and noise make them;
    those of a sharp picture are sparser.

    Args:
      y, image: [H, W] or [H, W, C], blurred and restored, in [0, 1].
      kernel: [kh, kw].
      finite: whether every update was.
    """
    found = [] if finite else ["diverged"]
    if kernel.max() >= DELTA:
        found.append("delta")
    before, after = gray(y), gray(image)
    if not np.isfinite(after).all() or after.std() < _CONTRAST * before.std():
        found.append("flat")
    elif sparsity(after) > sparsity(before):
        found.append("worse")
    return found


def at_border(kernel: np.ndarray) -> bool:
    """Whether so much of a kernel [kh, kw] lies on the edge of its frame that it is likely cut off there."""
    return bool(kernel[1:-1, 1:-1].sum() < (1 - _AT_BORDER) * kernel.sum())


def sparsity(image: np.ndarray) -> float:
    """Mean over root mean square of the gradients' lengths of [H, W]: less for few, strong ones (Krishnan 2011)."""
    squared = np.diff(image, axis=0)[:, :-1] ** 2 + np.diff(image, axis=1)[:-1] ** 2
    return float(np.sqrt(squared).mean() / np.sqrt(squared.mean() + 1e-30))


def gray(image: np.ndarray) -> np.ndarray:
    """The mean of the channels of [H, W] or [H, W, C]."""
    return image if image.ndim == 2 else image.mean(-1)
