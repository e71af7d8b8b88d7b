"""Find the cuts with the best CSI, fitted on past forecasts.

A rate at or above a threshold is forecast where its probability reaches a cut. The CSI is highest
at a cut below one half: for calibrated probabilities at C / (1 + C), where C is the CSI at that cut
(Lipton et al. 2014, arXiv 1402.1892, whose F1 is 2 C / (1 + C)). So the cuts of rare rain are low,
and the forecast rain covers a larger area than the observed rain: its frequency bias is above 1.
That is the price of the best CSI. The area is limited, because on a day with more rain than the
days of the fit a very low cut would forecast 50 mm/h over whole regions.
"""

from itertools import pairwise

import torch
from torch import Tensor

from nowcast.probability.sample import Sample, count_events

LEAST_EVENTS = 20
"""Least number of observed pixels in a sample for which a cut is fitted."""

MOST_AREA = 2.0
"""The largest ratio of forecast to reference area that a cut may have. The reference is the
observed area on the days of a fit, or the area that the probabilities of a forecast expect.
"""


def fit_cuts(sample: Sample) -> Tensor:
    """Return the cuts of the best CSI for each lead time and threshold.

    Each cut is fitted separately. A joint fit, in which a cut only adds to the areas of the
    thresholds above it, is as good on other days of the same radar but worse on other radars: from
    KNMI to RADOLAN, at 5 mm/h, a CSI of .27 instead of .32.

    A threshold that almost no pixel reaches gets the cut of the threshold below it; for rates this
    cut is multiplied by the ratio of the thresholds.

    Returns:
        (lead, k), for `nowcast.probability.rates.rates_by_cuts`.
    """
    codes, classes = sample.codes(), sample.classes()
    found: list[Tensor | None] = []
    for k in range(len(sample.thresholds)):
        code, event = codes[:, min(k, codes.shape[1] - 1)], classes > k
        if int(event.sum(dim=1).min()) < LEAST_EVENTS:
            found.append(None)
        else:
            counts = smoothed(count_events(code, event, classes >= 0).double())
            above = counts.flip(1).cumsum(dim=1).flip(1)  # (lead, LEVELS + 1, 2)
            hits, area, observed = above[:, 1:, 1], above[:, 1:].sum(dim=-1), above[:, :1, 1]
            # the first code, below the first step, is never inside
            found.append(sample.steps[best_steps(area, hits, observed, exceeds(area, observed))])
    return torch.stack(_filled(found, sample), dim=1)


def csi_of_cuts(sample: Sample, cuts: Tensor) -> Tensor:
    """Return the CSI (lead, k) of cuts on a sample, NaN where nothing was observed."""
    codes, classes = sample.codes(), sample.classes()
    counted = classes >= 0
    inside = torch.zeros_like(counted)
    found: list[Tensor] = []
    for k in reversed(range(len(sample.thresholds))):
        code, event = codes[:, min(k, codes.shape[1] - 1)], (classes > k) & counted
        first = torch.searchsorted(sample.steps, cuts[:, k].contiguous(), right=False) + 1
        inside |= (code.int() >= first[:, None]) & counted
        hits, either = (inside & event).sum(dim=1), (inside | event).sum(dim=1)
        found.insert(0, torch.where(event.any(dim=1), hits / either, torch.nan))
    return torch.stack(found, dim=1)


def best_steps(area: Tensor, hits: Tensor, observed: Tensor, too_large: Tensor) -> Tensor:
    """Return the index of the best of n rising cuts by CSI.

    Args:
        area: (…, n) number or share of pixels at or above each cut.
        hits: (…, n) number or share of these pixels with the event.
        observed: (…, 1) number or share of pixels with the event.
        too_large: (…, n) bool, the result of `exceeds`; the last cut is used if all others are too
            large.

    Returns:
        (…) from 0 to n − 1.
    """
    csi = hits / (observed + area - hits).clamp(min=1e-9)
    last = torch.arange(area.shape[-1], device=area.device) == area.shape[-1] - 1
    return csi.masked_fill(too_large & ~last, -1.0).argmax(dim=-1)


def exceeds(area: Tensor, observed: Tensor) -> Tensor:
    """Return whether an area is larger than `MOST_AREA` times the area of the event."""
    return area > MOST_AREA * observed


def smoothed(counts: Tensor) -> Tensor:
    """Smooth counts (lead, …) over lead times: average each lead time, with weight 2, with its two
    neighbours.
    """
    sums, weights = 2 * counts, torch.full((len(counts),), 2.0)
    for here, there in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
        sums[here] += counts[there]
        weights[here] += 1
    return sums / weights.view(-1, *[1] * (counts.ndim - 1))


def _filled(found: list[Tensor | None], sample: Sample) -> list[Tensor]:
    """Derive missing cuts from the threshold below, or else from the threshold above."""
    known = [k for k, cut in enumerate(found) if cut is not None]
    if not known:
        start = torch.tensor(sample.thresholds[0] if sample.of_rates else 0.5)
        found = [start.expand(len(sample.classes())), *found[1:]]
        known = [0]
    filled = list(found)
    steps = [(k, k + 1) for k in reversed(range(known[0]))]
    steps += [(above, below) for below, above in pairwise(range(len(found)))]
    for k, near in steps:
        cut = filled[near]
        if filled[k] is None and cut is not None:
            factor = sample.thresholds[k] / sample.thresholds[near] if sample.of_rates else 1.0
            filled[k] = cut * factor
    return [cut for cut in filled if cut is not None]
