"""Convert Natural Earth's countries into the coastlines and borders that the package carries.

    python scripts/natural_earth.py countries-10m.json nowcast/report/pictures/natural_earth.npz

`countries-10m.json` is Natural Earth's 1:10m map of countries (public domain, naturalearthdata.com)
as TopoJSON, from the npm package `world-atlas` 2.0.2 (`npm pack world-atlas`). In TopoJSON
neighbours share their arcs: an arc of two countries is a border, an arc of one is a coast.

Lines are simplified (Douglas and Peucker 1973) and rounded, so that no point of the map moves by
more than about 1 km. Antarctica and islands under 2 km are left out.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = 0.005  # degrees between the integers of the file
TOLERANCE = 0.008  # degrees of latitude that a simplified line may lie off, 0.9 km
SOUTHERNMOST = -60.0

Line = NDArray[np.float64]
"""(n, 2): longitude and latitude."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("countries", type=Path, help="countries-10m.json of world-atlas")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    given = parser.parse_args()
    write(given.output, json.loads(given.countries.read_text()))


def write(path: Path, topology: dict[str, Any]) -> None:
    """Write coasts and borders as integers: the first point of each line, then its steps (2, n)."""
    users = countries_of_arcs(topology)
    kept = [
        (in_short_steps(rounded), users[number] > 1)
        for number, arc in enumerate(arcs_of(topology))
        for line in without_map_edges(arc)
        if len(rounded := round_line(simplify(line))) > 1
    ]
    lines = [line for line, _ in kept]
    np.savez_compressed(
        path,
        step=np.float64(STEP),
        is_border=np.array([border for _, border in kept]),
        counts=np.array([len(line) for line in lines], np.uint16),
        first=np.array([line[0] for line in lines], np.int32),
        steps=np.concatenate([np.diff(line, axis=0) for line in lines]).astype(np.int8).T,
    )


def arcs_of(topology: dict[str, Any]) -> Iterator[Line]:
    """Yield the arcs in degrees; TopoJSON holds scaled differences."""
    scale, offset = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    for arc in topology["arcs"]:
        yield np.cumsum(np.array(arc), axis=0) * scale + offset


def countries_of_arcs(topology: dict[str, Any]) -> Counter[int]:
    """Count the countries that share each arc."""
    return Counter(
        number
        for country in topology["objects"]["countries"]["geometries"]
        for number in set(numbers_in(country.get("arcs", [])))
    )


def numbers_in(arcs: Any) -> Iterator[int]:
    """Yield the numbers of arcs in nested rings; ~number is an arc in the other direction."""
    if isinstance(arcs, int):
        yield arcs if arcs >= 0 else ~arcs
        return
    for one in arcs:
        yield from numbers_in(one)


def without_map_edges(line: Line) -> list[Line]:
    """Return a line without Antarctica, parted where it meets the date line or follows it."""
    at_edge = np.abs(np.abs(line[:, 0]) - 180.0) < 1e-3
    dropped = at_edge[:-1] & at_edge[1:] | (line[:-1, 1] < SOUTHERNMOST)
    dropped |= np.abs(np.diff(line[:, 0])) > 180.0
    starts = np.flatnonzero(~dropped & np.concatenate([[True], dropped[:-1]]))
    ends = np.flatnonzero(~dropped & np.concatenate([dropped[1:], [True]]))
    return [line[start : end + 2] for start, end in zip(starts, ends, strict=True)]


def simplify(line: Line) -> Line:
    """Return the points that keep a line within TOLERANCE of where it was."""
    plane = line * [np.cos(np.deg2rad(line[:, 1].mean())), 1.0]
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    parts = [(0, len(line) - 1)]
    while parts:
        start, end = parts.pop()
        distance = distances(plane[start + 1 : end], plane[start], plane[end])
        if distance.max(initial=0.0) > TOLERANCE:
            middle = start + 1 + int(distance.argmax())
            keep[middle] = True
            parts += [(start, middle), (middle, end)]
    return line[keep]


def distances(points: Line, start: Line, end: Line) -> Line:
    """Return how far points (n, 2) lie from the segment between two others."""
    along = end - start
    share = (points - start) @ along / max(float(along @ along), 1e-12)
    nearest = start + np.clip(share, 0.0, 1.0)[:, None] * along
    return np.hypot(*(points - nearest).T)


def round_line(line: Line) -> NDArray[np.int64]:
    """Return a line as integers, each point once; an island smaller than 2 km keeps no line."""
    if np.ptp(line, axis=0).max(initial=0.0) < 2 * TOLERANCE:
        return np.empty((0, 2), np.int64)
    points = np.round(line / STEP).astype(np.int64)
    return points[np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])]


def in_short_steps(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a line whose steps fit into 8 bits; its long segments get points in between."""
    parts = [points[:1]]
    for start, end in pairwise(points):
        count = -(-int(np.abs(end - start).max()) // 127)
        share = np.arange(1, count + 1)[:, None] / count
        parts.append(np.round(start + share * (end - start)).astype(np.int64))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
