"""One picture against what is known of it: all that an evaluation tells of an image."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vdip_jax import metrics, quality
from vdip_jax.checks import Refusal
from vdip_jax.datasets import Case
from vdip_jax.metrics import PROTOCOLS
from vdip_jax.nonblind import deconvolve
from vdip_jax.quality import BrisqueModel

# What the error ratio compares with: named beside every ratio.
REFERENCE = "vdip_jax.nonblind with the true kernel"


class Picture(NamedTuple):
    """A restored picture, [H, W] or [H, W, 3] in [0, 1]; its std, of that shape, and kernel [kh, kw] if there are."""

    image: np.ndarray
    std: np.ndarray | None = None
    kernel: np.ndarray | None = None


def assess(case: Case, picture: Picture, brisque_model: BrisqueModel | None = None) -> dict[str, Any]:
    """Everything that can be said of `picture` by what the case holds, ready for JSON.

    The picture is scored as 8 bits hold it, so that scoring its file again gives the same numbers.

    Raises:
      Refusal: for a picture of another size than the blurred image's.
    """
    image = np.round(np.clip(_like(picture.image, case.y), 0, 1) * 255) / 255
    scores: dict[str, Any] = {}
    if case.truth is not None:
        scores["blurred"] = _by_protocol(case.y, case.truth)
        restored = {protocol: metrics.score(image, case.truth, protocol) for protocol in PROTOCOLS}
        scores["restored"] = {protocol: score._asdict() for protocol, score in restored.items()}
        if case.kernel is not None and case.y.ndim == 2:
            reference = metrics.score(reference_image(case), case.truth)
            ratio = metrics.error_ratio(restored["rgb"], reference)
            scores["error_ratio"] = {"ratio": ratio, "reference": REFERENCE, **reference._asdict()}
        if picture.std is not None and picture.std.any():
            std = _like(picture.std, case.y)
            scores["calibration"] = metrics.calibration(image, std, case.truth, restored["rgb"].shift)._asdict()
    if case.stretched is not None:
        scores["range_corrected"] = {
            "blurred": _by_protocol(case.y, case.stretched),
            "restored": _by_protocol(image, case.stretched),
        }
    if case.kernel is not None and picture.kernel is not None:
        scores["kernel_error"] = metrics.kernel_error(picture.kernel, case.kernel)._asdict()
    scores["no_reference"] = no_reference(image, brisque_model)
    return scores


def no_reference(image: np.ndarray, brisque_model: BrisqueModel | None = None) -> dict[str, float | None]:
    """NIQE, BRISQUE and PIQE, lower is better; None where an image gives none: too small, or blank."""
    measures = {"niqe": quality.niqe, "piqe": quality.piqe}
    if brisque_model is not None:
        measures["brisque"] = functools.partial(quality.brisque, model=brisque_model)
    values: dict[str, float | None] = {}
    for name, measure in measures.items():
        try:
            value = measure(image)
        except Refusal:
            value = np.nan
        values[name] = float(value) if np.isfinite(value) else None
    return values


def reference_image(case: Case) -> np.ndarray:
    """The non-blind result with the true kernel, of y's shape."""
    assert case.kernel is not None
    return np.asarray(deconvolve(jnp.asarray(case.y, jnp.float32), jnp.asarray(case.kernel, jnp.float32)))


def _by_protocol(image: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    return {protocol: metrics.score(image, truth, protocol)._asdict() for protocol in PROTOCOLS}


def _like(image: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`image` in y's shape: an RGB picture of a gray image may have three equal channels."""
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim == 3 and y.ndim == 2 and (image == image[..., :1]).all():
        image = image[..., 0]
    if image.shape != y.shape:
        size, expected = ("x".join(map(str, shape)) for shape in (image.shape, y.shape))
        raise Refusal(f"expected a picture of {expected} (height x width x colours), got {size}.")
    return image
