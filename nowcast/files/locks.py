"""Locks that allow one writer of a folder at a time.

The lock is a system lock on a lock file, taken with filelock, and ends with its process. On a file
system without locks, such as NFS without its lock service, the file itself is the lock: it names
host and process, and is replaced if that process is dead.

filelock's FileLock is not used. It cannot lock a read-only file of another user, uses the file
itself only if the kernel has no flock at all (ENOSYS, not ENOLCK), and leaves its file in the
folder. So the lock file is opened here.
"""

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from nowcast.errors import CannotCreateError, InputOutputError, TryLaterError
from nowcast.files.disk import (
    NOT_SUPPORTED,
    for_people,
    is_full,
    make_folder,
    new_folders,
    reason_of,
)
from nowcast.files.leftovers import remove_leftovers

_LOCK_POLL = 0.05  # seconds between tries for a lock
_NO_LOCKS = NOT_SUPPORTED | {errno.ENOLCK}
# seconds during which a lock file without a process name may still be incomplete
_NAMELESS = 60.0
# tries in a row that may find the folder removed
_MOST_GONE = 1000


class _HeldError(Exception):
    """Another process holds the lock. holder: which one, if the file names it."""

    def __init__(self, holder: str = "") -> None:
        self.holder = holder


@contextmanager
def only_writer(folder: str | Path, *, wait: float = 0.0) -> Iterator[None]:
    """Be the only writer of `folder` within the block, among processes that use this lock.

    The folder is made if missing, and removed again if it stays empty. Temporary files of killed
    processes are removed. The lock always ends with its process.

    wait: seconds to wait for another process.
    Errors: TryLaterError if that process still writes; CannotCreateError, InputOutputError.
    """
    folder = Path(folder)
    path = folder / ".lock"
    with new_folders(folder):
        lock = _locked(path, time.monotonic() + wait)
        try:
            remove_leftovers(folder)
            yield
        finally:
            # may fail for another user's file in a folder with the sticky bit
            with suppress(OSError):
                if _is_of(lock, path):
                    path.unlink(missing_ok=True)
            os.close(lock)


def is_locked(folder: Path) -> bool:
    """Return whether the lock file of `only_writer` still exists at its place."""
    return (folder / ".lock").exists()


def is_written(folder: Path) -> bool:
    """Return whether a living process holds the lock of `only_writer` now."""
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            lock = os.open(folder / ".lock", flags | os.O_NOFOLLOW)
            break
        except PermissionError:
            continue
        except OSError:
            return False
    else:
        return False
    try:
        return not lock_descriptor(lock, blocking=False)
    except OSError as error:
        return error.errno in _NO_LOCKS and _holder(lock) is not None
    finally:
        os.close(lock)


def _locked(path: Path, until: float) -> int:
    """Take the lock and return its descriptor.

    until: monotonic time until which to wait.
    Errors: TryLaterError if another process still holds it then; CannotCreateError,
    InputOutputError.
    """
    gone = 0  # times in a row
    while True:
        try:
            return _try(path)
        except _HeldError as error:
            gone = 0
            if time.monotonic() >= until:
                by = (
                    f" ({error.holder}; this file system has no locks, so remove {path.name} if"
                    " that process has ended)"
                    if error.holder
                    else ""
                )
                raise TryLaterError(
                    f"{path.parent}: another process is writing to this folder{by}; try again when"
                    " it is done."
                ) from None
            time.sleep(_LOCK_POLL)
        except FileNotFoundError as error:  # the last holder removed file and folder
            gone += 1
            if gone > _MOST_GONE:  # a folder that takes no files, such as /proc
                raise _not_locked(path, error) from error
            make_folder(path.parent)
        except OSError as error:
            raise _not_locked(path, error) from error


def _try(path: Path) -> int:
    """Try once to take the lock. Errors: _HeldError; FileNotFoundError if file or folder was
    removed meanwhile; OSError.
    """
    lock, is_new = _open(path)
    try:
        if not lock_descriptor(lock, blocking=False):
            raise _HeldError
        # the last holder removed this file, so a lock on it has no effect
        if not _is_of(lock, path):
            raise FileNotFoundError
    except (_HeldError, FileNotFoundError):
        os.close(lock)
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(lock)
            raise
        _hold_by_the_file(lock, path, is_new)
    return lock


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file; return its descriptor and whether it is new.

    A read-only file of another user can be locked too.
    """
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_NOFOLLOW), False
        except FileNotFoundError:
            break
        except PermissionError:
            if flags == os.O_RDONLY:
                raise
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        raise FileNotFoundError from None  # made meanwhile by another process: try again
    with suppress(OSError):  # a file system without owners
        _share(lock, path.parent)
    return lock, True


def _share(lock: int, folder: Path) -> None:
    """Give everyone who may write to the folder the right to lock it, whatever the umask."""
    about = folder.stat()
    if about.st_mode & stat.S_IWGRP and os.fstat(lock).st_gid != about.st_gid:
        with suppress(OSError):
            os.fchown(lock, -1, about.st_gid)
    os.fchmod(lock, 0o644 | about.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _hold_by_the_file(lock: int, path: Path, is_new: bool) -> None:
    """Use the lock file itself as the lock, on a file system without locks.

    Errors: _HeldError if another living process made it; FileNotFoundError after removing the file
    of a dead process.
    """
    if is_new:
        os.write(lock, f"{socket.gethostname()} {os.getpid()}\n".encode())
        return
    try:
        holder = _holder(lock)
        if holder is not None:
            raise _HeldError(holder)
        if _is_of(lock, path):
            path.unlink()
        raise FileNotFoundError
    finally:
        os.close(lock)


def _holder(lock: int) -> str | None:
    """Return the holder of a lock file; None if it is a dead process of this host."""
    words = os.pread(lock, 256, 0).decode("utf-8", "replace").split()
    if len(words) != 2 or not words[1].isdecimal():
        return None if time.time() - os.fstat(lock).st_mtime > _NAMELESS else "not named yet"
    host, process = words[0], int(words[1])
    if host == socket.gethostname() and (process == os.getpid() or not _lives(process)):
        return None
    return f"process {process} on {host}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _not_locked(path: Path, error: OSError) -> CannotCreateError | InputOutputError:
    if error.errno == errno.ENOSPC or is_full(path, error):
        return for_people(path, error, full=True)
    return CannotCreateError(
        f"{path.parent}: cannot be locked with a file {path.name} ({reason_of(error)}); choose"
        " another output folder."
    )


def _is_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
