"""Find the files for a path: a file, a folder, a glob, or a time pattern, for which only matching
folders are listed.
"""

import glob
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from nowcast.errors import MissingInputError
from nowcast.radar.finding import time_patterns as patterns
from nowcast.radar.reading.formats import FORMATS, bare_suffix, format_named, formats
from nowcast.radar.remote.path import RemotePath, path_of
from nowcast.radar.times import TimeSpan, show
from nowcast.untrusted.addresses import is_address

log = logging.getLogger(__name__)


MARGIN = timedelta(hours=1)
"""A file name may give the start of an accumulation and the frame its end, so the search period is
extended by this at both ends.
"""

# raa01-ry_10000-2108230850-dwd---bin, raa01-yw2017.002_10000-1801010050-dwd---bin,
# DE1200_RV2108230850_000
_RADOLAN = re.compile(r"(raa\d\d-\w\w.*-bin|\w+_r[a-z]\d{10}(_\d{3})?)(\.gz)?", re.IGNORECASE)

# MeteoNet's coordinates and quality; statistics of a series in data.cache
_NO_RADAR_FILE = re.compile(r"radar_coords_\w+\.npz|.*quality[-_]code.*\.npz|statistics\.npz")


def find_files(path: str | Path, period: TimeSpan | None = None, form: str = "auto") -> list[Path]:
    """Find the radar files for a path: sorted by time for a time pattern, else by name.

    Args:
        path: a file, a folder or a store; a glob; or a time pattern, such as
            `radar/%Y/%m/%d/rain_%H%M.h5`. All of these may be addresses, such as
            `s3://bucket/rain.zarr`. A store at an address is read in place; fetch a file with
            `nowcast.radar.remote.copies.fetched`.
        period: first and last time. With a time pattern, only folders and files within an hour of
            the period are looked at; some frames of these files may be outside the period. For
            other paths the period is ignored.
        form: the format of the files; selects the file names searched for in a folder.

    Returns:
        The paths.

    Raises:
        MissingInputError: if there are none.
        ConfigError: for an unknown time code after '%', or an unknown format.

    Example:
        >>> [path.name for path in find_files("archive/*.nc")]
        ['rain.nc']
    """
    whole = path_of(path)
    if patterns.is_time_pattern(whole):
        span = patterns.EVER if period is None else _widened(period)
        places = sorted(patterns.follow(whole, span), key=_by_time)
        return _given(
            [file for _, place in places for file in _files_at(place, form)], path, period
        )
    if patterns.is_there(whole):
        return search(whole, form) if _is_plain_folder(whole) else [whole]
    if glob.has_magic(str(whole)):
        matching = _matching(whole)
        if matching:
            return matching
        raise MissingInputError(
            f"{path}: no file matches this pattern; check it, and quote it on the command line."
        )
    if isinstance(whole, RemotePath):
        raise MissingInputError(f"{path}: no such file or store there; check the address.")
    raise MissingInputError(
        f"{path}: no such file or folder; check the path, or run 'nowcast fetch' for the sample."
    )


def newest_files(path: str | Path, count: int, form: str = "auto") -> list[Path]:
    """Find the newest files of a time pattern, without listing older folders.

    Args:
        path, form: see `find_files`.
        count: the most files to return; paths that are not time patterns return all files.

    Returns:
        The paths, oldest first.

    Raises:
        MissingInputError, ConfigError: see `find_files`.

    Example:
        >>> [path.name for path in newest_files("archive/*.nc", count=1)]
        ['rain.nc']
    """
    whole = path_of(path)
    if not patterns.is_time_pattern(whole):
        return find_files(path, form=form)
    newest = islice(
        chain.from_iterable(
            reversed(_files_at(found, form)) for _, found in patterns.follow(whole)
        ),
        count,
    )
    return _given(list(newest)[::-1], path, None)


def would_find(path: str | Path, file: Path, form: str = "auto") -> bool:
    """Return whether `find_files` would find a file if it existed.

    Args:
        path, form: see `find_files`.
        file: the path of the file.

    Returns:
        Whether it would be found.

    Raises:
        ConfigError, MissingInputError: see `find_files`.

    Example:
        >>> from pathlib import Path
        >>> [would_find("archive/*.nc", Path(name)) for name in ("archive/new.nc", "new.nc")]
        [True, False]
    """
    if is_address(path):
        return False
    ways = (os.path.abspath, os.path.realpath)  # as written, and with links resolved
    return any(
        _would_find(Path(way(Path(path).expanduser())), Path(way(file.parent), file.name), form)
        for way in ways
    )


