"""What `nowcast evaluate` scores: cases, and where they come from."""

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

    times: (b,) forecast reference times; the numbers of the sequences, as minutes, where frames
    have none.
    observed: (b, lead, h, w).
    forecasts: each (b, lead, m, h, w), by name, the one that is to be judged first.
    probabilities: of those forecasts that have some, by name.
    """

    times: NDArray[np.datetime64]
    observed: Tensor
    forecasts: Mapping[str, Tensor]
    probabilities: Mapping[str, Probabilities] = field(default_factory=dict)


class Source(Protocol):
    """Where cases come from; any of them can be had again.

    times: (n,) of all cases. lead_minutes: their lead times. grid: where pixels lie; None where
    they have no place.
    predictors: what forecasts again, by name. remarks: what is to be known of the cases, in
    sentences.
    rates_by: how the rates of forecast files followed from probabilities. fitted_on: the days that
    cuts of baselines were fitted on; "" without any.
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
    """Return what a predictor makes of the past (b, t, 1 + k, h, w), with its probabilities."""
    return predictor.expect(past) if isinstance(predictor, Baseline) else predictor(past)


def cases_of(
    times: NDArray[np.datetime64], observed: Tensor, made: Mapping[str, Tensor | Forecast]
) -> Cases:
    """Build cases from the forecasts of predictors, by name. Members that were drawn from
    probabilities become a second forecast, an ensemble.
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
    """Each case as cases of its own: what is made of all at once would take much memory."""
    for place in range(len(cases.times)):
        one = slice(place, place + 1)
        forecasts = {name: rates[one] for name, rates in cases.forecasts.items()}
        probabilities = {
            name: replace(known, values=known.values[one])
            for name, known in cases.probabilities.items()
        }
        yield Cases(cases.times[one], cases.observed[one], forecasts, probabilities)


def may_miss(config: EvaluateConfig, input_steps: int) -> int:
    """How many input frames other than the newest a case may lack, as `nowcast predict` has it:
    for a model `missing_frames`, for baselines that follow the rain none, for others all.
    """
    if config.checkpoint is not None:
        return config.missing_frames
    return 0 if names_where("follows_rain", config.baseline) else input_steps - 1


def left_out(times: NDArray[np.datetime64], of: int, allowed: int) -> str:
    """The remark that cases of these reference times are left out."""
    others = f"or more than {allowed} of the others" if allowed else "or another one"
    return (
        f"{times.size} of {of} cases left out, the first of {show(times[0])} UTC: their newest"
        f" input frame is missing, {others}"
    )


def label_of(time: np.datetime64, source: Source) -> str:
    """A case in words."""
    if source.grid is None:
        return f"sequence {int(time.astype('datetime64[m]').astype(int))}"
    return f"{np.datetime_as_string(time, unit='m').replace('T', ' ')} UTC"
