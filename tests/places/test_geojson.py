"""GeoJSON files: what lines they hold, and that maps and areas refuse them in the same words."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nowcast.errors import DataError, MissingInputError
from nowcast.places.areas import read_areas
from nowcast.places.geojson import read_features, read_lines

LINE = {"type": "LineString", "coordinates": [[3.1, 50.1], [3.2, 50.2, 7.0]]}
RING = [[3, 50], [4, 50], [4, 51], [3, 50]]


def written(folder: Path, content: Any) -> Path:
    path = folder / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def line(coordinates: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [coordinates]}


def test_lines_and_names_of_every_kind_of_feature(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {"name": "road"}, "geometry": LINE},
        {"type": "Feature", "id": 7, "geometry": {"type": "MultiPolygon", "coordinates": [[RING]]}},
        {"type": "Feature", "properties": None, "geometry": None},
        {"type": "GeometryCollection", "geometries": [LINE, {"type": "Point", "coordinates": [1]}]},
        {"type": "MultiLineString", "coordinates": [LINE["coordinates"], []]},
    ]
    path = written(tmp_path, {"type": "FeatureCollection", "features": features})
    found = read_features(path)
    assert [(one.name, one.kind) for one in found] == [
        ("road", "LineString"), ("7", "MultiPolygon"), (None, None), (None, "GeometryCollection"),
        (None, "MultiLineString"),
    ]  # fmt: skip
    assert [[len(line) for line in one.lines] for one in found] == [[2], [4], [], [2], [2]]
    assert found[0].lines[0].tolist() == [[3.1, 50.1], [3.2, 50.2]]
    assert found[4].where == f"{path}, feature 5"


@pytest.mark.parametrize(
    "name",
    [
        "urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:OGC:1.3:CRS83", "EPSG::4258", "EPSG:4326",
        "urn:ogc:def:crs:EPSG:9.9:4326", "EPSG:4283", "http://www.opengis.net/def/crs/EPSG/0/4617",
        None,
    ],
)  # fmt: skip
def test_degrees_may_be_named(tmp_path: Path, name: str | None) -> None:
    crs = name and {"type": "name", "properties": {"name": name}}
    assert len(read_areas(written(tmp_path, {**line(RING), "crs": crs}))) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<html>", "is no GeoJSON (Expecting value"),
        ("[" * 100_000, "is no GeoJSON"),
        ([1, 2], "is no GeoJSON"),
        ({"type": "Topology"}, "is no GeoJSON (the type 'Topology' is unknown); give a Feature"),
        ({"type": "FeatureCollection"}, "is no GeoJSON ('features')"),
        ({"type": "FeatureCollection", "features": [5]}, "is no GeoJSON"),
        (line([["a", 2], [3, 4], [5, 6]]), "feature 1: has coordinates that are no numbers"),
        (line([[1], [2], [3], [4]]), "feature 1: has coordinates that are no numbers"),
        (line([RING, RING]), "feature 1: has coordinates that are no numbers"),
        (line([[10**400, 1]]), "feature 1: has coordinates that are no numbers"),
        (line([[float("nan"), 1]]), "feature 1: a point lies beyond 360 degrees of longitude"),
        (line([[650000, 5400000]] * 3), "or 90 of latitude; give degrees, the longitude first."),
        ({**line(RING), "crs": {"name": "EPSG:3857"}}, '"EPSG:3857"}, which is not known to be'),
        ({**line(RING), "crs": {"name": "EPSG:4807"}}, "save it in degrees (WGS 84)"),  # grads
        ({**line(RING), "crs": {"name": "EPSG:1"}}, "save it in degrees (WGS 84)"),
        ({**line(RING), "crs": "+proj=longlat"}, "save it in degrees (WGS 84)"),
    ],
)
@pytest.mark.parametrize("read", [read_lines, read_areas])
def test_maps_and_areas_refuse_a_file_in_the_same_words(
    tmp_path: Path, read: Callable[[Path], object], content: Any, says: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(refused.value).startswith(str(path)) and says in str(refused.value)


def test_a_map_needs_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no lines to draw"):
        read_lines(written(tmp_path, {"type": "Point", "coordinates": [3, 50]}))


@pytest.mark.parametrize("read", [read_lines, read_areas])
def test_a_file_that_is_not_there_or_has_no_end(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    for absent in (tmp_path / "none.geojson", tmp_path):
        with pytest.raises(MissingInputError, match="no such GeoJSON file"):
            read(absent)
    os.mkfifo(tmp_path / "pipe.geojson")
    with pytest.raises(DataError, match="named pipe"):
        read(tmp_path / "pipe.geojson")
