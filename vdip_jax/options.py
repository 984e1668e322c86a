"""Flags that several programs share: how to solve. Their values become a `Config`."""

import difflib
import sys
from typing import Any

import jax
from absl import app, flags, logging

from vdip_jax.checks import Refusal
from vdip_jax.config import METHODS, PRECISIONS, PRESETS, STARTS, Config
from vdip_jax.runtime import INTERRUPTED, end_at_once, free_memory, heed_interrupts

PRESET = flags.DEFINE_string(
    "preset", None, f"Settings to begin with: {', '.join(PRESETS)}; by default quick on a CPU, best on anything faster."
)
START = flags.DEFINE_string(
    "start", None, f"What the networks set out from: {' or '.join(STARTS)}; by default the preset's."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images of one size to solve at once.", lower_bound=1)
COMPILE_CACHE = flags.DEFINE_bool("compile_cache", True, "Keep compiled programs for later runs.")
_MAX_MEMORY = flags.DEFINE_float(
    "max_memory",
    None,
    "Gigabytes that a device may use: larger batches are split, larger images refused; by default what it has left.",
    lower_bound=0,
)
_PREFIT_STEPS = flags.DEFINE_integer("prefit_steps", None, "Steps of the prefit phase; by default the preset's.")
_VARIATIONAL_STEPS = flags.DEFINE_integer(
    "variational_steps", None, "Steps of the variational phase; by default the preset's."
)
_SSIM_STEPS = flags.DEFINE_integer("ssim_steps", None, "Steps of the SSIM phase; by default the preset's.")
_CHANNELS = flags.DEFINE_integer("channels", None, "Width of the image network; by default the preset's.")
_PRECISION = flags.DEFINE_string(
    "precision", None, f"Of the image network's products: {', '.join(PRECISIONS)}; by default tensorfloat32."
)
_LR_IMAGE = flags.DEFINE_float("lr_image", None, "Learning rate of the image network; by default the preset's.")
_LR_KERNEL = flags.DEFINE_float("lr_kernel", None, "Learning rate of the kernel network; by default the preset's.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Monte Carlo samples a step; by default the preset's.")

_OVERRIDES = (
    START,
    _PREFIT_STEPS,
    _VARIATIONAL_STEPS,
    _SSIM_STEPS,
    _CHANNELS,
    _PRECISION,
    _LR_IMAGE,
    _LR_KERNEL,
    _NUM_SAMPLES,
)


def overrides() -> dict[str, Any]:
    """Settings given by flags, without those left to the preset."""
    return {holder.name: holder.value for holder in _OVERRIDES if holder.value is not None}


def max_memory() -> int:
    """Bytes that a device may use."""
    return free_memory() if _MAX_MEMORY.value is None else int(1e9 * _MAX_MEMORY.value)


def make_config(method: str) -> Config:
    """The settings that the flags ask for.

    Raises:
      Refusal: for a value out of range, or several samples of a method without any.
    """
    preset = PRESET.value or ("quick" if jax.default_backend() == "cpu" else "best")
    # Into the flag too, so that a record of the run says which.
    flags.FLAGS["preset"].value = preset
    config = Config.preset(preset, method=method, **overrides())
    if _NUM_SAMPLES.value is not None and _NUM_SAMPLES.value > 1 and not METHODS[method].gaussian:
        raise Refusal(
            f"--num_samples needs a method with a Gaussian q(x), got --method={method}; "
            f"leave it out or take vdip-sparse."
        )
    return config


def own_flags(module: Any) -> dict[str, flags.Flag]:
    """A program's own flags by name, shared ones included, without absl's."""
    return {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(module)}


def run_program(main: Any, program: str, module: Any, argv: list[str] | None = None) -> None:
    """Parse the command line, by default this program's, and call `main`; a misspelt flag gets one sentence."""
    # Else absl prints JAX's search for devices.
    logging.set_verbosity(logging.WARNING)

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            message = " ".join(str(error).split())
            # absl names the nearest flag for close misspellings only.
            if "Unknown command line flag" in message and "Did you mean" not in message:
                near = difflib.get_close_matches(message.split("'")[1], own_flags(module), n=1, cutoff=0.3)
                message += f" Did you mean: {near[0]} ?" if near else ""
            sys.exit(f"{program}: {message.rstrip(' .')}; see bin/{program} --help.")

    heed_interrupts()
    try:
        app.run(main, argv, flags_parser=parse)
    except KeyboardInterrupt:
        print(f"{program}: stopped.", file=sys.stderr)
        end_at_once(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            end_at_once(INTERRUPTED)
        raise
