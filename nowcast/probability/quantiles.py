"""Rates from the distribution given by the probabilities of a ladder of thresholds."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nowcast.probability.ladder import BEYOND

_JUST_BELOW = 1 - 2**-24


def rates_of_chances(values: Tensor, thresholds: Sequence[float], chances: Tensor) -> Tensor:
    """Return the rates that are reached with given probabilities (chances), pixel by pixel.

    This inverts the distribution: for a chance drawn uniformly between 0 and 1, the rate reaches
    each threshold with its probability. Between two thresholds the probability falls linearly in
    the logarithm of the rate, as in `Probabilities.at`; above the last threshold it falls to 0 at
    `BEYOND` times that threshold. Below the first threshold the rate is 0.

    Args:
        values: (k, h, w) probabilities from 0 to 1, falling from threshold to threshold, NaN =
            missing.
        thresholds: (k,) in mm/h, rising.
        chances: (n, h, w) above 0 and at most 1.

    Returns:
        (n, h, w) in mm/h, NaN = missing.

    Example:
        >>> values = torch.tensor([0.9, 0.2]).view(2, 1, 1)
        >>> chances = torch.tensor([0.95, 0.9, 0.55, 0.2]).view(4, 1, 1)
        >>> rates_of_chances(values, (1, 4), chances).flatten().round(decimals=2)
        tensor([0., 1., 2., 4.])
    """
    levels = values.new_tensor([*thresholds, BEYOND * thresholds[-1]])
    reached = torch.zeros(chances.shape, dtype=torch.uint8, device=values.device)
    for value in values:
        reached += chances <= value
    steps = torch.cat([values, torch.zeros_like(values[:1])]).nan_to_num(0.0)
    below = (reached.long() - 1).clamp_(min=0)
    low, high = steps.gather(0, below), steps.gather(0, below + 1)
    share = ((low - chances) / (low - high).clamp_(min=1e-12)).clamp_(0, 1)
    logs = levels.log()
    rates = torch.lerp(logs[below], logs[below + 1], share).exp_()
    rates = torch.minimum(rates, levels[below + 1] * _JUST_BELOW).maximum(levels[below])
    return rates.masked_fill_(reached == 0, 0.0).masked_fill_(values.isnan().any(0), math.nan)
