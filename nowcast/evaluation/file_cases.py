"""Cases read from forecast files, with baselines forecast for the same times."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.baselines import names_where
from nowcast.config.data import RadarConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.cases import Cases, Predictor, cases_of, left_out, made_by, may_miss
from nowcast.evaluation.file_ladders import (
    conversions,
    differences,
    ladder_of,
    members_in,
    name_of,
    probabilities_at,
    rates_by,
)
from nowcast.evaluation.forecast_grid import onto_grid
from nowcast.evaluation.known_days import remarks_on_forecasts
from nowcast.factories.baselines import open_baseline
from nowcast.factories.radar import open_radar
from nowcast.factories.windows import pack_radar
from nowcast.forecast.dataset import find_forecasts, open_forecast
from nowcast.forecast.file_members import MEMBER_RATE, members_of
from nowcast.forecast.file_probability import PROBABILITY
from nowcast.periods import Period
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.radar.grid import RATE
from nowcast.sequences.clock import clock_of
from nowcast.sequences.packed import PackedRates

log = logging.getLogger(__name__)


class FileCases:
    """Cases read from forecast files, one per file, with baselines forecast for the same times."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        heads: Sequence[xr.Dataset],
        rates: PackedRates,
        grid: xr.Dataset,
        baselines: Mapping[str, Predictor],
        input_steps: int,
        allowed: int,
    ) -> None:
        self.name, self.rates, self.predictors, self.input_steps = (
            name,
            rates,
            baselines,
            input_steps,
        )
        self.grid: xr.Dataset | None = grid
        self.observed_grid = grid
        self.lead_minutes = [float(minutes) for minutes in heads[0]["lead_time"].values]
        self.clock, self.allowed, self.remarks = clock_of(rates), allowed, list[str]()
        self.fitted_on = ""
        usable, beyond, without_input, scored = [], list[Path](), [], list[xr.Dataset]()
        for path, head in zip(paths, heads, strict=True):
            self._turned(path, head)
            _refuse_unlike(path, head, heads[0])
            reference, ticks = head["forecast_reference_time"].values, self._ticks(head)
            if ticks is None:
                beyond.append(path)
            elif self._lacks_input(ticks):
                without_input.append(reference)
            else:
                usable.append((path, reference))
                scored.append(head)
        if beyond:
            self.remarks.append(
                f"{len(beyond)} of {len(paths)} forecasts were not scored, because they extend"
                f" beyond the observed frames; the first: {beyond[0]}"
            )
        if without_input:
            self.remarks.append(left_out(np.array(without_input), len(paths), allowed))
        self.ladder, self.rates_by = ladder_of(scored), sorted(rates_by(scored))
        self.members = members_in(scored) if scored else 0
        self.remarks += [*differences(scored), *conversions(scored), *_known_days(scored)]
        for remark in self.remarks:
            log.warning("%s", remark)
        self.paths = [path for path, _ in usable]
        self.times = np.array([time for _, time in usable], dtype="datetime64[ns]")
        _refuse_twice(self.paths, self.times)

    def read(self, indices: Sequence[int]) -> Cases:
        """Read these cases."""
        wholes: list[Tensor] = []
        for place, index in enumerate(indices):  # only one file at a time is in memory
            fields = self._fields(self.paths[index])
            wholes = wholes or [one.new_empty(len(indices), *one.shape) for one in fields]
            for whole, one in zip(wholes, fields, strict=True):
                whole[place] = one
        frames, rates, *rest = wholes
        members = rest.pop() if self.members else None
        past, observed = frames[:, : self.input_steps, None], frames[:, self.input_steps :]
        read = Forecast(rates, Probabilities(self.ladder, rest[0]) if rest else None, members)
        beside = {name: made_by(one, past) for name, one in self.predictors.items()}
        return cases_of(self.times[list(indices)], observed, {self.name: read, **beside})

    def _fields(self, path: Path) -> list[Tensor]:
        """Read from a forecast file the frames (t, h, w), the rates (lead, m, h, w), if any file
        has them the probabilities (lead, k, h, w), and if all have them the members (lead, n, h,
        w).
        """
        forecast = self._turned(path, open_forecast(path))
        rates = torch.from_numpy(np.ascontiguousarray(forecast[RATE].values))
        rates = rates if rates.ndim == 4 else rates[:, None]
        chances = [probabilities_at(self.ladder, forecast)] if self.ladder else []
        drawn = members_of(forecast) if self.members else None
        members = [] if drawn is None else [torch.from_numpy(np.ascontiguousarray(drawn))]
        return [self._frames(forecast), rates, *chances, *members]

    def _turned(self, path: Path, forecast: xr.Dataset) -> xr.Dataset:
        """Return a forecast in the order of the observed rows and columns; add a remark on its grid
        once.
        """
        forecast, remark = onto_grid(path, forecast, self.observed_grid)
        if remark and remark not in self.remarks:
            self.remarks.append(remark)
        return forecast

    def _frames(self, forecast: xr.Dataset) -> Tensor:
        """Return the frames up to the reference time and those of the valid times, (t, h, w), NaN
        if missing.
        """
        ticks = self._ticks(forecast)
        assert ticks is not None
        frames = np.full((len(ticks), *self.rates.frames.shape[1:]), np.nan, np.float32)
        for frame, row in zip(frames, self.clock.rows[ticks], strict=True):
            if row >= 0:
                frame[:] = self.rates.frames[row]
        return torch.from_numpy(frames)

    def _ticks(self, forecast: xr.Dataset) -> NDArray[np.int64] | None:
        """Return the places of these frames on the clock of the observations; None if some are
        beyond it, or between its ticks.
        """
        reference = forecast["forecast_reference_time"].values
        past = reference - self.rates.timestep * np.arange(self.input_steps)[::-1]
        wanted = np.concatenate([past, forecast["time"].values])
        ticks = np.searchsorted(self.clock.times, wanted).clip(max=self.clock.times.size - 1)
        found = self.clock.times.size > 0 and bool((self.clock.times[ticks] == wanted).all())
        return ticks if found else None

    def _lacks_input(self, ticks: NDArray[np.int64]) -> bool:
        """Whether the newest input frame of baselines is missing, or more others than allowed."""
        missing = self.clock.missing[ticks[: self.input_steps]]
        return bool(self.input_steps and (missing[-1] or missing.sum() > self.allowed))


