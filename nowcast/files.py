"""Files written whole or not at all, and their checksums."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nowcast.errors import CannotCreateError, InputOutputError, MissingInputError, TryLaterError

_FULL = 2**20  # bytes free, by which a disk is taken for full
_LOCK_POLL = 0.05  # seconds between tries for a lock
_LEFTOVERS = f".*.{'[0-9a-f]' * 8}.tmp"
_CANNOT_CREATE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside `path`, empty and private; once the block ends well, move it to `path` in one step, safe on
    the disk, with the permissions of the file that it replaces, or those of any new file.

    If the block fails, `path` is as it was before and the temporary file is gone. A reader of `path` sees the old
    file or the new one, never a part.

    Errors: CannotCreateError where the folder cannot be made or written; InputOutputError where writing fails midway.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = _temporary(path)
    try:
        mode = _mode_of(path)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        with suppress(PermissionError):  # of a file system that has no permissions
            temporary.chmod(mode)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:
        raise _for_people(path, error) from error
    finally:
        _remove(temporary)


def refuse_unwritable(path: str | Path) -> None:
    """Find out what `written_whole` would not do, before there is anything to write. Errors: as `written_whole`."""
    with suppress(_OnlyTriedError), written_whole(path):
        raise _OnlyTriedError


class _OnlyTriedError(Exception):
    pass


def link_whole(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, from where it lies, in one step. Errors: CannotCreateError, InputOutputError."""
    temporary = _temporary(path)
    try:
        temporary.symlink_to(os.path.relpath(target.absolute(), path.parent.resolve()))
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _for_people(path, error) from error
    finally:
        _remove(temporary)


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
        remove_leftovers(folder)
        yield
    finally:
        if _is_of(lock, path):
            path.unlink(missing_ok=True)
        os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written in `folder`, whose only writer this process is."""
    for left in folder.glob(_LEFTOVERS):
        _remove(left)


def is_locked(folder: Path) -> bool:
    """Whether the lock of `only_writer` still is where another process would look for it."""
    return (folder / ".lock").exists()


def _locked(path: Path, until: float) -> int | None:
    """The file descriptor of a lock that no other process holds; None where one still does at that time.

    Who lets go of a lock removes its file, so that one that was had of a file no longer there is none.
    """
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise _not_locked(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_of(lock, path):
                return lock
            os.close(lock)
        except BlockingIOError:
            os.close(lock)
            if time.monotonic() >= until:
                return None
            time.sleep(_LOCK_POLL)
        except OSError as error:  # a file system that has no locks
            os.close(lock)
            raise _not_locked(path, error) from error


def _not_locked(path: Path, error: OSError) -> CannotCreateError | InputOutputError:
    if error.errno == errno.ENOSPC or _is_full(path, error):
        return _for_people(path, error)
    return CannotCreateError(
        f"{path.parent}: cannot be locked by a file {path.name} there ({_reason(error)}); choose another output folder."
    )


def _is_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def written_together(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder within `folder`, whose only writer this process is; once the block ends well, all files there move
    to `folder`, one right after the other. If it fails, `folder` holds what it held: files of two runs do not mix there.

    Errors: as `only_writer`; CannotCreateError, InputOutputError.
    """
    folder = Path(folder)
    with only_writer(folder):
        temporary = _temporary(folder / "together")
        try:
            temporary.mkdir(mode=0o700)
            yield temporary
            for path in sorted(temporary.iterdir()):
                os.replace(path, folder / path.name)
            _sync(folder)
        except OSError as error:
            raise _for_people(folder, error) from error
        finally:
            _remove(temporary)


def _temporary(path: Path) -> Path:
    """A path beside `path`, of a name that `remove_leftovers` knows."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _mode_of(path: Path) -> int:
    """The permissions that `path` is to have. Errors: CannotCreateError where it is there and no ordinary file."""
    if path.is_file():
        return stat.S_IMODE(path.stat().st_mode)
    if path.exists():
        raise CannotCreateError(f"{path}: is there already and no ordinary file; choose another output path.")
    umask = os.umask(0o077)  # there is no other way to ask for it; what another thread makes meanwhile is private
    os.umask(umask)
    return 0o666 & ~umask


def _remove(path: Path) -> None:
    """As far as it can be removed: what went wrong before is the error that is told."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def make_folder(folder: str | Path) -> Path:
    """Make `folder` and its parents if they are not there. Errors: CannotCreateError."""
    folder = Path(folder)
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync(made.parent)
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


def _for_people(path: Path, error: OSError | RuntimeError) -> CannotCreateError | InputOutputError:
    if _is_full(path, error):
        return InputOutputError(f"{path}: writing failed (no space left on the disk); nothing was left behind.")
    if isinstance(error, OSError) and error.errno in _CANNOT_CREATE:
        return CannotCreateError(f"{path}: cannot write this file ({_reason(error)}); choose another output path.")
    return InputOutputError(f"{path}: writing failed ({_reason(error)}); nothing was left behind.")


def _is_full(path: Path, error: OSError | RuntimeError) -> bool:
    """Whether a full disk may be behind an error that does not say so: without a number of PyTorch, HDF5 and NumPy, and with that of
    a forbidden one of netCDF4, where it cannot create a file."""
    number = getattr(error, "errno", None)
    unsaid = number is None or (number == errno.EACCES and os.access(path.parent, os.W_OK))
    return unsaid and shutil.disk_usage(path.parent).free < _FULL


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
