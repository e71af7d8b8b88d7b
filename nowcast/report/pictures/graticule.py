"""Lines of latitude and longitude over a picture of a grid, from the degrees of its pixels only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float64Array
from nowcast.report.pictures.mesh import some_of

Mark = tuple[float, str]
"""The position along an edge where a line ends, in pixels, and the label of the line."""

_ROUND = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 45.0, 90.0)
_MOST_LINES = 6
_MOST_POINTS = 300  # along each axis: enough for lines that are smooth at the size of a picture


@dataclass(frozen=True)
class Graticule:
    """Parallels and meridians at round degrees, in pixels; (0, 0) is the centre of the first pixel.

    lines: each (n, 2), column and row. left: marks of parallels at the first column. bottom: marks
    of meridians at the lowest row.
    """

    lines: Sequence[Float64Array]
    left: Sequence[Mark]
    bottom: Sequence[Mark]


def build_graticule(longitude: npt.ArrayLike, latitude: npt.ArrayLike, origin: str) -> Graticule:
    """Return the graticule for the degrees of pixel centres, whose shapes broadcast to (h, w).

    Degrees are not finite beyond the projection. `origin` is 'lower' if row 0 is drawn at the
    bottom, else 'upper'.
    """
    both = np.broadcast_arrays(
        np.asarray(longitude, dtype=float), np.asarray(latitude, dtype=float)
    )
    rows, columns = (some_of(length, _MOST_POINTS) for length in both[0].shape)
    some = (degrees[np.ix_(rows, columns)] for degrees in both)
    east, north = (
        np.ma.masked_invalid(np.where(np.isfinite(degrees), degrees, np.nan)) for degrees in some
    )
    east = _in_one_turn(east)
    lines, left, bottom = list[Float64Array](), list[Mark](), list[Mark]()
    for level in _levels(north):
        lines += _lines(columns, rows, north, level)
        left += [(place, _label(level, "N", "S")) for place in _crossings(rows, north[:, 0], level)]
    for level in _levels(east):
        lines += _lines(columns, rows, east, level)
        edge = east[0 if origin == "lower" else -1]
        bottom += [
            (place, _label((level + 180.0) % 360.0 - 180.0, "E", "W"))
            for place in _crossings(columns, edge, level)
        ]
    return Graticule(lines, left, bottom)


def _in_one_turn(east: Any) -> Any:
    """Return longitudes without a jump at the date line.

    If the grid holds a pole, one jump remains; it is masked.
    """
    radians = np.deg2rad(east)
    centre = np.rad2deg(np.arctan2(np.sin(radians).mean(), np.cos(radians).mean()))
    turned = (east - centre + 180.0) % 360.0 - 180.0 + centre
    for axis in (0, 1):
        leaps = np.abs(np.diff(turned.filled(np.nan), axis=axis)) > 180.0
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        turned = np.ma.masked_where(np.pad(leaps, pad), turned)
    return turned


def _levels(degrees: Any) -> list[float]:
    """Return a few round degrees within the range of the grid."""
    if degrees.count() == 0:
        return []
    low, high = float(degrees.min()), float(degrees.max())
    step = next((step for step in _ROUND if (high - low) / step <= _MOST_LINES), _ROUND[-1])
    return [
        round(number * step, 6)
        for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def _lines(
    columns: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], degrees: Any, level: float
) -> list[Float64Array]:
    if min(degrees.shape) < 2:
        return []
    from contourpy import LineType, contour_generator

    found = contour_generator(columns, rows, degrees, line_type=LineType.Separate).lines(level)
    return [np.asarray(line, dtype=np.float64) for line in found]


def _crossings(places: npt.NDArray[np.intp], degrees: Any, level: float) -> list[float]:
    """Return the positions along an edge at which the degrees pass a level."""
    values = degrees.filled(np.nan) - level
    crossed = np.flatnonzero((values[:-1] < 0) != (values[1:] < 0))
    crossed = crossed[np.isfinite(values[crossed]) & np.isfinite(values[crossed + 1])]
    share = values[crossed] / (values[crossed] - values[crossed + 1])
    return [
        float(place) for place in places[crossed] + share * (places[crossed + 1] - places[crossed])
    ]


def _label(degrees: float, positive: str, negative: str) -> str:
    side = "" if degrees in (0.0, -180.0) else positive if degrees > 0 else negative
    return f"{abs(degrees):g}°{side}"
