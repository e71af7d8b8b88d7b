"""What a file is that holds other files, or one that is compressed in a way that nowcast does
not undo: told, and what to do with it.
"""

import tarfile
import zipfile
from pathlib import Path

_UNPACK = "unpack it first, and give the files that come out"
# By first bytes. A zip is looked into, for NumPy's .npz is one.
_MARKS = {
    b"7z\xbc\xaf\x27\x1c": "an archive of files (7z)",
    b"Rar!\x1a\x07": "an archive of files (RAR)",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\0": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\x1f\x9d": "compressed by compress",
}
_BLOCK = 512  # bytes of a tar's header


def archive_in_words(path: Path, start: bytes) -> str:
    """What an archive or a compressed file is, and what to do; empty for any other file.

    start: its first 512 bytes or more, unpacked where it is gzipped.
    """
    if start.startswith(b"\x93NUMPY"):
        return "an array of NumPy (.npy), which says neither times nor units; write it as CF NetCDF"
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _zip_in_words(path)
    what = next((what for mark, what in _MARKS.items() if start.startswith(mark)), "")
    what = what or ("an archive of files (tar)" if _is_tar(start) else "")
    return f"{what}; {_UNPACK}" if what else ""


def _zip_in_words(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):  # cut short, or gzipped once more
        names = []
    if not names or not all(name.endswith(".npy") for name in names):
        return f"an archive of files (zip); {_UNPACK}"
    arrays = ", ".join(name.removesuffix(".npy") for name in names[:5])
    return (
        f"NumPy's .npz of {arrays}; of these nowcast reads MeteoNet's, of data and dates: write"
        " others as CF NetCDF"
    )


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start[:_BLOCK], "utf-8", "replace")
    except (tarfile.HeaderError, ValueError):
        return False
    return True
