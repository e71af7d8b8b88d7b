"""Counts and sums per case to compare probabilities of a ladder of thresholds with observations.
Everything here adds up, together with the sums of ensembles.

Values are (b, lead, k, h, w) for k thresholds, observed (b, lead, h, w) in mm/h, on one device. A
pixel that is NaN in any of its probabilities or in the observation is in no count and no sum.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from nowcast.errors import InternalError
from nowcast.probability.ladder import BEYOND, Probabilities
from nowcast.verification.ensembles import blocks, sizes

MEMBERS = 100
"""Probabilities are rounded to hundredths and counted like an ensemble of this many members."""


def within(probabilities: Probabilities, thresholds: Sequence[float]) -> list[int]:
    """Return the indices of the thresholds between the first and the last threshold of a ladder."""
    first, last = probabilities.thresholds[0], probabilities.thresholds[-1]
    return [place for place, value in enumerate(thresholds) if first <= value <= last]


def ladder_counts(
    probabilities: Probabilities, observed: Tensor, thresholds: Sequence[float]
) -> Tensor:
    """Count pixels by hundredths of the probability of each of K thresholds, and by the event.

    Returns:
        (b, lead, K, MEMBERS + 1, 2) int64, as in `probability_counts`; 0 at a threshold outside the
        ladder.
    """
    values = probabilities.values
    b, leads, _ = sizes(values, observed)
    inside = within(probabilities, thresholds)
    levels = [thresholds[place] for place in inside]
    length = 2 * (MEMBERS + 1)
    counts = torch.zeros(b * leads, len(thresholds), length, dtype=torch.int64)
    for frame, p, y in blocks(values, observed) if inside else ():
        given = Probabilities(probabilities.thresholds, p[None, None, :, None]).at(levels)
        for place, one in zip(inside, given[0, 0, :, 0], strict=True):
            hundredths = (one * MEMBERS).round_().clamp_(0, MEMBERS).int()
            numbers = 2 * hundredths + (y >= thresholds[place])
            counts[frame, place] += torch.bincount(numbers, minlength=length).cpu()
    return counts.reshape(b, leads, len(thresholds), MEMBERS + 1, 2)


def ladder_crps(probabilities: Probabilities, observed: Tensor) -> Tensor:
    """Sum the continuous ranked probability score: ∫ (P(rate ≥ x) − 1{observed ≥ x})² dx.

    The probability is interpolated linearly between thresholds. Below the first threshold, P is
    constant down to just above 0; the rest is the probability of no rain at all. After the last
    threshold P falls linearly to 0 at `BEYOND` times that threshold. The integral is exact.

    Returns:
        (b, lead) float64 in mm/h, the sum over pixels.

    Raises:
        InternalError: if a rate is infinite.
    """
    values, ladder = probabilities.values, probabilities.thresholds
    b, leads, _ = sizes(values, observed)
    if values.device.type == "mps":  # it has no float64
        values, observed = values.cpu(), observed.cpu()
    rates = (0.0, *ladder, BEYOND * ladder[-1])
    total = torch.zeros(b * leads, dtype=torch.float64)
    for frame, p, y in blocks(values, observed):
        # ∫ (P − 1{y ≥ x})² dx = ∫ P² dx + y − 2 ∫ P dx up to y
        levels = torch.stack([p[0], *p, torch.zeros_like(y)])
        is_wet = y > 0
        below = _integral_up_to(y[is_wet], rates, levels[:, is_wet])
        total[frame] += _integral_of_square(rates, levels) + (_sum(y) - 2 * below)
    if not total.isfinite().all():
        raise InternalError(
            "the probabilities or the observed field hold infinite values; find their cause before"
            " scoring."
        )
    return total.reshape(b, leads)


def _integral_of_square(rates: Sequence[float], levels: Tensor) -> Tensor:
    """Σ_pixels ∫ P² dx for P, (k, n), linear between rates (k,)."""
    widths = torch.tensor(rates, dtype=torch.float64).diff()
    squares = (levels * levels).sum(1, dtype=torch.float64).cpu()
    products = (levels[:-1] * levels[1:]).sum(1, dtype=torch.float64).cpu()
    return (widths * (squares[:-1] + products + squares[1:])).sum() / 3


def _integral_up_to(y: Tensor, rates: Sequence[float], levels: Tensor) -> Tensor:
    """Σ_pixels ∫ P dx from 0 to the rate (n,) of each pixel."""
    total = torch.zeros((), dtype=torch.float64)
    for (low, high), at_low, at_high in zip(pairwise(rates), levels[:-1], levels[1:], strict=True):
        share = (y.clamp(low, high) - low) / (high - low)
        mean = at_low + (at_high - at_low) * (share / 2)
        total += (high - low) * _sum(share * mean)
    return total


def _sum(values: Tensor) -> Tensor:
    return values.sum(dtype=torch.float64).cpu()
