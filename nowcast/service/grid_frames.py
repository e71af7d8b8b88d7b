"""Frames of an open grid, for a forecast from Python."""

import numpy as np
import xarray as xr

from nowcast.config.predict import PredictConfig
from nowcast.errors import DataError, MissingInputError
from nowcast.forecast.gaps import is_enough
from nowcast.radar.grid import RATE, TIMESTEP, build_grid, frames_at
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.sequences.scene import Scene
from nowcast.service.input_window import Need, UnknownSpacingError, complete

_MINUTE = np.timedelta64(1, "m")


class GridFrames:
    """The frames of a canonical grid; only the needed ones are read."""

    def __init__(self, grid: xr.Dataset, config: PredictConfig) -> None:
        self.grid, self.config = grid, config

    def scene(self, reference_time: np.datetime64, need: Need) -> Scene:
        """Return the frames of `need` up to the reference time, short gaps filled.

        Errors: DataError if the frames of the grid have another spacing; MissingInputError if too
        many are missing; as fill_gaps.
        """
        timestep = self._timestep(need)
        longest = int(np.timedelta64(round(self.config.max_gap * 60), "s") / timestep)
        steps = need.steps + max(longest - 1, 0)  # a gap may begin before the first of them
        times = reference_time - timestep * np.arange(steps)[::-1]
        unknown = np.full(self.grid[RATE].shape[1:], np.nan, np.float32)
        there = frames_at(self.grid, times)
        frames = np.stack([unknown if frame is None else frame for frame in there])
        missing, filled, digests = complete(frames, times, longest, self.config.gap_filling)
        wanted = slice(steps - need.steps, None)
        if not is_enough(missing[wanted], need.may_miss):
            first = times[wanted][-1 if missing[-1] else int(missing[wanted].argmax())]
            raise MissingInputError(
                f"{self.config.data.path}: no frame at {first:.16} UTC; the forecast needs"
                f" {need.steps} frames up to {reference_time:.16}. Give another 'at', or a grid"
                " with these frames."
            )
        about = {name: value for name, value in self.grid.attrs.items() if name != TIMESTEP}
        rain = build_grid(
            frames[wanted],
            times[wanted],
            {name: one for name, one in place_of_grid(self.grid).items() if name != "time"},
            about,
            float(timestep / _MINUTE),
        )
        return Scene(rain, timestep, missing[wanted], filled[wanted], digests=digests)

    def _timestep(self, need: Need) -> np.timedelta64:
        minutes = float(self.grid.attrs[TIMESTEP])
        known = minutes if need.timestep is None else float(need.timestep / _MINUTE)
        if np.isfinite(minutes) and minutes != known:
            raise DataError(
                f"{self.config.data.path}: frames every {minutes:g} minutes, but the model was"
                f" trained on {known:g}; give data with that spacing, or train a model on these."
            )
        if not np.isfinite(known):
            raise UnknownSpacingError(
                f"{self.config.data.path}: holds a single frame, so the spacing of frames is"
                " unknown; give more frames."
            )
        return np.timedelta64(round(known * 60), "s")
