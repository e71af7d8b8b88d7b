"""Lengths in km: the size of a pixel, and the scale bar of a map."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.place import EARTH_KM, pixel_size

PIXEL_KM = "pixel_km"
"""The attribute of counts and scores with the height and width of a pixel in km."""

_DEGREE = math.radians(EARTH_KM)  # km of a meridian
_LONGEST = 0.3
"""Largest share of the width of the map that a scale bar takes."""
_SQUARE = 0.02
"""Relative difference of height and width up to which a pixel counts as square."""


@dataclass(frozen=True)
class Scale:
    """A scale bar: a round length, and the share of the map's width that it takes, in percent."""

    words: str
    percent: float


def build_scale(width_km: float) -> Scale | None:
    """Return the longest scale bar of 1, 2 or 5 times a power of ten that is short enough."""
    if not np.isfinite(width_km) or width_km <= 0:
        return None
    power = 10.0 ** np.floor(np.log10(_LONGEST * width_km))
    length = power * max(one for one in (1, 2, 5) if one * power <= _LONGEST * width_km)
    return Scale(f"{length:g} km", round(float(100 * length / width_km), 2))


def sides_km(place: Place) -> tuple[float, float] | None:
    """Return height and width of a pixel in the middle of the grid; None if not known."""
    if knows_degrees(place):
        east, north = np.broadcast_arrays(*degrees_of(_middle(place), "the forecast"))
        if east.shape == (2, 2) and np.isfinite(east).all() and np.isfinite(north).all():
            east = east * np.cos(np.deg2rad(north.mean()))
            steps = [[np.diff(one, axis=axis).mean() for one in (east, north)] for axis in (0, 1)]
            return _DEGREE * float(np.hypot(*steps[0])), _DEGREE * float(np.hypot(*steps[1]))
    size = pixel_size(place)
    return (size[0] / 1000, size[1] / 1000) if size is not None and size[2] == "m" else None


def pixel_km_of(attrs: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return height and width of a pixel from the attributes of counts or scores, or None."""
    if PIXEL_KM not in attrs:
        return None
    height, width = np.asarray(attrs[PIXEL_KM], dtype=np.float64)
    return float(height), float(width)


def square_km_of(attrs: Mapping[Any, Any]) -> float | None:
    """Return the side of a square pixel in km; None if it is not known, or pixels are oblong."""
    sides = pixel_km_of(attrs)
    if sides is None or abs(sides[0] - sides[1]) > _SQUARE * max(sides):
        return None
    return (sides[0] + sides[1]) / 2


def _middle(place: Place) -> Place:
    """Return the place of the four pixels in the middle."""
    return {
        name: variable.isel({dim: slice((size := variable.sizes[dim]) // 2 - 1, size // 2 + 1)
                             for dim in variable.dims})
        for name, variable in place.items()
    }  # fmt: skip
