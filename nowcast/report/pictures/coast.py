"""Coastlines and borders of countries, from Natural Earth (public domain, version 4.1, 1:10m).

scripts/natural_earth.py simplifies them to about 1 km, and drops Antarctica, lakes, and islands
under 2 km. Borders are Natural Earth's: those in force, whether or not both sides agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float64Array

Kind = Literal["coast", "border"]

_FILE = "natural_earth.npz"


@dataclass(frozen=True)
class _World:
    """All lines, end to end.

    points: (n, 2) in degrees. is_segment, is_border: for each pair of a point and the next,
    (n - 1,). The step from one line to the next is not a segment.
    """

    points: Float64Array
    is_segment: NDArray[np.bool_]
    is_border: NDArray[np.bool_]


def lines_within(
    west: float, south: float, east: float, north: float, kind: Kind | None = None
) -> list[Float64Array]:
    """Return the lines that touch a box, cut at the first point outside.

    Args:
        west, south, east, north: the box in degrees; if it crosses the date line, either
            `east` is above 180 or `east` is below `west`.
        kind: 'coast' or 'border'; None returns both.

    Returns:
        Lines (n, 2): longitude and latitude in degrees; longitudes within the turn of the box.

    Example:
        >>> lines = lines_within(3.0, 50.5, 7.5, 53.7, "coast")  # of the Netherlands
        >>> lines[0].shape[1]
        2
    """
    world = _world()
    east = east if east > west else east + 360.0
    return [
        line + [turn, 0.0]
        for turn in (-360.0, 0.0, 360.0)
        for line in _cut(world, (west - turn, south, east - turn, north), kind)
    ]


def _cut(
    world: _World, box: tuple[float, float, float, float], kind: Kind | None
) -> Iterator[Float64Array]:
    """Yield the runs of segments that touch a box."""
    lowest = np.minimum(world.points[:-1], world.points[1:])
    highest = np.maximum(world.points[:-1], world.points[1:])
    wanted = (
        world.is_segment
        if kind is None
        else world.is_segment & (world.is_border == (kind == "border"))
    )
    touches = wanted & np.all((highest >= box[:2]) & (lowest <= box[2:]), axis=1)
    changes = np.diff(touches.astype(np.int8), prepend=0, append=0)
    for first, last in zip(
        np.flatnonzero(changes == 1), np.flatnonzero(changes == -1), strict=True
    ):
        yield world.points[first : last + 1]


@cache
def _world() -> _World:
    """Read the file: integers, for each line its first point and its steps."""
    with files(__package__).joinpath(_FILE).open("rb") as file, np.load(file) as stored:
        counts = stored["counts"].astype(np.int64)
        starts = np.cumsum(counts) - counts
        is_first = np.zeros(counts.sum(), np.bool_)
        is_first[starts] = True
        steps = np.zeros((len(is_first), 2), np.int64)
        steps[~is_first] = stored["steps"].T
        points = np.cumsum(steps, axis=0)
        points += np.repeat(stored["first"] - points[starts], counts, axis=0)
        is_border = np.repeat(stored["is_border"], counts)[:-1]
        return _World(points * np.float64(stored["step"]), ~is_first[1:], is_border)
