"""The cache folder of unpacked series, whose size is limited.

The least recently used series are removed first; series in use are never removed. A reader holds a
shared lock on its file while it is open, and `clean` only removes files that it can lock
exclusively.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nowcast.errors import NowcastError
from nowcast.files import only_writer

log = logging.getLogger(__name__)

FRAMES = "frames.npy"
_SERIES = re.compile(r"[0-9a-f]{16}")
_IN_A_SERIES = re.compile(
    r"(frames|tiles|motion-[0-9a-f]{16})\.npy|statistics\.npz|\.lock"
    r"|\.((frames|tiles|motion-[0-9a-f]{16})\.npy|statistics\.npz)\.[0-9a-f]{8}\.tmp"
)
_FILES = re.compile(r"field-[0-9a-f]{16}\.npy|[0-9a-f]{16}(\.statistics)?\.npy")
"""Large fields, and series of an older version without a folder for each."""
_GOING = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{8}\.tmp")
"""A partly removed series, left by a killed process."""


@dataclass(frozen=True)
class Series:
    """A series or a large field in the folder: its size in bytes, and the time of its last use in
    seconds since 1970.
    """

    path: Path
    size: int
    used: float


def mark_used(path: Path) -> None:
    """Set only the access time to now, because many file systems do not update it."""
    with suppress(OSError):  # such as a file of another user
        os.utime(path, ns=(int(datetime.now(UTC).timestamp() * 1e9), path.stat().st_mtime_ns))


def clean(folder: str | Path, limit_bytes: float) -> None:
    """Remove the least recently used series and fields in `folder`, until at most `limit_bytes`
    are left.

    Files in use by any process are kept, and so are files that are not part of the cache.
    """
    folder = Path(folder)
    for path in folder.iterdir():
        if _GOING.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    found = sorted(series_in(folder), key=lambda series: series.used)
    too_much = sum(series.size for series in found) - limit_bytes
    for series in found:
        if too_much > 0 and _remove(series.path):
            too_much -= series.size
            log.info(
                "removed %s, %.2g GB last used on %s: data.cache_gb=%g",
                series.path, series.size / 1e9,
                f"{datetime.fromtimestamp(series.used, UTC):%Y-%m-%d}", limit_bytes / 1e9,
            )  # fmt: skip


def series_in(folder: Path) -> Iterator[Series]:
    """Yield the series and fields of this version and of older ones, but no folder that contains
    other files.
    """
    for path in folder.iterdir():
        with suppress(OSError):  # removed meanwhile
            if path.is_symlink():
                continue
            if _FILES.fullmatch(path.name) and path.is_file():
                yield Series(path, path.stat().st_size, _used(path))
            elif _SERIES.fullmatch(path.name) and all(
                _IN_A_SERIES.fullmatch(one.name) for one in path.iterdir()
            ):
                files = [one for one in path.rglob("*") if one.is_file()]
                size = sum(file.stat().st_size for file in files)
                yield Series(path, size, max((_used(file) for file in files), default=_used(path)))


def _used(path: Path) -> float:
    about = path.stat()
    return max(about.st_atime, about.st_mtime)


def _remove(path: Path) -> bool:
    """Remove a series in one step. Return whether it was removed: False if a process reads or
    writes it, or locks do not work.
    """
    try:
        if path.is_file():
            with _locked(path):
                path.unlink()
            return True
        with only_writer(path), _locked(path / FRAMES):
            going = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            path.rename(going)
    except (OSError, NowcastError):
        return False
    shutil.rmtree(going, ignore_errors=True)
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file.

    Errors: OSError if any process holds another lock, or locks do not work.
    """
    if not path.exists():  # the process that wrote it was killed; its folder is locked
        yield
        return
    # NFS does not lock files opened for reading only
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)
