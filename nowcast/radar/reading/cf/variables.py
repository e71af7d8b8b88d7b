"""Describe a self-describing dataset by CF and by known facts about services: its rain variable,
units, times and place.
"""

import math
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.axes import along, way_of, way_of_name, y_and_x
from nowcast.radar.reading.cf.place import place_of
from nowcast.radar.reading.cf.time_units import is_time_unit
from nowcast.radar.reading.cf.times import (
    Intervals,
    decode,
    ends_of,
    find_time,
    intervals_of,
    methods_of,
    minutes_of_cell_methods,
    refuse_climatology,
)
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions
from nowcast.radar.reading.products import on_known_grid, product_of
from nowcast.radar.reading.units import ANOTHER_VARIABLE, choose_minutes, choose_units, quantity_of
from nowcast.radar.times import Times, show

# CF standard names of quantities that radars measure as rain.
RAIN_NAMES = {
    "lwe_precipitation_rate", "rainfall_rate", "rainfall_flux", "precipitation_flux",
    "lwe_convective_precipitation_rate", "lwe_thickness_of_precipitation_amount",
    "lwe_thickness_of_rainfall_amount", "thickness_of_rainfall_amount", "rainfall_amount",
    "precipitation_amount", "equivalent_reflectivity_factor",
}  # fmt: skip
PROVENANCE = ("title", "institution", "source", "references", "license", "licence")


def describe_dataset(file: xr.Dataset, path: Path, options: ReadOptions, form: str) -> RadarFile:
    """Describe an open dataset, with times not decoded.

    `form` is the name of its format. Errors: DataError, OSError, RuntimeError.
    """
    time = find_time(file, path)
    field = _find_rain(file, time, options, path)
    dims = _field_dims(file, field, time, path)
    labels = np.atleast_1d(decode(time, path))
    intervals = intervals_of(file, time, labels, path)
    text, minutes = _find_units(file, field, time, intervals, options, path)
    times = ends_of(labels, intervals, methods_of(field, time), minutes)
    shape = (field.sizes[dims[1]], field.sizes[dims[2]])
    packing, flags = _packing(field, path), product_of(file, field).missing
    layout = Layout(str(field.name), shape, text, minutes, None, packing, dims, flags)
    place = on_known_grid(place_of(file, field, dims[1], dims[2], str(path)), str(path))
    if times.size == 0 or 0 in shape:
        raise DataError(f"{path}: has no frames; perhaps it is still being written.")
    if np.isnat(times).any():
        raise DataError(
            f"{path}: frame {int(np.isnat(times).argmax())} has no time; correct this file, or"
            " leave it out."
        )
    _refuse_forecast(file, labels, path)
    attrs = {name: str(file.attrs[name]) for name in PROVENANCE if name in file.attrs}
    return RadarFile(path, form, layout, times, place, attrs)


def _refuse_forecast(file: xr.Dataset, times: Times, path: Path) -> None:
    """Errors: DataError if frames are later than the reference time of a forecast, since they would
    be taken for radar measurements.
    """
    for variable in file.variables.values():
        if (
            variable.attrs.get("standard_name") == "forecast_reference_time"
            and variable.size == 1
            and is_time_unit(variable.attrs.get("units"))
        ):
            reference = np.atleast_1d(decode(xr.DataArray(variable), path)).ravel()[0]
            if times.max() > reference:
                raise DataError(
                    f"{path}: holds a forecast from {show(reference)}, not radar measurements;"
                    f" look at it with 'nowcast plot {path}' or xarray, and keep forecasts out of"
                    " the radar files."
                )


def _packing(field: xr.DataArray, path: Path) -> tuple[float, float]:
    """Return (scale, offset) of the rain.

    Errors: DataError if one is not a finite number, or the scale is 0.
    """
    try:
        scale, offset = storage.packing_of(field.attrs)
        usable = math.isfinite(scale) and math.isfinite(offset) and scale != 0
    except ValueError:
        usable = False
    if not usable:
        said = {
            key: field.attrs[key] for key in ("scale_factor", "add_offset") if key in field.attrs
        }
        raise DataError(
            f"{path}: {field.name!r} cannot be unpacked with {said}: scale_factor (not 0) and"
            " add_offset must be single finite numbers; correct this file."
        )
    return scale, offset


