"""The cuts of one forecast, from its own probabilities and from past forecasts together.

A cut is the probability at or above which rain is forecast. The cut of the best CSI is low when
little rain can be predicted, and high when much can (`nowcast.probability.cuts`). So the cuts of
past days are not the best on a day with less or more rain. The probabilities of the forecast
themselves show how much rain is expected: if they are calibrated, the expected hits of a cut are
the sum of the probabilities at or above it. The cuts with the highest expected CSI suit this case,
but the calibration, which is from other days, may be wrong on this day. Therefore the counts of the
days of the fit and the expected counts of this forecast are added. Each is divided by its observed
area, so that both have the same weight and the dry area has no influence.

Mean CSI at 0.5, 1, 2, 5, 10 mm/h, for models not trained on the radar in question; first with the
cuts of other radars' days, then with the cuts of this module:

    RADOLAN, 16 May 2018        .586 .514 .420 .304 .135   .595 .523 .428 .318 .168
    KNMI, 26 August 2010        .564 .477 .385 .086 .000   .563 .478 .386 .088 .000
    KNMI, 10 September 2011     .598 .543 .456 .339 .282   .592 .537 .452 .340 .283

With only the forecast's own probabilities all three are worse at nearly all thresholds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.probability.cuts import best_steps, exceeds, smoothed
from nowcast.probability.ladder import Probabilities, lead_slices
from nowcast.probability.sample import LEVELS, Sample, count_events

_FIRST, _LAST, _CUTS = -6.9, 5.3, 128
"""Logits of the first and last cut, of 0.001 and 0.995, and the number of cuts."""

SIZES = {"area": _CUTS, "hits": _CUTS, "observed": 1}
"""The length of the last axis of each part of `PastForecasts`."""


@dataclass(frozen=True)
class PastForecasts:
    """The results of each cut of `cuts()` on the days of the fit.

    Args:
        area: (lead, k, n) the share of pixels at or above each cut.
        hits: (lead, k, n) the share of pixels at or above each cut with an observed event.
        observed: (lead, k, 1) the share of pixels with an observed event.
    """

    area: Tensor
    hits: Tensor
    observed: Tensor

    def cuts_of(self, probabilities: Probabilities) -> Tensor:
        """Return the cuts (b, lead, k) of forecasts, for `nowcast.probability.rates.rates_by_cuts`.

        They depend on all pixels of a forecast, so a part of it would have other cuts.
        """
        values = probabilities.values
        best = [self._best(values[:, leads], leads) for leads in lead_slices(values.shape[1])]
        return cuts().to(values.device)[torch.cat(best, dim=1)]

    def _best(self, values: Tensor, leads: slice) -> Tensor:
        """Return the indices (b, lead, k) of the best cuts of probabilities (b, lead, k, h, w)."""
        past = _of_each_event(*(one[leads].to(values.device) for one in vars(self).values()))
        expected = _expected(values)
        own = _of_each_event(*expected)
        area, hits, observed = (one + other for one, other in zip(past, own, strict=True))
        return best_steps(area, hits, observed, exceeds(expected[0], expected[2]))


def _of_each_event(area: Tensor, hits: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Divide shares of all pixels by the observed share, which becomes 1; return 0 for all if
    nothing was observed.
    """
    rain = (observed > 0).to(area.dtype)
    times = rain / observed.clamp(min=1e-30)
    return area * times, hits * times, rain


def cuts() -> Tensor:
    """Return all candidate cuts (n,), at equal steps of the logit."""
    return torch.linspace(_FIRST, _LAST, _CUTS).sigmoid()


def past_forecasts(sample: Sample, slopes: Tensor, offsets: Tensor) -> PastForecasts:
    """Count the results of cuts of calibrated probabilities on a sample of validation pixels,
    smoothed over lead times by `smoothed`.

    slopes, offsets: (lead, k) of the calibration; the sample has uncalibrated probabilities.
    """
    codes, classes = sample.codes(), sample.classes()
    pixels = (classes >= 0).sum(dim=1)[:, None].clamp(min=1)
    found: list[tuple[Tensor, ...]] = []
    for k in range(len(sample.thresholds)):
        before = ((cuts().logit() - offsets[:, k, None]) / slopes[:, k, None]).sigmoid()
        first = torch.searchsorted(sample.steps, before.contiguous()).clamp(max=LEVELS - 1) + 1
        counts = count_events(codes[:, k], classes > k, classes >= 0)
        above = counts.flip(1).cumsum(dim=1).flip(1)  # (lead, LEVELS + 1, 2)
        misses, hits = (above[..., n].gather(1, first) / pixels for n in (0, 1))
        found.append((misses + hits, hits, above[:, :1, 1] / pixels))
    parts = (smoothed(torch.stack(part, dim=1)) for part in zip(*found, strict=True))
    return PastForecasts(*parts)


def _expected(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (b, lead, k, h, w), NaN = missing → the expected area and hits (b, lead, k, n)
    and observed (b, lead, k, 1), as in `PastForecasts`, if the probabilities are calibrated.
    """
    values = probabilities.float()
    missing = values.isnan()
    values = values.masked_fill(missing, 0.0)
    pixels = (~missing).sum(dim=(3, 4))[..., None].clamp(min=1)
    step = (_LAST - _FIRST) / (_CUTS - 1)
    reached = ((values.logit() - _FIRST) / step).clamp(-1, _CUTS - 1).floor().long() + 1
    empty = values.new_zeros(*values.shape[:4], _CUTS + 1)
    # row by row: a single float32 sum over millions of pixels would lose small values
    counts = empty.scatter_add(4, reached, (~missing).float()).sum(dim=3)
    sums = empty.scatter_add(4, reached, values).sum(dim=3)
    area, hits = (one.flip(3).cumsum(dim=3).flip(3)[..., 1:] / pixels for one in (counts, sums))
    return area, hits, sums.sum(dim=3, keepdim=True) / pixels
