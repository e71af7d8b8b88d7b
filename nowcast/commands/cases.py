"""What `nowcast evaluate` scores: cases made by a model and by baselines, or read from forecast files, one batch at a time."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.commands.baselines import open_baseline
from nowcast.commands.beside_rain import open_fields, refuse_too_many_missing
from nowcast.commands.inputs import (
    moving_mnist_windows,
    open_forecaster,
    open_radar,
    pack_radar,
    refuse_other_size,
    refuse_other_timestep,
    require_radar,
)
from nowcast.config import EvaluateConfig
from nowcast.config_data import MovingMnistConfig, RadarConfig
from nowcast.errors import ConfigError, DataError
from nowcast.forecast import Forecaster, find_forecasts, open_forecast
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.tiling import Tiling, choose_tiling, forecast_in_tiles
from nowcast.radar.georeference import grid_differs, place_of_grid
from nowcast.radar.grid import RATE
from nowcast.radar.place import first_row
from nowcast.sequences import PackedRates, Period, Pick, RadarWindows, Sampling, Scaling, Windows, parse_period
from nowcast.training import Precision
from nowcast.verification.frames import Origin

log = logging.getLogger(__name__)

MODEL = "model"
"""The name in tables and pictures of the forecasts of a checkpoint."""
Predictor = Callable[[Tensor], Tensor]
"""The past (b, t, 1 + k, h, w) → rates (b, lead, m, h, w), mm/h."""


@dataclass(frozen=True)
class Cases:
    """Some cases, in mm/h, NaN = missing.

    times: (b,) forecast reference times; the numbers of the sequences, as minutes, where frames have none.
    observed: (b, lead, h, w).
    forecasts: each (b, lead, m, h, w), by name, the one that is to be judged first.
    """

    times: NDArray[np.datetime64]
    observed: Tensor
    forecasts: Mapping[str, Tensor]


class Source(Protocol):
    """Where cases come from; any of them can be had again.

    times: (n,) of all cases. lead_minutes: their lead times. grid: where pixels lie; None where they have no place.
    predictors: what forecasts anew, by name.
    """

    times: NDArray[np.datetime64]
    lead_minutes: list[float]
    grid: xr.Dataset | None
    predictors: Mapping[str, Predictor]

    def read(self, indices: Sequence[int]) -> Cases: ...


def open_source(config: EvaluateConfig, precision: Precision) -> Source:
    """The cases that the configuration names. Errors: as all that it opens."""
    if config.forecasts is not None:
        return _open_files(config, config.forecasts, require_radar(config.data))
    if isinstance(config.data, MovingMnistConfig):
        return _open_digits(config, config.data, precision)
    return _open_radar(config, require_radar(config.data), precision)


def label_of(time: np.datetime64, source: Source) -> str:
    """A case in words."""
    if source.grid is None:
        return f"sequence {int(time.astype('datetime64[m]').astype(int))}"
    return f"{np.datetime_as_string(time, unit='m').replace('T', ' ')} UTC"


def origin_of(grid: xr.Dataset | None) -> Origin:
    """'lower' where row 0 of the grid lies in the south."""
    return "lower" if first_row(place_of_grid(grid)) == "south" else "upper"


class WindowCases:
    """Cases made here and now: windows of a series, those of `picks`, forecast by each of `predictors`."""

    def __init__(
        self,
        windows: Windows,
        picks: Sequence[Pick],
        rates: PackedRates | None,
        predictors: Mapping[str, Predictor],
        lead_minutes: list[float],
        grid: xr.Dataset | None,
        device: torch.device,
        drop_frames: int = 0,
    ) -> None:
        self.windows, self.picks, self.rates, self.predictors = windows, picks, rates, predictors
        self.lead_minutes, self.grid, self.device, self.drop_frames = lead_minutes, grid, device, drop_frames
        self.times = np.array([self._time(pick) for pick in self.picks], dtype="datetime64[ns]")

    def read(self, indices: Sequence[int]) -> Cases:
        """These cases, forecast."""
        steps = self.windows.input_steps
        sequence = torch.stack([self.windows[self.picks[index]] for index in indices]).to(self.device)
        past, observed = sequence[:, :steps], sequence[:, steps:, 0]
        forecasts = {}
        for name, predictor in self.predictors.items():
            seen = past
            if self.drop_frames and isinstance(predictor, ModelPredictor):
                missing = frames_taken_away([self._seed(index) for index in indices], steps, self.drop_frames)
                seen = predictor.forecaster.inputs.without(past, missing.to(past.device))
            forecasts[name] = predictor(seen)
        return Cases(self.times[list(indices)], observed, forecasts)

    def _time(self, pick: Pick) -> np.datetime64:
        if self.rates is None:
            return np.datetime64(pick.start, "m")
        return self.rates.times[pick.start + self.windows.input_steps - 1]  # type: ignore[no-any-return]

    def _seed(self, index: int) -> int:
        if self.rates is None:
            return self.picks[index].start
        return abs(int(self.times[index].astype("datetime64[s]").astype(int)))


@dataclass
class ModelPredictor:
    """A trained model on its device, in tiles where the whole grid does not fit into memory."""

    forecaster: Forecaster
    precision: Precision
    _tiling: Tiling | None = None

    def __call__(self, past: Tensor) -> Tensor:
        """The past (b, t, 1 + k, h, w) → rates (b, lead, 1, h, w)."""
        if self._tiling is None:  # the first batch is the largest
            self._tiling = choose_tiling(self.forecaster, past.shape, memory_allowed(None, self.precision.device))
        with self.precision.autocast():
            return forecast_in_tiles(self.forecaster, past, self.forecaster.lead_steps, self._tiling)


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


def frames_taken_away(seeds: Sequence[int], steps: int, count: int) -> Tensor:
    """Which `count` of `steps` input frames a case loses, (b, steps), never the newest: by its seed the same ones in every run."""
    missing = torch.zeros(len(seeds), steps, dtype=torch.bool)
    for row, seed in zip(missing, seeds, strict=True):
        row[np.random.default_rng(seed).permutation(steps - 1)[:count]] = True
    return missing


def _open_digits(config: EvaluateConfig, data: MovingMnistConfig, precision: Precision) -> WindowCases:
    if config.checkpoint is None:
        raise ConfigError("checkpoint: give a trained model; baselines alone are for radar.")
    strangers = set(config.baseline) - {"persistence", "zero"}
    if strangers:
        raise ConfigError(f"baseline: {', '.join(sorted(strangers))} is for radar; choose persistence or zero beside digits.")
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision)
    refuse_too_many_missing("drop_frames", config.drop_frames, forecaster)
    _refuse_other_kind(config.checkpoint, checkpoint["config"]["data"]["name"], data.path, on_digits=True)
    windows = moving_mnist_windows(data, "test", forecaster.input_steps, forecaster.lead_steps, 0)
    steps = {"input_steps": forecaster.input_steps, "lead_steps": forecaster.lead_steps}
    predictors: dict[str, Predictor] = {MODEL: ModelPredictor(forecaster, precision)}
    for name in config.baseline:
        predictors[name] = open_baseline(
            name, None, None, **steps, timestep_minutes=1.0, members=config.members, seed=config.seed
        )
    lead_minutes = list(np.arange(1.0, forecaster.lead_steps + 1))
    picks = windows.epoch(0)
    return WindowCases(windows, picks, None, predictors, lead_minutes, None, precision.device, config.drop_frames)


def _open_radar(config: EvaluateConfig, data: RadarConfig, precision: Precision) -> WindowCases:
    period = _period(config, data)
    opened = open_forecaster(config.checkpoint, precision) if config.checkpoint is not None else None
    input_steps, lead_steps = (opened[0].input_steps, opened[0].lead_steps) if opened else _steps(config)
    grid = open_radar(data, period)
    minutes = float(grid.attrs["timestep_minutes"])
    reach = _reach(period, grid, input_steps, lead_steps)
    grid = open_radar(data, reach)
    predictors: dict[str, Predictor] = {}
    scaling, fields = Scaling("linear", 1.0, 1.0), None
    if opened:
        forecaster, checkpoint = opened
        refuse_too_many_missing("drop_frames", config.drop_frames, forecaster)
        _refuse_other_kind(str(config.checkpoint), checkpoint["config"]["data"]["name"], data.path, on_digits=False)
        _warn_of_known_days(Period(period.start, reach.end), checkpoint["config"]["data"])
        refuse_other_timestep(forecaster, minutes, data.path)
        refuse_other_size(checkpoint, grid, data.path)
        fields = open_fields(checkpoint["config"], grid, reach, data.cache, config.input_paths)
        predictors[MODEL] = ModelPredictor(forecaster, precision)
        scaling = forecaster.scaling
    for name in config.baseline:
        predictors[name] = open_baseline(
            name, grid, data,
            input_steps=input_steps, lead_steps=lead_steps, timestep_minutes=minutes, members=config.members, seed=config.seed,
        )  # fmt: skip
    rates = pack_radar(data, grid, reach)
    sampling = Sampling(min_wet_share=config.min_wet_share)
    windows = RadarWindows(
        rates, reach, input_steps=input_steps, lead_steps=lead_steps, scaling=scaling, sampling=sampling, fields=fields
    )
    lead_minutes = [minutes * step for step in range(1, lead_steps + 1)]
    picks = _picks_of(windows, period, config.stride)
    return WindowCases(windows, picks, rates, predictors, lead_minutes, grid, precision.device, config.drop_frames)


def _reach(period: Period, grid: xr.Dataset, input_steps: int, lead_steps: int) -> Period:
    """The frames of all cases of a period, which are those whose forecast reference time lies in it: so no case is lost between
    two periods, and their counts add up to those of both.
    """
    timestep = np.timedelta64(round(grid.attrs["timestep_minutes"] * 60), "s")
    return Period(period.start - timestep * (input_steps - 1), period.end + timestep * lead_steps)


def _picks_of(windows: RadarWindows, period: Period, stride: int) -> list[Pick]:
    """The windows whose reference time lies in the period, every `stride`-th frame from its start on, whatever is missing between.

    Errors: DataError where there is none.
    """
    picks = windows.epoch(0)
    times = windows.rates.times[[pick.start + windows.input_steps - 1 for pick in picks]]
    steps = (times - period.start) // windows.rates.timestep
    chosen = (times >= period.start) & (times <= period.end) & (steps % stride == 0)
    if not chosen.any():
        raise DataError(f"no case from {period}: all of its reference times lack a frame, or rain; give another period.")
    return [pick for pick, take in zip(picks, chosen, strict=True) if take]


def _open_files(config: EvaluateConfig, path: str, data: RadarConfig) -> FileCases:
    paths = find_forecasts(path)
    first = open_forecast(paths[0])
    name = str(first.attrs.get("method", MODEL))
    if name in config.baseline:
        raise ConfigError(f"baseline: {path} was made by {name} itself; leave it out of the baselines.")
    moving = set(config.baseline) - {"persistence", "climatology", "zero"}
    if config.input_steps is None and moving:
        raise ConfigError(f"input_steps: give the number of past frames that {', '.join(sorted(moving))} see, as input_steps=5.")
    input_steps = config.input_steps or 1
    times = np.concatenate([[one["forecast_reference_time"].values, one["time"].values[-1]] for one in map(open_forecast, paths)])
    before = (first["time"].values[0] - first["forecast_reference_time"].values) * (input_steps - 1)
    period = Period(times.min() - before, times.max())
    grid = open_radar(data, period)
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


def _steps(config: EvaluateConfig) -> tuple[int, int]:
    """Errors: ConfigError where baselines without a checkpoint are not told how much they see and forecast."""
    if config.input_steps is None or config.lead_steps is None:
        raise ConfigError(
            "checkpoint: give a trained model to score, or forecasts=… or counts=…; to score baselines alone give input_steps and lead_steps."
        )
    return config.input_steps, config.lead_steps


def _refuse_other_kind(checkpoint: str, trained_on: str, path: str, *, on_digits: bool) -> None:
    if (trained_on == "moving_mnist") != on_digits:
        kind, given = ("radar", "moving_mnist") if on_digits else ("moving_mnist", path)
        raise ConfigError(f"data: the model of {checkpoint} was trained on {kind}, and {given} is something else.")


def _refuse_other_grid(path: Path, forecast: xr.Dataset, first: xr.Dataset, grid: xr.Dataset) -> None:
    difference = grid_differs(forecast, grid)
    if difference:
        raise DataError(f"{path}: its grid is not that of the observations ({difference}); give observations on the same grid.")
    if not np.array_equal(forecast["lead_time"], first["lead_time"]):
        raise DataError(f"{path}: other lead times than in the first forecast file; score them apart.")
    if forecast[RATE].shape[:-2] != first[RATE].shape[:-2]:
        raise DataError(f"{path}: another number of members than in the first forecast file; score them apart.")


def _period(config: EvaluateConfig, data: RadarConfig) -> Period:
    if config.period is not None:
        return parse_period("period", config.period)
    if data.test is not None:
        return parse_period("data.test", data.test)
    raise ConfigError("period: give the first and the last day to score, as period=[2018-05-17,2018-05-20], or set data.test.")


def _warn_of_known_days(period: Period, trained_on: dict[str, object]) -> None:
    """Scores over days that the model has seen tell nothing of days that it has not."""
    for split in ("train", "validation"):
        days = trained_on.get(split)
        if not isinstance(days, list):
            continue
        known = parse_period(f"data.{split}", days)
        if period.start <= known.end and known.start <= period.end:
            log.warning("the period %s overlaps the %s days of this model (%s): its scores will flatter it", period, split, known)
