"""Cases of several models combined into one forecast."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import DataError
from nowcast.evaluation.cases import Cases, cases_of
from nowcast.evaluation.window_cases import ModelPredictor, WindowCases
from nowcast.forecast.members import with_members
from nowcast.forecast.pooling import Part, pooled
from nowcast.pretrained import checkpoint_name
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities

log = logging.getLogger(__name__)


class SeveralCases:
    """The cases that all parts have, forecast by the models of all together; see
    `nowcast.forecast.pooling`.

    Observations and baselines come from the first part.

    Args:
        parts: one for each model, all named `name`.
        checkpoints: their paths.
        name: of the forecast.
        config: says how rates follow from probabilities, and whether members are drawn.

    Errors: DataError if no reference time is in all parts.
    """

    def __init__(
        self, parts: Sequence[WindowCases], checkpoints: Sequence[str], name: str,
        config: EvaluateConfig,
    ) -> None:  # fmt: skip
        self.parts, self.name, self.config = list(parts), name, config
        self.models = [_model(part, name) for part in parts]
        first = self.parts[0]
        self.windows, self.device, self.grid = first.windows, first.device, first.grid
        self.lead_minutes, self.predictors = first.lead_minutes, first.predictors
        self.rates_by, self.fitted_on = first.rates_by, first.fitted_on
        self.times: NDArray[np.datetime64] = reduce(
            np.intersect1d, [part.times for part in self.parts]
        )
        if not self.times.size:
            raise DataError(
                f"no reference time is in the cases of all models of {name}, which need different"
                " numbers of frames; give a longer period."
            )
        shared = [one for one in first.remarks if all(one in part.remarks for part in parts)]
        self.remarks = shared + [
            f"{checkpoint_name(path)}: {remark}"
            for path, part in zip(checkpoints, self.parts, strict=True)
            for remark in part.remarks
            if remark not in shared
        ]
        lost = max(part.times.size for part in self.parts) - self.times.size
        if lost:
            self.remarks.append(
                f"{lost} case{'s' * (lost != 1)} left out: not all models of {name} have them"
            )
            log.warning("%s", self.remarks[-1])

    def read(self, indices: Sequence[int]) -> Cases:
        """Read these cases, forecast by all models together."""
        times = self.times[list(indices)]
        first, parts = None, list[Part]()
        for part, model in zip(self.parts, self.models, strict=True):
            read = part.read(_places(part, times))
            first = first or read
            parts.append(self._part(read, model))
        assert first is not None
        size = (int(first.observed.shape[-2]), int(first.observed.shape[-1]))
        made = pooled(parts, size, self.config.rate)
        if self.config.ensemble is not None:
            past = self._past(times)
            made = with_members(made, past, self.config.ensemble, self.config.seed)
        ours = cases_of(times, first.observed, {self.name: made})
        beside = {name: one for name, one in first.forecasts.items() if name != self.name}
        known = {name: one for name, one in first.probabilities.items() if name != self.name}
        return replace(
            ours,
            forecasts={**ours.forecasts, **beside},
            probabilities={**ours.probabilities, **known},
        )

    def _part(self, cases: Cases, model: ModelPredictor) -> Part:
        """Return the forecast of a model on its region."""

        def within(field: Tensor) -> Tensor:
            # a copy does not keep the rest of the grid in memory
            return field if model.region is None else field[(..., *model.region)].clone()

        known = cases.probabilities.get(self.name)
        forecast = Forecast(
            within(cases.forecasts[self.name]),
            None if known is None else Probabilities(known.thresholds, within(known.values)),
        )
        return Part(forecast, model.forecaster.calibration, model.region)

    def _past(self, times: NDArray[np.datetime64]) -> Tensor:
        """Return the rain (b, t, h, w) of the first part up to these times, in mm/h."""
        first = self.parts[0]
        return first.past(_places(first, times))[:, :, 0]


def _model(part: WindowCases, name: str) -> ModelPredictor:
    model = part.predictors[name]
    assert isinstance(model, ModelPredictor)
    return model


def _places(part: WindowCases, times: NDArray[np.datetime64]) -> list[int]:
    """Return the indices of the cases of a part with these times."""
    order = np.argsort(part.times)
    places: list[int] = order[np.searchsorted(part.times, times, sorter=order)].tolist()
    return places
