"""Solve some Levin images and score them: `python benchmarks/levin_quick.py --data_dir=... --json=...`.

The kernel size is given; the ground truth is used for scoring only (protocol rgb). Prints a line an image.
"""

import json
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

import vdip_jax
from vdip_jax import metrics
from vdip_jax.images import kernel_picture, read_image, side_by_side, write_image
from vdip_jax.runtime import describe

_DATA = flags.DEFINE_string("data_dir", None, "Folder levin2009 with blurred/, ground_truth/, kernels/.", required=True)
_CASES = flags.DEFINE_list("cases", ["im1_kernel1", "im2_kernel3"], "Images to solve.")
_METHODS = flags.DEFINE_list("methods", ["vdip-sparse"], "Methods to solve them by.")
_PRESET = flags.DEFINE_string("preset", "quick", "Settings.")
_CROP = flags.DEFINE_integer("crop", 0, "Solve only the central square of this side; 0 for all.")
_JSON = flags.DEFINE_string("json", None, "Also write the numbers to this file.")
_PICTURE = flags.DEFINE_string("picture", None, "Also write results and kernels of all methods side by side.")


def main(_: list[str]) -> None:
    """Solve, score, tell."""
    rows, panels = [], []
    for case in _CASES.value:
        y, truth, kernel = _load(Path(_DATA.value), case)
        blurred = metrics.score(y, truth)
        for method in _METHODS.value:
            config = vdip_jax.Config.preset(_PRESET.value, method=method)
            began = time.perf_counter()
            result = vdip_jax.solve(y, jax.random.key(0), kernel_size=kernel.shape, config=config)
            image = np.asarray(result.image)
            seconds = time.perf_counter() - began
            restored = metrics.score(image, truth)
            likeness = metrics.kernel_likeness(np.asarray(result.kernel), kernel)
            print(
                f"{case} {method:12} blurred {blurred.psnr:.2f} dB / {blurred.ssim:.3f}, "
                f"restored {restored.psnr:.2f} dB / {restored.ssim:.3f}, "
                f"gain {restored.psnr - blurred.psnr:+.2f} dB, kernel likeness {likeness:.3f}, "
                f"peak {float(result.kernel.max()):.3f}, {seconds:.0f} s, ok {bool(result.ok)}",
                flush=True,
            )
            rows.append(
                {
                    "image": case,
                    "method": method,
                    "protocol": "rgb",
                    "blurred": blurred._asdict(),
                    "restored": restored._asdict(),
                    "kernel_likeness": likeness,
                    "kernel_peak": float(result.kernel.max()),
                    "seconds": round(seconds, 1),
                }
            )
            panels += [(method, image), ("", kernel_picture(np.asarray(result.kernel), 120))]
        panels.append((f"{case}, true kernel", kernel_picture(kernel, 120)))
    if _JSON.value:
        record = {"preset": _PRESET.value, "crop": _CROP.value, "seed": 0, **describe(), "images": rows}
        Path(_JSON.value).write_text(json.dumps(record, indent=1) + "\n")
    if _PICTURE.value:
        write_image(Path(_PICTURE.value), side_by_side(panels))


def _load(data: Path, case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, kernel_name = case.split("_")
    y = read_image(data / "blurred" / f"{case}_img.png").pixels
    truth = read_image(next((data / "ground_truth").glob(f"{image}*"))).pixels
    kernel = read_image(data / "kernels" / f"{kernel_name}.png").pixels
    if _CROP.value:
        top = (y.shape[0] - _CROP.value) // 2
        y, truth = (a[top : top + _CROP.value, top : top + _CROP.value] for a in (y, truth))
    return y, truth, kernel / kernel.sum()


if __name__ == "__main__":
    app.run(main)
