"""The frames of a series as a lazy array: read on access, converted to mm/h and checked."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from nowcast.arrays import Float32Array
from nowcast.errors import DataError
from nowcast.radar.grid import LEAST_RATE
from nowcast.radar.reading import storage, units
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.formats import read_frames, without_place
from nowcast.radar.series.series import Series
from nowcast.radar.times import Times, show
from nowcast.untrusted.isolation import isolated

log = logging.getLogger(__name__)

_LARGEST = np.finfo(np.float32).max  # mm/h; beyond it a rate is infinite
_LEAST_DBZ = -90.0  # radars do not measure less; -99, -999 and -9999 are fill values


class FrameArray(BackendArray):  # type: ignore[misc, unused-ignore]
    """(time, y, x) in mm/h, float32, NaN = missing.

    Frames are not kept: indexing reads them, in any process.
    """

    def __init__(self, series: Series, options: ReadOptions) -> None:
        self.series, self.options = series, options
        self.shape = (len(series.times), *series.files[0].layout.shape)
        self.dtype = np.dtype(np.float32)
        self.high = 0  # values above max_rate read so far
        self.said = False

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def close(self) -> None:
        """Close the open files of this array; it stays usable."""
        storage.close_files({str(file.path) for file in self.series.files})

    def _read(self, key: tuple[Any, ...]) -> Any:
        """Read frames, rows and columns given by integer, slice or integer array."""
        spots, rows, columns = (
            np.atleast_1d(np.arange(size)[one]) for size, one in zip(self.shape, key, strict=True)
        )
        wanted, back = np.unique(spots, return_inverse=True)
        (row_slice, row_back), (column_slice, column_back) = _box(rows), _box(columns)
        values = np.empty(
            (len(wanted), _length(row_slice), _length(column_slice)), dtype=np.float32
        )
        done = 0
        for run in self._runs(wanted, values.shape[1:]):
            values[done : done + len(run)] = self._read_run(run, row_slice, column_slice)
            done += len(run)
        for axis, index in enumerate((back, row_back, column_back)):
            if not np.array_equal(index, np.arange(values.shape[axis])):
                values = values.take(index, axis=axis)
        return values[
            tuple(0 if isinstance(one, (int, np.integer)) else slice(None) for one in key)
        ]

    def _runs(
        self, wanted: npt.NDArray[np.intp], shape: tuple[int, ...]
    ) -> list[npt.NDArray[np.intp]]:
        """Split `wanted` (increasing) where the file changes, a frame is skipped, or a block of
        memory is full.
        """
        if wanted.size == 0 or 0 in shape:
            return []
        file_of, frame_of = self.series.file_of[wanted], self.series.frame_of[wanted]
        new = (np.diff(file_of) != 0) | (np.diff(frame_of) != 1)
        runs = np.split(wanted, np.flatnonzero(new) + 1)
        block = storage.frames_a_block(*shape)
        return [run[start : start + block] for run in runs for start in range(0, len(run), block)]

    def _read_run(self, run: npt.NDArray[np.intp], rows: slice, columns: slice) -> Float32Array:
        file = self.series.files[self.series.file_of[run[0]]]
        first = int(self.series.frame_of[run[0]])
        frames = slice(first, first + len(run))
        request = ReadRequest(file, self.options, frames, rows, columns)
        rate, high = read_rates(request, self.series.times[run])
        self.high += high
        if high and not self.said:
            self.said = True
            log.warning(
                "%s: %d values of the %d frame(s) from %s on are above data.max_rate=%g mm/h and"
                " %s; further ones will be treated the same without a warning.",
                file.path,
                high,
                len(run),
                show(self.series.times[run[0]]),
                self.options.max_rate,
                (
                    "were lowered to it"
                    if self.options.above_max_rate == "clip"
                    else "count as missing"
                ),
            )
        return rate


def read_rates(request: ReadRequest, times: Times) -> tuple[Float32Array, int]:
    """Read the requested part of a file, with frames of these times; return the same as to_rate.

    Errors: see read_frames and to_rate; DataError if the file has fewer frames.
    """
    file = without_place(request.file)
    return isolated(file.path, _read_rates, replace(request, file=file), times)


def _read_rates(request: ReadRequest, times: Times) -> tuple[Float32Array, int]:
    file, stored = request.file, read_frames(request)
    if len(stored) != len(times):
        raise DataError(f"{file.path}: has fewer frames than when it was opened; open it again.")
    return to_rate(stored, file, times, request.options)


def to_rate(
    stored: storage.Values, file: RadarFile, times: Times, options: ReadOptions
) -> tuple[Float32Array, int]:
    """Values in the units of `file` (time, y, x) → (mm/h as float32, number of values above
    max_rate).

    Values above max_rate become missing, or max_rate with above_max_rate="clip"; infinite ones
    always become missing.

    Errors: DataError naming file, time and value for a value below 0 (below -90 dBZ), which must be
    an undeclared fill value.
    """
    layout = file.layout
    if units.quantity_of(layout.units) == "reflectivity":
        assert layout.zr is not None  # ensured by describe_file
        rate = units.dbz_to_rate(stored, *layout.zr)
    else:
        rate = stored * units.rate_factor(layout.units, layout.accumulation_minutes)
    low = is_impossible(stored, file)
    if low.any():
        _refuse_negative(stored, low, file, times)
    with np.errstate(invalid="ignore"):
        infinite = np.abs(rate) > _LARGEST
        high = (rate > options.max_rate) | infinite
    clipped = np.clip(rate, 0.0, options.max_rate)  # NaN stays
    rate = np.where(infinite if options.above_max_rate == "clip" else high, np.nan, clipped)
    return rate.astype(np.float32), int(high.sum())


def is_impossible(stored: storage.Values, file: RadarFile) -> npt.NDArray[np.bool_]:
    """Return where values in the units of `file` are lower than any measurement: below 0, or below
    -90 dBZ. -inf dBZ is dry.
    """
    layout = file.layout
    is_dbz = units.quantity_of(layout.units) == "reflectivity"
    least = (
        _LEAST_DBZ
        if is_dbz
        else LEAST_RATE / units.rate_factor(layout.units, layout.accumulation_minutes)
    )
    return (stored < least) & (stored > -np.inf)


def _refuse_negative(
    stored: storage.Values, low: npt.NDArray[np.bool_], file: RadarFile, times: Times
) -> None:
    frame, row, column = (int(k) for k in np.argwhere(low)[0])
    scale, offset = file.layout.packing
    value = (float(stored[frame, row, column]) - offset) / scale
    # packed numbers are integers
    value = float(round(value)) if (scale, offset) != (1.0, 0.0) else value
    raise DataError(
        f"{file.path}: {file.layout.variable!r} is {value:g} at {show(times[frame])} (row {row},"
        f" column {column}; {int(low.sum())} such values); if that means missing, set"
        f" data.missing_value={value:g}; if it means no rain, set data.dry_value={value:g}."
    )


def _box(index: npt.NDArray[np.intp]) -> tuple[slice, npt.NDArray[np.intp]]:
    """Return the smallest slice that contains `index`, and `index` relative to its start."""
    if index.size == 0:
        return slice(0, 0), index
    start = int(index.min())
    return slice(start, int(index.max()) + 1), index - start


def _length(part: slice) -> int:
    return int(part.stop - part.start)
