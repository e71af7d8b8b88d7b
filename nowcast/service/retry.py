"""Unusable files: what is wrong with them, and how long they are tried again while they may still
be in the course of writing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from nowcast.errors import NowcastError
from nowcast.files import FileVersion
from nowcast.radar.series.describing import Problem
from nowcast.radar.times import show
from nowcast.service.live_files import (
    YOUNG,
    ChangedError,
    FrameFiles,
    is_young,
    version_of,
)

Result = TypeVar("Result")

_PAUSE = 0.3  # seconds before a file that may be unfinished is read again
_REMARKS = 10  # at most in a cycle


def left_out(time: np.datetime64 | None) -> str:
    """Return the words for a file that is left out, or for its frame of a time."""
    return "left out" if time is None else f"the frame of {show(time)} UTC left out"


@dataclass
class BadFiles:
    """What was unusable when reading the files once: raised as an error, or collected as a remark
    if bad files are skipped.

    left_out: the files and frames that are left out.
    unfinished: files that may still be in the course of writing, with their versions.
    """

    skip: bool
    remarks: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    unfinished: dict[Path, FileVersion | None] = field(default_factory=dict)

    def add(self, path: Path, error: NowcastError, what: str = "left out") -> None:
        """Add a problem. Errors: the error itself, unless bad files are skipped."""
        self.suspect(path, has_changed=isinstance(error, ChangedError))
        if not self.skip:
            raise error
        self.left_out.add(f"{path}: {what}")
        self.remarks.append(f"{path}: {what} ({str(error).removeprefix(f'{path}: ').rstrip('.')})")

    def report(self, problem: Problem) -> None:
        """Add the problem of a file, or of one of its frames, that keeps it out of a series."""
        self.add(problem.path, problem.error, left_out(problem.time))

    def suspect(self, path: Path, has_changed: bool = False) -> None:
        """Note that a file may be unfinished, if it changed a moment ago."""
        if has_changed or is_young(path):
            self.unfinished[path] = version_of(path)


class Retry:
    """Read files again for up to `retry` seconds in a cycle while some may be unfinished.

    `take_remarks` ends a cycle. Each file is also tried for `retry` seconds only, over all cycles,
    unless it changes.
    """

    def __init__(self, files: FrameFiles, retry: float, skip: bool) -> None:
        self.files, self.retry, self.skip = files, retry, skip
        self.left_out: set[str] = set()
        self._remarks: dict[str, None] = {}
        self._until: float | None = None
        self._since: dict[Path, tuple[FileVersion | None, float]] = {}

    def look(self, look: Callable[[BadFiles], Result]) -> Result:
        """Return the result of `look`, repeated while a problem in it may be due to an unfinished
        file and there is time left.
        """
        while True:
            bad = BadFiles(self.skip)
            failure, found = None, None
            try:
                found = look(bad)
            except NowcastError as error:
                failure = error
            finally:
                self.files.close()
            if bad.unfinished and self._may_wait(bad.unfinished):
                continue
            self.left_out |= bad.left_out
            self._remarks |= dict.fromkeys(bad.remarks)
            if failure is not None:
                raise failure
            assert found is not None
            return found

    def take_remarks(self) -> list[str]:
        """Return the remarks of this cycle, each once, and start those of the next."""
        remarks = list(self._remarks)
        self.left_out, self._remarks, self._until = set(), {}, None
        self._since = {
            path: known
            for path, known in self._since.items()
            if time.monotonic() - known[1] < 2 * YOUNG
        }
        left = len(remarks) - _REMARKS
        return remarks if left <= 0 else [*remarks[:_REMARKS], f"and {left} more such remarks"]

    def _may_wait(self, unfinished: Mapping[Path, FileVersion | None]) -> bool:
        """Wait a moment if `retry` is not over, neither for this cycle nor for all of these files;
        return whether it waited.
        """
        now = time.monotonic()
        for path, version in unfinished.items():
            if path not in self._since or self._since[path][0] != version:
                self._since[path] = version, now
        end = max(self._since[path][1] for path in unfinished) + self.retry
        if end > now and self._until is None:
            self._until = now + self.retry
        left = 0.0 if self._until is None else min(end, self._until) - now
        if left > 0:
            time.sleep(min(_PAUSE, left))
        return left > 0
