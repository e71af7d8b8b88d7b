"""Files that may come from anyone: what a file holds must lie within it, be whole, and be of a size
that memory holds.

HDF5, and with it NetCDF-4, can fetch data from elsewhere: links to other files, data in other
files, data sets put together of those of other files. Both libraries follow such a path without a
word, wherever it leads.
"""

import io
import logging
import math
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from nowcast import startup
from nowcast.errors import DataError
from nowcast.files import FileVersion
from nowcast.untrusted import netcdf3

MAX_PIXELS = 2**26
"""The most numbers of one frame, or along one axis: 8192 × 8192 pixels, 512 MiB in double
precision.
"""
MAX_UNPACKED = 2**29
"""The most bytes that a compressed file or chunk may become in memory."""
MAX_DEPTH = 32
"""The most groups of an HDF5 file within one another."""

_SETTINGS_FILES = ("matplotlibrc", "pystepsrc")
_SETTINGS_PLACES = {"MATPLOTLIBRC", "MPLCONFIGDIR", "PYSTEPSRC"}

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\1\0\0\0"  # how a heap of texts of any length begins in HDF5
# bytes of a file up to which its heaps are looked for; the files that a service sends are smaller
_SEARCHED = 2**28
_OPENS = 4096  # files that are known to hold all that is theirs


@contextmanager
def importing_plainly() -> Iterator[None]:
    """Within the block, Matplotlib and pysteps are imported without the settings files that
    they look for in the working folder. Where Matplotlib keeps its cache is not logged.
    In a process that runs no command of nowcast the block changes nothing.
    """
    if not startup.is_ours:
        yield
        return
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not any(os.path.lexists(name) for name in _SETTINGS_FILES):
        yield
        return
    for key in _SETTINGS_PLACES & os.environ.keys():
        os.environ[key] = os.path.abspath(os.environ[key])
    with chdir(os.path.dirname(__file__)):  # a folder that holds no such file
        yield


def refuse_unsound(path: str | Path) -> None:
    """Look through a file that may be HDF5 or NetCDF, once until it changes.

    Errors: DataError if it is no file, is cut short, has data in another file, or data of a size
    that no radar has; OSError if it is damaged.
    """
    refuse_irregular(path)
    _refuse_unsound(os.path.abspath(path), str(path), FileVersion.of(path))


@lru_cache(maxsize=_OPENS)
def _refuse_unsound(path: str, name: str, version: FileVersion) -> None:
    with open(path, "rb") as file:
        _refuse_cut_short(file, name)
        if _is_hdf5(file):
            if version.size <= _SEARCHED:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    _refuse_endless(content, name)
            _look_through(path, name)


def refuse_unsound_content(content: bytes, path: str | Path) -> None:
    """The same of a file in memory; `path` is for messages."""
    file = io.BytesIO(content)
    _refuse_cut_short(file, path)
    if _is_hdf5(file):
        _refuse_endless(content, path)
        _look_through(file, path)


def refuse_irregular(path: str | Path) -> None:
    """Errors: DataError if something is at `path` that is neither a file nor a folder, so that
    opening it may wait without end.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever opens it says why it cannot be
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "a named pipe (FIFO)", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise DataError(f"{path}: is {kind}, not a file; write what comes from it into a file.")


def _refuse_cut_short(file: BinaryIO, path: str | Path) -> None:
    """Errors: DataError if a NetCDF-3 file has fewer bytes than its header tells of."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(netcdf3.MAGIC)) != netcdf3.MAGIC:
        return
    try:
        needed = netcdf3.bytes_needed(file)
    except netcdf3.DamagedHeaderError as error:
        raise DataError(
            f"{path}: this NetCDF file is cut short or damaged ({error}); look at where it comes"
            " from."
        ) from error
    if needed > size:
        raise DataError(
            f"{path}: this NetCDF file is cut short, or still being copied: it has {size} bytes,"
            f" and by its header it needs {needed}."
        )


