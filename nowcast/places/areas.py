"""Areas of a GeoJSON file (RFC 7946), and which pixels lie in them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.errors import DataError, MissingInputError
from nowcast.places.pixels import Index, Pixels

_WORLD = ("CRS84", "EPSG::4326", "EPSG:4326")  # what files of before RFC 7946 call its coordinates
_NAMES = ("name", "NAME", "Name", "id")


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
        """Return the pixels whose centres lie in the area; of one too small for that, those that
        its corners lie in; None if the area is outside of the grid.
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
        found = {pixels.nearest(*corner) for corner in corners.tolist()} - {None}
        touched = np.array(sorted(found), dtype=np.intp).reshape(-1, 2)  # type: ignore[type-var]
        return (touched[:, 0], touched[:, 1]) if found else None


def _inside(
    longitude: Float64Array, latitude: Float64Array, rings: tuple[Float64Array, ...]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether points (n,) lie in rings: a ray to the east crosses their edges an odd number of
    times. Points are sorted by latitude, so that an edge looks only at those level with it.
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


def read_areas(path: str | Path) -> list[Area]:
    """Read a GeoJSON file of polygons.

    Args:
        path: a FeatureCollection, a Feature, a Polygon or a MultiPolygon. Each feature is an area,
            named by its property or member `name`, or `id`, else by its number.

    Returns:
        The areas, in the order of the file.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is no GeoJSON, or a feature is no polygon; names file and feature.
    """
    path = Path(path).expanduser()
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); give a GeoJSON file of polygons."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: is no GeoJSON ({str(error)[:80]}); give a FeatureCollection of polygons."
        ) from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: is no GeoJSON; give a FeatureCollection of polygons.")
    if "crs" in document and not any(one in json.dumps(document["crs"]) for one in _WORLD):
        raise DataError(f"{path}: has coordinates of another kind; save it in degrees (WGS 84).")
    areas = [
        Area(_name(feature, number), tuple(_rings(feature, f"{path}, feature {number}")))
        for number, feature in enumerate(_features(document), start=1)
    ]
    if not areas:
        raise DataError(f"{path}: holds no area; give a FeatureCollection of polygons.")
    return areas


def _features(document: dict[str, Any]) -> list[Any]:
    if document.get("type") != "FeatureCollection":
        return [document]
    features = document.get("features")
    return features if isinstance(features, list) else []


def _name(feature: Any, number: int) -> str:
    """The name of a feature, or its number."""
    if isinstance(feature, dict):
        properties = feature.get("properties")
        for about in (properties if isinstance(properties, dict) else {}, feature):
            found = [about[name] for name in _NAMES if isinstance(about.get(name), str | int)]
            if found:
                return str(found[0])
    return f"area {number}"


def _rings(feature: Any, where: str) -> Iterator[Float64Array]:
    """The rings of a feature, or of a geometry by itself. Errors: DataError naming `where`."""
    geometry = feature.get("geometry", feature) if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in ("Polygon", "MultiPolygon"):
        raise DataError(f"{where}: is {kind or 'nothing'}; an area is a Polygon or MultiPolygon.")
    given = geometry.get("coordinates")
    polygons = [given] if kind == "Polygon" else given
    if not isinstance(polygons, list):
        raise DataError(f"{where}: has no coordinates; give rings of longitude and latitude.")
    for polygon in polygons or [None]:
        if not isinstance(polygon, list) or not polygon:
            raise DataError(f"{where}: has no coordinates; give rings of longitude and latitude.")
        for ring in polygon:
            yield _ring(ring, where)


def _ring(given: Any, where: str) -> Float64Array:
    try:
        ring = np.array([[float(value) for value in point[:2]] for point in given])
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise DataError(
            f"{where}: has coordinates that are no numbers; give longitude and latitude."
        ) from error
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise DataError(f"{where}: a ring needs three points or more, each longitude and latitude.")
    if (np.abs(ring) > (180.0, 90.0)).any():
        raise DataError(
            f"{where}: a point lies beyond 180 degrees of longitude or 90 of latitude; give"
            " degrees, the longitude first."
        )
    if (np.abs(np.diff(ring[:, 0])) > 180.0).any():
        raise DataError(f"{where}: crosses the date line; cut it there into two polygons.")
    return ring
