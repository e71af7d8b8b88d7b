"""Decode CF times, such as "minutes since 2020-01-01"."""

import re
import warnings
from functools import lru_cache

import cftime
import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.radar.times import Times

CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
"""The calendars in which dates of the radar era are those of UTC."""

_SECOND = 1e3
_SPELLINGS = {
    "ns nsec nsecs nanosec nanosecs nanosecond nanoseconds": 1e-6,
    "us µs usec usecs microsec microsecs microsecond microseconds": 1e-3,
    "ms msec msecs millisec millisecs millisecond milliseconds": 1.0,
    "s sec secs second seconds": _SECOND,
    "min mins minute minutes": 60 * _SECOND,
    "h hr hrs hour hours": 3600 * _SECOND,
    "d day days": 86400 * _SECOND,
    "week weeks": 7 * 86400 * _SECOND,
}
_MILLISECONDS = {name: length for names, length in _SPELLINGS.items() for name in names.split()}
_DATE = re.compile(
    r"(\d{1,4})(?:[-/](\d{1,2}))?(?:[-/](\d{1,2}))?"  # 2020, 2020-1, 2020-01-01
    r"(?:[T\s]+(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}(?:\.\d*)?))?)?"  # 12, 12:30, 12:30:15.5
    r"\s*(?:Z|UTC|GMT|([+-]?)(\d{1,2})(?::?(\d\d))?)?",  # +01:00, -6, +0530
    re.IGNORECASE,
)
_UNIX_DAY = cftime.datetime(1970, 1, 1, calendar="standard").toordinal()
_MOST = 9.2e12  # milliseconds from 1970 that datetime64[ns] can hold
_COARSE = 60 * _SECOND  # a precision worse than this is not enough for the times of frames
_WRITE = (
    "write them in UTC, as 'minutes since 2020-01-01 00:00', or with an offset, as 'minutes since"
    " 2020-01-01 00:00 +01:00'"
)


def is_time_unit(units: object) -> bool:
    """Return whether these units count from a date, in any spelling."""
    return re.search(r"\bsince\b", str(units), re.IGNORECASE) is not None


def decode_times(numbers: npt.NDArray[np.generic], units: str, calendar: str) -> Times:
    """Numbers in `units` → datetime64[ns] in UTC rounded to milliseconds, of the same shape; NaN →
    NaT.

    Errors: ValueError with a message to follow the words "its times".
    """
    start, length = _clock(units, calendar)
    if numbers.dtype.kind not in "iuf":
        raise ValueError(
            f"have type {numbers.dtype}, not numbers; write them as numbers in {units!r}"
        )
    there = np.isfinite(numbers)
    passed = np.where(there, numbers, 0).astype(np.float64) * length
    if np.abs(passed + start).max(initial=0) > _MOST:
        raise ValueError(
            f"({units!r}) cannot be read: one is out of range; correct this file, or leave it out"
        )
    _refuse_coarse(numbers[there], length, units)
    decoded = np.datetime64(0, "ms") + (start + np.round(passed).astype(np.int64)).astype(
        "timedelta64[ms]"
    )
    return np.asarray(
        np.where(there, decoded.astype("datetime64[ns]"), np.datetime64("NaT")),
        dtype="datetime64[ns]",
    )


def _refuse_coarse(numbers: npt.NDArray[np.generic], length: float, units: str) -> None:
    """Errors: ValueError if single precision is too coarse for the times of frames.

    Times at whole multiples of one spacing were not rounded, and are accepted.
    """
    if numbers.dtype.itemsize > 4 or numbers.dtype.kind != "f" or numbers.size == 0:
        return
    precision = float(np.spacing(np.abs(numbers).max())) * length
    steps = np.diff(np.unique(numbers).astype(np.float64))
    if precision > _COARSE and (steps.size == 0 or (steps % steps.min()).any()):
        raise ValueError(
            f"({units!r}) are stored in single precision, which is exact only to"
            f" {precision / _COARSE:.3g} minutes; write them as float64 or as integers"
        )


@lru_cache(maxsize=64)
def _clock(units: str, calendar: str) -> tuple[int, float]:
    """'minutes since 2020-01-01' → (milliseconds from 1970 to its date in UTC, milliseconds per
    unit).
    """
    said = re.fullmatch(r"\s*(\S+)\s+since\s+(.+?)\s*", units, re.IGNORECASE)
    if said is None:
        raise ValueError(f"({units!r}) cannot be read; {_WRITE}")
    name = said[1].lower()
    if name.rstrip("s") in ("month", "year", "common_year"):
        raise ValueError(
            f"({units!r}) cannot be read: the length of a {name.rstrip('s')} varies; write them in"
            " minutes or days"
        )
    if name not in _MILLISECONDS:
        raise ValueError(
            f"({units!r}) cannot be read: {said[1]!r} is not a known unit of time; write them in"
            " minutes"
        )
    parts = _DATE.fullmatch(said[2])
    try:
        return (
            _by_xarray(said[2]) if parts is None else _since_1970(parts, calendar)
        ), _MILLISECONDS[name]
    except (ValueError, OverflowError, TypeError) as error:
        why = _WRITE if parts is None else f"{said[2]!r} is not a date in the calendar {calendar!r}"
        raise ValueError(f"({units!r}) cannot be read; {why}") from error


def _since_1970(parts: re.Match[str], calendar: str) -> int:
    """Return the milliseconds from 1970 to a date, parsed by _DATE, in this calendar.

    Errors: ValueError if it is not a valid date.
    """
    year, month, day, hour, minute = (
        int(part or least) for part, least in zip(parts.groups(), (0, 1, 1, 0, 0), strict=False)
    )
    if year == 0 and calendar != "proleptic_gregorian":
        raise ValueError("no year 0")
    with warnings.catch_warnings():  # cftime warns that CF has no year 0
        warnings.simplefilter("ignore")
        days = (
            cftime.datetime(year, month, day, hour, minute, calendar=calendar).toordinal()
            - _UNIX_DAY
        )
    seconds: float = 60 * (60 * (24 * days + hour) + minute) + float(parts[6] or 0)
    offset = 60 * int(parts[8] or 0) + int(parts[9] or 0)
    return round(1e3 * (seconds - 60 * (-offset if parts[7] == "-" else offset)))


def _by_xarray(date: str) -> int:
    """Return the milliseconds from 1970 to a date in a spelling outside CF that xarray can read,
    such as "Jan 1 2020".
    """
    raw = xr.Dataset({"t": ("t", [0], {"units": f"seconds since {date}"})})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = xr.decode_cf(
            raw, decode_times=xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="ns")
        )["t"].values[0]
    return int((read - np.datetime64(0, "ns")) / np.timedelta64(1, "ms"))
