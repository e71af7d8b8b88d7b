"""What a forecast is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.radar.times import Times


@dataclass(frozen=True)
class Past:
    """The frames that a forecast is made from.

    rain: they themselves, a canonical grid, with what their files say of their origin; of those in
    `missing` (t,) all pixels are NaN.
    filled: (t,) those that were made of the frames around them. timestep: their spacing.
    digests: of all frames that were read or missed, also of those from which gaps were filled: time
    → checksum, None of a missing one.
    """

    rain: xr.Dataset
    missing: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    timestep: np.timedelta64
    digests: Mapping[str, str | None]

    @property
    def times(self) -> Times:
        times: Times = self.rain["time"].values
        return times
