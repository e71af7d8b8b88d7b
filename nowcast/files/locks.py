"""One writer of a folder at a time, by a lock file that a dead process does not hold.

The lock is the system's own, taken by filelock, and ends with its process. On a file system without
locks, as NFS without its lock service, the file itself is the lock: it names host and process, and
one whose process is dead is replaced.

filelock's FileLock is not used, because it lacks what is needed here: it cannot lock a file that
another user left and that may only be read, falls back to a file only where the kernel has no flock
at all (ENOSYS, not ENOLCK), and leaves its file in the folder. So the file is opened here.
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
# seconds within which a lock file that names no process may still be being written
_NAMELESS = 60.0


class _HeldError(Exception):
    """Another process has it. holder: who, where the file says so."""

    def __init__(self, holder: str = "") -> None:
        self.holder = holder


@contextmanager
def only_writer(folder: str | Path, *, wait: float = 0.0) -> Iterator[None]:
    """Within the block no other process that asks so writes in `folder`, and what a killed one left
    half written there is gone. The lock ends with the process, however that ends. The folder is
    made; if nothing comes into it, it is removed again.

    wait: seconds to wait for another process.
    Errors: TryLaterError where that one still writes; CannotCreateError, InputOutputError.
    """
    folder = Path(folder)
    path = folder / ".lock"
    with new_folders(folder):
        lock = _locked(path, time.monotonic() + wait)
        try:
            remove_leftovers(folder)
            yield
        finally:
            # of another user, in a folder where each removes only what is his
            with suppress(OSError):
                if _is_of(lock, path):
                    path.unlink(missing_ok=True)
            os.close(lock)


def is_locked(folder: Path) -> bool:
    """Whether the lock of `only_writer` still is where another process would look for it."""
    return (folder / ".lock").exists()


def is_written(folder: Path) -> bool:
    """Whether a process holds the lock of `only_writer` now; what a killed one left counts not."""
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
    """The descriptor of a lock that no other process holds.

    Errors: TryLaterError where one still does at that time; the others.
    """
    while True:
        try:
            return _try(path)
        except _HeldError as error:
            if time.monotonic() >= until:
                by = (
                    f" ({error.holder}; this file system has no locks, so remove {path.name} there"
                    " if that process is gone)"
                    if error.holder
                    else ""
                )
                raise TryLaterError(
                    f"{path.parent}: another process is writing there{by}; try again once it is"
                    " done."
                ) from None
            time.sleep(_LOCK_POLL)
        except FileNotFoundError:  # who had the lock removed file and folder
            make_folder(path.parent)
        except OSError as error:
            raise _not_locked(path, error) from error


def _try(path: Path) -> int:
    """One try. Errors: _HeldError; FileNotFoundError where file or folder went meanwhile;
    OSError.
    """
    lock, is_new = _open(path)
    try:
        if not lock_descriptor(lock, blocking=False):
            raise _HeldError
        # who lets go of a lock removes its file, so this one is worth nothing
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
    """The lock file and whether it was made here.

    One of another user may be locked without the right to write it.
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
        raise FileNotFoundError from None  # it came meanwhile: look again
    with suppress(OSError):  # of a file system without owners
        _share(lock, path.parent)
    return lock, True


def _share(lock: int, folder: Path) -> None:
    """Who may write the folder may lock it, whatever the umask and whoever made the file."""
    about = folder.stat()
    if about.st_mode & stat.S_IWGRP and os.fstat(lock).st_gid != about.st_gid:
        with suppress(OSError):
            os.fchown(lock, -1, about.st_gid)
    os.fchmod(lock, 0o644 | about.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _hold_by_the_file(lock: int, path: Path, is_new: bool) -> None:
    """Without locks: the file made here is the lock.

    Errors: _HeldError where another living process made it; FileNotFoundError once that of a dead
    one is removed.
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
    """Who holds a lock file; None where that process is dead. Of another host that is not known."""
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
        f"{path.parent}: cannot be locked by a file {path.name} there ({reason_of(error)}); choose"
        " another output folder."
    )


def _is_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
