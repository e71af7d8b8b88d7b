"""FMI's reflectivity composites as PGM, gzipped or not: a binary P5 image, described in the
comments of its header.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from nowcast.errors import DataError
from nowcast.radar.finding.filename_times import time_from_name
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import Place, axis_in_metres, grid_mapping_from_proj
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.storage import Values, unpack, unpacked, wrong_size
from nowcast.radar.reading.units import choose_units, quantity_of

HEADER = 2**16  # maximum bytes of a header
SCALE, OFFSET, MISSING = 0.5, -32.0, 255  # dBZ = v / 2 - 32; 0 is no echo
# The files do not state the figure of the Earth; only on this sphere do corners and metres per
# pixel agree.
EARTH_RADIUS = 6371288.0
_CORNERS = (
    "centrallongitude",
    "centrallatitude",
    "truelatitude",
    "bottomleft",
    "topright",
    "metersperpixel_x",
    "metersperpixel_y",
)
# "P5", width, height and maximum, separated by white space and comments; one white space before the
# pixels.
_START = re.compile(
    rb"P5" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,4})" * 2 + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,5})\s"
)
_COMMENT = re.compile(r"^#[ \t]*(\w+)[ \t]+(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """size: in bytes. shape: (y, x). said: comments by keyword, the last one for a repeated one."""

    size: int
    shape: tuple[int, int]
    said: dict[str, str]


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file with one frame.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    header = _header(path)
    said = header.said
    variable, units = said.get("param", ""), choose_units(options.units, "dBZ", f"{path}: its rain")
    if quantity_of(units) != "reflectivity":
        raise DataError(
            f"{path}: FMI's PGM files are in dBZ, not data.units={units!r}; leave data.units out."
        )
    if options.units is None and "reflectivity" not in variable.lower():
        raise DataError(
            f"{path}: holds {variable or 'an unnamed quantity'!r}; nowcast reads only reflectivity"
            " from FMI's PGM files: set data.units=dBZ if it is reflectivity."
        )
    layout = Layout(variable or "reflectivity", header.shape, units, packing=(SCALE, OFFSET))
    about = {
        "institution": "Finnish Meteorological Institute",
        "product": said.get("productname", ""),
    }
    times = np.array([_time(path, said)], dtype="datetime64[ns]")
    return RadarFile(
        path,
        "fmi",
        layout,
        times,
        _place_of(path, header),
        {key: text for key, text in about.items() if text},
    )


def read(request: ReadRequest) -> Values:
    """Read the frame in dBZ: float64 (time, y, x), northern row first, NaN = missing.

    Errors: see describe.
    """
    file = request.file
    header = _header(file.path)
    if header.shape != file.layout.shape:
        raise DataError(f"{file.path}: has another grid than when it was opened; open it again.")
    height, width = header.shape
    # one byte more, so that a gzipped file is read and checked to its end
    data = unpacked(file.path, header.size + height * width + 1)
    if len(data) != header.size + height * width:
        raise wrong_size(file.path, len(data) - header.size, height, width, 1)
    raw = np.frombuffer(data, np.uint8, offset=header.size).reshape(1, height, width)[request.box]
    return unpack(
        raw,
        {"_FillValue": MISSING, "scale_factor": SCALE, "add_offset": OFFSET},
        request.options.missing_value,
        request.dry,
    )


def _header(path: Path) -> Header:
    data = unpacked(path, HEADER)
    start = _START.match(data)
    if start is None:
        raise DataError(
            f"{path}: its PGM header cannot be read: no width, height and maximum follow P5; check"
            " its header."
        )
    width, height, top = (int(number) for number in start.groups())
    if 0 in (width, height):
        raise DataError(
            f"{path}: has {height} x {width} pixels, so it has no frame; check its header."
        )
    if top != MISSING:
        raise DataError(
            f"{path}: its maximum value is {top}; nowcast can convert FMI's values to dBZ only for"
            f" a maximum of {MISSING}."
        )
    text = start[0].decode("latin-1").replace("\r", "\n")
    return Header(start.end(), (height, width), dict(_COMMENT.findall(text)))


def _time(path: Path, said: dict[str, str]) -> np.datetime64:
    time = time_from_name(said.get("obstime", "")) or time_from_name(path.name)
    if time is None:
        raise DataError(
            f"{path}: neither its 'obstime' nor its name has a time such as 201609281445 (UTC);"
            " rename it."
        )
    return time


def _place_of(path: Path, header: Header) -> Place:
    """Return the place; {} if the file does not state it.

    Errors: DataError if it is stated but inconsistent.
    """
    said = header.said
    if "type" not in said and "bottomleft" not in said:
        return {}
    if said.get("type") != "stereographic":
        raise DataError(
            f"{path}: its projection is {said.get('type', 'not named')!r}; nowcast reads only FMI's"
            " 'stereographic' PGM files."
        )
    try:
        numbers = tuple(float(word) for name in _CORNERS for word in said[name].split())
        place, off = _place(numbers, header.shape)
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: its header does not give the corners of the grid ({error}); check its header."
        ) from error
    if not off < 0.01:
        raise DataError(
            f"{path}: its corners, {header.shape[0]} x {header.shape[1]} pixels and metres per"
            " pixel do not agree; check its header."
        )
    return dict(place)


@lru_cache(maxsize=8)
def _place(numbers: tuple[float, ...], shape: tuple[int, int]) -> tuple[Place, float]:
    """Return the place of a grid, and the relative error of its pixel size computed from corners.

    numbers: those of `_CORNERS`. Errors: ValueError if they are too few, or not a valid place.
    """
    import pyproj

    lon_0, lat_0, lat_ts, west, south, east, north, across, up = numbers
    if abs(lat_0) != 90 or not (0 < lat_ts * lat_0 / 90 <= 90):
        raise ValueError(f"stereographic around latitude {lat_0:g}, true at {lat_ts:g}")
    text = f"+proj=stere +lat_0={lat_0} +lat_ts={lat_ts} +lon_0={lon_0} +R={EARTH_RADIUS} +units=m"
    crs = grid_mapping_from_proj(text, "FMI")
    assert crs is not None  # polar stereographic has a CF name
    (left, right), (bottom, top) = pyproj.Proj(text)([west, east], [south, north])
    dx, dy = (right - left) / shape[1], (top - bottom) / shape[0]
    x = left + dx * (np.arange(shape[1]) + 0.5)
    y = top - dy * (np.arange(shape[0]) + 0.5)
    return {"x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: crs}, max(
        abs(dx / across - 1), abs(dy / up - 1)
    )
