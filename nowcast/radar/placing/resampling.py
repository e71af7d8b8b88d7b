"""Resampling to larger pixels on the same projection by exact area averages, or to another grid."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.arrays import FloatArray
from nowcast.errors import ConfigError, DataError
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.cropping import from_degrees, has_projection, in_degrees, to_degrees
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.longitudes import unwrapped

Resample = Callable[[FloatArray], npt.NDArray[np.float64]]
"""Rates (y, x), NaN = missing → rates of the new pixels."""

_MOST_POINTS = 2**29  # for resampling to another grid; each takes 4 bytes of memory
LEAST_AREA = 0.5  # share of a pixel that must be covered; else it is missing


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Overlaps of old and new pixels along one axis: old pixels `index[j]` cover shares `share[j]`
    of new pixel j.
    """

    index: npt.NDArray[np.intp]  # (new, most parts)
    share: npt.NDArray[np.float64]  # (new, most parts); 0 for unused parts

    def along_rows(self, values: FloatArray) -> FloatArray:
        """W · values: (y, x) → (new y, x)."""
        return np.asarray(
            sum(
                share[:, None] * values[index]
                for index, share in zip(self.index.T, self.share.T, strict=True)
            )
        )

    def along_columns(self, values: FloatArray) -> FloatArray:
        """values · Wᵀ: (y, x) → (y, new x)."""
        return np.asarray(
            sum(
                values[:, index] * share
                for index, share in zip(self.index.T, self.share.T, strict=True)
            )
        )


