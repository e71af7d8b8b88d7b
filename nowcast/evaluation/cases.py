"""The types of a case to score and of a source of cases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.baselines import names_where
from nowcast.config.evaluate import EvaluateConfig
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.radar.times import show
from nowcast.verification.remarks import WITH_MEMBERS

Predictor = Callable[[Tensor], Tensor | Forecast]
"""The past (b, t, 1 + k, h, w) → rates (b, lead, m, h, w), mm/h, or these and probabilities."""


@dataclass(frozen=True)
class Cases:
    """Some cases, in mm/h, NaN = missing.

    times: (b,) forecast reference times; for frames without times, the numbers of the sequences as
    minutes.
    observed: (b, lead, h, w).
    forecasts: each (b, lead, m, h, w), by name, beginning with the forecast to be judged.
    probabilities: by name, of the forecasts that have them.
    """

    times: NDArray[np.datetime64]
    observed: Tensor
    forecasts: Mapping[str, Tensor]
    probabilities: Mapping[str, Probabilities] = field(default_factory=dict)


class Source(Protocol):
    """A source of cases; each of them can be read again.

    times: (n,) of all cases. lead_minutes: their lead times. grid: the place of the pixels; None if
    they have none.
    predictors: those that make forecasts during the evaluation, by name. remarks: notes on the
    cases, in sentences.
    rates_by: how the rates of forecast files followed from probabilities. fitted_on: the days that
    the cuts of baselines were fitted on; "" if none.
    """

    times: NDArray[np.datetime64]
    lead_minutes: list[float]
    grid: xr.Dataset | None
    predictors: Mapping[str, Predictor]
    remarks: list[str]
    rates_by: list[str]
    fitted_on: str

    def read(self, indices: Sequence[int]) -> Cases: ...


def made_by(predictor: Predictor, past: Tensor) -> Tensor | Forecast:
    """Return the forecast of a predictor from the past (b, t, 1 + k, h, w), with probabilities."""
    return predictor.expect(past) if isinstance(predictor, Baseline) else predictor(past)


def cases_of(
    times: NDArray[np.datetime64], observed: Tensor, made: Mapping[str, Tensor | Forecast]
) -> Cases:
    """Build cases from the forecasts of predictors, by name. Members drawn from probabilities
    become a second forecast, an ensemble.
    """
    whole = {
        name: one if isinstance(one, Forecast) else Forecast(one) for name, one in made.items()
    }
    probabilities = {
        name: one.probabilities for name, one in whole.items() if one.probabilities is not None
    }
    forecasts: dict[str, Tensor] = {}
    for name, one in whole.items():
        forecasts[name] = one.rates
        if one.members is not None:
            forecasts[name + WITH_MEMBERS] = one.members
    return Cases(times, observed, forecasts, probabilities)


def one_by_one(cases: Cases) -> Iterator[Cases]:
    """Yield each case by itself: processing all at once would take much memory."""
    for place in range(len(cases.times)):
        one = slice(place, place + 1)
        forecasts = {name: rates[one] for name, rates in cases.forecasts.items()}
        probabilities = {
            name: replace(known, values=known.values[one])
            for name, known in cases.probabilities.items()
        }
        yield Cases(cases.times[one], cases.observed[one], forecasts, probabilities)


def may_miss(config: EvaluateConfig, input_steps: int) -> int:
    """Return how many input frames except the newest may be missing, as in `nowcast predict`: for a
    model `missing_frames`, for baselines that follow the rain none, for others all.
    """
    if config.checkpoint is not None:
        return config.missing_frames
    return 0 if names_where("follows_rain", config.baseline) else input_steps - 1


def left_out(times: NDArray[np.datetime64], of: int, allowed: int) -> str:
    """Return the remark that the cases of these reference times are left out."""
    others = f"or more than {allowed} of the others" if allowed else "or another one"
    return (
        f"{times.size} of {of} cases left out, the first of {show(times[0])} UTC: their newest"
        f" input frame is missing, {others}"
    )


def label_of(time: np.datetime64, source: Source) -> str:
    """Return a case in words."""
    if source.grid is None:
        return f"sequence {int(time.astype('datetime64[m]').astype(int))}"
    return f"{np.datetime_as_string(time, unit='m').replace('T', ' ')} UTC"
