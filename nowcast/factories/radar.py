"""Radar files as a configuration names them; without torch, whose import takes longer than to
look at a few files.
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
    """The precipitation grid that `data` describes, frames unread; with periods, only their frames.

    around: frames there are taken too, where they fit those of the periods. Of a pattern of times,
    only files of these periods are looked for and opened.
    opened: a grid that was opened of `data` before, whose files are not described again.
    """
    asked = [(one.start, one.end) for one in periods]
    wider = [] if around is None else [(around.start, around.end)]
    spans: list[TimeSpan | None] = [*asked, *wider]
    files = [path for span in spans or [None] for path in find_files(data.path, span, data.format)]
    known = None if opened is None else opened.encoding.get("known")
    here = copied(list(dict.fromkeys(files)), data)
    return open_files(here, reading(data), asked, wider, known)


def copied(paths: Sequence[Path], data: RadarConfig) -> list[Path]:
    """The paths to open: files by address as copies in data.cache, all else as it is.

    Errors: as `fetched`.
    """
    with into_cache():
        return fetched(paths, data.cache, data.cache_gb)


def reading(data: RadarConfig) -> ReadOptions:
    """How `data` says that its files are to be read.

    Errors: ConfigError where it names no Z-R relation that is known.
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
    """Name the key of the folder where a block makes files.

    Errors: CannotCreateError if that folder cannot be written.
    """
    try:
        yield
    except CannotCreateError as error:
        problem = str(error).partition("; choose another")[0]
        raise CannotCreateError(
            f"data.cache: {problem}; choose another folder, or allow writing in this one."
        ) from error
