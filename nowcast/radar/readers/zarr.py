"""Zarr stores, of version 3 or 2: a folder that holds a CF dataset of any number of frames."""

import json
import math
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import storage
from nowcast.radar.cf import describe_dataset
from nowcast.radar.file import RadarFile, ReadOptions
from nowcast.radar.readers.zarr_chunks import Box, chunks_of, mark_lost
from nowcast.radar.storage import library
from nowcast.signals import uninterrupted
from nowcast.untrusted import refuse_huge, refuse_irregular, refuse_unpacking


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """What the store at `path` holds. Errors: MissingInputError, MissingLibraryError, DataError naming it and what to do."""
    with uninterrupted(), _open(path, decoded=True) as file:
        return describe_dataset(file, path, options, "zarr")


def read(file: RadarFile, frames: slice, rows: slice, columns: slice, options: ReadOptions) -> storage.Values:
    """Frames of `file`, in the store's own units: float64 (time, y, x), NaN = missing. Errors: as describe."""
    assert file.layout.dims is not None
    time, y, x = file.layout.dims
    with uninterrupted():
        variable = file.layout.variable
        stored, array = _stored(file.path, variable, _changed(file.path, variable))
        missing = storage.missing_numbers(options.missing_value, file.layout.missing)

        def values_of(box: Box) -> storage.Values:
            index = {name: part for name, part in zip((time, y, x), box, strict=True) if name is not None}
            part = stored[tuple(index.get(str(name), 0) for name in stored.dims)].transpose(*index)
            raw = part.values if time is not None else part.values[np.newaxis]
            return storage.unpack(raw, stored.attrs, missing)

        axes = None if time is None else stored.dims.index(time), stored.dims.index(y), stored.dims.index(x)
        chunks = chunks_of(array, file.path / variable, axes)
        first, second, third = (
            slice(*part.indices(size)[:2]) for part, size in zip((frames, rows, columns), chunks.shape, strict=True)
        )
        box = (first, second, third)
        values = values_of(box)
        blank = storage.unpack(np.full((1, 1, 1), array.metadata.fill_value, array.dtype), stored.attrs, missing).item()
        if not np.isnan(blank):
            mark_lost(values, box, chunks, blank, values_of)
        return values


def refuse_foreign(path: Path) -> None:
    """Errors: DataError where something of the store lies elsewhere, is unpickled, or is of a size that no radar has."""
    folders = [path]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise DataError(
                        f"{path}: {entry.name} is a link to elsewhere, and nowcast follows none out of a store; copy it in."
                    )
                if entry.is_dir():
                    folders.append(Path(entry.path))
                    continue
                if not entry.is_file():
                    refuse_irregular(entry.path)
                if entry.name in ("zarr.json", ".zarray"):
                    _refuse_array(json.loads(Path(entry.path).read_bytes()), f"{path}: {folder.relative_to(path)}")


def _refuse_array(about: Any, what: str) -> None:
    """about: the metadata of an array (or of a group, of which there is nothing to fear)."""
    if "shape" not in about:
        return
    chunks = about.get("chunks") or about.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape", [])
    for shape in (about["shape"], chunks):
        refuse_huge(shape, what)
    if chunks and min(chunks) < 1:
        raise DataError(f"{what} has chunks of the size {' x '.join(map(str, chunks))}, which hold nothing.")
    refuse_unpacking(math.prod(chunks), f"{what}: a chunk")
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
def _stored(path: Path, variable: str, changed: int) -> tuple[xr.Variable, Any]:
    """The variable as stored, read where it is indexed, and its array in zarr; `changed` tells a store that was written again, or is
    longer, from the one before."""
    opened = _open(path, decoded=False)[variable].variable
    return opened, library("zarr", "zarr", path).open_array(path / variable, mode="r")


def _changed(path: Path, variable: str) -> int:
    """When the shape of `variable` was last written."""
    for name in ("zarr.json", ".zarray"):
        if (path / variable / name).exists():
            return (path / variable / name).stat().st_mtime_ns
    raise FileNotFoundError(f"{variable} has no zarr.json or .zarray")
