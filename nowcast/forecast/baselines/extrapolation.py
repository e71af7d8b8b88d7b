"""Extrapolation: advect the newest frame along the motion of the rain, on the CPU.

Motion is estimated by `nowcast.motion`; rain is advected by the backward semi-Lagrangian scheme of
Germann and Zawadzki (2002). Both work in pixels and steps, so neither needs the pixel size or the
time step.
"""

import logging
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.baselines import Forecast, Making
from nowcast.motion.advection import displacements
from nowcast.motion.estimation import estimate_motion
from nowcast.motion.frames import take_forward

log = logging.getLogger(__name__)


def build_extrapolation(making: Making) -> Forecast:
    return Extrapolation(making.name, making.lead_steps, making.remarks)


@dataclass(frozen=True)
class Extrapolation:
    """The past rain (b, t, h, w) → (b, lead, 1, h, w), both in mm/h, case by case.

    A pixel is missing (NaN) if its rain would come from outside the grid or from a missing pixel of
    the newest frame. A whole case is missing if fewer than two of its frames have a measured pixel,
    because its motion is then unknown.

    remarks: deviations from the method, each with its number of cases.
    """

    name: str
    lead_steps: int
    remarks: Counter[str]

    def __call__(self, past: Tensor) -> Tensor:
        return torch.stack([self._case(case) for case in past.float().cpu()]).to(past.device)

    def _case(self, rain: Tensor) -> Tensor:
        """(t, h, w) → (lead, 1, h, w)."""
        motion = known_motion(rain, self.name, self.remarks)
        if motion is None:
            return torch.full((self.lead_steps, 1, *rain.shape[1:]), torch.nan)
        return extrapolate(rain[-1].double(), motion, self.lead_steps)[:, None].float()


def known_motion(rain: Tensor, name: str, remarks: Counter[str]) -> Tensor | None:
    """Return the motion (2, hc, wc) of the past (t, h, w); None, with a remark, if fewer than two
    frames have a measured pixel.
    """
    if (~rain.isnan()).flatten(1).any(dim=1).sum() < 2:
        remark(
            name,
            remarks,
            "fewer than two frames of the past have a measured pixel, so the motion is unknown and"
            " the whole forecast is missing",
        )
        return None
    return torch.from_numpy(estimate_motion(rain.cpu().numpy()))


def extrapolate(rate: Tensor, motion: Tensor, lead_steps: int) -> Tensor:
    """A field (h, w) advected along its motion (2, hc, wc) → (lead, h, w), NaN if it comes from
    outside or from a NaN.
    """
    way = displacements(motion[None].to(rate), lead_steps, backward=True)
    moved = [take_forward(rate[None, None, None], back)[0, 0] for back in way.split(1, dim=1)]
    return torch.cat(moved)


def remark(name: str, remarks: Counter[str], text: str) -> None:
    """Count a case in which a baseline deviates from its method, and log the first one."""
    remarks[text] += 1
    if remarks[text] == 1:
        log.warning("%s: %s", name, text)
