"""Unpack a radar series once into a file, from which windows are read at the speed of memory."""

import hashlib
import logging
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.files import only_writer, refuse_fault_of_machine, written_whole
from nowcast.periods import Period
from nowcast.radar.grid import RATE, WET_RATE, measured_rates
from nowcast.radar.placing.regions import Region
from nowcast.sequences.cache import FRAMES, clean, mark_used
from nowcast.sequences.stored import StoredArray, write_header

if TYPE_CHECKING:
    from nowcast.sequences.direct import DirectFrames

log = logging.getLogger(__name__)

TILE = 32
"""Height and width in pixels of the tiles over which rain is summed; tiles at the lower and right
edge may be smaller.
"""

_BLOCK_BYTES = 64 * 2**20
# kind of the statistics of each frame: another name makes another file
_STATISTICS = "wet_share of covered frames"


@dataclass(frozen=True)
class PackedRates:
    """A series of precipitation rates: in memory, in a file that is read as windows need it, or in
    the original files (`nowcast.sequences.direct`).

    frames: (time, y, x) float32 [mm/h], NaN = not covered.
    times: (time,) datetime64[ns], sorted.
    timestep: spacing of the series.
    wet_share: (time,) share of the covered pixels of each frame at or above 0.1 mm/h; NaN if no
        pixel is covered.
    tiles: (time, 2, tiles down, tiles across) for each frame and tile of 32 × 32 pixels the sum of
        the rates [mm/h], and the number of covered pixels.
    covered: (y, x) whether a pixel is covered in any frame.
    """

    frames: "NDArray[np.float32] | StoredArray | DirectFrames"
    times: NDArray[np.datetime64]
    timestep: np.timedelta64
    wet_share: NDArray[np.float64]
    tiles: NDArray[np.float32] | StoredArray
    covered: NDArray[np.bool_]

    @property
    def is_unpacked(self) -> bool:
        """Whether the frames are unpacked and their statistics are known."""
        return isinstance(self.frames, np.ndarray | StoredArray)

    def wet_share_in(self, region: Region) -> NDArray[np.float64]:
        """Return `wet_share` (time,) over the pixels of a region only."""
        shares = np.full(len(self.times), np.nan)
        for number in range(len(shares)):
            values = self.frames[number, *region]
            measured = np.count_nonzero(~np.isnan(values))
            if measured:
                shares[number] = np.count_nonzero(values >= WET_RATE) / measured
        return shares

    def digest(self) -> str:
        """Return a SHA-256 of the size, the times, and the rain and coverage of each tile. For
        frames that are not unpacked it only includes size, times and the coverage of tiles.
        """
        digest = hashlib.sha256(repr(self.frames.shape).encode() + self.times.tobytes())
        tiles = self.tiles[:] if self.is_unpacked else self.tiles[:1]
        digest.update(np.ascontiguousarray(tiles).data)
        return digest.hexdigest()


def pack(
    grid: xr.Dataset,
    period: Period,
    folder: str | Path,
    source: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
    limit_bytes: float = math.inf,
) -> PackedRates:
    """Unpack the frames of a period into a folder, or open those unpacked by an earlier run.

    The subfolder is named by a checksum of its source, so that different data never mix. Each file
    is written completely or not at all. If two processes need the same series, the second waits for
    the first. Memory does not grow with the length of the series. A series with additional frames,
    for example after adding a day to the period, is a new series and is unpacked completely.

    Args:
        grid: a canonical grid.
        period: the period to unpack.
        folder: the cache folder.
        source: describes the contents of the files and how they were read.
        progress: called with the number of frames done and their total.
        limit_bytes: after a new series is unpacked, the least recently used ones are removed until
            the folder is not larger than this.

    Returns:
        The series, frames (time, y, x) in mm/h, NaN = not covered.

    Raises:
        DataError: if the grid has a single frame or a negative rate, or an unpacked series is
            damaged.
        CannotCreateError, InputOutputError: if the folder cannot be written.

    Example:
        >>> from nowcast.periods import parse_period
        >>> from nowcast.radar import open_grid
        >>> day = parse_period("day", ["2018-05-18", "2018-05-18"])
        >>> pack(open_grid("archive/*.nc"), day, "cache", "example").frames.shape
        (25, 34, 41)
    """
    times, timestep, rates = frames_of(grid, period)
    key = hashlib.sha256(
        f"{source} {timestep} {TILE} {_STATISTICS}".encode() + times.tobytes()
    ).hexdigest()[:16]
    path = Path(folder) / key / FRAMES
    series, made = None, False
    while series is None:  # repeat if another process removes it before it is open
        made |= _make(path, rates, progress)
        series = _open(path, times, timestep, grid[RATE].shape[1:])
    mark_used(path)
    if made:
        clean(folder, limit_bytes)
    return series


