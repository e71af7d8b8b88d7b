"""The times of a dataset: its time variable, and the intervals of its frames (CF 4.4, 7)."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.time_units import CALENDARS, decode_times, is_time_unit
from nowcast.radar.times import JITTER_SECONDS, Times, show

log = logging.getLogger(__name__)

_TO_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "second": 1 / 60, "min": 1.0, "minute": 1.0, "h": 60.0,
    "hr": 60.0, "hour": 60.0,
               "d": 1440.0, "day": 1440.0}  # fmt: skip
_LIKE = "units like 'minutes since 2020-01-01 00:00'"
_ENDS = ("end_time", "time_end")
_STARTS = ("start_time", "time_start")
_NOT_OF_FRAMES = {"forecast_reference_time", "forecast_period"}


@dataclass(frozen=True, eq=False)
class Intervals:
    """The start and end of each frame's interval, (n,) each.

    by_bounds: they are CF bounds; otherwise they may be the start and end of the radar scan.
    labels_start: the time variable is the start.
    """

    starts: Times
    ends: Times
    by_bounds: bool = False
    labels_start: bool = False

    def minutes(self, path: Path) -> float | None:
        """Return their common length; None if it is 0. Errors: DataError if lengths differ."""
        minutes = np.unique(
            (np.atleast_1d(self.ends - self.starts) / np.timedelta64(1, "m")).round(3)
        )
        if minutes.size > 1:
            raise DataError(
                f"{path}: its frames are sums over {minutes[0]:g} to {minutes[-1]:g} minutes;"
                " nowcast needs a single length."
            )
        return float(minutes[0]) or None


def find_time(file: xr.Dataset, path: Path) -> xr.DataArray:
    """Return the time of each frame, one-dimensional or scalar, as stored numbers. It is identified
    by name, standard name, axis, or only by its units.

    Errors: DataError if the file has no time, or its units or calendar cannot be used.
    """
    flat = [variable for name in file.variables if (variable := file[name]).ndim <= 1]
    known = [one for one in flat if _rank(one) is not None]
    if not known:
        raise DataError(f"{path}: has no time; nowcast needs a CF variable 'time' with {_LIKE}.")
    time = min(known, key=lambda one: (not is_time_unit(one.attrs.get("units")), _rank(one)))
    units = time.attrs.get("units")
    if not is_time_unit(units):
        said = f"is in {str(units)!r}, not in {_LIKE}" if units else f"has no {_LIKE}"
        raise DataError(f"{path}: {time.name!r} {said}; nowcast needs CF times.")
    calendar = _calendar(time)
    if calendar not in CALENDARS:
        raise DataError(
            f"{path}: its times are in the calendar {calendar!r}; nowcast reads"
            f" {', '.join(sorted(CALENDARS))}. If its dates are real dates, only this attribute is"
            f" wrong: correct it (ncatted -a calendar,{time.name},o,c,standard)."
        )
    if "climatology" in time.attrs:
        raise DataError(
            f"{path}: holds a climatology (statistics over many years), not consecutive frames."
        )
    return time


def decode(time: xr.DataArray, path: Path) -> Times:
    """Numbers "since" a date → datetime64[ns]. Errors: DataError with the reason if they cannot be
    read.
    """
    try:
        return decode_times(
            storage.plain_values(np.asarray(time.values), time.attrs),
            str(time.attrs["units"]),
            _calendar(time),
        )
    except ValueError as error:
        raise DataError(f"{path}: its times {error}.") from error


def intervals_of(
    file: xr.Dataset, time: xr.DataArray, labels: Times, path: Path
) -> Intervals | None:
    """Return the interval of each frame from time bounds, or from variables of start and end; None
    if the file has neither.

    labels: the decoded `time`. Errors: DataError if bounds are missing for a frame, or do not
    contain its time.
    """
    found = _by_bounds(file, time, path) or _by_start_and_end(file, time, labels, path)
    if found is None:
        return None
    if np.isnat(found.starts).any() or np.isnat(found.ends).any():
        raise DataError(
            f"{path}: a frame has a time, but the bounds of its time are missing; correct this"
            " file, or leave it out."
        )
    slack = np.timedelta64(int(JITTER_SECONDS), "s")
    outside = np.flatnonzero((labels < found.starts - slack) | (labels > found.ends + slack))
    if outside.size and (found.ends > found.starts).all():
        k = int(outside[0])
        of = [show(np.atleast_1d(times)[k]) for times in (labels, found.starts, found.ends)]
        raise DataError(
            f"{path}: its frame of {of[0]} is outside its time bounds from {of[1]} to {of[2]};"
            " correct this file."
        )
    return found


def ends_of(
    labels: Times, intervals: Intervals | None, methods: str, minutes: float | None
) -> Times:
    """Return the time at which each frame is known: the end of its interval if the file states it,
    else its label.

    methods: `cell_methods` of the rain. minutes: length of an amount's interval; None for a rate.
    """
    said = re.search(r"\btime:\s*(\w+)", methods)
    method = said[1] if said is not None else None
    if intervals is None or method == "point":
        return labels
    if not intervals.by_bounds and minutes is None and method is None:
        return labels
    if intervals.labels_start and minutes is not None:
        return labels + np.timedelta64(round(minutes * 60e3), "ms")
    return np.where(intervals.ends > intervals.starts, intervals.ends, labels)


def minutes_of_cell_methods(text: str) -> float | None:
    """`time: sum (interval: 5 minutes)` → 5."""
    match = re.search(r"time:\s*sum[^)]*interval:\s*([\d.]+)\s*([a-z]+)", text)
    scale = (
        None
        if match is None
        else _TO_MINUTES.get(match[2], _TO_MINUTES.get(match[2].removesuffix("s")))
    )
    return None if match is None or scale is None else float(match[1]) * scale


def methods_of(field: xr.DataArray, time: xr.DataArray) -> str:
    """Return `cell_methods` of a field, with the name of its time variable replaced by "time"."""
    said = str(field.attrs.get("cell_methods", ""))
    return re.sub(rf"(?<!\S){re.escape(str(time.name))}:", "time:", said)


def refuse_climatology(methods: str, path: Path) -> None:
    """Errors: DataError if `cell_methods` are statistics within or over days or years."""
    if re.search(r"\b(within|over) (days|years)\b", methods):
        raise DataError(f"{path}: holds a climatology ({methods!r}), not consecutive frames.")


def _rank(variable: xr.DataArray) -> int | None:
    """Return how likely this is the time of the frames, 0 for most likely; None if it is not."""
    name, attrs, own = str(variable.name), variable.attrs, variable.dims == (variable.name,)
    since = is_time_unit(attrs.get("units"))
    standard = attrs.get("standard_name")
    if standard in _NOT_OF_FRAMES or name in (*_NOT_OF_FRAMES, *_STARTS):
        return None
    signs = (
        standard == "time" and own,
        name in ("time", "valid_time"),
        standard == "time",
        str(attrs.get("axis", "")).upper() == "T",
        attrs.get("_CoordinateAxisType") == "Time",
        since and own,
        since and name in _ENDS,
        since,
    )
    return next((rank for rank, sign in enumerate(signs) if sign), None)


def _calendar(time: xr.DataArray) -> str:
    return str(time.attrs.get("calendar", "standard")).lower() or "standard"


def _by_bounds(file: xr.Dataset, time: xr.DataArray, path: Path) -> Intervals | None:
    usual = [f"{time.name}_bnds", f"{time.name}_bounds"]  # for files that lost the attribute
    name = time.attrs.get("bounds") or next((one for one in usual if one in file.variables), None)
    if name is None:
        return None
    bounds = file.get(str(name))
    if bounds is None or bounds.dims[:-1] != time.dims or bounds.shape[-1:] != (2,):
        log.warning(
            "%s: names %r as the bounds of its times, but has no such variable; each time counts"
            " as the end of its interval.",
            path,
            name,
        )
        return None
    # CF 7.1: bounds inherit units and calendar of the time
    clock = {key: time.attrs[key] for key in ("units", "calendar") if key in time.attrs}
    pairs = decode(bounds.assign_attrs({**clock, **bounds.attrs}), path)
    return Intervals(
        np.atleast_1d(pairs.min(axis=-1)), np.atleast_1d(pairs.max(axis=-1)), by_bounds=True
    )


def _by_start_and_end(
    file: xr.Dataset, time: xr.DataArray, labels: Times, path: Path
) -> Intervals | None:
    start, end = (_companion(file, time, names, path) for names in (_STARTS, _ENDS))
    if start is None and end is None:
        return None
    if start is None or end is None:
        start, end = (labels if start is None else start), (labels if end is None else end)
        return Intervals(
            np.minimum(start, end),
            end,
            labels_start=bool((start == labels).all() and (start == end).all()),
        )
    return Intervals(np.minimum(start, end), np.maximum(start, end))


def _companion(
    file: xr.Dataset, time: xr.DataArray, names: tuple[str, ...], path: Path
) -> Times | None:
    """Return the decoded times of a variable with one of these names, along the frames, or None."""
    for name in names:
        if (
            name != time.name
            and name in file.variables
            and file[name].dims == time.dims
            and is_time_unit(file[name].attrs.get("units"))
        ):
            return np.atleast_1d(decode(file[name], path))
    return None
