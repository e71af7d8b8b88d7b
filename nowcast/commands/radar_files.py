"""Radar files as a configuration names them; without torch, whose import takes longer than to look at a few files."""

import xarray as xr

from nowcast.config_data import RadarConfig
from nowcast.errors import ConfigError
from nowcast.periods import Period
from nowcast.radar import ZR_RELATIONS, ReadOptions, find_files, open_files


def open_radar(data: RadarConfig, *periods: Period) -> xr.Dataset:
    """The precipitation grid that `data` describes, frames unread; with periods, from the first of their frames to the last.

    Of a pattern of times, only files of these periods are looked for and opened.
    """
    if not periods:
        return open_files(find_files(data.path, form=data.format), reading(data))
    files = [path for one in periods for path in find_files(data.path, (one.start, one.end), data.format)]
    span = min(one.start for one in periods), max(one.end for one in periods)
    return open_files(list(dict.fromkeys(files)), reading(data), span)


def reading(data: RadarConfig) -> ReadOptions:
    """How `data` says that its files are to be read. Errors: ConfigError where it names no Z-R relation that is known."""
    if isinstance(data.zr, str) and data.zr not in ZR_RELATIONS:
        raise ConfigError(f"data.zr: {data.zr!r} is unknown; choose {', '.join(ZR_RELATIONS)}, or give [a,b] of Z = a R^b.")
    zr = ZR_RELATIONS[data.zr] if isinstance(data.zr, str) else data.zr and (float(data.zr[0]), float(data.zr[1]))
    return ReadOptions(
        format=data.format,
        variable=data.variable,
        units=data.units,
        accumulation_minutes=data.accumulation_minutes,
        zr=zr,
        missing_value=data.missing_value,
        dry_value=data.dry_value,
        max_rate=data.max_rate,
        above_max_rate=data.above_max_rate,
    )
