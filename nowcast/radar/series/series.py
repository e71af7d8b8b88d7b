"""A series: the frames of many files in order of time, without duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nowcast.radar.reading.file import RadarFile
from nowcast.radar.times import JITTER_SECONDS, Times, TimeSpan

JITTER = np.timedelta64(round(JITTER_SECONDS * 1e9), "ns")


@dataclass(frozen=True, eq=False)
class Series:
    """Frames in order of time: frame k is frame `frame_of[k]` of file `file_of[k]`.

    times: (n,) on one clock. stamps: (n,) as stored in the files.
    """

    files: tuple[RadarFile, ...]
    times: Times
    stamps: Times
    file_of: npt.NDArray[np.intp]  # (n,)
    frame_of: npt.NDArray[np.intp]  # (n,)
    timestep_minutes: float

    def within(self, start: np.datetime64, end: np.datetime64) -> "Series":
        """Return the series of the frames from `start` to `end`, both included; with all files."""
        return self.taking((self.times >= start) & (self.times <= end))

    def taking(self, frames: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Series":
        """Return the series of only these frames, with all files."""
        return replace(
            self,
            times=self.times[frames],
            stamps=self.stamps[frames],
            file_of=self.file_of[frames],
            frame_of=self.frame_of[frames],
        )


def near(times: Times, spans: Sequence[TimeSpan]) -> npt.NDArray[np.bool_]:
    """Return which times are in one of the spans, or may be after rounding to the clock."""
    return within(times, [(start - JITTER, end + JITTER) for start, end in spans])


def within(times: Times, spans: Sequence[TimeSpan]) -> npt.NDArray[np.bool_]:
    """Return which times are in one of the spans, both ends included."""
    inside = np.zeros(times.shape, bool)
    for start, end in spans:
        inside |= (times >= start) & (times <= end)
    return inside
