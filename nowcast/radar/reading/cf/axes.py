"""Find which dimension of a dataset is x, y, z or time, from all attributes that CF allows (CF 4,
5).
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.placing.longitudes import degrees_apart
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.time_units import is_time_unit

Way = Literal["X", "Y", "Z", "T"]

# UDUNITS spellings listed in CF 4.1 and 4.2, in lower case; west and south have the opposite sign.
NORTH = {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"}
EAST = {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"}
SOUTH = {"degrees_south", "degree_south", "degrees_s", "degree_s"}
WEST = {"degrees_west", "degree_west", "degrees_w", "degree_w"}
_STANDARD: dict[str, Way] = {
    "longitude": "X", "projection_x_coordinate": "X", "grid_longitude": "X",
    "projection_x_angular_coordinate": "X", "latitude": "Y", "projection_y_coordinate": "Y",
    "grid_latitude": "Y", "projection_y_angular_coordinate": "Y", "time": "T", "altitude": "Z",
    "height": "Z", "depth": "Z", "air_pressure": "Z", "model_level_number": "Z",
}  # fmt: skip
_TYPES: dict[str, Way] = {
    "Lon": "X", "GeoX": "X", "Lat": "Y", "GeoY": "Y", "Time": "T", "Height": "Z", "GeoZ": "Z",
    "Pressure": "Z",
}  # fmt: skip
_NAMES: dict[Way, set[str]] = {
    "X": {"x", "xc", "nx", "lon", "lons", "longitude", "longitudes", "rlon", "easting", "eastings",
    "west_east", "column",
          "columns", "col", "cols"},
    "Y": {"y", "yc", "ny", "lat", "lats", "latitude", "latitudes", "rlat", "northing", "northings",
    "south_north", "row", "rows"}, "Z": {"z", "level", "lev", "height", "altitude", "depth"},
}  # fmt: skip


def way_of(variable: xr.Variable) -> Way | None:
    """Return the axis of a coordinate from its units, standard name, `axis` or
    `_CoordinateAxisType`; None if unknown.
    """
    units = units_of(variable)
    if units in NORTH | SOUTH:
        return "Y"
    if units in EAST | WEST:
        return "X"
    said = _STANDARD.get(str(variable.attrs.get("standard_name"))) or _TYPES.get(
        str(variable.attrs.get("_CoordinateAxisType"))
    )
    if said is not None:
        return said
    letter = str(variable.attrs.get("axis", "")).upper()
    return letter if letter in ("X", "Y", "Z", "T") else "T" if is_time_unit(units) else None  # type: ignore[return-value]


def way_of_name(name: str) -> Way | None:
    """Return the axis of a dimension if its name is a common one, else None."""
    return next((way for way, names in _NAMES.items() if name.lower() in names), None)


def units_of(variable: xr.Variable) -> str:
    """Return the units in lower case, '' if it has none."""
    return str(variable.attrs.get("units", "")).strip().lower()


def along(file: xr.Dataset, dim: str) -> list[xr.Variable]:
    """Return the one-dimensional variables along `dim`, its coordinate variable first; without
    bounds.
    """
    own = (
        [file.variables[dim]]
        if dim in file.variables and file.variables[dim].dims == (dim,)
        else []
    )
    return own + [
        variable
        for name, variable in file.variables.items()
        if name != dim and variable.dims == (dim,)
    ]


def y_and_x(file: xr.Dataset, dims: Iterable[str], where: str) -> tuple[str, str]:
    """Return which of two dimensions of a field is (y, x); in the given order if the file does not
    state it.

    Errors: DataError if a dimension is declared as both x and y, or both are declared as the same.
    """
    first, second = dims
    for say in (_by_coordinates, _by_name_of_coordinate, _by_degrees, _by_name):
        ways = say(file, first, second, where)
        if ways[0] == ways[1] and ways[0] is not None:
            if say is not _by_coordinates:
                continue
            raise DataError(
                f"{where}: both {first!r} and {second!r} are declared as {ways[0].lower()}; correct"
                " its axes."
            )
        if ways[0] == "X" or ways[1] == "Y":
            return second, first
        if ways[0] == "Y" or ways[1] == "X":
            return first, second
    return first, second


Ways = tuple[Way | None, Way | None]


def _by_coordinates(file: xr.Dataset, first: str, second: str, where: str) -> Ways:
    return _way_along(file, first, where), _way_along(file, second, where)


def _way_along(file: xr.Dataset, dim: str, where: str) -> Way | None:
    for variable in along(file, dim):
        way, letter = way_of(variable), str(variable.attrs.get("axis", "")).upper()
        if way in ("X", "Y") and letter in ("X", "Y") and letter != way:
            raise DataError(
                f"{where}: the axis of {dim!r} is declared as {letter}, but its units or standard"
                f" name mean {way}; correct it."
            )
        if way in ("X", "Y"):
            return way
    return None


def _by_name_of_coordinate(file: xr.Dataset, first: str, second: str, where: str) -> Ways:
    own = [way_of_name(dim) if dim in file.variables else None for dim in (first, second)]
    return own[0], own[1]


def _by_name(file: xr.Dataset, first: str, second: str, where: str) -> Ways:
    return way_of_name(first), way_of_name(second)


def _by_degrees(file: xr.Dataset, first: str, second: str, where: str) -> Ways:
    """Decide by which of latitude and longitude of the pixels changes more along each dimension."""
    longitude, latitude = (degrees_along(file, way, {first, second}) for way in ("X", "Y"))
    if longitude is None or latitude is None or min(file.sizes[first], file.sizes[second]) < 2:
        return None, None
    east, north = (
        storage.plain_values(one.transpose(first, second).values, one.attrs).astype(np.float64)
        for one in (longitude, latitude)
    )
    shorter = np.cos(np.radians(north))  # length of a degree of longitude relative to latitude
    shares = [
        (
            _usual(
                degrees_apart(np.diff(east, axis=axis), 0.0)
                * shorter.take(range(1, shorter.shape[axis]), axis)
            ),
            _usual(np.abs(np.diff(north, axis=axis))),
        )
        for axis in (0, 1)
    ]
    if shares[0][0] > shares[0][1] and shares[1][1] > shares[1][0]:
        return "X", "Y"
    return (
        ("Y", "X") if shares[0][1] > shares[0][0] and shares[1][0] > shares[1][1] else (None, None)
    )


def _usual(steps: npt.NDArray[np.float64]) -> float:
    """Return the median of finite values; NaN if there are none."""
    known = steps[np.isfinite(steps)]
    return float(np.median(known)) if known.size else float("nan")


def degrees_along(file: xr.Dataset, way: str, dims: set[str]) -> xr.Variable | None:
    """Return the latitude (Y) or longitude (X) of each pixel: a variable over these two dimensions
    (other dimensions must have size 1), or None.
    """
    known, standard = (EAST | WEST, "longitude") if way == "X" else (NORTH | SOUTH, "latitude")
    flat = {
        str(name): variable.isel(
            {dim: 0 for dim in variable.dims if variable.sizes[dim] == 1 and dim not in dims}
        )
        for name, variable in file.variables.items()
        if dims <= set(map(str, variable.dims)) and variable.dtype.kind in "iuf"
    }
    over = {name: variable for name, variable in flat.items() if set(variable.dims) == dims}
    kinds = {"longitude": "Lon", "latitude": "Lat"}
    for variable in over.values():
        if variable.attrs.get("standard_name") == standard or units_of(variable) in known:
            return variable
        if variable.attrs.get("_CoordinateAxisType") == kinds[standard]:
            return variable
    names = (standard, f"{standard}s", standard[:3], {"latitude": "nav_lat",
        "longitude": "nav_lon"}[standard], f"x{standard[:3]}",
             f"x{standard[:4]}")  # fmt: skip
    return next(
        (variable for wanted in names for name, variable in over.items() if name.lower() == wanted),
        None,
    )
