"""A radar series unpacked once into a file that windows are cut from at the speed of memory."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.files import written_whole
from nowcast.radar.grid import RATE
from nowcast.sequences.periods import Period

log = logging.getLogger(__name__)

WET_RATE = 0.1
"""A pixel counts as wet from this rate on [mm/h]."""

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PackedRates:
    """A series of precipitation rates, memory-mapped: only what a window touches is read.

    frames: (time, y, x) float32 [mm/h], NaN = not covered.
    times: (time,) datetime64[ns], sorted.
    timestep: spacing of the series.
    mean_rate: (time,) mean over the covered pixels of each frame [mm/h].
    wet_share: (time,) share of the covered pixels of each frame at or above 0.1 mm/h.
    """

    frames: NDArray[np.float32]
    times: NDArray[np.datetime64]
    timestep: np.timedelta64
    mean_rate: NDArray[np.float64]
    wet_share: NDArray[np.float64]


def pack(
    grid: xr.Dataset,
    period: Period,
    folder: str | Path,
    source: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> PackedRates:
    """Unpack the frames of `grid` in `period` into `folder`, or use what an earlier run left there.

    The file is named by what it was made from, `source` (which files, how they were read) and the frames taken, so other
    data never meet it; it is written whole or not at all, so two processes may do so at once. Memory stays flat however
    long the series. `progress` is told the frames done and their total.
    """
    times = grid["time"].values
    first, last = np.searchsorted(times, period.start), np.searchsorted(times, period.end, side="right")
    times = times[first:last]
    if not np.isfinite(grid.attrs["timestep_minutes"]):
        raise DataError("the data hold a single frame, which has no spacing; give a longer series.")
    timestep = np.timedelta64(round(grid.attrs["timestep_minutes"] * 60e9), "ns")
    key = hashlib.sha256(f"{source} {first} {last}".encode()).hexdigest()[:16]
    path = Path(folder) / f"{key}.npy"
    statistics_path = path.with_suffix(".statistics.npy")
    if not path.exists():
        log.info("unpacking %d frames into %s", times.size, path)
        # `path` is the outer one and comes into being last: where it is, its statistics are.
        with written_whole(path) as frames_file, written_whole(statistics_path) as statistics_file:
            statistics = _unpack(grid[RATE][first:last], frames_file, progress)
            with open(statistics_file, "wb") as file:
                np.save(file, statistics)
    try:
        mean_rate, wet_share = np.load(statistics_path)
        frames = np.load(path, mmap_mode="r")
        if frames.shape != (times.size, *grid[RATE].shape[1:]) or frames.dtype != np.float32:
            raise ValueError(f"it holds {frames.dtype} of {frames.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: this unpacked series is damaged ({error}); delete {folder}, which is made anew.") from error
    return PackedRates(frames, times, timestep, mean_rate, wet_share)


def _unpack(rates: xr.DataArray, path: Path, progress: Callable[[int, int], None]) -> NDArray[np.float64]:
    """Write all frames; → mean rate and wet share of each, (2, time)."""
    steps, height, width = rates.shape
    statistics = np.zeros((2, steps))
    block = max(1, _BLOCK_BYTES // (4 * height * width))
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (steps, height, width),
    }
    with open(path, "wb") as file:  # not a memory map: on a full disk writing to one kills the process
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, steps, block):
            values = np.ascontiguousarray(rates[start : start + block].values, dtype=np.float32)
            file.write(values.data)
            valid = np.maximum(np.isfinite(values).sum(axis=(1, 2)), 1)
            statistics[0, start : start + block] = np.nansum(values, axis=(1, 2), dtype=np.float64) / valid
            statistics[1, start : start + block] = (values >= WET_RATE).sum(axis=(1, 2)) / valid
            progress(min(start + block, steps), steps)
    return statistics
