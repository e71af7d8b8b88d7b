"""Paths for addresses: a Zarr store, a file or a folder on a server."""

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
    """An entry of a folder on a server."""

    name: str
    kind: str

    def is_dir(self) -> bool:
        return self.kind == "directory"

    def is_file(self) -> bool:
        return self.kind == "file"

    def is_symlink(self) -> bool:
        return False


class RemotePath(PosixPath):
    """An address as a path: `/` joins names to it, and its methods query the server.

    It is not a local file name: `open` and libraries that take file names cannot open it.
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
        """Return whether the file exists and the server allows access."""
        return self._kind(refused="") == "file"

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._kind() == "file"

    def _kind(self, refused: str | None = None) -> str:
        """Return "file" or "directory"; "" if nothing exists, `refused` if access is denied.

        Errors: see explain_remote; also if access is denied and `refused` is None.
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
        """Return the server's metadata. Errors: FileNotFoundError; see explain_remote."""
        return isolated(self, _info, str(self))

    def entries(self) -> list[Entry]:
        """List the folder, sorted by name. Errors: MissingInputError; see explain_remote."""
        if not can_list(str(self)):
            raise MissingInputError(
                f"{self}: HTTP cannot list folders; give the address of one file or store."
            )
        named = isolated(self, _listed, str(self))
        return [Entry(name, named[name]) for name in sorted(named) if name != self.name]

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return a stat result for a store; its inode number and size change with its metadata.

        Errors: FileNotFoundError if no store exists; see explain_remote.
        """
        digest, size = isolated(self, _version, self)
        number = int(digest[:15], 16)
        times = {"st_mtime_ns": 0, "st_ctime_ns": 0}
        return os.stat_result((stat.S_IFREG, number, 0, 1, 0, 0, size, 0, 0, 0), times)


def path_of(path: str | Path) -> Path:
    """Return a user's path as a RemotePath if it is an address, else as a local path.

    Errors: ConfigError for an address that nowcast does not support.
    """
    if isinstance(path, RemotePath) or not is_address(path):
        return Path(path).expanduser() if not isinstance(path, RemotePath) else path
    check_address(str(path))
    if not can_list(str(path)) and re.search(r"[*\[\]]", str(path)):
        raise MissingInputError(
            f"{path}: HTTP cannot list folders, so patterns are not possible; give the address of"
            " one file or store."
        )
    isolated(path, _forget, str(path))
    return RemotePath(str(path))


# Only the process that reads files talks to servers: fsspec does so in threads, which would be
# lost in a forked process.


def _forget(address: str) -> None:
    """Clear cached listings, which may have changed."""
    open_server(address)[0].invalidate_cache()


def _info(address: str) -> dict[str, Any]:
    try:
        fs, path = open_server(address)
        return dict(fs.info(path))
    except Exception as error:
        if is_absent(error):
            raise FileNotFoundError(f"{address} does not exist") from None
        raise explain_remote(address, error) from error


def _listed(address: str) -> dict[str, str]:
    """Return the kind of each entry of a folder, by name."""
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
    """Return the metadata of the groups and arrays of a Zarr store, by path; "" is the root.

    Consolidated metadata takes one request. The metadata of an array has a "shape".

    Errors: FileNotFoundError if no store exists; DataError if the store cannot be listed and has no
    consolidated metadata; errors of the server.
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
            f"{store}: HTTP cannot list this store, and it has no consolidated metadata; write"
            " these with zarr.consolidate_metadata."
        )
    return {"": about, **dict(_walked(store, read, ()))}


def is_consolidated(found: dict[str, Any]) -> bool:
    """Return whether metadata from `documents` were consolidated."""
    return "consolidated_metadata" in found[""]


def _by_array(metadata: dict[str, Any]) -> dict[str, Any]:
    """Consolidated metadata of version 2 → the same by array: `time/.zarray` → `time`."""
    found: dict[str, Any] = {"": {"consolidated_metadata": True}}
    for name, about in metadata.items():
        above, _, kind = name.rpartition("/")
        found.setdefault(above, {}).update({".zattrs": about} if kind == ".zattrs" else about)
    return found


def _walked(store: RemotePath, read: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if len(above) > MAX_DEPTH:
        raise DataError(f"{store}: groups are nested more than {MAX_DEPTH} deep.")
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
