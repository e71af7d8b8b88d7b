"""Areas of GeoJSON: which pixels lie in them, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from nowcast.errors import DataError
from nowcast.places.areas import Area, read_areas
from nowcast.places.pixels import Pixels

LONGITUDE, LATITUDE = np.meshgrid(np.arange(10.0, 11.0, 0.1), np.arange(51.0, 50.0, -0.1))
PIXELS = Pixels(LONGITUDE, LATITUDE)


def square(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def read(folder: Path, document: Any) -> list[Area]:
    (folder / "areas.geojson").write_text(json.dumps(document))
    return read_areas(folder / "areas.geojson")


def count(area: Area, pixels: Pixels = PIXELS) -> int:
    index = area.within(pixels)
    return 0 if index is None else len(index[0])


def test_holes_are_left_out_and_parts_are_put_together(tmp_path: Path) -> None:
    outer, hole = square(10.15, 50.15, 10.65, 50.65), square(10.25, 50.25, 10.45, 50.45)
    ring, parts, world, alone = read(
        tmp_path,
        {
            "type": "FeatureCollection",
            "features": [
                feature("Polygon", [outer, hole], name="ring"),
                feature("MultiPolygon", [[square(9, 50.85, 10.05, 51.05)], [hole]], id=7),
                feature("Polygon", [square(-60, -60, 60, 60)], name=None),
                {"type": "Feature", "id": "by id", **feature("Polygon", [outer])},
            ],
        },
    )
    assert [one.name for one in (ring, parts, world, alone)] == ["ring", "7", "area 3", "by id"]
    assert [count(one) for one in (ring, parts, world, alone)] == [25 - 4, 2 + 4, 100, 25]
    # from 0 to 360 degrees, and rows from the south
    turned = Pixels(LONGITUDE[::-1] + 360.0, LATITUDE[::-1])
    assert [count(one, turned) for one in (ring, parts, world)] == [21, 6, 100]


def test_any_polygon_holds_the_pixels_that_an_outline_of_matplotlib_holds(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 41)[:-1]
    lengths = np.random.default_rng(1).uniform(0.1, 0.45, 40)
    star = np.stack([10.47 + lengths * np.cos(angles), 50.53 + lengths * np.sin(angles)], 1)
    index = Area("star", (star,)).within(PIXELS)
    assert index is not None
    found = np.zeros(LONGITUDE.shape, bool)
    found[index] = True
    points = np.stack([LONGITUDE.ravel(), LATITUDE.ravel()], 1)
    expected = Outline(star, closed=False).contains_points(points)
    assert 10 < expected.sum() < 90
    np.testing.assert_array_equal(found.ravel(), expected)


def test_an_area_smaller_than_a_pixel_is_the_pixel_that_it_lies_in(tmp_path: Path) -> None:
    (area,) = read(tmp_path, feature("Polygon", [square(10.32, 50.62, 10.33, 50.63)]))
    index = area.within(PIXELS)
    assert index is not None and [one.tolist() for one in index] == [[4], [3]]
    (far,) = read(tmp_path, {"type": "Polygon", "coordinates": [square(0, 0, 1, 1)]})
    assert far.within(PIXELS) is None


def test_an_area_narrower_than_a_pixel_has_the_pixels_that_it_crosses(tmp_path: Path) -> None:
    """As a river that enters the grid and leaves it: no corner and no centre lies within."""
    (river,) = read(tmp_path, feature("Polygon", [square(9, 50.62, 12, 50.63)]))
    index = river.within(PIXELS)
    assert index is not None
    assert [one.tolist() for one in index] == [[4] * 10, list(range(10))]
    turned = river.within(Pixels(LONGITUDE[::-1] + 360.0, LATITUDE[::-1]))
    assert turned is not None and turned[0].tolist() == [5] * 10
    (beside,) = read(tmp_path, feature("Polygon", [square(9, 49.62, 12, 49.63)]))
    assert beside.within(PIXELS) is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"type": "FeatureCollection", "features": []}, "holds no area"),
        (feature("Point", [1, 2]), "feature 1: is Point; an area is a Polygon"),
        ({"type": "Feature", "geometry": None}, "feature 1: is nothing"),
        (feature("Polygon", []), "feature 1: has no coordinates"),
        (feature("Polygon", [[[1, 2], [3, 4]]]), "three points"),
        (feature("Polygon", [square(190, 1, 191, 2)]), "beyond 180 degrees of longitude"),
        (feature("Polygon", [square(51, 100, 52, 101)]), "or 90 of latitude"),
        (feature("Polygon", [square(179, 1, -179, 2)]), "crosses the date line"),
        (feature("Polygon", [[[170, 0], [10, 60], [-170, 0]]]), "crosses the date line"),
    ],
)  # fmt: skip
def test_what_is_no_area_is_named(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, document)
    assert "areas.geojson" in str(error.value)
