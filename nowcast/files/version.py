"""Whether a file has changed: what tells one content of it from another."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class FileVersion:
    """The content of a file as it was seen. If two versions are unequal, the file has changed.

    mtime_ns, ctime_ns: when the content, or anything about the file, last changed [ns since 1970].
    A new name changes only the second, which therefore decides nothing.
    parts: of a Zarr store, those of its folders and of the files that describe its arrays.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = field(compare=False)
    parts: tuple["FileVersion", ...] = ()

    @classmethod
    def of(cls, path: str | Path) -> "FileVersion":
        """Return the version of the file or Zarr store that is there now, also of one that lies
        elsewhere and tells its own state. Errors: OSError."""
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
        """When the content last changed, also that of a part [ns since 1970]."""
        return max(one.mtime_ns for one in (self, *self.parts))


def _parts(store: Path) -> Iterator[Path]:
    """The folders of a Zarr store down to those of its chunks, and the files that say what is
    in them.
    """
    for folder in sorted(one for one in store.iterdir() if one.is_dir()):
        yield folder
        yield from sorted(
            one for one in folder.iterdir() if one.name in (".zarray", "zarr.json", "c")
        )
    yield from sorted(
        one for one in store.iterdir() if one.name in (".zgroup", ".zmetadata", "zarr.json")
    )
