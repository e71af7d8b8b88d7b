"""Where the pixels are: x and y in metres, latitude and longitude, and the grid mapping, as far as
the file has them.
"""

import logging
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE, RATE
from nowcast.radar.placing.longitudes import degrees_apart

if TYPE_CHECKING:
    import pyproj

log = logging.getLogger(__name__)

Place = dict[str, xr.Variable]
ELLIPSOID = (
    "reference_ellipsoid_name",
    "semi_major_axis",
    "semi_minor_axis",
    "inverse_flattening",
    "earth_radius",
)
"""The CF attributes for the figure of the Earth."""
_LATITUDE = {"standard_name": "latitude", "units": "degrees_north"}
_LONGITUDE = {"standard_name": "longitude", "units": "degrees_east"}
_FILE_IN_PROJ = re.compile(
    r"(init\s*=\s*(?!epsg:\d+\b)|\w*grids\s*=\s*(?!@?null\b)|(file|catalog)\s*=)\S*", re.IGNORECASE
)
"""Parameters that make PROJ open a file: +nadgrids=/some/where."""

_NAMED = re.compile(r"EPSG\W+(?:[\d.]*\W+)?(\d+)|(CRS\d+)", re.IGNORECASE)
"""The EPSG or OGC code in the name of a coordinate system."""


def place_differs(first: Place, other: Place) -> str:
    """Return how the coordinates or grid mappings of two files differ by more than rounding; "" if
    they do not.
    """
    if first is other:
        return ""
    for name in sorted(first.keys() | other.keys()):
        if name not in first or name not in other:
            return f"only one of them has {name!r}"
        if name == CRS:
            different = _mapping_differences(first[name].attrs, other[name].attrs)
            if different:
                return f"their grid mappings differ: {', '.join(different)}"
        elif not same_coordinates(first[name], other[name]):
            return f"{name!r} differs"
    return ""


def same_coordinates(one: xr.Variable, other: xr.Variable) -> bool:
    """Return whether two coordinates, (n,) or (y, x), agree to a thousandth of a pixel, so that
    single and double precision agree.

    Longitudes that differ by 360° agree.
    """
    a, b = (np.asarray(coordinate.values, dtype=np.float64) for coordinate in (one, other))
    if a.shape != b.shape:
        return False
    if np.array_equal(one.values, other.values):  # the usual case, and much faster
        return True
    circle = all(
        str(coordinate.attrs.get("standard_name")) in ("longitude", "grid_longitude")
        for coordinate in (one, other)
    )
    with np.errstate(invalid="ignore"):
        off, steps = (a - b, [np.diff(a, axis=axis) for axis in range(a.ndim) if a.shape[axis] > 1])
        if circle:
            off, steps = degrees_apart(a, b), [degrees_apart(step, 0.0) for step in steps]
        most = max((float(np.nanmax(np.abs(step), initial=0.0)) for step in steps), default=0.0)
        close = np.abs(off) <= 1e-3 * most + 1e-9 * np.abs(b)
    return bool(np.all(close | (np.isnan(a) & np.isnan(b)) | (a == b)))


def place_of_grid(grid: xr.Dataset | None) -> Place:
    """Return the coordinates of a grid by name; empty without a grid."""
    return (
        {}
        if grid is None
        else {str(name): coordinate.variable for name, coordinate in grid.coords.items()}
    )


def grid_differs(one: xr.Dataset, other: xr.Dataset) -> str:
    """Return how the grids of two datasets with rain rates (…, y, x) differ in size or in common
    coordinates; "" if they do not.
    """
    shapes = [dataset[RATE].shape[-2:] for dataset in (one, other)]
    if shapes[0] != shapes[1]:
        return f"{shapes[0][0]}×{shapes[0][1]} and {shapes[1][0]}×{shapes[1][1]} pixels"
    both = [
        name
        for name in ("y", "x", LATITUDE, LONGITUDE)
        if name in one.coords and name in other.coords
    ]
    differing = next(
        (name for name in both if not same_coordinates(one[name].variable, other[name].variable)),
        None,
    )
    return "" if differing is None else f"{differing!r} differs"


def grid_mapping_from_proj(text: str, where: str) -> xr.Variable | None:
    """Return the CF grid mapping for a PROJ text; None, with a warning naming `where`, if not
    possible.

    Errors: DataError if the text names a file, which PROJ would open.
    """
    import pyproj

    refuse_named_files(text, where)
    try:
        crs = pyproj.CRS.from_proj4(text.strip())
    except pyproj.exceptions.CRSError:
        log.warning("%s: unknown projection %r; the grid will have none.", where, text)
        return None
    return grid_mapping_from_crs(crs, text, where)


def is_in_degrees(text: str) -> bool:
    """Return whether a text names a coordinate system in degrees from Greenwich, such as EPSG:4283
    or urn:ogc:def:crs:OGC:1.3:CRS84; False if the name is unknown.
    """
    import pyproj

    named = _NAMED.search(text)
    if named is None:
        return False
    try:
        crs = pyproj.CRS.from_authority("EPSG" if named[1] else "OGC", named[1] or named[2].upper())
    except pyproj.exceptions.CRSError:
        return False
    meridian, units = crs.prime_meridian, {axis.unit_name for axis in crs.axis_info[:2]}
    return crs.is_geographic and units == {"degree"} and not (meridian and meridian.longitude)


def refuse_named_files(text: str, where: str) -> None:
    """Errors: DataError if a PROJ text or WKT names a file, which PROJ would open."""
    named = _FILE_IN_PROJ.search(text)
    if named:
        raise DataError(
            f"{where}: its projection names a file ({named[0]}), and nowcast does not open paths"
            " found inside files; correct or remove the projection."
        )


