"""`nowcast evaluate`: a model or forecast files against what was then observed → counts, scores, pictures."""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

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
from nowcast.forecast import Forecaster, find_forecasts, open_forecast, persistence
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.tiling import Tiling, choose_tiling, forecast_in_tiles
from nowcast.radar.georeference import same_coordinates
from nowcast.radar.grid import RATE
from nowcast.radar.place import first_row
from nowcast.sequences import PackedRates, Period, RadarWindows, Sampling, Windows, parse_period
from nowcast.training import Precision, choose_precision
from nowcast.verification import Counts, common_pixels, count, draw_csi, draw_frames, headline_text, scores_dataset, write_scores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cases:
    """Some forecasts and what belongs to them, in mm/h, NaN = missing.

    past: (b, t, 1, h, w), its last frame at the forecast reference time; observed, forecast: (b, lead, 1, h, w).
    reference_times: (b,) as text.
    """

    past: Tensor
    observed: Tensor
    forecast: Tensor
    reference_times: Sequence[str]


def evaluate(config: EvaluateConfig) -> None:
    """Score, write scores.nc and scores.csv, draw csi.png and frames.png, print the headline table."""
    if config.forecasts is not None:
        cases, lead_minutes, origin = cases_of_files(config, require_radar(config.data))
    else:
        cases, lead_minutes, origin = cases_of_model(config, choose_precision(config.device, config.precision))
    counts, wettest = score(cases, config.thresholds)
    dataset = scores_dataset(counts, lead_minutes)
    folder = Path(config.output)
    paths = [*write_scores(dataset, folder), draw_csi(dataset, folder / "csi.png")]
    paths.append(draw_case(wettest, lead_minutes, origin, folder / "frames.png"))
    print(headline_text(dataset))
    for path in paths:
        print(path)


def score(cases: Iterator[Cases], thresholds: Sequence[float]) -> tuple[dict[str, Counts], Cases]:
    """Counts of the forecasts and of persistence over the same pixels, and the case with the most observed rain."""
    counts: dict[str, Counts] = {}
    wettest, most_rain = None, -1.0
    for part in cases:
        lead_steps = part.observed.shape[1]
        fields = common_pixels(part.observed, part.forecast, persistence(part.past, lead_steps))
        for name, forecast in zip(("model", "persistence"), fields[1:], strict=True):
            counts[name] = counts.get(name, Counts.zeros(thresholds, lead_steps)) + count(forecast, fields[0], thresholds)
        rain = part.observed.nan_to_num(0.0).mean(dim=(1, 2, 3, 4))
        most = int(rain.argmax())
        if rain[most].item() > most_rain:
            most_rain = rain[most].item()
            one = slice(most, most + 1)
            wettest = Cases(part.past[one], part.observed[one], part.forecast[one], [part.reference_times[most]])
    if wettest is None:
        raise DataError("there is no case to score; give another period, or other forecast files.")
    if not counts["model"].pixels.any():
        raise DataError("no pixel is covered by observation, forecast and persistence alike; there is nothing to score.")
    return counts, wettest


def cases_of_model(config: EvaluateConfig, precision: Precision) -> tuple[Iterator[Cases], list[float], str]:
    """Forecasts made here and now by the model of a checkpoint, the lead times in minutes, and where row 0 lies."""
    assert config.checkpoint is not None
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision)
    refuse_too_many_missing("drop_frames", config.drop_frames, forecaster)
    on_digits = checkpoint["config"]["data"]["name"] == "moving_mnist"
    if on_digits != isinstance(config.data, MovingMnistConfig):
        kinds = ("moving_mnist", config.data.path) if on_digits else ("radar", "moving_mnist")
        raise ConfigError(f"data: the model of {config.checkpoint} was trained on {kinds[0]}, and {kinds[1]} is something else.")
    if isinstance(config.data, MovingMnistConfig):
        windows: Windows = moving_mnist_windows(config.data, "test", forecaster.input_steps, forecaster.lead_steps, 0)
        return _forecast(windows, None, forecaster, precision, config), list(np.arange(1.0, forecaster.lead_steps + 1)), "upper"
    data = require_radar(config.data)
    period = _period(config, data)
    _warn_of_known_days(period, checkpoint["config"]["data"])
    grid = open_radar(data, period)
    refuse_other_timestep(forecaster, grid.attrs["timestep_minutes"], data.path)
    refuse_other_size(checkpoint, grid, data.path)
    rates = pack_radar(data, grid, period)
    windows = RadarWindows(
        rates,
        period,
        input_steps=forecaster.input_steps,
        lead_steps=forecaster.lead_steps,
        scaling=forecaster.scaling,
        sampling=Sampling(stride=config.stride, min_wet_share=config.min_wet_share),
        fields=open_fields(checkpoint["config"], grid, period, data.cache, config.input_paths),
    )
    minutes = rates.timestep / np.timedelta64(1, "m")
    lead_minutes = [float(minutes * step) for step in range(1, forecaster.lead_steps + 1)]
    return _forecast(windows, rates, forecaster, precision, config), lead_minutes, _origin(grid)


