"""Data sets of blurred images with their truth: folders `blurred/`, `ground_truth/` and `kernels/`.

A blurred file is named IMAGE_KERNEL, with `_img` or not, after a file IMAGE of `ground_truth/` and one KERNEL of
`kernels/`: `text_01_kernel_02.png` after `text_01.png` and `kernel_02.png`. The category is IMAGE without its
last `_NUMBER`. A set without `ground_truth/` is one of real photographs, each its own image.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vdip_jax.checks import Refusal, check_choice, check_kernel_size
from vdip_jax.images import SUFFIXES
from vdip_jax.photographs import read_image

CONVENTIONS = ("convolution", "correlation")


class Known(NamedTuple):
    """What is known of a published data set.

    Attributes:
      title: its name in tables.
      pattern: what every blurred file's name looks like; empty if it cannot be told by names.
      a_category: images that the full set has in each of its `categories`.
      correlation: the kernel files in the correlation convention, as a pattern; the others convolve.
      stretched: images whose sharp original is 1.9 x - 0.1 of the truth x, clipped, as a pattern.
    """

    title: str
    pattern: str
    a_category: int
    categories: int
    correlation: str
    stretched: str = ""


KNOWN = {
    "lai2016": Known(
        "Lai 2016, synthetic uniform",
        r"(manmade|natural|people|saturated|text)_\d\d_kernel_0[1-4]",
        20,
        5,
        r".*",
        r"saturated_0[134]",
    ),
    "lai2016_real": Known("Lai 2016, real photographs", "", 100, 1, ""),
    "levin2009": Known("Levin 2009", r"im[1-4]_kernel[1-8](_img)?", 8, 4, r"kernel[123567]"),
}


class Pair(NamedTuple):
    """A blurred image and the files that belong to it; `problem` says what is wrong with them, if anything."""

    name: str
    image: str
    kernel: str
    category: str
    blurred: Path
    truth_file: Path | None = None
    kernel_file: Path | None = None
    problem: str | None = None


class Dataset(NamedTuple):
    """The pairs of a folder, in order of their names, and `notes` about files that belong to none."""

    name: str
    title: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    convention: str

    def full_count(self, category: str | None = None) -> int:
        """Images that the full set has, in a category or in all, whether or not they are at hand."""
        if self.name in KNOWN:
            known = KNOWN[self.name]
            return known.a_category * (known.categories if category is None else 1)
        return sum(category in (None, pair.category) for pair in self.pairs)


class Case(NamedTuple):
    """A pair in memory, arrays [H, W] or [H, W, 3] in [0, 1].

    `kernel` [kh, kw] sums to 1, true-convolution convention. `stretched` is the truth in the range in which it was
    blurred, where that differs.
    """

    y: np.ndarray
    truth: np.ndarray | None
    kernel: np.ndarray | None
    stretched: np.ndarray | None = None


def find_dataset(folder: Path, name: str = "auto", convention: str = "convolution") -> Dataset:
    """The data set in `folder`.

    Args:
      folder: holds `blurred/` and, unless the photographs are real, `ground_truth/` and `kernels/`.
      name: one of `KNOWN`, 'other', or 'auto' to tell by the files' names.
      convention: of the kernel files of a data set that is not known: 'convolution' or 'correlation'.

    Raises:
      Refusal: for a folder of another layout, an empty one, or names that are not those of the set.
    """
    check_choice("the data set", name, ("auto", *KNOWN, "other"))
    check_choice("the kernel convention", convention, CONVENTIONS)
    if not (folder / "blurred").is_dir():
        raise Refusal(
            f"{folder}: expected a folder with blurred/, ground_truth/ and kernels/ in it, found no blurred/."
        )
    blurred = _images(folder / "blurred")
    if not blurred:
        raise Refusal(f"{folder / 'blurred'}: expected blurred images ({', '.join(SUFFIXES)}), found none.")
    if name == "auto":
        fits = (key for key, known in KNOWN.items() if known.pattern and _all_match(known.pattern, blurred))
        name = next(fits, "other")
    elif name in KNOWN and KNOWN[name].pattern and not _all_match(KNOWN[name].pattern, blurred):
        other = next(stem for stem in blurred if not re.fullmatch(KNOWN[name].pattern, stem))
        raise Refusal(
            f"{folder}: {blurred[other].name} is no name of {name}; take --dataset=other for your own images."
        )
    title = KNOWN[name].title if name in KNOWN else folder.resolve().name
    truths, kernels = _images(folder / "ground_truth"), _images(folder / "kernels")
    real = not (folder / "ground_truth").is_dir()
    pairs = tuple(_pair(stem, path, truths, kernels, real) for stem, path in blurred.items())
    used = {path for pair in pairs for path in (pair.truth_file, pair.kernel_file)}
    notes = tuple(
        f"{path.parent.name}/{path.name}: no blurred image of it."
        for path in (*truths.values(), *kernels.values())
        if path not in used
    )
    return Dataset(name, title, pairs, notes, convention)


def choose(dataset: Dataset, patterns: Sequence[str], limit: int | None = None) -> list[Pair]:
    """The pairs whose names match one of the patterns (`text_*`), by pattern and then name; all without patterns.

    Raises:
      Refusal: for a pattern that matches nothing, with the categories that there are.
    """
    if not patterns:
        return list(dataset.pairs[:limit])
    chosen: list[Pair] = []
    for pattern in patterns:
        matching = [pair for pair in dataset.pairs if fnmatchcase(pair.name, pattern) or pair.category == pattern]
        if not matching:
            categories = ", ".join(sorted({pair.category for pair in dataset.pairs}))
            raise Refusal(
                f"no image of {len(dataset.pairs)} matches {pattern!r}; give a name, a pattern such as "
                f"'{dataset.pairs[0].image}_*', or a category: {categories}."
            )
        chosen += [pair for pair in matching if pair not in chosen]
    return chosen[:limit]


def load_case(dataset: Dataset, pair: Pair) -> Case:
    """Read the files of a pair.

    Raises:
      Refusal: for files that are missing, cannot be read or do not fit together.
    """
    if pair.problem:
        raise Refusal(pair.problem)
    y = read_image(pair.blurred).pixels
    truth = None if pair.truth_file is None else read_image(pair.truth_file).pixels
    if truth is not None and truth.shape != y.shape:
        raise Refusal(
            f"{pair.blurred.name}: expected the size of {pair.truth_file.name}, {_size(truth)}, got {_size(y)}."  # type: ignore[union-attr]
        )
    kernel = None if pair.kernel_file is None else _read_kernel(dataset, pair.kernel_file, y.shape[:2])
    known = KNOWN.get(dataset.name)
    stretched = None
    if truth is not None and known is not None and re.fullmatch(known.stretched, pair.image):
        stretched = np.clip(1.9 * truth - 0.1, 0, 1)
    return Case(y, truth, kernel, stretched)


def cropped(case: Case, side: int) -> Case:
    """The central square of a case, of `side` pixels or what there is."""
    if not side:
        return case

    def central(image: np.ndarray | None) -> np.ndarray | None:
        if image is None:
            return None
        top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
        return image[top : top + side, left : left + side]

    y = central(case.y)
    assert y is not None
    return Case(y, central(case.truth), case.kernel, central(case.stretched))


def image_header(path: Path) -> tuple[int, int, str]:
    """Height, width and mode of an image file, without reading its pixels.

    Raises:
      Refusal: for a file that is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width, image.mode
    except (OSError, SyntaxError, ValueError) as error:
        raise Refusal(f"{path}: expected an image, but it cannot be read as one ({error}).") from None


