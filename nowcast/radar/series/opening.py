"""Open radar files as one canonical grid: the public door of this room."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from nowcast.errors import MissingInputError
from nowcast.radar.finding.files import find_files
from nowcast.radar.grid import build_grid
from nowcast.radar.reading.file import RadarFile, ReadOptions
from nowcast.radar.reading.rates import FrameArray
from nowcast.radar.remote.copies import fetched
from nowcast.radar.series.building import build_series
from nowcast.radar.series.describing import KnownFiles, describe_files, kinds_of
from nowcast.radar.series.series import near
from nowcast.radar.times import TimeSpan, show

log = logging.getLogger(__name__)


def open_grid(
    path: str | Path, *, period: tuple[np.datetime64, np.datetime64] | None = None, **reading: Any
) -> xr.Dataset:
    """Open radar files as one canonical grid; reads no frame.

    Frames are read, converted and checked when they are asked for.

    Args:
        path: of a file, a folder or a store; a glob; or a pattern of times, as
            `data/%Y/%m/%d/rain_%H%M.h5`; or such an address, as `s3://bucket/rain.zarr`. Files by
            address are fetched into data/cache/copies.
        period: first and last time in UTC; frames outside it are left out, and of a pattern of
            times only the folders and files of that period are looked at.
        reading: the fields of `ReadOptions`, as `units="mm", accumulation_minutes=5`.

    Returns:
        `precipitation_rate` (time, y, x) in mm/h, float32, NaN = not covered, on times in UTC, with
        x, y, latitude, longitude and crs as far as the files say them.

    Raises:
        MissingInputError: if nothing is there.
        DataError: if files cannot be used; it names the file and what to do.

    Example:
        >>> grid = open_grid("archive/*.nc")
        >>> grid["precipitation_rate"].shape, grid.attrs["timestep_minutes"]
        ((25, 34, 41), 5.0)
    """
    options = ReadOptions(**reading)
    files = fetched(find_files(path, period, options.format))
    return open_files(files, options, [] if period is None else [period])


def open_files(
    paths: list[Path],
    options: ReadOptions,
    periods: Sequence[TimeSpan] = (),
    around: Sequence[TimeSpan] = (),
    known: KnownFiles | None = None,
) -> xr.Dataset:
    """Open radar files as one canonical grid, of all their frames or those of some periods.

    Args:
        paths: of the files.
        options: how they are read.
        periods: what lies outside of them decides nothing: neither grid nor spacing nor whether two
            frames differ; none takes all frames.
        around: frames there are taken too, if they fit those of the periods.
        known: what was described before; it learns of these files.

    Returns:
        The grid, as `open_grid` gives it.

    Raises:
        MissingInputError: if the periods hold no frame.
        DataError: if files cannot be used.

    Example:
        >>> from nowcast.radar import ReadOptions, find_files
        >>> open_files(find_files("archive"), ReadOptions()).sizes["time"]
        25
    """
    spans = [*periods, *around]
    known = known or KnownFiles(options)
    described = describe_files(paths, known.describe)
    wanted = (file for file in described if not spans or near(file.times, spans).any())
    files = next(iter(kinds_of(wanted, only_one=True)), [])
    series = build_series(files, options, periods, around) if files else None
    if series is None or series.times.size == 0:
        first, last = min(start for start, _ in periods), max(end for _, end in periods)
        raise MissingInputError(
            f"{paths[0]}: no frame from {show(first)} to {show(last)}; give another period."
        )
    say_overruled(files[0], options)
    array = FrameArray(series, options)
    grid = build_grid(
        LazilyIndexedArray(array),
        series.times,
        files[0].place,
        provenance_of(series.files),
        series.timestep_minutes,
    )
    # which files the frames are of, and what is known of them and others
    grid.encoding |= {"series": series, "known": known}
    grid.set_close(array.close)
    return grid


def provenance_of(files: Sequence[RadarFile]) -> dict[str, str | int]:
    """What files say of their origin, and what their rain was converted from."""
    file = files[0]
    layout = file.layout
    over = (
        "" if layout.accumulation_minutes is None else f" per {layout.accumulation_minutes:g} min"
    )
    by = "" if layout.zr is None else f" by Z = {layout.zr[0]:g} R^{layout.zr[1]:g}"
    origin = f"{layout.variable} [{layout.units}{over}]{by}"
    return {
        **file.attrs,
        "source_files": len(files),
        "source_format": file.format,
        "converted_from": origin,
    }


def say_overruled(file: RadarFile, options: ReadOptions) -> None:
    """Tell of options that are not used, as the file itself says otherwise."""
    asked = options.accumulation_minutes
    minutes = file.layout.accumulation_minutes
    if asked is not None and minutes is not None and minutes != asked:
        log.warning(
            "%s: holds sums over %g minutes, so data.accumulation_minutes=%g is not used.",
            file.path,
            minutes,
            asked,
        )
    if options.zr is not None and file.layout.zr not in (None, options.zr):
        log.warning(
            "%s: says Z = %g R^%g, so data.zr=%s is not used.",
            file.path,
            *file.layout.zr,
            list(options.zr),
        )
