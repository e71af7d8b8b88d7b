"""Check that a grid has the projection and pixel size of a model's training grid, at any location.

A convolution does not depend on the location or size of a grid, but the motion and growth it has
learned are in pixels, rows and columns. The order of rows in a file does not matter: frames are
flipped for the model, and its forecast is flipped back.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from nowcast.console import two_digits
from nowcast.errors import DataError
from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import ELLIPSOID, Place, place_of_grid
from nowcast.radar.placing.place import crs_in_words, first_row, pixel_size

_EARTH = 6371e3  # metres
_PIXEL_OFF = 1e-3  # relative; a pixel of 1000 m is 1001 m with another Earth radius
_GROUND_OFF = 0.25  # relative; the map scale varies this much from one part of a country to another
_ANGLE_OFF = 1e-4  # degrees, for parallels and meridians
_ANGLES = (
    "standard_parallel", "straight_vertical_longitude_from_pole", "longitude_of_central_meridian",
    "longitude_of_projection_origin", "latitude_of_projection_origin", "grid_north_pole_latitude",
    "grid_north_pole_longitude", "azimuth_of_central_line",
)  # fmt: skip
"""Attributes that rotate or distort a map. False origins only shift it, and different ellipsoids
change pixel sizes by less than a thousandth.
"""


@dataclass(frozen=True)
class Turn:
    """Which axes of a file run opposite to those of the training.

    `remark`: the same in words, "" if none does.
    """

    rows: bool = False
    columns: bool = False
    remark: str = ""

    def __call__(self, values: Any) -> Any:
        """Return an array or tensor (…, h, w) with these axes flipped; itself if there are none.

        Applying it twice restores the input.
        """
        axes = [axis for axis, turned in ((-2, self.rows), (-1, self.columns)) if turned]
        if not axes:
            return values
        return (
            values.flip(axes)
            if hasattr(values, "flip")
            else np.ascontiguousarray(np.flip(values, tuple(axes)))
        )


AS_STORED = Turn()
"""No axis is flipped."""


def turn_of(stored: dict[str, Any] | None, grid: xr.Dataset) -> Turn:
    """Return how to flip frames of this grid for a checkpoint's model; axes of unknown direction
    are not flipped.
    """
    here = place_for_checkpoint(grid)
    if stored is None or here is None:
        return AS_STORED
    rows = (
        bool(stored["first_row"] and here["first_row"]) and stored["first_row"] != here["first_row"]
    )
    columns = bool(stored["pixel"] and here["pixel"]) and bool(
        np.sign(here["pixel"][1]) != np.sign(stored["pixel"][1])
    )
    said = (
        [
            f"the first row is in the {here['first_row']}, in training it was in the"
            f" {stored['first_row']}"
        ]
        if rows
        else []
    )
    said += ["the columns run opposite to those of the training"] if columns else []
    remark = (
        f"{' and '.join(said)}: the frames are flipped for the model, and its forecast is flipped"
        " back"
        if said
        else ""
    )
    return Turn(rows, columns, remark)


def place_for_checkpoint(grid: xr.Dataset | None) -> dict[str, Any] | None:
    """Return what a checkpoint stores about the grid of its training; None if frames have no
    location.

    crs: the CF grid mapping, if the file has one. pixel: its (height, width), negative along a
    decreasing axis; None if the axes are unknown or irregular. unit: of pixel. ground: (height,
    width) in metres of a pixel in the middle, from latitude and longitude, or None. first_row:
    "north", "south" or None.
    """
    place = place_of_grid(grid)
    size = pixel_size(place)
    said = {
        "crs": plain_crs(place),
        "pixel": (
            None if size is None else [_sign(place, "y") * size[0], _sign(place, "x") * size[1]]
        ),
        "unit": None if size is None else size[2],
        "ground": _ground(place),
        "first_row": first_row(place),
    }
    return said if any(said.values()) else None


def place_difference(stored: dict[str, Any] | None, grid: xr.Dataset) -> str:
    """Return how the grid differs from that of the checkpoint in what both state; "" if it does
    not. The location and the direction of the axes may differ.
    """
    here = place_for_checkpoint(grid)
    if stored is None or here is None:
        return ""
    if stored["crs"] and here["crs"] and projection_differs(stored["crs"], here["crs"]):
        return f"its projection is {_words(here)}, in training it was {_words(stored)}"
    if stored["pixel"] and here["pixel"]:
        if here["unit"] != stored["unit"] or not np.allclose(
            np.abs(here["pixel"]), np.abs(stored["pixel"]), rtol=_PIXEL_OFF, atol=0
        ):
            return f"its pixels are {_size(here)}, in training they were {_size(stored)}"
    elif (
        stored["ground"]
        and here["ground"]
        and not np.allclose(here["ground"], stored["ground"], rtol=_GROUND_OFF, atol=0)
    ):
        return f"its pixels are {_on_ground(here)}, in training they were {_on_ground(stored)}"
    return ""


def refuse_other_grid(
    stored: dict[str, Any] | None, grid: xr.Dataset, path: str, *, allowed: bool
) -> str:
    """Return a remark if the grid differs and that is allowed, "" if it does not differ.

    Errors: DataError if it differs and that is not allowed.

    stored: the grid of the checkpoint; None if it has none, as in older versions.
    """
    difference = place_difference(stored, grid)
    if difference and not allowed:
        raise DataError(
            f"{path}: not the grid that the model was trained on: {difference}; give data on such a"
            " grid, train a model on this one, or forecast anyway with other_grid=true."
        )
    return f"not the grid that the model was trained on: {difference}" if difference else ""


def projection_differs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two grid mappings from `plain_crs` rotate or distort the map differently."""
    if one.get("grid_mapping_name") != other.get("grid_mapping_name"):
        return True
    return any(
        _angles_differ(one[key], other[key]) for key in _ANGLES if key in one and key in other
    )


