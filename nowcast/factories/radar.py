"""Open the radar files of a configuration, without importing torch, which takes longer than opening
a few files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import xarray as xr

from nowcast.config.data import RadarConfig
from nowcast.errors import CannotCreateError, ConfigError
from nowcast.periods import Period
from nowcast.radar import ZR_RELATIONS, ReadOptions, find_files, open_files
from nowcast.radar.remote.copies import fetched
from nowcast.radar.times import TimeSpan


def open_radar(
    data: RadarConfig,
    *periods: Period,
    around: Period | None = None,
    opened: xr.Dataset | None = None,
) -> xr.Dataset:
    """Open the precipitation grid of `data` without reading frames; periods select frames.

    With a path with strftime codes only files of these periods are listed and opened.

    around: also take frames of this period that fit those of the other periods.
    opened: a grid opened earlier from `data`, whose files are not described again.
    """
    asked = [(one.start, one.end) for one in periods]
    wider = [] if around is None else [(around.start, around.end)]
    spans: list[TimeSpan | None] = [*asked, *wider]
    files = [path for span in spans or [None] for path in find_files(data.path, span, data.format)]
    known = None if opened is None else opened.encoding.get("known")
    here = copied(list(dict.fromkeys(files)), data)
    return open_files(here, reading(data), asked, wider, known)


def copied(paths: Sequence[Path], data: RadarConfig) -> list[Path]:
    """Return the paths to open: files at a URL as copies in data.cache, other paths unchanged.

    Errors: as `fetched`.
    """
    with into_cache():
        return fetched(paths, data.cache, data.cache_gb)


def reading(data: RadarConfig) -> ReadOptions:
    """Return the reading options of `data`.

    Errors: ConfigError for an unknown Z–R relation.
    """
    if isinstance(data.zr, str) and data.zr not in ZR_RELATIONS:
        raise ConfigError(
            f"data.zr: {data.zr!r} is unknown; choose {', '.join(ZR_RELATIONS)}, or give [a,b] of Z"
            " = a R^b."
        )
    given = {one.name: getattr(data, one.name) for one in fields(ReadOptions)}
    if data.zr is not None:
        a, b = ZR_RELATIONS[data.zr] if isinstance(data.zr, str) else data.zr
        given["zr"] = float(a), float(b)
    return ReadOptions(**given)


@contextmanager
def into_cache() -> Iterator[None]:
    """Let errors from writing into the cache, within the block, name data.cache.

    Errors: CannotCreateError if that folder cannot be written.
    """
    try:
        yield
    except CannotCreateError as error:
        problem = str(error).partition("; choose another")[0]
        raise CannotCreateError(
            f"data.cache: {problem}; choose another folder, or make this one writable."
        ) from error
