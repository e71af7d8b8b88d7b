"""`nowcast predict`: checkpoint + radar files → one forecast file."""

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from nowcast.commands.inputs import open_forecaster, open_radar, refuse_other_size, refuse_other_timestep
from nowcast.config import PredictConfig
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.files import sha256
from nowcast.forecast import Forecaster, build_forecast, write_forecast
from nowcast.radar import find_files
from nowcast.radar.grid import RATE
from nowcast.sequences import parse_time
from nowcast.training import choose_precision

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> Path:
    """Forecast from the frames up to `at`, or up to the newest. → the path of the file written."""
    precision = choose_precision(config.device, config.precision)
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision)
    grid = open_radar(config.data)
    refuse_other_size(checkpoint, grid, config.data.path)
    past = newest_frames(grid, forecaster, config)
    rates = torch.from_numpy(past[RATE].values)[None, :, None].to(precision.device)
    with precision.autocast():
        forecast = forecaster(rates)[0, :, 0].cpu().numpy()

    reference_time = past["time"].values[-1]
    timestep = spacing(forecaster, config.checkpoint)
    provenance = {
        "checkpoint": str(config.checkpoint),
        "checkpoint_sha256": sha256(config.checkpoint),
        "checkpoint_versions": checkpoint["versions"],
        "config": asdict(config),
        "inputs": config.data.path,
        "input_times": [f"{time:.19}Z" for time in past["time"].values.astype(str)],
    }
    path = Path(reference_time.astype("datetime64[s]").item().strftime(config.output))
    refuse_overwriting(path, config)
    write_forecast(build_forecast(forecast, grid, reference_time, timestep, provenance), path)
    log.info(
        "forecast from %s UTC, %d steps of %g minutes: %s",
        f"{reference_time:.16}",
        len(forecast),
        forecaster.timestep_minutes,
        path,
    )
    return path


def refuse_overwriting(path: Path, config: PredictConfig) -> None:
    """Errors: ConfigError where the forecast would take the place of what it is made from."""
    sources = {
        Path(config.checkpoint).resolve(),
        *(source.resolve() for source in find_files(config.data.path, form=config.data.format)),
    }
    if path.resolve() in sources:
        raise ConfigError(f"output: {path} is an input of this forecast; choose another.")


def newest_frames(grid: xr.Dataset, forecaster: Forecaster, config: PredictConfig) -> xr.Dataset:
    """The last `input_steps` frames at `at`, or at the newest frame. Errors: MissingInputError where one is not there."""
    times = grid["time"].values
    reference_time = parse_time("at", config.at) if config.at else times[-1]
    timestep = spacing(forecaster, config.checkpoint)
    if times.size > forecaster.input_steps:
        refuse_other_timestep(forecaster, grid.attrs["timestep_minutes"], config.data.path)
    wanted = reference_time - timestep * np.arange(forecaster.input_steps)[::-1]
    missing = wanted[~np.isin(wanted, times)]
    if missing.size:
        raise MissingInputError(
            f"{config.data.path}: no frame at {missing[0]:.16} UTC, and the forecast needs {forecaster.input_steps} frames up to "
            f"{reference_time:.16}; the data hold {times[0]:.16} to {times[-1]:.16}. Give another 'at', or the missing files."
        )
    past = grid.sel(time=wanted).load()
    empty = past[RATE].isnull().all(("y", "x")).values
    if empty.any():
        raise MissingInputError(
            f"{config.data.path}: the frame at {wanted[empty][0]:.16} UTC holds no measured pixel; give another 'at'."
        )
    return past


def spacing(forecaster: Forecaster, checkpoint: str) -> np.timedelta64:
    """The timestep that the model was trained on. Errors: DataError where its frames had no times."""
    if forecaster.timestep_minutes is None:
        raise DataError(f"{checkpoint}: trained on frames without times, so it cannot forecast radar; give one trained on radar.")
    return np.timedelta64(round(forecaster.timestep_minutes * 60), "s")
