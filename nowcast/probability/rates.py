"""Derive a rate from probabilities or another rate: rain is forecast where a cut is reached."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nowcast.probability.formulas import expected_rate
from nowcast.probability.ladder import LEAST_CHANCE, Probabilities

_JUST_BELOW = 1 - 2**-24
"""Factor that gives the next lower float32 number, in place of `torch.nextafter`, which ONNX lacks.
"""


def rates_by_cuts(scores: Tensor, cuts: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return rates that are at or above a threshold where a score is at or above its cut.

    A pixel that reaches the cut of a threshold also counts as reaching those of lower thresholds,
    so that the areas are nested. Between two thresholds the rate rises with the score, linearly in
    logarithms, from the lower threshold at its cut to the upper threshold at its cut.

    Args:
        scores: (b, lead, k, h, w), scores that grow with the chance of reaching each threshold, at
            least 0, NaN = missing; or (b, lead, 1, h, w), one score for all thresholds.
        cuts: (lead, k) or (b, lead, k), or for each pixel (b, lead, k, h, w); above 0, infinite if
            a threshold is never reached.
        thresholds: (k,) in mm/h, rising.

    Returns:
        (b, lead, 1, h, w) in mm/h: 0 below the first cut, at most the last threshold, NaN =
        missing.

    Example:
        >>> probabilities = torch.tensor([0.9, 0.2]).view(1, 1, 2, 1, 1)
        >>> round(rates_by_cuts(probabilities, torch.tensor([[0.5, 0.4]]), (1, 4)).item(), 3)
        1.842
    """
    levels = torch.tensor(thresholds, dtype=torch.float32, device=scores.device)
    cuts = cuts.to(scores.device, torch.float32)
    ratio = scores.float() / (cuts if cuts.ndim == 5 else cuts[..., None, None])
    highest = [ratio[:, :, -1]]
    for k in reversed(range(len(levels) - 1)):
        highest.insert(0, torch.maximum(highest[0], ratio[:, :, k]))
    passed = torch.stack(highest, dim=2)  # falls from threshold to threshold
    reached = (passed >= 1).sum(dim=2, keepdim=True)
    low, high = (
        passed.gather(2, index.clamp(0, len(levels) - 1)).clamp(min=1e-12).log()
        for index in (reached - 1, reached)
    )
    share = (low / (low - high).clamp(min=1e-12)).clamp(0, 1)
    below, above = levels[(reached - 1).clamp(min=0)], levels[reached.clamp(max=len(levels) - 1)]
    between = below * (above / below) ** share
    zero = torch.zeros_like(above)
    rates = torch.where(above > below, torch.minimum(between, above * _JUST_BELOW), below)
    rates = torch.where(reached > 0, torch.maximum(rates, below), zero)
    return rates.masked_fill(scores.isnan().any(dim=2, keepdim=True), math.nan)


def median_rates(probabilities: Probabilities) -> Tensor:
    """Return the median rate (b, lead, 1, h, w) in mm/h, exceeded with probability one half."""
    lead_steps, levels = probabilities.values.shape[1:3]
    cuts = torch.full((lead_steps, levels), 0.5)
    return rates_by_cuts(probabilities.values, cuts, probabilities.thresholds)


def mean_rates(probabilities: Probabilities, rates: Tensor | None = None) -> Tensor:
    """Return the expected rate (b, lead, 1, h, w) in mm/h by `formulas.expected_rate`, and 0 where
    the probability of the first threshold is below `LEAST_CHANCE`. rates: the rates of the
    forecast, of the same shape.
    """
    values, levels = probabilities.values.float(), probabilities.thresholds
    values = values.masked_fill(values[:, :, :1] < LEAST_CHANCE, 0.0)
    each = [values[:, :, k : k + 1] for k in range(len(levels))]
    expected: Tensor = expected_rate(each, levels, torch, rates)
    return expected
