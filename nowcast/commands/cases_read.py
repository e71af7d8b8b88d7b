"""Cases read from forecast files, with baselines forecast beside them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.commands.baselines import open_baseline
from nowcast.commands.cases import MODEL, Cases, Predictor
from nowcast.commands.inputs import pack_radar
from nowcast.commands.radar_files import open_radar
from nowcast.config_data import RadarConfig
from nowcast.config_forecasts import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.forecast import find_forecasts, open_forecast
from nowcast.periods import Period
from nowcast.printable import printable
from nowcast.radar.georeference import grid_differs
from nowcast.radar.grid import RATE
from nowcast.sequences import PackedRates

log = logging.getLogger(__name__)

CHAIN = "chain"
"""What forecasts by several methods are called, each made by the first of a chain that could."""


class FileCases:
    """Cases read from forecast files, one a file, and baselines forecast beside them."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        first: xr.Dataset,
        rates: PackedRates,
        grid: xr.Dataset,
        baselines: Mapping[str, Predictor],
        input_steps: int,
    ) -> None:
        self.name, self.rates, self.predictors, self.input_steps = name, rates, baselines, input_steps
        self.grid: xr.Dataset | None = grid
        self.lead_minutes = [float(minutes) for minutes in first["lead_time"].values]
        usable = []
        for path in paths:
            forecast = open_forecast(path)
            _refuse_other_grid(path, forecast, first, grid)
            if self._index(forecast) is not None:
                usable.append((path, forecast["forecast_reference_time"].values))
        if len(usable) < len(paths):
            without = next(path for path in paths if path not in {one for one, _ in usable})
            log.warning(
                "%d of %d forecasts were not scored, for lack of observed frames; the first: %s",
                len(paths) - len(usable), len(paths), without,
            )  # fmt: skip
        self.paths = [path for path, _ in usable]
        self.times = np.array([time for _, time in usable], dtype="datetime64[ns]")
        _refuse_twice(self.paths, self.times)

    def read(self, indices: Sequence[int]) -> Cases:
        """These cases, read."""
        forecasts = [open_forecast(self.paths[index]) for index in indices]
        frames = torch.stack([self._frames(forecast) for forecast in forecasts])
        past, observed = frames[:, : self.input_steps, None], frames[:, self.input_steps :]
        values = torch.stack([torch.from_numpy(forecast[RATE].values) for forecast in forecasts])
        if values.ndim == 4:
            values = values[:, :, None]
        beside = {name: baseline(past) for name, baseline in self.predictors.items()}
        return Cases(self.times[list(indices)], observed, {self.name: values, **beside})

    def _frames(self, forecast: xr.Dataset) -> Tensor:
        index = self._index(forecast)
        assert index is not None
        return torch.from_numpy(np.array(self.rates.frames[index]))

    def _index(self, forecast: xr.Dataset) -> NDArray[np.int64] | None:
        """Where the frames up to the reference time, and those of the valid times, stand in the series; None where some do not."""
        reference = forecast["forecast_reference_time"].values
        past = reference - self.rates.timestep * np.arange(self.input_steps)[::-1]
        wanted = np.concatenate([past, forecast["time"].values])
        index = np.searchsorted(self.rates.times, wanted).clip(max=self.rates.times.size - 1)
        found = self.rates.times.size > 0 and bool((self.rates.times[index] == wanted).all())
        return index if found else None


def open_file_cases(config: EvaluateConfig, path: str, data: RadarConfig) -> FileCases:
    paths = find_forecasts(path)
    first = open_forecast(paths[0])
    made_by, times = Counter[str](), list[Any]()
    for one in map(open_forecast, paths):
        made_by[printable(str(one.attrs.get("method", MODEL)))] += 1
        times += [one["forecast_reference_time"].values, one["time"].values[-1]]
    name = _name_of(made_by)
    if name in config.baseline:
        raise ConfigError(f"baseline: {path} was made by {name} itself; leave it out of the baselines.")
    moving = set(config.baseline) - {"persistence", "climatology", "zero"}
    if config.input_steps is None and moving:
        raise ConfigError(f"input_steps: give the number of past frames that {', '.join(sorted(moving))} see, as input_steps=5.")
    input_steps = config.input_steps or 1
    before = (first["time"].values[0] - first["forecast_reference_time"].values) * (input_steps - 1)
    period = Period(min(times) - before, max(times))
    grid = open_radar(data, Period(min(times), max(times)), around=period)
    rates = pack_radar(data, grid, period)
    baselines = {
        name: open_baseline(
            name, grid, data,
            input_steps=input_steps, lead_steps=first.sizes["time"], timestep_minutes=float(grid.attrs["timestep_minutes"]),
            members=config.members, seed=config.seed,
        )
        for name in config.baseline
    }  # fmt: skip
    return FileCases(name, paths, first, rates, grid, baselines, input_steps)


def _name_of(made_by: Counter[str]) -> str:
    """The method that made all forecasts; CHAIN where some were made by another, as where frames were missing, which is said."""
    if len(made_by) == 1:
        return next(iter(made_by))
    parts = ", ".join(f"{count} by {method}" for method, count in made_by.most_common())
    log.info("%d forecasts, scored together as %s: %s", made_by.total(), CHAIN, parts)
    return CHAIN


def _refuse_other_grid(path: Path, forecast: xr.Dataset, first: xr.Dataset, grid: xr.Dataset) -> None:
    difference = grid_differs(forecast, grid)
    if difference:
        raise DataError(f"{path}: its grid is not that of the observations ({difference}); give observations on the same grid.")
    if not np.array_equal(forecast["lead_time"], first["lead_time"]):
        raise DataError(f"{path}: other lead times than in the first forecast file; score them apart.")
    if forecast[RATE].shape[:-2] != first[RATE].shape[:-2]:
        raise DataError(f"{path}: another number of members than in the first forecast file; score them apart.")


def _refuse_twice(paths: Sequence[Path], times: NDArray[np.datetime64]) -> None:
    """Errors: DataError where two files forecast from the same time."""
    first: dict[str, Path] = {}
    for path, time in zip(paths, times.astype("datetime64[s]").astype(str), strict=True):
        if first.setdefault(time, path) != path:
            raise DataError(f"{path}: forecasts from {time} UTC, as {first[time]} does; score them apart.")
