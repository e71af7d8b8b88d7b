"""The scene: all input of a forecast in one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.radar.grid import RATE
from nowcast.radar.placing.georeference import Place, place_of_grid
from nowcast.radar.times import Times

NamedFields = Mapping[str, NDArray[np.float32]]
"""Fields on the grid of the rain by name, each (n, h, w), NaN = missing."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The input frames of a forecast, and the further fields for frames and lead times.

    Args:
        grid: the rain, a canonical grid (time, y, x) in mm/h, NaN = missing, with its location and
            the origin given in its files.
        timestep: spacing of the frames.
        missing: (t,) whether a frame has no measured pixel.
        filled: (t,) whether a frame was interpolated from the frames around it.
        beside: fields known with each frame, each (t, h, w).
        ahead: fields known for each lead time, each (lead, h, w).
        digests: time → checksum of each frame that was read or missing, including those from which
            gaps were filled; None for a missing frame.

    Raises:
        ValueError: a shape or the spacing is wrong.
    """

    grid: xr.Dataset
    timestep: np.timedelta64
    missing: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    beside: NamedFields = field(default_factory=dict)
    ahead: NamedFields = field(default_factory=dict)
    digests: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps, *size = self.rates.shape
        if len(size) != 2 or not self.missing.shape == self.filled.shape == (steps,):
            raise ValueError(
                f"scene: rates {self.rates.shape}, missing {self.missing.shape} and filled"
                f" {self.filled.shape} must be (t, h, w), (t,) and (t,)."
            )
        if (np.diff(self.times) != self.timestep).any():
            raise ValueError(f"scene: the frames are not {self.timestep} apart.")
        leads = {len(frames) for frames in self.ahead.values()}
        for name, frames in [*self.beside.items(), *self.ahead.items()]:
            if frames.ndim != 3 or list(frames.shape[1:]) != size:
                raise ValueError(f"scene: {name} is {frames.shape}, not (n, {size[0]}, {size[1]}).")
        if len(leads) > 1 or any(len(frames) != steps for frames in self.beside.values()):
            raise ValueError(
                "scene: fields in `beside` must have t frames, fields in `ahead` one for each lead"
                " time."
            )

    @property
    def rates(self) -> NDArray[np.float32]:
        """The rain (t, h, w) in mm/h, NaN = missing."""
        rates: NDArray[np.float32] = self.grid[RATE].values
        return rates

    @property
    def times(self) -> Times:
        """(t,) the times of the frames, in UTC."""
        times: Times = self.grid["time"].values
        return times

    @property
    def reference_time(self) -> np.datetime64:
        """The time of the newest frame."""
        newest: np.datetime64 = self.times[-1]
        return newest

    @property
    def timestep_minutes(self) -> float:
        """Spacing of the frames in minutes."""
        return float(self.timestep / np.timedelta64(1, "m"))

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        height, width = self.rates.shape[1:]
        return height, width

    @property
    def place(self) -> Place:
        """The location of the pixels."""
        return place_of_grid(self.grid)
