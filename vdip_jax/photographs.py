"""Photographs as files: whatever a camera or an editor writes, and results as deep as what they were made from.

Pillow does all but more than eight bits in several channels, which it would cut to eight; pyvips does those.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from vdip_jax.checks import Refusal
from vdip_jax.images import replacing

# Greatest value of each kind of number that a file may hold.
_LARGEST = {"uint8": 255, "uint16": 65535, "float32": 1}
# Exif tags that tell of the photograph and not of the file it was in: description, maker, model, resolution, software,
# time, artist, host, copyright, what the camera did, where.
_EXIF_KEPT = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)
_UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)


class Origin(NamedTuple):
    """What a file held beside gray or colour, for the results to have it too.

    `depth` of its numbers, 'uint8', 'uint16' or 'float32'; `alpha` [H, W] in [0, 1]; ICC profile and Exif data.
    """

    depth: str = "uint8"
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None


class Photo(NamedTuple):
    """A photograph: `pixels` [H, W] or [H, W, 3] float32 in [0, 1], and what was done to it on the way in."""

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    origin: Origin = Origin()


class _Raster(NamedTuple):
    """An upright image as its file holds it: [H, W, 1 to 4], the last of 2 or 4 channels being alpha."""

    values: np.ndarray
    icc: bytes | None
    exif: bytes | None


def read_image(path: Path, max_side: int = 0) -> Photo:
    """Read an image of any common kind as gray or RGB, upright, shrunk to `max_side` pixels unless that is 0.

    Raises:
      Refusal: for a file that cannot be read as an image, or one whose numbers cannot be made use of.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Large, not malicious: those are an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            raster = _read(path, notes)
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None
    except _UNREADABLE as error:
        raise Refusal(f"{path}: expected an image, but it cannot be read as one ({error}).") from None
    depth = raster.values.dtype.name
    pixels = raster.values.astype(np.float32) / _LARGEST[depth]
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise Refusal(f"{path}: expected floating-point values in [0, 1], found others; rescale the image.")
    height, width = pixels.shape[:2]
    if max_side and max(height, width) > max_side:
        scale = max_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        notes.append(f"shrunk from {width}x{height} to {size[0]}x{size[1]} (--max_side)")
        pixels = _resized(pixels, size)
    alpha = None
    if pixels.shape[-1] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
        notes.append("alpha is kept as it is")
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return Photo(path.stem, pixels, tuple(notes), Origin(depth, alpha, raster.icc, raster.exif))


def read_kernel(path: Path) -> np.ndarray:
    """Read a kernel [kh, kw], true convolution, from an .npy file or from an image, whose channels are averaged.

    A side that is even gets a line of zeros. Neither signs nor the sum are looked at.

    Raises:
      Refusal: for a file that holds no two-dimensional array.
    """
    if path.suffix.lower() == ".npy":
        try:
            kernel = np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise Refusal(f"{path}: expected an .npy file of a kernel [kh, kw] ({error}).") from None
        if kernel.ndim != 2 or kernel.dtype.kind not in "iuf":
            raise Refusal(
                f"{path}: expected numbers of a kernel [kh, kw], found {kernel.dtype} of shape {kernel.shape}."
            )
    else:
        kernel = np.atleast_3d(read_image(path).pixels).mean(-1)
    return np.pad(kernel, [(0, 1 - side % 2) for side in kernel.shape]).astype(np.float32)


def picture_suffix(origin: Origin) -> str:
    """Of the file that a result is written to: PNG, or TIFF for floating-point numbers, which PNG has not."""
    return ".tiff" if origin.depth == "float32" else ".png"


def write_photo(path: Path, pixels: np.ndarray, origin: Origin) -> None:
    """Write [H, W] or [H, W, 3], values in [0, 1], as deep and with the same data beside as its origin."""
    planes = pixels.reshape(*pixels.shape[:2], -1)
    if origin.alpha is not None:
        planes = np.concatenate([planes, origin.alpha[..., None]], axis=-1)
    values = np.clip(planes, 0, 1) * _LARGEST[origin.depth]
    values = (values if origin.depth == "float32" else np.round(values)).astype(origin.depth)
    form = picture_suffix(origin).removeprefix(".")
    several = values.shape[-1] > 1
    with replacing(path) as temporary:
        if several and origin.depth != "uint8":
            with open(temporary, "wb") as file:
                file.write(_encoded(values, origin, form))
            return
        image = Image.fromarray(values if several else values[..., 0])
        beside = {"icc_profile": origin.icc, "exif": origin.exif}
        image.save(temporary, format=form, **{name: data for name, data in beside.items() if data})


