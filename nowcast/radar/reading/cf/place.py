"""The location of the pixels of a dataset: x and y, latitude and longitude, and the grid mapping
(CF 4, 5).
"""

import re
from typing import Any

import numpy as np
import xarray as xr

from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import Place, axis_in_degrees, axis_in_metres, in_metres
from nowcast.radar.placing.longitudes import unwrapped
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.axes import (
    EAST,
    NORTH,
    SOUTH,
    WEST,
    along,
    degrees_along,
    units_of,
    way_of,
)
from nowcast.radar.reading.cf.mapping import grid_mapping_of, unit_of

_METRES = {
    "m metre meter metres meters": 1.0,
    "km kilometre kilometer kilometres kilometers": 1000.0,
    "hm hectometre hectometer hectometres hectometers": 100.0,
    "dm decimetre decimeter decimetres decimeters": 0.1,
    "cm centimetre centimeter centimetres centimeters": 0.01,
    "ft foot feet international_foot international_feet": 0.3048,
    "us_survey_foot us_survey_feet us-ft ftus survey_foot survey_feet": 1200 / 3937,
    "mi mile miles": 1609.344,
    "nmi nautical_mile nautical_miles": 1852.0,
}
_IN_METRES = {name: size for names, size in _METRES.items() for name in names.split()}
_ANGLES = {
    "rad radian radians": 1.0,
    "mrad milliradian milliradians": 1e-3,
    "urad µrad microradian microradians": 1e-6,
}
_IN_RADIANS = {name: size for names, size in _ANGLES.items() for name in names.split()}
_DEGREES = {"degree", "degrees", "deg", "°"}
_GRID = {"x": {"standard_name": "grid_longitude"}, "y": {"standard_name": "grid_latitude"}}
_PLAIN = {"x": LONGITUDE, "y": LATITUDE}


def place_of(file: xr.Dataset, field: xr.DataArray, y_name: str, x_name: str, where: str) -> Place:
    """Return the place of `field`, with rows along `y_name`: those of x, y, latitude, longitude and
    crs that `file` has.

    Rows and columns keep the order of the file. Lengths and the viewing angles of a geostationary
    satellite are converted to metres; longitudes are unwrapped. Nothing is guessed. Errors:
    DataError, see grid_mapping_of.
    """
    named = {"y": y_name, "x": x_name}
    crs = grid_mapping_of(file, field, set(named.values()), where)
    found = {ours: _axis_along(file, dim, ours, crs) for ours, dim in named.items()}
    place: Place = {
        ours: _axis(axis, ours, crs) for ours, axis in found.items() if axis is not None
    }
    if crs is not None:
        units = {ours: _unit_of_origin(axis, ours, crs) for ours, axis in found.items()}
        place[CRS] = (
            in_metres(crs, units["x"], units["y"])
            if set(units.values()) != {1.0}
            else xr.Variable((), crs.values, crs.attrs)
        )
    for ours, way in ((LATITUDE, "Y"), (LONGITUDE, "X")):
        degrees = degrees_along(file, way, {y_name, x_name})
        if degrees is not None:
            place[ours] = _pixel_degrees(degrees.transpose(y_name, x_name), ours)
    return place


def _axis_along(
    file: xr.Dataset, dim: str, ours: str, crs: xr.Variable | None
) -> xr.Variable | None:
    """Return the coordinate along a dimension: its coordinate variable, else another variable along
    it that is declared as x or y.

    Another variable has priority over a coordinate variable without units. Projection coordinates
    have priority over degrees if the projection is known.
    """
    own = [variable for variable in along(file, dim) if variable is file.variables.get(dim)]
    known = [
        variable
        for variable in along(file, dim)
        if way_of(variable) == ours.upper() and variable.dtype.kind in "iuf"
    ]
    if own and (own[0].attrs.get("units") or not known):
        return own[0] if own[0].dtype.kind in "iuf" else None
    projected = [
        variable for variable in known if units_of(variable) not in NORTH | EAST | SOUTH | WEST
    ]
    return next(iter([*(projected if crs is not None else ()), *known]), None)


def _axis(axis: xr.Variable, ours: str, crs: xr.Variable | None) -> xr.Variable:
    values, units = storage.plain_values(axis.values, axis.attrs).astype(np.float64), units_of(axis)
    sign = _degrees_of(axis, ours, crs)
    if sign:
        return axis_in_degrees(ours, unwrapped(sign * values) if ours == "x" else sign * values)
    if _rotated(axis, crs):
        attrs = {**_GRID[ours], "units": "degrees", "axis": ours.upper()}
        return xr.Variable(ours, unwrapped(values) if ours == "x" else values, attrs)
    length = _length_of(axis, ours, crs)
    if length is not None:
        with np.errstate(over="ignore"):  # damaged values
            return axis_in_metres(ours, values * length)
    return xr.Variable(
        ours, values, {"axis": ours.upper(), **({"units": axis.attrs["units"]} if units else {})}
    )


