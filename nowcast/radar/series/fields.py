"""Further fields on the grid of the radar, from NetCDF and Zarr: elevation, satellite, weather
models.
"""

import re
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError, MissingInputError
from nowcast.files import FileVersion
from nowcast.radar.grid import LATITUDE, LONGITUDE, RATE
from nowcast.radar.placing.georeference import Place, same_coordinates
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.axes import y_and_x
from nowcast.radar.reading.cf.place import place_of
from nowcast.radar.reading.cf.time_units import is_time_unit
from nowcast.radar.reading.cf.times import decode, ends_of, find_time, intervals_of, methods_of
from nowcast.radar.reading.readers.zarr import refuse_foreign
from nowcast.radar.reading.storage import explained, library
from nowcast.radar.reading.units import dry_in
from nowcast.radar.times import Times, show
from nowcast.untrusted.files import refuse_unsound
from nowcast.untrusted.isolation import if_running, isolated

# Vector components and directions: flipping such a field would also change its values.
_VECTOR = re.compile(
    r"(grid_)?(eastward|northward|x|y)_.+|.*direction|[uv](\d+m?)?|[uv]_?(wind|component).*|wind_?[uv].*"
)


@dataclass(frozen=True, eq=False)
class FieldFile:
    """A variable of a file, on the grid of the radar; its frames are not read yet.

    name: its CF standard name, else its name in the file.
    times: (n,) increasing, in UTC; None for a field without time.
    variable, dims: names in the file of the variable, and of its dimensions (time, y, x); None if
    time is not a dimension.
    size: (y, x) in pixels. first: number in the file of the first frame used here.
    """

    path: Path
    name: str
    times: Times | None
    variable: str
    dims: tuple[str | None, str, str]
    size: tuple[int, int]
    first: int = 0

    @property
    def is_vector(self) -> bool:
        """Whether its name is that of a vector component or direction, such as wind."""
        return is_vector(self.name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, y, x); n is 1 without times."""
        return (1 if self.times is None else self.times.size), *self.size

    def read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """Return frames first … last − 1, (n, y, x), NaN = missing.

        Errors: DataError if the file is damaged.
        """
        if first == last:
            return np.empty((0, *self.size), np.float32)
        return isolated(
            self.path,
            _read,
            self.path,
            self.variable,
            self.dims,
            self.first + first,
            self.first + last,
        )

    def between(self, start: np.datetime64, end: np.datetime64) -> "FieldFile":
        """Return the part valid from `start` to `end`: the frames of that period, and the one
        before.
        """
        if self.times is None:
            return self
        first = max(0, int(np.searchsorted(self.times, start, side="right")) - 1)
        last = max(first, int(np.searchsorted(self.times, end, side="right")))
        return replace(self, times=self.times[first:last], first=self.first + first)

    def close(self) -> None:
        """Close the file."""
        if_running(close_opened)


@dataclass(frozen=True, eq=False)
class _Found:
    """The description of a variable in a file."""

    name: str
    times: Times | None
    dims: tuple[str | None, str, str]
    size: tuple[int, int]
    place: Place


def open_field(path: str, variable: str, grid: xr.Dataset) -> FieldFile:
    """Open a variable of a NetCDF file or Zarr store, (y, x) or (time, y, x) on the radar grid.

    Errors: MissingInputError if the file does not exist; MissingLibraryError for Zarr if zarr is
    not installed; DataError if the file cannot be read, lacks the variable, or is on another grid.
    """
    where = Path(path).expanduser()
    if not where.exists():
        raise MissingInputError(
            f"{path}: no such field file; check its path in inputs.fields, input_paths or mask."
        )
    found = isolated(where, _find, where, variable, path)
    if found.times is not None:
        _check_times(found.times, path)
    check_place(found.size, found.place, variable, grid, path)
    return FieldFile(where, found.name, found.times, variable, found.dims, found.size)


def _find(where: Path, variable: str, path: str) -> _Found:
    with explained(where):
        file = open_dataset(where)
        if variable not in file.variables:
            raise DataError(
                f"{path}: has no variable {variable!r}, only"
                f" {', '.join(map(str, file.variables)) or 'none'}; name one."
            )
        field = file[variable]
        time = _time_of(file, field, where)
        along = None if time is None else str((*time.dims, "time")[0])
        field = field.squeeze(
            [name for name in field.dims if field.sizes[name] == 1 and name != along], drop=True
        )
        space = [str(name) for name in field.dims if name != along]
        if field.dtype.kind not in "iufb" or len(space) != 2:
            raise DataError(
                f"{path}: {variable!r} has type {field.dtype} and dimensions {field.dims}; a field"
                " needs numbers over y, x, or time, y, x."
            )
        y, x = y_and_x(file, space, path)
        times = None if time is None else _known_at(file, field, time, where)
        name = str(field.attrs.get("standard_name", variable))
        dims = (along if along in field.dims else None), y, x
        return _Found(
            name, times, dims, (field.sizes[y], field.sizes[x]), place_of(file, field, y, x, path)
        )


def _read(
    path: Path, variable: str, dims: tuple[str | None, str, str], first: int, last: int
) -> npt.NDArray[np.float32]:
    """Return frames first … last − 1, (n, y, x), NaN = missing."""
    with explained(path):
        time, y, x = dims
        field = open_dataset(path)[variable]
        field = field.squeeze([name for name in field.dims if name not in dims], drop=True)
        part = field.transpose(y, x) if time is None else field.transpose(time, y, x)[first:last]
        raw = part.values
        # default fill values of NetCDF; Zarr declares its own
        blank = None if path.is_dir() else storage.unwritten(raw, part.attrs)
        # value for flags that mean dry; -inf dBZ is not usable by a model, and becomes missing
        dry = dry_in(str(part.attrs.get("units", "")))
        values = (
            storage.unpack(raw, part.attrs, blank, ((), dry))
            .astype(np.float32)
            .reshape(-1, *part.shape[-2:])
        )
        values[~np.isfinite(values)] = np.nan
        return values


def is_vector(name: str) -> bool:
    """Return whether a field name is that of a vector component or direction, such as wind."""
    return _VECTOR.fullmatch(name.lower()) is not None


def close_opened() -> None:
    """Close the file opened last; runs in the process that reads files."""
    _opened.cache_clear()


def open_dataset(path: Path) -> xr.Dataset:
    """Open a file of fields with values as stored; only in the process that reads files."""
    return _opened(path, FileVersion.of(path))


@lru_cache(maxsize=1)
def _opened(path: Path, version: FileVersion) -> xr.Dataset:
    """Open this version of a file with values as stored."""
    how: dict[str, Any] = {
        "decode_times": False,
        "decode_coords": False,
        "mask_and_scale": False,
        "cache": False,
    }
    with warnings.catch_warnings():  # xarray warns of fill values and similar
        warnings.simplefilter("ignore")
        if path.is_dir():
            library("zarr", "zarr", path)
            refuse_foreign(path)
            return xr.open_dataset(path, engine="zarr", chunks=None, consolidated=False, **how)
        refuse_unsound(path)
        return xr.open_dataset(path.absolute(), engine="netcdf4", **how)


def _time_of(file: xr.Dataset, field: xr.DataArray, path: Path) -> xr.DataArray | None:
    """Return the time of a field: along one of its dimensions, or a single one; None if the field
    has none.
    """
    if not any(is_time_unit(file[name].attrs.get("units")) for name in file.variables):
        return None
    time = find_time(file, path)
    of_field = str(field.attrs.get("coordinates", "")).split()
    if time.ndim == 0:
        return time if time.name in ("time", "valid_time", *of_field) else None
    return time if time.dims[0] in field.dims else None


def _known_at(file: xr.Dataset, field: xr.DataArray, time: xr.DataArray, path: Path) -> Times:
    """Return the end of the interval that each frame of the field represents."""
    labels = np.atleast_1d(decode(time, path))
    _check_times(labels, str(path))
    intervals = intervals_of(file, time, labels, path)
    return ends_of(labels, intervals, methods_of(field, time), None)


def _check_times(times: Times, path: str) -> None:
    if times.size == 0 or np.isnat(times).any():
        raise DataError(f"{path}: has no time, or a frame without one; correct this file.")
    late = np.flatnonzero(np.diff(times) <= np.timedelta64(0, "ns"))
    if late.size:
        raise DataError(
            f"{path}: its times do not increase after {show(times[late[0]])}; sort them and keep"
            " one frame per time."
        )


def check_place(
    size: tuple[int, int], place: Place, variable: str, grid: xr.Dataset, path: str
) -> None:
    """Errors: DataError if the field is not on the grid, in size or in the coordinates of both."""
    advice = (
        "resample it to the grid of the radar first, with rows in the same order (with CDO's"
        " remapcon, or gdalwarp)."
    )
    wanted = grid[RATE].shape[1:]
    if size != wanted:
        raise DataError(
            f"{path}: {variable!r} has {size[0]} × {size[1]} pixels, the radar"
            f" {wanted[0]} × {wanted[1]}; {advice}"
        )
    for name in ("y", "x", LATITUDE, LONGITUDE):
        if name not in place or name not in grid.coords:
            continue
        if not same_coordinates(grid[name].variable, place[name]):
            raise DataError(
                f"{path}: the {name} of {variable!r} differs from that of the radar; {advice}"
            )
