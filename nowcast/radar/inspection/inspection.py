"""Statistics of the frames of one series: rain, gaps, and suspicious frames.

Each frame is read once, on its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float32Array
from nowcast.errors import DataError
from nowcast.radar.grid import WET_RATE
from nowcast.radar.series.neighbours import strange_coverage
from nowcast.radar.store.speckle import wet_neighbours
from nowcast.radar.times import Times, onto_clock, timestep_of

# least share of wet pixels for which the mean of a frame is compared with its neighbours
_WET_ENOUGH = 0.01
_FACTOR = 3.0  # a larger change of the mean rain from frame to frame is always a jump
# a jump is also a change this many times the median absolute change of the logarithm, …
_DEVIATIONS = 8.0
_LEAST_FACTOR = 1.5  # … if it exceeds this factor (very steady rain has very small changes)
_OFTEN = 48  # least number of changes at one minute of the hour to compare it with other minutes
# share of the covered pixels; smaller changes are normal where edges, clutter and beams are masked
_CHANGED_COVERAGE = 0.01
_BOXES = 16  # along each axis, for counting coverage
# ratio of changes at one minute of the hour to changes at others that is reported
_REPORTED_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class InspectedFrame:
    """Statistics of one frame.

    `wet`, `total` and `top` are computed after the limit, which masks or lowers higher values.

    time: from the file. valid, wet, lone (wet without wet neighbours), high (above the limit):
    numbers of pixels. total: the sum over valid pixels in mm/h. top, highest: the maximum in mm/h
    after and before the limit. picture: a digest, equal for equal frames.
    coverage: the number of valid pixels in each of 16 × 16 boxes.
    """

    time: np.datetime64
    valid: int
    wet: int
    lone: int
    high: int
    total: float
    top: float
    highest: float
    picture: bytes
    coverage: bytes

    @property
    def mean(self) -> float:
        return self.total / self.valid if self.valid else float("nan")


@dataclass(frozen=True)
class Gap:
    """A run of missing frames between two existing ones."""

    first: np.datetime64
    last: np.datetime64
    frames: int


@dataclass(frozen=True)
class Jump:
    """An unusual change of the mean rain from the previous frame, as a factor."""

    time: np.datetime64
    factor: float


@dataclass(frozen=True)
class Inspection:
    """Statistics of one series of frames.

    Shares are from 0 to 1, NaN if nothing was counted; rates are in mm/h.

    frames: number of different times. timestep_minutes: the most common spacing, NaN for one frame.
    same_time_equal, same_time_differing: repeated times, with an equal or a different frame.
    off_clock: why the times do not fit one spacing, or None.
    wet_share, missing_share, lone_share: of valid, of all, of wet pixels. high, highest: number of
    values above the limit, and the maximum before the limit.
    jump_minute: the minute of the hour at which the mean rain changes `jump_minute_ratio` times as
    much as at others, or None.
    frozen: times of wet frames that equal the previous one. mask_changes: times at which coverage
    changes by 1 % of the covered pixels or more, estimated from boxes of the grid. least_covered,
    most_covered: the smallest and the largest share of pixels covered by a frame.
    coverage_jumps: times of frames whose coverage differs from that of the frames around them.
    """

    frames: int
    start: np.datetime64
    end: np.datetime64
    timestep_minutes: float
    gaps: tuple[Gap, ...]
    same_time_equal: tuple[np.datetime64, ...]
    same_time_differing: tuple[np.datetime64, ...]
    off_clock: str | None
    wet_share: float
    missing_share: float
    maximum: float
    maximum_time: np.datetime64
    lone_share: float
    high: int
    highest: float
    highest_time: np.datetime64
    jumps: tuple[Jump, ...]
    jump_minute: int | None
    jump_minute_ratio: float
    frozen: tuple[np.datetime64, ...]
    dry: tuple[np.datetime64, ...]
    empty: tuple[np.datetime64, ...]
    mask_changes: tuple[np.datetime64, ...]
    least_covered: float
    most_covered: float
    coverage_jumps: tuple[np.datetime64, ...]

    @property
    def missing_frames(self) -> int:
        return sum(gap.frames for gap in self.gaps)


def look_at(
    time: np.datetime64, rate: Float32Array, max_rate: float, above_max_rate: str, infinite: int = 0
) -> InspectedFrame:
    """Return the statistics of one frame (y, x) in mm/h, NaN = missing, before any limit.

    See ReadOptions for the limit.

    infinite: how many of the missing values were stored as infinite; they count as above the limit.
    """
    high = rate > max_rate
    highest = _maximum(rate)
    if high.any():
        rate = np.where(high, np.float32(max_rate if above_max_rate == "clip" else np.nan), rate)
    missing = np.isnan(rate)
    # a single bit pattern for missing, and one for dry
    filled = np.where(missing, np.float32(-1.0), rate + np.float32(0.0))
    wet = filled >= WET_RATE
    return InspectedFrame(
        time=time,
        valid=rate.size - int(missing.sum()),
        wet=int(wet.sum()),
        lone=int((wet & (wet_neighbours(wet) == 0)).sum()),
        high=int(high.sum()) + infinite,
        total=float(filled.sum(dtype=np.float64)) + float(missing.sum()),
        top=_maximum(rate),
        highest=highest,
        picture=_digest(filled),
        coverage=_coverage(~missing),
    )


def inspect_frames(frames: Sequence[InspectedFrame], pixels: int) -> Inspection:
    """Return the statistics of a series from those of its frames, in any order; at least one.

    pixels: the number of pixels of each frame.
    """
    ordered = sorted(frames, key=lambda frame: frame.time)
    times = np.array([frame.time for frame in ordered], dtype="datetime64[ns]")
    timestep = timestep_of(times)
    times, off_clock = _clocked(times, timestep)
    again = np.flatnonzero(np.diff(times) == np.timedelta64(0, "ns")) + 1
    same = np.array([ordered[k].picture == ordered[k - 1].picture for k in again], dtype=bool)
    once = np.setdiff1d(np.arange(len(times)), again)
    kept, times_once = [ordered[k] for k in once], times[once]
    valid, wet = sum(frame.valid for frame in kept), sum(frame.wet for frame in kept)
    wettest, highest = (
        _first_of_largest([getattr(frame, name) for frame in kept]) for name in ("top", "highest")
    )
    neighbours = np.flatnonzero(_steps(times_once, timestep) == 1) + 1
    jumps, minute, ratio = _find_jumps(kept, times_once, neighbours, timestep)
    return Inspection(
        frames=len(kept),
        start=times_once[0],
        end=times_once[-1],
        timestep_minutes=timestep,
        gaps=_gaps(times_once, timestep),
        same_time_equal=tuple(times[again[same]]),
        same_time_differing=tuple(times[again[~same]]),
        off_clock=off_clock,
        wet_share=_share(wet, valid),
        missing_share=1.0 - valid / (len(kept) * pixels),
        maximum=kept[wettest].top,
        maximum_time=times_once[wettest],
        lone_share=_share(sum(frame.lone for frame in kept), wet),
        high=sum(frame.high for frame in kept),
        highest=kept[highest].highest,
        highest_time=times_once[highest],
        jumps=jumps,
        jump_minute=minute,
        jump_minute_ratio=ratio,
        frozen=tuple(
            times_once[k]
            for k in neighbours
            if kept[k].picture == kept[k - 1].picture and kept[k].top > 0
        ),
        dry=tuple(
            times_once[k] for k, frame in enumerate(kept) if frame.valid and not frame.top > 0
        ),
        empty=tuple(times_once[k] for k, frame in enumerate(kept) if not frame.valid),
        mask_changes=tuple(
            times_once[k]
            for k in neighbours
            if _changed_coverage(kept[k - 1], kept[k]) >= _CHANGED_COVERAGE
        ),
        least_covered=min(frame.valid for frame in kept) / pixels,
        most_covered=max(frame.valid for frame in kept) / pixels,
        coverage_jumps=tuple(
            times_once[strange_coverage([frame.valid / pixels or np.nan for frame in kept])]
        ),
    )


def _find_jumps(
    frames: Sequence[InspectedFrame],
    times: Times,
    neighbours: npt.NDArray[np.intp],
    timestep: float,
) -> tuple[tuple[Jump, ...], int | None, float]:
    """Find unusually large changes of the mean rain, and the minute of the hour at which changes
    are larger than at others (with the ratio).
    """
    enough = np.array([frame.wet >= max(_WET_ENOUGH * frame.valid, 1) for frame in frames])
    both = neighbours[enough[neighbours] & enough[neighbours - 1]]
    if both.size == 0:
        return (), None, float("nan")
    means = np.array([frame.mean for frame in frames])
    change = np.log(means[both]) - np.log(means[both - 1])
    usual = max(_DEVIATIONS * float(np.median(np.abs(change))), np.log(_LEAST_FACTOR))
    jumped = np.abs(change) > min(usual, np.log(_FACTOR))
    jumps = tuple(
        Jump(times[k], float(np.exp(by)))
        for k, by in zip(both[jumped], change[jumped], strict=True)
    )
    return jumps, *_at_a_minute(times[both], np.abs(change), timestep)


def _at_a_minute(
    times: Times, change: npt.NDArray[np.float64], timestep: float
) -> tuple[int | None, float]:
    """Return the minute of the hour with the largest changes, and the ratio of their median to that
    of the others; None if the ratio is small or there are too few changes.
    """
    minute_of = (times.astype("datetime64[m]") - times.astype("datetime64[h]")).astype(int)
    minutes = [minute for minute in np.unique(minute_of) if (minute_of == minute).sum() >= _OFTEN]
    if len(minutes) < 2 or 60 % timestep:
        return None, float("nan")
    largest = max(minutes, key=lambda minute: float(np.median(change[minute_of == minute])))
    others = float(np.median(change[minute_of != largest]))
    ratio = float(np.median(change[minute_of == largest])) / others if others > 0 else float("nan")
    return (int(largest), ratio) if ratio >= _REPORTED_RATIO else (None, float("nan"))


def _clocked(times: Times, timestep: float) -> tuple[Times, str | None]:
    """Return the times rounded to a regular clock, or unchanged with the reason if they do not fit
    one.
    """
    try:
        return onto_clock(times, timestep, ["a file"] * len(times)), None
    except DataError:
        seconds = np.unique(np.diff(np.unique(times)) / np.timedelta64(1, "s"))
        return (
            times,
            (
                f"frames are {seconds.min() / 60:g} to {seconds.max() / 60:g} minutes apart, most"
                f" of them {timestep:g}"
            ),
        )


def _gaps(times: Times, timestep: float) -> tuple[Gap, ...]:
    steps = _steps(times, timestep)
    step = (
        np.timedelta64(round(timestep * 60e9), "ns")
        if np.isfinite(timestep)
        else np.timedelta64(0, "ns")
    )
    return tuple(
        Gap(times[k] + step, times[k + 1] - step, int(steps[k]) - 1)
        for k in np.flatnonzero(steps > 1)
    )


def _steps(times: Times, timestep: float) -> npt.NDArray[np.int64]:
    """Return the number of time steps between consecutive times."""
    minutes = np.diff(times) / np.timedelta64(1, "m")
    return np.round(minutes / timestep).astype(np.int64)


def _first_of_largest(values: Sequence[float]) -> int:
    return int(np.argmax(np.nan_to_num(np.array(values), nan=-1.0)))


def _maximum(rate: Float32Array) -> float:
    """Return the largest value; NaN if all are missing."""
    return float(np.fmax.reduce(rate, axis=None))


def _coverage(valid: npt.NDArray[np.bool_]) -> bytes:
    """Mask of covered pixels (y, x) → their number in each of 16 × 16 boxes (fewer for a small
    grid): int32, as bytes.
    """
    rows, columns = (np.unique(np.arange(_BOXES) * size // _BOXES) for size in valid.shape)
    return np.add.reduceat(
        np.add.reduceat(valid, rows, axis=0, dtype=np.int32), columns, axis=1
    ).tobytes()


def _changed_coverage(before: InspectedFrame, after: InspectedFrame) -> float:
    """Return a lower bound of the share of pixels whose coverage changed, relative to the frame
    that covers more.
    """
    most = max(before.valid, after.valid)
    counts = [np.frombuffer(frame.coverage, np.int32) for frame in (before, after)]
    return int(np.abs(counts[1] - counts[0]).sum()) / most if most else 0.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _digest(values: npt.NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest()
