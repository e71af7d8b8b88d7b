"""Whether a model sees the world as it did in training: the projection and the pixels of its grid,
wherever on the map that lies.

A convolution knows neither place nor size of a grid; but what it learned of motion and growth is in
pixels, rows and columns. Which row a file stores first says nothing of the world: such frames are
turned for the model, and its forecast is turned back.
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
_PIXEL_OFF = 1e-3  # relative; a pixel of 1000 m is 1001 m of an Earth of another radius
_GROUND_OFF = 0.25  # relative; a map stretches by so much from one part of a country to another
_ANGLE_OFF = 1e-4  # degrees, of a parallel or meridian
_ANGLES = (
    "standard_parallel", "straight_vertical_longitude_from_pole", "longitude_of_central_meridian",
    "longitude_of_projection_origin", "latitude_of_projection_origin", "grid_north_pole_latitude",
    "grid_north_pole_longitude", "azimuth_of_central_line",
)  # fmt: skip
"""What turns or bends a map; false origins only shift it, and ellipsoids differ by less than a
thousandth of a pixel's size.
"""


@dataclass(frozen=True)
class Turn:
    """Which axes of a file run against those of the training.

    `remark`: that in words, empty where none does.
    """

    rows: bool = False
    columns: bool = False
    remark: str = ""

    def __call__(self, values: Any) -> Any:
        """An array or tensor (…, h, w) with these axes turned round; a second time gives it back.

        Nothing to turn: itself.
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
"""Nothing to turn."""


def turn_of(stored: dict[str, Any] | None, grid: xr.Dataset) -> Turn:
    """How frames of this grid are turned for the model of a checkpoint, as far as both say
    which way their axes run.
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
            f"the first row lies in the {here['first_row']}, that of the training in the"
            f" {stored['first_row']}"
        ]
        if rows
        else []
    )
    said += ["the columns run the other way than those of the training"] if columns else []
    remark = (
        f"{' and '.join(said)}: the frames are turned for the model, and its forecast is turned"
        " back"
        if said
        else ""
    )
    return Turn(rows, columns, remark)


def place_for_checkpoint(grid: xr.Dataset | None) -> dict[str, Any] | None:
    """What a checkpoint says of the grid that its model was trained on; None of frames without a
    place.

    crs: the CF grid mapping, as far as the file has one. pixel: its (height, width), below 0 where
    y or x falls from one row or column to the next; None where the axes are not known or not
    regular. unit: of pixel. ground: (height, width) in metres of a pixel in the middle, by latitude
    and longitude, where there are some. first_row: north or south, where known.
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
    """How the grid differs from that of the checkpoint, as far as both say, which way its axes
    run aside; empty where it does not, wherever on the map it lies.
    """
    here = place_for_checkpoint(grid)
    if stored is None or here is None:
        return ""
    if stored["crs"] and here["crs"] and projection_differs(stored["crs"], here["crs"]):
        return f"its projection is {_words(here)}, that of the training {_words(stored)}"
    if stored["pixel"] and here["pixel"]:
        if here["unit"] != stored["unit"] or not np.allclose(
            np.abs(here["pixel"]), np.abs(stored["pixel"]), rtol=_PIXEL_OFF, atol=0
        ):
            return f"its pixels are {_size(here)}, those of the training {_size(stored)}"
    elif (
        stored["ground"]
        and here["ground"]
        and not np.allclose(here["ground"], stored["ground"], rtol=_GROUND_OFF, atol=0)
    ):
        return f"its pixels are {_on_ground(here)}, those of the training {_on_ground(stored)}"
    return ""


def refuse_other_grid(
    stored: dict[str, Any] | None, grid: xr.Dataset, path: str, *, allowed: bool
) -> str:
    """→ a remark where the grid is another and that is allowed, else nothing.

    Errors: DataError where it is another and is not.

    stored: of the checkpoint; None where it says nothing of its grid, as those of older versions do
    not.
    """
    difference = place_difference(stored, grid)
    if difference and not allowed:
        raise DataError(
            f"{path}: another grid than the model was trained on: {difference}; give data on such a"
            " grid, train a model on this one, or forecast all the same with other_grid=true."
        )
    return f"the grid is another than the model was trained on: {difference}" if difference else ""


def projection_differs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two grid mappings, as `plain_crs` has them, turn or bend the map otherwise."""
    if one.get("grid_mapping_name") != other.get("grid_mapping_name"):
        return True
    return any(
        _angles_differ(one[key], other[key]) for key in _ANGLES if key in one and key in other
    )


def _angles_differ(one: Any, other: Any) -> bool:
    """By more than rounding; -90 and 270 degrees are the same, and the order of two parallels
    says nothing.
    """
    a, b = (np.sort(np.atleast_1d(np.asarray(angles, dtype=np.float64))) for angles in (one, other))
    return a.shape != b.shape or bool((np.abs((a - b + 180.0) % 360.0 - 180.0) > _ANGLE_OFF).any())


def plain_crs(place: Place) -> dict[str, Any]:
    """Of the grid mapping what is a word or numbers and is asked for here, as plain values."""
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
    """By the distance of pixels a half of the grid apart, for degrees may be rounded to more
    than a pixel.
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
