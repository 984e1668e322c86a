"""Blind image deconvolution by a variational deep image prior."""

from vdip_jax.answers import Result
from vdip_jax.checks import Refusal
from vdip_jax.config import METHODS, PRESETS, Config
from vdip_jax.operators import blur
from vdip_jax.solver import Progress, solve

__all__ = ["METHODS", "PRESETS", "Config", "Progress", "Refusal", "Result", "blur", "solve"]
__version__ = "0.1.0"
