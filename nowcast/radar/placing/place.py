"""Pixel size, orientation and projection of a grid, and their description in words."""

import logging
import math
from typing import Any, Literal

import numpy as np
import xarray as xr

from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import Place, ellipsoid_of, place_of_grid

log = logging.getLogger(__name__)

NOMINAL_KM = 1.0
"""The width of a pixel assumed if it is unknown."""

EARTH_KM = 6371.0
"""Radius of the sphere for computing distances."""

Origin = Literal["lower", "upper"]
"""Where row 0 of a frame is drawn: "lower" if it is in the south."""

_MERIDIANS = (
    "straight_vertical_longitude_from_pole",
    "longitude_of_central_meridian",
    "longitude_of_projection_origin",
)


def pixel_size(place: Place) -> tuple[float, float, str] | None:
    """Return (height, width, "m" or "degrees") of a pixel; None if the axes are unknown or
    irregular.
    """
    if "x" not in place or "y" not in place:
        return None
    sizes = []
    for name in ("y", "x"):
        steps = np.abs(np.diff(np.asarray(place[name].values, dtype=np.float64)))
        if steps.size == 0 or np.ptp(steps) > 1e-3 * steps.max():
            return None
        sizes.append(float(np.round(np.mean(steps), 6)))
    units = str(place["x"].attrs.get("units", ""))
    return (sizes[0], sizes[1], "degrees" if units.startswith("degree") else units)


def pixel_km(grid: xr.Dataset | None) -> float:
    """Return the width of a pixel in km; if unknown, log a warning and return a nominal 1 km."""
    known = known_pixel_km(grid)
    if known is None:
        log.warning("the data do not give the size of a pixel: %g km is assumed", NOMINAL_KM)
    return NOMINAL_KM if known is None else known


def known_pixel_km(grid: xr.Dataset | None) -> float | None:
    """Return the width of a pixel in km from x in metres, else from latitude and longitude in the
    middle of the grid; None if the grid has neither.
    """
    place = place_of_grid(grid)
    size = pixel_size(place)
    if size is not None and size[2] == "m":
        return size[1] / 1000
    if size is not None and size[2] == "degrees":
        latitude = float(place["y"].values[place["y"].size // 2])
        return EARTH_KM * math.radians(size[1]) * math.cos(math.radians(latitude))
    if LATITUDE in place and LONGITUDE in place and place[LATITUDE].ndim == 2:
        row, column = (length // 2 for length in place[LATITUDE].shape)
        latitude, longitude = (
            np.radians(place[name].values[row, column - 1 : column + 1])
            for name in (LATITUDE, LONGITUDE)
        )
        east = math.remainder(np.diff(longitude)[0], 2 * math.pi) * math.cos(latitude.mean())
        return EARTH_KM * math.hypot(np.diff(latitude)[0], east)
    return None


def first_row(place: Place) -> str | None:
    """Return whether row 0 is in the "north" or "south"; None if unknown."""
    name = next((name for name in ("y", LATITUDE) if name in place), None)
    if name is None or place[name].shape[0] < 2:
        return None
    rows = np.asarray(place[name].values, dtype=np.float64)
    down = np.nanmean(rows[0]) > np.nanmean(rows[-1])
    return "north" if down else "south"


def origin_of(grid: xr.Dataset | None) -> Origin:
    """Return "lower" if row 0 of the grid is in the south, else "upper"."""
    return "lower" if first_row(place_of_grid(grid)) == "south" else "upper"


def crs_in_words(place: Place) -> str:
    """Describe a CF grid mapping: 'polar stereographic, true at 60°, meridian 14°, bessel'."""
    if CRS not in place:
        if str(place["x"].attrs.get("units", "")).startswith("degree") if "x" in place else False:
            return "latitude and longitude"
        return (
            "not stated; each pixel has its latitude and longitude"
            if LATITUDE in place
            else "not stated"
        )
    attrs = place[CRS].attrs
    words = [str(attrs["grid_mapping_name"]).replace("_", " ")]
    if "standard_parallel" in attrs:
        words.append(f"true at {_degrees(attrs['standard_parallel'])}")
    if words[0] != "polar stereographic" and "latitude_of_projection_origin" in attrs:
        words.append(f"origin {_degrees(attrs['latitude_of_projection_origin'])}")
    words += [f"meridian {_degrees(attrs[name])}" for name in _MERIDIANS if name in attrs][:1]
    return ", ".join([*words, _ellipsoid(attrs)])


def _ellipsoid(attrs: dict[str, Any]) -> str:
    name = str(attrs.get("reference_ellipsoid_name", "unknown"))
    if name not in ("unknown", "undefined"):
        return name
    axes = ellipsoid_of(attrs)
    if axes is None:
        return "ellipsoid not stated"
    a, b = axes
    return (
        f"sphere of {a / 1000:.6g} km"
        if a == b
        else f"ellipsoid of {a / 1000:.7g} and {b / 1000:.7g} km"
    )


def _degrees(value: Any) -> str:
    return " and ".join(f"{float(one):.6g}°" for one in np.atleast_1d(value))
