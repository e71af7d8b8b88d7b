"""The times of a series: their spacing, and the regular clock they are rounded to."""

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
JITTER_SECONDS = 30.0  # the most that a time stamp may be off the regular clock
# smaller differences are rounding in the file ("hours since" as a float) and are not logged
SILENT_SECONDS = 0.5


class OffClockError(DataError):
    """A time that does not fit the clock of the others; `index` is its position."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def instant(said: datetime | str) -> np.datetime64:
    """Return a time in UTC (or its ISO 8601 text) as datetime64[ns].

    Errors: ValueError if it is not a time, or its year is out of range for 64-bit nanoseconds, for
    which NumPy would silently return another year.
    """
    time = np.datetime64(said, "ns")
    if str(time)[:4] != str(said)[:4]:
        raise ValueError(f"the year {str(said)[:4]} is out of range")
    return time


def timestep_of(times: Times) -> float:
    """Return the spacing of times: the most common difference, the smallest if there is a tie.

    Differences are rounded to minutes if frames are at least two minutes apart, else to seconds.

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
    """Times (n,) → the same, each rounded to the nearest tick of a regular clock, as by `ticks_of`.

    Moved times are logged. `names` holds the file of each time, for messages. Errors: DataError if
    a time is too far off.
    """
    ticks = ticks_of(times, timestep_minutes, names)
    off = np.abs(times - ticks) / np.timedelta64(1, "s")
    moved = int((off > SILENT_SECONDS).sum())
    if moved:
        worst = int(np.argmax(off))
        log.warning(
            "%d of %d frame times were up to %.0f s off the %g-minute clock and were rounded to it"
            " (largest shift: %s in %s).",
            moved,
            len(times),
            off[worst],
            timestep_minutes,
            show(times[worst]),
            names[worst],
        )
    return ticks


def ticks_of(times: Times, timestep_minutes: float, names: list[str]) -> Times:
    """Return for each of the times (n,) the nearest tick of a clock with ticks `timestep_minutes`
    apart.

    Ticks are whole time steps since midnight if the times fit these, else shifted by the median
    offset of the times.
    Errors: OffClockError if a time is more than 30 s (or a quarter of the time step) off; it names
    the file, from `names` (n,).
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
            f" {timestep_minutes:g}-minute spacing of the others; open only files of one spacing,"
            " or leave this frame out.",
            worst,
        )
    ticks = phase + np.round((seconds - phase) / step) * step
    return np.asarray(
        day.astype("datetime64[ns]") + np.round(ticks * 1e3).astype("timedelta64[ms]"),
        dtype="datetime64[ns]",
    )


def show(time: Any) -> str:
    """Format a time for messages: 2018-05-10T12:05."""
    text = str(np.datetime64(time, "s"))
    return text.removesuffix(":00")


def _off_clock(
    seconds: npt.NDArray[np.float64], step: float, phase: float
) -> npt.NDArray[np.float64]:
    return np.asarray((seconds - phase + step / 2) % step - step / 2)
