"""The pixels of a place: the nearest pixel, or all pixels in a circle.

This works for any grid whose pixels have a latitude and longitude, in any direction of its rows and
columns.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.arrays import Float64Array
from nowcast.errors import DataError
from nowcast.places.place import Place
from nowcast.radar.grid import LATITUDE, LONGITUDE, RATE
from nowcast.radar.placing.cropping import degrees_of, has_projection, in_degrees, knows_degrees
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.placing.place import EARTH_KM

_HALF = 0.5 + 1e-6  # pixels, from the centre of a pixel to its edge
_SKEW = 1.0  # pixels: largest distance from the nearest centre within a grid of skew pixels

Index = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Rows and columns of pixels, (n,) each."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """The positions of a grid's pixel centres.

    Args:
        longitude, latitude: (y, x) in degrees; not finite beyond the projection.

    Example:
        >>> longitude, latitude = np.meshgrid([10.0, 10.1, 10.2], [51.0, 50.9])
        >>> pixels = Pixels(longitude, latitude)
        >>> pixels.nearest(10.11, 50.92), pixels.nearest(9.0, 50.0)
        ((1, 1), None)
    """

    longitude: Float64Array
    latitude: Float64Array

    def nearest(self, longitude: float, latitude: float) -> tuple[int, int] | None:
        """Return row and column of the pixel that holds a point; None outside the grid."""
        point = _directions(longitude, latitude)
        closeness = self._directions @ point
        row, column = divmod(int(np.nanargmax(closeness)), closeness.shape[1])
        return (row, column) if self._holds(point, row, column) else None

    def of(self, place: Place) -> Index | None:
        """Return the pixel that holds a place and, with a radius, all with centres within it.

        Return None outside the grid.
        """
        nearest = self.nearest(place.longitude, place.latitude)
        if nearest is None:
            return None
        if place.radius is None:
            return np.array([nearest[0]]), np.array([nearest[1]])
        closeness = self._directions @ _directions(place.longitude, place.latitude)
        near = closeness >= np.cos(place.radius / EARTH_KM)
        near[nearest] = True
        rows, columns = np.nonzero(near)
        return rows, columns

    @cached_property
    def spacing(self) -> float:
        """The least distance of neighbouring pixels in degrees; infinite for a single pixel."""
        sides = [
            np.abs(np.diff(self.longitude, axis=axis)) + np.abs(np.diff(self.latitude, axis=axis))
            for axis in (0, 1)
        ]
        return float(min(np.min(side, where=side > 0, initial=np.inf) for side in sides))

    @cached_property
    def _directions(self) -> Float64Array:
        """Unit vectors (y, x, 3) from the centre of the Earth."""
        return _directions(self.longitude, self.latitude)

    def _holds(self, point: Float64Array, row: int, column: int) -> bool:
        """Return whether the grid holds a point, given the row and column of the nearest centre.

        The distance to it is measured in pixels along the rows and columns there.
        """
        sizes = self.longitude.shape
        along = [self._step(row, column, axis) for axis in (0, 1)]
        offset = point - self._directions[row, column]
        if np.linalg.norm(offset) > 2 * np.linalg.norm(
            along
        ):  # far away, such as on the other side of the Earth
            return False
        pixels = np.linalg.lstsq(np.stack(along, axis=1), offset, rcond=None)[0]
        for index, size, off in zip((row, column), sizes, pixels.tolist(), strict=True):
            before = _HALF if index == 0 else _SKEW
            after = _HALF if index == size - 1 else _SKEW
            if not -before <= off <= after:
                return False
        return True

    def _step(self, row: int, column: int, axis: int) -> Float64Array:
        """Return the step to the next pixel along an axis; 0 if no neighbour has a position."""
        line = self._directions[:, column] if axis == 0 else self._directions[row]
        index = row if axis == 0 else column
        around = line[max(index - 1, 0) : index + 2]
        known = around[np.isfinite(around).all(axis=1)]
        return np.asarray((known[-1] - known[0]) / max(len(known) - 1, 1))


def pixels_of(forecast: xr.Dataset, where: str = "the forecast") -> Pixels:
    """Return the positions of a forecast's pixels, from its axes or, if these are not enough, from
    the latitude and longitude of each pixel.

    Args:
        forecast: a forecast dataset, or a canonical grid.
        where: its name in the error.

    Raises:
        DataError: if the file does not say where its pixels are.
    """
    refuse_unplaced(forecast, where)
    place = place_of_grid(forecast)
    if has_projection(place) or in_degrees(place):
        place = {name: one for name, one in place.items() if name not in (LATITUDE, LONGITUDE)}
    longitude, latitude = np.broadcast_arrays(*degrees_of(place, where))
    if not np.isfinite(longitude * latitude).any():
        raise DataError(f"{where}: no pixel of it has a latitude and longitude.")
    assert longitude.shape == forecast[RATE].shape[-2:]
    return Pixels(longitude, latitude)


def refuse_unplaced(grid: xr.Dataset, where: str) -> None:
    """Raise DataError if a grid or forecast does not say where its pixels are."""
    if not knows_degrees(place_of_grid(grid)):
        raise DataError(
            f"{where}: does not say where its pixels are on Earth, so no place can be found in it;"
            " forecast from radar files that have a projection, or latitudes and longitudes."
        )


def _directions(longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> Float64Array:
    """Degrees (…) → unit vectors (…, 3) from the centre of the Earth; NaN if not finite."""
    east, north = np.radians(longitude, dtype=float), np.radians(latitude, dtype=float)
    with np.errstate(invalid="ignore"):  # infinite beyond a projection
        parts = [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)]
        return np.stack(np.broadcast_arrays(*parts), axis=-1)
