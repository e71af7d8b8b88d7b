"""Write several files together, so that a folder never mixes files of two runs.

The new files are first written to a temporary folder. Renaming it to `.together` makes the new
files valid. Then the old files are removed, and after that the new ones are moved to their place. A
process that is killed in between leaves the old files, or some files of one run; the next writer
finishes its work.
"""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from nowcast.files.disk import for_people, is_full, remove, sync_file, sync_folder
from nowcast.files.leftovers import temporary_folder
from nowcast.files.locks import only_writer

_VALID = ".together"
_NAMES = ".names"
"""File in `.together` with the names of all files that it replaces."""


@contextmanager
def written_together(folder: str | Path, replaces: Collection[str] = ()) -> Iterator[Path]:
    """Give a temporary folder within `folder` and be the only writer of `folder`.

    If the block succeeds, the new files replace those in `folder` with the same names, and those
    named by `replaces`. If it fails, `folder` is unchanged.

    Errors: as `only_writer`; CannotCreateError, InputOutputError.
    """
    folder = Path(folder)
    with only_writer(folder):
        try:
            _finish(folder)  # the work of a killed process
        except OSError as error:
            raise for_people(folder, error, full=is_full(folder / _VALID, error)) from error
        with temporary_folder(folder / "together") as temporary:
            yield temporary
            names = sorted({*replaces, *(path.name for path in temporary.iterdir())})
            (temporary / _NAMES).write_text(json.dumps(names), encoding="utf-8")
            sync_file(temporary / _NAMES)
            sync_folder(temporary)
            os.replace(temporary, folder / _VALID)
        sync_folder(folder)
        try:
            _finish(folder)
        except OSError as error:
            raise for_people(folder, error, folder / _VALID) from error


def settled(path: Path) -> Path:
    """Return the valid file of `path`, which is still in `.together` if its writer was killed."""
    waiting = path.parent / _VALID / path.name
    return waiting if waiting.is_file() else path


def _finish(folder: Path) -> None:
    """Remove the old files, then move the new ones to their place. Errors: OSError."""
    valid = folder / _VALID
    if valid.is_symlink() or not valid.is_dir():
        return
    names = valid / _NAMES
    if names.exists():
        for name in json.loads(names.read_text(encoding="utf-8")):
            # only in this folder, whatever the list names
            (folder / Path(name).name).unlink(missing_ok=True)
        names.unlink()
    for path in sorted(valid.iterdir()):
        os.replace(path, folder / path.name)
    remove(valid)
    sync_folder(folder)
