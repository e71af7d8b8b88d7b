"""What is known next to the rain on its grid: with each frame (beside), and for each lead time
(ahead).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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
class FieldAhead:
    """Forecasts of one field on the grid of the radar, as of a weather model.

    frames: (runs × leads, y, x) in its own units, NaN = missing, all leads of a run together.
    references: (runs,) when each run begins, rising. leads: (leads,) after it, rising.
    delay: how long after its reference time a run is there. max_age: how old a run may be.
    """

    frames: NDArray[np.float32] | StoredArray
    references: NDArray[np.datetime64]
    leads: NDArray[np.timedelta64]
    delay: np.timedelta64
    max_age: np.timedelta64

    def run_at(self, reference_time: np.datetime64) -> int:
        """The number of the newest run that is there at a reference time; -1 if none is, or it is
        older than `max_age`.
        """
        run = int(np.searchsorted(self.references + self.delay, reference_time, side="right")) - 1
        return run if run >= 0 and reference_time - self.references[run] <= self.max_age else -1

    def at_leads(
        self,
        reference_time: np.datetime64,
        times: NDArray[np.datetime64],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """The newest run that is there at the reference time, its latest frame at or before each of
        these times, (lead, h, w); NaN if there is none.
        """
        values = np.full(
            (len(times), *self.frames[:0, rows, columns].shape[1:]), np.nan, np.float32
        )
        run = self.run_at(reference_time)
        if run < 0:
            return values
        step = np.diff(self.leads).max() if self.leads.size > 1 else np.timedelta64(0, "ns")
        for k, lead in enumerate(times - self.references[run]):
            frame = int(np.searchsorted(self.leads, lead, side="right")) - 1
            if frame >= 0 and lead - self.leads[frame] <= step:
                values[k] = self.frames[run * self.leads.size + frame, rows, columns]
        return values


@dataclass(frozen=True)
class Wave:
    """A function of the time alone, the same at each pixel: known beside and ahead."""

    value: Callable[[NDArray[np.datetime64]], NDArray[np.float32]]

    def at(self, times: NDArray[np.datetime64], rows: slice, columns: slice) -> NDArray[np.float32]:
        """(t, h, w) of these times; `rows` and `columns` have a start and a stop."""
        shape = len(times), _length(rows), _length(columns)
        return np.broadcast_to(self.value(times)[:, None, None], shape)

    def at_leads(
        self,
        reference_time: np.datetime64,
        times: NDArray[np.datetime64],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """(lead, h, w) of these times."""
        return self.at(times, rows, columns)


def sine_of_day(times: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Sine of the time of day (UTC): 0 at midnight, 1 at 6 h."""
    return np.sin(_angle_of_day(times)).astype(np.float32)


def cosine_of_day(times: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Cosine of the time of day (UTC): 1 at midnight, 0 at 6 h."""
    return np.cos(_angle_of_day(times)).astype(np.float32)


def _angle_of_day(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    angle: NDArray[np.float64] = (
        2 * np.pi * ((times - times.astype("datetime64[D]")) / np.timedelta64(1, "D"))
    )
    return angle


WAVES: Mapping[str, Mapping[str, Wave]] = {
    "time_of_day": {
        "time_of_day_sine": Wave(sine_of_day),
        "time_of_day_cosine": Wave(cosine_of_day),
    },
}
"""Inputs that are functions of the time: key in `inputs` and `inputs.ahead` → channels by name."""


class Beside(Protocol):
    """A field known with each frame."""

    def at(self, times: NDArray[np.datetime64], rows: slice, columns: slice) -> NDArray[np.float32]:
        """(t, h, w) of a part of the grid: nothing in it is of a later time than its frame."""


class Ahead(Protocol):
    """A field known for each lead time."""

    def at_leads(
        self,
        reference_time: np.datetime64,
        times: NDArray[np.datetime64],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """(lead, h, w) of a part of the grid, as it is known at the reference time."""


@dataclass(frozen=True)
class Fields:
    """All that is known next to the rain, by name, in the order of `Inputs`."""

    beside: Mapping[str, Beside] = field(default_factory=dict)
    ahead: Mapping[str, Ahead] = field(default_factory=dict)

    def read(
        self, times: NDArray[np.datetime64], input_steps: int, rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """For a window of these times, (t, k, h, w) of a part of the grid: fields beside, then
        those ahead, which are NaN in the past.

        `rows` and `columns` have a start and a stop.
        """
        found = [one.at(times, rows, columns) for one in self.beside.values()]
        past, future = times[:input_steps], times[input_steps:]
        for one in self.ahead.values():
            known = one.at_leads(past[-1], future, rows, columns)
            unknown = np.full((len(past), *known.shape[1:]), np.nan, np.float32)
            found.append(np.concatenate([unknown, known]))
        return np.stack(found, axis=1)


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
