"""Rain of MeteoNet (Météo-France) as NumPy .npz: a zip of `data` (time, y, x) in hundredths of mm
over 5 minutes, and `dates`.

According to github.com/meteofrance/meteonet, docs/english/data/rain-radar: -1 is missing, times are
in UTC, and the grids of the two zones are in radar_coords_NW.npz and radar_coords_SE.npz: centres
of pixels of 0.01 degrees, northern row first. `dates` are pickled Python datetimes. They are not
unpickled here: the bytes of each date are extracted from the pickle.
"""

import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from pickletools import genops
from typing import IO, Any

import numpy as np

from nowcast.errors import DataError
from nowcast.files import FileVersion
from nowcast.radar.placing.georeference import Place, axis_in_degrees
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.storage import Values, explain, unpack
from nowcast.radar.reading.units import choose_units, quantity_of
from nowcast.radar.times import Times, instant
from nowcast.untrusted.files import refuse_huge

DATA, DATES = "data.npy", "dates.npy"
SCALE, MISSING, MINUTES = 0.01, -1, 5.0
# (latitude, longitude) of the first pixel's centre, by (rows, columns); pixels of 0.01 degrees run
# south and east.
GRIDS = {(565, 784): (51.896, -5.842), (515, 784): (46.25, 2.0)}
_PIXEL = 0.01
_BLOCK = 2**20
_MOST_BYTES = 2**34  # unpacked size of all frames; eleven days have a sixth of this
_DATES_BYTES = 2**24  # unpacked size of dates; a month has less than a hundredth of this
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    MemoryError,
)  # exceptions of zipfile and NumPy
_WORDS = {"datetime", "numpy.core.multiarray", "numpy._core.multiarray", "_reconstruct", "numpy",
    "ndarray", "dtype", "_codecs",
          "encode", "latin1", "O8", "b", "|", ""}  # fmt: skip
"""All words in a pickled array of dates except the dates; a time zone would add another word."""
_MOST_KEPT = 2
_kept: OrderedDict[tuple[str, FileVersion, int], tuple["Stream", ExitStack]] = OrderedDict()
_reading = threading.RLock()


@dataclass(frozen=True)
class Stream:
    """The frames of a file, unpacked on access; `start`: bytes of the header before the first."""

    content: IO[bytes]
    start: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def frames(self, first: int, count: int) -> np.ndarray[Any, Any]:
        """Return frames (count, y, x).

        Continuing after the last ones is cheap; going back restarts at the first frame.
        """
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self.content.seek(self.start + first * size)
        return np.frombuffer(self.content.read(count * size), self.dtype).reshape(
            count, *self.shape[1:]
        )


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    if "quality" in path.name or (not path.name.startswith("rainfall") and options.units is None):
        raise DataError(
            f"{path}: its name is not one of MeteoNet's rainfall; set data.units if it is rain."
        )
    with _explained(path), _reading:
        stream = _stream(path)
        with zipfile.ZipFile(path) as archive:
            times = _times(archive, stream.shape[0], path)
    if stream.shape[1:] not in GRIDS:
        known = ", ".join(f"{height} x {width}" for height, width in GRIDS)
        raise DataError(
            f"{path}: its frames are {stream.shape[1]} x {stream.shape[2]}; MeteoNet's zones have"
            f" {known}."
        )
    units = choose_units(options.units, "mm", f"{path}: its rain")
    minutes = MINUTES if quantity_of(units) == "amount" else None
    layout = Layout("rainfall", stream.shape[1:], units, minutes, packing=(SCALE, 0.0))
    about = {"institution": "Météo-France", "title": "MeteoNet", "license": "Licence Ouverte 2.0"}
    return RadarFile(path, "meteonet", layout, times, dict(_place(stream.shape[1:])), about)


def read(request: ReadRequest) -> Values:
    """Read frames in mm: float64 (time, y, x), northern row first, NaN = missing.

    Errors: see describe.
    """
    file = request.file
    with _explained(file.path), _reading:
        stream = _stream(file.path)
        if stream.shape[1:] != file.layout.shape or stream.shape[0] != len(file.times):
            raise DataError(f"{file.path}: has changed since it was opened; open it again.")
        first, last, _ = request.frames.indices(stream.shape[0])
        raw = stream.frames(first, max(last - first, 0))[:, *request.box[1:]]
    return unpack(
        raw,
        {"_FillValue": MISSING, "scale_factor": SCALE},
        request.options.missing_value,
        request.dry,
    )


