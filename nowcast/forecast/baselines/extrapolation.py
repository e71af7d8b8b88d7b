"""Extrapolation: the newest frame moved along the motion of the rain, on the CPU.

Motion is that of `nowcast.motion`; rain is moved by the backward semi-Lagrangian scheme of Germann
and Zawadzki (2002). Both are in pixels and steps, so neither needs to know their size.
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

    Missing (NaN) is what would come from outside of the grid or from a missing pixel of the newest
    frame; and all of a case whose motion is not known, for want of two frames that hold a measured
    pixel.

    remarks: where it departed from its method, each with the number of cases.
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
    """Return the motion (2, hc, wc) of the past (t, h, w); None, with a remark, where fewer than
    two frames hold a measured pixel.
    """
    if (~rain.isnan()).flatten(1).any(dim=1).sum() < 2:
        remark(
            name,
            remarks,
            "fewer than two frames of the past hold a measured pixel, so no motion is known, and"
            " all of it is missing",
        )
        return None
    return torch.from_numpy(estimate_motion(rain.cpu().numpy()))


def extrapolate(rate: Tensor, motion: Tensor, lead_steps: int) -> Tensor:
    """A field (h, w) moved along its motion (2, hc, wc) → (lead, h, w), NaN where it comes from
    outside or from a NaN.
    """
    way = displacements(motion[None].to(rate), lead_steps, backward=True)
    moved = [take_forward(rate[None, None, None], back)[0, 0] for back in way.split(1, dim=1)]
    return torch.cat(moved)


def remark(name: str, remarks: Counter[str], text: str) -> None:
    """Count a case in which a baseline departs from its method, and tell the first one in the
    log.
    """
    remarks[text] += 1
    if remarks[text] == 1:
        log.warning("%s: %s", name, text)
