"""A path that is an address: a Zarr store, a file or a folder on a server."""

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PosixPath
from typing import Any, Self

from nowcast.errors import DataError, MissingInputError, NowcastError
from nowcast.radar.remote.servers import (
    can_list,
    content_of,
    explain_remote,
    is_absent,
    open_server,
)
from nowcast.untrusted.addresses import check_address, is_address
from nowcast.untrusted.files import MAX_DEPTH
from nowcast.untrusted.isolation import isolated

_ONE_SLASH = re.compile(r"(^|::)([a-z][a-z0-9]*):/(?!/)")
_FILES = (".json", ".zgroup", ".zmetadata", ".zarray", ".nc", ".nc4", ".h5", ".hdf5", ".gz", ".tif")


@dataclass(frozen=True)
class Entry:
    """What a folder on a server holds."""

    name: str
    kind: str

    def is_dir(self) -> bool:
        return self.kind == "directory"

    def is_file(self) -> bool:
        return self.kind == "file"

    def is_symlink(self) -> bool:
        return False


class RemotePath(PosixPath):
    """An address as a path: `/` joins to it, and its methods ask the server what is there.

    It has no local name: what opens files by their name does not open it.
    """

    def __str__(self) -> str:
        return _ONE_SLASH.sub(r"\1\2://", super().__str__())

    def __fspath__(self) -> str:
        return str(self)

    def __truediv__(self, name: Any) -> Self:
        inside, chained, archive = str(self).partition("::")
        if chained:
            return type(self)(f"{inside.rstrip('/')}/{name}::{archive}")
        return super().__truediv__(name)

    def expanduser(self) -> Self:
        return self

    def resolve(self, strict: bool = False) -> Self:
        return self

    def absolute(self) -> Self:
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._kind() != "" or self.is_dir()

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        if can_list(str(self)):
            return self._kind() == "directory"
        names = () if self.name.endswith(_FILES) else ("zarr.json", ".zmetadata")
        return any((self / name).is_readable() for name in names)

    def is_readable(self) -> bool:
        """Whether a file is there, and given."""
        return self._kind(refused="") == "file"

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._kind() == "file"

    def _kind(self, refused: str | None = None) -> str:
        """ "file" or "directory"; "" if nothing is there, `refused` if it may not be seen.

        Errors: as explain_remote, also for what may not be seen if `refused` is None.
        """
        try:
            return str(self.info()["type"])
        except FileNotFoundError:
            return ""
        except MissingInputError:
            if refused is None:
                raise
            return refused

    def info(self) -> dict[str, Any]:
        """What the server says of it. Errors: FileNotFoundError; as explain_remote."""
        return isolated(self, _info, str(self))

    def entries(self) -> list[Entry]:
        """What the folder holds, by name. Errors: MissingInputError; as explain_remote."""
        if not can_list(str(self)):
            raise MissingInputError(
                f"{self}: HTTP has no listing of folders; give the address of one file or store."
            )
        named = isolated(self, _listed, str(self))
        return [Entry(name, named[name]) for name in sorted(named) if name != self.name]

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """A file's state of a store: its number and size change with what describes it.

        Errors: FileNotFoundError if no store is there; as explain_remote.
        """
        digest, size = isolated(self, _version, self)
        number = int(digest[:15], 16)
        times = {"st_mtime_ns": 0, "st_ctime_ns": 0}
        return os.stat_result((stat.S_IFREG, number, 0, 1, 0, 0, size, 0, 0, 0), times)


def path_of(path: str | Path) -> Path:
    """A path as a user gives it: one that is an address by its server, else a local one.

    Errors: ConfigError for an address that nowcast does not follow.
    """
    if isinstance(path, RemotePath) or not is_address(path):
        return Path(path).expanduser() if not isinstance(path, RemotePath) else path
    check_address(str(path))
    if not can_list(str(path)) and re.search(r"[*\[\]]", str(path)):
        raise MissingInputError(
            f"{path}: HTTP has no listing of folders, so it takes no pattern; give the address of"
            " one file or store."
        )
    isolated(path, _forget, str(path))
    return RemotePath(str(path))


