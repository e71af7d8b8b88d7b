"""Detect whether a file has changed, from its size and times."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class FileVersion:
    """The state of a file. If two versions are unequal, the file has changed.

    mtime_ns, ctime_ns: last change of the content, and of any attribute [ns since 1970]. Renaming
    changes only ctime_ns, so it is not compared.
    parts: versions of a Zarr store's folders and of the files that describe its arrays.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = field(compare=False)
    parts: tuple["FileVersion", ...] = ()

    @classmethod
    def of(cls, path: str | Path) -> "FileVersion":
        """Return the current version of a file or Zarr store, also of a remote path with its own
        `stat`. Errors: OSError."""
        about = path.stat() if isinstance(path, Path) else os.stat(path)
        version = cls._stated(about)
        if not stat.S_ISDIR(about.st_mode):
            return version
        return replace(
            version, parts=tuple(cls._stated(part.stat()) for part in _parts(Path(path)))
        )

    @classmethod
    def _stated(cls, about: os.stat_result) -> "FileVersion":
        return cls(
            about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
        )  # fmt: skip

    @property
    def changed_ns(self) -> int:
        """The last change of the content or of a part [ns since 1970]."""
        return max(one.mtime_ns for one in (self, *self.parts))


def _parts(store: Path) -> Iterator[Path]:
    """Yield the folders of a Zarr store down to those of its chunks, and the files that describe
    its arrays.
    """
    for folder in sorted(one for one in store.iterdir() if one.is_dir()):
        yield folder
        yield from sorted(
            one for one in folder.iterdir() if one.name in (".zarray", "zarr.json", "c")
        )
    yield from sorted(
        one for one in store.iterdir() if one.name in (".zgroup", ".zmetadata", "zarr.json")
    )
