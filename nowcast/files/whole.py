"""Write a file or a link atomically: readers see all of it or nothing."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nowcast.errors import CannotCreateError
from nowcast.files.disk import NOT_SUPPORTED, new_folders, sync_file, sync_folder
from nowcast.files.leftovers import temporary_folder


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give an empty, private temporary file and move it to `path` when the block succeeds.

    The file is first forced to the disk and then moved in one step. It gets the permissions of the
    file that it replaces, or those of a new file. If the block fails, `path` is unchanged, and the
    temporary file and new folders are removed. Readers see the old file or the new one, never a
    part.

    Errors: CannotCreateError if the folder cannot be made or written; InputOutputError if writing
    fails midway.
    """
    path = Path(path)
    with new_folders(path.parent), temporary_folder(path) as folder:
        mode = _mode_of(path)
        temporary = folder / path.name
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        with suppress(OSError):  # a file system without permissions
            temporary.chmod(mode)
        sync_file(temporary)
        os.replace(temporary, path)
    sync_folder(path.parent)


def refuse_unwritable(path: str | Path) -> None:
    """Test whether `written_whole` can write `path`, before the content exists.

    Errors: as `written_whole`.
    """
    with suppress(_OnlyTriedError), written_whole(path):
        raise _OnlyTriedError


class _OnlyTriedError(Exception):
    pass


def link_whole(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, relative to its own folder, in one step.

    Errors: CannotCreateError, also if the file system has no symbolic links; InputOutputError.
    """
    with temporary_folder(path) as folder:
        temporary = folder / path.name
        try:
            temporary.symlink_to(os.path.relpath(target.absolute(), path.parent.resolve()))
        except OSError as error:
            if error.errno in NOT_SUPPORTED or (
                isinstance(error, PermissionError) and os.access(folder, os.W_OK)
            ):
                raise CannotCreateError(
                    f"{path}: this file system has no symbolic links; keep a copy instead."
                ) from error
            raise
        os.replace(temporary, path)
    sync_folder(path.parent)


def _mode_of(path: Path) -> int:
    """Return the permissions for `path`.

    Errors: CannotCreateError if it exists and is not a regular file.
    """
    if path.is_file():
        return stat.S_IMODE(path.stat().st_mode)
    if path.exists():
        raise CannotCreateError(
            f"{path}: already exists and is not a regular file; choose another path."
        )
    # the only way to read the umask; files that other threads make meanwhile are private
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
