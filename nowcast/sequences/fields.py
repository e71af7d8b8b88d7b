"""Further fields on the grid of the rain: known with each frame (`beside`), or for each lead time
(`ahead`).
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
"""Larger fields are kept in a file of the cache instead of in memory."""

Reader = Callable[[int, int], NDArray[np.float32]]
"""read(first, last): frames first … last − 1 of a field, (n, y, x), NaN = missing."""


@dataclass(frozen=True)
class Field:
    """One field on the grid of the radar.

    frames: (n, y, x) in its own units, NaN = missing.
    times: (n,) from when each frame is valid, rising; None for a constant field, with n = 1.
    max_age: how long each frame stays valid.
    """

    frames: NDArray[np.float32] | StoredArray
    times: NDArray[np.datetime64] | None
    max_age: np.timedelta64

    def latest(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return for each time (t,) the index of the latest frame at or before it; -1 if that is
        older than `max_age` or there is no such frame.
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
        """Return the latest frame at or before each time, (t, h, w); NaN without a valid frame."""
        values = np.full(
            (len(times), *self.frames[:0, rows, columns].shape[1:]), np.nan, np.float32
        )
        for k, frame in enumerate(self.latest(times)):
            if frame >= 0:
                values[k] = self.frames[frame, rows, columns]
        return values


@dataclass(frozen=True)
class FieldAhead:
    """Forecasts of one field on the grid of the radar, such as those of a weather model.

    frames: (runs × leads, y, x) in its own units, NaN = missing, all leads of a run together.
    references: (runs,) reference time of each run, rising. leads: (leads,) lead times, rising.
    delay: how long after its reference time a run becomes available. max_age: the largest age of a
        run.
    """

    frames: NDArray[np.float32] | StoredArray
    references: NDArray[np.datetime64]
    leads: NDArray[np.timedelta64]
    delay: np.timedelta64
    max_age: np.timedelta64

    def run_at(self, reference_time: np.datetime64) -> int:
        """Return the index of the newest run available at a reference time; -1 if none is available
        or it is older than `max_age`.
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
        """Return the fields (lead, h, w) at these times from the newest run available at the
        reference time: its latest frame at or before each time, NaN without one.
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
    """A function of time only, the same at each pixel; known for frames and for lead times."""

    value: Callable[[NDArray[np.datetime64]], NDArray[np.float32]]

    def at(self, times: NDArray[np.datetime64], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return the values (t, h, w) at these times; `rows` and `columns` have start and stop."""
        shape = len(times), _length(rows), _length(columns)
        return np.broadcast_to(self.value(times)[:, None, None], shape)

    def at_leads(
        self,
        reference_time: np.datetime64,
        times: NDArray[np.datetime64],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """Return the values (lead, h, w) at these times."""
        return self.at(times, rows, columns)


def sine_of_day(times: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Return the sine of the time of day (UTC): 0 at midnight, 1 at 6 h."""
    return np.sin(_angle_of_day(times)).astype(np.float32)


def cosine_of_day(times: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Return the cosine of the time of day (UTC): 1 at midnight, 0 at 6 h."""
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
        """Return the field (t, h, w) in a part of the grid, using no data later than each time."""


class Ahead(Protocol):
    """A field known for each lead time."""

    def at_leads(
        self,
        reference_time: np.datetime64,
        times: NDArray[np.datetime64],
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """Return the field (lead, h, w) in a part of the grid, as known at the reference time."""


@dataclass(frozen=True)
class Fields:
    """All further fields by name, in the order of `Inputs`."""

    beside: Mapping[str, Beside] = field(default_factory=dict)
    ahead: Mapping[str, Ahead] = field(default_factory=dict)

    def read(
        self, times: NDArray[np.datetime64], input_steps: int, rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Return the fields (t, k, h, w) of a window of these times in a part of the grid: fields
        known with each frame, then fields ahead, which are NaN in the past.

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
    """Return all frames (n, y, x) of a field: in memory if small, else unpacked once into a file of
    `folder` and read as needed.

    source: identifies the source file and its part; it determines the name of the file, so that
    sources never mix. Errors: DataError if the file is damaged; InputOutputError.
    """
    if 4 * np.prod(shape) <= SMALL_BYTES:
        return read(0, shape[0])
    path = Path(folder) / f"field-{hashlib.sha256(source.encode()).hexdigest()[:16]}.npy"
    frames = None
    while frames is None:  # repeat if another process removes it before it is open
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
            f"{path}: this unpacked field is damaged ({error}); delete it to have it made again."
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
