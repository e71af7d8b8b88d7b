"""The radar files that `nowcast predict` forecasts from: which files are read, and the times of
their frames.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.config.predict import PredictConfig
from nowcast.errors import DataError, MissingInputError, TryLaterError
from nowcast.periods import Period
from nowcast.radar.series.opening import say_overruled
from nowcast.radar.times import Times, show
from nowcast.sequences.scene import Scene
from nowcast.service.input_window import Need, scene_of
from nowcast.service.live_files import FrameFiles, changed_at, digest_of, version_of
from nowcast.service.live_reading import is_blank, read_frame
from nowcast.service.retry import BadFiles, Retry
from nowcast.service.timeline import TOLD_BY, Timeline, Wanted, lay_out

# extra frames, from which the spacing is known although some of the needed frames are missing
_MORE = 2
# frames are searched up to this spacing while the spacing is unknown
_LONGEST_STEP = np.timedelta64(1, "h")
_LOOKED_AT = 24  # frames, newest first, that are checked for a usable one
_SLACK = 600.0  # seconds by which the clocks of two machines may differ
_WATCHED = 8  # newest files of a time pattern that are watched for a change


class FrameSource:
    """The radar files of a configuration. Every method looks at the files again; what was read from
    unchanged files is cached.

    If an unusable file changed within the last minute, it is read again for up to `retry` seconds,
    once unless it changes again. Then it ends the cycle; with on_bad_file=skip it is left out with
    a remark, and its frame is missing. Also unusable are: a file that differs in kind or grid from
    most others (of two, the first is kept), a frame off the clock of the others, and two differing
    frames of the same time.
    """

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.files = FrameFiles(config.data)
        self.retry = Retry(self.files, config.retry, skip=config.on_bad_file == "skip")
        self.seen: np.datetime64 | None = None
        self._held_back: np.datetime64 | None = None
        self._told_overruled = False

    def newest(self, now: np.datetime64 | None) -> np.datetime64:
        """Return the time of the newest usable frame.

        now: later frames are ignored, and `max_age` counts from it; None: no such limits.
        Errors: MissingInputError, DataError; TryLaterError if it is older than `max_age`, or all
        frames lie in the future.
        """
        self.files.forget_others()
        self.seen = None
        newest = self.seen = self.retry.look(lambda bad: self._find_newest(now, bad))
        if now is not None and self.is_too_old(newest, now):
            raise TryLaterError(
                f"{self.files.path}: the newest frame is from {show(newest)} UTC, older than"
                f" max_age={self.config.max_age:g} minutes; find out why no newer frames arrive."
            )
        return newest

    def is_too_old(self, time: np.datetime64, now: np.datetime64) -> bool:
        """Whether a newest frame of this time is older than `max_age`."""
        limit = self.config.max_age
        return limit is not None and bool(now - time > np.timedelta64(round(limit * 60), "s"))

    def scene(self, reference_time: np.datetime64, need: Need) -> Scene:
        """Return the frames of `need` up to the reference time. Missing frames between two that are
        at most `max_gap` apart are filled.

        Errors: DataError if the frames have another spacing, or their spacing is unknown;
        MissingInputError if too many are missing; as fill_gaps.
        """
        return self.retry.look(lambda bad: self._find_scene(reference_time, need, bad))

    def frames_before(
        self, reference_time: np.datetime64, need: Need
    ) -> NDArray[np.float32] | None:
        """Return the frames (t, h, w) of `need` up to the reference time in mm/h, for display.

        Unusable frames are NaN, without waiting, filling or remarks. None if there are no frames.
        """
        bad = BadFiles(skip=True)
        try:
            line = self._look_back(reference_time, need, bad)
            return scene_of(
                line, self.files, reference_time, need, replace(self.config, max_gap=0.0), bad
            ).rates
        except (MissingInputError, DataError):
            return None
        finally:
            self.files.close()

    def changed_since(self, digests: Mapping[str, str | None], made: float) -> list[np.datetime64]:
        """Return the input times of a published forecast whose frames changed or arrived since;
        frames that are gone do not count.

        digests: of its input frames, as in `Scene.digests`. made: when it was made, in seconds
        since 1970. Frames in files unchanged since then are not read again.
        """
        times = {
            np.datetime64(time.removesuffix("Z"), "ns"): digest for time, digest in digests.items()
        }
        if not times:
            return []
        first, last = min(times), max(times)
        bad = BadFiles(skip=True)  # an unreadable frame is no better input
        try:
            line = lay_out(
                self.files,
                self.files.find(Period(first, last)),
                None,
                bad,
                Wanted(last, back=last - first),
            )
            return [
                time
                for time, digest in times.items()
                if self._is_other(line, time, digest, made, bad)
            ]
        except MissingInputError:
            return []
        finally:
            self.files.close()

    def _is_other(
        self, line: Timeline, time: np.datetime64, digest: str | None, made: float, bad: BadFiles
    ) -> bool:
        since = made if digest is None else made - _SLACK
        if not any(changed_at(file.path) > since for file, _ in line.at(time)):
            return False
        rate = read_frame(self.files, line, time, bad)
        return rate is not None and not np.isnan(rate).all() and digest_of(rate) != digest

    def reference_times(self, period: Period) -> list[np.datetime64]:
        """Return the times of a period on the clock of the frames, between the first and the last
        frame in it; times without a frame are included.

        Errors: MissingInputError if the period has no frames; DataError.
        """
        span = Wanted(span=(period.start, period.end))
        line = self.retry.look(lambda bad: self._look(self.files.find(period), None, bad, span))
        first, last = line.held[0], line.held[-1]
        step = (
            np.timedelta64(round(line.timestep_minutes * 60), "s")
            if np.isfinite(line.timestep_minutes)
            else np.timedelta64(1, "D")
        )
        start, end = max(first, period.start), min(last, period.end)
        # a tick without a frame is a time of the period, too
        before = (line.times[0] - start) // step * step
        clock = np.arange(line.times[0] - before, end + np.timedelta64(1, "ns"), step)
        times = clock[(clock >= period.start) & (clock <= period.end)]
        if times.size == 0:
            raise MissingInputError(
                f"{self.files.path}: no frame from {show(period.start)} to {show(period.end)}; the"
                f" data hold {first:.16} to {last:.16}. Give another period."
            )
        return list(times)

    def landed(self, now: np.datetime64 | None = None) -> Hashable:
        """Return a value that changes if a file arrives, changes or disappears, or with `now` if a
        frame is no longer in the future.

        Errors: ConfigError; MissingInputError if a folder cannot be listed.
        """
        due = now is not None and self._held_back is not None and now >= self._held_back
        try:
            paths = self.files.newest(_WATCHED)
        except MissingInputError:
            return due
        return due, tuple((path, version_of(path)) for path in paths)

    def frames_left_out(self) -> int:
        """Return how many unusable files and frames were left out since `take_remarks`."""
        return len(self.retry.left_out)

    def take_remarks(self) -> list[str]:
        """Return the remarks of this cycle, each once, and start those of the next."""
        return self.retry.take_remarks()

    def _look(
        self, paths: list[Path], timestep: np.timedelta64 | None, bad: BadFiles, wanted: Wanted
    ) -> Timeline:
        """Lay out the files on a timeline. Errors: MissingInputError if no file is usable."""
        line = lay_out(self.files, paths, timestep, bad, wanted)
        if line.times.size == 0:
            raise self._none_of(paths, bad)
        return line

    def _none_of(self, paths: list[Path], bad: BadFiles) -> MissingInputError:
        why = f"; the first: {bad.remarks[0]}" if bad.remarks else ""
        return MissingInputError(
            f"{self.files.path}: none of its {len(paths)} files can be used{why}. Give other files."
        )

    def _find_newest(self, now: np.datetime64 | None, bad: BadFiles) -> np.datetime64:
        count = TOLD_BY
        while True:
            paths = self.files.newest(count)
            line = lay_out(self.files, paths, None, bad, Wanted(now, count=count))
            times = np.unique(line.times)
            newest = self._newest_good(line, times if now is None else times[times <= now], bad)
            is_all = len(paths) < count if self.files.is_pattern() else line.held.size <= count
            if (
                newest is not None
                or is_all
                or (count >= _LOOKED_AT and not self.files.is_pattern())
            ):
                break
            count *= 2
        later = line.held[:0] if now is None else line.held[line.held > now]
        later = later[~np.isin(later, line.stamps[line.times <= now])] if now is not None else later
        self._held_back = later[0] if later.size else None
        if later.size:
            what = "frame" if later.size == 1 else f"{later.size} frames from there on"
            path = line.later or line.at(line.times[-1])[0][0].path
            bad.remarks.append(f"{path}: {show(later[0])} UTC is later than now: {what} left out")
        if newest is not None:
            return newest
        if 0 < later.size == line.held.size:
            raise TryLaterError(
                f"{self.files.path}: all frames are in the future, the first at {show(later[0])}"
                f" UTC, but now it is {show(now)}; check the clock of this machine and the times of"
                " the files."
            )
        raise self._none_of(paths, bad)

    def _newest_good(self, line: Timeline, times: Times, bad: BadFiles) -> np.datetime64 | None:
        """Return the newest of these times; only if bad files are skipped, the newest whose frame
        is usable.
        """
        if not bad.skip:
            return times[-1] if times.size else None
        for at in times[::-1][:_LOOKED_AT]:
            rate = read_frame(self.files, line, at, bad)
            if rate is not None and not is_blank(rate, line, at, bad, is_newest=True):
                newest: np.datetime64 = at
                return newest
        return None

    def _find_scene(self, reference_time: np.datetime64, need: Need, bad: BadFiles) -> Scene:
        self.files.forget_frames()
        line = self._look_back(reference_time, need, bad)
        scene = scene_of(line, self.files, reference_time, need, self.config, bad)
        if not self._told_overruled:
            say_overruled(line.files[0], self.files.options)
            self._told_overruled = True
        return scene

    def _look_back(self, reference_time: np.datetime64, need: Need, bad: BadFiles) -> Timeline:
        """Lay out the frames that are needed, or used to fill gaps, and a few more; with a pattern
        of times only their files are listed.
        """
        gap = np.timedelta64(round(self.config.max_gap * 60), "s")
        if self.files.is_pattern() and reference_time != self.seen:
            back = max(need.steps + _MORE, TOLD_BY) * (need.timestep or _LONGEST_STEP) + gap
            paths = self.files.find(Period(reference_time - back, reference_time))
            return self._reaching(paths, reference_time, need, gap, bad)
        count = max(need.steps + _MORE, TOLD_BY)
        while True:
            paths = self.files.newest(count)
            line = self._reaching(paths, reference_time, need, gap, bad)
            step = (
                np.timedelta64(round(line.timestep_minutes * 60), "s")
                if np.isfinite(line.timestep_minutes)
                else _LONGEST_STEP
            )
            first = reference_time - (need.steps - 1) * step - gap
            if not self.files.is_pattern() or len(paths) < count or (line.held <= first).any():
                return line
            count *= 2

    def _reaching(
        self,
        paths: list[Path],
        until: np.datetime64,
        need: Need,
        gap: np.timedelta64,
        bad: BadFiles,
    ) -> Timeline:
        """Lay out the frames of these files as far back as `need` and the gaps to fill reach."""
        line = self._look(paths, need.timestep, bad, Wanted(until))
        step = need.timestep or np.timedelta64(
            round(line.timestep_minutes * 60) if np.isfinite(line.timestep_minutes) else 0, "s"
        )
        back = (need.steps - 1) * step + gap
        if line.times[0] <= until - back:
            return line
        return self._look(paths, need.timestep, bad, Wanted(until, back=back))
