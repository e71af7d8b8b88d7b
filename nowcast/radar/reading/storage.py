"""Read stored values: a cache of open NetCDF files, exact unpacking, and clear errors."""

import gzip
import io
import math
import os
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import netCDF4
import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError, MissingInputError, MissingLibraryError, NowcastError
from nowcast.files import FileVersion, fault_of_machine
from nowcast.radar.finding.archives import archive_in_words
from nowcast.untrusted.addresses import is_address
from nowcast.untrusted.files import (
    refuse_huge,
    refuse_irregular,
    refuse_unpacking,
    refuse_unsound,
    refuse_unsound_content,
)
from nowcast.untrusted.isolation import if_running
from nowcast.version import install_command

Values = npt.NDArray[np.float64]
Numbers = float | Sequence[float] | None
Dry = tuple[Sequence[float], float]
"""Stored numbers that mean dry, and the dry value in the units of the values: 0, or -inf dBZ."""

MAX_OPEN = 4  # files that a process keeps open
# bytes of unpacked chunks cached per file, so that neighbouring frames are not unpacked again
_CHUNK_CACHE = 64 * 2**20
_BLOCK = 32 * 2**20  # bytes unpacked at a time
_GZIP = b"\x1f\x8b"
_DRY = re.compile(
    r"(^|_)(dry|no_?rain|no_?precip\w*|no_?echo|undetect\w*|below\w*)($|_)", re.IGNORECASE
)
# File types by their first bytes.
_KINDS = {
    b"\x89HDF": "NetCDF or HDF5 file", b"CDF": "NetCDF or HDF5 file", b"GRIB": "GRIB file",
    b"II*\0": "GeoTIFF", b"MM\0*": "GeoTIFF", b"II+\0": "GeoTIFF", b"MM\0+": "GeoTIFF",
}  # fmt: skip


