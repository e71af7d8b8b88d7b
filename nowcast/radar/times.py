"""The times of a series: its spacing, and the regular clock they are put on."""

import logging
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError

log = logging.getLogger(__name__)

Times = npt.NDArray[np.datetime64]
TimeSpan = tuple[np.datetime64, np.datetime64]
"""First and last time."""
JITTER_SECONDS = 30.0  # a radar's time stamp may be this far off its clock
# below this it is rounding in the file ("hours since" as a float), not worth a word
SILENT_SECONDS = 0.5


class OffClockError(DataError):
    """A time that does not lie on the clock of the others; `index` says which."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def instant(said: datetime | str) -> np.datetime64:
    """A time in UTC, or its ISO 8601, as datetime64[ns].

    Errors: ValueError where it is none, or of a year that nanoseconds in 64 bits do not reach:
    NumPy would make another one of it.
    """
    time = np.datetime64(said, "ns")
    if str(time)[:4] != str(said)[:4]:
        raise ValueError(f"the year {str(said)[:4]} is out of range")
    return time


def timestep_of(times: Times) -> float:
    """Return the spacing of times: the most common difference, the smaller of equals.

    Differences are counted to the whole minute where frames are at least two minutes apart, else to
    the second.

    Args:
        times: (n,) datetime64, in any order.

    Returns:
        Minutes; NaN for fewer than two times.

    Example:
        >>> timestep_of(np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[ns]"))
        5.0
    """
    seconds = np.diff(np.unique(times.astype("datetime64[ns]"))) / np.timedelta64(1, "s")
    if seconds.size == 0:
        return float("nan")
    if np.ptp(seconds) > 0.01:
        unit = 60.0 if np.median(seconds) >= 120 else 1.0
        seconds = np.maximum(np.round(seconds / unit), 0.0) * unit
        seconds = seconds[seconds > 0] if (seconds > 0).any() else np.array([unit])
    values, counts = np.unique(np.round(seconds, 3), return_counts=True)
    return float(values[np.argmax(counts)]) / 60.0


def onto_clock(times: Times, timestep_minutes: float, names: list[str]) -> Times:
    """Times (n,) → the same, each on the nearest tick of a regular clock with ticks
    `timestep_minutes` apart, as `ticks_of` has them.

    What was moved is said. `names` holds each time's file, for messages. Errors: DataError where a
    time is too far off.
    """
    ticks = ticks_of(times, timestep_minutes, names)
    off = np.abs(times - ticks) / np.timedelta64(1, "s")
    moved = int((off > SILENT_SECONDS).sum())
    if moved:
        worst = int(np.argmax(off))
        log.warning(
            "%d of %d frame times were up to %.0f s off the %g-minute clock and were put on it (the"
            " most at %s in %s).",
            moved,
            len(times),
            off[worst],
            timestep_minutes,
            show(times[worst]),
            names[worst],
        )
    return ticks


def ticks_of(times: Times, timestep_minutes: float, names: list[str]) -> Times:
    """The ticks, `timestep_minutes` apart, that are nearest to each of the times (n,).

    The clock starts on whole time steps since midnight if the times lie there, else where most of
    them lie.
    Errors: OffClockError where a time is more than 30 s (or a quarter of the time step) off; it
    names its file, of `names` (n,).
    """
    if times.size == 0 or not np.isfinite(timestep_minutes):
        return times
    step = timestep_minutes * 60.0
    day = times.min().astype("datetime64[D]")
    seconds = (times - day.astype(times.dtype)) / np.timedelta64(1, "s")
    tolerance = min(JITTER_SECONDS, step / 4)
    phase = 0.0
    off = _off_clock(seconds, step, phase)
    if np.abs(off).max() > tolerance:
        around_first = _off_clock(seconds, step, float(seconds[0]))
        phase = float(np.round(seconds[0] + np.median(around_first)))
        off = _off_clock(seconds, step, phase)
    worst = int(np.argmax(np.abs(off)))
    if abs(off[worst]) > tolerance:
        raise OffClockError(
            f"{names[worst]}: the frame of {show(times[worst])} does not fit the"
            f" {timestep_minutes:g}-minute spacing of the others; open files of one spacing only,"
            " or leave this frame out.",
            worst,
        )
    ticks = phase + np.round((seconds - phase) / step) * step
    return np.asarray(
        day.astype("datetime64[ns]") + np.round(ticks * 1e3).astype("timedelta64[ms]"),
        dtype="datetime64[ns]",
    )


def show(time: Any) -> str:
    """A time for people: 2018-05-10T12:05."""
    text = str(np.datetime64(time, "s"))
    return text.removesuffix(":00")


def _off_clock(
    seconds: npt.NDArray[np.float64], step: float, phase: float
) -> npt.NDArray[np.float64]:
    return np.asarray((seconds - phase + step / 2) % step - step / 2)
