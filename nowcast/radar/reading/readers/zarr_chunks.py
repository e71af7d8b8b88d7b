"""Chunks of a Zarr store that are not there: dry, or lost.

Zarr leaves out chunks that hold nothing but the fill value, and reads what is not there as that
value. If it means missing, nothing needs to be told apart. If it means dry, as 0 does in packed
numbers of version 3, an absent chunk is dry weather, or was lost, or is not written yet. It counts
as missing, not as dry,

- if rain leads into it: of the pixels next to one of its sides, or of the frame before or after it,
  at least half are wet;
- or if another chunk is there that holds nothing but the fill value, so that this store leaves out
  none.
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

_WET = 0.5  # share of the pixels along a side from which rain leads into a chunk

Box = tuple[slice, slice, slice]
"""Frames, rows and columns of the array."""


@dataclass(frozen=True)
class Chunks:
    """How an array lies in its folder.

    shape, sizes: of the array and of its chunks, as (frames, rows, columns). name: that of a
    chunk's file, by its number along each.
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
        """The numbers of the chunks that a box meets."""
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
    """Make NaN of `values` (time, y, x), which are those of `box`, where a chunk was lost.

    blank: what an absent chunk reads as. read: of a box, other values of the array.
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
    """What lies next to a chunk, in chunks that are there."""
    box = chunks.box(number)
    for axis, step in product((0, 1, 2), (-1, 1)):
        near = [k + step if n == axis else k for n, k in enumerate(number)]
        edge = box[axis].start - 1 if step < 0 else box[axis].stop
        if 0 <= edge < chunks.shape[axis] and chunks.is_there((near[0], near[1], near[2])):
            a, b, c = (slice(edge, edge + 1) if n == axis else part for n, part in enumerate(box))
            yield a, b, c


def _is_wet(side: Values, blank: float) -> bool:
    """Whether at least half of the pixels of some frame are wet."""
    wet = (side != blank) & ~np.isnan(side)
    return bool((wet.mean(axis=(1, 2)) >= _WET).any())


def _holds_other(values: Values, blank: float) -> bool:
    """Whether some value of a chunk is not what an absent one reads as, so that it is there."""
    return bool((values != blank).any())


def _lies_within(inner: Box, outer: Box) -> bool:
    return all(a.start >= b.start and a.stop <= b.stop for a, b in zip(inner, outer, strict=True))


def _shifted(part: Box, box: Box) -> Box:
    """A part of the array, counted from where `box` starts."""
    a, b, c = (
        slice(max(one.start - all.start, 0), max(one.stop - all.start, 0))
        for one, all in zip(part, box, strict=True)
    )
    return a, b, c


@lru_cache
def _tell(folder: Path, name: str) -> None:
    log.warning(
        "%s: its chunk %s is not there though rain leads into it, so it counts as missing.",
        folder,
        name,
    )


def chunks_of(array: Any, folder: Path, axes: tuple[int | None, int, int]) -> Chunks:
    """The chunks of an array of zarr. axes: where it has frames (None: it has none), rows and
    columns; of others the first entry counts.
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
