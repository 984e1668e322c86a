"""The folder of an evaluation: one record an image, method and seed, written whole the moment it is known.

    settings.json                     what all records have in common; other settings are refused
    records/NAME.METHOD.seedS.json    scores, time, device, versions; or why there are none
    pictures/NAME.METHOD.seedS.png    the restored image, _std.png and _kernel.npy beside it

Everything else in it, tables and report, is computed from these.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vdip_jax.checks import Refusal
from vdip_jax.images import replacing, write_image, write_text
from vdip_jax.photographs import read_image
from vdip_jax.scoring import Picture

Record = dict[str, Any]


def record_name(name: str, method: str, seed: int) -> str:
    """What the files of one solve are called, without their suffixes."""
    return f"{name}.{method}.seed{seed}"


@contextlib.contextmanager
def opened(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Hold `folder`, made if need be, for one evaluation with `settings`.

    Raises:
      Refusal: for a folder that has results of other settings or something else in it, is in use, or cannot be
        written.
    """
    file = folder / "settings.json"
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"--output={folder}: expected a folder, found a file; give another.")
    if file.exists():
        _check_settings(folder, read_settings(folder), settings)
    elif folder.is_dir() and any(folder.iterdir()):
        raise Refusal(
            f"--output={folder}: expected an empty folder or an evaluation's, found other files; give another."
        )
    try:
        for part in ("records", "pictures"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write_json(file, settings)
        lock = open(folder / ".lock", "w")
    except OSError as error:
        raise Refusal(f"--output={folder}: expected a folder that can be written to ({error.strerror}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"--output={folder}: another evaluation is writing there; wait for it.") from None
        yield


def read_settings(folder: Path) -> dict[str, Any]:
    """What all records of an evaluation have in common.

    Raises:
      Refusal: for a folder that is none of an evaluation.
    """
    try:
        return dict(json.loads((folder / "settings.json").read_text()))
    except (OSError, ValueError, TypeError):
        raise Refusal(
            f"{folder}: expected the output of bin/evaluate, found no settings.json that can be read."
        ) from None


def write_record(folder: Path, record: Record, picture: Picture | None = None) -> None:
    """Write a record and, before it, its picture: where a record is, all of it is."""
    name = record_name(record["name"], record["method"], record["seed"])
    if picture is not None:
        write_image(folder / "pictures" / f"{name}.png", picture.image)
        if picture.std is not None and picture.std.any():
            record = {**record, "std_scale": float(np.percentile(picture.std, 99))}
            write_image(folder / "pictures" / f"{name}_std.png", picture.std / record["std_scale"])
        if picture.kernel is not None:
            with replacing(folder / "pictures" / f"{name}_kernel.npy") as temporary, open(temporary, "wb") as file:
                np.save(file, picture.kernel)
    write_json(folder / "records" / f"{name}.json", record)


def read_records(folder: Path) -> list[Record]:
    """All records of a folder, in order of their names.

    Raises:
      Refusal: for a record that cannot be read.
    """
    records = []
    for path in sorted((folder / "records").glob("*.json")):
        try:
            records.append(json.loads(path.read_text()))
        except ValueError as error:
            raise Refusal(f"{path}: expected a record in JSON, but it cannot be read ({error}); remove it.") from None
    return records


def read_picture(folder: Path, record: Record) -> Picture | None:
    """The picture of a record as its files hold it, if there are any; the std is 0 to 1 of `std_scale`."""
    stem = folder / "pictures" / record_name(record["name"], record["method"], record["seed"])
    files = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", "_std.png", "_kernel.npy")]
    if not files[0].exists():
        return None
    std = read_image(files[1]).pixels if files[1].exists() else None
    return Picture(read_image(files[0]).pixels, std, np.load(files[2]) if files[2].exists() else None)


def gain(record: Record) -> float:
    """PSNR in dB above the blurred image's, protocol rgb; minus infinity for a failure, NaN without a truth."""
    if record["failed"]:
        return float("-inf")
    if "restored" not in record:
        return float("nan")
    return float(record["restored"]["rgb"]["psnr"] - record["blurred"]["rgb"]["psnr"])


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, whole or not at all; infinite numbers as Python writes them."""
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def _check_settings(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    here = json.loads(json.dumps(here, default=str))
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            raise Refusal(
                f"--output={folder} holds results with {name}={there.get(name)}, this run has {here.get(name)}; "
                f"repeat the earlier settings or give another --output."
            )
