"""Images as files: found, written whole, put together as pictures to look at."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vdip_jax.checks import Refusal

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def find_images(patterns: Sequence[str]) -> list[Path]:
    """Files named by `patterns`, each a file, a folder or a glob; in order, none twice.

    Raises:
      Refusal: for a pattern that names nothing, or a folder without images.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
            if not files:
                raise Refusal(f"{pattern}: expected images ({', '.join(SUFFIXES)}) in this folder, found none.")
        elif path.exists():
            files = [path]
        else:
            files = sorted(Path(f) for f in glob.glob(pattern, recursive=True) if Path(f).is_file())
            if not files:
                raise Refusal(f"{pattern}: no such file; give an image, a folder, a glob or sample:NAME.")
        found += [file for file in files if file not in found]
    return found


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write [H, W] or [H, W, C], C 1 or 3, values in [0, 1], as an 8-bit PNG, whole or not at all."""
    with replacing(path) as temporary:
        as_picture(pixels).save(temporary, format="PNG")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[str]:
    """A temporary file beside `path` that takes its place when the block ends without an error."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, even if the power fails."""
    with replacing(path) as temporary, open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def kernel_picture(kernel: np.ndarray, side: int = 0) -> np.ndarray:
    """The kernel [kh, kw] scaled to its maximum, enlarged by whole factors towards `side` pixels."""
    factor = max(1, side // max(kernel.shape))
    return np.kron(kernel / kernel.max(), np.ones((factor, factor)))


def as_picture(pixels: np.ndarray) -> Image.Image:
    """[H, W] or [H, W, C], C 1 or 3, values in [0, 1], rounded to 8 bits."""
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def side_by_side(panels: Sequence[tuple[str, np.ndarray]], side: int = 0) -> np.ndarray:
    """Pictures of one height or less in a row under their captions: [H, W, 3] in [0, 1].

    Those larger than `side` pixels, unless that is 0, are shrunk by a whole factor.
    """
    pictures = [as_picture(panel).convert("RGB") for _, panel in panels]
    if side:
        pictures = [picture.reduce(-(-max(picture.size) // side)) for picture in pictures]
    gap, caption = 8, 18
    height = max(picture.height for picture in pictures)
    width = sum(picture.width + gap for picture in pictures) + gap
    canvas = Image.new("RGB", (width, height + caption + gap), "white")
    draw, left = ImageDraw.Draw(canvas), gap
    for (text, _), picture in zip(panels, pictures, strict=True):
        canvas.paste(picture, (left, caption))
        draw.text((left, 3), text, fill="black")
        left += picture.width + gap
    return np.asarray(canvas, np.float32) / 255


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
