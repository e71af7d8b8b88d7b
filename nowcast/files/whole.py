"""One file, or one link, that others see whole or not at all."""

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
    """Give a temporary file, empty and private; once the block ends well, move it to `path` in one
    step, safe on the disk, with the permissions of the file that it replaces, or those of any new
    file.

    If the block fails, `path` is as it was before, and the temporary file and the folders made for
    it are gone. A reader of `path` sees the old file or the new one, never a part.

    Errors: CannotCreateError where the folder cannot be made or written; InputOutputError where
    writing fails midway.
    """
    path = Path(path)
    with new_folders(path.parent), temporary_folder(path) as folder:
        mode = _mode_of(path)
        temporary = folder / path.name
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        with suppress(OSError):  # of a file system that has no permissions
            temporary.chmod(mode)
        sync_file(temporary)
        os.replace(temporary, path)
    sync_folder(path.parent)


def refuse_unwritable(path: str | Path) -> None:
    """Find out what `written_whole` would not do, before there is anything to write.

    Errors: as `written_whole`.
    """
    with suppress(_OnlyTriedError), written_whole(path):
        raise _OnlyTriedError


class _OnlyTriedError(Exception):
    pass


def link_whole(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, relative to its own folder, in one step.

    Errors: CannotCreateError, also where the file system has no symbolic links; InputOutputError.
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
    """The permissions that `path` is to have.

    Errors: CannotCreateError where it is something else than an ordinary file.
    """
    if path.is_file():
        return stat.S_IMODE(path.stat().st_mode)
    if path.exists():
        raise CannotCreateError(
            f"{path}: is there already and no ordinary file; choose another output path."
        )
    # there is no other way to ask for it; what another thread makes meanwhile is private
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
