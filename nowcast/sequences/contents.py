"""A checksum of the contents of files, independent of their location and times."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from nowcast.errors import MissingInputError
from nowcast.files import FileVersion, sha256, written_whole

log = logging.getLogger(__name__)

_SETTLED_SECONDS = 2.0
"""A file changed within this time may change again without a new modification time."""


def contents_of(paths: Iterable[Path], folder: str | Path) -> str:
    """Return a digest of the bytes of these files, of all files in these folders, and of their
    paths below their common folder.

    Reading every byte of an archive takes a while, so the result is cached in `folder` under the
    paths, sizes and times of the files. It is computed again only if a file was moved, touched or
    changed. Two processes may do so at the same time.

    Errors: MissingInputError if a file cannot be read.
    """
    files: list[Path] = []
    try:
        for path in paths:
            files += (
                [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            )
        files = sorted({file.resolve() for file in files})
        facts = [(str(path), *_facts(FileVersion.of(path))) for path in files]
        note = Path(folder) / f"{_digest(facts)}.contents"
        if note.is_file() and len(known := note.read_text()) == 64:
            return known
        total = sum(size for _, size, *_ in facts)
        what = "1 file" if len(files) == 1 else f"{len(files)} files"
        log.info("computing the checksum of %s (%s)", what, _size_in_words(total))
        shared = os.path.commonpath(files) if files else ""
        found = _digest([(os.path.relpath(path, shared), sha256(path)) for path in files])
    except OSError as error:
        raise MissingInputError(
            f"{error.filename or 'a radar file'}: cannot be read ({error.strerror}); check that it"
            " exists."
        ) from error
    newest = max((max(times) for _, _, *times in facts), default=0)
    if newest / 1e9 < time.time() - _SETTLED_SECONDS:
        with written_whole(note) as file:
            file.write_text(found)
    return found


def _facts(version: FileVersion) -> tuple[int, int, int]:
    return version.size, version.mtime_ns, version.ctime_ns


def _size_in_words(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size < 999.5e6 else f"{size / 1e9:.1f} GB"


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