def _read_kernel(dataset: Dataset, path: Path, image: tuple[int, int]) -> np.ndarray:
    pixels = read_image(path).pixels.astype(np.float64)
    kernel = pixels.mean(-1) if pixels.ndim == 3 else pixels
    try:
        check_kernel_size(kernel.shape, image)
    except Refusal as refusal:
        raise Refusal(f"kernels/{path.name}: {refusal}") from None
    if not kernel.sum() > 0:
        raise Refusal(f"kernels/{path.name}: expected a kernel, got an image that is black all over.")
    if dataset.name in KNOWN:
        correlation = re.fullmatch(KNOWN[dataset.name].correlation, path.stem) is not None
    else:
        correlation = dataset.convention == "correlation"
    return (kernel[::-1, ::-1] if correlation else kernel) / kernel.sum()


def _pair(stem: str, path: Path, truths: dict[str, Path], kernels: dict[str, Path], real: bool) -> Pair:
    if real:
        return Pair(stem, stem, "", "photographs", path)
    # The longest name that fits: text_1 must not take what belongs to text_1_b.
    image = max((truth for truth in truths if stem.startswith(f"{truth}_")), key=len, default=None)
    rest = stem.removesuffix("_img")
    if image is not None:
        kernel = rest.removeprefix(f"{image}_")
    else:
        # Only to name what is missing: kernels are called by a word and a number.
        found = re.fullmatch(r"(.+?)_([a-z]+_?\d+)", rest)
        image, kernel = found.groups() if found else (rest, "")
    category = re.sub(r"_\d+$", "", image)
    lacking = [
        f"{folder}/{name or 'KERNEL'}.png"
        for folder, name, files in (("ground_truth", image, truths), ("kernels", kernel, kernels))
        if name not in files
    ]
    problem = f"blurred/{path.name}: expected {' and '.join(lacking)} beside it, found none." if lacking else None
    return Pair(stem, image, kernel, category, path, truths.get(image), kernels.get(kernel), problem)


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file())
    return {path.stem: path for path in files}


def _all_match(pattern: str, names: Iterable[str]) -> bool:
    return all(re.fullmatch(pattern, name) for name in names)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}" + (" RGB" if image.ndim == 3 else " gray")
