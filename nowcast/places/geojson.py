"""GeoJSON files (RFC 7946): the lines of each feature, in degrees."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.errors import DataError, InputOutputError, MissingInputError
from nowcast.radar.placing.georeference import is_in_degrees
from nowcast.untrusted.files import refuse_irregular

_DEPTHS = {"LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""Nesting depth of the points in a geometry's coordinates."""
_OTHERS = ("Point", "MultiPoint", "GeometryCollection")
_LARGEST = 50 * 2**20  # bytes: twice a map of the world at 1:10m
_NAMES = ("name", "NAME", "Name", "id")
_ADVICE = "give a FeatureCollection of lines or polygons, in longitude and latitude"


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature of a GeoJSON file.

    Args:
        where: file and number of the feature, for messages.
        name: its property or member `name` or `id`; None without them.
        kind: the type of its geometry; None without a geometry.
        lines: lines and rings of polygons, each (n, 2) longitude and latitude in degrees; points
            are left out.
    """

    where: str
    name: str | None
    kind: str | None
    lines: tuple[Float64Array, ...]


def read_features(path: str | Path) -> list[Feature]:
    """Read a GeoJSON file.

    Args:
        path: of a FeatureCollection, a Feature, or a bare geometry.

    Returns:
        The features, in the order of the file.

    Raises:
        MissingInputError: if there is no such file.
        InputOutputError: if it cannot be read.
        DataError: if it is not GeoJSON, not in degrees, or larger than 50 MiB.
    """
    path = Path(path).expanduser()
    try:
        document = json.loads(_text_of(path))
        _refuse_other_crs(document.get("crs"), path)
        is_collection = document["type"] == "FeatureCollection"
        features = document["features"] if is_collection else [document]
        return [
            _feature(one, f"{path}, feature {number}")
            for number, one in enumerate(features, start=1)
        ]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is no GeoJSON ({str(error)[:80]}); {_ADVICE}.") from error


def read_lines(path: str | Path) -> list[Float64Array]:
    """Return the lines and outlines of a GeoJSON file, each (n, 2) as in `Feature`.

    Raises:
        MissingInputError, InputOutputError, DataError: as `read_features`, or without lines.
    """
    lines = [line for feature in read_features(path) for line in feature.lines]
    if not lines:
        raise DataError(f"{path}: has no lines to draw; {_ADVICE}.")
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


def _refuse_other_crs(crs: Any, path: Path) -> None:
    """Refuse the member `crs` of files older than RFC 7946, unless it means degrees."""
    text = json.dumps(crs)[:200]
    if crs and not is_in_degrees(text):
        raise DataError(
            f"{path}: its crs is {text}, which is not known to be longitude and latitude in"
            " degrees; save it in degrees (WGS 84)."
        )


def _feature(given: dict[str, Any], where: str) -> Feature:
    is_feature = given["type"] == "Feature"
    geometry = given["geometry"] if is_feature else given
    properties = (given.get("properties") or {}) if is_feature else {}
    names = [about.get(name) for about in (properties, given) for name in _NAMES]
    name = next((str(one) for one in names if isinstance(one, str | int)), None)
    if geometry is None:
        return Feature(where, name, None, ())
    lines = (_line(points, where) for points in _lines_in(geometry))
    return Feature(where, name, geometry["type"], tuple(line for line in lines if line.size))


def _lines_in(geometry: dict[str, Any]) -> Iterator[Any]:
    """Yield the points of each line of a geometry."""
    kind = geometry["type"]
    if kind in _DEPTHS:
        yield from _at_depth(geometry["coordinates"], _DEPTHS[kind])
    elif kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _lines_in(one)
    elif kind not in _OTHERS:
        raise ValueError(f"the type {kind!r} is unknown")


def _at_depth(coordinates: Any, depth: int) -> Iterator[Any]:
    if depth == 1:
        yield coordinates
        return
    for one in coordinates:
        yield from _at_depth(one, depth - 1)


def _line(points: Any, where: str) -> Float64Array:
    """Return points (n, 2) without heights."""
    try:
        line = np.array([[float(point[0]), float(point[1])] for point in points]).reshape(-1, 2)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise DataError(
            f"{where}: has coordinates that are no numbers; give longitude and latitude."
        ) from error
    if not (np.abs(line) <= [360.0, 90.0]).all():
        raise DataError(
            f"{where}: a point lies beyond 360 degrees of longitude or 90 of latitude; give"
            " degrees, the longitude first."
        )
    return line
