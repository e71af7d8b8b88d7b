"""What radar files in HDF5 have in common: opened with errors for people, attributes read in
every spelling, the image placed.
"""

import io
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nowcast.errors import DataError
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import (
    Place,
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_proj,
)
from nowcast.radar.reading import storage
from nowcast.untrusted.files import refuse_irregular, refuse_unsound, refuse_unsound_content

log = logging.getLogger(__name__)

Node = Any
"""A group or dataset of h5py, which has no types."""
_EARTH_KM = 10_000.0  # an Earth with a smaller radius is measured in km


@contextmanager
def open_file(path: Path) -> Iterator[Node]:
    """The root of an HDF5 file, gzipped or not.

    Errors: MissingInputError, DataError where it is damaged.
    """
    with storage.only_reader():  # h5py may share its HDF5 library with netCDF4
        try:
            with h5py.File(_sound(path), "r", locking=False) as file:
                yield file
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
            raise storage.explain(path, error) from error


def _sound(path: Path) -> Path | io.BytesIO:
    """What to open, all of whose data lie in it: the file, or unpacked in memory.

    Errors: as refuse_unsound and storage.unpacked.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    if not gzipped:
        refuse_unsound(path)
        return path
    content = storage.kept_unpacked(path)
    refuse_unsound_content(content, path)
    return io.BytesIO(content)


def group(parent: Node, name: str) -> Node | None:
    """The group `name` in `parent`; None where there is none.

    Errors: KeyError where it is there and damaged.
    """
    found = _member(parent, name)
    return found if hasattr(found, "keys") else None


def image(parent: Node, name: str) -> Node | None:
    """The dataset of numbers `name` in `parent`; None where there is none. Errors: as group."""
    found = _member(parent, name)
    return (
        found
        if hasattr(found, "dtype") and hasattr(found, "shape") and found.dtype.kind in "iuf"
        else None
    )


def _member(parent: Node, name: str) -> Node:
    if name not in parent:
        return None
    return parent[name]  # get() gives None of a damaged one, too


def raw(groups: Iterable[Node | None], name: str) -> np.ndarray[Any, Any] | None:
    """The attribute `name` of the first group that has it, flat; None where none has, or it is
    empty.
    """
    for one in groups:
        if one is not None and name in one.attrs:
            value = one.attrs[name]
            values = np.asarray([] if type(value).__name__ == "Empty" else value).ravel()
            return values if values.size else None
    return None


def text(groups: Iterable[Node | None], name: str) -> str | None:
    """A text attribute, stored as bytes, text or an array of either; None where no group has
    it, or it is blank.
    """
    values = raw(groups, name)
    return None if values is None else _plain(values[0]) or None


def number(groups: Iterable[Node | None], name: str, path: Path) -> float | None:
    """A number, or a text that spells one; NaN too.

    A single-precision 0.01 is 0.01. Errors: DataError where it is no number.
    """
    values = raw(groups, name)
    return None if values is None else _number(values[0], name, path)


def numbers(groups: Iterable[Node | None], name: str, path: Path) -> list[float]:
    """An attribute of several numbers; [] where no group has it. Errors: as number."""
    values = raw(groups, name)
    return [] if values is None else [_number(value, name, path) for value in values]


def _plain(value: Any) -> str:
    decoded = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return decoded.split("\0")[0].strip()


def _number(value: Any, name: str, path: Path) -> float:
    try:
        return float(_plain(value))
    except ValueError as error:
        raise DataError(
            f"{path}: its attribute {name} is {_plain(value)!r}, not a number; mend this file."
        ) from error


def check_size(
    name: str, data: Node, first: tuple[str, Node], stated: Sequence[float | None], path: Path
) -> None:
    """Errors: DataError where an image is not (y, x), not of the size (y, x) that the file states,
    or not of that of the first one.

    name: of the image. first: name and image. stated: None where the file says nothing.
    """
    shape = data.shape
    if len(shape) != 2 or 0 in shape:
        raise DataError(
            f"{path}: {name} is of the size {shape}; nowcast needs (y, x): name another one with"
            " data.variable."
        )
    said = tuple(number or size for number, size in zip(stated, shape, strict=True))
    if said != shape:
        raise DataError(
            f"{path}: {name} is of the size {shape}, but says {said[0]:g} x {said[1]:g}; compare it"
            " with its source."
        )
    if shape != first[1].shape:
        raise DataError(
            f"{path}: {first[0]} is of the size {first[1].shape}, {name} of {shape}; set"
            " data.variable to one."
        )


@dataclass(frozen=True)
class Footprint:
    """Where a file says that its image lies.

    projection: a PROJ text.
    shape: (y, x).
    pixel: its size in x and y, y below 0 where rows run south; None where the file does not say.
    upper_left: x and y of the outer edge of the first pixel; None where only the corners say.
    corners: (name, longitude, latitude) of outer corners named LL, UL, UR or LR, as far as the file
    says.
    unit: of pixel and upper_left, in metres (1 for degrees); None where it is that of the
    projection.
    """

    projection: str
    shape: tuple[int, int]
    pixel: tuple[float, float] | None
    upper_left: tuple[float, float] | None
    corners: tuple[tuple[str, float, float], ...]
    unit: float | None
    where: str = field(compare=False)  # for messages


@lru_cache(maxsize=64)
def place_of_footprint(footprint: Footprint) -> Place:
    """x and y of pixel centres in metres (degrees on a grid of longitude and latitude) and the CRS;
    {} where the file is silent.

    It is {} too, and that is said, where corners, pixel size and number of pixels are more than a
    pixel at odds: rain can be forecast without knowing where it falls, but a forecast must not
    state a place that may be wrong.
    """
    import pyproj

    projection, unit = _in_metres(footprint.projection)
    unit = unit if footprint.unit is None else footprint.unit
    crs = grid_mapping_from_proj(projection, footprint.where)
    if crs is None:
        return {}
    to_xy = pyproj.Proj(projection)
    corners = {name: to_xy(lon, lat) for name, lon, lat in footprint.corners}
    if crs.attrs["grid_mapping_name"] == "latitude_longitude":
        corners = _in_one_turn(corners, footprint.upper_left)
    pixel = (
        _pixel_by_corners(corners, footprint.shape)
        if footprint.pixel is None
        else (footprint.pixel[0] * unit, footprint.pixel[1] * unit)
    )
    if pixel is None or (footprint.upper_left is None and not corners):
        return {}
    if footprint.upper_left is None:
        edge = _edge_by_corners(corners, pixel, footprint.shape)
    else:
        edge = footprint.upper_left[0] * unit, footprint.upper_left[1] * unit
    columns, rows = _pixels_off(corners, edge, pixel, footprint.shape)
    if not max(columns, rows) <= 1.0:  # NaN too
        log.warning(
            "%s: its corners lie %.3g columns and %.3g rows from where its projection, pixel size"
            " and %d x %d pixels put them, so the grid has no place.",
            footprint.where,
            columns,
            rows,
            *footprint.shape,
        )
        return {}
    degrees = crs.attrs["grid_mapping_name"] == "latitude_longitude"
    # corners in degrees are rounded
    axis, digits = (axis_in_degrees, 9) if degrees else (axis_in_metres, 2)
    place = {CRS: crs}
    for ours, start, step, size in zip("xy", edge, pixel, reversed(footprint.shape), strict=True):
        place[ours] = axis(ours, round(start, digits) + step * (np.arange(size) + 0.5))
    return place


def _in_one_turn(
    corners: dict[str, tuple[float, float]], upper_left: tuple[float, float] | None
) -> dict[str, tuple[float, float]]:
    """Corners in degrees, those of the east on from those of the west, also across the date
    line.
    """
    west = (
        [corners[name][0] for name in ("UL", "LL") if name in corners]
        if upper_left is None
        else [upper_left[0]]
    )
    return {
        name: (x + 360.0 if name in ("UR", "LR") and west and x < west[0] else x, y)
        for name, (x, y) in corners.items()
    }


def _in_metres(projection: str) -> tuple[str, float]:
    """A PROJ text → (the same with x and y in metres, what its own unit is in metres); degrees
    stay, and are 1.

    An Earth of 6378.137 is measured in km, and so are x, y and their false origins: KNMI and
    MeteoSwiss write it so.
    """
    parts = dict(part.lstrip("+").partition("=")[::2] for part in projection.split())
    try:
        scale = 1000.0 if float(parts.get("a") or parts.get("R") or "inf") < _EARTH_KM else 1.0
        unit = float(parts.get("to_meter") or {"km": 1000.0, "m": 1.0}[parts.get("units", "m")])
        for name in ("a", "b", "R", "x_0", "y_0"):
            if scale != 1.0 and name in parts:
                parts[name] = repr(round(float(parts[name]) * scale, 6))
    except (KeyError, ValueError):
        return projection, math.nan  # no unit, so no place: the check of the corners says so
    kept = {name: value for name, value in parts.items() if name not in ("units", "to_meter")}
    return " ".join(
        f"+{name}={value}" if value else f"+{name}" for name, value in kept.items()
    ), max(unit, scale)


def _side(corners: dict[str, tuple[float, float]], names: tuple[str, str], k: int) -> float | None:
    """x (k = 0) or y (1) of a side of the image, by those of its two corners that are known."""
    known = [corners[name][k] for name in names if name in corners]
    return sum(known) / len(known) if known else None


def _pixel_by_corners(
    corners: dict[str, tuple[float, float]], shape: tuple[int, int]
) -> tuple[float, float] | None:
    left, right = _side(corners, ("UL", "LL"), 0), _side(corners, ("UR", "LR"), 0)
    top, bottom = _side(corners, ("UL", "UR"), 1), _side(corners, ("LL", "LR"), 1)
    if left is None or right is None or top is None or bottom is None:
        return None
    return (right - left) / shape[1], (bottom - top) / shape[0]


def _edge_by_corners(
    corners: dict[str, tuple[float, float]], pixel: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    """x and y of the outer edge of the first pixel, by the corners that are known: one at least."""
    left, top = _side(corners, ("UL", "LL"), 0), _side(corners, ("UL", "UR"), 1)
    if left is None:
        left = next(x for x, _ in corners.values()) - shape[1] * pixel[0]
    if top is None:
        top = next(y for _, y in corners.values()) - shape[0] * pixel[1]
    return left, top


def _pixels_off(
    corners: dict[str, tuple[float, float]],
    edge: tuple[float, float],
    pixel: tuple[float, float],
    shape: tuple[int, int],
) -> tuple[float, float]:
    """How many (columns, rows) the corner that is furthest off lies from where edge, pixel size
    and shape put it.
    """
    if not all(math.isfinite(size) and size for size in pixel):
        return math.inf, math.inf
    height, width = shape
    spots = {"LL": (0, height), "UL": (0, 0), "UR": (width, 0), "LR": (width, height)}
    off = [
        [abs((xy[k] - edge[k]) / pixel[k] - spots[name][k]) for k in (0, 1)]
        for name, xy in corners.items()
    ] or [[0.0, 0.0]]  # fmt: skip
    return float(np.max([columns for columns, _ in off])), float(np.max([rows for _, rows in off]))
