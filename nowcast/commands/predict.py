"""`nowcast predict`: checkpoint + radar files → one forecast file."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nowcast.commands.beside_rain import open_fields, refuse_too_many_missing
from nowcast.commands.inputs import open_forecaster, open_radar, reading, refuse_other_size, refuse_other_timestep
from nowcast.config import PredictConfig
from nowcast.config_data import RadarConfig
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.files import sha256
from nowcast.forecast import Forecaster, build_forecast, write_forecast
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.tiling import choose_tiling, forecast_in_tiles
from nowcast.radar import find_files, newest_files, open_files
from nowcast.radar.grid import RATE
from nowcast.radar.patterns import is_time_pattern
from nowcast.radar.times import Times
from nowcast.sequences import Fields, Inputs, Period, parse_time
from nowcast.training import Precision, choose_precision

log = logging.getLogger(__name__)

_MORE = 2  # frames more than a forecast needs, from which their spacing is told where some of them are missing


def predict(config: PredictConfig) -> Path:
    """Forecast from the frames up to `at`, or up to the newest. → the path of the file written."""
    precision = choose_precision(config.device, config.precision)
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision)
    refuse_too_many_missing("missing_frames", config.missing_frames, forecaster)
    timestep = spacing(forecaster, config.checkpoint)
    at = parse_time("at", config.at) if config.at else None
    grid = open_latest(config.data, forecaster.input_steps, timestep, at)
    refuse_other_size(checkpoint, grid, config.data.path)
    past, missing = newest_frames(grid, forecaster, config)
    times = past["time"].values
    fields = open_fields(checkpoint["config"], grid, Period(times[0], times[-1]), None, config.input_paths)
    raw = raw_frames(past, missing, fields, forecaster.inputs)
    forecast = forecast_rates(raw, forecaster, precision, config.max_memory_gb)

    reference_time = times[-1]
    provenance = {
        "checkpoint": str(config.checkpoint),
        "checkpoint_sha256": sha256(config.checkpoint),
        "checkpoint_versions": checkpoint["versions"],
        "config": asdict(config),
        "inputs": config.data.path,
        "input_times": [f"{time:.19}Z" for time in times[~missing].astype(str)],
        "missing_input_times": [f"{time:.19}Z" for time in times[missing].astype(str)],
    }
    path = Path(reference_time.astype("datetime64[s]").item().strftime(config.output))
    refuse_overwriting(path, config, times)
    write_forecast(build_forecast(forecast, grid, reference_time, timestep, provenance), path)
    log.info(
        "forecast from %s UTC, %d steps of %g minutes: %s",
        f"{reference_time:.16}",
        len(forecast),
        forecaster.timestep_minutes,
        path,
    )
    return path


def refuse_overwriting(path: Path, config: PredictConfig, times: Times) -> None:
    """Errors: ConfigError where the forecast would take the place of what it is made from, files of these times among it."""
    files = find_files(config.data.path, (times[0], times[-1]), config.data.format)
    sources = {Path(config.checkpoint).resolve(), *(source.resolve() for source in files)}
    if path.resolve() in sources:
        raise ConfigError(f"output: {path} is an input of this forecast; choose another.")


def open_latest(data: RadarConfig, steps: int, timestep: np.timedelta64, at: np.datetime64 | None) -> xr.Dataset:
    """As open_radar; but of a pattern of times only the files of the `steps` frames up to `at`, or of the newest, and a few more."""
    if not is_time_pattern(data.path):
        return open_radar(data)
    if at is not None:
        return open_radar(data, Period(at - (steps + _MORE) * timestep, at))
    return open_files(newest_files(data.path, steps + _MORE, data.format), reading(data))


def newest_frames(grid: xr.Dataset, forecaster: Forecaster, config: PredictConfig) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """The last `input_steps` frames up to `at`, or up to the newest frame; and which of them are missing, NaN all over.

    Errors: MissingInputError where the newest is not there, or more others than `missing_frames` are not.
    """
    times = grid["time"].values
    reference_time = parse_time("at", config.at) if config.at else times[-1]
    timestep = spacing(forecaster, config.checkpoint)
    if times.size > forecaster.input_steps:
        refuse_other_timestep(forecaster, grid.attrs["timestep_minutes"], config.data.path)
    wanted = reference_time - timestep * np.arange(forecaster.input_steps)[::-1]
    absent = ~np.isin(wanted, times)
    if absent[-1] or absent.sum() > config.missing_frames:
        others = "" if absent[-1] else f", or missing_frames={absent.sum()}"
        raise MissingInputError(
            f"{config.data.path}: no frame at {wanted[absent][0]:.16} UTC, and the forecast needs {forecaster.input_steps} frames up "
            f"to {reference_time:.16}; the data hold {times[0]:.16} to {times[-1]:.16}. Give another 'at', or the missing files{others}."
        )
    past = grid.sel(time=wanted[~absent]).load().reindex(time=wanted, copy=False)
    missing: NDArray[np.bool_] = past[RATE].isnull().all(("y", "x")).values
    if missing[-1] or missing.sum() > config.missing_frames:
        empty = wanted[-1] if missing[-1] else wanted[missing & ~absent][0]
        raise MissingInputError(f"{config.data.path}: the frame at {empty:.16} UTC holds no measured pixel; give another 'at'.")
    return past, missing


def raw_frames(past: xr.Dataset, missing: NDArray[np.bool_], fields: Fields | None, inputs: Inputs) -> Tensor:
    """The past, and what lies beside its rain, (1, t, 1 + k, h, w), its missing frames as the model is to see them, which is said."""
    times = past["time"].values
    raw = past[RATE].values[:, np.newaxis]
    if fields is not None:
        height, width = raw.shape[2:]
        raw = np.concatenate([raw, fields.read(times, slice(0, height), slice(0, width))], axis=1)
    tensor = torch.from_numpy(raw)[None]
    if not missing.any():
        return tensor
    instead = "masked for the model" if inputs.mask else "the model has no mask and sees the frame before, or after, once more"
    log.warning("no frame at %s UTC: %s", ", ".join(f"{time:.16}" for time in times[missing]), instead)
    return inputs.without(tensor, torch.from_numpy(missing)[None])


def forecast_rates(raw: Tensor, forecaster: Forecaster, precision: Precision, max_memory_gb: float | None) -> NDArray[np.float32]:
    """The past (1, t, 1 + k, h, w) → forecast rates (lead, h, w), in tiles where the whole needs more memory than allowed.

    Errors: DeviceError where tiles do, too.
    """
    tiling = choose_tiling(forecaster, raw.shape, memory_allowed(max_memory_gb, precision.device))
    count = len(tiling.tiles)
    if count > 1:
        log.info("forecast in %s", tiling)
    whole = None if count > 1 else True  # has no bar
    with precision.autocast(), tqdm(desc="forecasting", unit="tile", leave=False, disable=whole, file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        made = forecast_in_tiles(lambda part: forecaster(part.to(precision.device)), raw, forecaster.lead_steps, tiling, progress)
    values: NDArray[np.float32] = made[0, :, 0].cpu().numpy()
    return values


def spacing(forecaster: Forecaster, checkpoint: str) -> np.timedelta64:
    """The timestep that the model was trained on. Errors: DataError where its frames had no times."""
    if forecaster.timestep_minutes is None:
        raise DataError(f"{checkpoint}: trained on frames without times, so it cannot forecast radar; give one trained on radar.")
    return np.timedelta64(round(forecaster.timestep_minutes * 60), "s")
