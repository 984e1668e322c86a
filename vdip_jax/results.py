"""One image's results as files: pictures to look at, arrays to go on with, a record to repeat the run from."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vdip_jax.batches import Estimate
from vdip_jax.config import Config
from vdip_jax.images import kernel_picture, replacing, side_by_side, write_image, write_text
from vdip_jax.photographs import Photo, picture_suffix, write_photo

# Larger pictures are shrunk where they stand side by side.
_PANEL = 1200
SUFFIXES = ("_std.png", "_kernel.png", "_kernel.npy", "_compare.png", ".flags", ".json")


def result_paths(folder: Path, photo: Photo) -> list[Path]:
    """The files that the results of a photograph are written to, the restored image first."""
    return [folder / f"{photo.name}{suffix}" for suffix in (picture_suffix(photo.origin), *SUFFIXES)]


def write_result(folder: Path, photo: Photo, result: Estimate, record: Mapping[str, object]) -> list[Path]:
    """Write the restored image and the files NAME + `SUFFIXES` of one photograph, the record last; return their paths.

    The image has the bits, alpha, profile and Exif data of the photograph's file.
    The uncertainty map is scaled to its 99th percentile, which the record tells as `std_scale`; it is black
    where there is none. `record["flags"]` also becomes a flagfile that repeats the run.
    """
    y = photo.pixels
    image, std = result.image.reshape(y.shape), result.std.reshape(y.shape)
    std_scale = float(np.percentile(std, 99)) or 1.0
    paths = result_paths(folder, photo)
    picture, std_picture, kernel_png, kernel_npy, comparison, flagfile, json_file = paths
    write_photo(picture, image, photo.origin)
    write_image(std_picture, std / std_scale)
    write_image(kernel_png, kernel_picture(result.kernel, 256))
    kernel = kernel_picture(result.kernel, 128)
    panels = [("blurred", y), ("restored", image), ("std", std / std_scale), ("kernel", kernel)]
    write_image(comparison, side_by_side(panels, _PANEL))
    with replacing(kernel_npy) as temporary, open(temporary, "wb") as file:
        np.save(file, result.kernel)
    flags = record.get("flags", ())
    assert isinstance(flags, (list, tuple))
    write_text(flagfile, "\n".join(flags) + "\n")
    write_text(json_file, json.dumps({**record, "std_scale": std_scale}, indent=1, default=str) + "\n")
    return paths


def finite(value: float | np.ndarray) -> float | None:
    """A scalar as it stands in a record: JSON has neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def final_losses(loss: np.ndarray, config: Config) -> dict[str, float]:
    """The last loss of each phase that ran; of the last one where a run was ended early."""
    losses, first = {}, 0
    for name, num_steps in config.phases:
        made = loss[first : first + num_steps]
        first += num_steps
        if np.isfinite(made).any():
            losses[name] = float(made[np.isfinite(made)][-1])
    return losses
