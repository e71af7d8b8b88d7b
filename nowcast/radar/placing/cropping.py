"""Select the pixels in a box of longitudes and latitudes; compute longitudes and latitudes."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import xarray as xr
from pyproj.exceptions import ProjError

from nowcast.arrays import Float64Array
from nowcast.errors import DataError
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.longitudes import unwrapped

Box = tuple[float, float, float, float]
"""West, south, east and north in degrees."""
Columns = slice | list[int]

_EDGE = 1e-9  # degrees; tolerance, so that a centre on the edge of a box counts as inside


def box_of(place: Place, box: Box, where: str) -> tuple[slice, Columns]:
    """Return rows and columns of the smallest rectangle that holds every pixel with its centre in
    the box.

    If the grid goes round the Earth and the box crosses its seam, columns are a list of numbers.
    Errors: DataError naming `where` if no centre is inside, or pixel locations are unknown.
    """
    inside = in_box(place, box, where, "crop")
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), _across_the_seam(place, columns) or slice(
        int(columns[0]), int(columns[-1]) + 1
    )


def columns_of(place: Place, columns: Columns) -> Place:
    """Return the place of these columns; x stays monotonic across the seam of the grid."""
    kept = {
        name: variable.isel({"x": columns}) if "x" in variable.dims else variable
        for name, variable in place.items()
    }
    for name in {"x", LONGITUDE} & kept.keys() if isinstance(columns, list) else ():
        kept[name] = kept[name].copy(data=unwrapped(kept[name].values))
    return kept


def _across_the_seam(place: Place, columns: npt.NDArray[np.intp]) -> list[int] | None:
    """Return the columns in order, starting after the widest gap, if the grid goes round the Earth
    and they cross its seam; else None.
    """
    if not goes_round(place) or columns[0] != 0 or columns[-1] != place["x"].size - 1:
        return None
    gaps = np.diff(columns)
    if gaps.size == 0 or gaps.max() == 1:
        return None
    start = int(gaps.argmax()) + 1
    return [*columns[start:].tolist(), *columns[:start].tolist()]


def goes_round(place: Place) -> bool:
    """Return whether a grid in degrees goes round the Earth, so that its last column is next to the
    first.
    """
    if not in_degrees(place) or place["x"].size < 3:
        return False
    x = np.asarray(place["x"].values, dtype=np.float64)
    step = (x[-1] - x[0]) / (x.size - 1)
    return bool(abs(abs(step) * x.size - 360.0) < abs(step) / 2)


def in_box(place: Place, box: Box, where: str, key: str) -> npt.NDArray[np.bool_]:
    """Return a mask of pixel centres in the box, of a shape that broadcasts to (y, x).

    `key`: the configuration key of the box, for messages.

    A box with east less than west crosses the date line. Errors: DataError naming `where` if no
    pixel is inside, or pixel locations are unknown.
    """
    west, south, east, north = box
    width = east - west if east > west else east - west + 360.0
    longitude, latitude = degrees_of(place, where)
    with np.errstate(invalid="ignore"):  # beyond the projection
        turned = (longitude - west + _EDGE) % 360.0 <= width + 2 * _EDGE
    inside: npt.NDArray[np.bool_] = turned & (latitude >= south) & (latitude <= north)
    if not inside.any():
        reach = (
            f"{np.nanmin(longitude):.2f} to {np.nanmax(longitude):.2f} E, {np.nanmin(latitude):.2f}"
            f" to {np.nanmax(latitude):.2f} N"
        )
        raise DataError(
            f"{where}: no pixel lies in the {key} {list(box)}; the pixels cover {reach}: give"
            f" another {key}."
        )
    return inside


def degrees_of(place: Place, where: str) -> tuple[Float64Array, Float64Array]:
    """Return longitude and latitude of pixel centres, in shapes that broadcast to (y, x).

    Errors: DataError if they cannot be determined.
    """
    if LONGITUDE in place and LATITUDE in place:
        return unwrapped(place[LONGITUDE].values), np.asarray(place[LATITUDE].values, dtype=float)
    if in_degrees(place):
        return unwrapped(place["x"].values)[None, :], place["y"].values[:, None]
    if has_projection(place):
        try:
            longitude, latitude = to_degrees(
                place, *np.meshgrid(place["x"].values, place["y"].values)
            )
        except (
            ProjError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:  # everything pyproj raises for invalid attributes
            raise DataError(
                f"{where}: no projection can be made from its grid mapping ({str(error)[:80]});"
                " correct the attributes of the grid mapping."
            ) from error
        return unwrapped(longitude), latitude
    raise DataError(
        f"{where}: the location of its pixels on Earth is unknown: there is no projection, and"
        " latitudes and longitudes are missing, or wrong and not used; leave out the box in"
        " degrees."
    )


def knows_degrees(place: Place) -> bool:
    """Return whether degrees_of can locate the pixels."""
    return (LONGITUDE in place and LATITUDE in place) or in_degrees(place) or has_projection(place)


def box_in_degrees(place: Place) -> Box | None:
    """Return west, south, east and north of all pixel centres, with east above 180 across the date
    line; None if their location is unknown.

    Only part of the pixels of a projected grid is used, including its edges, so the result is exact
    to about a pixel.
    """
    if not knows_degrees(place):
        return None
    part = {name: _thinned(variable) for name, variable in place.items() if name != CRS} | (
        {CRS: place[CRS]} if CRS in place else {}
    )
    return box_around(*degrees_of(part, ""))


def box_around(longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> Box | None:
    """Return west, south, east and north of all points, with east above 180 across the date line;
    None if no point is finite.
    """
    longitude, latitude = np.asarray(longitude), np.asarray(latitude)
    north, east = (
        latitude[np.isfinite(latitude)],
        np.unique(longitude[np.isfinite(longitude)] % 360.0),
    )
    if not north.size or not east.size:
        return None
    gaps = np.diff(np.append(east, east[0] + 360.0))  # on the circle; the widest is outside the box
    last = int(gaps.argmax())
    west = (east[(last + 1) % east.size] + 180.0) % 360.0 - 180.0
    width = (east[last] - east[(last + 1) % east.size]) % 360.0
    return tuple(round(float(one), 4) for one in (west, north.min(), west + width, north.max()))  # type: ignore[return-value]


def _thinned(variable: xr.Variable) -> xr.Variable:
    """Return about 200 points along each axis, including the first and the last."""
    return variable[
        tuple(
            np.unique(np.linspace(0, size - 1, 200).round().astype(int)) for size in variable.shape
        )
    ]


def to_degrees(place: Place, x: Any, y: Any) -> tuple[Float64Array, Float64Array]:
    """Coordinates on the axes of `place` → longitude, latitude; infinite outside the projection."""
    if in_degrees(place):
        return np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    longitude, latitude = (
        _rotation(place).transform(x, y)
        if _is_rotated(place)
        else _projection(place)(x, y, inverse=True)
    )
    return np.asarray(longitude), np.asarray(latitude)


def from_degrees(place: Place, longitude: Any, latitude: Any) -> tuple[Float64Array, Float64Array]:
    """Longitude and latitude → coordinates on the axes of `place`; longitudes are in the range of
    360° that starts at its western edge.
    """
    if in_degrees(place):
        return _in_its_turn(place, longitude), np.asarray(latitude, dtype=float)
    if _is_rotated(place):
        x, y = _rotation(place).transform(longitude, latitude, direction="INVERSE")
        return _in_its_turn(place, x), np.asarray(y)
    x, y = _projection(place)(longitude, latitude)
    return np.asarray(x), np.asarray(y)


def _in_its_turn(place: Place, longitude: Any) -> Float64Array:
    x = place["x"].values
    west = float(x.min()) - abs(float(x[-1] - x[0])) / max(len(x) - 1, 1) / 2
    return np.asarray(west + (np.asarray(longitude, dtype=float) - west) % 360.0)


def in_degrees(place: Place) -> bool:
    """Return whether x is longitude and y latitude."""
    names = [
        place[axis].attrs.get("standard_name") if axis in place else None for axis in ("x", "y")
    ]
    return names == [LONGITUDE, LATITUDE]


def has_projection(place: Place) -> bool:
    """Return whether x and y are in metres on a known projection, or in degrees about a known
    rotated pole.
    """
    if CRS not in place or "x" not in place or "y" not in place:
        return False
    return _is_rotated(place) or all(place[axis].attrs.get("units") == "m" for axis in ("x", "y"))


def _is_rotated(place: Place) -> bool:
    names = [
        place[axis].attrs.get("standard_name") if axis in place else None for axis in ("x", "y")
    ]
    rotated = (
        CRS in place and place[CRS].attrs.get("grid_mapping_name") == "rotated_latitude_longitude"
    )
    return rotated and names == ["grid_longitude", "grid_latitude"]


def crs_of(place: Place) -> pyproj.CRS:
    """Return the coordinate system of a grid mapping from its WKT, which is the most complete, else
    from its numbers.
    """
    text = str(place[CRS].attrs.get("crs_wkt", ""))
    return pyproj.CRS.from_wkt(text) if text else _crs(_frozen(place))


def _projection(place: Place) -> pyproj.Proj:
    return _made_projection(_frozen(place))


def _rotation(place: Place) -> pyproj.Transformer:
    """Degrees about the rotated pole → longitude and latitude."""
    return _made_rotation(_frozen(place))


def _frozen(place: Place) -> tuple[tuple[str, Any], ...]:
    """Return the grid mapping as a hashable value, without the WKT texts that repeat it."""
    attrs = {
        key: np.asarray(value).tolist()
        for key, value in place[CRS].attrs.items()
        if key not in ("crs_wkt", "spatial_ref")
    }
    return tuple(
        (key, tuple(value) if isinstance(value, list) else value) for key, value in attrs.items()
    )


@lru_cache(maxsize=8)
def _made_projection(attrs: tuple[tuple[str, Any], ...]) -> pyproj.Proj:
    """Cached, since making a projection takes longer than using it."""
    return pyproj.Proj(_crs(attrs))


@lru_cache(maxsize=8)
def _made_rotation(attrs: tuple[tuple[str, Any], ...]) -> pyproj.Transformer:
    crs = _crs(attrs)
    assert crs.source_crs is not None  # the one with the true pole
    return pyproj.Transformer.from_crs(crs, crs.source_crs, always_xy=True)


def _crs(attrs: tuple[tuple[str, Any], ...]) -> pyproj.CRS:
    crs = pyproj.CRS.from_cf(
        {key: list(value) if isinstance(value, tuple) else value for key, value in attrs}
    )
    return crs if dict(attrs).get("grid_mapping_name") != "oblique_mercator" else _turned_north(crs)


def _turned_north(oblique: pyproj.CRS) -> pyproj.CRS:
    """Turn the axes of an oblique Mercator projection back by its azimuth, as PROJ does by default.

    CF has no attribute for this angle, and pyproj assumes 0, which would swap east and west on the
    Swiss grid.
    """
    parts = oblique.to_json_dict()
    angles = {one["name"]: one for one in parts["conversion"]["parameters"]}
    azimuth = angles["Azimuth at projection centre"]["value"]
    angles["Angle from Rectified to Skew Grid"]["value"] = azimuth
    return pyproj.CRS.from_json_dict(parts)
