"""Absent chunks of a Zarr store: decide whether they are dry or lost.

Zarr does not write chunks that contain only the fill value, and reads absent chunks as that value.
If the fill value means missing, there is nothing to decide. If it means dry, as 0 does for packed
numbers of version 3, an absent chunk may be dry, lost, or not yet written. It counts as missing if

- rain borders on it: at least half of the pixels next to one of its sides, or of the frame before
  or after it, are wet;
- or another chunk with only the fill value was written, so this store writes all chunks.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.radar.reading.storage import Values
from nowcast.radar.remote.path import RemotePath

log = logging.getLogger(__name__)

_WET = 0.5  # least share of wet pixels along a side for which rain borders on a chunk

Box = tuple[slice, slice, slice]
"""Frames, rows and columns of the array."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of an array in its folder.

    shape, sizes: of the array and of its chunks, as (frames, rows, columns). name: returns the file
    name of a chunk from its numbers along these axes.
    """

    folder: Path
    shape: tuple[int, int, int]
    sizes: tuple[int, int, int]
    name: Callable[[tuple[int, int, int]], str]

    def is_there(self, number: tuple[int, int, int]) -> bool:
        if isinstance(self.folder, RemotePath):
            return (self.folder / self.name(number)).is_readable()
        return os.path.exists(os.path.join(self.folder, self.name(number)))

    def within(self, box: Box) -> Iterator[tuple[int, int, int]]:
        """Yield the numbers of the chunks that overlap a box."""
        spans = [
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(box, self.sizes, strict=True)
        ]
        yield from product(*spans)

    def box(self, number: tuple[int, int, int]) -> Box:
        spans = zip(number, self.sizes, self.shape, strict=True)
        a, b, c = (slice(k * size, min((k + 1) * size, length)) for k, size, length in spans)
        return a, b, c


def mark_lost(
    values: Values, box: Box, chunks: Chunks, blank: float, read: Callable[[Box], Values]
) -> None:
    """Set `values` (time, y, x), the values of `box`, to NaN in lost chunks.

    blank: the value read for an absent chunk. read: reads any box of the array.
    """
    there = {
        number: _holds_other(values[_shifted(chunks.box(number), box)], blank)
        or chunks.is_there(number)
        for number in chunks.within(box)
    }
    absent = [number for number, is_there in there.items() if not is_there]
    if not absent:
        return
    writes_all = any(
        _lies_within(chunks.box(number), box)
        and (values[_shifted(chunks.box(number), box)] == blank).all()
        for number, is_there in there.items()
        if is_there
    )
    for number in absent:
        if writes_all or any(_is_wet(read(side), blank) for side in _sides(number, chunks)):
            _tell(chunks.folder, chunks.name(number))
            values[_shifted(chunks.box(number), box)] = np.nan


def _sides(number: tuple[int, int, int], chunks: Chunks) -> Iterator[Box]:
    """Yield the boxes that border on a chunk and belong to existing chunks."""
    box = chunks.box(number)
    for axis, step in product((0, 1, 2), (-1, 1)):
        near = [k + step if n == axis else k for n, k in enumerate(number)]
        edge = box[axis].start - 1 if step < 0 else box[axis].stop
        if 0 <= edge < chunks.shape[axis] and chunks.is_there((near[0], near[1], near[2])):
            a, b, c = (slice(edge, edge + 1) if n == axis else part for n, part in enumerate(box))
            yield a, b, c


def _is_wet(side: Values, blank: float) -> bool:
    """Return whether at least half of the pixels of any frame are wet."""
    wet = (side != blank) & ~np.isnan(side)
    return bool((wet.mean(axis=(1, 2)) >= _WET).any())


def _holds_other(values: Values, blank: float) -> bool:
    """Return whether any value differs from that of an absent chunk, so the chunk must exist."""
    return bool((values != blank).any())


def _lies_within(inner: Box, outer: Box) -> bool:
    return all(a.start >= b.start and a.stop <= b.stop for a, b in zip(inner, outer, strict=True))


def _shifted(part: Box, box: Box) -> Box:
    """Return a part of the array relative to the start of `box`."""
    a, b, c = (
        slice(max(one.start - all.start, 0), max(one.stop - all.start, 0))
        for one, all in zip(part, box, strict=True)
    )
    return a, b, c


@lru_cache
def _tell(folder: Path, name: str) -> None:
    log.warning(
        "%s: its chunk %s does not exist although rain borders on it, so it counts as missing.",
        folder,
        name,
    )


def chunks_of(array: Any, folder: Path, axes: tuple[int | None, int, int]) -> Chunks:
    """Return the chunks of a zarr array. axes: its axes of frames (None: no such axis), rows and
    columns; for other axes the first entry is used.
    """
    sizes = array.shards or array.chunks

    def name(number: tuple[int, int, int]) -> str:
        place = [0] * len(array.shape)
        for axis, k in zip(axes, number, strict=True):
            if axis is not None:
                place[axis] = k
        return str(array.metadata.encode_chunk_key(tuple(place)))

    shape, each = (
        [1 if axis is None else int(of[axis]) for axis in axes] for of in (array.shape, sizes)
    )
    return Chunks(folder, (shape[0], shape[1], shape[2]), (each[0], each[1], each[2]), name)
