"""Zarr stores, of version 3 or 2: a folder that holds a CF dataset of any number of frames."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import storage
from nowcast.radar.cf import describe_dataset
from nowcast.radar.file import RadarFile, ReadOptions
from nowcast.radar.storage import library
from nowcast.signals import uninterrupted
from nowcast.untrusted import refuse_huge

_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    MemoryError,
    SystemError,
)  # what zarr raises of a damaged store


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """What the store at `path` holds. Errors: MissingInputError, MissingLibraryError, DataError naming it and what to do."""
    with uninterrupted(), _explained(path), _open(path, decoded=True) as file:
        return describe_dataset(file, path, options, "zarr")


def read(file: RadarFile, frames: slice, rows: slice, columns: slice, options: ReadOptions) -> storage.Values:
    """Frames of `file`, in the store's own units: float64 (time, y, x), NaN = missing. Errors: as describe."""
    assert file.layout.dims is not None
    time, y, x = file.layout.dims
    with uninterrupted(), _explained(file.path):
        stored = _stored(file.path, file.layout.variable, _changed(file.path, file.layout.variable))
        index = {name: part for name, part in ((time, frames), (y, rows), (x, columns)) if name is not None}
        part = stored[tuple(index.get(str(name), 0) for name in stored.dims)].transpose(*index)
        raw = part.values if time is not None else part.values[np.newaxis]
    missing = storage.missing_numbers(options.missing_value, file.layout.missing)
    return storage.unpack(raw, stored.attrs, missing, file.dry(options))


def refuse_foreign(path: Path) -> None:
    """Errors: DataError where something of the store lies elsewhere, is unpickled, or is of a size that no radar has."""
    for folder, folders, files in os.walk(path):
        linked = [name for name in (*folders, *files) if os.path.islink(os.path.join(folder, name))]
        if linked:
            raise DataError(
                f"{path}: {linked[0]} is a link to elsewhere, and nowcast follows none out of a store; copy it in, or remove it."
            )
        for name in {"zarr.json", ".zarray"}.intersection(files):
            _refuse_array(json.loads(Path(folder, name).read_bytes()), f"{path}: {os.path.relpath(folder, path)}")


def _refuse_array(about: Any, what: str) -> None:
    """about: the metadata of an array (or of a group, of which there is nothing to fear)."""
    if "shape" not in about:
        return
    chunks = about.get("chunks") or about.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape", [])
    for shape in (about["shape"], chunks):
        refuse_huge(shape, what)
    codecs = json.dumps([about.get(key) for key in ("compressor", "filters", "codecs")])
    if "pickle" in codecs:
        raise DataError(f"{what} is pickled, which could run anything; write it again as plain numbers.")


def _open(path: Path, decoded: bool) -> xr.Dataset:
    library("zarr", "zarr", path)
    refuse_foreign(path)
    with warnings.catch_warnings():  # of codecs and types that version 3 has not settled, and xarray's of unknown ones
        warnings.simplefilter("ignore")
        return xr.open_dataset(
            path, engine="zarr", consolidated=False, chunks=None, cache=False,
            decode_times=False, decode_coords=False, mask_and_scale=decoded,
        )  # fmt: skip


@lru_cache(maxsize=4)
def _stored(path: Path, variable: str, changed: int) -> xr.Variable:
    """The variable as stored, read where it is indexed; `changed` tells a store written anew, or longer, from the one before."""
    return _open(path, decoded=False)[variable].variable


def _changed(path: Path, variable: str) -> int:
    """When the shape of `variable` was last written."""
    for name in ("zarr.json", ".zarray"):
        if (path / variable / name).exists():
            return (path / variable / name).stat().st_mtime_ns
    raise FileNotFoundError(f"{variable} has no zarr.json or .zarray")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise storage.explain(path, error) from error
