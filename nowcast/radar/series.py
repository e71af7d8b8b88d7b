"""Many files, one series: their frames in the order of time, each once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.radar.file import RadarFile, ReadOptions
from nowcast.radar.formats import describe_file, read_frames
from nowcast.radar.georeference import place_differs
from nowcast.radar.times import Times, onto_clock, show, timestep_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Series:
    """Frames in the order of time: frame k is frame `frame_of[k]` of file `file_of[k]`."""

    files: tuple[RadarFile, ...]
    times: Times  # (n,)
    file_of: npt.NDArray[np.intp]  # (n,)
    frame_of: npt.NDArray[np.intp]  # (n,)
    timestep_minutes: float

    def within(self, start: np.datetime64, end: np.datetime64) -> "Series":
        """The frames from `start` to `end`, both included; all files stay known."""
        inside = (self.times >= start) & (self.times <= end)
        return replace(self, times=self.times[inside], file_of=self.file_of[inside], frame_of=self.frame_of[inside])


def describe_files(paths: Sequence[Path], options: ReadOptions) -> tuple[RadarFile, ...]:
    """Describe each file, in the order given. Errors: DataError where two differ in grid, units or variable."""
    files: list[RadarFile] = []
    for path in paths:
        file = describe_file(path, options)
        if files:
            problem = unlike(files[0], file)
            if problem:
                raise DataError(problem)
            file = replace(file, place=files[0].place)  # one copy of what is the same
        files.append(file)
    return tuple(files)


def build_series(files: tuple[RadarFile, ...], options: ReadOptions) -> Series:
    """Put all frames on one clock and in one order; a frame that comes twice is kept once. What was mended is said.

    Errors: DataError where times do not fit one spacing, or two different frames have the same time.
    """
    times = np.concatenate([file.times for file in files])
    file_of = np.repeat(np.arange(len(files)), [len(file.times) for file in files])
    frame_of = np.concatenate([np.arange(len(file.times)) for file in files])
    timestep = timestep_of(times)
    times = onto_clock(times, timestep, [str(files[k].path) for k in file_of])
    if (np.diff(times) < np.timedelta64(0, "ns")).any():
        log.warning("%s: frames were not in the order of time and were sorted.", _span(files))
    order = np.argsort(times, kind="stable")
    times, file_of, frame_of = times[order], file_of[order], frame_of[order]
    again = np.flatnonzero(np.diff(times) == np.timedelta64(0, "ns")) + 1
    for k in again:
        _check_equal(files[file_of[k - 1]], int(frame_of[k - 1]), files[file_of[k]], int(frame_of[k]), times[k], options)
    if again.size:
        log.warning("%s: %d frames came twice, equal in every pixel; one of each was kept.", _span(files), again.size)
    keep = np.setdiff1d(np.arange(len(times)), again)
    return Series(files, times[keep], file_of[keep], frame_of[keep], timestep)


def unlike(first: RadarFile, other: RadarFile) -> str:
    """Why two files cannot be of one series, as they differ in grid, units or variable; empty where they can."""
    a, b = first.layout, other.layout
    if a.shape != b.shape:
        return f"{other.path}: its grid is {b.shape}, that of {first.path} is {a.shape}; open files of one grid only."
    for what, ours, theirs in [
        ("format", first.format, other.format),
        ("variable", a.variable, b.variable),
        ("units", a.units, b.units),
        ("minutes of accumulation", a.accumulation_minutes, b.accumulation_minutes),
        ("Z-R relation", a.zr, b.zr),
    ]:
        if ours != theirs:
            return f"{other.path}: {what} {theirs!r}, but {ours!r} in {first.path}; open files of one kind only."
    problem = place_differs(first.place, other.place)
    return f"{other.path}: not on the grid of {first.path} ({problem}); open files of one grid only." if problem else ""


def alike_files(files: Sequence[RadarFile]) -> tuple[list[RadarFile], dict[Path, str]]:
    """Those on the grid, in the units and of the kind that most files have, of equals that of the first; and why others are not."""
    kinds: list[list[RadarFile]] = []
    for file in files:
        kind = next((kind for kind in kinds if not unlike(kind[0], file)), None)
        if kind is None:
            kinds.append([file])
        else:
            kind.append(replace(file, place=kind[0].place))  # one copy
    most = max(kinds, key=len, default=[])
    others = [file for kind in kinds if kind is not most for file in kind]
    return most, {file.path: unlike(most[0], file) for file in others}


def _check_equal(a: RadarFile, i: int, b: RadarFile, j: int, time: np.datetime64, options: ReadOptions) -> None:
    everything = slice(None)
    one = read_frames(a, slice(i, i + 1), everything, everything, options)
    two = read_frames(b, slice(j, j + 1), everything, everything, options)
    if not np.array_equal(one, two, equal_nan=True):
        where = f"{a.path} and {b.path}" if a.path != b.path else f"{a.path} (frames {i} and {j})"
        raise DataError(f"{where}: two different frames for {show(time)}; keep the right one only.")


def _span(files: tuple[RadarFile, ...]) -> str:
    return str(files[0].path) if len(files) == 1 else f"{files[0].path} to {files[-1].path.name}"