def _forecast(
    windows: Windows, rates: PackedRates | None, forecaster: Forecaster, precision: Precision, config: EvaluateConfig
) -> Iterator[Cases]:
    picks = windows.epoch(0)
    steps = forecaster.input_steps
    tiling: Tiling | None = None
    with tqdm(total=len(picks), desc="scoring", unit="case", leave=False, disable=None, file=sys.stderr) as bar:
        for first in range(0, len(picks), config.batch_size):
            some = picks[first : first + config.batch_size]
            sequence = torch.stack([windows[pick] for pick in some]).to(precision.device)
            past, observed = sequence[:, :steps], sequence[:, steps:, :1]
            seen = past
            if config.drop_frames:
                seconds = [_seconds(rates.times[pick.start + steps - 1]) if rates else pick.start for pick in some]
                missing = frames_taken_away(seconds, steps, config.drop_frames)
                seen = forecaster.inputs.without(past, missing.to(past.device))
            tiling = tiling or choose_tiling(forecaster, seen.shape, memory_allowed(None, precision.device))
            with precision.autocast():
                forecast = forecast_in_tiles(forecaster, seen, forecaster.lead_steps, tiling)
            times = [_show(rates.times[pick.start + steps - 1]) if rates else f"sequence {pick.start}" for pick in some]
            yield Cases(past[:, :, :1], observed, forecast, times)
            bar.update(len(some))


def frames_taken_away(seeds: Sequence[int], steps: int, count: int) -> Tensor:
    """Which `count` of `steps` input frames a case loses, (b, steps), never the newest: by its seed the same ones in every run."""
    missing = torch.zeros(len(seeds), steps, dtype=torch.bool)
    for row, seed in zip(missing, seeds, strict=True):
        row[np.random.default_rng(seed).permutation(steps - 1)[:count]] = True
    return missing


def cases_of_files(config: EvaluateConfig, data: RadarConfig) -> tuple[Iterator[Cases], list[float], str]:
    """Forecast files, the lead times in minutes that they all have, and where row 0 lies."""
    assert config.forecasts is not None
    paths = find_forecasts(config.forecasts)
    first = open_forecast(paths[0])
    times = np.concatenate([_times(forecast) for forecast in map(open_forecast, paths)])
    period = Period(times.min(), times.max())
    grid = open_radar(data, period)
    rates = pack_radar(data, grid, period)
    return _read(paths, first, rates, grid), [float(minutes) for minutes in first["lead_time"].values], _origin(grid)


def _read(paths: Sequence[Path], first: xr.Dataset, rates: PackedRates, grid: xr.Dataset) -> Iterator[Cases]:
    skipped = []
    for path in tqdm(paths, "scoring", unit="case", leave=False, disable=None, file=sys.stderr):
        forecast = open_forecast(path)
        _refuse_other_grid(path, forecast, first, grid)
        wanted = _times(forecast)
        index = np.searchsorted(rates.times, wanted).clip(max=rates.times.size - 1)
        if rates.times.size == 0 or not (rates.times[index] == wanted).all():
            skipped.append(path)
            continue
        observed = torch.from_numpy(np.array(rates.frames[index]))[None, :, None]
        values = torch.from_numpy(forecast[RATE].values)[None, :, None]
        yield Cases(observed[:, :1], observed[:, 1:], values, [_show(wanted[0])])
    if skipped:
        log.warning(
            "%d of %d forecasts were not scored, for lack of observed frames; the first: %s", len(skipped), len(paths), skipped[0]
        )


def _times(forecast: xr.Dataset) -> NDArray[np.datetime64]:
    """The forecast reference time and the valid times of a forecast."""
    return np.concatenate([[forecast["forecast_reference_time"].values], forecast["time"].values])


def _refuse_other_grid(path: Path, forecast: xr.Dataset, first: xr.Dataset, grid: xr.Dataset) -> None:
    if forecast[RATE].shape[1:] != grid[RATE].shape[1:]:
        raise DataError(
            f"{path}: its grid of {forecast[RATE].shape[1:]} is not that of the observations, {grid[RATE].shape[1:]}."
        )
    for axis in ("y", "x", "latitude", "longitude"):
        if axis not in forecast.coords or axis not in grid.coords:
            continue
        if not same_coordinates(grid[axis].values, forecast[axis].values):
            raise DataError(
                f"{path}: its {axis} coordinates are not those of the observations; give observations on the same grid."
            )
    if not np.array_equal(forecast["lead_time"], first["lead_time"]):
        raise DataError(f"{path}: other lead times than in the first forecast file; score them apart.")


def draw_case(case: Cases, lead_minutes: Sequence[float], origin: str, path: Path) -> Path:
    """Draw what was observed beside what was forecast, for one case."""
    fields = {"model": case.forecast, "persistence": persistence(case.past, case.observed.shape[1])}
    return draw_frames(
        path,
        _frames(case.observed),
        {name: _frames(field) for name, field in fields.items()},
        lead_minutes,
        f"Forecast from {case.reference_times[0]}, the wettest of the cases scored",
        origin="lower" if origin == "lower" else "upper",
    )


def _frames(field: Tensor) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
    """(1, lead, 1, h, w) → (lead, h, w)."""
    return field[0, :, 0].float().cpu().numpy()


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


def _origin(grid: xr.Dataset) -> str:
    """'lower' where row 0 of the grid lies in the south."""
    place = {str(name): coordinate.variable for name, coordinate in grid.coords.items()}
    return "lower" if first_row(place) == "south" else "upper"


def _seconds(time: np.datetime64) -> int:
    """Since 1970, the same in whatever units `time` is."""
    return abs(int(time.astype("datetime64[s]").astype(int)))


def _show(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='m').replace('T', ' ')} UTC"
