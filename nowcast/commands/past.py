"""The frames that `nowcast predict` forecasts from."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.commands.inputs import open_radar, reading, refuse_other_timestep
from nowcast.config_data import RadarConfig
from nowcast.config_forecasts import PredictConfig
from nowcast.errors import DataError, MissingInputError
from nowcast.forecast import Forecaster
from nowcast.radar import newest_files, open_files
from nowcast.radar.grid import RATE, TIMESTEP
from nowcast.radar.patterns import is_time_pattern
from nowcast.radar.times import Times
from nowcast.sequences import Period, parse_time

_MORE = 2  # frames more than a forecast needs, from which their spacing is told where some of them are missing
_LONGEST_STEP = np.timedelta64(1, "h")  # within which frames are looked for while their spacing is not known


@dataclass(frozen=True)
class Past:
    """The frames that a forecast is made from.

    grid: what they were taken from. rain: they themselves, in order; of those in `missing` (t,) all pixels are NaN.
    timestep: their spacing.
    """

    grid: xr.Dataset
    rain: xr.Dataset
    missing: NDArray[np.bool_]
    timestep: np.timedelta64

    @property
    def times(self) -> Times:
        times: Times = self.rain["time"].values
        return times


def open_past(config: PredictConfig, steps: int, may_miss: int, forecaster: Forecaster | None = None) -> Past:
    """The last `steps` frames up to `at`, or up to the newest frame, at the spacing of the forecaster if there is one.

    Errors: DataError where the frames are spaced otherwise, or where their spacing is not known; MissingInputError where the
    newest of them is not there, or more others than `may_miss` are not.
    """
    at = parse_time("at", config.at) if config.at else None
    known = None if forecaster is None else spacing(forecaster, str(config.checkpoint))
    grid = open_latest(config.data, steps, known or _LONGEST_STEP, at)
    times, minutes = grid["time"].values, grid.attrs[TIMESTEP]
    if forecaster is not None and times.size > steps:
        refuse_other_timestep(forecaster, minutes, config.data.path)
    if known is None and not np.isfinite(minutes):
        raise DataError(f"{config.data.path}: holds a single frame, and the spacing of one is not known; give more files.")
    timestep = np.timedelta64(round(minutes * 60), "s") if known is None else known
    reference_time = times[-1] if at is None else at
    wanted = reference_time - timestep * np.arange(steps)[::-1]
    absent = ~np.isin(wanted, times)
    if absent[-1] or absent.sum() > may_miss:
        first = wanted[-1] if absent[-1] and may_miss else wanted[absent][0]
        others = "" if absent[-1] or config.baseline is not None else f", or missing_frames={absent.sum()}"
        raise MissingInputError(
            f"{config.data.path}: no frame at {first:.16} UTC, and the forecast needs {steps} frames up to {reference_time:.16}; the "
            f"data hold {times[0]:.16} to {times[-1]:.16}. Give another 'at', or the missing files{others}."
        )
    rain = grid.sel(time=wanted[~absent]).load().reindex(time=wanted, copy=False)
    missing: NDArray[np.bool_] = rain[RATE].isnull().all(("y", "x")).values
    if missing[-1] or missing.sum() > may_miss:
        empty = wanted[-1] if missing[-1] else wanted[missing & ~absent][0]
        raise MissingInputError(f"{config.data.path}: the frame at {empty:.16} UTC holds no measured pixel; give another 'at'.")
    return Past(grid, rain, missing, timestep)


def open_latest(data: RadarConfig, steps: int, timestep: np.timedelta64, at: np.datetime64 | None) -> xr.Dataset:
    """As open_radar; but of a pattern of times only the files of the `steps` frames up to `at`, or of the newest, and a few more."""
    if not is_time_pattern(data.path):
        return open_radar(data)
    if at is not None:
        return open_radar(data, Period(at - (steps + _MORE) * timestep, at))
    return open_files(newest_files(data.path, steps + _MORE, data.format), reading(data))


def spacing(forecaster: Forecaster, checkpoint: str) -> np.timedelta64:
    """The timestep that the model was trained on. Errors: DataError where its frames had no times."""
    if forecaster.timestep_minutes is None:
        raise DataError(f"{checkpoint}: trained on frames without times, so it cannot forecast radar; give one trained on radar.")
    return np.timedelta64(round(forecaster.timestep_minutes * 60), "s")
