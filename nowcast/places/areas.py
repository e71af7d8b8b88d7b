"""Areas of a GeoJSON file, and the pixels in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.errors import DataError
from nowcast.places.geojson import Feature, read_features
from nowcast.places.pixels import Index, Pixels

_MOST_ON_EDGE = 10_000
"""Most points on an edge that are tested for the pixels it touches."""


@dataclass(frozen=True, eq=False)
class Area:
    """Polygons with a name.

    Args:
        name: of the feature.
        rings: outer rings and holes, each (n, 2) longitude and latitude in degrees.
    """

    name: str
    rings: tuple[Float64Array, ...]

    def within(self, pixels: Pixels) -> Index | None:
        """Return the pixels with centres in the area; None if the area is outside the grid.

        If the area holds no centre, return the pixels that its outline touches.
        """
        longitude = (pixels.longitude + 180.0) % 360.0 - 180.0
        corners = np.concatenate(self.rings)
        (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
        with np.errstate(invalid="ignore"):
            near = (longitude >= west) & (longitude <= east)
            near &= (pixels.latitude >= south) & (pixels.latitude <= north)
        rows, columns = np.nonzero(near)
        inside = _inside(longitude[rows, columns], pixels.latitude[rows, columns], self.rings)
        if inside.any():
            return rows[inside], columns[inside]
        outline = _within_box(_outline(self.rings, pixels.spacing / 2), longitude, pixels)
        found = {pixels.nearest(*point) for point in outline.tolist()} - {None}
        touched = np.array(sorted(found), dtype=np.intp).reshape(-1, 2)  # type: ignore[type-var]
        return (touched[:, 0], touched[:, 1]) if found else None


def _inside(
    longitude: Float64Array, latitude: Float64Array, rings: tuple[Float64Array, ...]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether points (n,) lie in rings: a ray to the east crosses an odd number of edges.

    Points are sorted by latitude, so each edge is compared only with points at its latitudes.
    """
    order = np.argsort(latitude)
    x, y = longitude[order], latitude[order]
    odd = np.zeros(len(x), dtype=bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            first, last = np.searchsorted(y, (min(y1, y2), max(y1, y2)))
            if first < last:
                level = slice(first, last)
                odd[level] ^= x[level] < x1 + (x2 - x1) * (y[level] - y1) / (y2 - y1)
    inside = np.empty_like(odd)
    inside[order] = odd
    return inside


def _outline(rings: tuple[Float64Array, ...], apart: float) -> Float64Array:
    """Return points (n, 2) on the edges of rings with corners, at most `apart` degrees apart."""
    found = []
    for ring in rings:
        ways = np.roll(ring, -1, axis=0) - ring
        counts = np.clip(np.ceil(np.abs(ways).max(axis=1) / apart), 1, _MOST_ON_EDGE).astype(int)
        share = np.concatenate([np.arange(count) / count for count in counts])
        found.append(np.repeat(ring, counts, axis=0) + share[:, None] * np.repeat(ways, counts, 0))
    return np.concatenate(found)


def _within_box(points: Float64Array, longitude: Float64Array, pixels: Pixels) -> Float64Array:
    """Return the points (n, 2) that may lie in the grid; its longitudes are from -180 to 180."""
    keep = np.ones(len(points), dtype=bool)
    for axis, values in enumerate((longitude, pixels.latitude)):
        known, far = values[np.isfinite(values)], 2 * pixels.spacing
        keep &= (points[:, axis] >= known.min() - far) & (points[:, axis] <= known.max() + far)
    return points[keep]


def read_areas(path: str | Path) -> list[Area]:
    """Read a GeoJSON file of polygons.

    Args:
        path: a FeatureCollection, a Feature, a Polygon or a MultiPolygon. Each feature is an area,
            named by its property or member `name` or `id`, else by its number.

    Returns:
        The areas, in the order of the file.

    Raises:
        MissingInputError, InputOutputError, DataError: as `read_features`, or if a feature is not a
            polygon; names file and feature.
    """
    areas = [
        Area(feature.name or f"area {number}", _rings(feature))
        for number, feature in enumerate(read_features(path), start=1)
    ]
    if not areas:
        raise DataError(f"{path}: holds no area; give a FeatureCollection of polygons.")
    return areas


def _rings(feature: Feature) -> tuple[Float64Array, ...]:
    """Return the rings of a feature. Errors: DataError if it is not an area."""
    where = feature.where
    if feature.kind not in ("Polygon", "MultiPolygon"):
        raise DataError(
            f"{where}: is {feature.kind or 'nothing'}; an area is a Polygon or MultiPolygon."
        )
    if not feature.lines:
        raise DataError(f"{where}: has no coordinates; give rings of longitude and latitude.")
    for ring in feature.lines:
        if len(ring) < 3:
            raise DataError(f"{where}: a ring needs three points or more.")
        if (np.abs(ring[:, 0]) > 180.0).any():
            raise DataError(
                f"{where}: a point lies beyond 180 degrees of longitude; give degrees from -180 to"
                " 180."
            )
        if (np.abs(np.diff(ring[:, 0], append=ring[0, 0])) > 180.0).any():
            raise DataError(f"{where}: crosses the date line; cut it there into two polygons.")
    return feature.lines
