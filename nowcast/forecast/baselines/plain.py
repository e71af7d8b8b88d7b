"""Baselines without motion: the newest frame, no rain, the mean rain of each pixel."""

import math
from functools import partial

import torch
from torch import Tensor

from nowcast.baselines import Forecast, Making


def build_persistence(making: Making) -> Forecast:
    return partial(persistence, lead_steps=making.lead_steps)


def build_zero(making: Making) -> Forecast:
    return partial(zero, lead_steps=making.lead_steps)


def build_climatology(making: Making) -> Forecast:
    assert making.mean_rate is not None
    mean_rate = torch.from_numpy(making.mean_rate)
    return partial(climatology, lead_steps=making.lead_steps, mean_rate=mean_rate)


def persistence(past: Tensor, lead_steps: int) -> Tensor:
    """The newest frame, unchanged, at every lead time: (b, t, h, w) → (b, lead, 1, h, w), missing
    where that frame is.

    The Eulerian persistence (in the fixed frame) of Germann and Zawadzki (2002).
    """
    return past[:, -1:, None].expand(-1, lead_steps, -1, -1, -1)


def zero(past: Tensor, lead_steps: int) -> Tensor:
    """No rain: (b, t, h, w) → (b, lead, 1, h, w), missing where no past frame covers the pixel."""
    dry = torch.zeros_like(past[:, :1]).masked_fill(past.isnan().all(dim=1, keepdim=True), math.nan)
    return persistence(dry, lead_steps)


def climatology(past: Tensor, lead_steps: int, mean_rate: Tensor) -> Tensor:
    """The mean rate (h, w) of each pixel, independent of the past: (b, t, h, w) → (b, lead, 1, h,
    w), missing where the mean rate is.
    """
    return mean_rate.to(past).expand(len(past), lead_steps, 1, -1, -1)