class _Handles:
    """A cache of the open files read last.

    Only one reader at a time, since the NetCDF library is not thread-safe.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.files: OrderedDict[tuple[str, FileVersion], netCDF4.Dataset] = OrderedDict()

    def get(self, path: Path, variable: str) -> netCDF4.Dataset:
        key = str(path), FileVersion.of(path)
        if key not in self.files:
            while len(self.files) >= MAX_OPEN:
                self.files.popitem(last=False)[1].close()
            self.files[key] = open_netcdf(path)
            _size_chunk_cache(self.files[key][variable])
        self.files.move_to_end(key)
        return self.files[key]

    def close(self, paths: set[str]) -> None:
        with self.lock:
            for key in [key for key in self.files if key[0] in paths]:
                self.files.pop(key).close()


_handles = _Handles()
# a forked process must neither use nor close the files of its parent
_of_the_parent: list[_Handles] = []


def _start_afresh() -> None:
    global _handles
    _of_the_parent.append(_handles)
    _handles = _Handles()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


@contextmanager
def only_reader() -> Iterator[None]:
    """Within this block no other thread of ours calls the NetCDF library."""
    with _handles.lock:
        yield


def close_files(paths: set[str]) -> None:
    """Close these files if they are open; a later read opens them again."""
    if_running(_close_files, paths)
    _close_files(paths)


def _close_files(paths: set[str]) -> None:
    _handles.close(paths)


def read_values(
    path: Path,
    variable: str,
    index: dict[str, slice],
    missing_value: Numbers = None,
    dry: Dry = ((), 0.0),
) -> Values:
    """Read `variable` at `index` (dimension → slice; other dimensions: first entry) → float64 with
    dimensions in the order of `index`.

    A dimension that the variable lacks gets size 1. NaN replaces declared fill values, values
    outside the valid range, and the stored numbers `missing_value`; `dry` gives the numbers that
    mean dry. Values are unpacked in double precision, so 10 × 0.01 × 12 is 1.2.
    Errors: MissingInputError if the file no longer exists, DataError if it is damaged.
    """
    try:
        with _handles.lock:
            stored = _handles.get(path, variable)[variable]
            stored.set_auto_maskandscale(False)
            key = tuple(index.get(name, 0) for name in stored.dimensions)
            raw = np.asarray(stored[key])
            attrs = {name: stored.getncattr(name) for name in stored.ncattrs()}
            missing_value = missing_numbers(missing_value, unwritten(raw, attrs))
            kept = [name for name in stored.dimensions if name in index]
    except (OSError, RuntimeError, IndexError, KeyError, MemoryError) as error:
        raise explain(path, error) from error
    there = [name for name in index if name in kept]
    raw = raw.transpose([kept.index(name) for name in there])
    raw = raw.reshape([raw.shape[there.index(name)] if name in there else 1 for name in index])
    return unpack(raw, attrs, missing_value, dry)


def unpack(
    raw: npt.NDArray[Any],
    attrs: Mapping[str, Any],
    missing_value: Numbers = None,
    dry: Dry = ((), 0.0),
) -> Values:
    """Stored values → float64, following `_FillValue`, `missing_value`, `valid_*`, `scale_factor`,
    `add_offset`, `flag_values` and `_Unsigned`.

    In CF and the NetCDF Users' Guide these attributes are stored numbers, except limits of a type
    wider than the packed one (such as floats for packed integers), which are unpacked. A flag that
    means dry becomes dry, any other flag missing. The user's numbers have priority over the file: a
    number in `dry` is dry even if the file declares it missing.
    """
    raw = _as_meant(raw, str(attrs.get("_Unsigned", "")).lower())
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = raw.astype(np.float64)
    scale, offset = packing_of(attrs)
    packed = "scale_factor" in attrs or "add_offset" in attrs
    unpacked_values = values * scale + offset if scale != 1.0 or offset != 0.0 else values
    half = abs(scale) / 2 if raw.dtype.kind in "iu" else 0.0
    missing = np.isnan(values)
    for fill in [
        *_like(raw, attrs.get("_FillValue")),
        *_like(raw, attrs.get("missing_value")),
        *_like(raw, missing_value),
    ]:
        missing |= values == fill
    for fill in _beyond(raw, attrs.get("missing_value")) if packed else []:
        missing |= np.abs(unpacked_values - fill) <= half
    missing |= _out_of_limits(raw, values, unpacked_values if packed else None, attrs, half)
    flagged_dry, flagged = _flags(raw, attrs)
    at_dry = [np.isin(values, flagged_dry)] if flagged_dry else []
    at_dry += [
        np.isnan(values) if math.isnan(number) else values == number
        for number in _like(raw, list(dry[0]))
    ]
    missing = missing | np.isin(values, flagged) if flagged else missing
    unpacked_values[missing] = np.nan
    for at in at_dry:
        unpacked_values[at] = dry[1]
    return unpacked_values


def _out_of_limits(
    raw: npt.NDArray[Any],
    values: Values,
    unpacked_values: Values | None,
    attrs: Mapping[str, Any],
    half: float,
) -> npt.NDArray[np.bool_]:
    """Return where stored numbers are outside the limits in `attrs`. Limits of a wider type apply
    to unpacked numbers, with a tolerance of half a step.
    """
    out = np.zeros(raw.shape, dtype=bool)
    for name, limit in attrs.items():
        if np.size(limit) != {"valid_min": 1, "valid_max": 1, "valid_range": 2}.get(name):
            continue
        numbers, of, slack = _like(raw, limit), values, 0.0
        if unpacked_values is not None and _is_wider(raw.dtype, limit):
            numbers, of, slack = [float(one) for one in np.ravel(limit)], unpacked_values, half
        for low in numbers[:1] if name != "valid_max" else []:
            out |= of < low - slack
        for high in numbers[-1:] if name != "valid_min" else []:
            out |= of > high + slack
    return out


def plain_values(raw: npt.NDArray[Any], attrs: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return the values of a coordinate: as stored if no attribute packs or masks them, else as
    from unpack, ignoring limits.
    """
    kept = {
        name: attrs[name]
        for name in ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
        if name in attrs
    }
    return unpack(raw, kept) if kept and raw.dtype.kind in "iuf" else raw