def open_file_cases(
    config: EvaluateConfig, path: str, data: RadarConfig, name: str = ""
) -> FileCases:
    """Open the cases of the forecast files in a path, named `name`, or else after the method that
    made them.
    """
    paths = find_forecasts(path)
    heads, times, too_high = list[xr.Dataset](), list[Any](), list[str]()
    for file, one in zip(paths, map(open_forecast, paths), strict=True):
        heads.append(_head_of(one, heads[0] if heads else one))
        highest = float(one[RATE].max())
        if highest > data.max_rate:
            too_high.append(f"{file} holds {highest:.4g} mm/h")
        times += [one["forecast_reference_time"].values, one["time"].values[-1]]
    first, name = heads[0], name or name_of(heads)
    if name in config.baseline:
        raise ConfigError(
            f"baseline: {path} was already made by {name}; leave it out of the baselines."
        )
    moving = names_where("follows_rain", config.baseline)
    if config.input_steps is None and moving:
        raise ConfigError(
            f"input_steps: {', '.join(sorted(moving))} needs the number of past frames to use; add"
            " input_steps=5, for example."
        )
    input_steps = (config.input_steps or 1) if config.baseline else 0
    before = (first["time"].values[0] - first["forecast_reference_time"].values) * max(
        input_steps - 1, 0
    )
    period = Period(min(times) - before, max(times))
    grid = open_radar(data, Period(min(times), max(times)), around=period)
    rates = pack_radar(data, grid, period)
    baselines = {
        name: open_baseline(
            name, grid, data,
            input_steps=input_steps, lead_steps=first.sizes["time"],
            timestep_minutes=float(grid.attrs["timestep_minutes"]), members=config.members,
            seed=config.seed,
        )
        for name in config.baseline
    }  # fmt: skip
    cases = FileCases(
        name, paths, heads, rates, grid, baselines, input_steps, may_miss(config, input_steps)
    )
    if too_high:
        cases.remarks.append(
            f"{len(too_high)} of {len(paths)} forecasts hold rates above"
            f" data.max_rate={data.max_rate:g} mm/h; check the unit in the files; the first:"
            f" {too_high[0]}"
        )
        log.warning("%s", cases.remarks[-1])
    return cases


def _head_of(forecast: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    """Return a forecast whose rates, probabilities and members have a shape but no values. If its
    place is that of the first forecast, it is shared, so many forecasts need as little memory as
    one.
    """
    fields = [name for name in (RATE, PROBABILITY, MEMBER_RATE) if name in forecast]
    empty = {
        name: forecast[name].copy(data=np.broadcast_to(np.float32(np.nan), forecast[name].shape))
        for name in fields
    }
    head = forecast[fields].assign(empty)
    places = [name for name in head.coords if {"y", "x"} & set(head[name].dims)]
    same = [name for name in places if name in first and head[name].identical(first[name])]
    return head.assign_coords({name: first[name] for name in same})


def _known_days(scored: Sequence[xr.Dataset]) -> list[str]:
    """Return remarks if a model in nowcast made these forecasts and has seen some of their days."""
    by_model: dict[str, list[xr.Dataset]] = {}
    for head in scored:
        by_model.setdefault(str(head.attrs.get("checkpoint_sha256", "")), []).append(head)
    return [remark for heads in by_model.values() for remark in _days_of(heads)]


def _days_of(heads: Sequence[xr.Dataset]) -> list[str]:
    starts: list[Any] = [head["forecast_reference_time"].values for head in heads]
    ends: list[Any] = [head["time"].values[-1] for head in heads]
    return remarks_on_forecasts(heads[0], Period(min(starts), max(ends)))


def _refuse_unlike(path: Path, forecast: xr.Dataset, first: xr.Dataset) -> None:
    if not np.array_equal(forecast["lead_time"], first["lead_time"]):
        raise DataError(
            f"{path}: lead times differ from the first forecast file; score them separately."
        )
    if forecast[RATE].shape[:-2] != first[RATE].shape[:-2]:
        raise DataError(
            f"{path}: the number of members differs from the first forecast file; score them"
            " separately."
        )


def _refuse_twice(paths: Sequence[Path], times: NDArray[np.datetime64]) -> None:
    """Errors: DataError if two files forecast from the same time."""
    first: dict[str, Path] = {}
    for path, time in zip(paths, times.astype("datetime64[s]").astype(str), strict=True):
        if first.setdefault(time, path) != path:
            raise DataError(
                f"{path}: forecasts from {time} UTC, like {first[time]}; score them separately."
            )
