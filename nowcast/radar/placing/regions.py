"""Regions: rectangular parts of a grid, laid out as a tiling. A checkpoint stores the region of its
training, which is then located on the grid of a forecast.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from nowcast.arrays import Float64Array
from nowcast.errors import ConfigError, DataError
from nowcast.radar.grid import CRS, RATE
from nowcast.radar.placing.georeference import Place, place_of_grid
from nowcast.radar.placing.grid_match import Turn, plain_crs, projection_differs

_ORIGIN = ("false_easting", "false_northing")
"""Attributes that shift the axes: if they differ, the same location has different x and y."""


class Region(NamedTuple):
    """A rectangle of pixels.

    rows, columns: slices with a start and a stop.
    """

    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def turned(self, turn: Turn, size: Sequence[int]) -> "Region":
        """Return its position in flipped frames of a grid (h, w)."""
        rows = _mirrored(self.rows, size[0]) if turn.rows else self.rows
        columns = _mirrored(self.columns, size[1]) if turn.columns else self.columns
        return Region(rows, columns)

    def widened(self, margin: int, multiple: int, size: Sequence[int]) -> "Region":
        """Return it extended by a margin in pixels, within the grid (h, w), and starting at a
        multiple of `multiple` pixels.
        """
        return Region(
            *(
                slice(max(0, axis.start - margin) // multiple * multiple,
                      min(length, axis.stop + margin))
                for axis, length in zip(self, size, strict=True)
            )
        )  # fmt: skip

    def within(self, wider: "Region") -> "Region":
        """Return its position within the frames of a wider region."""
        return Region(
            *(
                slice(axis.start - around.start, axis.stop - around.start)
                for axis, around in zip(self, wider, strict=True)
            )
        )

    def __str__(self) -> str:
        rows, columns = (f"{axis.start} to {axis.stop - 1}" for axis in self)
        return f"rows {rows}, columns {columns}"


def regions_of(size: int, step: int, grid_size: Sequence[int]) -> list[Region]:
    """Return the regions of a tiling, row by row.

    Args:
        size: height and width of each region in pixels; a shorter axis is used whole.
        step: pixels from one to the next; the last along each axis ends at the edge of the grid.
        grid_size: (h, w) of the grid, which the regions cover.
    """
    rows, columns = (_along(length, size, step) for length in grid_size)
    return [Region(row, column) for row in rows for column in columns]


def region_at(size: int, step: int, index: int, grid_size: Sequence[int]) -> Region:
    """Return the region number `index` of `regions_of`.

    Raises:
        ConfigError: if there are too few regions.
    """
    regions = regions_of(size, step, grid_size)
    if index >= len(regions):
        height, width = grid_size
        raise ConfigError(
            f"region.index: {index} does not exist: {height} × {width} pixels have {len(regions)}"
            f" regions of {size} pixels every {step}; give 0 to {len(regions) - 1}, or all with"
            f" -m 'region.index=range(0,{len(regions)})'."
        )
    return regions[index]


def region_for_checkpoint(grid: xr.Dataset, region: Region) -> dict[str, Any]:
    """Return what a checkpoint stores about the region of its training.

    rows, columns: start and stop. size: of the grid. y, x: centres of the first and the last pixel
    along each axis; None if the axes are unknown. crs: their CF grid mapping, if known.
    """
    place = place_of_grid(grid)
    axes = {"y": region.rows, "x": region.columns}
    known = axes.keys() <= place.keys() and min(region.size) > 1
    ends = {
        name: [float(place[name].values[at]) for at in (axis.start, axis.stop - 1)]
        if known
        else None
        for name, axis in axes.items()
    }
    return {
        "rows": [region.rows.start, region.rows.stop],
        "columns": [region.columns.start, region.columns.stop],
        "size": [int(length) for length in grid[RATE].shape[1:]],
        **ends,
        "crs": _crs(place),
    }


def stored_region(stored: dict[str, Any]) -> Region:
    """Return the region of a checkpoint in pixels of its training grid."""
    return Region(slice(*stored["rows"]), slice(*stored["columns"]))


def find_region(stored: dict[str, Any], grid: xr.Dataset, where: str) -> Region:
    """Locate the region of a checkpoint on a grid.

    It is located by x and y. If either grid has none, the grid must have the size of the training
    grid, and the region has the same pixels.

    Raises:
        DataError: naming `where`, if the grid does not contain the region.
    """
    place, size = place_of_grid(grid), [int(length) for length in grid[RATE].shape[1:]]
    if stored["y"] is None or not {"y", "x"} <= place.keys():
        if size != stored["size"]:
            raise _not_there(
                where, f"frames have {size} pixels; the model's region is in {stored['size']}"
            )
        return stored_region(stored)
    here = _crs(place)
    shifted = any(stored["crs"].get(key, 0.0) != here.get(key, 0.0) for key in _ORIGIN)
    if (stored["crs"] and here) and (shifted or projection_differs(stored["crs"], here)):
        raise _not_there(where, "not the projection of the model's region")
    found = [
        _between(_axis(place, name, stored[name]), stored[name], last - first)
        for name, (first, last) in (("y", stored["rows"]), ("x", stored["columns"]))
    ]
    rows, columns = found
    if rows is None or columns is None:
        raise _not_there(where, "the grid does not contain all of the model's region")
    return Region(rows, columns)


def _along(length: int, size: int, step: int) -> list[slice]:
    """Return the regions along one axis."""
    size = min(size, length)
    count = 1 - (size - length) // step
    starts = [min(number * step, length - size) for number in range(count)]
    return [slice(start, start + size) for start in starts]


def _mirrored(axis: slice, length: int) -> slice:
    return slice(length - axis.stop, length - axis.start)


def _crs(place: Place) -> dict[str, Any]:
    shift = {
        key: float(place[CRS].attrs[key])
        for key in _ORIGIN
        if CRS in place and key in place[CRS].attrs
    }
    return plain_crs(place) | shift


def _axis(place: Place, name: str, ends: Sequence[float]) -> Float64Array:
    """Return the pixel centres along an axis; longitudes are in the range of 360° of `ends`."""
    values = np.asarray(place[name].values, np.float64)
    if name == "x" and str(place[name].attrs.get("units", "")).startswith("degree"):
        middle = (ends[0] + ends[1]) / 2
        return middle + (values - middle + 180.0) % 360.0 - 180.0
    return values


def _between(values: Float64Array, ends: Sequence[float], count: int) -> slice | None:
    """Return the pixels with centres between `ends` (the centres of the first and the last of
    `count` pixels) or less than half a pixel beyond; None if the axis does not cover them.
    """
    low, high = sorted(ends)
    half = (high - low) / (count - 1) / 2
    inside = np.flatnonzero((values > low - half) & (values < high + half))
    if inside.size < 2 or inside[-1] - inside[0] != inside.size - 1:
        return None
    own = abs(float(values[inside[-1]] - values[inside[0]])) / (inside.size - 1) / 2
    first, last = sorted(values[inside[[0, -1]]])
    if first - own > low - half + own or last + own < high + half - own:
        return None
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _not_there(where: str, what: str) -> DataError:
    return DataError(
        f"{where}: {what}; give data on the grid of the training, or use another checkpoint."
    )
