"""What a self-describing dataset holds, by CF and by what is known of services: its rain variable, units, times and place."""

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import storage
from nowcast.radar.file import Layout, RadarFile, ReadOptions
from nowcast.radar.georeference import place_of, runs_along_x
from nowcast.radar.products import on_known_grid, product_of
from nowcast.radar.times import Times, show
from nowcast.radar.units import quantity_of

# CF standard names of what radars measure as rain.
RAIN_NAMES = {
    "lwe_precipitation_rate", "rainfall_rate", "rainfall_flux", "precipitation_flux", "lwe_convective_precipitation_rate",
    "lwe_thickness_of_precipitation_amount", "lwe_thickness_of_rainfall_amount", "thickness_of_rainfall_amount",
    "rainfall_amount", "precipitation_amount", "equivalent_reflectivity_factor",
}  # fmt: skip
PROVENANCE = ("title", "institution", "source", "references", "license", "licence")
_CALENDARS = {"standard", "gregorian", "proleptic_gregorian"}
_TO_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "second": 1 / 60, "min": 1.0, "minute": 1.0, "h": 60.0, "hr": 60.0, "hour": 60.0,
               "d": 1440.0, "day": 1440.0}  # fmt: skip


def describe_dataset(file: xr.Dataset, path: Path, options: ReadOptions, form: str) -> RadarFile:
    """What an open dataset holds, its times undecoded. `form` is the name of its format. Errors: DataError, OSError, RuntimeError."""
    time = _find_time(file, path)
    field = _find_rain(file, time, options, path)
    dims = _field_dims(file, field, time)
    text, minutes = _find_units(file, field, time, options, path)
    shape = (field.sizes[dims[1]], field.sizes[dims[2]])
    packing, flags = storage.packing_of({**field.encoding, **field.attrs}), product_of(file, field).missing
    layout = Layout(str(field.name), shape, text, minutes, None, packing, dims, flags)
    times = np.atleast_1d(_decode(time, path))
    place = on_known_grid(place_of(file, field, dims[1], dims[2], str(path)), str(path))
    if times.size == 0 or 0 in shape:
        raise DataError(f"{path}: holds no frame; remove this file.")
    if np.isnat(times).any():
        raise DataError(f"{path}: frame {int(np.isnat(times).argmax())} has no time; mend or remove this file.")
    _refuse_forecast(file, times, path)
    attrs = {name: str(file.attrs[name]) for name in PROVENANCE if name in file.attrs}
    return RadarFile(path, form, layout, times, place, attrs)


def _find_time(file: xr.Dataset, path: Path) -> xr.DataArray:
    """The time of each frame, one-dimensional or scalar, as numbers."""
    flat = [file[name] for name in file.variables if file[name].ndim <= 1]
    named = [v for v in flat if v.name in ("time", "valid_time")]
    for time in [*(v for v in flat if v.attrs.get("standard_name") == "time" and v.dims == (v.name,)), *named,
                 *(v for v in flat if v.attrs.get("standard_name") == "time")]:  # fmt: skip
        if " since " not in str(time.attrs.get("units", "")):
            raise DataError(f"{path}: {time.name!r} has no units like 'minutes since 2020-01-01 00:00'; nowcast needs CF times.")
        calendar = str(time.attrs.get("calendar", "standard")).lower()
        if calendar not in _CALENDARS:
            raise DataError(f"{path}: its times are in the calendar {calendar!r}; nowcast reads {', '.join(sorted(_CALENDARS))}.")
        return time
    raise DataError(f"{path}: has no time; nowcast needs a CF variable 'time' with units like 'minutes since 2020-01-01 00:00'.")


def _refuse_forecast(file: xr.Dataset, times: Times, path: Path) -> None:
    """Errors: DataError where frames lie after the one reference time of a forecast: they would be taken for what a radar saw."""
    for variable in file.variables.values():
        if (
            variable.attrs.get("standard_name") == "forecast_reference_time"
            and variable.size == 1
            and " since " in str(variable.attrs.get("units"))
        ):
            reference = np.atleast_1d(_decode(xr.DataArray(variable), path)).ravel()[0]
            if times.max() > reference:
                raise DataError(
                    f"{path}: holds a forecast of {show(reference)}, not what a radar measured; keep forecasts out of the radar files."
                )


def _decode(time: xr.DataArray, path: Path) -> Times:
    """Numbers "since" → datetime64[ns], to the nearest millisecond (for times stored as fractions of an hour)."""
    text, numbers = str(time.attrs["units"]), np.asarray(time.values)
    try:
        origin, unit = _clock(text, str(time.attrs.get("calendar", "standard")).lower())
        milliseconds = np.where(np.isfinite(numbers), numbers, 0) * (unit / np.timedelta64(1, "ms"))
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(
            f"{path}: its times ({text!r}) cannot be read; write them in UTC, as 'minutes since 2020-01-01 00:00', or with an "
            "offset, as 'minutes since 2020-01-01 00:00 +01:00'."
        ) from error
    if np.abs(milliseconds).max(initial=0) > 9e12:  # 285 years: more than datetime64[ns] can hold
        raise DataError(f"{path}: its times ({text!r}) cannot be read, for one is out of range; mend or remove this file.")
    decoded = origin + np.round(milliseconds).astype("timedelta64[ms]").astype("timedelta64[ns]")
    return np.asarray(np.where(np.isfinite(numbers), decoded, np.datetime64("NaT")), dtype="datetime64[ns]")


