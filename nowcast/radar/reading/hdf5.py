"""Common parts of the HDF5 readers: opening with clear errors, reading attributes in any type, and
georeferencing the image.
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
"""A group or dataset of h5py, which has no type annotations."""
_EARTH_KM = 10_000.0  # a smaller Earth radius must be in km


@contextmanager
def open_file(path: Path) -> Iterator[Node]:
    """Open an HDF5 file, gzipped or not; gives its root.

    Errors: MissingInputError, DataError if it is damaged.
    """
    with storage.only_reader():  # h5py may share its HDF5 library with netCDF4
        try:
            with h5py.File(_sound(path), "r", locking=False) as file:
                yield file
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
            raise storage.explain(path, error) from error


def _sound(path: Path) -> Path | io.BytesIO:
    """Return what to open, the file or its unpacked content, after checking that it does not refer
    to other files.

    Errors: see refuse_unsound and storage.unpacked.
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
    """Return the group `name` in `parent`, or None.

    Errors: KeyError if it exists but is damaged.
    """
    found = _member(parent, name)
    return found if hasattr(found, "keys") else None


def image(parent: Node, name: str) -> Node | None:
    """Return the numeric dataset `name` in `parent`, or None. Errors: see group."""
    found = _member(parent, name)
    return (
        found
        if hasattr(found, "dtype") and hasattr(found, "shape") and found.dtype.kind in "iuf"
        else None
    )


def _member(parent: Node, name: str) -> Node:
    if name not in parent:
        return None
    return parent[name]  # get() would return None also for a damaged one


def raw(groups: Iterable[Node | None], name: str) -> np.ndarray[Any, Any] | None:
    """Return the attribute `name` of the first group that has it, flattened; None if it is missing
    or empty.
    """
    for one in groups:
        if one is not None and name in one.attrs:
            value = one.attrs[name]
            values = np.asarray([] if type(value).__name__ == "Empty" else value).ravel()
            return values if values.size else None
    return None


def text(groups: Iterable[Node | None], name: str) -> str | None:
    """Return a text attribute, stored as bytes, text or an array of either; None if it is missing
    or blank.
    """
    values = raw(groups, name)
    return None if values is None else _plain(values[0]) or None


def number(groups: Iterable[Node | None], name: str, path: Path) -> float | None:
    """Return a numeric attribute, stored as number or text; may be NaN, None if it is missing.

    A single-precision 0.01 becomes 0.01. Errors: DataError if it is not a number.
    """
    values = raw(groups, name)
    return None if values is None else _number(values[0], name, path)


def numbers(groups: Iterable[Node | None], name: str, path: Path) -> list[float]:
    """Return an attribute of several numbers; [] if it is missing. Errors: see number."""
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
            f"{path}: its attribute {name} is {_plain(value)!r}, not a number; correct this file."
        ) from error


def check_size(
    name: str, data: Node, first: tuple[str, Node], stated: Sequence[float | None], path: Path
) -> None:
    """Errors: DataError if an image is not (y, x), or its size differs from the size (y, x) stated
    in the file, or from the first image.

    name: of the image. first: name and image. stated: None for what the file does not state.
    """
    shape = data.shape
    if len(shape) != 2 or 0 in shape:
        raise DataError(
            f"{path}: {name} has the shape {shape}; nowcast needs (y, x): name another one with"
            " data.variable."
        )
    said = tuple(number or size for number, size in zip(stated, shape, strict=True))
    if said != shape:
        raise DataError(
            f"{path}: {name} has the size {shape}, but states {said[0]:g} x {said[1]:g}; compare it"
            " with its source."
        )
    if shape != first[1].shape:
        raise DataError(
            f"{path}: {first[0]} has the size {first[1].shape}, {name} has {shape}; set"
            " data.variable to one of them."
        )


@dataclass(frozen=True)
class Footprint:
    """The location of an image as stated in its file.

    projection: a PROJ text.
    shape: (y, x).
    pixel: its size in x and y, y negative if rows run south; None if not stated.
    upper_left: x and y of the outer edge of the first pixel; None if only corners are stated.
    corners: (name, longitude, latitude) of the stated outer corners, named LL, UL, UR or LR.
    unit: of pixel and upper_left, in metres (1 for degrees); None for that of the projection.
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
    """Return x and y of pixel centres in metres (degrees on a longitude-latitude grid) and the CRS;
    {} if the file does not state enough.

    If corners, pixel size and number of pixels disagree by more than a pixel, {} is returned with a
    warning: a forecast without a location is possible, but it must not state a wrong one.
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
            "%s: its corners are %.3g columns and %.3g rows from where its projection, pixel size"
            " and %d x %d pixels put them, so the grid will have no location.",
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
    """Return corners in degrees, with eastern longitudes above western ones, also across the date
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
    """PROJ text → (the same with x and y in metres, its original unit in metres); degrees stay
    unchanged, with unit 1.

    With an Earth radius of 6378.137, radius, x, y and false origins are in km, as KNMI and
    MeteoSwiss write them.
    """
    parts = dict(part.lstrip("+").partition("=")[::2] for part in projection.split())
    try:
        scale = 1000.0 if float(parts.get("a") or parts.get("R") or "inf") < _EARTH_KM else 1.0
        unit = float(parts.get("to_meter") or {"km": 1000.0, "m": 1.0}[parts.get("units", "m")])
        for name in ("a", "b", "R", "x_0", "y_0"):
            if scale != 1.0 and name in parts:
                parts[name] = repr(round(float(parts[name]) * scale, 6))
    except (KeyError, ValueError):
        return projection, math.nan  # unknown unit, so no location: the corner check logs it
    kept = {name: value for name, value in parts.items() if name not in ("units", "to_meter")}
    return " ".join(
        f"+{name}={value}" if value else f"+{name}" for name, value in kept.items()
    ), max(unit, scale)


def _side(corners: dict[str, tuple[float, float]], names: tuple[str, str], k: int) -> float | None:
    """Return x (k = 0) or y (k = 1) of a side of the image, from its known corners."""
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
    """Return x and y of the outer edge of the first pixel, from at least one known corner."""
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
    """Return the largest distance (columns, rows) of a corner from its position computed from edge,
    pixel size and shape.
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