def _read(path: Path, notes: list[str]) -> _Raster:
    try:
        opened = Image.open(path)
    except UnidentifiedImageError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        # Pillow knows no floating-point numbers in several channels.
        return _read_deep(path, None)
    with opened:
        pages = getattr(opened, "n_frames", 1)
        if pages > 1:
            notes.append(f"the first of {pages} pages")
        kept = Image.Exif()
        exif = opened.getexif()
        kept.update({tag: exif[tag] for tag in _EXIF_KEPT if tag in exif})
        for tag in (34665, 34853):
            if tag in exif:
                kept[tag] = dict(exif.get_ifd(tag))
        data = kept.tobytes() if kept else None
        if opened.mode in ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK") and _has_sixteen_bits(opened):
            return _read_deep(path, data)
        upright = ImageOps.exif_transpose(opened)
        upright.load()
        icc = opened.info.get("icc_profile")
    image, icc = _plain(upright, icc, notes)
    values = np.asarray(image)
    if image.mode.startswith("I"):
        if values.min() < 0 or values.max() > 65535:
            raise Refusal("expected numbers of 8 or 16 bits or floating-point ones, found 32 bits; convert it first.")
        values = values.astype(np.uint16)
    return _Raster(values.reshape(*values.shape[:2], -1), icc, data)


def _plain(image: Image.Image, icc: bytes | None, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """Gray or RGB, with alpha if there was any; and the profile that is then right."""
    if image.mode == "1":
        raise Refusal("expected levels of gray or colours, found one bit a pixel, of which no blur can be told.")
    if image.mode in ("L", "RGB", "LA", "RGBA", "F") or image.mode.startswith("I"):
        return image, icc
    mode = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA", "RGBX": "RGB"}.get(image.mode, "RGB")
    if image.mode == "P" and "transparency" in image.info:
        mode = "RGBA"
    notes.append(f"converted from {image.mode} to {mode}")
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return _in_srgb(image, icc), None
    return image.convert(mode), icc


def _in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """By the profile if it is of use: without one, inks are taken for complements of colours."""
    if icc is not None:
        profile, srgb = io.BytesIO(icc), ImageCms.createProfile("sRGB")
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(profile), srgb, outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _has_sixteen_bits(opened: Image.Image) -> bool:
    return any(";16" in str(part) for tile in getattr(opened, "tile", ()) for part in tile)


def _read_deep(path: Path, exif: bytes | None) -> _Raster:
    vips = _vips()
    try:
        image = vips.Image.new_from_file(str(path), fail_on="truncated").autorot()
        if image.width * image.height > 2 * (Image.MAX_IMAGE_PIXELS or 0):
            raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb", depth=16)
        values = image.numpy()
    except vips.Error as error:
        raise OSError(" ".join(str(error).split())) from None
    values = values.reshape(*values.shape[:2], -1)
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    if values.dtype.name not in _LARGEST or values.shape[-1] > 4:
        raise Refusal(
            f"expected up to four channels of 8 or 16 bits or floating-point numbers, found {values.shape[-1]} of "
            f"{values.dtype}; convert it first."
        )
    profile = image.get("icc-profile-data") if "icc-profile-data" in image.get_fields() else None
    return _Raster(values, profile, exif)


def _encoded(values: np.ndarray, origin: Origin, form: str) -> bytes:
    """[H, W, C] of more than eight bits as a file."""
    vips = _vips()
    colours = "grey16" if values.shape[-1] < 3 else "rgb16" if origin.depth == "uint16" else "scrgb"
    # A copy of its own may be given what belongs to it.
    image = vips.Image.new_from_array(values, interpretation=colours).copy()
    for name, data in (("icc-profile-data", origin.icc), ("exif-data", origin.exif)):
        if data is not None:
            image.set_type(vips.GValue.blob_type, name, data)
    options = {"compression": "deflate"} if form == "tiff" else {}
    return bytes(image.write_to_buffer(f".{form}", **options))


def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError):
        raise Refusal(
            "more than 8 bits in several channels need pyvips, which is not installed: pip install 'pyvips[binary]'."
        ) from None
    return pyvips


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W, C] at another (width, height), in [0, 1]."""
    planes = [Image.fromarray(pixels[..., i]).resize(size, Image.Resampling.LANCZOS) for i in range(pixels.shape[-1])]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0, 1)
