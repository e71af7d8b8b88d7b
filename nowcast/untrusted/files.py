"""Checks of untrusted files: all data must be inside the file, complete, and fit into memory.

HDF5, and so NetCDF-4, can fetch data from other files: by links, external storage, or virtual data
sets. Both libraries follow such paths silently, wherever they lead.
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
"""Most values in one frame, or along one axis: 8192 × 8192 pixels, 512 MiB in double precision."""
MAX_UNPACKED = 2**29
"""Most bytes of a compressed file or chunk after decompression."""
MAX_DEPTH = 32
"""Deepest nesting of groups in an HDF5 file."""

_SETTINGS_FILES = ("matplotlibrc", "pystepsrc")
_SETTINGS_PLACES = {"MATPLOTLIBRC", "MPLCONFIGDIR", "PYSTEPSRC"}

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\1\0\0\0"  # start of an HDF5 heap of variable-length texts
# largest file in bytes that is searched for heaps; files from radar services are smaller
_SEARCHED = 2**28
_OPENS = 4096  # most checked files that are remembered


@contextmanager
def importing_plainly() -> Iterator[None]:
    """Import Matplotlib and pysteps, within the block, without settings files from the working
    folder, and without logging the place of Matplotlib's cache.

    In a process that runs no command of nowcast the block has no effect.
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
    with chdir(os.path.dirname(__file__)):  # a folder without such files
        yield


def refuse_unsound(path: str | Path) -> None:
    """Check a file that may be HDF5 or NetCDF; it is checked again only if it changes.

    Errors: DataError if it is not a regular file, is truncated, or has data in another file or
    larger than any radar's; OSError if it is damaged.
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
    """Check a file in memory as `refuse_unsound` does; `path` is for messages."""
    file = io.BytesIO(content)
    _refuse_cut_short(file, path)
    if _is_hdf5(file):
        _refuse_endless(content, path)
        _look_through(file, path)


def refuse_irregular(path: str | Path) -> None:
    """Errors: DataError if `path` is neither a file nor a folder; opening it could wait forever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # reported when it is opened
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "a named pipe (FIFO)", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise DataError(f"{path}: is {kind}, not a file; write its contents to a file.")


def _refuse_cut_short(file: BinaryIO, path: str | Path) -> None:
    """Errors: DataError if a NetCDF-3 file has fewer bytes than its header requires."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(netcdf3.MAGIC)) != netcdf3.MAGIC:
        return
    try:
        needed = netcdf3.bytes_needed(file)
    except netcdf3.DamagedHeaderError as error:
        raise DataError(
            f"{path}: this NetCDF file is truncated or damaged ({error}); check where it comes"
            " from."
        ) from error
    if needed > size:
        raise DataError(
            f"{path}: this NetCDF file is truncated, or still being copied: it has {size} bytes,"
            f" but its header requires {needed}."
        )


def refuse_huge(shape: Sequence[int], what: str) -> None:
    """Errors: DataError if one frame of this shape (…, y, x), or one axis, has more values than any
    radar measures.
    """
    if math.prod(shape[-2:]) > MAX_PIXELS:
        sizes = " x ".join(map(str, shape))
        raise DataError(
            f"{what} has the size {sizes}, but nowcast reads at most {MAX_PIXELS} values in a"
            " frame; crop it first."
        )


def refuse_unpacking(size: float, what: str) -> None:
    """Errors: DataError if too many bytes would be decompressed at once."""
    if size > MAX_UNPACKED:
        raise DataError(
            f"{what} would decompress to more than {MAX_UNPACKED / 2**20:g} MiB at once, which"
            " nowcast refuses; check its origin, or write it in smaller parts."
        )


def _is_hdf5(file: BinaryIO) -> bool:
    """Return whether the HDF5 signature is at the start, or at byte 512, 1024, 2048 …"""
    size, at = file.seek(0, os.SEEK_END), 0
    while at < size:
        file.seek(at)
        if file.read(len(_HDF5)) == _HDF5:
            return True
        at = 2 * at or 512
    return False


def _refuse_endless(content: bytes | mmap.mmap, path: str | Path) -> None:
    """Errors: DataError for a file that HDF5 would read forever.

    HDF5 steps through a heap by the sizes of its objects. A block of zeros, left by an interrupted
    write or download, is an object of size 0.
    """
    # number of bytes of a size in the superblock
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
                    f"{path}: this HDF5 file is damaged at byte {here}, perhaps by an interrupted"
                    " copy; check where it comes from."
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
            f"{path}: {', '.join(away)} would be fetched from another file, and nowcast does not"
            " follow paths in a file; copy everything into one file first, for example with nccopy."
        )


def _nodes(root: Any, h5py: Any, path: str | Path) -> Iterator[tuple[str, int, Any]]:
    """Yield (name, kind of link, target) of every link in an HDF5 file; the target is None except
    for hard links.

    Errors: DataError if groups are nested deeper than MAX_DEPTH; the recursion in the HDF5 library
    would overflow the stack.
    """
    seen, groups = set(), [("", root, 1)]
    while groups:
        above, group, depth = groups.pop()
        if depth > MAX_DEPTH:
            raise DataError(
                f"{path}: has groups nested deeper than {MAX_DEPTH} levels, which no radar file"
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
