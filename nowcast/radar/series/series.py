"""Many files, one series: their frames in the order of time, each once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nowcast.radar.reading.file import RadarFile
from nowcast.radar.times import JITTER_SECONDS, Times, TimeSpan

JITTER = np.timedelta64(round(JITTER_SECONDS * 1e9), "ns")


@dataclass(frozen=True, eq=False)
class Series:
    """Frames in the order of time: frame k is frame `frame_of[k]` of file `file_of[k]`.

    times: (n,) on one clock. stamps: (n,) as the files have them.
    """

    files: tuple[RadarFile, ...]
    times: Times
    stamps: Times
    file_of: npt.NDArray[np.intp]  # (n,)
    frame_of: npt.NDArray[np.intp]  # (n,)
    timestep_minutes: float

    def within(self, start: np.datetime64, end: np.datetime64) -> "Series":
        """The frames from `start` to `end`, both included; all files stay known."""
        return self.taking((self.times >= start) & (self.times <= end))

    def taking(self, frames: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Series":
        """Only these frames; all files stay known."""
        return replace(
            self,
            times=self.times[frames],
            stamps=self.stamps[frames],
            file_of=self.file_of[frames],
            frame_of=self.frame_of[frames],
        )


def near(times: Times, spans: Sequence[TimeSpan]) -> npt.NDArray[np.bool_]:
    """Which of the times lie in one of the spans, or may be put into it by their clock."""
    return within(times, [(start - JITTER, end + JITTER) for start, end in spans])


def within(times: Times, spans: Sequence[TimeSpan]) -> npt.NDArray[np.bool_]:
    """Which of the times lie in one of the spans, both ends included."""
    inside = np.zeros(times.shape, bool)
    for start, end in spans:
        inside |= (times >= start) & (times <= end)
    return inside