@dataclass(frozen=True, eq=False)
class Averaging:
    """Exact area averages for larger pixels: (W_y R W_xᵀ) / (W_y V W_xᵀ).

    R are the rates (0 where missing), V is 1 where rates are valid and 0 where missing, and W is
    the share of each new pixel that an old one covers. A new pixel is missing if less than half of
    it is covered (W_y V W_xᵀ). If everything is covered, the sum of rate × area is conserved.
    """

    y: Overlaps
    x: Overlaps

    def __call__(self, rate: FloatArray) -> npt.NDArray[np.float64]:
        there = ~np.isnan(rate)
        total = self._sum(np.where(there, rate, 0.0).astype(np.float64, copy=False))
        area = self._sum(there.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(area >= LEAST_AREA - 1e-9, total / area, np.nan)

    def _sum(self, values: npt.NDArray[np.float64]) -> FloatArray:
        return self.x.along_columns(self.y.along_rows(values))


@dataclass(frozen=True, eq=False)
class PointAverages:
    """Means over points spread evenly in each new pixel; each point takes the rate of the old pixel
    that contains it.
    """

    # (points, new y, new x): row × width + column of the old pixel; -1 outside the old grid
    index: npt.NDArray[np.int32]

    def __call__(self, rate: FloatArray) -> npt.NDArray[np.float64]:
        values = np.append(rate.ravel(), rate.dtype.type(np.nan))
        total, count = np.zeros(self.index.shape[1:]), np.zeros(self.index.shape[1:])
        for index in self.index:
            at_point = values[index]
            there = ~np.isnan(at_point)
            total += np.where(there, at_point, 0.0)
            count += there
        with np.errstate(invalid="ignore"):
            return np.where(
                count >= LEAST_AREA * len(self.index), total / np.maximum(count, 1.0), np.nan
            )


def to_pixel_size(place: Place, pixel_size: float, where: str) -> tuple[Resample | None, Place]:
    """Return the resampling to pixels of `pixel_size` metres on the same projection, with edges at
    multiples of it; and the new place.

    The resampling is None if the pixels already have this size. Latitude and longitude are computed
    again if the projection is known.
    Errors: ConfigError if the pixels would become smaller, or larger than the grid, or x and y are
    not in metres.
    """
    if in_degrees(place):
        raise ConfigError(
            f"pixel_size: {where} has pixels in degrees, whose size in metres varies; give"
            " grid=FILE, a file whose grid is used instead."
        )
    if not all(axis in place and place[axis].attrs.get("units") == "m" for axis in ("x", "y")):
        raise ConfigError(f"pixel_size: {where} has no x and y in metres; leave pixel_size out.")
    spacings = {axis: spacing_of(place[axis], where) for axis in ("y", "x")}
    if all(math.isclose(abs(spacing), pixel_size, rel_tol=1e-6) for spacing in spacings.values()):
        return None, place
    finest = max(abs(spacing) for spacing in spacings.values())
    if pixel_size < finest * (1 - 1e-6):
        raise ConfigError(
            f"pixel_size: {pixel_size:g} m is finer than the {finest:g} m of {where}, and averaging"
            f" can only make pixels coarser; give at least {finest:g}, or null."
        )
    extent = min(abs(spacings[axis]) * place[axis].size for axis in spacings)
    if pixel_size > extent:
        raise ConfigError(
            f"pixel_size: a pixel of {pixel_size:g} m is larger than the whole grid of {where};"
            f" give at most {extent:g}, or null."
        )
    axes = {axis: _coarsen(place[axis], spacings[axis], pixel_size) for axis in ("y", "x")}
    new: Place = {axis: centres for axis, (_, centres) in axes.items()}
    if CRS in place:
        new[CRS] = place[CRS]
    if LATITUDE in place and LONGITUDE in place and has_projection(new):
        degrees = to_degrees(new, *np.meshgrid(new["x"].values, new["y"].values))
        for name, values in zip(
            (LONGITUDE, LATITUDE), (unwrapped(degrees[0]), degrees[1]), strict=True
        ):
            new[name] = xr.Variable(("y", "x"), values, place[name].attrs)
    return Averaging(axes["y"][0], axes["x"][0]), new


def to_grid(source: Place, target: Place, where: str, target_where: str) -> PointAverages:
    """Return the resampling from the grid at `source` to the grid at `target`.

    In each new pixel k × k points are spread evenly, and each takes the old pixel that contains it.
    k is the width of a new pixel in old pixels, rounded up, so no old pixel is skipped. If pixel
    edges coincide the result is the exact average. A new pixel with less than half of its points
    covered is missing. Latitudes count as equal on all ellipsoids, as in radar products.
    Errors: DataError if the location of either grid is unknown; ConfigError if the target is too
    coarse.
    """
    for place, name in ((source, where), (target, target_where)):
        if not (has_projection(place) or in_degrees(place)):
            raise DataError(
                f"{name}: has no x and y on a projection or in degrees, so it cannot be resampled"
                " to another grid, nor another grid to it."
            )
    shape = (target["y"].size, target["x"].size)
    rows, columns = _pixels_of(source, target, 0.0, 0.0, where, target_where)
    points = _points_across(rows, columns)
    if points**2 * rows.size > _MOST_POINTS:
        raise ConfigError(
            f"grid: a pixel of {target_where} is {points} pixels of {where} wide, which is too"
            " coarse; give another grid, or pixel_size."
        )
    offsets = (np.arange(points) + 0.5) / points - 0.5
    index = np.empty((points**2, *shape), dtype=np.int32)
    for k, (dy, dx) in enumerate((dy, dx) for dy in offsets for dx in offsets):
        index[k] = _flat(
            *_pixels_of(source, target, float(dy), float(dx), where, target_where), source
        )
    return PointAverages(index)


def spacing_of(axis: xr.Variable, where: str) -> float:
    """Return the distance of neighbouring pixels, negative along a decreasing axis.

    Errors: DataError if it is not constant.
    """
    centres = np.asarray(axis.values, dtype=np.float64)
    name = axis.dims[0]
    if centres.size < 2:
        raise DataError(
            f"{where}: a single pixel along {name}, so the pixel size is unknown; it cannot be"
            " resampled."
        )
    spacing = float((centres[-1] - centres[0]) / (centres.size - 1))
    if spacing == 0 or np.abs(np.diff(centres) - spacing).max() > 1e-2 * abs(spacing):
        raise DataError(
            f"{where}: its pixels are not evenly spaced along {name}, so they cannot be resampled."
        )
    return spacing


def overlaps(
    first_edge: float, size: float, count: int, new_edge: float, new_size: float, new_count: int
) -> Overlaps:
    """Return the overlaps of `count` pixels of `size` starting at `first_edge` with `new_count`
    larger ones of `new_size` starting at `new_edge`, both in increasing order.
    """
    starts = new_edge + new_size * np.arange(new_count)
    first = np.floor((starts - first_edge) / size + 1e-9).astype(np.intp)
    index = first[:, None] + np.arange(math.ceil(new_size / size - 1e-9) + 1)
    old_starts = first_edge + size * index
    length = np.minimum(old_starts + size, starts[:, None] + new_size) - np.maximum(
        old_starts, starts[:, None]
    )
    share = length / new_size
    # 1e-9: a neighbour that is touched only because of rounding
    share[(share < 1e-9) | (index < 0) | (index >= count)] = 0.0
    return Overlaps(np.clip(index, 0, count - 1), share)


def _coarsen(axis: xr.Variable, spacing: float, new_size: float) -> tuple[Overlaps, xr.Variable]:
    """Return the overlaps along an axis and the new centres, in the direction of the old ones."""
    # a decreasing axis is negated; multiples stay multiples
    sign = 1.0 if spacing > 0 else -1.0
    size = abs(spacing)
    first_edge = sign * float(axis.values[0]) - size / 2
    first = math.floor(round(first_edge / new_size, 6))
    last = math.ceil(round((first_edge + size * axis.size) / new_size, 6))
    made_of = overlaps(first_edge, size, axis.size, first * new_size, new_size, last - first)
    centres = sign * new_size * (first + np.arange(last - first) + 0.5)
    return made_of, xr.Variable(axis.dims, centres, axis.attrs)


def _pixels_of(
    source: Place, target: Place, dy: float, dx: float, where: str, target_where: str
) -> tuple[FloatArray, FloatArray]:
    """Return fractional rows and columns of `source`, each (y, x), at points `dy`, `dx` pixels from
    the centres of `target`.
    """
    y = target["y"].values + dy * spacing_of(target["y"], target_where)
    x = target["x"].values + dx * spacing_of(target["x"], target_where)
    at_x, at_y = from_degrees(source, *to_degrees(target, *np.meshgrid(x, y)))
    with np.errstate(invalid="ignore"):
        rows = (at_y - source["y"].values[0]) / spacing_of(source["y"], where)
        columns = (at_x - source["x"].values[0]) / spacing_of(source["x"], where)
    return rows, columns


def _points_across(rows: FloatArray, columns: FloatArray) -> int:
    """Return the width of a new pixel in old pixels, the larger of both directions, rounded up.
    The median over the grid is used.
    """
    widths = [1.0]
    for part in (rows, columns):
        for axis in (0, 1):
            steps = np.abs(np.diff(part, axis=axis))
            if np.isfinite(steps).any():
                # the median ignores the few steps across 360°
                widths.append(float(np.quantile(steps[np.isfinite(steps)], 0.5, method="lower")))
    return math.ceil(max(widths) - 0.01)


def _flat(rows: FloatArray, columns: FloatArray, source: Place) -> npt.NDArray[np.int32]:
    height, width = source["y"].size, source["x"].size
    with np.errstate(invalid="ignore"):
        inside = (
            (rows >= -0.5) & (rows < height - 0.5) & (columns >= -0.5) & (columns < width - 0.5)
        )
    row, column = (
        np.floor(np.where(inside, part, 0.0) + 0.5).astype(np.int32) for part in (rows, columns)
    )
    return np.asarray(np.where(inside, row * width + column, -1), dtype=np.int32)