def is_meteonet(path: Path) -> bool:
    """Return whether a zip has the members of a MeteoNet file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {DATA, DATES} <= set(archive.namelist())
    except _BROKEN:
        return False


def _stream(path: Path) -> Stream:
    """Return the frames of a file, kept open for the next read.

    A forked process must not share the file position of its parent, so it opens its own.
    """
    version = FileVersion.of(path)
    key = str(path), version, os.getpid()
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            _kept.popitem(last=False)[1][1].close()
        with ExitStack() as opened:
            stream = _open(path, opened)
            _verify(path, version)
            _kept[key] = stream, opened.pop_all()
    _kept.move_to_end(key)
    return _kept[key][0]


def _open(path: Path, opened: ExitStack) -> Stream:
    archive = opened.enter_context(zipfile.ZipFile(path))
    content = opened.enter_context(archive.open(DATA))
    shape, dtype = _header(content, path)
    if len(shape) != 3 or 0 in shape or dtype.kind not in "iu":
        raise DataError(
            f"{path}: its data are {dtype} of shape {shape}; MeteoNet's are integers over time, y"
            " and x."
        )
    refuse_huge(shape, f"{path}: data")
    there, needed = (
        archive.getinfo(DATA).file_size,
        content.tell() + int(np.prod(shape)) * dtype.itemsize,
    )
    if there != needed:
        raise DataError(
            f"{path}: its data have {there} bytes, but their shape {shape} needs {needed}; check"
            " where it came from."
        )
    if there > _MOST_BYTES:
        raise DataError(
            f"{path}: its data unpack to more than {_MOST_BYTES // 2**30} GiB; check where it came"
            " from."
        )
    return Stream(content, content.tell(), shape, dtype)


@lru_cache(maxsize=256)
def _verify(path: Path, version: FileVersion) -> None:
    """Read all data once, block by block, to verify their checksum.

    Errors: zipfile.BadZipFile if it differs, since frames would be wrong.
    """
    with zipfile.ZipFile(path) as archive, archive.open(DATA) as content:
        while content.read(_BLOCK):
            pass


def _header(content: IO[bytes], path: Path) -> tuple[Any, np.dtype[Any]]:
    """Read shape and type of an array from the header of a NumPy .npy.

    Errors: DataError; ValueError if it is not an array.
    """
    version = np.lib.format.read_magic(content)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"a NumPy array in version {version}")
    shape, columns_first, dtype = read_header(content)
    if columns_first and len(shape) > 1:
        raise DataError(
            f"{path}: its array is stored columns first; write it again with"
            " numpy.ascontiguousarray."
        )
    return shape, dtype


def _times(archive: zipfile.ZipFile, count: int, path: Path) -> Times:
    """Return the times of `count` frames. Errors: DataError, ValueError."""
    if archive.getinfo(DATES).file_size > _DATES_BYTES:
        raise DataError(
            f"{path}: its dates unpack to more than {_DATES_BYTES // 2**20} MiB; check where it"
            " came from."
        )
    with archive.open(DATES) as content:
        shape, dtype = _header(content, path)
        stored = content.read()
    if shape != (count,):
        raise DataError(
            f"{path}: has {count} frames, but dates of shape {shape}; nowcast needs one per frame."
        )
    if dtype.kind == "M":
        return np.frombuffer(stored, dtype).astype("datetime64[ns]")
    found = list(_dates(stored)) if dtype.kind == "O" else []
    if len(found) != count:
        raise DataError(
            f"{path}: its dates are not {count} Python datetimes; write them as NumPy datetime64."
        )
    return np.array(found, dtype="datetime64[ns]")


def _dates(stored: bytes) -> Iterator[np.datetime64]:
    """Yield the dates of a pickled array in order, from the opcodes of the pickle, without
    executing them.

    A date is pickled as ten bytes: two for the year, then month, day, hour, minute, second, and
    three for the microsecond.
    Errors: ValueError if the pickle names anything other than dates and their array.
    """
    for code, argument, _ in genops(stored):
        said = argument if isinstance(argument, str) else ""
        content = said.encode("latin-1") if said and code.name.endswith("UNICODE") else argument
        if isinstance(content, bytes) and len(content) == 10:
            year, (month, day, hour, minute, second), micro = (
                int.from_bytes(content[:2]),
                content[2:7],
                int.from_bytes(content[7:]),
            )
            yield instant(datetime(year, month, day, hour, minute, second, micro))
        elif not set(said.split(" ")) <= _WORDS:
            raise ValueError(
                f"its dates are pickled with {said!r}, which nowcast does not read; write them as"
                " NumPy datetime64"
            )


@lru_cache(maxsize=2)
def _place(shape: tuple[int, int]) -> Place:
    """Return pixel centres, rows from north to south."""
    north, west = GRIDS[shape]
    y = np.round(north - _PIXEL * np.arange(shape[0]), 3)
    return {
        "x": axis_in_degrees("x", np.round(west + _PIXEL * np.arange(shape[1]), 3)),
        "y": axis_in_degrees("y", y),
    }


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: this .npz cannot be read ({error or type(error).__name__}); check where it"
            " came from."
        ) from error
    except _BROKEN as error:
        raise explain(path, error) from error
