"""A regular grid in the usual orientation: first row in the north, first column in the west."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.place import pixel_size

if TYPE_CHECKING:
    import pyproj

_DEGREES = {"degrees_north", "degrees_east"}


@dataclass(frozen=True)
class NorthUp:
    """The location of a regular grid, and how to turn its fields north up.

    Args:
        crs: coordinate system of x and y, longitude before latitude.
        unit: of box and pixel, "m" or "degrees".
        box: west, south, east and north edge of the outermost pixels.
        pixel: width and height of a pixel.
        rows, columns: slices of an array (…, y, x) from north to south and from west to east.
    """

    crs: "pyproj.CRS"
    unit: str
    box: tuple[float, float, float, float]
    pixel: tuple[float, float]
    rows: slice
    columns: slice

    def turned(self, values: Any) -> Any:
        """Return an array (…, y, x) north up."""
        return values[..., self.rows, self.columns]


def north_up(place: Place) -> NorthUp | None:
    """Return the location of a grid; None if it is not regular in a projection or in degrees."""
    crs = _crs_of_axes(place)
    size = pixel_size(place)
    if crs is None or size is None:
        return None
    x, y = (np.asarray(place[name].values, np.float64) for name in ("x", "y"))
    rows, columns = _along(y, -1), _along(x, 1)
    x, y = x[columns], y[rows]
    if size[2] == "degrees" and x[0] >= 180:
        x = x - 360
    width, height = float(x[-1] - x[0]) / (len(x) - 1), float(y[0] - y[-1]) / (len(y) - 1)
    box = (x[0] - width / 2, y[-1] - height / 2, x[-1] + width / 2, y[0] + height / 2)
    west, south, east, north = map(float, box)
    return NorthUp(crs, size[2], (west, south, east, north), (width, height), rows, columns)


def _along(values: Any, direction: int) -> slice:
    """Return the slice that orders an axis: increasing for direction 1, decreasing for -1."""
    return slice(None, None, 1 if (values[-1] - values[0]) * direction > 0 else -1)


def _crs_of_axes(place: Place) -> "pyproj.CRS | None":
    """Return the coordinate system of x and y in metres or degrees; None if unknown, or with a
    rotated pole, which few programs support.
    """
    import pyproj  # imported here because few forecasts need it

    from nowcast.radar.placing.cropping import crs_of

    units = {str(place[axis].attrs.get("units", "")) for axis in ("x", "y") if axis in place}
    if units == _DEGREES and CRS not in place:
        return pyproj.CRS.from_epsg(4326)
    if CRS not in place or units not in ({"m"}, _DEGREES):
        return None
    return crs_of(place)
