"""The map on the page of a forecast: the size of a pixel, and the lines of borders and coasts."""

import math

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.place import EARTH_KM, pixel_size
from nowcast.report.pictures.outlines import build_outlines

_DEGREE = math.radians(EARTH_KM)  # km of a meridian


def sides_km(place: Place) -> tuple[float, float] | None:
    """Return height and width in km of a pixel in the middle of the grid; None if unknown."""
    if knows_degrees(place):
        east, north = np.broadcast_arrays(*degrees_of(_middle(place), "the forecast"))
        if east.shape == (2, 2) and np.isfinite(east).all() and np.isfinite(north).all():
            east = east * np.cos(np.deg2rad(north.mean()))
            steps = [[np.diff(one, axis=axis).mean() for one in (east, north)] for axis in (0, 1)]
            return _DEGREE * float(np.hypot(*steps[0])), _DEGREE * float(np.hypot(*steps[1]))
    size = pixel_size(place)
    return (size[0] / 1000, size[1] / 1000) if size is not None and size[2] == "m" else None


def lines_on_page(
    place: Place, height: int, map: str, *, turned: bool
) -> dict[str, list[Float64Array]]:
    """Return the lines of a map by kind, each (n, 2) column and row in pixels; none if the grid has
    no place on Earth.

    Args:
        place: of the grid.
        height: of the grid in pixels.
        map: as the key `page_map`.
        turned: whether the page shows the last row at the top.

    Raises:
        MissingInputError, DataError, InputOutputError: if a GeoJSON file cannot be used.
    """
    if not knows_degrees(place):
        return {}
    outlines = build_outlines(*degrees_of(place, "the forecast"), map)
    lines = {"border": outlines.borders, "coast": outlines.coasts}
    if not turned:
        return lines
    return {kind: [[0, height - 1] + one * [1, -1] for one in some] for kind, some in lines.items()}


def _middle(place: Place) -> Place:
    """Return the place of the four pixels in the middle."""
    return {
        name: variable.isel({dim: slice((size := variable.sizes[dim]) // 2 - 1, size // 2 + 1)
                             for dim in variable.dims})
        for name, variable in place.items()
    }  # fmt: skip
