"""The folder of unpacked series: kept below a size.

The least recently used go first, never one in use.

A reader holds a shared lock on its file for as long as it has it open; `clean` removes only what it
can lock for itself.
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
"""Large fields; and series of a version that had no folder for each."""
_GOING = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{8}\.tmp")
"""A series that a killed process had begun to remove."""


@dataclass(frozen=True)
class Series:
    """A series, or a large field, in the folder: size in bytes, and when it was last used, in
    seconds of Unix time.
    """

    path: Path
    size: int
    used: float


def mark_used(path: Path) -> None:
    """Set the time of access to now, and no other time: many file systems do not keep it
    themselves.
    """
    with suppress(OSError):  # of another user's file, for example
        os.utime(path, ns=(int(datetime.now(UTC).timestamp() * 1e9), path.stat().st_mtime_ns))


def clean(folder: str | Path, limit_bytes: float) -> None:
    """Remove the series and fields in `folder` that were used least recently, until at most
    `limit_bytes` are left.

    What is in use in any process stays, as does anything that is not ours.
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
    """Yield the series and fields of this version and of older ones; not a folder of such a
    name that holds anything else.
    """
    for path in folder.iterdir():
        with suppress(OSError):  # gone meanwhile
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
    """Remove a series in one step. → whether it was removed: not if a process reads or makes
    it, or locks cannot tell.
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
    """Hold the only lock on a file.

    Errors: OSError if any process holds another, or locks do not work.
    """
    if not path.exists():  # the process that made it was killed; its folder is locked
        yield
        return
    # NFS locks nothing that is open for reading only
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)
