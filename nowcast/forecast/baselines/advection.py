"""Advection by pysteps, in float64 on the CPU: the common part of S-PROG, STEPS, ANVIL and LINDA.

Motion is estimated by the method of Lucas and Kanade (1981) in pysteps: corners of the rain field
in dB are tracked from each past frame to the next. Their vectors, without outliers, are
interpolated to the grid. Rain is advected by the backward semi-Lagrangian scheme of Germann and
Zawadzki (2002). Both work in pixels and steps, so neither needs the pixel size or the time step.
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
"""`WET_RATE` in dB, and the dB value of anything drier."""


class Model(Protocol):
    """How rain changes while it is advected."""

    @property
    def members(self) -> int:
        """How many forecasts the model makes."""

    def suits(self, rain: Float64Array) -> bool:
        """Whether the past (t, h, w) [mm/h, NaN = missing] has enough rain for the model."""

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past and its motion (2, h, w) [pixels a step] → forecasts (m, lead, h, w) [mm/h]."""


@dataclass(frozen=True)
class Advection:
    """The past rain (b, t, h, w) → (b, lead, m, h, w), both in mm/h, case by case.

    A pixel is missing (NaN), in all members, if its rain would come from outside the grid or from a
    missing pixel of the newest frame. A whole case is missing if one of its frames has no measured
    pixel, because its motion is then unknown.

    model: what changes the rain, as S-PROG or STEPS. If there is too little rain for it, the newest
    frame is advected unchanged.
    remarks: deviations from the method, each with its number of cases.
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
                "a frame of the past has no measured pixel, so its motion is unknown and the whole"
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
        remark(self.name, self.remarks, f"{reason}: the rain is extrapolated unchanged")
        return np.broadcast_to(moved, shape)


def changed(rain: Float64Array, velocity: Float64Array, model: Model) -> Float64Array | str:
    """Return the forecast (m, lead, h, w) of a model from the past (t, h, w), or the reason why it
    cannot make one.
    """
    if not model.suits(rain):
        return "too little rain in the newest frames to estimate how it changes"
    try:
        return model(rain, velocity)
    # pysteps raises these for a singular matrix, or a percentile of no values
    except (ArithmeticError, IndexError, ValueError) as error:
        return (
            f"pysteps cannot forecast this rain ({type(error).__name__}:"
            f" {str(error).splitlines()[0] if str(error) else 'no details'})"
        )


def motion(rain: Float64Array) -> Float64Array:
    """The past (t, h, w), t ≥ 2 → its motion (2, h, w): x and y in pixels a step; 0 if there is
    nothing to track.
    """
    from pysteps.motion import get_method

    velocity: Float64Array = get_method("LK")(to_db(np.nan_to_num(rain, nan=0.0)))
    return velocity


def extrapolate(rate: Float64Array, velocity: Float64Array, lead_steps: int) -> Float64Array:
    """A field (h, w) advected → (lead, h, w), NaN if it comes from outside or from a NaN."""
    from pysteps.nowcasts import get_method

    moved: Float64Array = get_method("extrapolation")(rate, velocity, lead_steps)
    return moved


def to_db(rate: Float64Array) -> Float64Array:
    """Return 10 log₁₀(R), or −15 below 0.1 mm/h; NaN stays NaN."""
    return np.where(rate < WET_RATE, DRY_DB, 10 * np.log10(np.maximum(rate, WET_RATE)))


def to_rate(db: Float64Array) -> Float64Array:
    """Return 10^(dB / 10), or 0 below 0.1 mm/h; NaN stays NaN."""
    return np.where(db < WET_DB, 0.0, 10 ** (db / 10))
