"""The frames of many files in the order of time, also where some of the files cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.commands.frame_files import FrameFiles, Rate
from nowcast.commands.patience import BadFiles
from nowcast.errors import DataError, MissingInputError
from nowcast.radar.file import RadarFile
from nowcast.radar.series import alike_files
from nowcast.radar.times import SILENT_SECONDS, OffClockError, Times, show, ticks_of, timestep_of


@dataclass(frozen=True)
class Timeline:
    """Frame k is frame `frame_of[k]` of file `file_of[k]`, of the time `times[k]`.

    times: (n,) rising, on one clock; a time of which there are two frames is there twice. stamps: (n,) as the files have them.
    minutes: between frames; NaN of a single one.
    """

    files: tuple[RadarFile, ...]
    times: Times
    stamps: Times
    file_of: NDArray[np.intp]
    frame_of: NDArray[np.intp]
    minutes: float

    def at(self, time: np.datetime64) -> list[tuple[RadarFile, int]]:
        """The frames of a time: file, and number within it."""
        first, last = np.searchsorted(self.times, time, "left"), np.searchsorted(self.times, time, "right")
        return [(self.files[self.file_of[k]], int(self.frame_of[k])) for k in range(first, last)]

    def mended(self, times: Times) -> list[str]:
        """What is remarkable about the order of the frames of these times, and about the clock that they were put on."""
        there = np.isin(self.times, times)
        files = [self.files[k] for k in np.unique(self.file_of[there])]
        unsorted = [file.path for file in files if (np.diff(file.times) < np.timedelta64(0, "ns")).any()]
        seconds = np.abs(self.stamps - self.times)[there] / np.timedelta64(1, "s")
        off = int((seconds > SILENT_SECONDS).sum())
        said = (
            f"{off} frames were up to {seconds.max():.0f} s off the {self.minutes:g}-minute clock and were put on it"
            if off
            else ""
        )
        return [
            *(f"{path}: its frames were not in the order of time and were sorted" for path in unsorted),
            *([said] if off else []),
        ]


def lay_out(source: FrameFiles, paths: Sequence[Path], timestep: np.timedelta64 | None, bad: BadFiles) -> Timeline:
    """What these files hold, but for those that are `bad`: that cannot be used, or not together with most others.

    timestep: that of the clock, if frames of it are there; None: the most common one.
    """
    described = []
    for path in paths:
        try:
            file = source.describe(path)
        except (DataError, MissingInputError) as error:
            bad.add(path, error)
        else:
            described += [] if file is None else [file]
    files, others = alike_files(described)
    for path, reason in others.items():
        bad.add(path, DataError(reason))
    if not files:
        nothing = np.array([], "datetime64[ns]"), np.array([], np.intp)
        return Timeline((), nothing[0], nothing[0], nothing[1], nothing[1], float("nan"))
    stamps = np.concatenate([file.times for file in files])
    file_of = np.repeat(np.arange(len(files)), [len(file.times) for file in files])
    frame_of = np.concatenate([np.arange(len(file.times)) for file in files])
    times, kept, minutes = _on_a_clock(stamps, [file.path for file in files], file_of, timestep, bad)
    order = kept[np.argsort(times, kind="stable")]
    return Timeline(tuple(files), np.sort(times), stamps[order], file_of[order], frame_of[order], minutes)


def _on_a_clock(
    stamps: Times, paths: list[Path], file_of: NDArray[np.intp], timestep: np.timedelta64 | None, bad: BadFiles
) -> tuple[Times, NDArray[np.intp], float]:
    """The times on a clock, of which stamps these are, and the minutes of the clock."""
    kept = np.arange(stamps.size)
    while True:
        minutes = spacing_of(stamps[kept], timestep)
        try:
            return ticks_of(stamps[kept], minutes, [str(paths[k]) for k in file_of[kept]]), kept, minutes
        except OffClockError as error:
            k = kept[error.index]
            bad.add(paths[file_of[k]], error, f"the frame of {show(stamps[k])} UTC left out")
            kept = np.delete(kept, error.index)


def spacing_of(times: Times, timestep: np.timedelta64 | None) -> float:
    """The spacing of frames in minutes, as timestep_of has it; but that which is asked for where two of them are so far apart."""
    minutes = timestep_of(times)
    if timestep is None:
        return minutes
    wanted = float(timestep / np.timedelta64(1, "m"))
    apart = np.diff(np.unique(times)) / np.timedelta64(1, "m")
    least = apart[apart >= min(0.5, wanted / 2)].min(initial=np.inf)
    return wanted if abs(least - wanted) <= min(0.5, wanted / 4) else minutes


def read_frame(source: FrameFiles, line: Timeline, at: np.datetime64, bad: BadFiles) -> Rate | None:
    """The frame of a time [mm/h, NaN = missing]; None where there is none that can be used, or two that differ."""
    found: list[tuple[RadarFile, int, Rate]] = []
    for file, index in line.at(at):
        try:
            frame = source.read(file, index, at)
        except (DataError, MissingInputError) as error:
            bad.add(file.path, error, f"the frame of {show(at)} UTC left out")
            continue
        if frame is not None:
            found.append((file, index, frame.rate))
            bad.remarks += [] if frame.remark is None else [frame.remark]
    if not found:
        return None
    (file, index, rate), *others = found
    for other, number, again in others:
        both = f"{file.path} and {other.path}" if file.path != other.path else f"{file.path} (frames {index} and {number})"
        if not np.array_equal(rate, again, equal_nan=True):
            bad.add(
                other.path, DataError(f"{both}: two different frames for {show(at)}; keep the right one only."), "both left out"
            )
            return None
        bad.remarks.append(f"{both}: the same frame of {show(at)} UTC came twice")
    return rate


def is_blank(rate: Rate, line: Timeline, at: np.datetime64, bad: BadFiles, is_newest: bool) -> bool:
    """Whether a frame holds no measured pixel; the newest may be a file whose values are still to be written."""
    if not np.isnan(rate).all():
        return False
    path = line.at(at)[0][0].path
    if is_newest:
        bad.suspect(path)
    bad.remarks.append(f"{path}: the frame of {show(at)} UTC holds no measured pixel")
    return True
