"""From the frames of a series to the days of a store: plan what to make, and make it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from nowcast.errors import DataError, MissingInputError
from nowcast.radar.grid import DIMS
from nowcast.radar.placing.cropping import Columns
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.resampling import Resample
from nowcast.radar.reading.file import RadarFile, ReadOptions
from nowcast.radar.reading.rates import FrameArray
from nowcast.radar.series.cadence import LEAST_TIME, Target
from nowcast.radar.series.describing import KnownFiles, Problem, describe_files
from nowcast.radar.series.series import Series
from nowcast.radar.store.processes import Advance
from nowcast.radar.store.speckle import remove_speckle
from nowcast.radar.store.store import DayRecord, StoredFrame, day_path, kept_frames, write_day
from nowcast.radar.times import Times, show

_BLOCK_BYTES, _BLOCK_FRAMES = 32 * 2**20, 12  # read at a time


@dataclass(frozen=True, eq=False)
class Preparation:
    """How every frame is processed, and what is written along with the frames.

    `place` is the place of the store's grid.
    """

    store: Path
    series: Series
    options: ReadOptions
    skip_bad: bool
    rows: slice
    columns: Columns
    speckle_neighbours: int
    resample: Resample | None
    place: Place
    attrs: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class DayPlan:
    """A day to write: the frames to make, the times of frames kept unchanged, the fingerprints of
    all its sources, and what an earlier run left out.
    """

    day: np.datetime64
    targets: tuple[Target, ...]
    kept: Times
    sources: frozenset[str]
    left_out: dict[str, str]

    @property
    def needed(self) -> npt.NDArray[np.intp]:
        """The frames of the series to read, in order."""
        return np.unique([k for target in self.targets for k, _ in target.parts]).astype(np.intp)


def describe_part(
    options: ReadOptions, paths: Sequence[Path], advance: Advance
) -> tuple[list[RadarFile], list[Problem]]:
    """Describe some files; return the usable ones, and the problems of the others."""

    def one_by_one() -> Iterator[Path]:
        for path in paths:
            yield path
            advance(1)

    problems: list[Problem] = []
    describe = KnownFiles(options).describe
    return list(describe_files(one_by_one(), describe, problems.append)), problems


def plan_days(
    targets: Sequence[Target],
    series: Series,
    fingerprints: Sequence[str],
    records: dict[np.datetime64, DayRecord],
) -> list[DayPlan]:
    """Plan what to make, by day: frames missing from the store, and frames with a new or changed
    file.

    A frame of the store is kept if its files are gone, so the archive may be cleared from time to
    time. Frames left out earlier stay left out until their file changes.
    """
    days: dict[np.datetime64, list[Target]] = {}
    for target in targets:
        days.setdefault(target.time.astype("datetime64[D]"), []).append(target)
    plans = []
    for day, of_day in days.items():
        record = records.get(day)
        sources = frozenset(
            fingerprints[series.file_of[k]] for target in of_day for k, _ in target.parts
        )
        if record is None:
            plans.append(DayPlan(day, tuple(of_day), np.array([], "datetime64[ns]"), sources, {}))
            continue
        there, lost = set(record.times.tolist()), set(record.left_out)
        wanted = []
        for target in of_day:
            new = any(
                fingerprints[series.file_of[k]] not in record.sources for k, _ in target.parts
            )
            known = target.time.astype("datetime64[ns]").item() in there or any(
                show(series.times[k]) in lost for k, _ in target.parts
            )
            if new or not known:
                wanted.append(target)
        if not wanted:
            continue
        kept = np.setdiff1d(record.times, [target.time for target in wanted])
        again = {show(series.times[k]) for target in wanted for k, _ in target.parts}
        left_out = {time: reason for time, reason in record.left_out.items() if time not in again}
        plans.append(DayPlan(day, tuple(wanted), kept, sources | record.sources, left_out))
    return plans


def make_day(
    preparation: Preparation, plan: DayPlan, advance: Advance
) -> tuple[int, dict[str, str]]:
    """Write a day of the store; return how many frames were made, and the reasons for those left
    out, by time.

    If bad files are skipped, unreadable frames are left out, and no file is written for a day
    without readable frames.

    Memory holds a few source frames and one block of the store, for days of any length.
    Errors: DataError, MissingInputError for a bad file if they are not skipped; CannotCreateError,
    InputOutputError. The file of the day is then unchanged.
    """
    path, left_out = day_path(preparation.store, plan.day), dict(plan.left_out)
    made = _made_frames(preparation, plan, left_out, advance)
    frames = merge(made, kept_frames(path, plan.kept), key=lambda frame: frame.time)
    count = write_day(
        path,
        preparation.place,
        frames,
        preparation.attrs,
        preparation.settings,
        plan.sources,
        left_out,
    )
    return count - len(plan.kept), left_out


def _made_frames(
    preparation: Preparation, plan: DayPlan, left_out: dict[str, str], advance: Advance
) -> Iterator[StoredFrame]:
    """Yield the frames of a plan, made from frames of the series; add unreadable ones to
    `left_out`.
    """
    stream = _source_frames(preparation, plan.needed, left_out, advance)
    held: dict[int, StoredFrame | None] = {}
    for target in plan.targets:
        last = target.parts[-1][0]
        while last not in held:
            k, frame = next(stream)
            held[k] = frame
        parts = [(frame, share) for k, share in target.parts if (frame := held[k]) is not None]
        # the next target may use the last frame too
        held = {k: frame for k, frame in held.items() if k >= last}
        if len(target.parts) == 1 and parts:
            yield replace(parts[0][0], time=target.time)
        elif sum(share for _, share in parts) >= LEAST_TIME - 1e-9:
            yield _mean(target.time, parts)


def _mean(time: np.datetime64, parts: list[tuple[StoredFrame, float]]) -> StoredFrame:
    """Return the mean over time; a pixel valid for less than two thirds of the time is missing."""
    total, covered = np.zeros(parts[0][0].rate.shape), np.zeros(parts[0][0].rate.shape)
    for frame, share in parts:
        there = ~np.isnan(frame.rate)
        total += np.where(there, frame.rate, 0.0) * share
        covered += there * share
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(covered >= LEAST_TIME - 1e-9, total / covered, np.nan).astype(np.float32)
    return StoredFrame(
        time, rate, sum(frame.high for frame, _ in parts), sum(frame.speckle for frame, _ in parts)
    )


def _source_frames(
    preparation: Preparation,
    needed: npt.NDArray[np.intp],
    left_out: dict[str, str],
    advance: Advance,
) -> Iterator[tuple[int, StoredFrame | None]]:
    """Yield the frames of the series, cropped, cleaned and resampled; None for unreadable ones."""
    array = FrameArray(preparation.series, preparation.options)
    array.said = True  # no warning: the store holds the number of high values, reported at the end
    rows, columns = preparation.rows, preparation.columns
    height, width = (
        rows.stop - rows.start,
        array.shape[2] if isinstance(columns, list) else columns.stop - columns.start,
    )
    block = max(1, min(_BLOCK_FRAMES, _BLOCK_BYTES // (4 * height * width)))
    try:
        for start in range(0, len(needed), block):
            for k, rate, high in _read(preparation, array, needed[start : start + block], left_out):
                yield (
                    k,
                    (
                        None
                        if rate is None
                        else _finished(preparation, preparation.series.times[k], rate, high)
                    ),
                )
                advance(1)
    finally:
        array.close()


def _read(
    preparation: Preparation,
    array: FrameArray,
    spots: npt.NDArray[np.intp],
    left_out: dict[str, str],
) -> Iterator[tuple[int, npt.NDArray[np.float32] | None, int]]:
    """Yield (frame, rates or None, number of too high values): read all at once if possible, else
    frame by frame to find the bad or high ones.
    """
    before = array.high
    try:
        rates, reason = _values(preparation, array, spots), ""
    except (DataError, MissingInputError) as error:
        if len(spots) == 1 and not preparation.skip_bad:
            raise
        rates, reason = None, str(error)
    if len(spots) == 1 or (rates is not None and array.high == before):
        for i, k in enumerate(spots.tolist()):
            if rates is None:
                left_out[show(preparation.series.times[k])] = reason
            yield k, None if rates is None else rates[i], array.high - before
        return
    del rates
    for k in range(len(spots)):
        yield from _read(preparation, array, spots[k : k + 1], left_out)


def _values(
    preparation: Preparation, array: FrameArray, spots: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    lazy = xr.Variable(DIMS, LazilyIndexedArray(array))
    return np.asarray(lazy[spots, preparation.rows, preparation.columns].values)


def _finished(
    preparation: Preparation, time: np.datetime64, rate: npt.NDArray[np.float32], high: int
) -> StoredFrame:
    speckle = 0
    if preparation.speckle_neighbours:
        cleaned, speckle = remove_speckle(rate, preparation.speckle_neighbours)
        rate = cleaned.astype(np.float32, copy=False)
    if preparation.resample is not None:
        rate = preparation.resample(rate).astype(np.float32)
    return StoredFrame(time, rate, high, speckle)
