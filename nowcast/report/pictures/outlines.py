"""A map over a picture: coastlines and borders, or a user's own lines, in pixels of the grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float64Array
from nowcast.places.geojson import read_lines
from nowcast.radar.placing.cropping import box_around
from nowcast.report.pictures.coast import lines_within
from nowcast.report.pictures.mesh import Mesh, build_mesh

NATURAL_EARTH: Literal["natural_earth"] = "natural_earth"
NO_MAP: Literal["none"] = "none"
_MARGIN = 0.02  # degrees around the pixel centres


@dataclass(frozen=True)
class Outlines:
    """Lines in pixels of a grid: each (n, 2), column and row; (0, 0) is the centre of the first.

    They may extend beyond the grid.
    """

    coasts: list[Float64Array]
    borders: list[Float64Array]


def build_outlines(longitude: npt.ArrayLike, latitude: npt.ArrayLike, map: str) -> Outlines:
    """Return the lines of a map on a grid.

    Args:
        longitude, latitude: of pixel centres in degrees, of shapes that broadcast to (h, w); not
            finite beyond the projection.
        map: 'natural_earth', 'none', or the path of a GeoJSON file; its lines are drawn like
            coasts.

    Raises:
        MissingInputError, DataError, InputOutputError: if the GeoJSON file cannot be used.
    """
    own = read_lines(map) if map not in (NATURAL_EARTH, NO_MAP) else []
    mesh, box = build_mesh(longitude, latitude), box_around(longitude, latitude)
    if mesh is None or box is None or map == NO_MAP:
        return Outlines([], [])
    if own:
        return Outlines(_on_grid(own, mesh), [])
    west, south, east, north = box
    around = (west - _MARGIN, south - _MARGIN, east + _MARGIN, north + _MARGIN)
    coasts, borders = lines_within(*around, "coast"), lines_within(*around, "border")
    return Outlines(_on_grid(coasts, mesh), _on_grid(borders, mesh))


def _on_grid(lines: Sequence[Float64Array], mesh: Mesh) -> list[Float64Array]:
    """Return lines of degrees in pixels, split where they are far from the grid."""
    if not lines:
        return []
    pixels = mesh.pixels_of(np.concatenate(lines))
    ends = np.cumsum([len(line) for line in lines])
    follows = np.isfinite(pixels[:-1] + pixels[1:]).all(axis=1)
    follows &= ~np.isin(np.arange(1, len(pixels)), ends)  # from one line to the next
    changes = np.diff(follows.astype(np.int8), prepend=0, append=0)
    starts, lasts = np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)
    return [pixels[first : last + 1] for first, last in zip(starts, lasts, strict=True)]
