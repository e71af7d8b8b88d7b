"""Read a frame of a timeline and compare it with the frames around it."""

from collections import Counter

import numpy as np

from nowcast.arrays import Float32Array
from nowcast.errors import DataError, MissingInputError
from nowcast.radar.reading.file import RadarFile
from nowcast.radar.series.describing import Problem
from nowcast.radar.series.neighbours import fits_only_repacked, packing_problem, strange_coverage
from nowcast.radar.times import show
from nowcast.service.live_files import FrameFiles, LiveFrame
from nowcast.service.retry import BadFiles
from nowcast.service.timeline import Timeline


def read_frame(
    source: FrameFiles, line: Timeline, at: np.datetime64, bad: BadFiles
) -> Float32Array | None:
    """Return the frame of a time [mm/h, NaN = missing]; None if unusable, or if two differ."""
    found: list[tuple[RadarFile, int, Float32Array]] = []
    for file, index in line.at(at):
        try:
            frame = source.read(file, index, at)
            if frame is None:
                continue
            problem = packing_unfit(source, line, file, index, at, frame, bad) or coverage_unfit(
                source, line, at, frame
            )
            if problem:
                raise DataError(f"{file.path}: {problem}.")
        except (DataError, MissingInputError) as error:
            bad.report(Problem.of(file.path, error, at))
            continue
        found.append((file, index, frame.rate))
        bad.remarks += [] if frame.remark is None else [frame.remark]
    if not found:
        return None
    (file, index, rate), *others = found
    for other, number, again in others:
        both = (
            f"{file.path} and {other.path}"
            if file.path != other.path
            else f"{file.path} (frames {index} and {number})"
        )
        if not np.array_equal(rate, again, equal_nan=True):
            bad.add(
                other.path,
                DataError(f"{both}: two different frames for {show(at)}; keep only the right one."),
                "both left out",
            )
            return None
        bad.remarks.append(f"{both}: the same frame of {show(at)} UTC exists twice")
    return rate


def packing_unfit(
    source: FrameFiles,
    line: Timeline,
    file: RadarFile,
    index: int,
    at: np.datetime64,
    frame: LiveFrame,
    bad: BadFiles,
) -> str:
    """Return why the packing (scale and offset) in the file of a frame must be wrong; empty if it
    is plausible.

    A plausible packing that differs from most files is remarked.
    """
    count = Counter(one.layout.packing for one in line.files)
    packing, files = count.most_common(1)[0]
    if packing == file.layout.packing or 2 * files <= len(line.files):
        return ""
    again = source.read_by(packing, file, index)
    for other, number, time in _frames_near(line, at):
        beside = _frame(source, other, number, time) if other.layout.packing == packing else None
        unfit = None if beside is None else fits_only_repacked(frame.rate, again, beside.rate)
        if unfit:
            return (
                f"{packing_problem(file, packing)}; if it is right, it is accepted once most of"
                " the newest files have it"
            )
        if unfit is not None:
            break
    bad.remarks.append(
        f"{file.path}: has another packing (scale and offset) than most files before it; it is used"
    )
    return ""


def coverage_unfit(source: FrameFiles, line: Timeline, at: np.datetime64, frame: LiveFrame) -> str:
    """Return why the coverage of a frame must be wrong; empty if it is plausible, or if the frame
    covers nothing.
    """
    if frame.covered == 0:
        return ""
    times = np.unique(line.times)
    k = int(np.searchsorted(times, at))
    near = times[max(k - 2, 0) : k + 3]
    around = [_first_frame(source, line, time) for time in near]
    shares = [np.nan if one is None or one.covered == 0 else one.covered for one in around]
    place = int(np.searchsorted(near, at))
    shares[place] = frame.covered
    if not strange_coverage(shares)[place]:
        return ""
    usual = float(np.nanmedian([share for j, share in enumerate(shares) if j != place]))
    return (
        f"covers {frame.covered:.0%} of its pixels at {show(at)} UTC, the frames around it"
        f" {usual:.0%}; if radars failed or came back, the next frame shows it too, and both are"
        " accepted"
    )


def _frames_near(line: Timeline, at: np.datetime64) -> list[tuple[RadarFile, int, np.datetime64]]:
    """Return the other frames, nearest in time first."""
    order = np.argsort(np.abs(line.times - at), kind="stable")
    return [
        (line.files[line.file_of[k]], int(line.frame_of[k]), line.times[k])
        for k in order
        if line.times[k] != at
    ]


def _first_frame(source: FrameFiles, line: Timeline, at: np.datetime64) -> LiveFrame | None:
    return next((_frame(source, file, index, at) for file, index in line.at(at)), None)


def _frame(source: FrameFiles, file: RadarFile, index: int, at: np.datetime64) -> LiveFrame | None:
    """Return a frame to compare with; None if it cannot be read, which is reported when needed."""
    try:
        return source.read(file, index, at)
    except (DataError, MissingInputError):
        return None


def is_blank(
    rate: Float32Array, line: Timeline, at: np.datetime64, bad: BadFiles, is_newest: bool
) -> bool:
    """Whether a frame holds no measured pixel; the newest may be a file whose values are still
    to be written.
    """
    if not np.isnan(rate).all():
        return False
    path = line.at(at)[0][0].path
    if is_newest:
        bad.suspect(path)
    bad.remarks.append(f"{path}: the frame of {show(at)} UTC holds no measured pixel")
    return True
