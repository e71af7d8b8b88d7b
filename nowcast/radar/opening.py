"""Open radar files as one canonical grid: the public door of this room."""

import glob
import logging
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from nowcast.errors import MissingInputError
from nowcast.radar.frames import FrameArray
from nowcast.radar.grid import build_grid
from nowcast.radar.netcdf import ReadOptions
from nowcast.radar.series import Series, build_series, describe_files
from nowcast.radar.units import MARSHALL_PALMER

log = logging.getLogger(__name__)

SUFFIXES = (".nc", ".nc4")


def open_grid(
    path: str | Path,
    *,
    variable: str | None = None,
    units: str | None = None,
    accumulation_minutes: float | None = None,
    zr: tuple[float, float] = MARSHALL_PALMER,
    missing_value: float | Sequence[float] | None = None,
    max_rate: float = 1000.0,
) -> xr.Dataset:
    """Open a file, a folder (all *.nc and *.nc4 in it and below) or a glob as one canonical grid (see `grid`). Reads no frame.

    variable: the rain variable, where the file holds several.
    units: what it is in, overruling the file.
    accumulation_minutes: of amounts, where the file does not say.
    zr: (a, b) of Z = a R^b, for dBZ.
    missing_value: a fill value (or several) that the file does not declare, as it is stored.
    max_rate [mm/h]: anything above is impossible and becomes missing.

    Frames are read, converted and checked when they are asked for: `grid.precipitation_rate[a:b].values` is float32 in mm/h.
    Errors: MissingInputError where nothing is there, DataError where files cannot be used; each names the file and what to do.
    """
    options = ReadOptions(variable, units, accumulation_minutes, zr, missing_value, max_rate)
    files = describe_files(find_files(path), options)
    series = build_series(files)
    _say_overruled(series, options)
    array = FrameArray(series, options)
    grid = build_grid(LazilyIndexedArray(array), series.times, files[0].place, _provenance(series), series.timestep_minutes)
    grid.set_close(array.close)
    return grid


def find_files(path: str | Path) -> list[Path]:
    """The radar files that `path` means, sorted by name. Errors: MissingInputError where there are none."""
    whole = Path(path).expanduser()
    if whole.is_dir():
        inside = [f for f in whole.rglob("*") if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not inside:
            raise MissingInputError(f"{path}: no *.nc or *.nc4 file in this folder or below; check the path.")
        return sorted(inside)
    if whole.exists():
        return [whole]
    if glob.has_magic(str(whole)):
        matching = sorted(Path(f) for f in glob.glob(str(whole), recursive=True) if Path(f).is_file())
        if matching:
            return matching
        raise MissingInputError(f"{path}: no file matches this pattern; check it, and quote it on the command line.")
    raise MissingInputError(f"{path}: no such file or folder; check the path, or run 'nowcast fetch' for the sample.")


def _provenance(series: Series) -> dict[str, str | int]:
    layout = series.files[0].layout
    over = "" if layout.accumulation_minutes is None else f" per {layout.accumulation_minutes:g} min"
    origin = f"{layout.variable} [{layout.units}{over}]"
    return {**series.files[0].attrs, "source_files": len(series.files), "converted_from": origin}


def _say_overruled(series: Series, options: ReadOptions) -> None:
    file, asked = series.files[0], options.accumulation_minutes
    minutes = file.layout.accumulation_minutes
    if asked is not None and minutes is not None and minutes != asked:
        log.warning("%s: holds sums over %g minutes, so data.accumulation_minutes=%g is not used.", file.path, minutes, asked)
