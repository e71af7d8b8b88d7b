"""Survey radar files of any kind: group files of the same kind, read each frame once, and list what
cannot be read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nowcast.errors import DataError, NowcastError
from nowcast.radar.inspection.inspection import InspectedFrame, look_at
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.formats import read_frames
from nowcast.radar.reading.rates import to_rate
from nowcast.radar.reading.storage import frames_a_block
from nowcast.radar.series.describing import KnownFiles, Problem, describe_files, kinds_of
from nowcast.radar.store.processes import Advance, in_processes
from nowcast.untrusted.isolation import isolated

_WORTH_A_PROCESS = 50_000_000  # pixels; reading fewer is faster than starting processes


@dataclass
class Group:
    """Files of one format, variable, units and grid."""

    files: list[RadarFile] = field(default_factory=list)
    frames: list[InspectedFrame] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """Some frames of a file, few enough to fit in memory."""

    group: int
    file: RadarFile
    frames: slice


def group_files(paths: Iterable[Path], options: ReadOptions) -> tuple[list[Group], list[Problem]]:
    """Describe each file; return the groups in the order of their first files, and a problem for
    each unreadable file.
    """
    unreadable: list[Problem] = []
    files = describe_files(
        paths, KnownFiles(options).describe, unreadable.append, caught=(NowcastError,)
    )
    return [Group(kind) for kind in kinds_of(files)], unreadable


def blocks_of(groups: list[Group]) -> list[Block]:
    """Return all frames of all files, in blocks of bounded size."""
    blocks = []
    for number, group in enumerate(groups):
        for file in group.files:
            size, count = frames_a_block(*file.layout.shape), len(file.times)
            # not needed for reading, and large to send to another process
            file = replace(file, place={})
            blocks += [
                Block(number, file, slice(first, min(first + size, count)))
                for first in range(0, count, size)
            ]
    return blocks


def look_through(
    blocks: list[Block], options: ReadOptions, workers: int
) -> Iterator[tuple[list[InspectedFrame], list[Problem]]]:
    """Read the blocks in `workers` processes; yield the frames and problems of each, in order.

    The number of processes does not change the results.
    """
    pixels = sum(
        (block.frames.stop - block.frames.start) * np.prod(block.file.layout.shape)
        for block in blocks
    )
    workers = workers if pixels >= _WORTH_A_PROCESS else 1
    return in_processes(_look_at_block, options, blocks, workers, lambda count: None)


def _look_at_block(
    options: ReadOptions, block: Block, advance: Advance
) -> tuple[list[InspectedFrame], list[Problem]]:
    advance(1)
    try:
        return isolated(block.file.path, _look_at_frames, block.file, block.frames, options), []
    except NowcastError:  # read frame by frame to find the bad ones
        frames, unreadable = [], []
        for k in range(block.frames.start, block.frames.stop):
            try:
                frames += isolated(
                    block.file.path, _look_at_frames, block.file, slice(k, k + 1), options
                )
            except NowcastError as error:
                unreadable.append(Problem.of(block.file.path, error))
        return frames, unreadable


def _look_at_frames(file: RadarFile, frames: slice, options: ReadOptions) -> list[InspectedFrame]:
    times = file.times[frames]
    stored = read_frames(ReadRequest(file, options, frames))
    if len(stored) != len(times):
        raise DataError(f"{file.path}: has fewer frames than when it was opened; open it again.")
    seen, unlimited = [], replace(options, max_rate=np.inf)
    for k in range(len(times)):  # one by one, for memory
        rate, infinite = to_rate(stored[k : k + 1], file, times[k : k + 1], unlimited)
        seen.append(look_at(times[k], rate[0], options.max_rate, options.above_max_rate, infinite))
    return seen
