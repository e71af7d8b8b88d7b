"""What radar files hold, each described once; what is wrong with some of them; and which of them
can be of one series.
"""

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
    """Why a file cannot be used, or only its frame of a time.

    reason: the message without the path. error: what was raised.
    """

    path: Path
    reason: str
    error: NowcastError = field(compare=False, repr=False)
    time: np.datetime64 | None = None

    @classmethod
    def of(cls, path: Path, error: NowcastError, time: np.datetime64 | None = None) -> "Problem":
        """Return the problem that an error tells of."""
        return cls(path, str(error).removeprefix(f"{path}: "), error, time)

    def __str__(self) -> str:
        return str(self.error)


OnBad = Callable[[Problem], object]
"""Told of each problem: it raises an error, or notes the problem, and the file is left out."""


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
        """Return what a file holds. Errors: as describe_file."""
        try:
            version = FileVersion.of(path)
        except OSError:
            return describe_file(path, self.options)  # which tells why it cannot be read
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
        """The version of a file when it was described."""
        return self._known[path][0]

    def forget(self, paths: Iterable[Path]) -> None:
        """Describe these files again when they are asked for."""
        for path in paths:
            self._known.pop(path, None)

    def keep(self, paths: set[Path]) -> None:
        """Forget all other files."""
        self.forget(self._known.keys() - paths)

    def _with_one_copy(self, file: RadarFile) -> RadarFile:
        """Of what is the same in the file before."""
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
    """Describe each file, in the order given, without those that are gone.

    on_bad: is told of those that cannot be described. caught: the errors that are such a problem.
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
    """Group files that can be of one series, in the order of the first of each kind.

    Errors: DataError with `only_one`, if two files differ in grid, units or variable.
    """
    kinds: list[list[RadarFile]] = []
    for file in files:
        kind = next((kind for kind in kinds if not unlike(kind[0], file)), None)
        if kind is not None:
            kind.append(replace(file, place=kind[0].place))  # one copy of what is the same
        elif kinds and only_one:
            raise DataError(unlike(kinds[0][0], file))
        else:
            kinds.append([file])
    return kinds


def alike_files(files: Iterable[RadarFile], on_bad: OnBad) -> list[RadarFile]:
    """Return the files of the kind that most are of; if two kinds have as many, of the first.

    on_bad: is told of the others.
    """
    kinds = kinds_of(files)
    most = max(kinds, key=len, default=[])
    for file in (file for kind in kinds if kind is not most for file in kind):
        on_bad(Problem.of(file.path, DataError(unlike(most[0], file))))
    return most


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
