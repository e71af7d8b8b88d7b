"""A radar series that is not unpacked: frames are read from their files when a window needs them.

So training on years of frames, perhaps on a server, starts at once and needs no disk space. But
nothing is known about a frame before it is read: windows cannot be drawn by their rain, and the
covered pixels are estimated from a few frames.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.motion.estimation import MOTION_FRAMES, follow, spread
from nowcast.periods import Period
from nowcast.radar.grid import measured_rates
from nowcast.sequences.packed import PackedRates, frames_of, sum_tiles

if TYPE_CHECKING:
    from nowcast.sequences.clock import Clock

_LOOKED_AT = 8
"""Number of frames, spread over the series, that determine which pixels are covered."""


class DirectFrames:
    """The frames of a grid as an array (time, y, x) float32 [mm/h], read when it is indexed.

    The first index is an integer, a slice or integers, the others are slices.
    """

    def __init__(self, rates: xr.DataArray) -> None:
        self._rates = rates
        self.shape, self.dtype = rates.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        first, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(first, int | np.integer):
            return self[(slice(int(first), int(first) + 1), *others)][0]
        part = self._rates[(first, *others)]
        values = measured_rates(part.values, part["time"].values)
        return np.ascontiguousarray(values, dtype=np.float32)


class DirectMotion:
    """The motion (2, hc, wc) at each time of a clock, estimated when it is indexed, from the last
    `of_each` times up to it.
    """

    def __init__(self, frames: DirectFrames, clock: "Clock", of_each: int) -> None:
        self.frames, self.clock, self.of_each = frames, clock, min(of_each, MOTION_FRAMES)

    def __getitem__(self, tick: int) -> NDArray[np.float16]:
        newest = np.arange(max(tick + 1 - self.of_each, 0), tick + 1)
        ticks = newest[self.clock.rows[newest] >= 0]
        seen = self.frames[self.clock.rows[ticks]]
        there = np.flatnonzero(~np.isnan(seen).all(axis=(1, 2)))
        tracks = [
            follow(seen[one], seen[other], int(ticks[other] - ticks[one]))
            for one, other in pairwise(there)
        ]
        return spread(tracks, self.frames.shape[1:]).astype(np.float16)


def direct(grid: xr.Dataset, period: Period) -> PackedRates:
    """Return the frames of a period, each read when it is needed.

    Use it only for training windows: since no frame is read in advance, none counts as missing and
    all count as dry.

    Args:
        grid: a canonical grid.
        period: the period.

    Returns:
        The series, frames (time, y, x) in mm/h, NaN = not covered.

    Raises:
        DataError: if the grid has a single frame; or later, when a damaged frame is read.
    """
    times, timestep, part = frames_of(grid, period)
    frames = DirectFrames(part)
    spots = np.unique(np.linspace(0, len(times) - 1, _LOOKED_AT).round().astype(int))
    seen = frames[spots] if len(times) else np.empty((0, *frames.shape[1:]), np.float32)
    covered = ~np.isnan(seen).all(axis=0)
    tiles = sum_tiles(np.where(covered, np.float32(0), np.float32(np.nan))[None])
    return PackedRates(
        frames,
        times,
        timestep,
        np.zeros(len(times)),
        np.broadcast_to(tiles, (len(times), *tiles.shape[1:])),
        covered,
    )
