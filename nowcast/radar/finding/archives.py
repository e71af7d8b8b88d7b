"""Recognize archives and compressed files that nowcast cannot read, and say how to unpack them."""

import tarfile
import zipfile
from pathlib import Path

_UNPACK = "unpack it first, and give the files it contains"
# By first bytes. Zip files are opened to check, since NumPy's .npz is a zip.
_MARKS = {
    b"7z\xbc\xaf\x27\x1c": "an archive of files (7z)",
    b"Rar!\x1a\x07": "an archive of files (RAR)",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\0": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\x1f\x9d": "compressed by compress",
}
_BLOCK = 512  # bytes of a tar header


def archive_in_words(path: Path, start: bytes) -> str:
    """Return the kind of an archive or compressed file and what to do; "" for any other file.

    start: at least its first 512 bytes, unpacked if it is gzipped.
    """
    if start.startswith(b"\x93NUMPY"):
        return "a NumPy array (.npy), which has neither times nor units; write it as CF NetCDF"
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _zip_in_words(path)
    what = next((what for mark, what in _MARKS.items() if start.startswith(mark)), "")
    what = what or ("an archive of files (tar)" if _is_tar(start) else "")
    return f"{what}; {_UNPACK}" if what else ""


def _zip_in_words(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):  # truncated, or gzipped as well
        names = []
    if not names or not all(name.endswith(".npy") for name in names):
        return f"an archive of files (zip); {_UNPACK}"
    arrays = ", ".join(name.removesuffix(".npy") for name in names[:5])
    return (
        f"a NumPy .npz file of {arrays}; nowcast reads only MeteoNet's .npz files (data and dates):"
        " write others as CF NetCDF"
    )


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start[:_BLOCK], "utf-8", "replace")
    except (tarfile.HeaderError, ValueError):
        return False
    return True
