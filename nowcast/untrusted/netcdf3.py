"""The size in bytes that a NetCDF-3 file must have, from its header.

The netCDF library silently reads missing bytes as zeros.

Follows the "NetCDF Classic Format Specification" for CDF-1, CDF-2 (64-bit offsets) and CDF-5
(64-bit data).
"""

import math
import os
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"CDF"
# bytes of a value, by its type
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12


class DamagedHeaderError(Exception):
    """The header ends too early, or has an impossible value."""


@dataclass(frozen=True)
class _Variable:
    is_record: bool
    size: int  # bytes of one record, or of the whole variable
    begin: int


class _Header:
    """Reads a header from its start."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        file.seek(0)
        version = self.take(4)[3]
        if version not in (1, 2, 5):
            raise DamagedHeaderError(f"version {version}")
        self.count_bytes, self.offset_bytes = 8 if version == 5 else 4, 4 if version == 1 else 8

    def take(self, count: int) -> bytes:
        content = self.file.read(count) if count <= self.size else b""
        if len(content) < count:
            raise DamagedHeaderError("it ends within its header")
        return content

    def number(self, count: int = 4) -> int:
        return int.from_bytes(self.take(count))

    def count(self) -> int:
        return self.number(self.count_bytes)

    def skip(self, count: int) -> None:
        self.take(-(-count // 4) * 4)

    def list_of(self, tag: int) -> range:
        """Return the items of a list that has this tag or is absent."""
        found, count = self.number(), self.count()
        if found not in (tag, 0) or (not found and count):
            raise DamagedHeaderError(f"a list of kind {found}")
        return range(count)

    def attributes(self) -> None:
        for _ in self.list_of(_ATTRIBUTES):
            self.skip(self.count())
            kind = self.number()
            self.skip(self.count() * _size_of(kind))

    def variable(self, dimensions: list[int]) -> _Variable:
        self.skip(self.count())
        numbers = [self.count() for _ in range(self.count())]
        if any(number >= len(dimensions) for number in numbers):
            raise DamagedHeaderError("a dimension that does not exist")
        self.attributes()
        kind = self.number()
        self.count()  # the stated size is capped for large variables
        shape = [dimensions[number] for number in numbers]
        is_record = bool(shape) and shape[0] == 0
        return _Variable(
            is_record, math.prod(shape[is_record:]) * _size_of(kind), self.number(self.offset_bytes)
        )


def bytes_needed(file: BinaryIO) -> int:
    """Return the number of bytes that a file needs for all data in its header.

    Errors: DamagedHeaderError.
    """
    header = _Header(file)
    records = header.count()
    dimensions = []
    for _ in header.list_of(_DIMENSIONS):
        header.skip(header.count())
        dimensions.append(header.count())
    header.attributes()
    variables = [header.variable(dimensions) for _ in header.list_of(_VARIABLES)]
    sizes = [variable.size for variable in variables if variable.is_record]
    record = sizes[0] if len(sizes) == 1 else sum(-(-size // 4) * 4 for size in sizes)
    if records == 2 ** (8 * header.count_bytes) - 1:  # records of unknown number, as in a stream
        records = 0
    ends = [file.tell()]
    for one in variables:
        if not one.is_record:
            ends.append(one.begin + one.size)
        elif records:
            ends.append(one.begin + (records - 1) * record + one.size)
    return max(ends)


def _size_of(kind: int) -> int:
    if kind not in _SIZES:
        raise DamagedHeaderError(f"a type {kind}")
    return _SIZES[kind]
