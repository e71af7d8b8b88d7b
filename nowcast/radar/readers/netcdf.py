"""CF NetCDF, a file of any number of frames: rates, accumulations, reflectivity."""

from pathlib import Path

import xarray as xr

from nowcast.radar import storage
from nowcast.radar.cf import describe_dataset
from nowcast.radar.file import RadarFile, ReadOptions
from nowcast.signals import uninterrupted


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """What `path` holds. Errors: MissingInputError, or DataError naming the file, what is wrong and what to do."""
    with storage.only_reader():
        try:
            opened = storage.open_netcdf(path)
            with uninterrupted():
                stored = xr.backends.NetCDF4DataStore(opened)  # type: ignore[no-untyped-call]
                with xr.open_dataset(stored, engine="store", decode_times=False, decode_coords=False, cache=False) as file:
                    return describe_dataset(file, path, options, "netcdf")
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise storage.explain(path, error) from error


def read(file: RadarFile, frames: slice, rows: slice, columns: slice, options: ReadOptions) -> storage.Values:
    """Frames of `file`, in the file's own units: float64 (time, y, x), NaN = missing. One read. Errors: as describe."""
    assert file.layout.dims is not None
    time, y, x = file.layout.dims
    index = {time if time is not None else "": frames, y: rows, x: columns}
    missing = storage.missing_numbers(options.missing_value, file.layout.missing)
    return storage.read_values(file.path, file.layout.variable, index, missing, file.dry(options))
