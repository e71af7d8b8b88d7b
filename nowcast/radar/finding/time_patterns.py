"""Time patterns in paths, such as `radar/%Y/%m/%d/rain_%H%M.h5`; they may contain globs.

A pattern is matched component by component. A folder is not entered if the time codes matched so
far put it outside the period. The newest folders come first, so the search can stop early.
"""

import heapq
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nowcast.errors import ConfigError, MissingInputError
from nowcast.radar.remote.path import Entry, RemotePath, path_of

_CODES = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"0[1-9]|1[0-2]", "d": r"0[1-9]|[12]\d|3[01]",
    "j": r"[0-3]\d\d", "H": r"[01]\d|2[0-3]", "M": r"[0-5]\d", "S": r"[0-5]\d",
}  # fmt: skip
_TOKENS = re.compile(r"%.?|\[!?[^\]]+\]|.", re.DOTALL)
_TEMPORARY = (".tmp", ".part", ".partial", "~")

Known = Mapping[str, int]
"""The numbers of the time codes matched so far, by code."""


@dataclass(frozen=True)
class PatternSpan:
    """Times from `start` up to, not including, `end`, in UTC."""

    start: datetime
    end: datetime

    def meets(self, other: "PatternSpan") -> bool:
        return self.start < other.end and other.start < self.end


EVER = PatternSpan(datetime.min, datetime.max)


def is_time_pattern(path: str | Path) -> bool:
    """Return whether a path holds time codes; an existing path with a percent sign does not."""
    return "%" in str(path) and not is_there(path_of(path))


def is_there(path: Path) -> bool:
    """Return whether a path exists.

    Errors: MissingInputError if a parent folder cannot be entered.
    """
    try:
        return path.exists()
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error


