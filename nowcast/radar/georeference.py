"""Where the pixels are: x and y in metres, latitude and longitude, and the grid mapping, as far as a file says."""

import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE, RATE

if TYPE_CHECKING:
    import pyproj

log = logging.getLogger(__name__)

Place = dict[str, xr.Variable]
_METRES = {"m", "metre", "meter", "metres", "meters"}
_KILOMETRES = {"km", "kilometre", "kilometer", "kilometres", "kilometers", "1000 m"}
_LATITUDE = {"standard_name": "latitude", "units": "degrees_north"}
_LONGITUDE = {"standard_name": "longitude", "units": "degrees_east"}
_NORTH = {"degrees_north", "degree_north", "degrees_n", "degree_n"}
_FILE_IN_PROJ = re.compile(r"(init\s*=\s*(?!epsg:\d+\b)|\w*grids\s*=\s*(?!@?null\b)|(file|catalog)\s*=)\S*", re.IGNORECASE)
"""What PROJ would open: +nadgrids=/some/where."""
_EAST = {"degrees_east", "degree_east", "degrees_e", "degree_e"}


def place_of(file: xr.Dataset, field: xr.DataArray, y_name: str, x_name: str, where: str) -> Place:
    """What `file` says of the place of `field`, whose rows lie along `y_name`: some of x, y, latitude, longitude and crs.

    Rows and columns keep the file's order. Coordinates in km become metres; nothing is invented where the file is silent.
    """
    crs = _grid_mapping(file, field, where)
    place: Place = {}
    for ours, name in (("y", y_name), ("x", x_name)):
        if name in file.variables and file[name].dims == (name,):
            place[ours] = _axis(file[name], ours, has_crs=crs is not None)
    if crs is not None:
        place[CRS] = in_metres(crs) if _in_km(file, x_name) else crs
    for ours in (LATITUDE, LONGITUDE):
        found = next((v for v in file.variables.values() if set(v.dims) == {y_name, x_name} and _is(v, ours)), None)
        found = found if found is not None else _by_name(file, ours, {y_name, x_name})
        if found is not None:
            values = np.asarray(found.transpose(y_name, x_name).values)
            place[ours] = xr.Variable(("y", "x"), values, dict(_LATITUDE if ours == LATITUDE else _LONGITUDE))
    return place


def runs_along_x(file: xr.Dataset, dim: str) -> bool:
    """Whether a dimension says of itself that it is x, or the longitude."""
    attrs = file[dim].attrs if dim in file.variables else {}
    return str(attrs.get("axis", "")).upper() == "X" or attrs.get("standard_name") in ("projection_x_coordinate", "longitude")


def place_differs(first: Place, other: Place) -> str:
    """What of the coordinates or the grid mapping of two files differs by more than rounding; empty where nothing does."""
    if first is other:
        return ""
    for name in sorted(first.keys() | other.keys()):
        if name not in first or name not in other:
            return f"only one of them has {name!r}"
        if name == CRS:
            attrs = first[name].attrs
            if not all(np.array_equal(attrs[key], other[name].attrs.get(key, "")) for key in attrs):
                return "their grid mappings differ"
        elif not same_coordinates(first[name].values, other[name].values):
            return f"{name!r} differs"
    return ""