# All that speaks with a server is done in the process that reads files: the threads by which fsspec
# does so would be lost where a process forks that has them.


def _forget(address: str) -> None:
    """Forget what was listed before: it may have changed."""
    open_server(address)[0].invalidate_cache()


def _info(address: str) -> dict[str, Any]:
    try:
        fs, path = open_server(address)
        return dict(fs.info(path))
    except Exception as error:
        if is_absent(error):
            raise FileNotFoundError(f"{address} is not there") from None
        raise explain_remote(address, error) from error


def _listed(address: str) -> dict[str, str]:
    """The names in a folder, and the kind of each."""
    try:
        fs, path = open_server(address)
        found = fs.ls(path, detail=True)
    except Exception as error:
        if is_absent(error):
            return {}
        raise explain_remote(address, error) from error
    named = {str(one["name"]).rstrip("/").rpartition("/")[2]: str(one["type"]) for one in found}
    named.pop("", None)
    return named


def documents(store: RemotePath) -> dict[str, Any]:
    """What describes the groups and arrays of a Zarr store, by their path; "" is the root.

    Of consolidated metadata it is one request. Each array has its "shape".

    Errors: FileNotFoundError if no store is there; DataError if it cannot be listed and does not
    say what it holds; the server's.
    """
    fs, root = open_server(str(store))

    def read(*names: str) -> Any:
        content = content_of(fs, "/".join(filter(None, [root.rstrip("/"), *names])))
        return None if content is None else json.loads(content)

    about = read("zarr.json")
    if about is not None:
        consolidated = (about.get("consolidated_metadata") or {}).get("metadata")
        if consolidated is not None:
            return {"": about, **consolidated}
    else:
        consolidated = (read(".zmetadata") or {}).get("metadata")
        if consolidated is not None:
            return _by_array(consolidated)
        about = read(".zgroup")
    if about is None:
        raise FileNotFoundError(f"{store} has no zarr.json or .zgroup")
    if not can_list(str(store)):
        raise DataError(
            f"{store}: HTTP has no listing, and this store has no consolidated metadata that say"
            " what it holds; have it written with zarr.consolidate_metadata."
        )
    return {"": about, **dict(_walked(store, read, ()))}


def is_consolidated(found: dict[str, Any]) -> bool:
    """Whether documents were read as one."""
    return "consolidated_metadata" in found[""]


def _by_array(metadata: dict[str, Any]) -> dict[str, Any]:
    """Consolidated metadata of version 2, `time/.zarray` → `time`."""
    found: dict[str, Any] = {"": {"consolidated_metadata": True}}
    for name, about in metadata.items():
        above, _, kind = name.rpartition("/")
        found.setdefault(above, {}).update({".zattrs": about} if kind == ".zattrs" else about)
    return found


def _walked(store: RemotePath, read: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if len(above) > MAX_DEPTH:
        raise DataError(f"{store}: has more than {MAX_DEPTH} groups within one another.")
    folder = store
    for name in above:
        folder = folder / name
    for entry in folder.entries():
        inner = (*above, entry.name)
        if not entry.is_dir():
            continue
        about = read(*inner, "zarr.json") or read(*inner, ".zarray") or read(*inner, ".zgroup")
        if about is None:
            continue
        yield "/".join(inner), about
        if "shape" not in about:
            yield from _walked(store, read, inner)


def _version(store: RemotePath) -> tuple[str, int]:
    try:
        content = json.dumps(documents(store), sort_keys=True).encode()
    except (FileNotFoundError, NowcastError):
        raise
    except Exception as error:
        raise explain_remote(str(store), error) from error
    return sha256(content).hexdigest(), len(content)