def grid_mapping_from_crs(crs: "pyproj.CRS", text: str, where: str) -> xr.Variable | None:
    """Return the CF grid mapping for a coordinate system, shown as `text` in messages; None, with a
    warning, if CF has no name for it.
    """
    # pyproj warns of parameters without a CF attribute, such as somerc's skew; the WKT has them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        attrs = {key: value for key, value in crs.to_cf().items() if value is not None}
    if "grid_mapping_name" not in attrs:
        log.warning("%s: CF has no name for projection %r; the grid will have none.", where, text)
        return None
    south = "+lat_0=-90" in text.replace(" ", "")
    return xr.Variable((), np.int32(0), with_pole(attrs, south))


def in_metres(
    crs: xr.Variable, unit: float = 1000.0, unit_of_y: float | None = None
) -> xr.Variable:
    """Return the grid mapping after x and y were converted to metres (`unit`: metres per old unit):
    false origins are converted, WKT texts are dropped.
    """
    attrs = {
        key: value
        for key, value in crs.attrs.items()
        if key not in ("crs_wkt", "spatial_ref", "esri_pe_string")
    }
    for key, size in (
        ("false_easting", unit),
        ("false_northing", unit if unit_of_y is None else unit_of_y),
    ):
        if key in attrs:
            attrs[key] = float(np.ravel(attrs[key])[0]) * size
    return xr.Variable((), crs.values, attrs)


def axis_in_metres(ours: str, values: npt.ArrayLike) -> xr.Variable:
    """Return the coordinate "x" or "y" of a projected grid, from pixel centres in metres."""
    attrs = {"standard_name": f"projection_{ours}_coordinate", "units": "m", "axis": ours.upper()}
    return xr.Variable(ours, np.asarray(values, dtype=np.float64), attrs)


def axis_in_degrees(ours: str, values: npt.ArrayLike) -> xr.Variable:
    """Return the coordinate "x" or "y" of a longitude-latitude grid, from centres in degrees."""
    attrs = {**(_LONGITUDE if ours == "x" else _LATITUDE), "axis": ours.upper()}
    return xr.Variable(ours, np.asarray(values, dtype=np.float64), attrs)


def with_pole(attrs: dict[str, Any], south: bool = False) -> dict[str, Any]:
    """Add the pole of a polar stereographic grid, which CF requires and pyproj leaves out."""
    if (
        attrs.get("grid_mapping_name") == "polar_stereographic"
        and "latitude_of_projection_origin" not in attrs
    ):
        parallel = np.ravel(attrs.get("standard_parallel", 90.0))
        south = south or (
            parallel.size == 1 and parallel.dtype.kind in "iuf" and float(parallel[0]) < 0
        )
        attrs["latitude_of_projection_origin"] = -90.0 if south else 90.0
    return attrs


def ellipsoid_of(attrs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the semi-major and semi-minor axis in metres from any attributes of a CF grid mapping
    that give them; None if unknown.
    """
    numbers = {
        key: float(np.ravel(attrs[key])[0])
        for key in ELLIPSOID
        if key in attrs and np.asarray(attrs[key]).dtype.kind in "iuf"
    }
    major = numbers.get("semi_major_axis", numbers.get("earth_radius"))
    if major is None:
        return _named_ellipsoid(
            str(attrs.get("reference_ellipsoid_name", "")),
            str(attrs.get("horizontal_datum_name", "")).replace("_", " "),
        )
    flattening = numbers.get("inverse_flattening", 0.0)
    return major, numbers.get(
        "semi_minor_axis", major * (1.0 - 1.0 / flattening) if flattening else major
    )


@lru_cache(maxsize=16)
def _named_ellipsoid(name: str, datum: str) -> tuple[float, float] | None:
    from pyproj.crs.datum import Datum, Ellipsoid  # type: ignore[attr-defined]
    from pyproj.exceptions import CRSError

    try:
        known = Ellipsoid.from_name(name) if name else None
        known = known or (Datum.from_name(datum).ellipsoid if datum else None)
    except CRSError:
        return None
    return None if known is None else (known.semi_major_metre, known.semi_minor_metre)


def _mapping_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the attributes in which two grid mappings really differ. An ellipsoid may be given in
    several ways, and meridians 360° apart are equal.
    """
    if ellipsoid_of(one) is None or ellipsoid_of(other) is None:
        same = all(one.get(key) == other.get(key) for key in ELLIPSOID)
    else:
        same = np.allclose(np.array(ellipsoid_of(one)), np.array(ellipsoid_of(other)), rtol=1e-9)
    stated = (*ELLIPSOID, "horizontal_datum_name")
    figure = [] if same else [key for key in stated if one.get(key) != other.get(key)]
    a, b = (
        {key: value for key, value in attrs.items() if not _says_nothing_more(key, value)}
        for attrs in (one, other)
    )
    return figure + sorted(
        key
        for key in a.keys() | b.keys()
        if key not in a or key not in b or not _same_attribute(key, a[key], b[key])
    )


def _says_nothing_more(key: str, value: Any) -> bool:
    """Return whether an attribute only repeats in words what others give in numbers, or is a false
    origin of 0, the CF default.
    """
    if key in ELLIPSOID or (key.endswith("_name") and key != "grid_mapping_name"):
        return True
    if key in ("false_easting", "false_northing"):
        return bool(np.all(np.asarray(value) == 0))
    return isinstance(value, str) and key not in (
        "grid_mapping_name",
        "sweep_angle_axis",
        "fixed_angle_axis",
    )


def _same_attribute(key: str, one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str) or np.shape(one) != np.shape(other):
        return bool(np.array_equal(one, other))
    if "longitude" in key:
        return bool((degrees_apart(one, other) < 1e-9).all())
    return bool(
        np.allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-12, atol=1e-12)
    )
