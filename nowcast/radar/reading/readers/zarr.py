"""Zarr stores of version 3 or 2, in a folder or at an address: CF datasets with any number of
frames.
"""

import json
import math
import os
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.files import FileVersion
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.variables import describe_dataset
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.readers.zarr_chunks import Box, chunks_of, mark_lost
from nowcast.radar.reading.storage import library
from nowcast.radar.remote.path import RemotePath, documents, is_consolidated
from nowcast.radar.remote.servers import can_list, open_server
from nowcast.signals import uninterrupted
from nowcast.untrusted.files import refuse_huge, refuse_irregular, refuse_unpacking

_AT_ONCE = 32
"""Concurrent requests to a server."""
_ASKED_AGAIN = 60.0
"""Seconds after which a remote store is opened again."""


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a store.

    Errors: MissingInputError, MissingLibraryError, DataError naming it and what to do.
    """
    group, variable = _within(options.variable or "")
    with uninterrupted(), _open(path, group) as file:
        if not group and not any(one.ndim >= 2 for one in file.variables.values()):
            _refuse_groups(path)
        described = describe_dataset(
            file, path, replace(options, variable=variable or None), "zarr"
        )
    name = f"{group}/{described.layout.variable}" if group else described.layout.variable
    return replace(described, layout=replace(described.layout, variable=name))


def read(request: ReadRequest) -> storage.Values:
    """Read frames in the units of the store: float64 (time, y, x), NaN = missing.

    Errors: see describe.
    """
    file = request.file
    assert file.layout.dims is not None
    time, y, x = file.layout.dims
    with uninterrupted():
        variable = file.layout.variable
        stored, array = _stored(file.path, variable, _version(file.path, variable))
        missing, dry = (
            storage.missing_numbers(request.options.missing_value, file.layout.missing),
            request.dry,
        )

        def values_of(box: Box) -> storage.Values:
            index = {
                name: part for name, part in zip((time, y, x), box, strict=True) if name is not None
            }
            part = stored[tuple(index.get(str(name), 0) for name in stored.dims)].transpose(*index)
            raw = part.values if time is not None else part.values[np.newaxis]
            return storage.unpack(raw, stored.attrs, missing, dry)

        axes = (
            None if time is None else stored.dims.index(time),
            stored.dims.index(y),
            stored.dims.index(x),
        )
        chunks = chunks_of(array, file.path / variable, axes)
        first, second, third = (
            slice(*part.indices(size)[:2])
            for part, size in zip(request.box, chunks.shape, strict=True)
        )
        box = (first, second, third)
        values = values_of(box)
        # the value that zarr returns for an absent chunk
        fill = 0 if array.metadata.fill_value is None else array.metadata.fill_value
        blank = storage.unpack(
            np.full((1, 1, 1), fill, array.dtype), stored.attrs, missing, dry
        ).item()
        if not np.isnan(blank):
            mark_lost(values, box, chunks, blank, values_of)
        return values


def refuse_foreign(path: Path) -> None:
    """Errors: DataError if a part of the store is a link to elsewhere, is pickled, or is too large
    for radar data.
    """
    folders = [path]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise DataError(
                        f"{path}: {entry.name} is a link, and nowcast does not follow links out of"
                        " a store; replace it by a copy."
                    )
                if entry.is_dir():
                    folders.append(Path(entry.path))
                    continue
                if not entry.is_file():
                    refuse_irregular(entry.path)
                if entry.name in ("zarr.json", ".zarray"):
                    _refuse_array(
                        json.loads(Path(entry.path).read_bytes()),
                        f"{path}: {folder.relative_to(path)}",
                    )


def _refuse_array(about: Any, what: str) -> None:
    """about: the metadata of an array (or of a group, which is always accepted)."""
    if "shape" not in about:
        return
    chunks = about.get("chunks") or about.get("chunk_grid", {}).get("configuration", {}).get(
        "chunk_shape", []
    )
    for shape in (about["shape"], chunks):
        refuse_huge(shape, what)
    if chunks and min(chunks) < 1:
        raise DataError(f"{what} has empty chunks of shape {' x '.join(map(str, chunks))}.")
    refuse_unpacking(math.prod(chunks), f"{what}: a chunk")
    codecs = json.dumps([about.get(key) for key in ("compressor", "filters", "codecs")])
    if "pickle" in codecs:
        raise DataError(
            f"{what} is pickled, which could run any code; write it again as plain numbers."
        )


def _within(name: str) -> tuple[str, str]:
    """Grid/rain → the group Grid and rain in it; '' is the root."""
    group, _, variable = name.strip("/").rpartition("/")
    return group, variable


def _refuse_groups(path: Path) -> None:
    """Errors: DataError naming the variables if all that may be rain are in groups."""
    if isinstance(path, RemotePath):
        found = documents(path)
    else:
        found = {
            os.path.relpath(folder, path): json.loads(Path(folder, name).read_bytes())
            for folder, _, names in os.walk(path)
            for name in {"zarr.json", ".zarray"}.intersection(names)
        }
    inside = [name for name, about in found.items() if len(about.get("shape", [])) >= 2]
    if inside:
        raise DataError(
            f"{path}: its data are in groups ({', '.join(inside)}); name the rain, for example"
            f" data.variable={inside[0]}."
        )


def _open(path: Path, group: str, only: str | None = None) -> xr.Dataset:
    """Open a group of a store; only coordinates are read.

    only: open only this variable, without coordinates, since those of a long series would take many
    requests to a server.
    """
    library("zarr", "zarr", path)
    store, consolidated = _store(path), False
    if isinstance(path, RemotePath):
        found = documents(path)
        _refuse_foreign_documents(found, path, group)
        names = [name.removeprefix(f"{group}/") for name in found]
        consolidated = is_consolidated(found) and not group
    else:
        refuse_foreign(path)
        names = os.listdir(path / group)
    # warnings of codecs and types not yet specified in version 3, and of unknown ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xr.open_dataset(
            store, engine="zarr", group=group or None, consolidated=consolidated, chunks=None,
            cache=False, decode_times=False, decode_coords=False, mask_and_scale=False,
            drop_variables=[one for one in names if one != only] if only else None,
        )  # fmt: skip


def _refuse_foreign_documents(found: dict[str, Any], path: RemotePath, group: str) -> None:
    """Check the metadata of a store on a server as `refuse_foreign` does.

    Pickled numbers are refused again when they would be unpickled, since a server may return
    different metadata the next time.
    """
    from numcodecs.registry import codec_registry

    codec_registry["pickle"] = _no_codec
    for name, about in found.items():
        _refuse_array(about, f"{path}: {name}")
    if group and not can_list(str(path)):
        raise DataError(f"{path}: HTTP cannot list groups; name a variable of the root.")


def _no_codec(*_: Any, **__: Any) -> Any:
    raise DataError("its numbers are pickled, which could run any code.")


_no_codec.from_config = _no_codec  # type: ignore[attr-defined]  # called to make a codec


def _store(path: Path) -> Any:
    """Return what zarr opens: a folder, or a remote store with concurrent requests."""
    if not isinstance(path, RemotePath):
        return path
    zarr = library("zarr", "zarr", path)
    from zarr.storage import FsspecStore

    zarr.config.set({"async.concurrency": _AT_ONCE})
    fs, root = open_server(str(path), asynchronous=True)
    if not fs.async_impl:  # an archive
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    return FsspecStore(fs, read_only=True, path=root.rstrip("/"))


@lru_cache(maxsize=4)
def _stored(path: Path, variable: str, version: object) -> tuple[xr.Variable, Any]:
    """Return the variable as stored, read on access, and its zarr array; `version` changes if the
    store was rewritten or extended.
    """
    group, name = _within(variable)
    opened = _open(path, group, only=name)[name].variable
    zarr = library("zarr", "zarr", path)
    return opened, zarr.open_array(_store(path), path=variable, mode="r")


def _version(path: Path, variable: str) -> object:
    """Return the version of the file with the shape of `variable`; for a remote store, a value that
    changes every minute.
    """
    if isinstance(path, RemotePath):
        return monotonic() // _ASKED_AGAIN
    for name in ("zarr.json", ".zarray"):
        if (path / variable / name).exists():
            return FileVersion.of(path / variable / name)
    raise FileNotFoundError(f"{variable} has no zarr.json or .zarray")