def refuse_huge(shape: Sequence[int], what: str) -> None:
    """Errors: DataError where one frame of this shape (…, y, x), or one axis, has more numbers
    than any radar measures.
    """
    if math.prod(shape[-2:]) > MAX_PIXELS:
        sizes = " x ".join(map(str, shape))
        raise DataError(
            f"{what} is of the size {sizes}, and nowcast reads no more than {MAX_PIXELS} numbers a"
            " frame; cut it first."
        )


def refuse_unpacking(size: float, what: str) -> None:
    """Errors: DataError where so many bytes would be unpacked at once."""
    if size > MAX_UNPACKED:
        raise DataError(
            f"{what} unpacks to more than {MAX_UNPACKED / 2**20:g} MiB at once, which nowcast does"
            " not do; look at where it comes from, or write it in smaller parts."
        )


def _is_hdf5(file: BinaryIO) -> bool:
    """Whether HDF5 would take it for its own: the mark stands at its start, or at byte 512,
    1024, 2048 …
    """
    size, at = file.seek(0, os.SEEK_END), 0
    while at < size:
        file.seek(at)
        if file.read(len(_HDF5)) == _HDF5:
            return True
        at = 2 * at or 512
    return False


def _refuse_endless(content: bytes | mmap.mmap, path: str | Path) -> None:
    """Errors: DataError where HDF5 would read for ever: it steps through a heap by the sizes of
    its objects, and a block of zeros within, as a write or a download that was cut short leaves
    it, is an object of no size.
    """
    # bytes of a size, by the superblock
    if len(content) < 15 or content[14 if content[8] < 2 else 10] != 8:
        return
    at = -1
    while (at := content.find(_HEAP, at + 1)) >= 0:
        end = min(at + int.from_bytes(content[at + 8 : at + 16], "little"), len(content))
        here = at + 16
        while here + 16 <= end:
            number, size = (
                int.from_bytes(content[here + k : here + k + n], "little")
                for k, n in ((0, 2), (8, 8))
            )
            if number == size == 0:
                raise DataError(
                    f"{path}: this HDF5 file is damaged at byte {here}, as a copy is that was"
                    " broken off."
                )
            here += size if number == 0 else 16 + -(-size // 8) * 8


def _look_through(source: str | BinaryIO, path: str | Path) -> None:
    import h5py

    away: list[str] = []
    try:
        with h5py.File(source, "r", locking=False) as root:
            for name, kind, node in _nodes(root.id, h5py, path):
                # a soft link stays within the file
                if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
                    away.append(name)
                if not isinstance(node, h5py.h5d.DatasetID):
                    continue
                stored = node.get_create_plist()
                if stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
                    away.append(name)
                elif stored.get_layout() == h5py.h5d.CHUNKED:
                    chunk = math.prod(stored.get_chunk()) * node.get_type().get_size()
                    refuse_unpacking(chunk, f"{path}: a chunk of {name}")
                refuse_huge(node.shape, f"{path}: {name}")
    except (RuntimeError, LookupError, ValueError, TypeError) as error:
        raise OSError(str(error)) from error
    if away:
        raise DataError(
            f"{path}: {', '.join(away)} is to be fetched from another file, and nowcast follows no"
            " path that a file names; copy all into one file first, as with nccopy."
        )


def _nodes(root: Any, h5py: Any, path: str | Path) -> Iterator[tuple[str, int, Any]]:
    """(name, kind of link, what it leads to) of every link of an HDF5 file; None for what a link
    that is no hard one leads to.

    Errors: DataError if groups lie deeper than MAX_DEPTH: the HDF5 library calls itself for each,
    until the stack is full.
    """
    seen, groups = set(), [("", root, 1)]
    while groups:
        above, group, depth = groups.pop()
        if depth > MAX_DEPTH:
            raise DataError(
                f"{path}: has more than {MAX_DEPTH} groups within one another, which no radar file"
                " has."
            )
        for name in group:
            called, kind = above + name.decode(errors="replace"), group.links.get_info(name).type
            if kind != h5py.h5l.TYPE_HARD:
                yield called, kind, None
                continue
            node = h5py.h5o.open(group, name)
            address = h5py.h5o.get_info(node).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(node, h5py.h5g.GroupID):
                groups.append((f"{called}/", node, depth + 1))
            yield called, kind, node
