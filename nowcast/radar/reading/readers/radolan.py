"""DWD's RADOLAN and RADVOR composites in binary format, gzipped or not: RY, YW, RV, RW, SF (rain),
RX, WX, WN (reflectivity).

Format: DWD, "RADOLAN/RADVOR: Beschreibung des Kompositformats": an ASCII header that ends with ETX,
then pixels of two bytes (little-endian, 12 bits of number, 4 of flags) or of one byte, the
south-western first. Location: DWD, "Radarkomposits: Projektionen und Gitter".
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import Place, axis_in_metres, grid_mapping_from_proj
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.storage import Values, unpack, unpacked, wrong_size
from nowcast.radar.reading.units import choose_units, quantity_of

HEADER = 2**12  # maximum bytes of a header
ETX = b"\x03"
SUMS = {"RY", "YW", "RV", "RW", "SF"}  # mm in the minutes of INT, two bytes per pixel
REFLECTIVITY = {"WN": 2, "RX": 1, "WX": 1}  # bytes per pixel; dBZ = v / 2 - 32.5 ("RVP-6 units")
# flags of two-byte pixels; 0x1000, "secondary", gives the source of a number and is ignored
NEGATIVE, NO_DATA, CLUTTER = 0x4000, 0x2000, 0x8000
LEAST_FLAG = 249  # of one-byte pixels: 249 is clutter, 250 no data
# Pixels of 1 km west and south of 9 E 51 N, from the outer corner, by (rows, columns).
GRIDS = {(900, 900): (450, 450), (1100, 900): (370, 550), (1200, 1100): (470, 600)}
PROJECTION = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +units=m"
EARTHS = {"sphere": "+R=6370040", "wgs84": "+ellps=WGS84"}  # the latter from format version 5 on


@dataclass(frozen=True)
class Header:
    """size: in bytes. time: end of the sum. minutes: length of the sum. precision: of a stored
    number. shape: (y, x). lead_minutes: 0 = measured.
    """

    size: int
    product: str
    time: datetime
    version: int
    precision: float
    minutes: float
    shape: tuple[int, int]
    lead_minutes: int


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file with one frame.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    header = _header(path)
    if header.product not in SUMS | set(REFLECTIVITY):
        known = ", ".join(sorted(SUMS | set(REFLECTIVITY)))
        raise DataError(
            f"{path}: holds RADOLAN {header.product}; nowcast reads only the products {known}."
        )
    if header.lead_minutes:
        raise DataError(
            f"{path}: a forecast for {header.lead_minutes} minutes ahead, not an observation; open"
            " only files with VV 000."
        )
    if header.shape not in GRIDS:
        known = ", ".join(f"{height} x {width}" for height, width in GRIDS)
        raise DataError(
            f"{path}: its grid is {header.shape[0]} x {header.shape[1]}; nowcast knows only the"
            f" locations of RADOLAN's {known}."
        )
    stated = "mm" if header.product in SUMS else "dBZ"
    units = choose_units(options.units, stated, f"{path}: its rain")
    minutes = header.minutes if quantity_of(units) == "amount" else None
    layout = Layout(header.product, header.shape, units, minutes, packing=_packing(header))
    times = np.array([header.time], dtype="datetime64[ns]")
    place = _place(header.shape, "wgs84" if header.version >= 5 else "sphere")
    return RadarFile(
        path,
        "radolan",
        layout,
        times,
        dict(place),
        {"institution": "Deutscher Wetterdienst", "product": header.product},
    )


def read(request: ReadRequest) -> Values:
    """Read the frame: mm or dBZ, float64 (time, y, x), southern row first, NaN = missing.

    Errors: see describe.

    Pixels outside radar coverage and clutter are missing.
    """
    file = request.file
    header = _header(file.path)
    if (header.product, header.shape) != (file.layout.variable, file.layout.shape):
        raise DataError(f"{file.path}: has changed since it was opened; open it again.")
    height, width = header.shape
    size = height * width * REFLECTIVITY.get(header.product, 2)
    # one byte more, so that a gzipped file is read and checked to its end
    data = unpacked(file.path, header.size + size + 1)
    if len(data) != header.size + size:
        raise wrong_size(
            file.path, len(data) - header.size, height, width, size // (height * width)
        )
    raw = np.frombuffer(data, "<u2" if size == 2 * height * width else np.uint8, offset=header.size)
    number, missing = _decode(raw.reshape(1, height, width)[request.box])
    scale, offset = _packing(header)
    values = unpack(
        number,
        {"scale_factor": scale, "add_offset": offset},
        request.options.missing_value,
        request.dry,
    )
    values[missing] = np.nan
    return values


def _decode(raw: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Stored pixels → (their numbers, mask of missing pixels)."""
    if raw.dtype.itemsize == 1:
        return raw.astype(np.int32), raw >= LEAST_FLAG
    number = (raw & 0x0FFF).astype(np.int32)
    return np.where(raw & NEGATIVE, -number, number), (raw & (NO_DATA | CLUTTER)) != 0


def _packing(header: Header) -> tuple[float, float]:
    return (header.precision, 0.0) if header.product in SUMS else (header.precision / 2, -32.5)


def _header(path: Path) -> Header:
    """Parse a header.

    Example: RV161355100000926BY   2640195VS 5SW  P42001HPR E-02INT   5GP1200x1100VV 000MF
    00000008MS 13<deboo,dedrs>.
    """
    head, etx, _ = unpacked(path, HEADER).partition(ETX)
    text = head.decode("latin-1").partition("MS")[0]
    start = re.match(r"(\w\w)(\d{6})\d{5}(\d{4})BY *\d+VS *(\d+)", text)
    precision = re.search(r"PR +E([+-]\d\d)", text)
    interval = re.search(r"INT *(0*[1-9]\d*)(?:U(\d))?", text)
    grid = re.search(r"GP *(\d+)x *(\d+)", text)
    lead = re.search(r"VV *(\d+)", text)
    if not etx or start is None or precision is None or interval is None or grid is None:
        raise DataError(
            f"{path}: its RADOLAN header cannot be read: precision, interval or grid is not in its"
            " place; check its header."
        )
    try:
        time = datetime.strptime(start[2] + start[3], "%d%H%M%m%y")
    except ValueError as error:
        raise DataError(
            f"{path}: its header has an invalid time, {start[2]!r} {start[3]!r} (DDHHMM MMYY);"
            " correct it."
        ) from error
    return Header(
        size=len(head) + 1,
        product=start[1],
        time=time,
        version=int(start[4]),
        precision=float(f"1e{precision[1]}"),
        minutes=int(interval[1]) * (1440.0 if interval[2] == "1" else 1.0),
        shape=(int(grid[1]), int(grid[2])),
        lead_minutes=int(lead[1]) if lead else 0,
    )


@lru_cache(maxsize=8)
def _place(shape: tuple[int, int], earth: str) -> Place:
    """Return pixel centres of a grid of `GRIDS`, rows from south to north."""
    import pyproj

    text = f"{PROJECTION} {EARTHS[earth]}"
    crs = grid_mapping_from_proj(text, "RADOLAN")
    assert crs is not None  # polar stereographic has a CF name
    x, y = pyproj.Proj(text)(9.0, 51.0)
    west, south = GRIDS[shape]
    return {
        "x": axis_in_metres("x", x + 1000.0 * (np.arange(shape[1]) - west + 0.5)),
        "y": axis_in_metres("y", y + 1000.0 * (np.arange(shape[0]) - south + 0.5)),
        CRS: crs,
    }
