"""A place on Earth is found on any grid, and lines of a map or of a GeoJSON file are drawn there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest

from nowcast.places.geojson import read_lines
from nowcast.report.pictures.coast import lines_within
from nowcast.report.pictures.mesh import build_mesh
from nowcast.report.pictures.outlines import build_outlines

Degrees = Callable[[Any, Any], tuple[Any, Any]]


def on_projection(text: str, west: float, south: float, pixel: float) -> Degrees:
    """The degrees of columns and rows of a grid that begins there, in metres."""
    transform = pyproj.Transformer.from_crs(text, "EPSG:4326", always_xy=True).transform
    return lambda column, row: transform(west + pixel * column, south + pixel * row)


def curvilinear(column: Any, row: Any) -> tuple[Any, Any]:
    """A scan that bends, and is turned: no projection of it is known."""
    return 5 + 0.02 * column + 0.004 * row, 45 + 0.015 * row - 0.003 * column + 1e-6 * row**2


GRIDS: dict[str, Degrees] = {
    "RADOLAN": on_projection(
        "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040", -523462, -4658645, 1000
    ),
    "Europe": on_projection("+proj=laea +lat_0=55 +lon_0=10", -1950000, -2300000, 8000),
    "around the pole": on_projection("+proj=stere +lat_0=90 +lat_ts=60", -2e6, -2e6, 9000),
    "degrees": lambda column, row: (-130 + 0.05 * column, 55 - 0.05 * row),
    "the date line": lambda column, row: ((175 + 0.02 * column + 180) % 360 - 180, 0.02 * row - 20),
    "curvilinear": curvilinear,
}


@pytest.mark.parametrize("degrees", GRIDS.values(), ids=GRIDS)
def test_a_place_is_found_on_any_grid(degrees: Degrees) -> None:
    columns, rows = np.meshgrid(np.arange(500), np.arange(400))
    mesh = build_mesh(*degrees(columns, rows))
    assert mesh is not None
    wanted = np.random.default_rng(0).uniform([-4, -4], [503, 403], (500, 2))
    found = mesh.pixels_of(np.stack(degrees(wanted[:, 0], wanted[:, 1]), axis=1))
    assert np.abs(found - wanted).max() < 0.05


def test_a_place_far_away_is_not_on_the_grid() -> None:
    columns, rows = np.meshgrid(np.arange(500), np.arange(400))
    mesh = build_mesh(*GRIDS["RADOLAN"](columns, rows))
    assert mesh is not None
    others = [[-170.0, -50.0], [10.0, -50.0], [-100.0, 40.0], [139.7, 35.7], [37.6, 55.8]]
    assert np.isnan(mesh.pixels_of(others)).all()


def test_where_the_projection_does_not_reach_nothing_is_found() -> None:
    east, north = np.meshgrid(np.linspace(0, 3, 31), np.linspace(50, 53, 31))
    east[:, :15] = north[:, :15] = np.inf
    mesh = build_mesh(east, north)
    assert mesh is not None
    known, unknown = mesh.pixels_of([[2.0, 51.0], [1.0, 51.0]])
    assert known == pytest.approx([20.0, 10.0]) and not (0 <= unknown[0] < 14)
    assert build_mesh(east[:1], north[:1]) is None


def test_coast_and_border_are_drawn_where_they_lie_in_degrees() -> None:
    """Pixels of 0.01 degrees from 3 E and 50 N."""
    east, north = 3 + 0.01 * np.arange(500)[None, :], 50 + 0.01 * np.arange(400)[:, None]
    drawn = build_outlines(east, north, "natural_earth")
    for kind, lines in (("coast", drawn.coasts), ("border", drawn.borders)):
        wanted = np.concatenate(lines_within(2.98, 49.98, 8.01, 54.01, kind))  # type: ignore[arg-type]
        points = np.concatenate(lines)
        assert len(points) > 100
        np.testing.assert_allclose(points, (wanted - [3, 50]) / 0.01, atol=0.2)


def test_no_map_draws_no_lines() -> None:
    drawn = build_outlines(3 + 0.1 * np.arange(50)[None, :], 50.0 + np.arange(4)[:, None], "none")
    assert (drawn.coasts, drawn.borders) == ([], [])


def written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


LINE = {"type": "LineString", "coordinates": [[3.1, 50.1], [3.2, 50.2, 7.0]]}
SQUARE = [[[3, 50], [4, 50], [4, 51], [3, 50]]]


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    parts = [
        {"type": "Feature", "properties": {}, "geometry": LINE},
        {"type": "Feature", "geometry": None},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": SQUARE}]},
        {"type": "MultiPolygon", "coordinates": [SQUARE, SQUARE]},
        {"type": "MultiLineString", "coordinates": [LINE["coordinates"]]},
        {"type": "Point", "coordinates": [3, 50]},
    ]
    path = written(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": parts})
    lines = read_lines(path)
    assert [len(line) for line in lines] == [2, 4, 4, 4, 2]
    east, north = 3 + 0.1 * np.arange(5)[None, :], 50 + 0.1 * np.arange(4)[:, None]
    of_a_windows_editor = written(tmp_path / "b.geojson", "\ufeff" + json.dumps(LINE))
    drawn = build_outlines(east, north, of_a_windows_editor)
    assert drawn.borders == []
    assert drawn.coasts[0] == pytest.approx(np.array([[1.0, 1.0], [2.0, 2.0]]), abs=1e-4)
