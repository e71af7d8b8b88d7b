"""Radar files that appear, change and disappear; descriptions of unchanged files are cached."""

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nowcast.arrays import Float32Array
from nowcast.config.data import RadarConfig
from nowcast.errors import DataError, MissingInputError
from nowcast.factories.radar import copied, reading
from nowcast.files import FileVersion
from nowcast.periods import Period
from nowcast.radar import find_files, newest_files
from nowcast.radar.finding.time_patterns import is_time_pattern
from nowcast.radar.reading.file import RadarFile, ReadRequest
from nowcast.radar.reading.formats import read_frames
from nowcast.radar.reading.rates import read_rates
from nowcast.radar.reading.storage import close_files
from nowcast.radar.series.describing import KnownFiles
from nowcast.radar.series.neighbours import rate_by
from nowcast.radar.times import show

YOUNG = 60.0
"""Seconds after a change during which an unusable file may still be in the course of writing."""


class ChangedError(DataError):
    """A file changed while it was read."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame in mm/h (h, w), NaN = missing; a remark on how its values were changed in reading, if
    any; the fraction of covered pixels.
    """

    rate: Float32Array
    remark: str | None
    covered: float


class FrameFiles:
    """The files that a configuration names."""

    def __init__(self, data: RadarConfig) -> None:
        self.data, self.path, self.form = data, data.path, data.format
        self.options = reading(data)
        self._known = KnownFiles(self.options)
        self._in_use: set[Path] = set()
        self._open: set[Path] = set()
        self._frames: dict[
            tuple[Path, FileVersion, int], LiveFrame | DataError | MissingInputError
        ] = {}
        self._frames_before = self._frames

    def is_pattern(self) -> bool:
        """Whether the path is a time pattern, so that files of a period can be found without
        listing all.
        """
        return is_time_pattern(self.path)

    def find(self, period: Period) -> list[Path]:
        """Return the files of a period if the path is a time pattern, else all.

        Errors: MissingInputError, ConfigError.
        """
        return copied(find_files(self.path, (period.start, period.end), self.form), self.data)

    def newest(self, count: int) -> list[Path]:
        """Return the newest files if the path is a time pattern, else all.

        Errors: MissingInputError, ConfigError.
        """
        return copied(newest_files(self.path, count, self.form), self.data)

    def forget_others(self) -> None:
        """Forget files that were not described since the last call."""
        self._known.keep(self._in_use)
        self._in_use.clear()

    def close(self) -> None:
        """Close all files: an open file cannot be overwritten by others, and occupies the disk
        after it is removed.
        """
        close_files({str(path) for path in self._open})
        self._open.clear()

    def forget_frames(self) -> None:
        """Forget frames that were not read since the last call."""
        self._frames_before, self._frames = self._frames, {}

    def describe(self, path: Path) -> RadarFile | None:
        """Return the description of a file; None if it is gone.

        Errors: DataError, MissingInputError if it cannot be read.
        """
        if version_of(path) is None:
            return None
        self._in_use.add(path)
        self._open.add(path)
        try:
            return self._known.describe(path)
        except MissingInputError:
            if version_of(path) is None:
                return None
            raise
        except DataError:
            if is_young(path):
                self._known.forget([path])
            raise

    def read(self, file: RadarFile, index: int, at: np.datetime64) -> LiveFrame | None:
        """Return the frame of a file at the time `at`; None if the file is gone.

        Errors: DataError, with its subclass ChangedError if the file differs from its description;
        MissingInputError.
        """
        version = self._known.version(file.path)
        self._open.add(file.path)
        key = file.path, version, index
        frame = self._frames.get(key) or self._frames_before.get(key) or self._try(file, index, at)
        changed = version_of(file.path)
        if changed is None:
            return None
        if changed != version:
            raise ChangedError(f"{file.path}: changed while it was read; forecast again.")
        if isinstance(frame, LiveFrame) or not is_young(file.path):
            self._frames[key] = frame
        if isinstance(frame, LiveFrame):
            return frame
        raise frame

    def _try(
        self, file: RadarFile, index: int, at: np.datetime64
    ) -> LiveFrame | DataError | MissingInputError:
        try:
            return self._read(file, index, at)
        except (DataError, MissingInputError) as error:
            return error

    def _read(self, file: RadarFile, index: int, at: np.datetime64) -> LiveFrame:
        options = self.options
        request = ReadRequest(file, options, slice(index, index + 1))
        rates, high = read_rates(request, np.array([at]))
        instead = "were lowered to it" if options.above_max_rate == "clip" else "count as missing"
        remark = (
            f"{file.path}: {high} values at {show(at)} UTC are above"
            f" data.max_rate={options.max_rate:g} mm/h and {instead}"
        )
        return LiveFrame(rates[0], remark if high else None, float(np.isfinite(rates[0]).mean()))

    def read_by(self, packing: tuple[float, float], file: RadarFile, index: int) -> Float32Array:
        """Return a frame decoded with another (scale, offset) than its file gives.

        Errors: DataError, MissingInputError.
        """
        stored = read_frames(ReadRequest(file, self.options, slice(index, index + 1)))
        return rate_by(packing, stored, file, self.options)


def digest_of(rate: Float32Array) -> str:
    """Return a short checksum of a frame: the same for the same rain in any file format."""
    canonical = np.where(np.isnan(rate), np.float32(-1.0), rate + np.float32(0.0))
    return hashlib.blake2b(np.ascontiguousarray(canonical).data, digest_size=8).hexdigest()


def changed_at(path: Path) -> float:
    """Return when a file last changed or was moved to its place, in seconds since 1970; infinite
    for a folder, whose time does not show this.
    """
    try:
        version = FileVersion.of(path)
    except OSError:
        return math.inf
    return math.inf if path.is_dir() else max(version.mtime_ns, version.ctime_ns) / 1e9


def is_young(path: Path) -> bool:
    """Whether a file changed so recently that it may still be in the course of writing; False if it
    cannot be accessed.
    """
    try:
        version = version_of(path)
    except MissingInputError:
        return False
    is_file = path.is_file() or path.is_dir()  # a named pipe is never finished
    return is_file and version is not None and abs(time.time() - version.changed_ns / 1e9) < YOUNG


def version_of(path: Path) -> FileVersion | None:
    """Return the version of a file; None if it is gone. Errors: MissingInputError if not
    accessible.
    """
    try:
        return FileVersion.of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
