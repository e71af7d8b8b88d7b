"""GRIB edition 2, gzipped or not: rain rates, sums and reflectivity of MRMS and weather centres,
with one message per frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nowcast.errors import DataError
from nowcast.files import FileVersion
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.readers.grib_message import (
    BITMAPPED,
    OpenMessage,
    only_reader,
    open_bytes,
)
from nowcast.radar.reading.readers.grib_parameters import Parameter
from nowcast.radar.reading.storage import Values, explain, missing_numbers
from nowcast.radar.reading.units import ANOTHER_VARIABLE, choose_minutes, choose_units, quantity_of


@dataclass(frozen=True)
class Message:
    """One message: its bytes in the file, parameter, end time, and grid (a digest)."""

    start: int
    stop: int
    parameter: Parameter
    time: np.datetime64
    grid: str

    def open(self, path: Path) -> OpenMessage:
        return OpenMessage(path, self.start, self.stop)


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, MissingLibraryError, or DataError naming the file and what to do.
    """
    messages = _rain(_messages(path), options, path)
    if len({message.grid for message in messages}) > 1:
        raise DataError(
            f"{path}: its messages are on different grids; split it into files of one grid."
        )
    units, minutes = _units(messages, options, path)
    with only_reader, messages[0].open(path) as handle:
        shape, place = handle.shape(), handle.place()
        attrs = {
            "institution": handle.text("centreDescription"),
            "title": messages[0].parameter.title,
        }
    layout = Layout(messages[0].parameter.name, shape, units, minutes)
    return RadarFile(
        path, "grib", layout, np.array([message.time for message in messages]), place, attrs
    )


def read(request: ReadRequest) -> Values:
    """Read frames in the units of the file: float64 (time, y, x), NaN = missing.

    Messages are unpacked completely. Errors: see describe.
    """
    file, options = request.file, request.options
    messages = _rain(_messages(file.path), options, file.path)[request.frames]
    height, width = (
        len(range(size)[part])
        for size, part in zip(file.layout.shape, request.box[1:], strict=True)
    )
    values = np.empty((len(messages), height, width))
    for frame, message in zip(values, messages, strict=True):
        with only_reader, message.open(file.path) as handle:
            if handle.shape() != file.layout.shape:
                raise DataError(f"{file.path}: has changed since it was opened; open it again.")
            frame[:] = handle.values()[request.box[1:]]
        numbers, dry = request.dry
        at_dry = np.isin(frame, [*message.parameter.dry, *numbers])
        for number in missing_numbers(BITMAPPED, message.parameter.missing, options.missing_value):
            frame[frame == number] = np.nan
        frame[at_dry] = dry
    return values


def _rain(messages: tuple[Message, ...], options: ReadOptions, path: Path) -> list[Message]:
    """Return the messages with rain: those asked for, else those known as rain, else all if
    data.units is set.
    """
    known = {message.parameter.name: message.parameter for message in messages}
    names = [name for name, parameter in known.items() if parameter.is_rain] or (
        list(known) if options.units else []
    )
    if options.variable is not None:
        names = [name for name in known if name == options.variable]
    listed = ", ".join(f"{name} [{parameter.units}]" for name, parameter in known.items())
    if not names:
        missing = "known rain parameter" if options.variable is None else f"{options.variable!r}"
        raise DataError(
            f"{path}: has no {missing} (it has: {listed}); set data.variable to the rain, and"
            " data.units."
        )
    if len(names) > 1:
        raise DataError(
            f"{path}: several variables may be the rain: {listed}; choose one with data.variable."
        )
    return [message for message in messages if message.parameter.name == names[0]]


def _units(messages: list[Message], options: ReadOptions, path: Path) -> tuple[str, float | None]:
    """Return (units, minutes of accumulation or None) of the message, else of the options;
    data.units overrides the message.
    """
    parameter = messages[0].parameter
    what = f"{path}: {parameter.name!r}"
    units = choose_units(options.units, parameter.units, what, ANOTHER_VARIABLE)
    if quantity_of(units) != "amount":
        return units, None
    spans = sorted({message.parameter.minutes or 0.0 for message in messages})
    if len(spans) > 1:
        raise DataError(
            f"{path}: its frames are sums over {spans[0]:g} to {spans[-1]:g} minutes; nowcast needs"
            " a single length."
        )
    return units, choose_minutes(options.accumulation_minutes, spans[0], units, f"{what} is")


def _messages(path: Path) -> tuple[Message, ...]:
    try:
        version = FileVersion.of(path)
    except OSError as error:
        raise explain(path, error) from error
    return _catalogue(path, version)


@lru_cache(maxsize=256)
def _catalogue(path: Path, version: FileVersion) -> tuple[Message, ...]:
    """Return all messages of this version of a file."""
    with open_bytes(path) as file:
        spans = list(_spans(file, path))
    messages = []
    for start, stop in spans:
        with only_reader, OpenMessage(path, start, stop) as handle:
            messages.append(
                Message(start, stop, handle.parameter(), handle.time(), handle.text("md5Section3"))
            )
    if not messages:
        raise explain(path, DataError("it has no messages"))
    return tuple(messages)


def _spans(file: BinaryIO, path: Path) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each message, from 'GRIB' to '7777'."""
    start, size = 0, file.seek(0, 2)
    file.seek(0)
    while head := file.read(16):
        if head[:4] == b"GRIB" and head[7:8] == b"\1":
            raise DataError(
                f"{path}: GRIB of edition 1; nowcast reads edition 2: convert it (grib_set -s"
                " edition=2)."
            )
        stop = start + int.from_bytes(head[8:16])
        if head[:4] == b"GRIB" and stop > size:
            raise DataError(
                f"{path}: this GRIB file is truncated, or still being written: its message at byte"
                f" {start} should have {stop - start} bytes, but only {size - start} follow;"
                " compare it with its source."
            )
        file.seek(stop - 4 if start + 16 < stop <= size else start)
        if head[:4] != b"GRIB" or file.read(4) != b"7777":
            raise DataError(
                f"{path}: cannot be read at byte {start}: no complete GRIB message starts there;"
                " check it with grib_ls."
            )
        yield start, stop
        start = stop
