"""The figures of the paper, drawn from measurements: time against size, kernels, failures. Each with its numbers."""

import collections
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vdip_jax.checks import Refusal
from vdip_jax.config import METHODS, Config
from vdip_jax.datasets import Case, Dataset, Pair, cropped, load_case
from vdip_jax.images import as_picture, kernel_picture, side_by_side, write_image, write_text
from vdip_jax.records import Record, gain, read_picture, read_settings

_SIDE = 200


def draw_time(rows: Sequence[Mapping[str, Any]], config: Config, where: str, path: Path) -> None:
    """Seconds a step and an image against image size and against kernel size (the paper's Figure 2).

    Args:
      rows: what `timing.measure` gives. Those of the commonest kernel side make the left plot, those of the commonest
        image size the right one.
      config: the settings that were timed; its numbers of steps make a step's seconds an image's.
      where: the device, for the title.
      path: of the PNG; the numbers go beside it as CSV.

    Raises:
      Refusal: if matplotlib is not there; the CSV is written all the same.
    """
    table = [_timed(row, config) for row in rows]
    write_csv(path.with_suffix(".csv"), table)
    try:
        import matplotlib.figure
    except ModuleNotFoundError:
        raise Refusal(f"{path}: drawing needs matplotlib, which is not installed; the numbers are beside it.") from None
    kernel, side = (_commonest(row[name] for row in table) for name in ("kernel", "image_side"))
    figure = matplotlib.figure.Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(f"{config.method}, {config.channels} channels, {where}")
    plots = zip(
        figure.subplots(1, 2),
        (
            (
                "image_side",
                "image side in pixels",
                [row for row in table if row["kernel"] == kernel],
                f"kernel {kernel}",
            ),
            (
                "kernel",
                "kernel side in pixels",
                [row for row in table if row["image_side"] == side],
                f"image side {side}",
            ),
        ),
        strict=True,
    )
    for axes, (name, label, mine, title) in plots:
        mine = sorted(mine, key=lambda row: row[name])
        sides = np.array([row[name] for row in mine], float)
        seconds = np.array([row["seconds_an_image"] for row in mine])
        axes.plot(sides, seconds, "o-", label="measured")
        canvas = np.array([row["canvas_pixels"] for row in mine], float)
        axes.plot(sides, seconds[0] * canvas / canvas[0], ":", label="growth of the canvas, image plus kernel")
        axes.plot(sides, seconds[0] * (sides / sides[0]) ** 2, "--", label="growth with the square of the side")
        axes.set(xlabel=label, ylabel="seconds an image", title=title, ylim=(0, 1.6 * seconds.max()))
        steps = axes.secondary_yaxis(
            "right", functions=(lambda s: s / config.num_steps, lambda s: s * config.num_steps)
        )
        steps.set_ylabel("seconds a step, mean over the phases")
        axes.legend(loc="upper left")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def draw_kernels(folder: Path, dataset: Dataset, records: Iterable[Record], path: Path) -> None:
    """Kernels of the point estimates against variational ones, image by image (the paper's Figure 5).

    Raises:
      Refusal: if no image was solved both ways with one seed.
    """
    shown = [record for record in records if not record["failed"] and record["method"] in METHODS]
    methods = list(METHODS)
    pairs = {pair.name: pair for pair in dataset.pairs}
    strips, numbers = [], []
    for (name, seed), mine in sorted(_grouped(shown, "name", "seed").items()):
        if len({METHODS[record["method"]].gaussian for record in mine}) < 2 or name not in pairs:
            continue
        case = _case(folder, dataset, pairs[name])
        panels = [] if case.kernel is None else [("true", kernel_picture(case.kernel, _SIDE))]
        for record in sorted(mine, key=lambda record: methods.index(record["method"])):
            picture = read_picture(folder, record)
            if picture is None or picture.kernel is None:
                continue
            error = record.get("kernel_error", {})
            caption = f"{record['method']}: NCC {error['ncc']:.3f}" if error else record["method"]
            panels.append((caption, kernel_picture(picture.kernel, _SIDE)))
            gained = gain(record)
            numbers.append(
                {"name": name, "method": record["method"], "seed": seed, "peak": float(picture.kernel.max()), **error}
                | {"gain_db": gained}
            )
        strips.append((f"{name}, seed {seed}", panels))
    if not strips:
        found = ", ".join(sorted({record["method"] for record in shown}, key=methods.index))
        raise Refusal(f"{folder}: expected an image solved by a point and a variational method, found only {found}.")
    _write(strips, numbers, path)


