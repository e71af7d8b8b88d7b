"""Which pixels of a grid are a place: the nearest one, or all in a circle; on any grid whose pixels
have a latitude and longitude, whichever way its rows and columns run.
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
_SKEW = 1.0  # no point within a grid of skew pixels lies further from the nearest centre

Index = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Rows and columns of some pixels, (n,) each."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Where the centres of a grid's pixels are.

    Args:
        longitude, latitude: (y, x) in degrees; not finite where a pixel lies beyond the projection.

    Example:
        >>> longitude, latitude = np.meshgrid([10.0, 10.1, 10.2], [51.0, 50.9])
        >>> pixels = Pixels(longitude, latitude)
        >>> pixels.nearest(10.11, 50.92), pixels.nearest(9.0, 50.0)
        ((1, 1), None)
    """

    longitude: Float64Array
    latitude: Float64Array

    def nearest(self, longitude: float, latitude: float) -> tuple[int, int] | None:
        """Return row and column of the pixel that a point lies in; None outside of the grid."""
        point = _directions(longitude, latitude)
        closeness = self._directions @ point
        row, column = divmod(int(np.nanargmax(closeness)), closeness.shape[1])
        return (row, column) if self._holds(point, row, column) else None

    def of(self, place: Place) -> Index | None:
        """Return the pixels of a place: the one that it lies in and, with a radius, all whose
        centres are at most so far away; None outside of the grid.
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
        """Degrees from a pixel to the next, the least of all; infinite of a single pixel."""
        sides = [
            np.abs(np.diff(self.longitude, axis=axis)) + np.abs(np.diff(self.latitude, axis=axis))
            for axis in (0, 1)
        ]
        return float(min(np.min(side, where=side > 0, initial=np.inf) for side in sides))

    @cached_property
    def _directions(self) -> Float64Array:
        """(y, x, 3), as seen from the centre of the Earth."""
        return _directions(self.longitude, self.latitude)

    def _holds(self, point: Float64Array, row: int, column: int) -> bool:
        """Whether a point lies in the grid, whose pixel centre nearest to it is given: measured in
        pixels along the rows and columns there.
        """
        sizes = self.longitude.shape
        along = [self._step(row, column, axis) for axis in (0, 1)]
        offset = point - self._directions[row, column]
        if np.linalg.norm(offset) > 2 * np.linalg.norm(along):  # as on the other side of the Earth
            return False
        pixels = np.linalg.lstsq(np.stack(along, axis=1), offset, rcond=None)[0]
        for index, size, off in zip((row, column), sizes, pixels.tolist(), strict=True):
            before = _HALF if index == 0 else _SKEW
            after = _HALF if index == size - 1 else _SKEW
            if not -before <= off <= after:
                return False
        return True

    def _step(self, row: int, column: int, axis: int) -> Float64Array:
        """From one pixel to the next along an axis; 0 if no neighbour has a place."""
        line = self._directions[:, column] if axis == 0 else self._directions[row]
        index = row if axis == 0 else column
        around = line[max(index - 1, 0) : index + 2]
        known = around[np.isfinite(around).all(axis=1)]
        return np.asarray((known[-1] - known[0]) / max(len(known) - 1, 1))


def pixels_of(forecast: xr.Dataset, where: str = "the forecast") -> Pixels:
    """Return where the pixels of a forecast are, by its axes if they are enough, else by the
    latitude and longitude of each pixel.

    Args:
        forecast: a forecast dataset, or a canonical grid.
        where: named in the error.

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
    """Raises: DataError if a grid or forecast does not say where its pixels are."""
    if not knows_degrees(place_of_grid(grid)):
        raise DataError(
            f"{where}: does not say where its pixels are on Earth, so no place can be found in it;"
            " forecast from radar files that have a projection, or latitudes and longitudes."
        )


def _directions(longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> Float64Array:
    """Degrees (…) → unit vectors (…, 3) from the centre of the Earth; NaN where not finite."""
    east, north = np.radians(longitude, dtype=float), np.radians(latitude, dtype=float)
    with np.errstate(invalid="ignore"):  # infinite beyond a projection
        parts = [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)]
        return np.stack(np.broadcast_arrays(*parts), axis=-1)
