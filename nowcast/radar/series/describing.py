"""Describe radar files, each once; record problems; group the files that can form one series."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nowcast.errors import ConfigError, DataError, MissingInputError, NowcastError
from nowcast.files import FileVersion
from nowcast.radar.placing.georeference import place_differs
from nowcast.radar.reading.file import RadarFile, ReadOptions
from nowcast.radar.reading.formats import describe_file


@dataclass(frozen=True)
class Problem:
    """Why a file, or its frame at `time`, cannot be used.

    reason: the message without the path. error: the exception raised.
    """

    path: Path
    reason: str
    error: NowcastError = field(compare=False, repr=False)
    time: np.datetime64 | None = None

    @classmethod
    def of(cls, path: Path, error: NowcastError, time: np.datetime64 | None = None) -> "Problem":
        """Return the problem for an error."""
        return cls(path, str(error).removeprefix(f"{path}: "), error, time)

    def __str__(self) -> str:
        return str(self.error)


OnBad = Callable[[Problem], object]
"""Called with each problem: raises an error, or records the problem, and the file is left out."""


def refuse(problem: Problem) -> None:
    """Raise the error of a problem."""
    raise problem.error


class KnownFiles:
    """Radar files, each described once until it changes."""

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self._known: dict[Path, tuple[FileVersion, RadarFile | DataError]] = {}
        self._last: RadarFile | None = None

    def describe(self, path: Path) -> RadarFile:
        """Return the description of a file. Errors: see describe_file."""
        try:
            version = FileVersion.of(path)
        except OSError:
            return describe_file(path, self.options)  # raises an error with the reason
        before, known = self._known.get(path, (None, None))
        if before != version or known is None:
            try:
                known = self._with_one_copy(describe_file(path, self.options))
            except DataError as error:
                known = error
            self._known[path] = version, known
        if isinstance(known, DataError):
            raise known
        return known

    def version(self, path: Path) -> FileVersion:
        """Return the version of a file at the time it was described."""
        return self._known[path][0]

    def forget(self, paths: Iterable[Path]) -> None:
        """Forget these files, so that they are described again on the next request."""
        for path in paths:
            self._known.pop(path, None)

    def keep(self, paths: set[Path]) -> None:
        """Forget all other files."""
        self.forget(self._known.keys() - paths)

    def _with_one_copy(self, file: RadarFile) -> RadarFile:
        """Reuse the objects of the previous file that are equal, to save memory."""
        last = self._last
        if last is not None and not place_differs(last.place, file.place):
            file = replace(file, place=last.place)
        if last is not None and last.layout == file.layout and last.attrs == file.attrs:
            file = replace(file, layout=last.layout, attrs=last.attrs)
        self._last = file
        return file


def describe_files(
    paths: Iterable[Path],
    describe: Callable[[Path], RadarFile | None],
    on_bad: OnBad = refuse,
    caught: tuple[type[NowcastError], ...] = (DataError, MissingInputError),
) -> Iterator[RadarFile]:
    """Describe each file, in the order given, skipping files for which `describe` returns None.

    on_bad: called with each file that cannot be described. caught: the errors passed to it.
    """
    for path in paths:
        try:
            file = describe(path)
        except ConfigError:
            raise
        except caught as error:
            on_bad(Problem.of(path, error))
        else:
            if file is not None:
                yield file


def kinds_of(files: Iterable[RadarFile], only_one: bool = False) -> list[list[RadarFile]]:
    """Group files that can form one series, in the order of the first of each kind.

    Errors: DataError with `only_one`, if two files differ in grid, units or variable.
    """
    kinds: list[list[RadarFile]] = []
    for file in files:
        kind = next((kind for kind in kinds if not unlike(kind[0], file)), None)
        if kind is not None:
            kind.append(replace(file, place=kind[0].place))  # share one copy
        elif kinds and only_one:
            raise DataError(unlike(kinds[0][0], file))
        else:
            kinds.append([file])
    return kinds


def alike_files(files: Iterable[RadarFile], on_bad: OnBad) -> list[RadarFile]:
    """Return the files of the most frequent kind; the first if there is a tie.

    on_bad: called with each of the other files.
    """
    kinds = kinds_of(files)
    most = max(kinds, key=len, default=[])
    for file in (file for kind in kinds if kind is not most for file in kind):
        on_bad(Problem.of(file.path, DataError(unlike(most[0], file))))
    return most


def unlike(first: RadarFile, other: RadarFile) -> str:
    """Return why two files cannot form one series (they differ in grid, units or variable); "" if
    they can.
    """
    a, b = first.layout, other.layout
    if a.shape != b.shape:
        return (
            f"{other.path}: its grid is {b.shape}, that of {first.path} is {a.shape}; open only"
            " files of one grid."
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
                f"{other.path}: {what} {theirs!r}, but {ours!r} in {first.path}; open only files of"
                " one kind."
            )
    problem = place_differs(first.place, other.place)
    return (
        f"{other.path}: not on the grid of {first.path} ({problem}); open only files of one grid."
        if problem
        else ""
    )
