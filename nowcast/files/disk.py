"""Make and remove folders, force files to the disk, and turn disk errors into messages."""

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
"""Error numbers of a file system that does not support an operation."""
_NO_FOLDER_SYNC = NOT_SUPPORTED | {errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}
_CANNOT_CREATE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip


def make_folder(folder: str | Path) -> Path:
    """Make `folder` and its parents if missing. Errors: CannotCreateError."""
    _make(Path(folder))
    return Path(folder)


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """Make `folder` and its parents; at the end of the block, remove the new ones that are still
    empty.

    Errors: CannotCreateError.
    """
    made = _make(folder)
    try:
        yield
    finally:
        _remove_empty(made)


def _make(folder: Path) -> list[Path]:
    """Make a folder and return the new folders, deepest first."""
    missing: list[Path] = []
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise CannotCreateError(
            f"{folder}: cannot create this folder ({reason_of(error)}); choose another folder."
        ) from error
    for made in missing:
        sync_folder(made.parent)
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or not made
            folder.rmdir()


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, as far as possible."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal.

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
    """Force a file to the disk, if the file system supports it.

    Errors: OSError if writing fails.
    """
    try:
        _sync(path)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk.

    If the file system does not support this, a power failure loses at most the newest names. Other
    failures are only logged, because the files are already complete and in place.
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
    """Return the error that explains why `path` was not written.

    left: a temporary file that could not be removed; full: whether the disk is full.
    """
    if isinstance(error, OSError) and error.errno in _CANNOT_CREATE and not full:
        return CannotCreateError(
            f"{path}: cannot write this file ({reason_of(error)}); choose another path."
        )
    behind = (
        "nothing was left behind"
        if left is None
        else f"{left.name} was left behind; the next run removes it"
    )
    why = "no space left on the disk" if full else reason_of(error)
    return InputOutputError(f"{path}: writing failed ({why}); {behind}.")


def is_full(path: Path, error: OSError | RuntimeError) -> bool:
    """Return whether an error may come from a full disk though it does not say so.

    PyTorch, HDF5 and NumPy raise errors without a number; netCDF4 reports "forbidden" if it cannot
    create a file.
    """
    number = getattr(error, "errno", None)
    unsaid = number is None or (number == errno.EACCES and os.access(path.parent, os.W_OK))
    with suppress(OSError):  # the folder was removed
        return unsaid and shutil.disk_usage(path.parent).free < _FULL
    return False


def reason_of(error: Exception) -> str:
    """Return the text of a system error, without number and path."""
    return getattr(error, "strerror", None) or str(error)
