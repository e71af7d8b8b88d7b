"""A fair comparison: baselines with cuts that were fitted on validation days.

The cuts of a trained model, from which its rates follow, are optimised on validation days. With
`fit_cuts=true` every other forecast gets the same: at each lead time, an event is forecast if the
forecast's own rate reaches a cut. Probabilities are calibrated and get cuts like those of a trained
model.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from nowcast.evaluation.cases import Cases, Source, one_by_one
from nowcast.probability.calibration import Calibration, fit_calibration
from nowcast.probability.cuts import fit_cuts
from nowcast.probability.rates import rates_by_cuts
from nowcast.probability.sample import Sample, empty_sample
from nowcast.verification.remarks import WITH_CUTS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cuts:
    """The cuts (lead, k) of rates, and the thresholds (k,) in mm/h that they apply to."""

    thresholds: tuple[float, ...]
    values: Tensor


class CutCases:
    """Cases of a source, with a copy of the forecasts whose rates are made with cuts.

    A forecast with cuts has the name of the plain one plus ` (cuts)`.
    """

    def __init__(
        self, source: Source, cuts: Mapping[str, Cuts | Calibration], fitted_on: str
    ) -> None:
        self.source, self.cuts, self.fitted_on = source, cuts, fitted_on
        self.times, self.lead_minutes, self.grid = source.times, source.lead_minutes, source.grid
        self.predictors, self.rates_by = source.predictors, source.rates_by
        self.remarks = [
            *source.remarks,
            f"cuts of {', '.join(cuts)} were fitted on {fitted_on}",
        ]

    def read(self, indices: Sequence[int]) -> Cases:
        """Read these cases, with plain forecasts and forecasts with cuts."""
        cases = self.source.read(indices)
        forecasts: dict[str, Tensor] = {}
        for name, rates in cases.forecasts.items():
            forecasts[name] = rates
            if name in self.cuts:
                cut = self.cuts[name]
                scores = (_scores(one, name, cut.thresholds) for one in one_by_one(cases))
                forecasts[name + WITH_CUTS] = torch.cat([_rates(one, cut) for one in scores])
        return replace(cases, forecasts=forecasts)


def fit_all(
    source: Source, thresholds: Sequence[float], batch_size: int, region: Tensor | None = None
) -> dict[str, Cuts | Calibration]:
    """Return the cuts of all forecasts of a source, fitted on all of its cases.

    region: (h, w) bool, the pixels to use; None for all.
    """
    samples: dict[str, Sample] = {}
    for cases in _all(source, batch_size):
        observed = _within(cases.observed, region)
        for name in cases.forecasts:
            if name not in samples:
                pixels = len(source.times) * observed[0, 0].numel()
                samples[name] = _sample(cases, name, thresholds, pixels)
            if samples[name].thresholds:
                scores = _scores(cases, name, samples[name].thresholds)
                samples[name].add(_within(scores, region), observed)
        del cases, observed  # before the next ones are read
    return {name: _fitted(one) for name, one in samples.items() if one.thresholds}


def _fitted(sample: Sample) -> Cuts | Calibration:
    cuts = fit_cuts(sample)
    if sample.of_rates:
        return Cuts(sample.thresholds, cuts)
    return fit_calibration(sample, cuts)


def _rates(scores: Tensor, cuts: Cuts | Calibration) -> Tensor:
    """Turn the scores of one case, as from `_scores`, into rates (b, lead, 1, h, w)."""
    if isinstance(cuts, Cuts):
        return rates_by_cuts(scores, cuts.values, cuts.thresholds)
    return cuts.rates(cuts.probabilities(scores.logit()), "csi")


def _all(source: Source, batch_size: int) -> Iterator[Cases]:
    """Yield all cases one by one, read in batches."""
    count = len(source.times)
    with tqdm(
        total=count, desc="fitting cuts", unit="case", leave=False, disable=None, file=sys.stderr
    ) as bar:
        for first in range(0, count, batch_size):
            yield from one_by_one(source.read(range(first, min(first + batch_size, count))))
            bar.update(min(batch_size, count - first))


def _within(fields: Tensor, region: Tensor | None) -> Tensor:
    """Return fields (…, h, w), or with a region (h, w) only its pixels (…, n)."""
    return fields if region is None else fields[..., region.to(fields.device)]


def _sample(cases: Cases, name: str, thresholds: Sequence[float], pixels: int) -> Sample:
    """Return an empty sample for this many pixels of a forecast; for probabilities only with the
    thresholds within their ladder.
    """
    known = cases.probabilities.get(name)
    if known is not None:
        first, last = known.thresholds[0], known.thresholds[-1]
        thresholds = [one for one in thresholds if first <= one <= last]
    return empty_sample(thresholds, cases.observed.shape[1], pixels, of_rates=known is None)


def _scores(cases: Cases, name: str, thresholds: Sequence[float]) -> Tensor:
    """Return values that increase with the probability of an event: probabilities (b, lead, k, h,
    w), or the mean rate (b, lead, 1, h, w) of the members.
    """
    if name in cases.probabilities:
        return cases.probabilities[name].at(thresholds)
    return cases.forecasts[name].mean(dim=2, keepdim=True)
