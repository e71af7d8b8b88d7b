"""Folders made and removed, files forced to the disk, and what a disk says told to people."""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nowcast.errors import CannotCreateError, InputOutputError, MissingInputError
from nowcast.files.faults import refuse_fault_of_machine

log = logging.getLogger(__name__)

_FULL = 2**20  # with fewer bytes free, a disk counts as full
NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}
"""What a file system answers that cannot do something at all."""
_NO_FOLDER_SYNC = NOT_SUPPORTED | {errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}
_CANNOT_CREATE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip


def make_folder(folder: str | Path) -> Path:
    """Make `folder` and its parents if they are not there. Errors: CannotCreateError."""
    _make(Path(folder))
    return Path(folder)


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """Make `folder` and its parents; at the end of the block, remove those that were made here and
    are still empty.

    Errors: CannotCreateError.
    """
    made = _make(folder)
    try:
        yield
    finally:
        _remove_empty(made)


def _make(folder: Path) -> list[Path]:
    """The folders that were made, the deepest first."""
    missing: list[Path] = []
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise CannotCreateError(
            f"{folder}: cannot create this folder ({reason_of(error)}); choose another output"
            " folder."
        ) from error
    for made in missing:
        sync_folder(made.parent)
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # something is in it, or it was not made
            folder.rmdir()


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, as far as possible."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal.

    Errors: MissingInputError, InputOutputError.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        refuse_fault_of_machine(path, error)
        raise MissingInputError(
            f"{path}: cannot be read ({reason_of(error)}); check the path and its permissions."
        ) from error


def sync_file(path: Path) -> None:
    """Force a file to the disk, where the file system can.

    Errors: OSError where writing it fails.
    """
    try:
        _sync(path)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk.

    A file system that cannot loses at most the newest of them, when the power fails.

    Any other failure is logged: what the folder holds is whole and in its place, so the work is
    done.
    """
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            log.warning(
                "%s: cannot be forced to the disk (%s); the newest files there may not survive a"
                " power cut.",
                folder,
                reason_of(error),
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def for_people(
    path: Path, error: OSError | RuntimeError, left: Path | None = None, *, full: bool = False
) -> CannotCreateError | InputOutputError:
    """The error that tells why `path` was not written. left: what could not be tidied away;
    full: whether the disk is.
    """
    if isinstance(error, OSError) and error.errno in _CANNOT_CREATE and not full:
        return CannotCreateError(
            f"{path}: cannot write this file ({reason_of(error)}); choose another output path."
        )
    behind = (
        "nothing was left behind"
        if left is None
        else f"{left.name} was left behind, and the next run removes it"
    )
    why = "no space left on the disk" if full else reason_of(error)
    return InputOutputError(f"{path}: writing failed ({why}); {behind}.")


def is_full(path: Path, error: OSError | RuntimeError) -> bool:
    """Whether a full disk may be behind an error that does not say so.

    PyTorch, HDF5 and NumPy raise one without a number; netCDF4 says "forbidden" if it cannot create
    a file.
    """
    number = getattr(error, "errno", None)
    unsaid = number is None or (number == errno.EACCES and os.access(path.parent, os.W_OK))
    with suppress(OSError):  # the folder itself is gone
        return unsaid and shutil.disk_usage(path.parent).free < _FULL
    return False


def reason_of(error: Exception) -> str:
    """What the system says, without number and path."""
    return getattr(error, "strerror", None) or str(error)
