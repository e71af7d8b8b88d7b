"""MeteoSwiss' rain composites as 8-bit GIF (AQC, CPC): each colour's number stands for an amount of
rain.

The images of RZC and AZC are not read: their amounts hide in colours, by tables of their own.
"""

import re
import struct
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import Place, axis_in_metres, grid_mapping_from_crs
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.storage import Values, unpack, unpacked
from nowcast.radar.reading.units import choose_units, quantity_of

if TYPE_CHECKING:
    from PIL.Image import Image

PRODUCTS = ("AQC", "CPC")
SCALE = "mmh2LASSEN8bitmm_mn"  # MeteoSwiss' name of the table below
SHAPE = (640, 710)  # of the Swiss composite, 1 km a pixel
# its outer corner in Swiss coordinates (CH1903 / LV03), in metres
WEST, NORTH = 255_000.0, 480_000.0
MISSING = 255
LARGEST = 2**24  # bytes; an image of this size has less than a sixteenth


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """What `path` holds: one frame.

    Errors: MissingInputError, MissingLibraryError, or DataError naming the file and what to do.
    """
    image = _open(path)
    comment = image.info.get("comment", b"")
    said = comment.decode("latin-1") if isinstance(comment, bytes) else str(comment)
    product, time = _product_and_time(path, said)
    scale = re.search(r"\bSCALE=(\S+)", said)
    if product not in PRODUCTS or (scale is not None and scale[1] != SCALE):
        of = f" in {scale[1]!r}" if scale is not None else ""
        raise DataError(
            f"{path}: holds {product}{of}; nowcast has the table of numbers of"
            f" {' and '.join(PRODUCTS)} in {SCALE!r} only."
        )
    if (image.height, image.width) != SHAPE:
        raise DataError(
            f"{path}: its image is {image.height} x {image.width}; where one of MeteoSwiss lies is"
            f" known for {SHAPE[0]} x {SHAPE[1]} only."
        )
    units = choose_units(options.units, "mm", f"{path}: its rain")
    minutes = _minutes(path, said, options) if quantity_of(units) == "amount" else None
    times = np.array([time], dtype="datetime64[ns]")
    version = re.search(r"\bVERSION=(\S+)", said)
    attrs = {
        "institution": "MeteoSwiss",
        "product": product,
        **({"source": version[1]} if version else {}),
    }
    return RadarFile(
        path, "meteoswiss", Layout(product, SHAPE, units, minutes), times, dict(_place()), attrs
    )


def read(request: ReadRequest) -> Values:
    """The frame of `file` in mm: float64 (time, y, x), northern row first, NaN = missing.

    Errors: as describe.
    """
    numbers = _numbers(request.file.path)[None][request.box]
    # 0 is dry by the table, too
    kept = unpack(numbers, {"_FillValue": MISSING}, request.options.missing_value, request.dry)
    missing = np.isnan(kept)
    return np.where(missing, np.nan, _table()[np.where(missing, 0, kept).astype(np.uint8)])


@lru_cache(maxsize=1)
def _table() -> Values:
    """(256,) mm: number i is (10^((i - 71.5) / 20) / 316)^(1 / 1.5), Z = 316 R^1.5 in steps of
    half a decibel; 0, 1 and 251 to 254 are dry.
    """
    number = np.arange(256)
    rain = (10.0 ** ((number - 71.5) / 20.0) / 316.0) ** (1.0 / 1.5)
    return np.where((number < 2) | (number > 250), 0.0, rain)


def _product_and_time(path: Path, said: str) -> tuple[str, datetime]:
    """What AQC151351545 says: the product, and 15:45 of day 135 of 2015 (UTC); in the comment,
    else in the name.
    """
    for match in (
        re.search(r"\bPRDT=([A-Z]{3})(\d{9})\b", said),
        re.match(r"([A-Z]{3})(\d{9})(?!\d)", path.name),
    ):
        try:
            if match is not None:
                return match[1], datetime.strptime(match[2], "%y%j%H%M")
        except ValueError:  # no such day or hour
            continue
    raise DataError(
        f"{path}: neither its comment nor its name says what and when, as AQC151351545 (year, day"
        " of the year, hour, minute); give it MeteoSwiss' name back."
    )


def _minutes(path: Path, said: str, options: ReadOptions) -> float:
    match = re.search(r"\bACCUm=0*(\d+)", said)
    minutes = float(match[1]) if match else options.accumulation_minutes
    if not minutes:
        raise DataError(
            f"{path}: over how many minutes its rain was gathered is not said; set"
            " data.accumulation_minutes."
        )
    return minutes


def _open(path: Path) -> "Image":
    """The image, its pixels still packed. Errors: MissingInputError, DataError."""
    from PIL import Image

    data = unpacked(path, LARGEST)
    try:
        image = Image.open(BytesIO(data), formats=["GIF"])
        single = getattr(image, "n_frames", 1) == 1
    except _bad_image() as error:
        raise _damaged(path, error) from error
    if not single:
        raise DataError(
            f"{path}: holds several images; nowcast reads MeteoSwiss' GIF of one image."
        )
    return image


def _numbers(path: Path) -> npt.NDArray[np.uint8]:
    """The colours' numbers (y, x)."""
    image = _open(path)
    boxes = [tuple(part[1]) for part in getattr(image, "tile", [])]
    if (
        image.mode not in ("P", "L")
        or boxes != [(0, 0, SHAPE[1], SHAPE[0])]
        or (image.height, image.width) != SHAPE
    ):
        raise _damaged(path, f"not {SHAPE[0]} x {SHAPE[1]} numbers of colours")
    try:
        return np.asarray(image)
    except _bad_image() as error:
        raise _damaged(path, error) from error


def _bad_image() -> tuple[type[Exception], ...]:
    """What Pillow raises for bytes that are no image."""
    from PIL import Image

    return (OSError, EOFError, ValueError, SyntaxError, IndexError, TypeError, struct.error,
            Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip


def _damaged(path: Path, what: Exception | str) -> DataError:
    what = "no image" if "cannot identify" in str(what) else what
    return DataError(
        f"{path}: this GIF cannot be read ({what}); look into it: it may not be whole, or no image"
        " of MeteoSwiss."
    )


@lru_cache(maxsize=1)
def _place() -> Place:
    """Pixel centres, rows from north to south.

    The oblique Mercator of CH1903 / LV03 is CF's, with its line due east.
    """
    import pyproj

    crs = grid_mapping_from_crs(pyproj.CRS.from_epsg(21781), "EPSG:21781", "MeteoSwiss")
    assert crs is not None
    crs.attrs["azimuth"] = crs.attrs["azimuth_of_central_line"]  # compliance-checker's name of it
    x = WEST + 1000.0 * (np.arange(SHAPE[1]) + 0.5)
    y = NORTH - 1000.0 * (np.arange(SHAPE[0]) + 0.5)
    return {"x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: crs}