def frames_of(
    grid: xr.Dataset, period: Period
) -> tuple[NDArray[np.datetime64], np.timedelta64, xr.DataArray]:
    """Return the times of the frames of a period, their spacing, and the frames, not yet read.

    Errors: DataError if the grid has a single frame.
    """
    times = grid["time"].values
    first, last = (
        np.searchsorted(times, period.start),
        np.searchsorted(times, period.end, side="right"),
    )
    if not np.isfinite(grid.attrs["timestep_minutes"]):
        raise DataError(
            "the data contain a single frame, so the time step is unknown; give a longer series."
        )
    timestep = np.timedelta64(round(grid.attrs["timestep_minutes"] * 60e9), "ns")
    return times[first:last], timestep, grid[RATE][first:last]


def _make(path: Path, rates: xr.DataArray, progress: Callable[[int, int], None]) -> bool:
    """Write the three files of a series unless they exist; return whether they were written."""
    if path.exists():
        return False
    with only_writer(path.parent, wait=math.inf):
        if path.exists():  # another process has made it meanwhile
            return False
        log.info("unpacking %d frames into %s", len(rates), path)
        # `path` is the outermost and appears last: once it exists, the other files do too
        with (
            written_whole(path) as frames,
            written_whole(path.with_name("tiles.npy")) as tiles,
            written_whole(path.with_name("statistics.npz")) as statistics,
        ):
            _unpack(rates, frames, tiles, statistics, progress)
    return True


def _open(
    path: Path, times: NDArray[np.datetime64], timestep: np.timedelta64, size: tuple[int, ...]
) -> PackedRates | None:
    """Open the files of a series; None if they were removed.

    Errors: InputOutputError if the disk fails; DataError if they have another size (h, w) or are
    damaged.
    """
    try:
        frames = StoredArray(path)
        if not frames.is_in_place():
            return None
        with open(path.with_name("statistics.npz"), "rb") as file, np.load(file) as statistics_file:
            wet_share, covered = statistics_file["wet_share"], statistics_file["covered"]
        series = PackedRates(
            frames, times, timestep, wet_share, StoredArray(path.with_name("tiles.npy")), covered
        )
        expected = (times.size, *size)
        shapes = (
            series.frames.shape,
            (*series.wet_share.shape, *covered.shape),
            series.tiles.shape[:1],
        )
        if (
            shapes != (expected, expected, (times.size,))
            or not series.frames.dtype == series.tiles.dtype == np.float32
        ):
            raise ValueError(f"it holds {series.frames.dtype} of {series.frames.shape}")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, FileNotFoundError) and not path.exists():
            return None
        refuse_fault_of_machine(path, error)
        raise DataError(
            f"{path}: this unpacked series is damaged ({error}); delete {path.parent} to have it"
            " made again."
        ) from error
    return series


def sum_tiles(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames (n, y, x), NaN = not covered → (n, 2, tiles down, tiles across): the sum of the rates
    and the number of covered pixels of each tile.
    """
    _, height, width = frames.shape
    rows, columns = np.arange(0, height, TILE), np.arange(0, width, TILE)
    covered = ~np.isnan(frames)
    sums = [
        np.add.reduceat(np.add.reduceat(values, rows, axis=1, dtype=np.float64), columns, axis=2)
        for values in (np.where(covered, frames, np.float32(0)), covered)
    ]
    return np.stack(sums, axis=1).astype(np.float32)


def _unpack(
    rates: xr.DataArray,
    frames_path: Path,
    tiles_path: Path,
    statistics_path: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Write all frames, the sums over their tiles, and the statistics of frames and pixels."""
    steps, height, width = rates.shape
    wet_share, ever_covered = np.zeros(steps), np.zeros((height, width), bool)
    block = max(1, _BLOCK_BYTES // (4 * height * width))
    with open(frames_path, "wb") as frames_file, open(tiles_path, "wb") as tiles_file:
        write_header(frames_file, rates.shape)
        write_header(tiles_file, (steps, 2, -(-height // TILE), -(-width // TILE)))
        for start in range(0, steps, block):
            part = rates[start : start + block]
            values = measured_rates(part.values, part["time"].values)
            values = np.ascontiguousarray(values, dtype=np.float32)
            frames_file.write(values.data)
            tiles = sum_tiles(values)
            tiles_file.write(np.ascontiguousarray(tiles).data)
            valid = tiles[:, 1].sum(axis=(1, 2), dtype=np.float64)
            wet = (values >= WET_RATE).sum(axis=(1, 2))
            wet_share[start : start + block] = np.divide(
                wet, valid, out=np.full(len(values), np.nan), where=valid > 0
            )
            ever_covered |= ~np.isnan(values).all(axis=0)
            progress(min(start + block, steps), steps)
    with open(statistics_path, "wb") as file:
        np.savez(file, wet_share=wet_share, covered=ever_covered)
