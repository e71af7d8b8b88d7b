"""Regions: parts of a grid. A tiling lays them out, a checkpoint says where its own lies, and it is
found again on the grid that is forecast.
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
"""What shifts the axes of a map; two grids that differ in it have other x and y for one place."""


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
        """Return where it lies in frames of a grid (h, w) that were turned."""
        rows = _mirrored(self.rows, size[0]) if turn.rows else self.rows
        columns = _mirrored(self.columns, size[1]) if turn.columns else self.columns
        return Region(rows, columns)

    def widened(self, margin: int, multiple: int, size: Sequence[int]) -> "Region":
        """Return it with so many pixels around it, as far as the grid (h, w) goes; it begins at a
        multiple.
        """
        return Region(
            *(
                slice(max(0, axis.start - margin) // multiple * multiple,
                      min(length, axis.stop + margin))
                for axis, length in zip(self, size, strict=True)
            )
        )  # fmt: skip

    def within(self, wider: "Region") -> "Region":
        """Return where it lies in the frames of a wider region."""
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
        size: height and width of each in pixels; along an axis that is shorter, the whole axis.
        step: pixels from one to the next; the last along each axis ends where the grid does.
        grid_size: (h, w) of the grid, which they cover.
    """
    rows, columns = (_along(length, size, step) for length in grid_size)
    return [Region(row, column) for row in rows for column in columns]


def region_at(size: int, step: int, index: int, grid_size: Sequence[int]) -> Region:
    """Return the region of this number, as `regions_of`.

    Raises:
        ConfigError: if there are not so many.
    """
    regions = regions_of(size, step, grid_size)
    if index >= len(regions):
        height, width = grid_size
        raise ConfigError(
            f"region.index: {height} × {width} pixels have {len(regions)} regions of {size} pixels"
            f" every {step}, and {index} is none of them; give 0 to {len(regions) - 1}, or all as"
            f" -m 'region.index=range(0,{len(regions)})'."
        )
    return regions[index]


def region_for_checkpoint(grid: xr.Dataset, region: Region) -> dict[str, Any]:
    """What a checkpoint says of the region that its model was trained on.

    rows, columns: first pixel, and the one past the last. size: of the grid. y, x: of the centres
    of the first and the last pixel along each axis; None where the axes are not known. crs: the CF
    grid mapping that they belong to, as far as it is known.
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
    """Return the region of a checkpoint on the grid of its training."""
    return Region(slice(*stored["rows"]), slice(*stored["columns"]))


def find_region(stored: dict[str, Any], grid: xr.Dataset, where: str) -> Region:
    """Return where the region of a checkpoint lies on a grid.

    It is looked for by x and y; if either is not known, the grid has to be of the size of the
    training's.

    Raises:
        DataError: naming `where`, if the grid does not hold it.
    """
    place, size = place_of_grid(grid), [int(length) for length in grid[RATE].shape[1:]]
    if stored["y"] is None or not {"y", "x"} <= place.keys():
        if size != stored["size"]:
            raise _not_there(
                where, f"frames of {size}, and the model's region lies in {stored['size']}"
            )
        return stored_region(stored)
    here = _crs(place)
    shifted = any(stored["crs"].get(key, 0.0) != here.get(key, 0.0) for key in _ORIGIN)
    if (stored["crs"] and here) and (shifted or projection_differs(stored["crs"], here)):
        raise _not_there(where, "another projection than that in which the model's region lies")
    found = [
        _between(_axis(place, name, stored[name]), stored[name], last - first)
        for name, (first, last) in (("y", stored["rows"]), ("x", stored["columns"]))
    ]
    rows, columns = found
    if rows is None or columns is None:
        raise _not_there(where, "a grid that does not hold all of the model's region")
    return Region(rows, columns)


def _along(length: int, size: int, step: int) -> list[slice]:
    """Regions along an axis."""
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
    """The centres of pixels along an axis, longitudes in the turn of those ends."""
    values = np.asarray(place[name].values, np.float64)
    if name == "x" and str(place[name].attrs.get("units", "")).startswith("degree"):
        middle = (ends[0] + ends[1]) / 2
        return middle + (values - middle + 180.0) % 360.0 - 180.0
    return values


def _between(values: Float64Array, ends: Sequence[float], count: int) -> slice | None:
    """The pixels whose centres lie between those of the first and the last of `count` pixels, or
    less than half a pixel beyond; None if an axis does not reach so far.
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
        f"{where}: {what}; give the grid that it was trained on, or forecast by another checkpoint."
    )
