"""Coastlines and borders lie where they do on any map, and only those near a box are given."""

from importlib.resources import files

import numpy as np
import pytest

from nowcast.arrays import Float64Array
from nowcast.report.pictures.coast import Kind, lines_within

NETHERLANDS = (3.0, 50.5, 7.5, 53.8)


def kilometres_to(place: tuple[float, float], lines: list[Float64Array]) -> float:
    """How far the nearest segment lies from a longitude and latitude."""
    shrunk = np.array([np.cos(np.deg2rad(place[1])), 1.0])
    nearest = np.inf
    for line in lines:
        start, end = line[:-1] * shrunk, line[1:] * shrunk
        along = end - start
        share = ((place * shrunk - start) * along).sum(axis=1) / (along**2).sum(axis=1)
        feet = start + np.clip(share, 0.0, 1.0)[:, None] * along
        nearest = min(nearest, float(np.hypot(*(feet - place * shrunk).T).min()))
    return 111.2 * nearest


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("coast", (4.267, 52.115)),  # the pier of Scheveningen
        ("coast", (1.584, 50.870)),  # Cap Gris-Nez
        ("border", (10.985, 47.421)),  # the Zugspitze
        ("border", (6.0208, 50.7545)),  # the Vaalserberg, where three countries meet
        ("border", (-122.7567, 49.0021)),  # the Peace Arch
        ("coast", (174.845, -36.87)),  # Auckland
        ("coast", (-118.497, 34.008)),  # the pier of Santa Monica
    ],
)
def test_a_known_place_lies_on_its_line(kind: Kind, place: tuple[float, float]) -> None:
    box = (place[0] - 1, place[1] - 1, place[0] + 1, place[1] + 1)
    assert kilometres_to(place, lines_within(*box, kind)) < 2.5


def test_only_lines_near_the_box_are_given_whole_segments_cut_at_its_edge() -> None:
    west, south, east, north = NETHERLANDS
    for line in lines_within(*NETHERLANDS):
        assert line.shape[1] == 2 and len(line) >= 2
        inside = (line >= [west - 0.7, south - 0.7]) & (line <= [east + 0.7, north + 0.7])
        assert inside.all()


def test_coasts_and_borders_together_are_all_lines() -> None:
    kinds = [lines_within(*NETHERLANDS, kind) for kind in ("coast", "border")]
    assert all(kinds)
    assert sum(map(len, kinds)) == len(lines_within(*NETHERLANDS))


def test_no_line_far_out_at_sea() -> None:
    assert lines_within(-35.0, 25.0, -30.0, 30.0) == []


@pytest.mark.parametrize("box", [(177.0, -20.0, 185.0, -15.0), (177.0, -20.0, -175.0, -15.0)])
def test_fiji_lies_on_both_sides_of_the_date_line(box: tuple[float, float, float, float]) -> None:
    points = np.concatenate(lines_within(*box, "coast"))
    assert points[:, 0].min() < 179.0 and points[:, 0].max() > 180.0
    steps = [np.abs(np.diff(line[:, 0])).max() for line in lines_within(*box)]
    assert max(steps) < 1.0  # none runs around the world


def test_the_map_costs_under_300_kb() -> None:
    file = files("nowcast.report.pictures") / "natural_earth.npz"
    assert len(file.read_bytes()) < 300_000
