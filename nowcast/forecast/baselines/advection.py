"""Rain moved along by pysteps, in float64 on the CPU: the frame in which S-PROG and STEPS work.

Motion is that of Lucas and Kanade (1981) as pysteps has it: corners of the rain in dB are followed
from each frame of the past to the next, and their vectors, without outliers, are spread over the
grid. Rain is moved along it by the backward semi-Lagrangian scheme of Germann and Zawadzki (2002).
Both are in pixels and steps, so neither needs to know their size.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nowcast.arrays import Float64Array
from nowcast.forecast.baselines.extrapolation import remark
from nowcast.forecast.baselines.library import quiet
from nowcast.radar.grid import WET_RATE

WET_DB, DRY_DB = -10.0, -15.0
"""`WET_RATE`, from which on rain counts, in dB, and the dB of less."""


class Model(Protocol):
    """What becomes of rain as it moves along."""

    @property
    def members(self) -> int:
        """How many forecasts it makes."""

    def suits(self, rain: Float64Array) -> bool:
        """Whether the past (t, h, w) [mm/h, NaN = missing] has enough rain for it."""

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past and its motion (2, h, w) [pixels a step] → forecasts (m, lead, h, w) [mm/h]."""


@dataclass(frozen=True)
class Advection:
    """The past rain (b, t, h, w) → (b, lead, m, h, w), both in mm/h, case by case.

    Missing (NaN) is what would come from outside of the grid or from a missing pixel of the newest
    frame, in all members alike; and all of a case where one of its frames holds no measured pixel,
    for then no motion is known.

    model: S-PROG or STEPS. Where there is too little rain for it, the newest frame is moved along
    as it is.
    remarks: where it departed from its method, each with the number of cases.
    """

    name: str
    lead_steps: int
    remarks: Counter[str]
    model: Model

    def __call__(self, past: Tensor) -> Tensor:
        cases = [
            torch.from_numpy(self._case(case.double().numpy()).astype(np.float32))
            for case in past.cpu()
        ]
        return torch.stack(cases).transpose(1, 2).to(past.device)

    def _case(self, rain: Float64Array) -> Float64Array:
        """(t, h, w) → (m, lead, h, w)."""
        shape = (self.model.members, self.lead_steps, *rain.shape[1:])
        if np.isnan(rain).all(axis=(1, 2)).any():
            remark(
                self.name,
                self.remarks,
                "a frame of the past holds no measured pixel, so no motion is known, and all of the"
                " forecast is missing",
            )
            return np.full(shape, np.nan)
        with quiet(self.name):
            velocity = motion(rain)
            moved = extrapolate(rain[-1], velocity, self.lead_steps)
            known = ~np.isnan(moved)
            made = changed(rain, velocity, self.model)
        if not isinstance(made, str) and np.isfinite(made[..., known]).all():
            return np.broadcast_to(np.where(known, made, np.nan), shape)
        reason = made if isinstance(made, str) else "its forecast is not finite"
        remark(self.name, self.remarks, f"{reason}: the rain is extrapolated as it is")
        return np.broadcast_to(moved, shape)


def changed(rain: Float64Array, velocity: Float64Array, model: Model) -> Float64Array | str:
    """What a model makes of the past (t, h, w), (m, lead, h, w); or why it makes nothing of
    such rain.
    """
    if not model.suits(rain):
        return "too little rain in the newest frames to tell how it changes"
    try:
        return model(rain, velocity)
    # a singular matrix, a percentile of nothing
    except (ArithmeticError, IndexError, ValueError) as error:
        return (
            f"pysteps made nothing of such rain ({type(error).__name__}:"
            f" {str(error).splitlines()[0] if str(error) else 'no more is said'})"
        )


def motion(rain: Float64Array) -> Float64Array:
    """Of the past (t, h, w), t ≥ 2 → (2, h, w): x and y in pixels a step; 0 where nothing is
    there to follow.
    """
    from pysteps.motion import get_method

    velocity: Float64Array = get_method("LK")(to_db(np.nan_to_num(rain, nan=0.0)))
    return velocity


def extrapolate(rate: Float64Array, velocity: Float64Array, lead_steps: int) -> Float64Array:
    """A field (h, w) moved along → (lead, h, w), NaN where it comes from outside or from a NaN."""
    from pysteps.nowcasts import get_method

    moved: Float64Array = get_method("extrapolation")(rate, velocity, lead_steps)
    return moved


def to_db(rate: Float64Array) -> Float64Array:
    """10 log₁₀(R), and −15 below 0.1 mm/h; NaN stays."""
    return np.where(rate < WET_RATE, DRY_DB, 10 * np.log10(np.maximum(rate, WET_RATE)))


def to_rate(db: Float64Array) -> Float64Array:
    """10^(dB / 10), and 0 below 0.1 mm/h; NaN stays."""
    return np.where(db < WET_DB, 0.0, 10 ** (db / 10))
