"""Cases of several sources, with the reference times and lead times that all of them have."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DataError
from nowcast.evaluation.cases import Cases, Predictor, Source
from nowcast.probability.ladder import Probabilities
from nowcast.radar.times import show

log = logging.getLogger(__name__)


class JoinedCases:
    """The cases that all parts have, with the forecasts of all.

    Observations are read from the first part. Baselines may come with any part; in the order of
    forecasts they follow the names of the parts.

    Errors: DataError if no reference time, or no lead time, is in all parts.
    """

    def __init__(self, parts: Mapping[str, Source]) -> None:
        self.parts = dict(parts)
        sources = list(parts.values())
        self.grid, self.times = sources[0].grid, _common([one.times for one in sources])
        leads = {name: _rounded(one.lead_minutes) for name, one in parts.items()}
        shared = _common(list(leads.values()))
        _refuse_nothing(self.parts, self.times, shared)
        self.lead_minutes = shared.tolist()
        self.picks = {name: np.searchsorted(one, shared) for name, one in leads.items()}
        self.predictors: Mapping[str, Predictor] = {
            name: predictor for one in sources for name, predictor in one.predictors.items()
        }
        self.rates_by = sorted({rate for one in sources for rate in one.rates_by})
        self.fitted_on = next((one.fitted_on for one in sources if one.fitted_on), "")
        own = [*_times_left_out(parts, self.times), *_leads_left_out(leads, shared)]
        for remark in own:
            log.warning("%s", remark)
        self.remarks = own + [
            f"{name}: {remark}" for name, one in parts.items() for remark in one.remarks
        ]

    def read(self, indices: Sequence[int]) -> Cases:
        """Read these cases, with the forecasts of all parts at the lead times to score."""
        read = {name: self._of_part(name, self.times[list(indices)]) for name in self.parts}
        first = next(iter(read.values()))
        forecasts = {name: rates for one in read.values() for name, rates in one.forecasts.items()}
        order = dict.fromkeys([*self.parts, *forecasts])
        device = first.observed.device
        return Cases(
            first.times,
            first.observed,
            {name: forecasts[name].to(device) for name in order},
            {
                name: replace(one, values=one.values.to(device))
                for part in read.values()
                for name, one in part.probabilities.items()
            },
        )

    def _of_part(self, name: str, times: NDArray[np.datetime64]) -> Cases:
        part, picks = self.parts[name], torch.from_numpy(self.picks[name])
        order = np.argsort(part.times)
        cases = part.read(order[np.searchsorted(part.times, times, sorter=order)].tolist())
        if len(picks) == len(part.lead_minutes):
            return cases

        def picked(field: Tensor) -> Tensor:
            return field[:, picks.to(field.device)]

        return Cases(
            cases.times,
            picked(cases.observed),
            {key: picked(rates) for key, rates in cases.forecasts.items()},
            {
                key: Probabilities(one.thresholds, picked(one.values))
                for key, one in cases.probabilities.items()
            },
        )


def _common(several: Sequence[NDArray]) -> NDArray:  # type: ignore[type-arg]
    """Return the values that are in all of them, rising."""
    return reduce(np.intersect1d, several)


def _rounded(minutes: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(minutes, np.float64).round(4)


def _refuse_nothing(
    parts: Mapping[str, Source], times: NDArray[np.datetime64], leads: NDArray[np.float64]
) -> None:
    if not times.size:
        spans = [
            f"{name} has {one.times.size}"
            + (
                f", {show(one.times.min())} to {show(one.times.max())} UTC"
                if one.times.size
                else ""
            )
            for name, one in parts.items()
        ]
        raise DataError(
            f"no reference time is in all forecasts: {'; '.join(spans)}; give forecasts from the"
            " same times."
        )
    if not leads.size:
        spans = [f"{name} {_in_words(one.lead_minutes)}" for name, one in parts.items()]
        raise DataError(
            f"no lead time is in all forecasts: {', '.join(spans)}; score them separately."
        )


def _times_left_out(parts: Mapping[str, Source], common: NDArray[np.datetime64]) -> list[str]:
    """Return remarks on the reference times that only some parts have."""
    every = reduce(np.union1d, [one.times for one in parts.values()])
    remarks = []
    for name, one in parts.items():
        lacking = np.setdiff1d(every, one.times)
        if lacking.size:
            remarks.append(
                f"{name} has no forecast from {lacking.size} of {every.size} reference times, the"
                f" first {show(lacking[0])} UTC"
            )
    if remarks:
        which = f"{common.size} cases" if common.size != 1 else "case"
        were = "were" if common.size != 1 else "was"
        remarks.append(f"only the {which} that all forecasts have {were} scored")
    return remarks


def _leads_left_out(
    leads: Mapping[str, NDArray[np.float64]], common: NDArray[np.float64]
) -> list[str]:
    """Return a remark on the lead times, if some parts have more than the common ones."""
    if all(one.size == common.size for one in leads.values()):
        return []
    spans = ", ".join(f"{name} {_in_words(one.tolist())}" for name, one in leads.items())
    return [
        f"only the lead times that all forecasts have were scored, {_in_words(common.tolist())};"
        f" available: {spans}"
    ]


def _in_words(minutes: Sequence[float]) -> str:
    return f"{minutes[0]:g} to {minutes[-1]:g} min ({len(minutes)})"
