"""The optimisation as a moving picture: what the answer looked like step by step, with its kernel."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vdip_jax.images import as_picture, kernel_picture, replacing

SIDE, MOST_FRAMES = 480, 60
_CAPTION, _BORDER = 24, 2
# Milliseconds: all that moves, a frame of it, and how long the first and the last stand still.
_MOVING, _SHORTEST, _LONGEST, _FIRST, _LAST = 6000, 50, 500, 1200, 2500


class Animation:
    """Frames of one image's run, at most `MOST_FRAMES` after the blurred one, evenly spread over the steps shown.

    Ask `wants(step)` before making an estimate that is only for a frame; `add` what comes out, the last one always;
    `write`. Each picture is shrunk, or enlarged by a whole factor, to about `SIDE` pixels and kept in 8 bits.
    """

    def __init__(self, y: np.ndarray):
        """Begin with the blurred image `y`, [H, W] or [H, W, C], C 1 or 3, in [0, 1]."""
        self._blurred = _frame(y, None, "blurred")
        self._frames: list[tuple[int, Image.Image]] = []
        self._spacing = 1

    def wants(self, step: int) -> bool:
        """Whether a frame after `step` updates is far enough from the last one."""
        return not self._frames or step - self._frames[-1][0] >= self._spacing

    def add(self, step: int, image: np.ndarray, kernel: np.ndarray) -> None:
        """Add the estimate after `step` updates: an image of y's size in [0, 1] and a kernel [kh, kw].

        It takes the place of one after as many updates. Where there are too many frames, every second one goes, and
        those to come are wanted half as often.
        """
        self._frames = [frame for frame in self._frames if frame[0] != step]
        self._frames.append((step, _frame(image, kernel, f"step {step}")))
        if len(self._frames) > MOST_FRAMES:
            self._frames = self._frames[::2]
            self._spacing = (self._frames[-1][0] - self._frames[0][0]) // (len(self._frames) - 1)

    def write(self, path: Path) -> None:
        """Write the frames as a WebP that begins anew at its end, whole or not at all."""
        pictures = [picture for _, picture in self._frames]
        moving = min(_LONGEST, max(_SHORTEST, _MOVING // max(1, len(pictures))))
        durations = [_FIRST, *[moving] * len(pictures)]
        durations[-1] = _LAST
        with replacing(path) as temporary:
            self._blurred.save(
                temporary,
                format="WEBP",
                save_all=True,
                append_images=pictures,
                duration=durations,
                loop=0,
                quality=80,
            )


def _frame(pixels: np.ndarray, kernel: np.ndarray | None, caption: str) -> Image.Image:
    """A picture with the kernel, up to a third as large, in its lower right corner, above its caption; RGB."""
    picture = _sized(as_picture(pixels).convert("RGB"))
    if kernel is not None:
        side = max(1, min(picture.size) // 3)
        inset = as_picture(kernel_picture(kernel, side)).convert("RGB")
        inset.thumbnail((side, side))
        framed = Image.new("RGB", (inset.width + 2 * _BORDER, inset.height + 2 * _BORDER), "white")
        framed.paste(inset, (_BORDER, _BORDER))
        picture.paste(framed, (picture.width - framed.width, picture.height - framed.height))
    frame = Image.new("RGB", (picture.width, picture.height + _CAPTION), "black")
    frame.paste(picture)
    font = ImageFont.load_default(14)
    ImageDraw.Draw(frame).text((6, picture.height + 4), caption, fill="white", font=font)
    return frame


def _sized(picture: Image.Image) -> Image.Image:
    """Shrunk to `SIDE` pixels, or enlarged by the largest whole factor that stays within."""
    longest = max(picture.size)
    if longest > SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return picture
    factor = SIDE // longest
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
