"""MeteoSwiss' rain composites as 8-bit GIF (AQC, CPC): each colour number is an amount of rain.

Images of RZC and AZC are not read, since they code amounts by colours with tables of their own.
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
SHAPE = (640, 710)  # of the Swiss composite, with pixels of 1 km
# its outer corner in Swiss coordinates (CH1903 / LV03), in metres
WEST, NORTH = 255_000.0, 480_000.0
MISSING = 255
LARGEST = 2**24  # most bytes read; real images have less than a sixteenth of this


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file with one frame.

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
            f"{path}: holds {product}{of}; nowcast reads only {' and '.join(PRODUCTS)} in"
            f" {SCALE!r}."
        )
    if (image.height, image.width) != SHAPE:
        raise DataError(
            f"{path}: its image has {image.height} x {image.width} pixels; nowcast reads"
            f" MeteoSwiss images only with {SHAPE[0]} x {SHAPE[1]}."
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
    """Read the frame in mm: float64 (time, y, x), northern row first, NaN = missing.

    Errors: see describe.
    """
    numbers = _numbers(request.file.path)[None][request.box]
    # 0 is also dry in the table
    kept = unpack(numbers, {"_FillValue": MISSING}, request.options.missing_value, request.dry)
    missing = np.isnan(kept)
    return np.where(missing, np.nan, _table()[np.where(missing, 0, kept).astype(np.uint8)])


@lru_cache(maxsize=1)
def _table() -> Values:
    """Return the table (256,) in mm: number i is (10^((i - 71.5) / 20) / 316)^(1 / 1.5), that is
    Z = 316 R^1.5 in steps of half a decibel; 0, 1 and 251 to 254 are dry.
    """
    number = np.arange(256)
    rain = (10.0 ** ((number - 71.5) / 20.0) / 316.0) ** (1.0 / 1.5)
    return np.where((number < 2) | (number > 250), 0.0, rain)


def _product_and_time(path: Path, said: str) -> tuple[str, datetime]:
    """Parse AQC151351545 as product AQC at 15:45 UTC on day 135 of 2015; from the comment, else
    from the file name.
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
        f"{path}: neither its comment nor its name has a product and time such as AQC151351545"
        " (year, day of the year, hour, minute); restore MeteoSwiss' file name."
    )


def _minutes(path: Path, said: str, options: ReadOptions) -> float:
    match = re.search(r"\bACCUm=0*(\d+)", said)
    minutes = float(match[1]) if match else options.accumulation_minutes
    if not minutes:
        raise DataError(
            f"{path}: the minutes of accumulation are unknown; set data.accumulation_minutes."
        )
    return minutes


def _open(path: Path) -> "Image":
    """Open the image without decoding pixels. Errors: MissingInputError, DataError."""
    from PIL import Image

    data = unpacked(path, LARGEST)
    try:
        image = Image.open(BytesIO(data), formats=["GIF"])
        single = getattr(image, "n_frames", 1) == 1
    except _bad_image() as error:
        raise _damaged(path, error) from error
    if not single:
        raise DataError(
            f"{path}: holds several images; nowcast reads MeteoSwiss GIF files with one image."
        )
    return image


def _numbers(path: Path) -> npt.NDArray[np.uint8]:
    """Return the colour numbers (y, x)."""
    image = _open(path)
    boxes = [tuple(part[1]) for part in getattr(image, "tile", [])]
    if (
        image.mode not in ("P", "L")
        or boxes != [(0, 0, SHAPE[1], SHAPE[0])]
        or (image.height, image.width) != SHAPE
    ):
        raise _damaged(path, f"not {SHAPE[0]} x {SHAPE[1]} colour numbers")
    try:
        return np.asarray(image)
    except _bad_image() as error:
        raise _damaged(path, error) from error


def _bad_image() -> tuple[type[Exception], ...]:
    """Return the exceptions of Pillow for bytes that are not an image."""
    from PIL import Image

    return (OSError, EOFError, ValueError, SyntaxError, IndexError, TypeError, struct.error,
            Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip


def _damaged(path: Path, what: Exception | str) -> DataError:
    what = "no image" if "cannot identify" in str(what) else what
    return DataError(
        f"{path}: this GIF cannot be read ({what}); check it: it may be truncated, or not an image"
        " of MeteoSwiss."
    )


@lru_cache(maxsize=1)
def _place() -> Place:
    """Return pixel centres, rows from north to south.

    The projection of CH1903 / LV03 is CF's oblique Mercator with a central line due east.
    """
    import pyproj

    crs = grid_mapping_from_crs(pyproj.CRS.from_epsg(21781), "EPSG:21781", "MeteoSwiss")
    assert crs is not None
    crs.attrs["azimuth"] = crs.attrs["azimuth_of_central_line"]  # name used by compliance-checker
    x = WEST + 1000.0 * (np.arange(SHAPE[1]) + 0.5)
    y = NORTH - 1000.0 * (np.arange(SHAPE[0]) + 0.5)
    return {"x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: crs}
