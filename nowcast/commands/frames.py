"""The frames that `nowcast predict` forecasts from."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.commands.frame_files import BadFiles, FrameFiles, Rate, is_young, signature_of
from nowcast.commands.timeline import Timeline, lay_out, read_frame
from nowcast.config_predict import PredictConfig
from nowcast.errors import DataError, MissingInputError, NowcastError, TryLaterError
from nowcast.forecast.gaps import fill_gaps
from nowcast.periods import Period
from nowcast.radar.grid import build_grid
from nowcast.radar.opening import provenance_of, say_overruled
from nowcast.radar.times import Times, show

Result = TypeVar("Result")

_MORE = 2  # frames more than a forecast needs, from which their spacing is told where some of them are missing
_LONGEST_STEP = np.timedelta64(1, "h")  # within which frames are looked for while their spacing is not known
_PAUSE = 0.3  # seconds before a file that may still be being written is looked at again
_LOOKED_AT = 24  # frames, newest first, of which one must be good
_WATCHED = 8  # newest files of a pattern of times that are watched for a change
_REMARKS = 10  # in a cycle


@dataclass(frozen=True)
class Need:
    """Which frames a method needs, up to its reference time: `steps` of them, of which `may_miss` others than the newest may be
    missing. timestep: their spacing, None: that of the files."""

    steps: int
    may_miss: int
    timestep: np.timedelta64 | None


@dataclass(frozen=True)
class Past:
    """The frames that a forecast is made from.

    rain: they themselves, a canonical grid; of those in `missing` (t,) all pixels are NaN.
    filled: (t,) those that were made of the frames around them. timestep: their spacing.
    """

    rain: xr.Dataset
    missing: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    timestep: np.timedelta64

    @property
    def grid(self) -> xr.Dataset:
        """Where they lie, and what their files say of their origin."""
        return self.rain

    @property
    def times(self) -> Times:
        times: Times = self.rain["time"].values
        return times


class MissingFramesError(MissingInputError):
    """Too many frames of a forecast are missing. what: which, the same whatever else there is in the folder."""

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what + more)
        self.what = what


class FrameSource:
    """The radar files of a configuration, looked at anew by every method here; what is known of a file that has not changed is kept.

    A file that cannot be used and changed within the last minute is looked at again for up to `retry` seconds in a cycle, which
    `take_remarks` ends. Then it ends the cycle, or with on_bad_file=skip is left out, which is remarked, and its frame is missing.
    Bad in this sense is also a file that is not of the kind or on the grid of most others (of two, that which comes first is kept),
    a frame that is not on their clock, and a time of which there are two frames that differ.
    """

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.files = FrameFiles(config.data)
        self._remarks: dict[str, None] = {}
        self._until: float | None = None
        self.seen: np.datetime64 | None = None
        self._held_back: np.datetime64 | None = None
        self._told_overruled = False

    def newest(self, now: np.datetime64 | None) -> np.datetime64:
        """The time of the newest frame that can be used. now: later frames are left out, and `max_age` counts from it; None: neither.

        Errors: MissingInputError, DataError; TryLaterError where it is older than `max_age`, or all lie in the future.
        """
        config = self.config
        self.files.forget_others()
        self.seen = None
        newest = self.seen = self._patiently(lambda bad: self._find_newest(now, bad))
        if now is not None and config.max_age is not None and now - newest > np.timedelta64(round(config.max_age * 60), "s"):
            raise TryLaterError(
                f"{config.data.path}: the newest frame is of {show(newest)} UTC, older than max_age={config.max_age:g} minutes; see why none came since."
            )
        return newest

    def past(self, reference_time: np.datetime64, need: Need) -> Past:
        """The frames of `need` up to the reference time; where some are missing between two that are no more than `max_gap` apart,
        they are made of these.

        Errors: DataError where frames are spaced otherwise, or where their spacing is not known; MissingInputError where too many
        are missing; as fill_gaps.
        """
        return self._patiently(lambda bad: self._find_past(reference_time, need, bad))

    def reference_times(self, period: Period, timestep: np.timedelta64 | None = None) -> list[np.datetime64]:
        """The times of a period on the clock of the frames, from the first to the last that there is, whether or not there is one.

        timestep: None, that of the files. Errors: MissingInputError where the period holds none; DataError.
        """
        line = self._patiently(lambda bad: self._look(self.files.find(period), timestep, bad))
        first, last = line.times[0], line.times[-1]
        step = np.timedelta64(round(line.minutes * 60), "s") if timestep is None and first < last else timestep
        clock = line.times[:1] if step is None else np.arange(first, last + np.timedelta64(1, "ns"), step)
        times = clock[(clock >= period.start) & (clock <= period.end)]
        if times.size == 0:
            raise MissingInputError(
                f"{self.files.path}: no frame from {show(period.start)} to {show(period.end)}; the data hold {first:.16} to "
                f"{last:.16}. Give another period."
            )
        return list(times)

    def landed(self, now: np.datetime64 | None = None) -> Hashable:
        """Changes when a file lands, changes or goes, or with `now` when a frame that lay in the future no longer does.

        Errors: ConfigError; MissingInputError where a folder cannot be listed.
        """
        due = now is not None and self._held_back is not None and now >= self._held_back
        try:
            paths = self.files.newest(_WATCHED)
        except MissingInputError:
            return due
        return due, tuple((path, signature_of(path)) for path in paths)

    def take_remarks(self) -> list[str]:
        """What was departed from in this cycle, each once; what follows is of the next."""
        remarks = list(self._remarks)
        self._remarks, self._until = {}, None
        left = len(remarks) - _REMARKS
        return remarks if left <= 0 else [*remarks[:_REMARKS], f"and {left} more such remarks"]

    def _patiently(self, look: Callable[[BadFiles], Result]) -> Result:
        """What a look at the files gives, once nothing in it can be because a file is still being written, or `retry` is over."""
        while True:
            bad = BadFiles(self.config.on_bad_file == "skip")
            failure, found = None, None
            try:
                found = look(bad)
            except NowcastError as error:
                failure = error
            finally:
                self.files.close()
            if bad.unfinished and self._may_wait():
                continue
            self._remarks |= dict.fromkeys(bad.remarks)
            if failure is not None:
                raise failure
            assert found is not None
            return found

    def _may_wait(self) -> bool:
        """Wait a moment, unless `retry` is over; whether it was not."""
        if self._until is None:
            self._until = time.monotonic() + self.config.retry
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(_PAUSE, left))
        return True

    def _look(self, paths: list[Path], timestep: np.timedelta64 | None, bad: BadFiles) -> Timeline:
        """Errors: MissingInputError where no file can be used."""
        line = lay_out(self.files, paths, timestep, bad)
        if line.times.size == 0:
            raise self._none_of(f"{len(paths)} files", bad)
        return line

    def _none_of(self, these: str, bad: BadFiles) -> MissingInputError:
        why = f", the first so: {bad.remarks[0]}" if bad.remarks else ""
        return MissingInputError(f"{self.files.path}: none of its {these} can be used{why}. Give others.")

    def _find_newest(self, now: np.datetime64 | None, bad: BadFiles) -> np.datetime64:
        count = 1 + _MORE
        while True:
            paths = self.files.newest(count)
            line = lay_out(self.files, paths, None, bad)
            times = np.unique(line.times)
            later = times[:0] if now is None else times[times > now]
            newest = self._newest_good(line, times[: times.size - later.size], bad)
            if newest is not None or len(paths) < count or not self.files.is_pattern():
                break
            count *= 2
        self._held_back = later[0] if later.size else None
        if later.size:
            what = "frame" if later.size == 1 else f"{later.size} frames from there on"
            bad.remarks.append(f"{line.at(later[0])[0][0].path}: {show(later[0])} UTC is later than now: {what} left out")
        if newest is not None:
            return newest
        if 0 < later.size == times.size:
            raise TryLaterError(
                f"{self.files.path}: all frames lie in the future, the first at {show(later[0])} UTC, and now it is {show(now)}; "
                "check the clock of this machine and the times of the files."
            )
        raise self._none_of(f"{len(paths)} files", bad)

    def _newest_good(self, line: Timeline, times: Times, bad: BadFiles) -> np.datetime64 | None:
        """Of these times; where bad files are not skipped, who needs its frame finds out whether it is good."""
        if not bad.skip:
            return times[-1] if times.size else None
        for at in times[::-1][:_LOOKED_AT]:
            rate = read_frame(self.files, line, at, bad)
            if rate is not None and not self._is_blank(rate, line, at, bad, is_newest=True):
                newest: np.datetime64 = at
                return newest
        return None

    def _find_past(self, reference_time: np.datetime64, need: Need, bad: BadFiles) -> Past:
        self.files.forget_frames()
        line = self._look_back(reference_time, need, bad)
        timestep = self._timestep(line, need)
        longest = int(np.timedelta64(round(self.config.max_gap * 60), "s") / timestep)
        rates = self._read(line, reference_time, timestep, need.steps, longest, bad)
        times = reference_time - timestep * np.arange(len(rates))[::-1]
        absent = np.array([rate is None for rate in rates])
        unknown = np.full(line.files[0].layout.shape, np.nan, np.float32)
        frames = np.stack([unknown if rate is None else rate for rate in rates])
        missing = np.array([np.isnan(frame).all() for frame in frames])
        filled = fill_gaps(frames, missing, longest, self.config.gap_filling)
        wanted = slice(len(rates) - need.steps, None)
        self._refuse_missing(line, times[wanted], (absent & ~filled)[wanted], (missing & ~filled)[wanted], need, bad)
        bad.remarks += line.mended(times)
        if filled.any():
            made = ", ".join(f"{time:.16}" for time in times[filled])
            bad.remarks.append(f"no frame at {made} UTC: filled by {self.config.gap_filling} of the frames around")
        files = list({file.path: file for time in times[~absent] for file, _ in line.at(time)}.values())
        if not self._told_overruled:
            say_overruled(files[0], self.files.options)
            self._told_overruled = True
        minutes = float(timestep / np.timedelta64(1, "m"))
        rain = build_grid(frames[wanted], times[wanted], files[0].place, provenance_of(files), minutes)
        return Past(rain, (missing & ~filled)[wanted], filled[wanted], timestep)

    def _look_back(self, reference_time: np.datetime64, need: Need, bad: BadFiles) -> Timeline:
        """Of a pattern of times only the files of the frames that are needed, or that gaps may be filled of, and a few more."""
        gap = np.timedelta64(round(self.config.max_gap * 60), "s")
        if self.files.is_pattern() and reference_time != self.seen:
            back = (need.steps + _MORE) * (need.timestep or _LONGEST_STEP) + gap
            return self._look(self.files.find(Period(reference_time - back, reference_time)), need.timestep, bad)
        count = need.steps + _MORE
        while True:
            paths = self.files.newest(count)
            line = lay_out(self.files, paths, need.timestep, bad)
            step = np.timedelta64(round(line.minutes * 60), "s") if np.isfinite(line.minutes) else _LONGEST_STEP
            first = reference_time - (need.steps - 1) * step - gap
            if not self.files.is_pattern() or len(paths) < count or (line.times <= first).any():
                break
            count *= 2
        if line.times.size == 0:
            raise self._none_of(f"{len(paths)} files", bad)
        return line

    def _timestep(self, line: Timeline, need: Need) -> np.timedelta64:
        path, minutes, known = self.files.path, line.minutes, need.timestep
        if known is not None and np.unique(line.times).size > need.steps and minutes != known / np.timedelta64(1, "m"):
            raise DataError(
                f"{path}: frames every {minutes:g} minutes, but the model was trained on {known / np.timedelta64(1, 'm'):g}; "
                "give data of that spacing, or train a model on this."
            )
        if known is None and not np.isfinite(minutes):
            raise DataError(f"{path}: holds a single frame, and the spacing of one is not known; give more files.")
        return np.timedelta64(round(minutes * 60), "s") if known is None else known

    def _read(
        self, line: Timeline, newest: np.datetime64, timestep: np.timedelta64, steps: int, longest: int, bad: BadFiles
    ) -> list[Rate | None]:
        """The frames of so many steps up to the newest; and where the first of them is missing, all from the one that is there before
        on, if the gap is no longer than `longest` steps. None is a frame that is not there."""
        rates = [read_frame(self.files, line, newest - k * timestep, bad) for k in reversed(range(steps))]
        there = [
            k
            for k, rate in enumerate(rates)
            if rate is not None
            and not self._is_blank(rate, line, newest - (steps - 1 - k) * timestep, bad, is_newest=k == steps - 1)
        ]
        if not there or there[0] == 0:
            return rates
        for back in range(1, longest - there[0] + 1):
            rate = read_frame(self.files, line, newest - (steps - 1 + back) * timestep, bad)
            if rate is not None and not np.isnan(rate).all():
                return [rate, *[None] * (back - 1), *rates]
        return rates

    def _is_blank(self, rate: Rate, line: Timeline, at: np.datetime64, bad: BadFiles, is_newest: bool) -> bool:
        """Whether a frame holds no measured pixel; the newest may be a file whose values are still to be written."""
        if not np.isnan(rate).all():
            return False
        path = line.at(at)[0][0].path
        bad.unfinished |= is_newest and is_young(path)
        bad.remarks.append(f"{path}: the frame of {show(at)} UTC holds no measured pixel")
        return True

    def _refuse_missing(
        self, line: Timeline, times: Times, absent: NDArray[np.bool_], missing: NDArray[np.bool_], need: Need, bad: BadFiles
    ) -> None:
        """Errors: MissingInputError where the newest frame is missing, or more others than may be."""
        path, known = self.files.path, line.times
        left_out = next((f" Of note is {remark}." for remark in bad.remarks if "left out (" in remark), "")
        if absent[-1] or absent.sum() > need.may_miss:
            first = times[-1] if absent[-1] and need.may_miss else times[absent][0]
            others = "" if absent[-1] or self.config.baseline is not None else f", or missing_frames={absent.sum()}"
            raise MissingFramesError(
                f"{path}: no frame at {first:.16} UTC",
                f", and the forecast needs {need.steps} frames up to {times[-1]:.16}; the "
                f"data hold {known[0]:.16} to {known[-1]:.16}. Give another 'at', or the missing files{others}.{left_out}",
            )
        if missing[-1] or missing.sum() > need.may_miss:
            empty = times[-1] if missing[-1] else times[missing & ~absent][0]
            raise MissingFramesError(f"{path}: the frame at {empty:.16} UTC holds no measured pixel", "; give another 'at'.")
