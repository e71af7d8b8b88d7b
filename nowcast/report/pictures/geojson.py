"""Lines of a user's own map, from a GeoJSON file (RFC 7946)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.errors import DataError, InputOutputError, MissingInputError
from nowcast.untrusted.files import refuse_irregular

_DEPTHS = {"LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""How deep the points of a geometry lie in its coordinates. Points are no lines, and not drawn."""
_LARGEST = 50 * 2**20  # bytes: a map of the world at 1:10m takes half


def lines_of_geojson(path: str | Path) -> list[Float64Array]:
    """Return the lines and outlines of a GeoJSON file.

    Returns:
        Lines (n, 2): longitude and latitude in degrees.

    Raises:
        MissingInputError: if there is no such file.
        InputOutputError: if it cannot be read.
        DataError: if it is no GeoJSON, not in degrees, without lines, or larger than 50 MiB.
    """
    try:
        lines = [
            _line(points) for points in _lines_in(json.loads(_text_of(Path(path).expanduser())))
        ]
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DataError(
            f"{path}: no GeoJSON of lines in degrees ({str(error)[:80]}); give one of LineStrings"
            " or Polygons in longitude and latitude."
        ) from error
    if not lines:
        raise DataError(f"{path}: it has no lines to draw; give LineStrings or Polygons.")
    return lines


def _text_of(path: Path) -> str:
    refuse_irregular(path)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such GeoJSON file; give another.")
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: is larger than 50 MiB; simplify its lines.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({error.strerror}).") from error


def _lines_in(value: dict[str, Any]) -> Iterator[Any]:
    """Yield the points of each line of a GeoJSON object."""
    kind = value["type"]
    if kind == "FeatureCollection":
        for feature in value["features"]:
            yield from _lines_in(feature)
    elif kind == "Feature":
        if value["geometry"] is not None:
            yield from _lines_in(value["geometry"])
    elif kind == "GeometryCollection":
        for geometry in value["geometries"]:
            yield from _lines_in(geometry)
    elif kind in _DEPTHS:
        yield from _at_depth(value["coordinates"], _DEPTHS[kind])
    elif kind not in ("Point", "MultiPoint"):
        raise ValueError(f"the type {kind!r} is unknown")


def _at_depth(coordinates: Any, depth: int) -> Iterator[Any]:
    if depth == 1:
        yield coordinates
        return
    for one in coordinates:
        yield from _at_depth(one, depth - 1)


def _line(points: Any) -> Float64Array:
    """Return points (n, 2), without their heights."""
    line = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    if not (np.abs(line) <= [360.0, 90.0]).all():
        raise ValueError(f"{line[0].tolist()} is no longitude and latitude")
    return line
