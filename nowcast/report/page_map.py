"""The lines of a map over the frames of a page."""

from collections.abc import Sequence

import numpy as np

from nowcast.arrays import Float64Array

_POINTS = 1600
"""Steps along the longer side of a map: points of a line closer than one step are dropped."""


def path_of(lines: Sequence[Float64Array], size: tuple[int, int]) -> str:
    """Return lines (n, 2), column and row in pixels, as the path of an SVG of that size.

    (0, 0) is the centre of the first pixel. Points outside the map are left out.
    """
    height, width = size
    grain = max(size) / _POINTS
    decimals = max(0, int(np.ceil(-np.log10(grain))))
    parts = []
    for line in lines:
        points = np.asarray(line, dtype=np.float64) + 0.5
        inside = np.all((points > -1) & (points < [width + 1, height + 1]), axis=1)
        # the first point beyond the edge leads the line up to it
        near = inside | np.append(inside[1:], False) | np.append(False, inside[:-1])
        near &= np.isfinite(points).all(axis=1)
        for run in np.split(np.arange(len(points)), np.flatnonzero(~near)):
            parts.append(_path(points[run[near[run]]], grain, decimals))
    return "".join(parts)


def _path(points: Float64Array, grain: float, decimals: int) -> str:
    if len(points) < 2:
        return ""
    steps = np.abs(np.diff(np.round(points / grain), axis=0)).sum(axis=1)
    kept = points[np.append(True, steps > 0)]
    if len(kept) < 2:
        return ""
    return "M" + "L".join(f"{x:.{decimals}f} {y:.{decimals}f}" for x, y in kept)