def _degrees_of(axis: xr.Variable, ours: str, crs: xr.Variable | None) -> float:
    """Return the factor that converts an axis of latitude or longitude to degrees north or east; 0
    if it is neither.
    """
    units, standard = units_of(axis), axis.attrs.get("standard_name")
    named = standard == _PLAIN[ours] or axis.attrs.get("_CoordinateAxisType") in ("Lon", "Lat")
    turned = crs is not None and crs.attrs["grid_mapping_name"] == "rotated_latitude_longitude"
    if standard == _GRID[ours]["standard_name"] or (turned and standard != _PLAIN[ours]):
        return 0.0
    if units in (EAST if ours == "x" else NORTH):
        return 1.0
    if units in (WEST if ours == "x" else SOUTH):
        return -1.0
    if (
        crs is not None
        and crs.attrs["grid_mapping_name"] == "latitude_longitude"
        and standard in (None, _PLAIN[ours])
    ):
        named = named or units in _DEGREES or not units
    if not named:
        return 0.0
    return (
        float(np.degrees(_IN_RADIANS[units]))
        if units in _IN_RADIANS
        else 1.0
        if units in _DEGREES or not units
        else 0.0
    )


def _rotated(axis: xr.Variable, crs: xr.Variable | None) -> bool:
    """Return whether an axis is in degrees of a rotated pole."""
    turned = crs is not None and crs.attrs["grid_mapping_name"] == "rotated_latitude_longitude"
    named = axis.attrs.get("standard_name") in ("grid_longitude", "grid_latitude")
    return (turned or named) and (units_of(axis) in _DEGREES | EAST | NORTH or not units_of(axis))


def _length_of(axis: xr.Variable, ours: str, crs: xr.Variable | None) -> float | None:
    """Return the metres per unit of an axis; None if it is not a length.

    An angle of a geostationary view is multiplied by the height of the satellite.
    """
    units, attrs = units_of(axis), {} if crs is None else crs.attrs
    if attrs.get("grid_mapping_name") == "geostationary" and (
        units in _IN_RADIANS or units in _DEGREES or (not units and _is_angular(axis))
    ):
        return float(attrs["perspective_point_height"]) * _IN_RADIANS.get(
            units, float(np.radians(1.0)) if units else 1.0
        )
    counted = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d+)?)\s*\*?\s*(\S+)", units)  # 1000 m
    name, count = (counted[2], float(counted[1])) if counted else (units, 1.0)
    if name in _IN_METRES:
        return count * _IN_METRES[name]
    projected = crs is not None and attrs["grid_mapping_name"] not in (
        "latitude_longitude",
        "rotated_latitude_longitude",
    )
    if not units and (
        projected or axis.attrs.get("standard_name") == f"projection_{ours}_coordinate"
    ):
        return unit_of(crs) or 1.0
    return None


def _unit_of_origin(axis: xr.Variable | None, ours: str, crs: xr.Variable) -> float:
    """Return the metres per unit of a false origin: that of the text, else (CF) of the axis."""
    return unit_of(crs) or (1.0 if axis is None else _length_of(axis, ours, crs) or 1.0)


def _is_angular(axis: xr.Variable) -> bool:
    return str(axis.attrs.get("standard_name", "")).endswith("angular_coordinate")


def _pixel_degrees(degrees: xr.Variable, ours: str) -> xr.Variable:
    """Return latitude or longitude (y, x) in degrees north or east."""
    units = units_of(degrees)
    factor = (
        -1.0
        if units in SOUTH | WEST
        else float(np.degrees(_IN_RADIANS[units]))
        if units in _IN_RADIANS
        else 1.0
    )
    stored = storage.plain_values(degrees.values, degrees.attrs)
    values = stored if factor == 1.0 else factor * stored
    values = _same_type(values if ours == LATITUDE else unwrapped(values), degrees.values)
    attrs = {
        "standard_name": ours,
        "units": "degrees_north" if ours == LATITUDE else "degrees_east",
    }
    return xr.Variable(("y", "x"), values, attrs)


def _same_type(values: Any, like: Any) -> Any:
    return values.astype(like.dtype) if like.dtype.kind == "f" else values
