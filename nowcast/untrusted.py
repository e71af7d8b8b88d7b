"""Files that may come from anyone: what a file holds must lie within it, and be of a size that memory holds.

HDF5, and with it NetCDF-4, can fetch data from elsewhere: links to other files, data in other files, data sets put together of those of
other files. Both libraries follow such a path without a word, wherever it leads.
"""

import io
import logging
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from nowcast.errors import DataError, MissingLibraryError

MAX_PIXELS = 2**27
"""The most numbers of one frame, or along one axis: 11585 × 11585 pixels, 1 GiB in double precision."""
MAX_UNPACKED = 2**31
"""The most bytes that a compressed file or chunk may become in memory."""

_SETTINGS_FILES = ("matplotlibrc", "pystepsrc")
_SETTINGS_PLACES = {"MATPLOTLIBRC", "MPLCONFIGDIR", "PYSTEPSRC"}

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\1\0\0\0"  # how a heap of texts of any length begins in HDF5
_SEARCHED = 2**28  # bytes of a file up to which its heaps are looked for; the files that a service sends are smaller
_OPENS = 4096  # files that are known to hold all that is theirs


@contextmanager
def importing_plainly() -> Iterator[None]:
    """Within the block, Matplotlib and pysteps are imported without the settings files that they look for in the working folder.
    Where Matplotlib keeps its cache is not logged."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not any(os.path.lexists(name) for name in _SETTINGS_FILES):
        yield
        return
    for key in _SETTINGS_PLACES & os.environ.keys():
        os.environ[key] = os.path.abspath(os.environ[key])
    with chdir(os.path.dirname(__file__)):  # a folder that holds no such file
        yield


def refuse_links(path: str | Path) -> None:
    """Look through a file that may be HDF5, once until it changes.

    Errors: DataError where data lie in another file, or are of a size that no radar has; MissingLibraryError; OSError where it is damaged.
    """
    about = os.stat(path)
    _refuse_links(os.path.abspath(path), about.st_ino, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=_OPENS)
def _refuse_links(path: str, inode: int, changed: int, size: int) -> None:
    with open(path, "rb") as file:
        if _is_hdf5(file):
            if size <= _SEARCHED:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    _refuse_endless(content, path)
            _look_through(path, path)


def refuse_links_in(content: bytes, path: str | Path) -> None:
    """The same of a file in memory; `path` is for messages."""
    file = io.BytesIO(content)
    if _is_hdf5(file):
        _refuse_endless(content, path)
        _look_through(file, path)


def refuse_huge(shape: Sequence[int], what: str) -> None:
    """Errors: DataError where one frame of this shape (…, y, x), or one axis, has more numbers than any radar measures."""
    if math.prod(shape[-2:]) > MAX_PIXELS:
        sizes = " x ".join(map(str, shape))
        raise DataError(
            f"{what} is of the size {sizes}, and nowcast reads no more than {MAX_PIXELS} numbers a frame; cut it first."
        )


def refuse_unpacking(size: float, what: str) -> None:
    """Errors: DataError where so many bytes would be unpacked at once."""
    if size > MAX_UNPACKED:
        raise DataError(
            f"{what} unpacks to more than {MAX_UNPACKED / 2**30:g} GiB, which nowcast does not; look at where it came from."
        )


def _is_hdf5(file: BinaryIO) -> bool:
    """Whether HDF5 would take it for its own: the mark stands at its start, or at byte 512, 1024, 2048 …"""
    size, at = file.seek(0, os.SEEK_END), 0
    while at < size:
        file.seek(at)
        if file.read(len(_HDF5)) == _HDF5:
            return True
        at = 2 * at or 512
    return False


def _refuse_endless(content: bytes | mmap.mmap, path: str | Path) -> None:
    """Errors: DataError where HDF5 would read for ever: it steps through a heap by the sizes of its objects, and a block of zeros
    within, as a write or a download that was cut short leaves it, is an object of no size."""
    if content[14 if content[8] < 2 else 10] != 8:  # bytes of a size, by the superblock
        return
    at = -1
    while (at := content.find(_HEAP, at + 1)) >= 0:
        end = min(at + int.from_bytes(content[at + 8 : at + 16], "little"), len(content))
        here = at + 16
        while here + 16 <= end:
            number, size = (int.from_bytes(content[here + k : here + k + n], "little") for k, n in ((0, 2), (8, 8)))
            if number == size == 0:
                raise DataError(f"{path}: this HDF5 file is damaged at byte {here}; fetch it again or remove it.")
            here += size if number == 0 else 16 + -(-size // 8) * 8


def _look_through(source: str | BinaryIO, path: str | Path) -> None:
    try:
        import h5py
    except ImportError as error:
        raise MissingLibraryError(f"{path}: reading it needs h5py: pip install 'nowcast[hdf5]'.") from error
    datasets: list[tuple[str, Any]] = []
    away: list[str] = []

    def see_link(name: bytes, about: Any) -> None:
        if about.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):  # a soft one stays within the file
            away.append(name.decode(errors="replace"))

    def see_object(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            datasets.append((name, node.id))

    try:
        with h5py.File(source, "r") as root:
            root.id.links.visit(see_link, info=True)
            root.visititems(see_object)
            for name, dataset in datasets:
                stored = dataset.get_create_plist()
                if stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
                    away.append(name)
                elif stored.get_layout() == h5py.h5d.CHUNKED:
                    chunk = math.prod(stored.get_chunk()) * dataset.get_type().get_size()
                    refuse_unpacking(chunk, f"{path}: a chunk of {name}")
                refuse_huge(dataset.shape, f"{path}: {name}")
    except (RuntimeError, LookupError, ValueError, TypeError) as error:
        raise OSError(str(error)) from error
    if away:
        raise DataError(
            f"{path}: {', '.join(away)} is to be fetched from another file, and nowcast follows no path that a file names; copy all into"
            " one file first, as with nccopy, or remove it."
        )
