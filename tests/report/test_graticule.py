"""Parallels and meridians lie where the degrees of the pixels say, counted by hand."""

import numpy as np
import pytest
from pytest import approx

from nowcast.report.pictures.graticule import build_graticule

POLE = 90.0 - 10.0 * np.hypot(*np.meshgrid(np.arange(-2.5, 3), np.arange(-2.5, 3)))
"""Latitudes of 6 × 6 pixels about a pole that lies between the four in the middle, 10 degrees a
pixel.
"""
AROUND = np.rad2deg(np.arctan2(*np.meshgrid(np.arange(-2.5, 3), np.arange(-2.5, 3))))
"""Their longitudes, 0 up."""


def test_lines_and_labels_of_a_grid_in_degrees() -> None:
    """Half a degree a pixel, from 50.25 N and 7.75 E on: 50.5 N is row 0.5, 8 E is column 0.5."""
    drawn = build_graticule(
        7.75 + 0.5 * np.arange(5)[None, :], 50.25 + 0.5 * np.arange(4)[:, None], "lower"
    )
    assert drawn.left == [(approx(0.5), "50.5°N"), (approx(1.5), "51°N"), (approx(2.5), "51.5°N")]
    assert drawn.bottom == [
        (approx(k + 0.5), label) for k, label in enumerate(["8°E", "8.5°E", "9°E", "9.5°E"])
    ]
    parallels, meridians = drawn.lines[:3], drawn.lines[3:]
    assert [(line[:, 1].min(), line[:, 1].max()) for line in parallels] == [
        approx((k, k)) for k in (0.5, 1.5, 2.5)
    ]
    assert [(line[:, 0].min(), line[:, 0].max()) for line in meridians] == [
        approx((k, k)) for k in (0.5, 1.5, 2.5, 3.5)
    ]
    assert all((line[:, 0].min(), line[:, 0].max()) == (0, 4) for line in parallels)


@pytest.mark.parametrize(("origin", "column"), [("lower", 1.5), ("upper", 2.5)])
def test_meridians_are_named_where_they_meet_the_row_at_the_bottom(
    origin: str, column: float
) -> None:
    """The meridian of 1 E is at column 1.5 in row 0 and at 2.5 in the last."""
    rows, columns = np.mgrid[:5, :5]
    drawn = build_graticule(0.2 * (columns - 1.5 - rows / 4) + 1, 0.2 * rows + 1.1, origin)
    assert (approx(column), "1°E") in drawn.bottom


def test_the_south_the_west_and_the_zeros() -> None:
    drawn = build_graticule(
        np.linspace(-1.5, 1.5, 7)[None, :], np.linspace(-1.5, 1.5, 7)[:, None], "lower"
    )
    assert [label for _, label in drawn.left] == ["1°S", "0.5°S", "0°", "0.5°N", "1°N", "1.5°N"]
    assert [label for _, label in drawn.bottom] == ["1°W", "0.5°W", "0°", "0.5°E", "1°E", "1.5°E"]


@pytest.mark.parametrize("turn", [0, 360])
def test_a_grid_across_the_date_line_has_few_lines_and_the_right_names(turn: int) -> None:
    east = np.array([176.0, 178.0, 179.9, -178.0 + turn, -176.0 + turn])
    drawn = build_graticule(east[None, :], np.linspace(10, 11, 4)[:, None], "lower")
    assert [label for _, label in drawn.bottom] == ["178°E", "180°", "178°W", "176°W"]
    assert dict((label, place) for place, label in drawn.bottom)["180°"] == approx(2 + 0.1 / 2.1)


def test_about_a_pole_no_line_crosses_from_edge_to_edge_where_the_longitudes_leap() -> None:
    drawn = build_graticule(AROUND, POLE, "lower")
    for line in drawn.lines:
        steps = np.hypot(*np.diff(line, axis=0).T)
        assert steps.max() < 1.5
    parallel = next(
        line for line in drawn.lines if np.allclose(np.hypot(*(line - 2.5).T), 2.0, atol=0.3)
    )
    assert parallel[0] == approx(parallel[-1])  # 70 N is a circle about the pole


def test_pixels_that_the_projection_does_not_reach_have_no_lines() -> None:
    east, north = np.meshgrid(np.linspace(0, 3, 7), np.linspace(0, 3, 7))
    east[:, :3] = north[:, :3] = np.inf
    drawn = build_graticule(east, north, "lower")
    assert min(line[:, 0].min() for line in drawn.lines) >= 3
    assert drawn.left == []
    nowhere = build_graticule(np.full((3, 3), np.inf), np.full((3, 3), np.nan), "lower")
    assert (list(nowhere.lines), nowhere.left, nowhere.bottom) == ([], [], [])


def test_a_grid_of_one_row_and_a_large_one() -> None:
    assert not build_graticule(np.linspace(0, 3, 7)[None, :], np.array([[50.0]]), "lower").lines
    large = build_graticule(
        np.linspace(0, 3, 5000)[None, :], np.linspace(40, 42, 3000)[:, None], "upper"
    )
    assert max(line[:, 0].max() for line in large.lines) == 4999
    assert max(len(line) for line in large.lines) < 700