def draw_failures(folder: Path, dataset: Dataset, records: Iterable[Record], path: Path, limit: int) -> None:
    """The worst images by gain over the blurred input (the paper's Figure 6).

    Raises:
      Refusal: if no record has a score.
    """
    pairs = {pair.name: pair for pair in dataset.pairs}
    scored = [record for record in records if "restored" in record and record["name"] in pairs]
    if not scored:
        raise Refusal(f"{folder}: expected scored results, found none.")
    strips, numbers = [], []
    for record in sorted(scored, key=gain)[:limit]:
        case, picture = _case(folder, dataset, pairs[record["name"]]), read_picture(folder, record)
        panels = [("blurred", _small(case.y))]
        if picture is not None:
            panels.append(("restored", _small(picture.image)))
        if case.truth is not None:
            panels.append(("truth", _small(case.truth)))
        if picture is not None and picture.kernel is not None:
            panels.append(("kernel", kernel_picture(picture.kernel, _SIDE)))
        if case.kernel is not None:
            panels.append(("true kernel", kernel_picture(case.kernel, _SIDE)))
        title = f"{record['name']}, {record['method']}, seed {record['seed']}: {gain(record):+.2f} dB"
        strips.append((title, panels))
        numbers.append(
            {"name": record["name"], "method": record["method"], "seed": record["seed"], "gain_db": gain(record)}
            | {f"{which}_psnr": record[which]["rgb"]["psnr"] for which in ("blurred", "restored")}
        )
    _write(strips, numbers, path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the names of all their fields."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, file.getvalue())


def _timed(row: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """One measurement flat, with the seconds of a whole image: each phase's steps at its pace."""
    steps = row["seconds_a_step"]
    image = sum(num * steps[name] for name, num in config.phases)
    return {
        "image_height": row["image"][0],
        "image_width": row["image"][1],
        "image_side": round(float(np.sqrt(row["image"][0] * row["image"][1]))),
        "kernel": row["kernel"],
        "canvas_pixels": row["canvas_pixels"],
        **{f"{name}_seconds_a_step": seconds for name, seconds in steps.items()},
        "seconds_an_image": round(image, 3),
        "compile_seconds": row["compile_seconds"],
        "peak_megabytes": row["peak_megabytes"],
    }


def _write(strips: Sequence[tuple[str, list[tuple[str, np.ndarray]]]], numbers: Sequence[Any], path: Path) -> None:
    """Strips of pictures under their titles as one PNG, the numbers beside it."""
    made = [(title, side_by_side(panels)) for title, panels in strips if panels]
    width = max(strip.shape[1] for _, strip in made)
    titled = [
        side_by_side([(title, np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=1))])
        for title, s in made
    ]
    write_image(path, np.concatenate(titled))
    write_csv(path.with_suffix(".csv"), numbers)


def _case(folder: Path, dataset: Dataset, pair: Pair) -> Case:
    return cropped(load_case(dataset, pair), read_settings(folder).get("crop", 0))


def _small(pixels: np.ndarray) -> np.ndarray:
    image = as_picture(pixels)
    image.thumbnail((2 * _SIDE, _SIDE))
    return np.asarray(image, np.float32) / 255


def _grouped(records: Iterable[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    return groups


def _commonest(values: Iterable[int]) -> int:
    return collections.Counter(values).most_common(1)[0][0]