def same_coordinates(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Whether two coordinates, (n,) or (y, x), agree to a thousandth of a pixel, as single and double precision of one do."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (one, other))
    if a.shape != b.shape:
        return False
    steps = [np.nanmax(np.abs(np.diff(a, axis=axis)), initial=0.0) for axis in range(a.ndim) if a.shape[axis] > 1]
    return np.allclose(a, b, rtol=1e-9, atol=1e-3 * max(steps, default=0.0), equal_nan=True)


def place_of_grid(grid: xr.Dataset | None) -> Place:
    """The coordinates of a grid by name; none of frames without a place."""
    return {} if grid is None else {str(name): coordinate.variable for name, coordinate in grid.coords.items()}


def grid_differs(one: xr.Dataset, other: xr.Dataset) -> str:
    """What of the grids of two datasets with rain rates (…, y, x) differs, as far as both say; empty where nothing does."""
    shapes = [dataset[RATE].shape[-2:] for dataset in (one, other)]
    if shapes[0] != shapes[1]:
        return f"{shapes[0][0]}×{shapes[0][1]} and {shapes[1][0]}×{shapes[1][1]} pixels"
    both = [name for name in ("y", "x", LATITUDE, LONGITUDE) if name in one.coords and name in other.coords]
    differing = next((name for name in both if not same_coordinates(one[name].values, other[name].values)), None)
    return "" if differing is None else f"{differing!r} differs"


def grid_mapping_from_proj(text: str, where: str) -> xr.Variable | None:
    """The CF grid mapping of a PROJ text; None, and a warning that names `where`, if there is none.

    Errors: DataError where the text names a file, which PROJ would open.
    """
    import pyproj

    named = _FILE_IN_PROJ.search(text)
    if named:
        raise DataError(
            f"{where}: its projection names a file ({named[0]}), and nowcast follows no path that a file names; mend or remove it."
        )
    try:
        crs = pyproj.CRS.from_proj4(text.strip())
    except pyproj.exceptions.CRSError:
        log.warning("%s: its projection %r is not understood, so the grid has none.", where, text)
        return None
    return grid_mapping_from_crs(crs, text, where)


def grid_mapping_from_crs(crs: "pyproj.CRS", text: str, where: str) -> xr.Variable | None:
    """The CF grid mapping of a coordinate system, shown as `text` in messages; else as grid_mapping_from_proj."""
    with warnings.catch_warnings():  # of what CF has no word for, as the skew of somerc's grid; the WKT keeps it
        warnings.simplefilter("ignore", UserWarning)
        attrs = {key: value for key, value in crs.to_cf().items() if value is not None}
    if "grid_mapping_name" not in attrs:
        log.warning("%s: its projection %r has no CF name, so the grid has none.", where, text)
        return None
    south = "+lat_0=-90" in text.replace(" ", "")
    return xr.Variable((), np.int32(0), _with_pole(attrs, south))


def in_metres(crs: xr.Variable, unit: float = 1000.0) -> xr.Variable:
    """The grid mapping once x and y, whose `unit` was so many metres, are in metres: false origins go with them, a text does not."""
    attrs = {key: value for key, value in crs.attrs.items() if key not in ("crs_wkt", "spatial_ref")}
    for key in ("false_easting", "false_northing"):
        if key in attrs:
            attrs[key] = float(attrs[key]) * unit
    return xr.Variable((), crs.values, attrs)


def axis_in_metres(ours: str, values: npt.ArrayLike) -> xr.Variable:
    """Pixel centres along "x" or "y" of a projected grid, in metres."""
    attrs = {"standard_name": f"projection_{ours}_coordinate", "units": "m", "axis": ours.upper()}
    return xr.Variable(ours, np.asarray(values, dtype=np.float64), attrs)


def axis_in_degrees(ours: str, values: npt.ArrayLike) -> xr.Variable:
    """Pixel centres along "x" or "y" of a grid of longitude and latitude, in degrees east or north."""
    attrs = {**(_LONGITUDE if ours == "x" else _LATITUDE), "axis": ours.upper()}
    return xr.Variable(ours, np.asarray(values, dtype=np.float64), attrs)


def _axis(axis: xr.DataArray, ours: str, has_crs: bool) -> xr.Variable:
    values = np.asarray(axis.values, dtype=np.float64)
    units, name = str(axis.attrs.get("units", "")).strip().lower(), str(axis.attrs.get("standard_name", ""))
    if units in _NORTH | _EAST:
        attrs = _LATITUDE if units in _NORTH else _LONGITUDE
        return xr.Variable(ours, values, {**attrs, "axis": ours.upper()})
    projected = has_crs or name == f"projection_{ours}_coordinate"
    if units in _METRES | _KILOMETRES or (not units and projected):  # CF's own unit of projection coordinates is the metre
        with np.errstate(over="ignore"):  # damaged ones
            return axis_in_metres(ours, values * (1000.0 if units in _KILOMETRES else 1.0))
    return xr.Variable(ours, values, {"axis": ours.upper(), **({"units": axis.attrs["units"]} if units else {})})


def _grid_mapping(file: xr.Dataset, field: xr.DataArray, where: str) -> xr.Variable | None:
    name = str(field.attrs.get("grid_mapping", "")).split(":")[0].strip()
    if name in file.variables and "grid_mapping_name" in file[name].attrs:
        attrs = dict(file[name].attrs)
        return xr.Variable((), np.int32(0), _with_pole(attrs))
    texts = [*field.attrs.values(), *(file[name].attrs.values() if name in file.variables else ()), *file.attrs.values()]
    text = next((text for text in texts if isinstance(text, str) and "+proj=" in text), None)
    return None if text is None else grid_mapping_from_proj(text, where)


def _with_pole(attrs: dict[str, Any], south: bool = False) -> dict[str, Any]:
    """CF wants to know which pole a polar stereographic grid is about; pyproj does not say."""
    if attrs.get("grid_mapping_name") == "polar_stereographic" and "latitude_of_projection_origin" not in attrs:
        attrs["latitude_of_projection_origin"] = -90.0 if south or float(attrs.get("standard_parallel", 90.0)) < 0 else 90.0
    return attrs


def _in_km(file: xr.Dataset, name: str) -> bool:
    units = str(file[name].attrs.get("units", "")).strip().lower() if name in file.variables else ""
    return units in _KILOMETRES


def _is(variable: xr.Variable, ours: str) -> bool:
    units = str(variable.attrs.get("units", "")).strip().lower()
    return variable.attrs.get("standard_name") == ours or units in (_NORTH if ours == LATITUDE else _EAST)


def _by_name(file: xr.Dataset, ours: str, dims: set[str]) -> xr.Variable | None:
    for name in (ours, f"{ours}s", ours[:3], {"latitude": "nav_lat", "longitude": "nav_lon"}[ours], ours[:3].upper()):
        if name in file.variables and set(file[name].dims) == dims:
            return file[name].variable
    return None