def unsigned_where_meant(raw: npt.NDArray[Any], *flags: float | None) -> npt.NDArray[Any]:
    """Reinterpret signed numbers as unsigned if a flag shows that they are meant to be: for example
    255 for bytes, which is out of range for signed bytes.

    For wider types only their two largest unsigned numbers show this, such as 65535. Other flags
    out of range never occur and show nothing; nor does any flag if another one is negative.
    """
    if raw.dtype.kind != "i":
        return raw
    width = 2.0 ** (8 * raw.dtype.itemsize)
    least = width / 2 if raw.dtype.itemsize == 1 else width - 2
    held = [
        flag
        for flag in flags
        if flag is not None and -width / 2 <= flag < width and flag == int(flag)
    ]
    if not held or min(held) < 0 or max(held) < least:
        return raw
    return raw.astype(raw.dtype.newbyteorder("=")).view(f"u{raw.dtype.itemsize}")


def undetected(undetect: float | None, *missing: Numbers) -> list[float]:
    """Return the flag for pixels without detected rain, which are dry; [] if it is also a flag for
    missing.
    """
    if undetect is None or any(
        number == undetect or np.isnan([number, undetect]).all()
        for number in missing_numbers(*missing)
    ):
        return []
    return [undetect]


def packing_of(attrs: Mapping[str, Any]) -> tuple[float, float]:
    """Return (scale, offset) of a variable; single-precision 0.01 becomes 0.01, not 0.00999999977.

    Errors: ValueError if they are not single numbers.
    """
    scale, offset = (
        np.ravel(attrs.get(name, least))
        for name, least in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if scale.size != 1 or offset.size != 1:
        raise ValueError("scale_factor and add_offset must be single numbers")
    return float(str(scale[0])), float(str(offset[0]))


def missing_numbers(*several: Numbers) -> list[float]:
    """Join arguments that may be None, a number or several numbers to one list."""
    return [
        float(number)
        for numbers in several
        if numbers is not None
        for number in np.atleast_1d(numbers)
    ]


def library(name: str, extra: str, path: str | Path) -> ModuleType:
    """Import an optional library. Errors: MissingLibraryError naming the extra to install."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: reading it needs {name}: {install_command(extra)}."
        ) from error


def unpacked(path: Path, count: int = -1) -> bytes:
    """Return the first `count` bytes of a file (-1: all of them), unpacked if it is gzipped.

    Errors: MissingInputError, DataError.
    """
    refuse_irregular(path)
    try:
        with open(path, "rb") as file:
            if file.read(2) == _GZIP:
                with gzip.open(path) as inside:
                    return inside.read(count) if count >= 0 else _all_of(inside, path)
            file.seek(0)
            return file.read(count)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise explain(path, error) from error


def _all_of(inside: gzip.GzipFile, path: Path) -> bytes:
    """Return the whole content. Errors: DataError if it is larger than any radar file."""
    content = io.BytesIO()
    while part := inside.read(_BLOCK):
        refuse_unpacking(content.tell() + len(part), str(path))
        content.write(part)
    return content.getvalue()


def kept_unpacked(path: Path) -> bytes:
    """Return the content of a gzipped file, cached until the file changes or another is read.

    Errors: OSError, MissingInputError, DataError.
    """
    return _kept_unpacked(path, FileVersion.of(path))


@lru_cache(maxsize=1)
def _kept_unpacked(path: Path, version: FileVersion) -> bytes:
    return unpacked(path)


def open_netcdf(path: Path) -> netCDF4.Dataset:
    """Open a NetCDF file, unpacked in memory if it is gzipped, after checking that it does not
    refer to other files.

    Errors: OSError, RuntimeError, DataError, MissingInputError, MissingLibraryError.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        gzipped = file.read(2) == _GZIP
    if gzipped:
        content = unpacked(path)
        refuse_unsound_content(content, path)
        opened = netCDF4.Dataset(path.name, memory=content)
    else:
        refuse_unsound(path)
        # a relative path could be taken for an address
        opened = netCDF4.Dataset(path.absolute())
    _refuse_huge(opened, path)
    return opened


def _refuse_huge(group: "netCDF4.Dataset | netCDF4.Group", path: Path) -> None:
    """Errors: DataError if a variable of this group, or a group inside it, is too large for radar
    data.
    """
    for name, variable in group.variables.items():
        refuse_huge(variable.shape, f"{path}: {name}")
    for inner in group.groups.values():
        _refuse_huge(inner, path)


def frames_a_block(height: int, width: int) -> int:
    """Return the number of frames to unpack at a time, so that reading needs little memory besides
    its result.
    """
    return max(1, _BLOCK // (height * width * 8))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within this block, any exception of a library becomes an error about the file.

    Errors: see explain.
    """
    try:
        yield
    except NowcastError:
        raise
    except Exception as error:
        raise explain(path, error) from error


def explain(path: Path, error: Exception) -> NowcastError:
    """Return the error to raise if `path` cannot be read: what was found there instead of a good
    file, and what to do.

    It is a DataError or MissingInputError, or an InputOutputError if the machine is at fault and
    not the file. For addresses see `explain_remote`.
    """
    if is_address(path):
        from nowcast.radar.remote.servers import explain_remote

        return explain_remote(str(path), error)
    if isinstance(error, PermissionError):
        return MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        )
    fault = fault_of_machine(path, error)
    if fault is not None:
        return fault
    if isinstance(error, MemoryError):
        return DataError(
            f"{path}: needs more memory than is allowed for one file; it is damaged, or too large:"
            " check where it comes from."
        )
    if path.is_dir():
        return DataError(
            f"{path}: this folder is not a Zarr store, or a damaged one ({first_line(error)});"
            " check the path."
        )
    if isinstance(error, FileNotFoundError) or not path.exists():
        return MissingInputError(f"{path}: no such file (or removed meanwhile); check the path.")
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as denied:
        return MissingInputError(
            f"{path}: cannot be read ({denied.strerror}); check its permissions."
        )
    return _explain_content(path, start, error)


def _explain_content(path: Path, start: bytes, error: Exception) -> DataError:
    """start: the first bytes of the file."""
    if not start:
        return DataError(f"{path}: this file is empty; perhaps it is still being written.")
    if start.lstrip()[:1] == b"<":
        return DataError(
            f"{path}: this is a web page or XML, not radar data; check its content, the download"
            " may have failed."
        )
    kind = next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)
    if kind is not None:
        return DataError(
            f"{path}: this {kind} is truncated or damaged ({first_line(error)}); compare it with"
            " its source."
        )
    if start.startswith(_GZIP):
        return DataError(
            f"{path}: this gzipped file is truncated, damaged or of unknown format"
            f" ({first_line(error)}); compare it with its source."
        )
    archive = archive_in_words(path, start)
    if archive:
        return DataError(f"{path}: this is {archive}.")
    return DataError(
        f"{path}: not a radar file that nowcast recognizes ({first_line(error)}); set data.format"
        " if it is one."
    )


def wrong_size(path: Path, there: int, height: int, width: int, each: int) -> DataError:
    """Return the error for a file whose `there` bytes of pixels are too few or too many for
    `height` x `width` pixels of `each` bytes.
    """
    needed = height * width * each
    if there < needed:
        return DataError(
            f"{path}: truncated, or still being written: {there} bytes of pixels, but {height} x"
            f" {width} pixels need {needed}; compare it with its source."
        )
    return DataError(
        f"{path}: has more than the {needed} bytes for the {height} x {width} pixels stated in its"
        " header; compare it with its source."
    )


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _like(raw: npt.NDArray[Any], limits: Any) -> list[float]:
    """Return fill values or limits comparable with `raw`: in its precision, and with its sign if it
    was reinterpreted.
    """
    if limits is None or np.asarray(limits).dtype.kind not in "iuf":
        return []
    numbers = [float(limit) for limit in np.ravel(limits)]
    # a double out of range for single precision never occurs; infinity stays infinity
    if raw.dtype.kind == "f":
        held = [
            number
            for number in numbers
            if math.isinf(number) or not abs(number) > float(np.finfo(raw.dtype).max)
        ]
        return [float(raw.dtype.type(number)) for number in held]
    wrap = 2.0 ** (8 * raw.dtype.itemsize)
    if raw.dtype.kind == "u":
        return [number + wrap if number < 0 else number for number in numbers]
    turned = np.asarray(limits).dtype == np.dtype(f"u{raw.dtype.itemsize}")
    return [number - wrap if turned and number >= wrap / 2 else number for number in numbers]


def _as_meant(raw: npt.NDArray[Any], unsigned: str) -> npt.NDArray[Any]:
    """Reinterpret signed integers as unsigned if `_Unsigned` is true, and unsigned ones as
    signed if it is false.
    """
    wanted = {"true": "u", "false": "i"}.get(unsigned)
    if wanted is None or raw.dtype.kind not in "iu" or raw.dtype.kind == wanted:
        return raw
    return raw.astype(raw.dtype.newbyteorder("=")).view(f"{wanted}{raw.dtype.itemsize}")


def _is_wider(stored: np.dtype[Any], limit: Any) -> bool:
    """Return whether the type of a limit is that of unpacked values, not of stored ones."""
    dtype = np.asarray(limit).dtype
    return dtype.kind == "f" and (stored.kind in "iu" or dtype.itemsize > stored.itemsize)


def _beyond(raw: npt.NDArray[Any], numbers: Any) -> list[float]:
    """Return the numbers that the integer type of `raw` cannot hold, such as -99.9 for int16."""
    if numbers is None or raw.dtype.kind not in "iu" or np.asarray(numbers).dtype.kind != "f":
        return []
    limits = np.iinfo(raw.dtype)
    return [
        one
        for one in map(float, np.ravel(numbers))
        if np.isfinite(one) and not (one.is_integer() and limits.min <= one <= limits.max)
    ]


def _flags(raw: npt.NDArray[Any], attrs: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return stored numbers that are flags, not measurements: those that mean dry according to
    `flag_meanings`, and the others.
    """
    values = _like(raw, attrs.get("flag_values"))
    said = attrs.get("flag_meanings", "")
    meanings = said.replace(",", " ").split() if isinstance(said, str) else []
    dry = [value for value, meaning in zip(values, meanings, strict=False) if _DRY.search(meaning)]
    return dry, [value for value in values if value not in dry]


def unwritten(raw: npt.NDArray[Any], attrs: Mapping[str, Any]) -> float | None:
    """Return the NetCDF default fill value for unwritten data of a variable that declares none;
    None for bytes.
    """
    if "_FillValue" in attrs or "_Unsigned" in attrs or raw.dtype.itemsize < 2:
        return None
    return float(netCDF4.default_fillvals[raw.dtype.str[1:]])


def _size_chunk_cache(variable: "netCDF4.Variable[Any]") -> None:
    """Make room for one row of chunks, so that they are still unpacked for the next frame."""
    chunks = variable.chunking()
    if chunks is None or isinstance(chunks, str):
        return
    sizes = [
        -(-length // chunk) * chunk
        for length, chunk in zip(variable.shape[1:], chunks[1:], strict=True)
    ]
    wanted = math.prod([chunks[0], *sizes]) * variable.dtype.itemsize + 2**20
    variable.set_var_chunk_cache(size=min(wanted, _CHUNK_CACHE))
