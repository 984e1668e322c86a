"""Pages that need no other file: escaped text, pictures inside, the frame around it all."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from vdip_jax.images import as_picture


def escaped(text: object) -> str:
    """Text as it may stand between tags and in quoted attributes."""
    return html.escape(str(text), quote=True)


def jpeg(pixels: np.ndarray, side: int, quality: int, icc: bytes | None = None) -> str:
    """[H, W] or [H, W, C], C 1 or 3, in [0, 1], shrunk to `side` pixels if larger, as a data URI; with its profile."""
    image = as_picture(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, icc_profile=icc)
    return _data_uri("image/jpeg", file.getvalue())


def png(pixels: np.ndarray, icc: bytes | None = None) -> str:
    """[H, W] or [H, W, C], C 1 or 3, in [0, 1], exact to 8 bits, as a data URI; with its profile."""
    file = io.BytesIO()
    as_picture(pixels).save(file, format="PNG", icc_profile=icc)
    return _data_uri("image/png", file.getvalue())


def image(uri: str, text: str, attributes: str = "") -> str:
    """An <img> with its alternative `text`; `attributes` begin with a space."""
    return f"<img{attributes} alt='{escaped(text)}' src='{uri}'>"


def figure(uri: str, caption: str, attributes: str = "") -> str:
    """A picture above its caption."""
    return f"<figure>{image(uri, caption, attributes)}<figcaption>{escaped(caption)}</figcaption></figure>"


def document(title: str, style: str, parts: Iterable[str], head: str = "") -> str:
    """A whole page in ASCII, so that it reads the same whatever encoding text files are written in.

    Args:
      title: text, escaped here.
      style: CSS, ASCII.
      parts: HTML of the body, any characters.
      head: more HTML of the head.
    """
    text = (
        f"<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content='width=device-width'>\n"
        f"{head}<title>{escaped(title)}</title>\n<style>{style}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )
    # Names of files can hold bytes that are no characters; they come out as the mark for that.
    return text.encode("ascii", "xmlcharrefreplace").decode()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
