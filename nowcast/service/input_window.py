"""The scene that a forecast is made from: one frame per timestep up to its reference time, with
short gaps filled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array
from nowcast.config.predict import PredictConfig
from nowcast.errors import DataError, MissingInputError
from nowcast.forecast.gaps import fill_gaps, is_enough, wholly_missing
from nowcast.radar.grid import build_grid
from nowcast.radar.series.opening import provenance_of
from nowcast.radar.times import Times
from nowcast.sequences.scene import Scene
from nowcast.service.live_files import FrameFiles, digest_of
from nowcast.service.live_reading import is_blank, read_frame
from nowcast.service.retry import BadFiles
from nowcast.service.timeline import Timeline

_MINUTE = np.timedelta64(1, "m")
_LISTED = 3  # times of missing frames that a message lists
_ADVISED = np.timedelta64(30, "m")  # in longer gaps, rain between two frames is a guess


@dataclass(frozen=True)
class Need:
    """The frames that a method needs up to its reference time.

    steps: number of frames. may_miss: how many of them, except the newest, may be missing.
    timestep: their spacing; None takes that of the files.
    """

    steps: int
    may_miss: int
    timestep: np.timedelta64 | None


class FrameReader(Protocol):
    """The source of the frames that a method needs."""

    def scene(self, reference_time: np.datetime64, need: Need) -> Scene: ...


class MissingFramesError(MissingInputError):
    """Too many frames of a forecast are missing. what: which ones, independent of other files in
    the folder.
    """

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what + more)
        self.what = what


class UnknownSpacingError(DataError):
    """There are too few frames to know their spacing."""


def scene_of(
    line: Timeline,
    files: FrameFiles,
    reference_time: np.datetime64,
    need: Need,
    config: PredictConfig,
    bad: BadFiles,
) -> Scene:
    """Return the frames of `need`, read from the files of a timeline. Errors: as
    `FrameSource.scene`.
    """
    timestep = _timestep(line, need, files.path)
    longest = int(np.timedelta64(round(config.max_gap * 60), "s") / timestep)
    rates = _read(line, files, reference_time, timestep, need.steps, longest, bad)
    times = reference_time - timestep * np.arange(len(rates))[::-1]
    absent = np.array([rate is None for rate in rates])
    unknown = np.full(line.files[0].layout.shape, np.nan, np.float32)
    frames = np.stack([unknown if rate is None else rate for rate in rates])
    missing, filled, digests = complete(frames, times, longest, config.gap_filling)
    wanted = slice(len(rates) - need.steps, None)
    if not is_enough(missing[wanted], need.may_miss):
        raise _refusal(line, times[wanted], missing[wanted], absent[wanted], need, config, bad)
    bad.remarks += line.mended(times)
    if filled.any():
        made = ", ".join(f"{time:.16}" for time in times[filled])
        bad.remarks.append(
            f"no frame at {made} UTC: filled by {config.gap_filling} from the surrounding frames"
        )
    used = list({file.path: file for time in times[~absent] for file, _ in line.at(time)}.values())
    rain = build_grid(
        frames[wanted], times[wanted], used[0].place, provenance_of(used), float(timestep / _MINUTE)
    )
    return Scene(rain, timestep, missing[wanted], filled[wanted], digests=digests)


def complete(
    frames: NDArray[np.float32], times: Times, longest: int, filling: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Mapping[str, str | None]]:
    """Fill gaps of up to `longest` steps in the frames (t, h, w), in place.

    Returns which frames are still missing (t,), which were filled (t,), and the digests of the
    frames before filling. Errors: as fill_gaps.
    """
    missing = wholly_missing(frames)
    digests = {
        f"{time:.19}Z": None if gone else digest_of(frame)
        for time, frame, gone in zip(times.astype(str), frames, missing, strict=True)
    }
    filled = fill_gaps(frames, missing, longest, filling)
    return missing & ~filled, filled, digests


def _timestep(line: Timeline, need: Need, path: str) -> np.timedelta64:
    minutes, known = line.timestep_minutes, need.timestep
    more = np.unique(line.times).size > need.steps and _is_told_twice(line, minutes)
    if known is not None and more and minutes != known / _MINUTE:
        raise DataError(
            f"{path}: frames every {minutes:g} minutes, but the model was trained on"
            f" {known / _MINUTE:g}; give data with that spacing, or train a model on these."
        )
    if known is None and not np.isfinite(minutes):
        raise UnknownSpacingError(
            f"{path}: holds a single frame, so the spacing of frames is unknown; give more files."
        )
    return np.timedelta64(round(minutes * 60), "s") if known is None else known


def _is_told_twice(line: Timeline, minutes: float) -> bool:
    """Whether frames have this spacing more than once: a single time, it may be due to a gap."""
    apart = np.diff(np.unique(line.times)) / _MINUTE
    return int(np.isclose(apart, minutes, rtol=0.1).sum()) > 1


def _read(
    line: Timeline,
    files: FrameFiles,
    newest: np.datetime64,
    timestep: np.timedelta64,
    steps: int,
    longest: int,
    bad: BadFiles,
) -> list[Float32Array | None]:
    """Return this many frames up to the newest; None for a missing frame.

    If the first of them is missing, the result begins with the last existing frame before it, if
    the gap is no longer than `longest` steps.
    """
    rates = [read_frame(files, line, newest - k * timestep, bad) for k in reversed(range(steps))]
    there = [
        k
        for k, rate in enumerate(rates)
        if rate is not None
        and not is_blank(
            rate, line, newest - (steps - 1 - k) * timestep, bad, is_newest=k == steps - 1
        )
    ]
    if not there or there[0] == 0:
        return rates
    for back in range(1, longest - there[0] + 1):
        rate = read_frame(files, line, newest - (steps - 1 + back) * timestep, bad)
        if rate is not None and not np.isnan(rate).all():
            return [rate, *[None] * (back - 1), *rates]
    return rates


def _refusal(
    line: Timeline,
    times: Times,
    missing: NDArray[np.bool_],
    absent: NDArray[np.bool_],
    need: Need,
    config: PredictConfig,
    bad: BadFiles,
) -> MissingFramesError:
    """Return an error that names the missing frames and what would help. If the newest is missing,
    name only that one; then no setting helps.
    """
    k = -1 if missing[-1] else int(missing.argmax())
    named = np.flatnonzero(missing)[-1:] if missing[-1] else np.flatnonzero(missing)
    what = _in_words(times[named], absent[named])
    if not missing[-1]:
        what_for = f"; the forecast needs {need.steps} frames up to {times[-1]:.16}"
        advice, settings = (
            "Give the missing files, or another 'at'",
            _that_would_help(line, times, missing, need, config),
        )
    elif absent[-1]:
        what_for, advice, settings = "", "Wait for its file, or give another 'at'", []
    else:
        is_newest_of_all = config.at is None and config.period is None
        what_for, advice = "", "Give another 'at'"
        settings = ["on_bad_file=skip"] if is_newest_of_all and not bad.skip else []
    first, last = line.held[0], line.held[-1]
    held = f"; the data hold {first:.16} to {last:.16}" if not first <= times[k] <= last else ""
    setting = (
        f", or set {', '.join(settings[:-1])}{' or ' if settings[1:] else ''}{settings[-1]}"
        if settings
        else ""
    )
    left_out = next((f" Note: {remark}." for remark in bad.remarks if "left out (" in remark), "")
    return MissingFramesError(
        f"{config.data.path}: {what}", f"{what_for}{held}. {advice}{setting}.{left_out}"
    )


def _in_words(times: Times, absent: NDArray[np.bool_]) -> str:
    """Return in words which frames have no file, and which have no measured pixel."""
    blank = times[~absent]
    said = [
        f"no frame at {_listed(times[absent])}" if absent.any() else "",
        f"the frame at {_listed(blank)} holds no measured pixel" if len(blank) == 1 else "",
        f"the frames at {_listed(blank)} hold no measured pixel" if len(blank) > 1 else "",
    ]
    return ", ".join(filter(None, said))


def _listed(times: Times) -> str:
    """Return the first times, and how many more follow."""
    first = ", ".join(f"{time:.16}" for time in times[:_LISTED])
    more = len(times) - _LISTED
    return f"{first} UTC" + (f" and {more} more" if more > 0 else "")


def _that_would_help(
    line: Timeline, times: Times, missing: NDArray[np.bool_], need: Need, config: PredictConfig
) -> list[str]:
    """Return the settings that would allow a forecast, each by itself, although these frames before
    the newest are missing.
    """
    timestep = times[-1] - times[-2]
    earlier = times[0] - timestep * np.arange(1, int(_ADVISED / timestep) + 1)
    there = np.append(
        earlier[np.isin(earlier, np.concatenate([line.times, line.held]))][:1], times[~missing]
    )
    after = np.searchsorted(there, times[missing])
    gaps = np.where(after > 0, there[after] - there[after - 1], 2 * _ADVISED)
    enough = np.sort(gaps)[-1 - need.may_miss]
    filling = [f"max_gap={enough / _MINUTE:g}"] if enough <= _ADVISED else []
    if config.baseline is not None:
        return filling
    return [
        *filling,
        "fallback=[model,extrapolation,persistence]",
        f"missing_frames={missing.sum()}",
    ]