def _angles_differ(one: Any, other: Any) -> bool:
    """Return whether angles differ by more than rounding; -90 and 270 degrees are equal, and the
    order of two parallels does not matter.
    """
    a, b = (np.sort(np.atleast_1d(np.asarray(angles, dtype=np.float64))) for angles in (one, other))
    return a.shape != b.shape or bool((np.abs((a - b + 180.0) % 360.0 - 180.0) > _ANGLE_OFF).any())


def plain_crs(place: Place) -> dict[str, Any]:
    """Return the attributes of the grid mapping that are compared here, as plain values."""
    if CRS not in place:
        degrees = "x" in place and str(place["x"].attrs.get("units", "")).startswith("degree")
        return {"grid_mapping_name": "latitude_longitude"} if degrees else {}
    attrs = place[CRS].attrs
    kept = {
        key: np.asarray(attrs[key]).tolist()
        for key in ("grid_mapping_name", *_ANGLES, *ELLIPSOID)
        if key in attrs
    }
    return {key: value for key, value in kept.items() if value is not None}


def _ground(place: Place) -> list[float] | None:
    """Return the size of a pixel in metres, from pixels half a grid apart, since degrees may be
    rounded by more than a pixel.
    """
    if not {LATITUDE, LONGITUDE} <= place.keys() or min(place[LATITUDE].shape) < 2:
        return None
    latitude, longitude = (
        np.radians(np.asarray(place[name].values, np.float64)) for name in (LATITUDE, LONGITUDE)
    )
    spots = np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ]
    )
    sizes = []
    for line in (spots[:, :, latitude.shape[1] // 2], spots[:, latitude.shape[0] // 2]):
        first = line.shape[1] // 4
        last = max(3 * line.shape[1] // 4, first + 1)
        chord = float(np.linalg.norm(line[:, last] - line[:, first]))
        sizes.append(
            2 * _EARTH * math.asin(min(chord / 2, 1.0)) / (last - first)
            if chord == chord
            else math.nan
        )
    return sizes if all(size > 0 for size in sizes) else None


def _on_ground(said: dict[str, Any]) -> str:
    height, width = said["ground"]
    return f"about {two_digits(height)} x {two_digits(width)} m"


def _sign(place: Place, axis: str) -> float:
    steps = np.diff(np.asarray(place[axis].values, np.float64))
    return math.copysign(1.0, float(np.median(steps)))  # one of them may cross the date line


def _words(said: dict[str, Any]) -> str:
    return crs_in_words({CRS: xr.Variable((), 0, said["crs"])})


def _size(said: dict[str, Any]) -> str:
    height, width = np.abs(said["pixel"])
    return f"{height:g} x {width:g} {said['unit']}"
