"""Files written whole or not at all, and their checksums."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nowcast.errors import CannotCreateError, InputOutputError, MissingInputError, TryLaterError

_FULL = 2**20  # bytes free, by which a disk is taken for full
_LOCK_POLL = 0.05  # seconds between tries for a lock
_CANNOT_CREATE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; once the block ends well, move it to `path` in one step, safe on the disk.

    If the block fails, `path` is as it was before and the temporary file is gone. A reader of `path` sees the old
    file or the new one, never a part.

    Errors: CannotCreateError where the folder cannot be made or written; InputOutputError where writing fails midway.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.exists() and not path.is_file():
        raise CannotCreateError(f"{path}: is there already and no ordinary file; choose another output path.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _for_people(path, error) from error
    except RuntimeError as error:  # what PyTorch and HDF5 make of a full disk
        full = shutil.disk_usage(path.parent).free < _FULL
        reason = "no space left on the disk" if full else str(error)
        raise InputOutputError(f"{path}: writing failed ({reason}); nothing was left behind.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def only_writer(folder: str | Path, *, wait: float = 0.0) -> Iterator[None]:
    """Within the block no other process that asks so writes in `folder`, which is made if it is not there; and what a killed
    one left half written there is gone. The lock ends with the process, however that ends.

    wait: seconds to wait for another one that is at it.
    Errors: TryLaterError where it is still at it then; CannotCreateError.
    """
    folder = make_folder(folder)
    path = folder / ".lock"
    lock = _locked(path, time.monotonic() + wait)
    if lock is None:
        raise TryLaterError(f"{folder}: another process is writing there; try again once it is done.")
    try:
        for left in folder.glob(".*.????????.tmp"):
            _remove(left)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _locked(path: Path, until: float) -> int | None:
    """The file descriptor of a lock that no other process holds; None where one still does at that time.

    Who lets go of a lock removes its file, so that one that was had of a file no longer there is none.
    """
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _for_people(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(lock)
                return None
            time.sleep(_LOCK_POLL)
        except FileNotFoundError:  # removed since it was seen
            pass
        os.close(lock)


@contextmanager
def written_together(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder within `folder`, whose only writer this process is; once the block ends well, all files there move
    to `folder`, one right after the other. If it fails, `folder` holds what it held: files of two runs do not mix there.

    Errors: as `only_writer`; CannotCreateError, InputOutputError.
    """
    folder = Path(folder)
    with only_writer(folder):
        temporary = folder / f".together.{secrets.token_hex(4)}.tmp"
        try:
            make_folder(temporary)
            yield temporary
            for path in sorted(temporary.iterdir()):
                os.replace(path, folder / path.name)
            _sync(folder)
        except OSError as error:
            raise _for_people(folder, error) from error
        finally:
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def make_folder(folder: str | Path) -> Path:
    """Make `folder` and its parents if they are not there. Errors: CannotCreateError."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(
            f"{folder}: cannot create this folder ({_reason(error)}); choose another output folder."
        ) from error
    return folder


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal. Errors: MissingInputError."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read ({_reason(error)}); check the path and its permissions.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _for_people(path: Path, error: OSError) -> CannotCreateError | InputOutputError:
    if error.errno in _CANNOT_CREATE:
        return CannotCreateError(f"{path}: cannot write this file ({_reason(error)}); choose another output path.")
    return InputOutputError(f"{path}: writing failed ({_reason(error)}); nothing was left behind.")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