def is_passing(name: str) -> bool:
    """Return whether a name belongs to a hidden file, or one still being written."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def list_folder(folder: Path) -> Sequence[os.DirEntry[str] | Entry]:
    """List a folder, sorted by name. Errors: MissingInputError if it cannot be listed."""
    if isinstance(folder, RemotePath):
        return folder.entries()
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or never existed
        return []
    except OSError as error:
        raise MissingInputError(
            f"{folder}: cannot be listed ({error.strerror}); check its permissions."
        ) from error


def kind_of(entry: os.DirEntry[str] | Entry) -> str:
    """Return "file" or "folder", following links; "" for anything else, including vanished entries
    and broken or circular links.
    """
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:
        return ""


def follow(pattern: Path, period: PatternSpan = EVER) -> Iterator[tuple[PatternSpan, Path]]:
    """Yield (time span, path) of each match that may overlap the period, the newest first.

    The time span is as narrow as the codes in the path allow. A folder is listed only when needed:
    if the next component has codes or globs, and its time span comes next in order.
    Errors: ConfigError for an unknown code after '%', MissingInputError for a folder that cannot be
    listed.
    """
    steps = [_step(part, pattern) for part in pattern.parts]
    heap = [_Node(EVER, type(pattern)(), 0, {})]
    while heap:
        node = heapq.heappop(heap)
        if node.depth == len(steps):
            yield node.span, node.path
            continue
        for child in _children(node, steps[node.depth], len(steps)):
            if child.span.meets(period):
                heapq.heappush(heap, child)


def matches(pattern: Path, path: Path) -> bool:
    """Return whether `follow` would yield a path if it existed.

    Errors: ConfigError for an unknown code after '%'.
    """
    return _match([_step(part, pattern) for part in pattern.parts], path.parts, {})


def span_of(known: Known) -> PatternSpan | None:
    """Return the time span given by these numbers: a year, a month of it, a day …; EVER without a
    year, None if the numbers are not a valid time.
    """
    # two-digit years as in POSIX
    year = known.get(
        "Y", known["y"] + (1900 if known["y"] >= 69 else 2000) if "y" in known else None
    )
    if year is None:
        return EVER
    if "y" in known and year % 100 != known["y"]:
        return None
    try:
        return _span(year, known)
    except (ValueError, OverflowError):
        return None


def _span(year: int, known: Known) -> PatternSpan | None:
    if "j" in known:
        start = datetime(year, 1, 1) + timedelta(days=known["j"] - 1)
        if (
            start.year != year
            or known.get("m", start.month) != start.month
            or known.get("d", start.day) != start.day
        ):
            return None
    elif "m" not in known:
        return PatternSpan(datetime(year, 1, 1), datetime(year + 1, 1, 1))
    elif "d" not in known:
        month = known["m"]
        return PatternSpan(
            datetime(year, month, 1), datetime(year + month // 12, month % 12 + 1, 1)
        )
    else:
        start = datetime(year, known["m"], known["d"])
    length = timedelta(days=1)
    for code, unit in (
        ("H", timedelta(hours=1)),
        ("M", timedelta(minutes=1)),
        ("S", timedelta(seconds=1)),
    ):
        if code not in known:
            break
        start, length = start + known[code] * unit, unit
    return PatternSpan(start, start + length)


@dataclass(frozen=True)
class _Node:
    """A path that matches the first `depth` components."""

    span: PatternSpan
    path: Path
    depth: int
    known: Known

    def __lt__(self, other: "_Node") -> bool:
        """Sort by the end of the time span, the latest first; then the less deep, which may hold
        more; then the later name.
        """
        if self.span.end != other.span.end:
            return self.span.end > other.span.end
        return (self.depth, other.path) < (other.depth, self.path)


@dataclass(frozen=True)
class _Step:
    """A component of a pattern: a literal name, a regular expression for names, or (with neither)
    any number of folders (`**`).
    """

    name: str | None = None
    names: re.Pattern[str] | None = None
    hidden: bool = False


def _step(part: str, pattern: Path) -> _Step:
    if part == "**":
        return _Step()
    literal, regex, seen = "", "", set()
    magic = False
    for token in _TOKENS.findall(part):
        code = token[1:]
        if token[0] == "%" and token != "%%":
            if code not in _CODES:
                raise ConfigError(
                    f"{pattern}: {token!r} is not a time code; use"
                    f" {' '.join(f'%{known}' for known in _CODES)}, and %% for a percent sign."
                )
            regex += f"(?P={code})" if code in seen else f"(?P<{code}>{_CODES[code]})"
            seen.add(code)
        elif token in ("*", "?"):
            regex += ".*?" if token == "*" else "."
        elif len(token) > 2:
            inner = token[1:].replace("\\", "\\\\").replace("[", "\\[")
            regex += f"[{inner.replace('!', '^', 1) if inner[0] == '!' else inner}"
        else:
            literal += token[0]
            regex += re.escape(token[0])
            continue
        magic = True
    return (
        _Step(names=re.compile(regex, re.DOTALL), hidden=part.startswith("."))
        if magic
        else _Step(name=literal)
    )


def _children(node: _Node, step: _Step, depths: int) -> Iterator[_Node]:
    depth = node.depth + 1
    last = depth == depths
    if step.name is not None:
        path = node.path / step.name
        if not last or is_there(path):
            yield _Node(node.span, path, depth, node.known)
    elif step.names is None:
        yield _Node(node.span, node.path, depth, node.known)
        for entry in list_folder(node.path):
            if kind_of(entry) == "folder" and not entry.is_symlink() and not is_passing(entry.name):
                yield _Node(node.span, node.path / entry.name, node.depth, node.known)
    else:
        for entry in list_folder(node.path):
            told = _told(step.names, entry.name, step.hidden, node.known)
            if told is not None and (last or kind_of(entry) == "folder"):
                yield _Node(told[0], node.path / entry.name, depth, told[1])


def _told(
    names: re.Pattern[str], name: str, hidden: bool, known: Known
) -> tuple[PatternSpan, Known] | None:
    """Return the time span and numbers after matching a name; None if it does not match, or
    contradicts the numbers known so far.
    """
    match = names.fullmatch(name)
    if match is None or (is_passing(name) and not hidden):
        return None
    told = {**known, **{code: int(number) for code, number in match.groupdict().items()}}
    span = span_of(told)
    return (
        (span, told)
        if span is not None and all(told[code] == number for code, number in known.items())
        else None
    )


def _match(steps: Sequence[_Step], names: Sequence[str], known: Known) -> bool:
    if not steps or not names:
        return not names and all(step.name is None and step.names is None for step in steps)
    step = steps[0]
    if step.name is not None:
        return step.name == names[0] and _match(steps[1:], names[1:], known)
    if step.names is None:
        return _match(steps[1:], names, known) or (
            not is_passing(names[0]) and _match(steps, names[1:], known)
        )
    told = _told(step.names, names[0], step.hidden, known)
    return told is not None and _match(steps[1:], names[1:], told[1])
