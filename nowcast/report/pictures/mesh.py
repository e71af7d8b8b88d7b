"""Longitude and latitude → pixels of a grid, from the degrees of its pixels only.

This works for any projection and for curvilinear grids. Places are unit vectors from the centre of
the Earth, which have no date line and no poles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from nowcast.arrays import Float64Array

_MOST_NODES = 300  # along an axis; between them the grid is interpolated linearly
_STARTS = 16  # nodes along an axis from which the search may start
_ROUNDS = 12
_FARTHEST = 0.02  # radians: largest error of a solution, and so the margin outside the grid


@dataclass(frozen=True)
class Mesh:
    """Some pixels of a grid.

    earth: (r, c, 3), the unit vector of each; NaN beyond the projection. rows, columns: their
    numbers, (r,) and (c,).
    """

    earth: Float64Array
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    def pixels_of(self, places: npt.ArrayLike) -> Float64Array:
        """Return the columns and rows (n, 2) of places (n, 2), longitude and latitude in degrees.

        The centre of the first pixel is (0, 0). A little outside, the grid is extrapolated; farther
        away, the result is NaN.
        """
        degrees = np.asarray(places, dtype=np.float64).reshape(-1, 2)
        targets = unit_vectors(degrees[:, 0], degrees[:, 1])
        where = self._nearest(targets)
        size = np.array([self.rows[-1] + 1.0, self.columns[-1] + 1.0])
        for _ in range(_ROUNDS):  # Gauss and Newton
            found, down, right = self._at(where)
            where = np.clip(where + _solve(down, right, targets - found), -size, 2 * size)
        off = np.linalg.norm(self._at(where)[0] - targets, axis=1)
        where[~(off < _FARTHEST)] = np.nan
        return where[:, ::-1]

    def _nearest(self, targets: Float64Array) -> Float64Array:
        """Return for each target the row and column (n, 2) of a node nearby."""
        rows, columns = (some_of(size, _STARTS) for size in self.earth.shape[:2])
        nodes = np.nan_to_num(self.earth[np.ix_(rows, columns)].reshape(-1, 3))
        row, column = np.divmod((targets @ nodes.T).argmax(axis=1), len(columns))
        nearest = [self.rows[rows[row]], self.columns[columns[column]]]
        return np.stack(nearest, axis=1).astype(np.float64)

    def _at(self, where: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the vector at each row and column (n, 2), and its change per row and column."""
        (row, height, y), (column, width, x) = (
            _cell_of(places, numbers)
            for places, numbers in zip(where.T, (self.rows, self.columns), strict=True)
        )
        first, below = self.earth[row, column], self.earth[row + 1, column]
        beside, across = self.earth[row, column + 1], self.earth[row + 1, column + 1]
        down = ((below - first) * (1 - x) + (across - beside) * x) / height
        right = ((beside - first) * (1 - y) + (across - below) * y) / width
        return first + (below - first) * y + right * width * x, down, right


def build_mesh(longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> Mesh | None:
    """Return the mesh of pixel centres, whose degrees broadcast to (h, w).

    Return None for a single row or column.
    """
    both = np.broadcast_arrays(np.asarray(longitude, float), np.asarray(latitude, float))
    if min(both[0].shape) < 2:
        return None
    rows, columns = (some_of(size, _MOST_NODES) for size in both[0].shape)
    east, north = (degrees[np.ix_(rows, columns)] for degrees in both)
    return Mesh(unit_vectors(east, north), rows, columns)


def unit_vectors(longitude: Float64Array, latitude: Float64Array) -> Float64Array:
    """Return unit vectors (…, 3) for degrees (…); NaN if these are not finite."""
    known = np.isfinite(longitude) & np.isfinite(latitude)
    east, north = (np.deg2rad(np.where(known, one, np.nan)) for one in (longitude, latitude))
    vectors = [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)]
    return np.stack(vectors, axis=-1)


def some_of(size: int, most: int) -> NDArray[np.intp]:
    """Return evenly spaced indices below a size, with the first and the last."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.intp))


def _solve(down: Float64Array, right: Float64Array, wanted: Float64Array) -> Float64Array:
    """Return the steps (n, 2) along two vectors (n, 3) that solve for `wanted` by least squares."""
    dd, dr, rr = (down * down).sum(1), (down * right).sum(1), (right * right).sum(1)
    dw, rw = (down * wanted).sum(1), (right * wanted).sum(1)
    steps = np.stack([dw * rr - rw * dr, rw * dd - dw * dr], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # two nodes may coincide, as at a pole
        steps /= (dd * rr - dr * dr)[:, None]
    return steps


def _cell_of(places: Float64Array, numbers: NDArray[np.intp]) -> tuple[Any, Any, Any]:
    """Return for each place the node before it, the pixels to the next node, and the share (n, 1)
    of the way there. The share is below 0 or above 1 outside.
    """
    cell = np.clip(np.searchsorted(numbers, places, side="right") - 1, 0, len(numbers) - 2)
    size = (numbers[cell + 1] - numbers[cell])[:, None]
    return cell, size, (places - numbers[cell])[:, None] / size
