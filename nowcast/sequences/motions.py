"""The motion of the rain at each time of a series, estimated once and kept next to its frames."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.files import only_writer, refuse_fault_of_machine, written_whole
from nowcast.motion.estimation import METHOD, MOTION_FRAMES, Tracks, follow, spread
from nowcast.motion.grid import COARSE, coarse_size
from nowcast.radar.store.processes import Advance, in_processes
from nowcast.sequences.stored import StoredArray, write_header

if TYPE_CHECKING:  # worker processes do not need to import them
    from nowcast.sequences.clock import Clock
    from nowcast.sequences.direct import DirectFrames
    from nowcast.sequences.packed import PackedRates

log = logging.getLogger(__name__)

_TIMES_A_BLOCK = 64
_BLOCKS_FOR_PROCESSES = 4
"""Least number of blocks for which further processes are started, which takes a second."""

Progress = Callable[[int, int], None]
Frames = tuple["NDArray[np.float32] | StoredArray | DirectFrames", "Clock", int]


def motion_of(
    rates: "PackedRates",
    clock: "Clock",
    progress: Progress = lambda done, of: None,
    input_steps: int = MOTION_FRAMES,
) -> NDArray[np.float16] | StoredArray:
    """Return the motion at each time of a clock, estimated now or by an earlier run.

    The motion at a time is estimated from the frames up to it that a forecast uses, at most the
    newest `MOTION_FRAMES`; missing frames are skipped. If the frames are in a file, the motion is
    cached in a file next to it, written completely or not at all. If two processes need the same
    file, the second waits for the first. All cores are used.

    Args:
        rates: the series.
        clock: the clock of the series.
        progress: called with the number of times done and their total.
        input_steps: number of frames that a forecast uses.

    Returns:
        (times, 2, hc, wc) in pixels per timestep, x then y, on the coarse grid.

    Raises:
        DataError: if the file of an earlier run is damaged; damaged values raise when read.
        CannotCreateError, InputOutputError: if the folder cannot be written.
    """
    shape = (clock.times.size, 2, *coarse_size(*rates.frames.shape[1:]))
    frames = min(input_steps, MOTION_FRAMES)
    if not isinstance(rates.frames, StoredArray):
        return np.concatenate(
            [np.zeros((0, *shape[1:]), np.float16), *_blocks(rates, clock, frames, progress)]
        )
    key = hashlib.sha256(f"{METHOD} {frames} {COARSE}".encode())
    key.update(clock.rows.tobytes() + clock.missing.tobytes())
    path = rates.frames.path.with_name(f"motion-{key.hexdigest()[:16]}.npy")
    if not path.exists():
        with only_writer(path.parent, wait=math.inf):
            if not path.exists():  # unless another process has made it meanwhile
                log.info("estimating the motion at %d times into %s", len(clock.times), path)
                with written_whole(path) as temporary, open(temporary, "wb") as file:
                    write_header(file, shape, np.float16)
                    for block in _blocks(rates, clock, frames, progress):
                        file.write(block.data)
    return _open(path, shape)


class StoredMotion(StoredArray):
    """The motion in a file; each part is checked when it is read, since the file may be large.

    Errors: DataError if a value is not a finite number.
    """

    def __getitem__(self, key: Any) -> Any:
        motion = super().__getitem__(key)
        if not np.isfinite(motion).all():
            raise _damaged(self.path, "it contains values that are not finite")
        return motion


def _open(path: Path, shape: tuple[int, ...]) -> StoredMotion:
    """Open the file. Errors: InputOutputError if the disk fails; DataError if it is damaged."""
    try:
        motion = StoredMotion(path)
        if motion.shape != shape or motion.dtype != np.float16:
            raise ValueError(f"it holds {motion.dtype} of {motion.shape}")
    except (OSError, ValueError, EOFError) as error:
        refuse_fault_of_machine(path, error)
        raise _damaged(path, error) from error
    return motion


def _damaged(path: Path, why: object) -> DataError:
    return DataError(
        f"{path}: this motion file is damaged ({why}); delete it to have it estimated again."
    )


def _blocks(
    rates: "PackedRates", clock: "Clock", of_each: int, progress: Progress
) -> Iterator[NDArray[np.float16]]:
    """Yield the motion at all times in order, in blocks of times; each from `of_each` frames."""
    total = len(clock.times)
    blocks = [range(total)[k : k + _TIMES_A_BLOCK] for k in range(0, total, _TIMES_A_BLOCK)]
    workers = len(os.sched_getaffinity(0)) if len(blocks) >= _BLOCKS_FOR_PROCESSES else 1
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return in_processes(_estimate_block, (rates.frames, clock, of_each), blocks, workers, advance)


def _estimate_block(shared: Frames, block: range, advance: Advance) -> NDArray[np.float16]:
    """Return the motion at the times of a block: (times, 2, hc, wc)."""
    frames, clock, of_each = shared

    @lru_cache(MOTION_FRAMES)
    def tracked(first: int, second: int) -> Tracks:
        return follow(frames[clock.rows[first]], frames[clock.rows[second]], second - first)

    motions = []
    for time in block:
        newest = range(max(time + 1 - of_each, 0), time + 1)
        there = [one for one in newest if not clock.missing[one]]
        tracks = [tracked(first, second) for first, second in pairwise(there)]
        motions.append(spread(tracks, frames.shape[1:]).astype(np.float16))
        advance(1)
    return np.stack(motions)
