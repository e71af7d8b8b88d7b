"""Baselines that need no motion: the newest frame, no rain, the mean rain of the place."""

import math

import torch
from torch import Tensor


def persistence(past: Tensor, lead_steps: int) -> Tensor:
    """The newest frame, unchanged, at every lead time: (b, t, h, w) → (b, lead, 1, h, w), missing
    where that frame is.

    Persistence in the frame of the ground, "Eulerian", of Germann and Zawadzki (2002).
    """
    return past[:, -1:, None].expand(-1, lead_steps, -1, -1, -1)


def zero(past: Tensor, lead_steps: int) -> Tensor:
    """No rain: (b, t, h, w) → (b, lead, 1, h, w), missing where no frame of the past covers the
    pixel.
    """
    dry = torch.zeros_like(past[:, :1]).masked_fill(past.isnan().all(dim=1, keepdim=True), math.nan)
    return persistence(dry, lead_steps)


def climatology(past: Tensor, lead_steps: int, mean_rate: Tensor) -> Tensor:
    """The mean rate (h, w) of each pixel, whatever the past: (b, t, h, w) → (b, lead, 1, h, w),
    missing where it is.
    """
    return mean_rate.to(past).expand(len(past), lead_steps, 1, -1, -1)
