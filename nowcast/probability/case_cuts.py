"""The cuts of one forecast, from its own probabilities and from past forecasts together.

The cut of the best CSI is low where little rain can be foretold, and high where much can
(`nowcast.probability.cuts`). So the cuts of past days are not the best on a day with less rain, or
with more. The probabilities of a forecast say themselves how much there is: if they are calibrated,
the share of pixels that will have rain and have reached a cut is the mean over all pixels of the
probabilities from the cut on. Their expected CSI is highest at cuts that suit this case; but a
calibration of other days may be wrong on this one. Both are therefore added up, each divided by its
observed area so that both have the same weight: what was counted on the days of the fit, and what
this forecast expects. How much of the grid is dry then makes no difference.

Mean CSI at 0.5, 1, 2, 5, 10 mm/h, of trainings that had not seen the radar: with the cuts of other
radars' days, and with these. RADOLAN, 16 May 2018: .586 .514 .420 .304 .135, .595 .523 .428 .318
.168; KNMI, 26 August 2010: .564 .477 .385 .086 .000, .563 .478 .386 .088 .000; KNMI, 10 September
2011: .598 .543 .456 .339 .282, .592 .537 .452 .340 .283. With this forecast alone the three are
worse at nearly all thresholds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.probability.cuts import best_steps, exceeds, smoothed
from nowcast.probability.ladder import Probabilities, lead_slices
from nowcast.probability.sample import LEVELS, Sample, count_events

_FIRST, _LAST, _CUTS = -6.9, 5.3, 128
"""Logits between which cuts are looked for, 0.001 and 0.995, and how many there are."""

SIZES = {"area": _CUTS, "hits": _CUTS, "observed": 1}
"""The last size of each part of `PastForecasts`."""


@dataclass(frozen=True)
class PastForecasts:
    """What the cuts from `cuts()[0]` on led to on the days of the fit.

    Args:
        area: (lead, k, n) the share of pixels at or above each cut.
        hits: (lead, k, n) the share of pixels at or above each cut where the event was observed.
        observed: (lead, k, 1) the share of pixels where it was observed.
    """

    area: Tensor
    hits: Tensor
    observed: Tensor

    def cuts_of(self, probabilities: Probabilities) -> Tensor:
        """Return the cuts (b, lead, k) of forecasts, for `nowcast.probability.rates.rates_by_cuts`.

        They look at all pixels of a forecast together, so that parts of it have other cuts.
        """
        values = probabilities.values
        best = [self._best(values[:, leads], leads) for leads in lead_slices(values.shape[1])]
        return cuts().to(values.device)[torch.cat(best, dim=1)]

    def _best(self, values: Tensor, leads: slice) -> Tensor:
        """Which cuts (b, lead, k) the probabilities (b, lead, k, h, w) of some lead times have."""
        past = _of_each_event(*(one[leads].to(values.device) for one in vars(self).values()))
        expected = _expected(values)
        own = _of_each_event(*expected)
        area, hits, observed = (one + other for one, other in zip(past, own, strict=True))
        return best_steps(area, hits, observed, exceeds(expected[0], expected[2]))


def _of_each_event(area: Tensor, hits: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares of all pixels → the same as a multiple of the observed share, which is then 1; all 0
    if nothing was observed.
    """
    rain = (observed > 0).to(area.dtype)
    times = rain / observed.clamp(min=1e-30)
    return area * times, hits * times, rain


def cuts() -> Tensor:
    """(n,) the cuts that are looked through, of equal steps of the logit."""
    return torch.linspace(_FIRST, _LAST, _CUTS).sigmoid()


def past_forecasts(sample: Sample, slopes: Tensor, offsets: Tensor) -> PastForecasts:
    """Count what cuts of calibrated probabilities led to on a sample of validation pixels, evened
    out over lead times by `smoothed`.

    slopes, offsets: (lead, k) of the calibration; the sample is of probabilities before it.
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
    """Probabilities (b, lead, k, h, w), NaN = missing → area and hits (b, lead, k, n) and observed
    (b, lead, k, 1), as `PastForecasts` has them, if the probabilities hold.
    """
    values = probabilities.float()
    missing = values.isnan()
    values = values.masked_fill(missing, 0.0)
    pixels = (~missing).sum(dim=(3, 4))[..., None].clamp(min=1)
    step = (_LAST - _FIRST) / (_CUTS - 1)
    reached = ((values.logit() - _FIRST) / step).clamp(-1, _CUTS - 1).floor().long() + 1
    empty = values.new_zeros(*values.shape[:4], _CUTS + 1)
    # row by row: one float32 sum over millions of pixels would lose the small ones
    counts = empty.scatter_add(4, reached, (~missing).float()).sum(dim=3)
    sums = empty.scatter_add(4, reached, values).sum(dim=3)
    area, hits = (one.flip(3).cumsum(dim=3).flip(3)[..., 1:] / pixels for one in (counts, sums))
    return area, hits, sums.sum(dim=3, keepdim=True) / pixels
