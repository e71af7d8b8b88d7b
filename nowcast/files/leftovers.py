"""Temporary folders next to what is being written, each held by a lock while its process lives; and
what killed processes left.

A temporary folder is `.name.XXXXXXXX.tmp` in the folder of `name`. Earlier versions wrote a file of
such a name.
"""

import atexit
import fcntl
import glob
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nowcast.files.disk import for_people, is_full, remove

_NUMBER = "[0-9a-f]" * 8
_ours: dict[Path, int] = {}
"""Folders in use, and the process that made them.

They go at its end, also if a signal came between two lines that make or remove one.
"""
# seconds of writing; only where locks cannot tell whether a process is still at it
_LONGEST = 86400.0


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give a private folder next to `path`, which is gone after the block.

    What killed processes left of `path` goes before.

    Errors: what the disk says in the block, as `for_people` tells it.
    """
    _remove_all(path.parent, glob.escape(path.name))
    folder, lock = path, -1
    try:
        folder, lock = _make(path)
        yield folder
    except (OSError, RuntimeError) as error:
        full = is_full(path, error)  # before there is room again
        if folder != path:
            remove(folder)
        raise for_people(
            path, error, folder if folder != path and folder.exists() else None, full=full
        ) from error
    finally:
        try:
            if folder != path:
                remove(folder)
                _ours.pop(folder, None)
        finally:
            if lock >= 0:
                os.close(lock)


@atexit.register
def _remove_ours() -> None:
    for folder, process in list(_ours.items()):
        if process == os.getpid():
            remove(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written in `folder`."""
    _remove_all(folder, "*")


def _remove_all(folder: Path, name: str) -> None:
    with suppress(OSError):  # a folder that cannot be listed
        for left in folder.glob(f".{name}.{_NUMBER}.tmp"):
            if not _is_in_use(left):
                remove(left)


def _make(path: Path) -> tuple[Path, int]:
    """A new temporary folder and the descriptor that holds its lock. Errors: OSError."""
    while True:
        folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        _ours[folder] = os.getpid()
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            del _ours[folder]
            raise
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody tidies up, and took it for a leftover
            os.close(lock)
            continue
        except OSError:  # a file system without locks
            return folder, lock
        if folder.exists():
            return folder, lock
        os.close(lock)


def _is_in_use(left: Path) -> bool:
    """Whether a living process may still write there; where there are no locks, its age tells."""
    try:
        descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # a link, or gone
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < _LONGEST
    finally:
        os.close(descriptor)