@lru_cache(maxsize=64)
def _clock(text: str, calendar: str) -> tuple[np.datetime64, np.timedelta64]:
    """'minutes since 2020-01-01' → (2020-01-01T00:00 in UTC, 1 minute)."""
    raw = xr.Dataset({"t": ("t", [0, 1], {"units": text, "calendar": calendar})})
    start, after_one = xr.decode_cf(raw, decode_times=xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="ns"))["t"].values
    return start, after_one - start


def _find_rain(file: xr.Dataset, time: xr.DataArray, options: ReadOptions, path: Path) -> xr.DataArray:
    """The rain variable: the one asked for, else the one CF names rain, else the only one in units of rain, else the only one."""
    aside = {str(v.attrs["bounds"]) for v in file.variables.values() if "bounds" in v.attrs}
    fields = [file[n] for n in file.data_vars if n not in aside and _is_field(file[n], time)]
    if options.variable is not None:
        if options.variable in {str(v.name) for v in fields}:
            return file[options.variable]
        known = ", ".join(map(_show, fields)) or "none"
        raise DataError(f"{path}: has no field {options.variable!r} over time, y and x (it has: {known}); set data.variable.")
    named = [v for v in fields if v.attrs.get("standard_name") in RAIN_NAMES]
    in_rain_units = [v for v in fields if quantity_of(str(v.attrs.get("units", ""))) is not None]
    several = next((choice for choice in (named, in_rain_units, fields) if choice), [])
    if len(several) == 1:
        return several[0]
    if not several:
        raise DataError(f"{path}: has no rain over time, y and x (it has: {', '.join(map(str, file.variables)) or 'nothing'}).")
    choice = ", ".join(map(_show, several))
    raise DataError(f"{path}: several variables may be the rain: {choice}; choose one with data.variable.")


def _is_field(variable: xr.DataArray, time: xr.DataArray) -> bool:
    if variable.dtype.kind not in "iuf" or (time.size > 1 and time.dims[0] not in variable.dims):
        return False
    degrees = str(variable.attrs.get("units", "")).startswith("degree")
    return not degrees and len(_space_dims(variable, time)) == 2


def _space_dims(variable: xr.DataArray, time: xr.DataArray) -> list[str]:
    dims = [str(name) for name in variable.dims if name not in time.dims]
    return dims if len(dims) <= 2 else [name for name in dims if variable.sizes[name] > 1]


def _field_dims(file: xr.Dataset, field: xr.DataArray, time: xr.DataArray) -> tuple[str | None, str, str]:
    """The file's names of (time, y, x); the last two dimensions are y and x unless the first of them says that it is x."""
    y, x = _space_dims(field, time)
    if runs_along_x(file, y):
        y, x = x, y
    return next((str(name) for name in field.dims if name in time.dims), None), y, x


def _find_units(
    file: xr.Dataset, field: xr.DataArray, time: xr.DataArray, options: ReadOptions, path: Path
) -> tuple[str, float | None]:
    """(units, minutes of accumulation or None). What the file says first, then the options; but data.units overrules the file."""
    stated = str(field.attrs.get("units", ""))
    product = product_of(file, field)
    text = options.units or (stated if quantity_of(stated) else product.units or stated)
    quantity = quantity_of(text)
    if quantity is None:
        holds = f"is in {text!r}" if text else "has no units"
        raise DataError(
            f"{path}: {field.name!r} {holds}; nowcast reads 'mm h-1', 'mm' with data.accumulation_minutes, or 'dBZ': say which"
            " with data.units, or name another variable with data.variable."
        )
    if quantity != "amount":
        return text, None
    minutes = (
        minutes_of_cell_methods(str(field.attrs.get("cell_methods", "")))
        or _from_bounds(file, time, path)
        or product.minutes
        or options.accumulation_minutes
    )
    if minutes is None:
        raise DataError(
            f"{path}: {field.name!r} is an amount in {text!r}, but over how many minutes is not said; set"
            " data.accumulation_minutes (or data.units, if it is a rate)."
        )
    return text, minutes


def minutes_of_cell_methods(text: str) -> float | None:
    """`time: sum (interval: 5 minutes)` → 5."""
    match = re.search(r"time:\s*sum[^)]*interval:\s*([\d.]+)\s*([a-z]+)", text)
    scale = None if match is None else _TO_MINUTES.get(match[2], _TO_MINUTES.get(match[2].removesuffix("s")))
    return None if match is None or scale is None else float(match[1]) * scale


def _from_bounds(file: xr.Dataset, time: xr.DataArray, path: Path) -> float | None:
    """The minutes between the bounds of each time, or between a `start_time` and the time."""
    bounds = file.get(str(time.attrs.get("bounds", "")))
    start = file.get("start_time")
    if bounds is not None and bounds.dims[:-1] == time.dims and bounds.shape[-1] == 2:
        ends = _decode(bounds.assign_attrs({**time.attrs, **bounds.attrs}), path)
        spans = ends[..., 1] - ends[..., 0]
    elif start is not None and start.dims == time.dims and " since " in str(start.attrs.get("units", "")):
        spans = _decode(time, path) - _decode(start, path)
    else:
        return None
    minutes = np.unique(np.abs(np.atleast_1d(spans) / np.timedelta64(1, "m")).round(3))
    if minutes.size > 1:
        raise DataError(f"{path}: its frames are sums over {minutes[0]:g} to {minutes[-1]:g} minutes; nowcast needs one length.")
    return float(minutes[0]) or None


def _show(variable: xr.DataArray) -> str:
    return f"{variable.name!s} [{variable.attrs.get('units', 'no units')}]"
