"""Build a series from files: all frames on one clock, in order of time."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.formats import read_frames
from nowcast.radar.reading.storage import Values
from nowcast.radar.series.describing import OnBad, Problem, refuse
from nowcast.radar.series.neighbours import misfits
from nowcast.radar.series.series import JITTER, Series, near, within
from nowcast.radar.times import Times, TimeSpan, onto_clock, show, timestep_of

log = logging.getLogger(__name__)

Placed = tuple[npt.NDArray[np.intp], Times, float]
Clock = Callable[[Times, Sequence[Path]], Placed]
"""(stamps (n,) of frames, their files) → (the m frames to keep, their times on one clock (m,), the
spacing in minutes).
"""


def series_on(files: Sequence[RadarFile], clock: Clock) -> Series:
    """Order the frames kept by a clock by time; frames with the same time are all kept."""
    stamps = np.concatenate([file.times for file in files])
    file_of = np.repeat(np.arange(len(files), dtype=np.intp), [len(file.times) for file in files])
    frame_of = np.concatenate([np.arange(len(file.times)) for file in files])
    kept, times, minutes = clock(stamps, [files[k].path for k in file_of.tolist()])
    order = np.argsort(times, kind="stable")
    kept = kept[order]
    return Series(
        tuple(files), times[order], stamps[kept], file_of[kept], frame_of[kept], minutes
    )  # fmt: skip


def build_series(
    files: Sequence[RadarFile],
    options: ReadOptions,
    periods: Sequence[TimeSpan] = (),
    around: Sequence[TimeSpan] = (),
    on_bad: OnBad = refuse,
) -> Series:
    """Build a series from files of one kind: frames on one clock, in order, without duplicates.

    Corrections are logged.

    Args:
        periods: only frames in these are used, and only they determine the spacing; empty: all.
        around: frames in these are used too, if they fit.
        on_bad: called with each file that does not fit the others, which is then left out.

    Errors: DataError if two different frames have the same time, or no file would be left.
    """
    while True:
        try:
            series = series_on(files, _clock_of(periods, around))
            series = _once_each(series, options, periods)
            for problem in misfits(series, options):
                refuse(problem)
            return series
        except DataError as error:
            bad = [file.path for file in files if str(error).startswith(f"{file.path}: ")]
            if not bad or len(bad) == len(files):
                raise
            on_bad(Problem.of(bad[0], error))
            files = [file for file in files if file.path not in bad]


def _clock_of(periods: Sequence[TimeSpan], around: Sequence[TimeSpan]) -> Clock:
    """Return a clock set by the frames in the periods; others are kept if they fit it."""

    def clock(stamps: Times, paths: Sequence[Path]) -> Placed:
        asked = _asked(stamps, periods)
        minutes = timestep_of(_enough(stamps, asked))
        first = np.flatnonzero(asked)
        ticks = np.array(stamps, dtype="datetime64[ns]")
        ticks[first] = onto_clock(stamps[first], minutes, [str(paths[k]) for k in first.tolist()])
        kept = _fitting(stamps, ticks, asked, minutes, [*periods, *around])
        if (np.diff(ticks[kept]) < np.timedelta64(0, "ns")).any():
            log.warning("%s: frames were not in order of time and were sorted.", _span(paths))
        return kept, ticks[kept], minutes

    return clock


def _asked(stamps: Times, periods: Sequence[TimeSpan]) -> npt.NDArray[np.bool_]:
    return within(stamps, periods) if periods else np.ones(stamps.shape, bool)


def _enough(times: Times, asked: npt.NDArray[np.bool_]) -> Times:
    """Return the times that determine the spacing: those asked for, and if there is only one, its
    neighbours too.
    """
    told = np.unique(times[asked])
    if told.size != 1:
        return told
    every = np.unique(times)
    k = int(np.searchsorted(every, told[0]))
    return every[max(k - 1, 0) : k + 2]


def _fitting(
    stamps: Times,
    ticks: Times,
    asked: npt.NDArray[np.bool_],
    minutes: float,
    spans: Sequence[TimeSpan],
) -> npt.NDArray[np.intp]:
    """Return the frames to keep: those asked for, and others of the spans that fit their clock. The
    ticks of the others are written to `ticks`.
    """
    if not spans or not asked.any():
        return np.flatnonzero(asked)
    kept = asked.copy()
    if np.isfinite(minutes):
        step = np.timedelta64(round(minutes * 60e9), "ns")
        off = (stamps - ticks[asked][0] + step // 2) % step - step // 2
        ticks[~asked] = (stamps - off)[~asked]
        kept |= near(stamps, spans) & (np.abs(off) <= min(JITTER, step // 4))
        unfit = int((within(stamps, spans) & ~kept).sum())
        if unfit:
            log.warning(
                "%d frames around the period do not fit its %g-minute spacing and are left out.",
                unfit,
                minutes,
            )
    return np.flatnonzero(kept & within(ticks, spans))


def _once_each(series: Series, options: ReadOptions, periods: Sequence[TimeSpan]) -> Series:
    """Remove duplicate frames. Two different frames with the same time are both removed if neither
    is asked for.

    Errors: DataError if they differ and one is asked for.
    """
    asked = _asked(series.stamps, periods)
    again = np.flatnonzero(np.diff(series.times) == np.timedelta64(0, "ns")) + 1
    unfit = set[int]()
    for k in again.tolist():
        try:
            _check_equal(series, k - 1, k, options)
        except DataError:
            if asked[k] or asked[k - 1]:
                raise
            unfit |= {k - 1, k}
    if again.size > len(unfit) // 2:
        log.warning(
            "%s: %d frames are duplicates, equal in every pixel; one of each was kept.",
            _span([file.path for file in series.files]),
            again.size - len(unfit) // 2,
        )
    return series.taking(np.setdiff1d(np.arange(len(series.times)), [*again, *unfit]))


def _check_equal(series: Series, first: int, second: int, options: ReadOptions) -> None:
    one, two = (_frame(series, k, options) for k in (first, second))
    if np.array_equal(one, two, equal_nan=True):
        return
    a, b = (series.files[series.file_of[k]].path for k in (first, second))
    i, j = (series.frame_of[k] for k in (first, second))
    where = f"{a} and {b}" if a != b else f"{a} (frames {i} and {j})"
    time = show(series.times[second])
    raise DataError(f"{where}: two different frames for {time}; keep only the right one.")


def _frame(series: Series, k: int, options: ReadOptions) -> Values:
    file, index = series.files[series.file_of[k]], int(series.frame_of[k])
    return read_frames(ReadRequest(file, options, slice(index, index + 1)))


def _span(paths: Sequence[Path]) -> str:
    return str(paths[0]) if paths[0] == paths[-1] else f"{paths[0]} to {paths[-1].name}"
