"""Temporary folders next to the file being written, locked while their process lives, and removal
of those left by killed processes.

A temporary folder is `.name.XXXXXXXX.tmp` in the folder of `name`. Earlier versions wrote a file
with such a name.
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

They are removed at its exit, also if a signal arrived while one was being made or removed.
"""
# seconds after which a folder counts as left over, on file systems without locks
_LONGEST = 86400.0


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make a private folder next to `path`, which is removed after the block.

    Folders that killed processes left for `path` are removed first.

    Errors: disk errors within the block, as from `for_people`.
    """
    _remove_all(path.parent, glob.escape(path.name))
    folder, lock = path, -1
    try:
        folder, lock = _make(path)
        yield folder
    except (OSError, RuntimeError) as error:
        full = is_full(path, error)  # before removing the folder frees space
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
    """Remove temporary folders that killed processes left in `folder`."""
    _remove_all(folder, "*")


def _remove_all(folder: Path, name: str) -> None:
    with suppress(OSError):  # a folder that cannot be listed
        for left in folder.glob(f".{name}.{_NUMBER}.tmp"):
            if not _is_in_use(left):
                remove(left)


def _make(path: Path) -> tuple[Path, int]:
    """Make a temporary folder; return it and the descriptor of its lock. Errors: OSError."""
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
        except BlockingIOError:  # another process is cleaning up and took it for a leftover
            os.close(lock)
            continue
        except OSError:  # a file system without locks
            return folder, lock
        if folder.exists():
            return folder, lock
        os.close(lock)


def _is_in_use(left: Path) -> bool:
    """Return whether a living process may still write there; without locks, by its age."""
    try:
        descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # a link, or removed
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
