"""A small TopoJSON becomes the file of lines: which arcs are borders, and where they run."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "natural_earth.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def converted(script: ModuleType, path: Path, arcs: list[Any], countries: list[Any]) -> Any:
    script.write(
        path,
        {
            "transform": {"scale": [0.1, 0.1], "translate": [10.0, 50.0]},
            "arcs": arcs,
            "objects": {"countries": {"geometries": [{"arcs": one} for one in countries]}},
        },
    )
    return np.load(path)


def lines_of(file: Any) -> list[Any]:
    ends = np.cumsum(file["counts"] - 1)
    parts = np.split(file["steps"].T.astype(int), ends[:-1])
    starts = zip(file["first"], parts, strict=True)
    return [
        (start + np.cumsum([[0, 0], *part], axis=0)) * float(file["step"]) for start, part in starts
    ]


def test_an_arc_of_two_countries_is_a_border(script: ModuleType, tmp_path: Path) -> None:
    shared, of_one, of_other = [[0, 0], [0, 10]], [[0, 10], [9, 0], [0, -9]], [[0, 0], [-5, 5]]
    file = converted(
        script, tmp_path / "map.npz", [shared, of_one, of_other], [[[0, 1]], [[[2], [~0]]]]
    )
    assert file["is_border"].tolist() == [True, False, False]
    first, second, _ = lines_of(file)
    assert first[0] == pytest.approx([10.0, 50.0]) and first[-1] == pytest.approx([10.0, 51.0])
    assert np.abs(np.diff(first, axis=0)).max() < 0.64  # parted: it bends on another projection
    assert second[-1] == pytest.approx([10.9, 50.1])


def test_points_in_line_go_and_corners_stay(script: ModuleType, tmp_path: Path) -> None:
    bent = [[0, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    (line,) = lines_of(converted(script, tmp_path / "map.npz", [bent], [[[0]]]))
    assert line == pytest.approx(np.array([[10.0, 50.0], [10.3, 50.0], [10.3, 50.2]]))


def test_the_date_line_and_antarctica_are_no_coasts(script: ModuleType, tmp_path: Path) -> None:
    along_date_line = [[1690, 0], [10, 0], [0, 5], [-10, 5]]  # 179, 180, 180, 179 degrees east
    south = [[0, -1150], [5, 0], [5, 5]]
    file = converted(script, tmp_path / "map.npz", [along_date_line, south], [[[0]], [[1]]])
    before, after = lines_of(file)
    assert before[-1] == pytest.approx([180.0, 50.0]) and after[0] == pytest.approx([180.0, 50.5])
