"""Open radar files as one canonical grid: the public entry point of this room."""

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
    """Open radar files as one canonical grid, without reading frames.

    Frames are read, converted and checked on access.

    Args:
        path: a file, a folder or a store; a glob; or a time pattern, such as
            `data/%Y/%m/%d/rain_%H%M.h5`. All of these may be addresses, such as
            `s3://bucket/rain.zarr`; remote files are fetched into data/cache/copies.
        period: first and last time in UTC; frames outside it are left out. With a time pattern,
            only the folders and files of the period are looked at.
        reading: the fields of `ReadOptions`, such as `units="mm", accumulation_minutes=5`.

    Returns:
        `precipitation_rate` (time, y, x) in mm/h, float32, NaN = not covered, on times in UTC, with
        x, y, latitude, longitude and crs as far as the files have them.

    Raises:
        MissingInputError: if no file, or no frame of the period, is found.
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
    """Open radar files as one canonical grid, with all frames or only those of some periods.

    Args:
        paths: of the files.
        options: how to read them.
        periods: only frames in these determine the grid and the spacing, and are checked for
            duplicates; empty: all frames.
        around: frames in these are included too, if they fit those of the periods.
        known: files described before; the descriptions of these files are added.

    Returns:
        The grid, as from `open_grid`.

    Raises:
        MissingInputError: if the periods contain no frame.
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
    # the files of the frames, and the descriptions of these and other files
    grid.encoding |= {"series": series, "known": known}
    grid.set_close(array.close)
    return grid


def provenance_of(files: Sequence[RadarFile]) -> dict[str, str | int]:
    """Return the provenance of files: their attributes, and what their rain was converted from."""
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
    """Log options that are ignored because the file itself states another value."""
    asked = options.accumulation_minutes
    minutes = file.layout.accumulation_minutes
    if asked is not None and minutes is not None and minutes != asked:
        log.warning(
            "%s: has accumulations over %g minutes, so data.accumulation_minutes=%g is not used.",
            file.path,
            minutes,
            asked,
        )
    if options.zr is not None and file.layout.zr not in (None, options.zr):
        log.warning(
            "%s: states Z = %g R^%g, so data.zr=%s is not used.",
            file.path,
            *file.layout.zr,
            list(options.zr),
        )