def _would_find(whole: Path, file: Path, form: str) -> bool:
    def is_in(folder: Path) -> bool:
        within = file.relative_to(folder).parts
        return _is_named(file, _suffixes(form)) and not any(
            patterns.is_passing(part) for part in within
        )

    if patterns.is_time_pattern(whole):
        return patterns.matches(whole, file) or any(
            patterns.matches(whole, one) and is_in(one) for one in file.parents
        )
    if patterns.is_there(whole):
        return whole == file or (_is_plain_folder(whole) and whole in file.parents and is_in(whole))
    return glob.has_magic(str(whole)) and patterns.matches(whole, file)


def search(folder: Path, form: str = "auto") -> list[Path]:
    """Return the files in a folder and its subfolders that are named like radar files.

    Errors: MissingInputError if none is found.
    """
    inside = sorted(_below(folder, _suffixes(form), set()))
    if not inside:
        kind = "radar file" if form == "auto" else f"file with a name for data.format={form}"
        raise MissingInputError(f"{folder}: no {kind} in this folder or below; check the path.")
    return inside


def _below(folder: Path, suffixes: set[str], entered: set[Path]) -> Iterator[Path]:
    """Yield files with these suffixes. A Zarr store counts as a file and is not entered; a folder
    linked to twice is entered once.

    Skips vanished entries, broken links and anything that is neither a file nor a folder. Errors:
    MissingInputError if the folder cannot be listed.
    """
    real = folder.resolve()
    if real in entered:
        return
    entered.add(real)
    for entry in patterns.list_folder(folder):
        if patterns.is_passing(entry.name):
            continue
        path, kind = folder / entry.name, patterns.kind_of(entry)
        if kind == "file" and _is_named(path, suffixes):
            yield path
        elif kind == "folder":
            yield from _within(path, suffixes, entered)


def _within(folder: Path, suffixes: set[str], entered: set[Path]) -> Iterator[Path]:
    """Yield a subfolder itself if it is a Zarr store, else its files; if it cannot be entered, log
    a warning and yield nothing.
    """
    try:
        if _is_plain_folder(folder):
            yield from _below(folder, suffixes, entered)
        elif ".zarr" in suffixes:
            yield folder
    except MissingInputError as error:
        _warn_once(str(error))


@lru_cache
def _warn_once(problem: str) -> None:
    log.warning("%s It is skipped.", problem)


def _is_named(path: Path, suffixes: set[str]) -> bool:
    """Return whether a file is named like one of these formats.

    A name without suffix must look like RADOLAN's, to exclude files such as LICENSE. MeteoNet's
    coordinate and quality files and the files of data.cache are excluded.
    """
    if _NO_RADAR_FILE.fullmatch(path.name):
        return False
    return (bare_suffix(path) in suffixes - {""}) or (
        "" in suffixes and _RADOLAN.fullmatch(path.name) is not None
    )


def _suffixes(form: str) -> set[str]:
    searched = formats().values() if form == "auto" else [format_named(form)]
    return {suffix for known in searched for suffix in known.suffixes}


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not FORMATS["zarr"].tells(path, b"")


def _files_at(path: Path, form: str) -> list[Path]:
    """Return a file or store itself, or the files of a folder sorted by name."""
    return sorted(_below(path, _suffixes(form), set())) if _is_plain_folder(path) else [path]


def _matching(whole: Path) -> list[Path]:
    """Return the files and stores that a glob matches, without files inside stores."""
    if isinstance(whole, RemotePath):
        matches = [match for _, match in patterns.follow(whole)]
    else:
        matches = [Path(match) for match in glob.glob(str(whole), recursive=True)]
    stores = {match for match in matches if match.is_dir() and not _is_plain_folder(match)}
    files = {
        m
        for m in matches
        if m.is_file() and not patterns.is_passing(m.name) and stores.isdisjoint(m.parents)
    }
    return sorted(stores | files)


def _given(files: list[Path], path: str | Path, period: TimeSpan | None) -> list[Path]:
    if files:
        return files
    when = "" if period is None else f" from {show(period[0])} to {show(period[1])}"
    raise MissingInputError(
        f"{path}: no file{when} matches this time pattern; check it, or give another period."
    )


def _by_time(found: tuple[patterns.PatternSpan, Path]) -> tuple[datetime, Path]:
    return found[0].start, found[1]


def _widened(period: TimeSpan) -> patterns.PatternSpan:
    start, end = (time.astype("datetime64[us]").item() for time in period)
    return patterns.PatternSpan(start - MARGIN, end + MARGIN + timedelta(microseconds=1))
