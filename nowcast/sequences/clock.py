"""The regular times of a series: which times have a frame, and which frames have no measured
pixel.

A frame is missing if no file contains it or if it has no measured pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nowcast.periods import Period
from nowcast.sequences.packed import PackedRates


@dataclass(frozen=True)
class Clock:
    """All times from the first to the last frame of a series, one timestep apart.

    times: (n,) datetime64[ns].
    rows: (n,) index of the frame in the series, -1 if absent.
    missing: (n,) bool, whether the frame is absent or has no measured pixel.
    """

    times: NDArray[np.datetime64]
    rows: NDArray[np.int64]
    missing: NDArray[np.bool_]

    def starts(self, period: Period, steps: int) -> NDArray[np.int64]:
        """Return the starts of all windows of `steps` times that lie within the period."""
        starts = np.arange(max(self.times.size - steps + 1, 0), dtype=np.int64)
        inside = (self.times[starts] >= period.start) & (
            self.times[starts + steps - 1] <= period.end
        )
        found: NDArray[np.int64] = starts[inside]
        return found

    def missing_in(self, starts: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
        """Return how many of the `steps` times from each start are missing."""
        sums = np.concatenate([[0], np.cumsum(self.missing)])
        found: NDArray[np.int64] = sums[starts + steps] - sums[starts]
        return found

    def mean_of(
        self, values: NDArray[np.float64], starts: NDArray[np.int64], steps: int
    ) -> NDArray[np.float64]:
        """Return the mean of a value per frame, (frames,), over the frames of each window that are
        not missing; 0 without any.
        """
        of_times = (
            np.where(self.missing, 0.0, values[np.maximum(self.rows, 0)])
            if values.size
            else np.zeros(self.times.size)
        )
        sums = np.concatenate([[0.0], np.cumsum(of_times)])
        there = steps - self.missing_in(starts, steps)
        means: NDArray[np.float64] = (sums[starts + steps] - sums[starts]) / np.maximum(there, 1)
        return means


def clock_of(rates: PackedRates) -> Clock:
    """Return the clock of a series, which starts at its first frame."""
    if not rates.times.size:
        return Clock(rates.times, np.zeros(0, np.int64), np.zeros(0, bool))
    since = rates.times - rates.times[0]
    ticks, on_clock = since // rates.timestep, since % rates.timestep == np.timedelta64(0)
    count = int(ticks[-1]) + 1
    rows = np.full(count, -1, np.int64)
    rows[ticks[on_clock]] = np.flatnonzero(on_clock)
    missing = (rows < 0) | np.isnan(rates.wet_share[np.maximum(rows, 0)])
    return Clock(rates.times[0] + rates.timestep * np.arange(count), rows, missing)


def run_of(rows: NDArray[np.int64]) -> slice | None:
    """Return these rows as a slice if all frames exist and are consecutive, else None."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if first >= 0 and last - first == len(rows) - 1 else None
