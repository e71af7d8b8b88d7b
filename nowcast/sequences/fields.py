"""What lies beside the rain on its grid, at the times of its frames: time of day, and fields of
their own times or none.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.files import refuse_fault_of_machine, written_whole
from nowcast.sequences.cache import mark_used
from nowcast.sequences.stored import StoredArray, write_header

SMALL_BYTES = 64 * 2**20
"""Up to here a field is held in memory, beyond it in a file of the cache."""

Reader = Callable[[int, int], NDArray[np.float32]]
"""read(first, last): frames first … last − 1 of a field, (n, y, x), NaN = missing."""


@dataclass(frozen=True)
class Field:
    """One field on the grid of the radar.

    frames: (n, y, x) in its own units, NaN = missing.
    times: (n,) from which on each holds, rising; None for one that holds for ever, whose n is 1.
    max_age: for how long each holds.
    """

    frames: NDArray[np.float32] | StoredArray
    times: NDArray[np.datetime64] | None
    max_age: np.timedelta64

    def latest(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """For each time (t,) the number of the latest frame at or before it; -1 where that is
        older than `max_age`, or none is.
        """
        if self.times is None:
            return np.zeros(len(times), np.int64)
        frames = np.searchsorted(self.times, times, side="right") - 1
        ages = (
            times - self.times[np.maximum(frames, 0)]
            if self.times.size
            else np.zeros(len(times), "timedelta64[ns]")
        )
        return np.where((frames >= 0) & (ages <= self.max_age), frames, -1)

    def at(self, times: NDArray[np.datetime64], rows: slice, columns: slice) -> NDArray[np.float32]:
        """The latest frame at or before each time, (t, h, w); NaN where there is none."""
        values = np.full(
            (len(times), *self.frames[:0, rows, columns].shape[1:]), np.nan, np.float32
        )
        for k, frame in enumerate(self.latest(times)):
            if frame >= 0:
                values[k] = self.frames[frame, rows, columns]
        return values


@dataclass(frozen=True)
class Fields:
    """All that lies beside the rain, as `Inputs` wants it: the time of day first, then the
    fields.
    """

    time_of_day: bool
    fields: tuple[Field, ...] = ()

    def read(
        self, times: NDArray[np.datetime64], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """For the frames of these times, (t, k, h, w) of a part of the grid: nothing in it is of a
        later time than its frame.

        `rows` and `columns` have a start and a stop where there are no fields to tell the size of
        the grid.
        """
        found = [field.at(times, rows, columns) for field in self.fields]
        if self.time_of_day:
            shape = found[0].shape if found else (len(times), _length(rows), _length(columns))
            waves = [np.broadcast_to(wave[:, None, None], shape) for wave in day_waves(times)]
            found = [*waves, *found]
        return np.stack(found, axis=1)


def day_waves(times: NDArray[np.datetime64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sine and cosine of the time of day (UTC): 0 and 1 at midnight, 1 and 0 at 6 h."""
    angle = 2 * np.pi * ((times - times.astype("datetime64[D]")) / np.timedelta64(1, "D"))
    return np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)


def hold(
    read: Reader, shape: tuple[int, int, int], folder: str | Path, source: str
) -> NDArray[np.float32] | StoredArray:
    """All frames (n, y, x) of a field: in memory where they are few, else unpacked once into a file
    of `folder`, read as needed.

    source: which file, what of it; another source never meets the file. Errors: DataError if the
    file is damaged; InputOutputError.
    """
    if 4 * np.prod(shape) <= SMALL_BYTES:
        return read(0, shape[0])
    path = Path(folder) / f"field-{hashlib.sha256(source.encode()).hexdigest()[:16]}.npy"
    frames = None
    while frames is None:  # again if another process removes it before it is open
        if not path.exists():
            with written_whole(path) as temporary:
                _unpack(read, shape, temporary)
        frames = _open(path, shape)
    mark_used(path)
    return frames


def _open(path: Path, shape: tuple[int, int, int]) -> StoredArray | None:
    """Open an unpacked field; None if it is gone.

    Errors: DataError if it is damaged; InputOutputError if a disk fails.
    """
    try:
        frames = StoredArray(path)
        if frames.shape != shape or frames.dtype != np.float32:
            raise ValueError(f"it holds {frames.dtype} of {frames.shape}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        refuse_fault_of_machine(path, error)
        raise DataError(
            f"{path}: this unpacked field is damaged ({error}); delete it, and it is made again."
        ) from error
    return frames


def _unpack(read: Reader, shape: tuple[int, int, int], path: Path) -> None:
    block = max(1, SMALL_BYTES // (4 * shape[1] * shape[2]))
    with open(path, "wb") as file:
        write_header(file, shape)
        for first in range(0, shape[0], block):
            file.write(np.ascontiguousarray(read(first, min(first + block, shape[0]))).data)


def _length(part: slice) -> int:
    return int(part.stop - (part.start or 0))
