"""What is solved and on what schedule: methods, phases, presets."""

import dataclasses
import itertools
from typing import Any, NamedTuple

from vdip_jax.checks import Refusal, check_choice, check_number

# Side in pixels of the sliding window of the extreme-channel prior.
EXTREME_WINDOW = 35


class Method(NamedTuple):
    """One row of the paper's Table I: the form of q(x) and the prior on x."""

    gaussian: bool
    prior: str | None


METHODS = {
    "dip": Method(False, None),
    "dip-sparse": Method(False, "sparse"),
    "dip-extreme": Method(False, "extreme"),
    "vdip-std": Method(True, None),
    "vdip-sparse": Method(True, "sparse"),
    "vdip-extreme": Method(True, "extreme"),
}

# Where the generators set out: the blurred image and a uniform kernel, as published, or a classical estimate of both.
STARTS = ("uniform", "classical")

# Of the products in the image's network, as in jax.default_matmul_precision; tensorfloat32 is float32 where the device
# does not have it, bfloat16 is also what layers hand on to each other.
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")

# Of the answer: what its error is to be expected to be, found after the run, or what q(x) was left with.
STDS = ("refit", "posterior")

# A network that two CPU cores can work with.
_SMALL = dict(channels=32, skip_channels=16, nonlocal_from=5)

PRESETS: dict[str, dict[str, Any]] = {
    # The classical estimate alone.
    "instant": dict(start="classical", prefit_steps=0, variational_steps=0, ssim_steps=0),
    # The classical estimate, refined within a minute or two on two CPU cores (docs/refinement.md).
    "quick": dict(
        **_SMALL,
        start="classical",
        prefit_steps=20,
        variational_steps=0,
        ssim_steps=340,
        hold_kernel=70,
        lr_kernel=3e-4,
        lr_milestones=(230, 290),
        sigma_every=70,
    ),
    # The classical estimate, refined by the full network.
    "best": dict(
        start="classical",
        prefit_steps=50,
        variational_steps=0,
        ssim_steps=2000,
        hold_kernel=150,
        lr_milestones=(1400, 1700),
        sigma_every=400,
    ),
    # The schedule behind the published numbers (method.md, 4).
    "published": {},
    # A small network and a short schedule without a classical start: what `quick` is measured against.
    "cold": dict(
        **_SMALL,
        prefit_steps=60,
        variational_steps=140,
        ssim_steps=400,
        lr_kernel=5e-4,
        lr_milestones=(350, 450),
        sigma_every=70,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that shapes a run but the data; hashable, validated, the published settings by default.

    Steps and learning-rate milestones are counted in updates; `lr_milestones` and `sigma_every` from the end
    of the prefit phase. The first `hold_kernel` updates leave the kernel as it is: a good one would be lost while the
    image is rough. From a classical start that is doubtful the networks set out with a third as many updates, three
    times as fast through the schedule, and then anew from nothing with all of them (`steps.first_attempt`); that time
    no kernel is held and the first of the SSIM steps are variational. `sigma_t` weighs the KL term against the
    likelihood. The two settings that depend on the prior when left at None, `prefit_steps` and `sigma_t`, are
    filled in from it.

    Raises:
      Refusal: for a setting out of range or a name that does not exist.
    """

    method: str = "vdip-sparse"
    start: str = "uniform"
    # generators
    channels: int = 128
    skip_channels: int = 16
    num_levels: int = 5
    nonlocal_from: int = 2
    kernel_hidden: int = 1000
    precision: str = "tensorfloat32"
    # schedule
    prefit_steps: int = None  # type: ignore[assignment]
    variational_steps: int = 2000
    ssim_steps: int = 3000
    lr_image: float = 0.01
    lr_kernel: float = 1e-4
    hold_kernel: int = 0
    lr_milestones: tuple[int, ...] = (2000, 3000, 4000)
    lr_decay: float = 0.5
    # objective
    num_samples: int = 1
    sigma_t: float = None  # type: ignore[assignment]
    sigma_decay: float = 0.1
    sigma_every: int = 1000
    kernel_weight: float = 10.0
    bright_spread: str = "released"
    # answer
    std: str = "refit"

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("start", self.start, STARTS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("std", self.std, STDS)
        check_choice("bright_spread", self.bright_spread, ("released", "exact"))
        extreme = METHODS[self.method].prior == "extreme"
        if self.prefit_steps is None:
            object.__setattr__(self, "prefit_steps", 5 if extreme else 500)
        if self.sigma_t is None:
            object.__setattr__(self, "sigma_t", 1e-4 if extreme else 0.1)
        if not isinstance(self.lr_milestones, (tuple, list)):
            raise Refusal(f"lr_milestones must be a tuple of step numbers, got {self.lr_milestones!r}.")
        object.__setattr__(self, "lr_milestones", tuple(self.lr_milestones))
        for name in (
            "channels",
            "skip_channels",
            "num_levels",
            "kernel_hidden",
            "num_samples",
            "sigma_every",
        ):
            check_number(name, getattr(self, name), low=1, integer=True)
        for name in ("nonlocal_from", "prefit_steps", "variational_steps", "ssim_steps", "hold_kernel"):
            check_number(name, getattr(self, name), low=0, integer=True)
        for name in ("lr_image", "lr_kernel", "lr_decay", "sigma_decay"):
            check_number(name, getattr(self, name), low=0, open_low=True)
        for name in ("sigma_t", "kernel_weight"):
            check_number(name, getattr(self, name), low=0)
        for milestone in self.lr_milestones:
            check_number("lr_milestones", milestone, low=1, integer=True)
        # A classical estimate can be the answer; from nothing, steps are needed.
        least = 0 if self.start == "classical" else 1
        check_number("the number of steps over all phases", self.num_steps, low=least, integer=True)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "Config":
        """Return the preset `name` with some settings replaced.

        Args:
          name: one of `PRESETS`.
          **overrides: fields of `Config`.

        Raises:
          Refusal: for an unknown preset or field, or a value out of range.
        """
        check_choice("preset", name, PRESETS)
        fields = [field.name for field in dataclasses.fields(cls)]
        for field in overrides:
            check_choice("a setting of Config", field, fields)
        return cls(**{**PRESETS[name], **overrides})

    @property
    def title(self) -> str:
        """What results are listed under: the method, or, from a classical start, a name apart from the paper's six."""
        if self.start == "uniform":
            return self.method
        if not self.num_steps:
            return "classical"
        return f"refined-{self.method}" if self.variational_steps else "refined"

    @property
    def phases(self) -> tuple[tuple[str, int], ...]:
        """Name and number of steps of each phase that runs, in order."""
        steps = {"prefit": self.prefit_steps, "variational": self.variational_steps, "ssim": self.ssim_steps}
        return tuple((name, int(num)) for name, num in steps.items() if num)

    @property
    def num_steps(self) -> int:
        """Updates over all phases."""
        return sum(num for _, num in self.phases)

    def phase_of(self, step: int) -> str:
        """Name of the phase that the update number `step`, counted over all phases from 0, falls in."""
        stops = itertools.accumulate(num for _, num in self.phases)
        return next(name for (name, _), stop in zip(self.phases, stops, strict=True) if step < stop)

    @property
    def least_canvas(self) -> tuple[int, str]:
        """Least side of the latent canvas in pixels, and what asks for it."""
        # Every level halves, rounding up, and the coarsest needs two pixels to pad by reflection.
        least = 2**self.num_levels + 1
        if METHODS[self.method].prior == "extreme" and least < EXTREME_WINDOW:
            return EXTREME_WINDOW, "the extreme-channel window"
        return least, f"the network's {self.num_levels} levels"
