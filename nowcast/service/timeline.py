"""The frames of many files in the order of time, even if some of the files are unusable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.radar.reading.file import RadarFile
from nowcast.radar.series.building import Placed, series_on
from nowcast.radar.series.describing import Problem, alike_files, describe_files
from nowcast.radar.series.series import JITTER, Series
from nowcast.radar.times import SILENT_SECONDS, Times, show, timestep_of
from nowcast.service.live_files import FrameFiles
from nowcast.service.retry import BadFiles

TOLD_BY = 8
"""How many of the newest frames determine the spacing."""
_NOTHING = np.timedelta64(0, "s")
_OLDER = 0.7  # weight of a difference between two frames relative to the next newer one


@dataclass(frozen=True)
class Wanted:
    """Which frames of the files are laid out: those from `back` before `until` to `until`, and at
    least the newest `count` of them.

    until: None takes the newest of all. span: instead, the frames of a period.
    """

    until: np.datetime64 | None = None
    back: np.timedelta64 = _NOTHING
    count: int = TOLD_BY
    span: tuple[np.datetime64, np.datetime64] | None = None


@dataclass(frozen=True, eq=False)
class Timeline(Series):
    """A series in which a time with two frames occurs twice.

    held: (m,) rising, the times of all usable files, including frames that were not wanted.
    later: the first file with a frame after the wanted ones.
    """

    held: Times
    later: Path | None = None

    def at(self, time: np.datetime64) -> list[tuple[RadarFile, int]]:
        """Return the frames of a time: file, and frame number in it."""
        first, last = (
            np.searchsorted(self.times, time, "left"),
            np.searchsorted(self.times, time, "right"),
        )
        return [(self.files[self.file_of[k]], int(self.frame_of[k])) for k in range(first, last)]

    def mended(self, times: Times) -> list[str]:
        """Return remarks on frames of these times that were not in order, or not on the clock."""
        there = np.isin(self.times, times)
        files = [self.files[k] for k in np.unique(self.file_of[there])]
        unsorted = [
            file.path for file in files if (np.diff(file.times) < np.timedelta64(0, "ns")).any()
        ]
        seconds = np.abs(self.stamps - self.times)[there] / np.timedelta64(1, "s")
        off = int((seconds > SILENT_SECONDS).sum())
        clock = f"the {self.timestep_minutes:g}-minute clock and were moved onto it"
        said = f"{off} frames were up to {seconds.max():.0f} s off {clock}" if off else ""
        return [
            *(
                f"{path}: its frames were not in the order of time and were sorted"
                for path in unsorted
            ),
            *([said] if off else []),
        ]


def lay_out(
    source: FrameFiles,
    paths: Sequence[Path],
    timestep: np.timedelta64 | None,
    bad: BadFiles,
    wanted: Wanted = Wanted(),
) -> Timeline:
    """Return the wanted frames of these files, without those reported to `bad`: unusable ones, and
    those that do not match most others.

    timestep: of the clock, if frames have it; None takes that of the newest frames.
    """
    described = list(describe_files(paths, source.describe, bad.report))
    every = [file.times for file in described]
    held = np.unique(np.concatenate(every)) if every else np.array([], "datetime64[ns]")
    first, last = _span_of(held, wanted, timestep)
    inside = [file for file in described if ((file.times >= first) & (file.times <= last)).any()]
    files = alike_files(inside, bad.report)
    after = [file for file in described if (file.times > last).any()]
    later = min(after, key=lambda file: file.times[file.times > last].min()).path if after else None
    if not files:
        nothing = np.array([], np.intp)
        return Timeline((), held[:0], held[:0], nothing, nothing, float("nan"), held, later)

    def clock(stamps: Times, paths: Sequence[Path]) -> Placed:
        kept = np.flatnonzero((stamps >= first) & (stamps <= last))
        kept = kept[np.argsort(stamps[kept], kind="stable")]
        stamps = stamps[kept]
        minutes = timestep_of(stamps) if wanted.span else spacing_of(stamps, timestep)
        times, fit = _on_a_clock(stamps, minutes, [paths[k] for k in kept.tolist()], bad)
        return kept[fit], times[fit], minutes

    return Timeline(**vars(series_on(files, clock)), held=held, later=later)


def _span_of(
    held: Times, wanted: Wanted, timestep: np.timedelta64 | None
) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last wanted time."""
    if held.size == 0:
        return np.datetime64("NaT"), np.datetime64("NaT")
    if wanted.span is not None:
        start, end = wanted.span[0] - JITTER, wanted.span[1] + JITTER
        if ((held >= start) & (held <= end)).sum() >= TOLD_BY // 2:
            return start, end
        # a few surrounding frames determine the spacing
        middle = np.searchsorted(held, start), np.searchsorted(held, end, "right")
        around = held[max(int(middle[0]) - TOLD_BY // 2, 0) : int(middle[1]) + TOLD_BY // 2]
        return around[0], around[-1]
    until = held[-1] if wanted.until is None else wanted.until + JITTER
    newest = held[held <= until][-wanted.count :]
    if newest.size == 0:
        return held[0], held[: wanted.count][-1]  # all are later, which the caller reports
    return min(newest[0], until - wanted.back - 2 * JITTER), until


def _on_a_clock(
    stamps: Times, minutes: float, paths: list[Path], bad: BadFiles
) -> tuple[Times, NDArray[np.intp]]:
    """Stamps (n,), rising → the nearest ticks of the clock of the newest of them, and which of them
    are on the clock.

    A frame off the clock is bad if it is the newest, or if the tick around it has no frame. Others
    are left out with a remark, because they may belong to an earlier clock.
    """
    if stamps.size == 0 or not np.isfinite(minutes):
        return stamps, np.arange(stamps.size)
    step = np.timedelta64(round(minutes * 60e9), "ns")
    off = _off(stamps, _phase_of(stamps, step), step)
    kept = np.abs(off) <= min(JITTER, step // 4)
    between = f"does not fit the {minutes:g}-minute spacing of the frames around it"
    aside = list[int]()
    for k in np.flatnonzero(~kept).tolist():
        ends = stamps[:k][kept[:k]][-1:], stamps[k:][kept[k:]][:1]
        is_newest, is_alone = ends[1].size == 0, (~kept).sum() == 1 and ends[0].size == 1
        if is_newest or (is_alone and ends[1][0] - ends[0][0] > 3 * step // 2):
            why = DataError(
                f"{paths[k]}: the frame of {show(stamps[k])} {between}; set on_bad_file=skip to"
                " leave it out."
            )
            bad.report(Problem.of(paths[k], why, stamps[k]))
        elif ends[0].size:
            aside.append(k)
    if aside:
        first, last = show(stamps[aside[0]]), show(stamps[aside[-1]])
        bad.remarks.append(
            f"{len(aside)} frames from {first} to {last} UTC do not fit the {minutes:g}-minute"
            " spacing, and are left out"
        )
    return stamps - off, np.flatnonzero(kept)


def _phase_of(stamps: Times, step: np.timedelta64) -> np.datetime64:
    """Return a tick of the clock that most of the newest frames are on. A clock counted from
    midnight is preferred, then that of the newest frame.
    """
    newest = np.unique(stamps)[-TOLD_BY:]
    tolerance = min(JITTER, step // 4)
    candidates = [newest[-1].astype("datetime64[D]").astype("datetime64[ns]"), *newest[::-1]]
    fitting = [np.abs(_off(newest, phase, step)) <= tolerance for phase in candidates]
    best = int(np.argmax([fit.sum() for fit in fitting]))
    phase: np.datetime64 = candidates[best]
    if best == 0:
        return phase
    around = _off(newest[fitting[best]], phase, step)
    return phase + np.timedelta64(round(float(np.median(around / np.timedelta64(1, "s")))), "s")


def _off(stamps: Times, phase: np.datetime64, step: np.timedelta64) -> NDArray[np.timedelta64]:
    return np.asarray((stamps - phase + step // 2) % step - step // 2)


def spacing_of(times: Times, timestep: np.timedelta64 | None) -> float:
    """Return the spacing of the newest frames in minutes, or `timestep` if two of them are that far
    apart.
    """
    minutes = newest_spacing(times)
    if timestep is None:
        return minutes
    wanted = float(timestep / np.timedelta64(1, "m"))
    apart = np.diff(np.unique(times)) / np.timedelta64(1, "m")
    least = apart[apart >= min(0.5, wanted / 2)].min(initial=np.inf)
    return wanted if abs(least - wanted) <= min(0.5, wanted / 4) else minutes


def newest_spacing(times: Times) -> float:
    """Return the spacing of the newest frames in minutes, in whole minutes from two minutes on; NaN
    for fewer than two frames.

    The differences between frames vote: the newest counts 1, each older one 0.7 of the next; among
    equals the smaller wins. So a missing frame changes nothing, and a new spacing is known from its
    second difference on.
    """
    seconds = np.diff(np.unique(times)[-TOLD_BY:]) / np.timedelta64(1, "s")
    if seconds.size == 0:
        return float("nan")
    if np.ptp(seconds) > 0.01:
        unit = 60.0 if np.median(seconds) >= 120 else 1.0
        seconds = np.maximum(np.round(seconds / unit), 1.0) * unit
    values, which = np.unique(np.round(seconds, 3), return_inverse=True)
    votes = np.bincount(which, _OLDER ** np.arange(seconds.size)[::-1])
    return float(values[np.argmax(votes)]) / 60.0
