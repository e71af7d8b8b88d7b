"""Probabilities of a ladder of thresholds against observations: counts and sums per case that add
up, with those of ensembles.

Values are (b, lead, k, h, w) of k thresholds, observed (b, lead, h, w) in mm/h, on one device. A
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
"""Probabilities are rounded to hundredths, and counted as that many members of an ensemble."""


def within(probabilities: Probabilities, thresholds: Sequence[float]) -> list[int]:
    """Return the places of the thresholds that lie between the first and the last of a ladder."""
    first, last = probabilities.thresholds[0], probabilities.thresholds[-1]
    return [place for place, value in enumerate(thresholds) if first <= value <= last]


def ladder_counts(
    probabilities: Probabilities, observed: Tensor, thresholds: Sequence[float]
) -> Tensor:
    """Count pixels by hundredths of the probability of each of K thresholds, and by the event.

    Returns:
        (b, lead, K, MEMBERS + 1, 2) int64, as `probability_counts`; 0 at a threshold outside of the
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

    The probability is interpolated linearly between thresholds. What lies below the first is the
    probability of no rain at all: P is constant from above 0 up to the first threshold. After the
    last it falls linearly to 0 at `BEYOND` times that threshold. The integral is exact.

    Returns:
        (b, lead) float64 in mm/h, the sum over pixels.

    Raises:
        InternalError: a rate is infinite.
    """
    values, ladder = probabilities.values, probabilities.thresholds
    b, leads, _ = sizes(values, observed)
    if values.device.type == "mps":  # which has no float64
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
            "the probabilities or the observed field hold infinite values; find where they arose,"
            " then score."
        )
    return total.reshape(b, leads)


def _integral_of_square(rates: Sequence[float], levels: Tensor) -> Tensor:
    """Σ_pixels ∫ P² dx of P, (k, n), that is linear between rates (k,)."""
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
