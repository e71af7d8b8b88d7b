"""Probabilities of a ladder of thresholds against observations: counts and sums per case that add
up, with those of ensembles.

Values are (b, lead, k, h, w) of k thresholds, observed (b, lead, h, w) in mm/h, on one device. A
pixel that is NaN in any of its probabilities or in the observation is in no count and no sum.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nowcast.errors import InternalError
from nowcast.probability.ladder import Probabilities
from nowcast.verification.ensembles import blocks, sizes

MEMBERS = 100
"""Probabilities are rounded to hundredths, and counted as that many members of an ensemble."""
BEYOND = 2.0
"""The probability falls from the last threshold to 0 at so many times that threshold."""


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
    b, leads = observed.shape[:2]
    counts = torch.zeros(b, leads, len(thresholds), MEMBERS + 1, 2, dtype=torch.int64)
    inside = within(probabilities, thresholds)
    if inside:
        known = ~(probabilities.values.isnan().any(2) | observed.isnan())
        given = probabilities.at([thresholds[place] for place in inside])
        for place, values in zip(inside, given.unbind(2), strict=True):
            counts[:, :, place] = _counts(values, observed >= thresholds[place], known)
    return counts


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
    values = probabilities.values
    b, leads, _ = sizes(values, observed)
    ladder = probabilities.thresholds
    rates = (0.0, *ladder, BEYOND * ladder[-1])
    total = torch.zeros(b * leads, dtype=torch.float64)
    for frame, p, y in blocks(values, observed):
        levels = [p[0], *p, torch.zeros_like(y)]
        beyond = (y - rates[-1]).clamp(min=0).sum(dtype=torch.float64)
        parts = [
            _segment(y, rates[k], rates[k + 1], levels[k], levels[k + 1]).sum(dtype=torch.float64)
            for k in range(len(rates) - 1)
        ]
        total[frame] += torch.stack([*parts, beyond]).sum().cpu()
    if not total.isfinite().all():
        raise InternalError(
            "the probabilities or the observed field hold infinite values; find where they arose,"
            " then score."
        )
    return total.reshape(b, leads)


def _segment(y: Tensor, low: float, high: float, at_low: Tensor, at_high: Tensor) -> Tensor:
    """(n,): the integral from one rate to the next, between which P is linear."""
    reached = y.clamp(low, high)
    at_y = at_low + (at_high - at_low) * ((reached - low) / (high - low))
    missed = (reached - low) * _mean_square(1 - at_low, 1 - at_y)
    return missed + (high - reached) * _mean_square(at_y, at_high)


def _mean_square(first: Tensor, last: Tensor) -> Tensor:
    """The mean of the square of what goes linearly from one value to another."""
    return (first * first + first * last + last * last) / 3


def _counts(values: Tensor, events: Tensor, known: Tensor) -> Tensor:
    """(b, lead, MEMBERS + 1, 2) int64 of one threshold, each given as (b, lead, h, w)."""
    hundredths = (values.nan_to_num() * MEMBERS).round().long().clamp(0, MEMBERS)
    length = 2 * (MEMBERS + 1)
    frames = zip((2 * hundredths + events).flatten(0, 1), known.flatten(0, 1), strict=True)
    counts = [torch.bincount(one[there], minlength=length).cpu() for one, there in frames]
    return torch.stack(counts).reshape(*values.shape[:2], MEMBERS + 1, 2)
