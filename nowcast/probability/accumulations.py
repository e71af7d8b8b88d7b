"""Rain accumulated in mm over the minutes up to each lead time.

A frame's rate holds for the interval that ends at its time. So the sum over N minutes at time t
adds the frames whose times lie in (t − N, t]. A pixel that is missing in any of them is missing in
the sum. Lead times below N have no sum, because their window would start before the forecast.

The best estimate of a sum is the sum of expected rates, because expectations are additive. Rates
from the cuts of the best CSI cover too large an area, and medians too small an area. On RADOLAN
(16 May 2018, 23 forecasts by a model of the moving frame) the mean sum of all pixels over the first
hour was 1.12 times the observed sum with cuts, 0.54 times with medians and 0.93 times with
expectations; over its second half 1.25, 0.44 and 0.94 times.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.probability.rates import mean_rates


def accumulated(rates: Tensor, steps: int, timestep_minutes: float) -> Tensor:
    """Accumulate rates over windows of several frames.

    Args:
        rates: (b, lead, …) in mm/h, NaN = missing.
        steps: frames of a window.
        timestep_minutes: length of the interval of each frame.

    Returns:
        (b, lead − steps + 1, …) in mm: the sums of the windows that end at lead step `steps` and
        later; NaN where any frame of the window is missing.

    Example:
        >>> accumulated(torch.tensor([[12.0, 0.0, 6.0]]), 2, 5)
        tensor([[1.0000, 0.5000]])
    """
    return rates.unfold(1, steps, 1).sum(dim=-1) * timestep_minutes / 60


def expected_rates(forecast: Forecast) -> Tensor:
    """Return the expected rates (b, lead, 1, h, w) in mm/h, whose sums are the best estimate.

    They are the expectation of the probabilities, extended beyond the last threshold by
    `formulas.expected_rate`. Without probabilities they are the mean rate of the members.
    """
    mean = forecast.rates.mean(dim=2, keepdim=True)
    if forecast.probabilities is None:
        return mean
    expected = mean_rates(forecast.probabilities, mean)
    return torch.where(expected.isnan(), mean, expected)


def shares_of_members(sums: Tensor, thresholds: Sequence[float]) -> Probabilities:
    """Return the share of members whose sum is at or above each threshold.

    Args:
        sums: (b, lead, m, h, w) in mm, NaN = missing.
        thresholds: (k,) in mm, rising.

    Returns:
        Probabilities (b, lead, k, h, w) of thresholds in mm, NaN where any member is missing.
    """
    missing = sums.isnan().any(dim=2)
    shares = [(sums >= level).float().mean(dim=2) for level in thresholds]
    values = torch.stack(shares, dim=2).masked_fill(missing[:, :, None], torch.nan)
    return Probabilities(tuple(thresholds), values)
