"""Which pixels lie in a box of degrees; and the degrees of pixels."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.georeference import Place
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE

Floats = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""West, south, east and north in degrees."""


def box_of(place: Place, box: Box, where: str) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle of pixels that holds every pixel whose centre is in the box.

    Errors: DataError naming `where` where no centre is inside, or the place of the pixels is not known.
    """
    inside = in_box(place, box, where, "crop")
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def in_box(place: Place, box: Box, where: str, key: str) -> npt.NDArray[np.bool_]:
    """Which pixel centres are in the box, of a shape that broadcasts to (y, x). `key`: what the box was given as.

    Errors: DataError naming `where` where none is, or the place of the pixels is not known.
    """
    west, south, east, north = box
    longitude, latitude = degrees_of(place, where)
    inside: npt.NDArray[np.bool_] = ((longitude - west) % 360.0 <= east - west) & (latitude >= south) & (latitude <= north)
    if not inside.any():
        reach = f"{np.nanmin(longitude):.2f} to {np.nanmax(longitude):.2f} E, {np.nanmin(latitude):.2f} to {np.nanmax(latitude):.2f} N"
        raise DataError(f"{where}: no pixel lies in the {key} {list(box)}; its pixels lie from {reach}: give another {key}.")
    return inside


def degrees_of(place: Place, where: str) -> tuple[Floats, Floats]:
    """Longitude and latitude of pixel centres, of shapes that broadcast to (y, x). Errors: DataError where they are not known."""
    if LONGITUDE in place and LATITUDE in place:
        return np.asarray(place[LONGITUDE].values, dtype=float), np.asarray(place[LATITUDE].values, dtype=float)
    if in_degrees(place):
        return place["x"].values[None, :], place["y"].values[:, None]
    if has_projection(place):
        return to_degrees(place, *np.meshgrid(place["x"].values, place["y"].values))
    raise DataError(f"{where}: says neither the projection nor the latitude and longitude of its pixels, so they have no place.")


def knows_degrees(place: Place) -> bool:
    """Whether degrees_of can tell where the pixels are."""
    return (LONGITUDE in place and LATITUDE in place) or in_degrees(place) or has_projection(place)


def box_in_degrees(place: Place) -> Box | None:
    """The west, south, east and north of all pixel centres, the east above 180 across the date line; None where they have no place.

    Of a grid on a projection a part of the pixels is looked at, its sides among them, which tells to about a pixel.
    """
    if not knows_degrees(place):
        return None
    part = {name: _thinned(variable) for name, variable in place.items() if name != CRS} | (
        {CRS: place[CRS]} if CRS in place else {}
    )
    longitude, latitude = degrees_of(part, "")
    north, east = latitude[np.isfinite(latitude)], np.unique(longitude[np.isfinite(longitude)] % 360.0)
    if not north.size or not east.size:
        return None
    gaps = np.diff(np.append(east, east[0] + 360.0))  # of the circle; the widest lies outside
    last = int(gaps.argmax())
    west = (east[(last + 1) % east.size] + 180.0) % 360.0 - 180.0
    width = (east[last] - east[(last + 1) % east.size]) % 360.0
    return tuple(round(float(one), 4) for one in (west, north.min(), west + width, north.max()))  # type: ignore[return-value]


def _thinned(variable: xr.Variable) -> xr.Variable:
    """About 200 of the points along each axis, the first and the last among them."""
    return variable[tuple(np.unique(np.linspace(0, size - 1, 200).round().astype(int)) for size in variable.shape)]


def to_degrees(place: Place, x: Any, y: Any) -> tuple[Floats, Floats]:
    """Points on the axes of `place` → longitude and latitude; infinite where the projection does not reach."""
    if in_degrees(place):
        return np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    longitude, latitude = _projection(place)(x, y, inverse=True)
    return np.asarray(longitude), np.asarray(latitude)


def from_degrees(place: Place, longitude: Any, latitude: Any) -> tuple[Floats, Floats]:
    """Longitude and latitude → points on the axes of `place`, the longitude in the turn of its own that starts in the west."""
    if in_degrees(place):
        x = place["x"].values
        west = float(x.min()) - abs(float(x[-1] - x[0])) / max(len(x) - 1, 1) / 2
        return west + (np.asarray(longitude, dtype=float) - west) % 360.0, np.asarray(latitude, dtype=float)
    x, y = _projection(place)(longitude, latitude)
    return np.asarray(x), np.asarray(y)


def in_degrees(place: Place) -> bool:
    """Whether x is the longitude and y the latitude."""
    names = [place[axis].attrs.get("standard_name") if axis in place else None for axis in ("x", "y")]
    return names == [LONGITUDE, LATITUDE]


def has_projection(place: Place) -> bool:
    """Whether x and y lie in metres on a projection that is known."""
    return CRS in place and all(place[axis].attrs.get("units") == "m" if axis in place else False for axis in ("x", "y"))


def _projection(place: Place) -> pyproj.Proj:
    attrs = {key: np.asarray(value).tolist() for key, value in place[CRS].attrs.items()}
    return _made_projection(tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in attrs.items()))


@lru_cache(maxsize=8)
def _made_projection(attrs: tuple[tuple[str, Any], ...]) -> pyproj.Proj:
    """Making one takes longer than using it."""
    return pyproj.Proj(pyproj.CRS.from_cf({key: list(value) if isinstance(value, tuple) else value for key, value in attrs}))