def _find_rain(
    file: xr.Dataset, time: xr.DataArray, options: ReadOptions, path: Path
) -> xr.DataArray:
    """Return the rain variable: the one asked for, else the one with a CF name of rain, else the
    only one in units of rain, else the only one.
    """
    aside = {str(v.attrs["bounds"]) for v in file.variables.values() if "bounds" in v.attrs}
    fields = [file[n] for n in file.data_vars if n not in aside and _is_field(file, file[n], time)]
    if options.variable is not None:
        if options.variable in {str(v.name) for v in fields}:
            return file[options.variable]
        known = ", ".join(map(_show, fields)) or "none"
        further = _further(file, [options.variable], time)
        also = f", and {further}" if further else ""
        raise DataError(
            f"{path}: has no field {options.variable!r} over time, y and x{also} (it has: {known});"
            " set data.variable."
        )
    named = [v for v in fields if v.attrs.get("standard_name") in RAIN_NAMES]
    in_rain_units = [v for v in fields if quantity_of(str(v.attrs.get("units", ""))) is not None]
    several = next((choice for choice in (named, in_rain_units, fields) if choice), [])
    if len(several) == 1:
        return several[0]
    if not several:
        further = _further(file, [str(name) for name in file.data_vars if name not in aside], time)
        if further:
            raise DataError(
                f"{path}: has no rain over only time, y and x: {further}; select one entry of each"
                " further dimension, with ncks -d or cdo."
            )
        raise DataError(
            f"{path}: has no rain over time, y and x (it has:"
            f" {', '.join(map(str, file.variables)) or 'nothing'})."
        )
    choice = ", ".join(map(_show, several))
    raise DataError(
        f"{path}: several variables may be the rain: {choice}; choose one with data.variable."
    )


def _is_field(file: xr.Dataset, variable: xr.DataArray, time: xr.DataArray) -> bool:
    if variable.dtype.kind not in "iuf" or (time.size > 1 and time.dims[0] not in variable.dims):
        return False
    degrees = str(variable.attrs.get("units", "")).startswith("degree")
    dims = _space_dims(variable, time)
    return not degrees and len(dims) == 2 and not any(_is_level(file, dim) for dim in dims)


def _is_level(file: xr.Dataset, dim: str) -> bool:
    """Return whether the coordinate of a dimension is a height, a level or an ensemble member."""
    coordinate = file.variables.get(dim)
    return (
        coordinate is not None
        and coordinate.dims == (dim,)
        and (way_of(coordinate) == "Z" or coordinate.attrs.get("standard_name") == "realization")
    )


def _further(file: xr.Dataset, names: list[str], time: xr.DataArray) -> str:
    """Describe numeric variables with more dimensions than time, y and x, and these dimensions; ''
    if there are none.
    """
    said = []
    for name in names:
        dims = [] if name not in file.data_vars else _space_dims(file[name], time)
        if (
            len(dims) < 2
            or file[name].dtype.kind not in "iuf"
            or "bounds" in name
            or "bnds" in name
        ):
            continue
        more = [
            dim
            for dim in dims
            if way_of_name(dim) not in ("X", "Y")
            and not any(way_of(one) in ("X", "Y") for one in along(file, dim))
        ]
        more = more if len(dims) > 2 else [dim for dim in more if _is_level(file, dim)]
        more = more if len(more) < len(dims) - 1 else dims[:-2]
        if more:
            said.append(
                f"{name!r} also has"
                f" {' and '.join(f'{dim!r} of size {file.sizes[dim]}' for dim in more)}"
            )
    return ", ".join(said)


def _space_dims(variable: xr.DataArray, time: xr.DataArray) -> list[str]:
    """Return the dimensions without time; of more than two, those with more than one entry."""
    dims = [str(name) for name in variable.dims if name not in time.dims]
    if len(dims) <= 2:
        return dims
    spread = [name for name in dims if variable.sizes[name] > 1]
    return (
        spread
        if len(spread) >= 2
        else [name for name in dims if variable.sizes[name] > 1 or way_of_name(name) in ("X", "Y")]
    )


def _field_dims(
    file: xr.Dataset, field: xr.DataArray, time: xr.DataArray, path: Path
) -> tuple[str | None, str, str]:
    """Return the names in the file of the dimensions (time, y, x); the last two dimensions are y
    and x unless the file states otherwise.
    """
    y, x = y_and_x(file, _space_dims(field, time), str(path))
    return next((str(name) for name in field.dims if name in time.dims), None), y, x


def _find_units(
    file: xr.Dataset,
    field: xr.DataArray,
    time: xr.DataArray,
    intervals: Intervals | None,
    options: ReadOptions,
    path: Path,
) -> tuple[str, float | None]:
    """Return (units, minutes of accumulation or None).

    The file has priority over the options, except that data.units overrides the file.
    """
    stated = str(field.attrs.get("units", ""))
    product = product_of(file, field)
    stated = stated if quantity_of(stated) else product.units or stated
    what = f"{path}: {field.name!r}"
    text = choose_units(options.units, stated, what, ANOTHER_VARIABLE)
    methods = methods_of(field, time)
    refuse_climatology(methods, path)
    if quantity_of(text) != "amount":
        return text, None
    minutes = (
        (None if intervals is None else intervals.minutes(path))
        or minutes_of_cell_methods(methods)
        or product.minutes
    )
    return text, choose_minutes(options.accumulation_minutes, minutes, text, f"{what} is")


def _show(variable: xr.DataArray) -> str:
    return f"{variable.name!s} [{variable.attrs.get('units', 'no units')}]"
