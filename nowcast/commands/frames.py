"""The frames that `nowcast predict` forecasts from."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.commands.radar_files import open_radar, reading
from nowcast.config_predict import PredictConfig
from nowcast.errors import DataError, MissingInputError, TryLaterError
from nowcast.periods import Period
from nowcast.radar import newest_files, open_files
from nowcast.radar.grid import RATE, TIMESTEP
from nowcast.radar.patterns import is_time_pattern
from nowcast.radar.times import Times, show

_MORE = 2  # frames more than a forecast needs, from which their spacing is told where some of them are missing
_LONGEST_STEP = np.timedelta64(1, "h")  # within which frames are looked for while their spacing is not known


@dataclass(frozen=True)
class Need:
    """Which frames a method needs, up to its reference time: `steps` of them, of which `may_miss` others than the newest may be
    missing. timestep: their spacing, None: that of the files."""

    steps: int
    may_miss: int
    timestep: np.timedelta64 | None


@dataclass(frozen=True)
class Past:
    """The frames that a forecast is made from.

    grid: what they were taken from. rain: they themselves, in order; of those in `missing` (t,) all pixels are NaN.
    filled: (t,) those that were made of the frames around them. timestep: their spacing. remarks: what was departed from.
    """

    grid: xr.Dataset
    rain: xr.Dataset
    missing: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    timestep: np.timedelta64
    remarks: list[str] = field(default_factory=list)

    @property
    def times(self) -> Times:
        times: Times = self.rain["time"].values
        return times


class FrameSource:
    """The radar files of a configuration, looked at anew by every method here; what is known of a file that has not changed is kept."""

    def __init__(self, config: PredictConfig) -> None:
        self.config = config

    def newest(self, now: np.datetime64 | None) -> np.datetime64:
        """The time of the newest frame that can be used. now: later frames are left out, and `max_age` counts from it; None: neither.

        Errors: MissingInputError, DataError; TryLaterError where it is older than `max_age`.
        """
        config = self.config
        grid = open_radar(config.data) if not is_time_pattern(config.data.path) else self._open(1, _LONGEST_STEP, None)
        newest: np.datetime64 = grid["time"].values[-1]
        if now is not None and config.max_age is not None and now - newest > np.timedelta64(round(config.max_age * 60), "s"):
            raise TryLaterError(
                f"{config.data.path}: the newest frame is of {show(newest)} UTC, older than max_age={config.max_age:g} minutes."
            )
        return newest

    def past(self, reference_time: np.datetime64, need: Need) -> Past:
        """The frames of `need` up to the reference time.

        Errors: DataError where frames are spaced otherwise, or where their spacing is not known; MissingInputError where too many are missing.
        """
        path, steps, known = self.config.data.path, need.steps, need.timestep
        grid = self._open(steps, known or _LONGEST_STEP, reference_time)
        times, minutes = grid["time"].values, grid.attrs[TIMESTEP]
        if known is not None and times.size > steps and minutes != known / np.timedelta64(1, "m"):
            raise DataError(
                f"{path}: frames every {minutes:g} minutes, but the model was trained on {known / np.timedelta64(1, 'm'):g}; "
                "give data of that spacing, or train a model on this."
            )
        if known is None and not np.isfinite(minutes):
            raise DataError(f"{path}: holds a single frame, and the spacing of one is not known; give more files.")
        timestep = np.timedelta64(round(minutes * 60), "s") if known is None else known
        wanted = reference_time - timestep * np.arange(steps)[::-1]
        absent = ~np.isin(wanted, times)
        if absent[-1] or absent.sum() > need.may_miss:
            first = wanted[-1] if absent[-1] and need.may_miss else wanted[absent][0]
            others = "" if absent[-1] or self.config.baseline is not None else f", or missing_frames={absent.sum()}"
            raise MissingInputError(
                f"{path}: no frame at {first:.16} UTC, and the forecast needs {steps} frames up to {reference_time:.16}; the "
                f"data hold {times[0]:.16} to {times[-1]:.16}. Give another 'at', or the missing files{others}."
            )
        rain = grid.sel(time=wanted[~absent]).load().reindex(time=wanted, copy=False)
        missing: NDArray[np.bool_] = rain[RATE].isnull().all(("y", "x")).values
        if missing[-1] or missing.sum() > need.may_miss:
            empty = wanted[-1] if missing[-1] else wanted[missing & ~absent][0]
            raise MissingInputError(f"{path}: the frame at {empty:.16} UTC holds no measured pixel; give another 'at'.")
        return Past(grid, rain, missing, np.zeros_like(missing), timestep)

    def _open(self, steps: int, timestep: np.timedelta64, at: np.datetime64 | None) -> xr.Dataset:
        """Of a pattern of times only the files of the `steps` frames up to `at`, or of the newest, and a few more."""
        data = self.config.data
        if not is_time_pattern(data.path):
            return open_radar(data)
        if at is not None:
            return open_radar(data, Period(at - (steps + _MORE) * timestep, at))
        return open_files(newest_files(data.path, steps + _MORE, data.format), reading(data))
