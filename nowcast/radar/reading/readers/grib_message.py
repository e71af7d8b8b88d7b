"""One GRIB message, opened with ecCodes: its parameter, time, grid and values."""

import io
import threading
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyproj  # before eccodes, or the two can abort the process at exit

from nowcast.errors import DataError, MissingLibraryError
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import (
    Place,
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_proj,
)
from nowcast.radar.reading.readers.grib_parameters import Parameter, parameter_of
from nowcast.radar.reading.storage import Values, explain, kept_unpacked, library
from nowcast.radar.times import instant
from nowcast.untrusted.files import refuse_huge
from nowcast.version import install_command

BITMAPPED = -1e30  # value for pixels that the bitmap of a message marks as missing
_GRIDS = ("regular_ll", "polar_stereographic", "lambert")
only_reader = threading.Lock()  # ecCodes, as built for its wheel, is not thread-safe


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes, unpacked if it is gzipped.

    Errors: MissingInputError, DataError.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return io.BytesIO(kept_unpacked(path)) if packed else open(path, "rb")
    except OSError as error:
        raise explain(path, error) from error


class OpenMessage:
    """Bytes `start` to `stop` of a file, opened with ecCodes.

    Errors: DataError if they are damaged or of a kind that nowcast does not read.
    """

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self.path, self.start, self.stop = path, start, stop
        self.codes = _eccodes(path)

    def __enter__(self) -> "OpenMessage":
        with open_bytes(self.path) as file:
            file.seek(self.start)
            content = file.read(self.stop - self.start)
        _check_sections(content, self.path)
        try:
            self.id = self.codes.codes_new_from_message(content)
        except self.codes.CodesInternalError as error:
            raise self._damaged(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.codes.codes_release(self.id)

    def number(self, key: str, kind: type = int) -> Any:
        try:
            return self.codes.codes_get(self.id, key, kind)
        except self.codes.CodesInternalError as error:
            raise self._damaged(f"no {key!r}: {error}") from error

    def text(self, key: str) -> str:
        return str(self.number(key, str))

    def parameter(self) -> Parameter:
        """Return what is measured, and the minutes of accumulation."""
        number = tuple(
            self.number(key) for key in ("discipline", "parameterCategory", "parameterNumber")
        )
        start, end = self._steps()
        return parameter_of(
            number,
            self.text("shortName"),
            self.text("units"),
            self.text("name"),
            (end - start) / 60,
        )

    def time(self) -> np.datetime64:
        """Return the end of the time range of the message, in UTC."""
        parts = [self.number(key) for key in ("year", "month", "day", "hour", "minute", "second")]
        try:
            reference = instant(datetime(*parts))
        except (ValueError, OverflowError) as error:
            raise self._damaged(error) from error
        return np.datetime64(reference + np.timedelta64(self._steps()[1], "s"))

    def _steps(self) -> tuple[int, int]:
        """Return the seconds from the reference time to (start, end) of the time range."""
        try:
            self.codes.codes_set(self.id, "stepUnits", "s")
        except self.codes.CodesInternalError as error:
            raise self._damaged(error) from error
        return self.number("startStep"), self.number("endStep")

    def shape(self) -> tuple[int, int]:
        """Return (rows, columns)."""
        form = self.text("gridType")
        if form not in _GRIDS:
            raise DataError(
                f"{self.path}: its grid is {form!r}; nowcast reads {', '.join(_GRIDS)}: convert it"
                " first, for example with cdo."
            )
        shape = self.number("Nj"), self.number("Ni")
        refuse_huge(shape, f"{self.path}: its grid")
        return shape

    def place(self) -> Place:
        """Return the centres of columns and rows, in the order of the message, and the mapping."""
        if self.text("gridType") == "regular_ll":
            text = f"+proj=longlat {self._earth()} +no_defs"
            x, y = self._degrees("longitude", "i", "Ni"), self._degrees("latitude", "j", "Nj")
            place = {"x": axis_in_degrees("x", x), "y": axis_in_degrees("y", y)}
        else:
            text = self.text("projTargetString")
            x, y = self._metres(text)
            place = {"x": axis_in_metres("x", x), "y": axis_in_metres("y", y)}
        crs = grid_mapping_from_proj(text, str(self.path))
        return place if crs is None else {**place, CRS: crs}

    def _earth(self) -> str:
        if not self.number("earthIsOblate"):
            return f"+R={self.number('radius', float):g}"
        a, b = (
            self.number("earthMajorAxisInMetres", float),
            self.number("earthMinorAxisInMetres", float),
        )
        return f"+a={a:.10g} +b={b:.10g}"

    def _degrees(self, what: str, axis: str, count: str) -> npt.NDArray[np.float64]:
        """Return longitudes (starting at -180 or above) or latitudes along an axis."""
        first, last = (
            self.number(f"{what}Of{end}GridPointInDegrees", float) for end in ("First", "Last")
        )
        size = self.number(count)
        step = self.number(f"{axis}DirectionIncrementInDegrees", float) * self._sign(axis)
        if not self.number(f"{axis}DirectionIncrementGiven"):
            step = (last - first) / max(size - 1, 1)
        off = first + step * (size - 1) - last
        off = (off + 180) % 360 - 180 if axis == "i" else off
        if abs(off) > abs(step) / 2:
            raise self._damaged(
                f"its {what}s from {first:g} to {last:g} do not fit {size} steps of {step:g}"
            )
        first = (first + 180) % 360 - 180 if axis == "i" else first
        return np.asarray(np.round(first + step * np.arange(size), 9), dtype=np.float64)

    def _metres(self, projection: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        first = [
            self.number(f"{what}OfFirstGridPointInDegrees", float)
            for what in ("longitude", "latitude")
        ]
        x, y = pyproj.Proj(projection)(*first)
        return (
            x + self._sign("i") * self.number("DxInMetres", float) * np.arange(self.number("Ni")),
            y + self._sign("j") * self.number("DyInMetres", float) * np.arange(self.number("Nj")),
        )

    def _sign(self, axis: str) -> int:
        forward = (
            self.number("jScansPositively") if axis == "j" else not self.number("iScansNegatively")
        )
        return 1 if forward else -1

    def values(self) -> Values:
        """Return values (rows, columns) in the order of the message."""
        rows, columns = self.shape()
        try:
            self.codes.codes_set(self.id, "missingValue", BITMAPPED)
            size = self.codes.codes_get_size(self.id, "values")
            if size != rows * columns:
                raise self._damaged(f"{size} values for {rows} x {columns} pixels")
            flat = self.codes.codes_get_values(self.id)
        except self.codes.CodesInternalError as error:
            raise self._damaged(error) from error
        by_column = self.number("jPointsAreConsecutive")
        lines = flat.reshape((columns, rows) if by_column else (rows, columns))
        if self.number("alternativeRowScanning"):
            lines[1::2] = lines[1::2, ::-1]
        return np.asarray(lines.T if by_column else lines, dtype=np.float64)

    def _damaged(self, why: object) -> DataError:
        return DataError(
            f"{self.path}: this GRIB file cannot be read ({why}); check it with grib_ls, or convert"
            " it."
        )


def _check_sections(content: bytes, path: Path) -> None:
    """Errors: DataError if the sections of a message do not fill it exactly, or it has more than
    one field.
    """
    at, number = 16, 0
    while content[at:] != b"7777":
        length, number = (
            int.from_bytes(content[at : at + 4]),
            content[at + 4] if at + 5 <= len(content) else 0,
        )
        if length < 5 or not 1 <= number <= 7 or at + length > len(content) - 4:
            raise DataError(
                f"{path}: this GRIB file cannot be read (a section is invalid); check it with"
                " grib_ls."
            )
        at += length
        if number == 7 and content[at:] != b"7777":
            raise DataError(
                f"{path}: holds several fields in one GRIB message; split them (grib_copy, or"
                " wgrib2 -submsg)."
            )


def _eccodes(path: Path) -> ModuleType:
    try:
        return library("eccodes", "grib", path)
    except RuntimeError as error:  # the Python package is installed, but not the library
        raise MissingLibraryError(
            f"{path}: reading it needs the ecCodes library: {install_command('grib')}."
        ) from error
