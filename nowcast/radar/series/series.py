"""Many files, one series: their frames in the order of time, each once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.radar.placing.georeference import place_differs
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.formats import describe_file, read_frames
from nowcast.radar.times import JITTER_SECONDS, Times, onto_clock, show, timestep_of

log = logging.getLogger(__name__)

Span = tuple[np.datetime64, np.datetime64]
"""First and last time."""
_JITTER = np.timedelta64(round(JITTER_SECONDS * 1e9), "ns")


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
        return replace(
            self,
            times=self.times[inside],
            file_of=self.file_of[inside],
            frame_of=self.frame_of[inside],
        )


def describe_files(
    paths: Sequence[Path], options: ReadOptions, around: Sequence[Span] = ()
) -> tuple[RadarFile, ...]:
    """Describe each file, in the order given; with `around`, only those count that have a frame
    there.

    Errors: DataError where two of them differ in grid, units or variable.
    """
    files: list[RadarFile] = []
    for path in paths:
        file = describe_file(path, options)
        if around and not near(file.times, around).any():
            continue
        if files:
            problem = unlike(files[0], file)
            if problem:
                raise DataError(problem)
            file = replace(file, place=files[0].place)  # one copy of what is the same
        files.append(file)
    return tuple(files)


def near(times: Times, spans: Sequence[Span]) -> npt.NDArray[np.bool_]:
    """Which of the times lie in one of the spans, or may be put into it by their clock."""
    return within(times, [(start - _JITTER, end + _JITTER) for start, end in spans])


def within(times: Times, spans: Sequence[Span]) -> npt.NDArray[np.bool_]:
    """Which of the times lie in one of the spans, both ends included."""
    inside = np.zeros(times.shape, bool)
    for start, end in spans:
        inside |= (times >= start) & (times <= end)
    return inside


def build_series(
    files: tuple[RadarFile, ...],
    options: ReadOptions,
    periods: Sequence[Span] = (),
    around: Sequence[Span] = (),
) -> Series:
    """Put frames on one clock and in one order; a frame that comes twice is kept once.

    What was mended is said.

    periods: only their frames are taken, and only these decide about the spacing; none: all frames.
    around: frames there are taken
        too, where they fit.
    Errors: DataError where times do not fit one spacing, or two different frames have the same
    time.
    """
    times = np.concatenate([file.times for file in files])
    file_of = np.repeat(np.arange(len(files)), [len(file.times) for file in files])
    frame_of = np.concatenate([np.arange(len(file.times)) for file in files])
    asked = within(times, periods) if periods else np.ones(times.shape, bool)
    timestep = timestep_of(_enough(times, asked))
    kept, ticks = _on_clock(
        times, asked, timestep, [*periods, *around], [str(files[k].path) for k in file_of]
    )
    if (np.diff(ticks) < np.timedelta64(0, "ns")).any():
        log.warning("%s: frames were not in the order of time and were sorted.", _span(files))
    order = np.argsort(ticks, kind="stable")
    times, kept = ticks[order], kept[order]
    file_of, frame_of, asked = file_of[kept], frame_of[kept], asked[kept]
    again = np.flatnonzero(np.diff(times) == np.timedelta64(0, "ns")) + 1
    unfit = set[int]()
    for k in again.tolist():
        try:
            _check_equal(
                files[file_of[k - 1]],
                int(frame_of[k - 1]),
                files[file_of[k]],
                int(frame_of[k]),
                times[k],
                options,
            )
        except DataError:
            if asked[k] or asked[k - 1]:
                raise
            unfit |= {k - 1, k}
    if again.size > len(unfit) // 2:
        log.warning(
            "%s: %d frames came twice, equal in every pixel; one of each was kept.",
            _span(files),
            again.size - len(unfit) // 2,
        )
    keep = np.setdiff1d(np.arange(len(times)), [*again, *unfit])
    return Series(files, times[keep], file_of[keep], frame_of[keep], timestep)


def _enough(times: Times, asked: npt.NDArray[np.bool_]) -> Times:
    """The times that tell the spacing: those asked for, and of a single one those next to it."""
    told = np.unique(times[asked])
    if told.size != 1:
        return told
    every = np.unique(times)
    k = int(np.searchsorted(every, told[0]))
    return every[max(k - 1, 0) : k + 2]


def _on_clock(
    times: Times,
    asked: npt.NDArray[np.bool_],
    timestep: float,
    spans: Sequence[Span],
    names: list[str],
) -> tuple[npt.NDArray[np.intp], Times]:
    """Which frames are kept, as the files have them, and the ticks of each on the clock of those
    that are asked for.

    Others are kept where they fit that clock. Errors: DataError where one that is asked for does
    not.
    """
    first = np.flatnonzero(asked)
    ticks = np.array(times, dtype="datetime64[ns]")
    ticks[first] = onto_clock(times[first], timestep, [names[k] for k in first])
    if not spans or first.size == 0:
        return first, ticks[first]
    kept = asked.copy()
    if np.isfinite(timestep):
        step = np.timedelta64(round(timestep * 60e9), "ns")
        off = (times - ticks[first[0]] + step // 2) % step - step // 2
        ticks[~asked] = (times - off)[~asked]
        kept |= near(times, spans) & (np.abs(off) <= min(_JITTER, step // 4))
        unfit = int((within(times, spans) & ~kept).sum())
        if unfit:
            log.warning(
                "%d frames around the period do not fit its %g-minute spacing and are left out.",
                unfit,
                timestep,
            )
    kept &= within(ticks, spans)
    return np.flatnonzero(kept), ticks[kept]


def unlike(first: RadarFile, other: RadarFile) -> str:
    """Why two files cannot be of one series, as they differ in grid, units or variable; empty
    where they can.
    """
    a, b = first.layout, other.layout
    if a.shape != b.shape:
        return (
            f"{other.path}: its grid is {b.shape}, that of {first.path} is {a.shape}; open files of"
            " one grid only."
        )
    for what, ours, theirs in [
        ("format", first.format, other.format),
        ("variable", a.variable, b.variable),
        ("units", a.units, b.units),
        ("minutes of accumulation", a.accumulation_minutes, b.accumulation_minutes),
        ("Z-R relation", a.zr, b.zr),
    ]:
        if ours != theirs:
            return (
                f"{other.path}: {what} {theirs!r}, but {ours!r} in {first.path}; open files of one"
                " kind only."
            )
    problem = place_differs(first.place, other.place)
    return (
        f"{other.path}: not on the grid of {first.path} ({problem}); open files of one grid only."
        if problem
        else ""
    )


def alike_files(files: Sequence[RadarFile]) -> tuple[list[RadarFile], dict[Path, str]]:
    """Those on the grid, in the units and of the kind that most files have, of equals that of
    the first; and why others are not.
    """
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


def _check_equal(
    a: RadarFile, i: int, b: RadarFile, j: int, time: np.datetime64, options: ReadOptions
) -> None:
    one = read_frames(ReadRequest(a, options, slice(i, i + 1)))
    two = read_frames(ReadRequest(b, options, slice(j, j + 1)))
    if not np.array_equal(one, two, equal_nan=True):
        where = f"{a.path} and {b.path}" if a.path != b.path else f"{a.path} (frames {i} and {j})"
        raise DataError(f"{where}: two different frames for {show(time)}; keep the right one only.")


def _span(files: tuple[RadarFile, ...]) -> str:
    return str(files[0].path) if len(files) == 1 else f"{files[0].path} to {files[-1].path.name}"
