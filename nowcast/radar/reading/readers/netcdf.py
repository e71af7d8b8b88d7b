"""CF NetCDF files with any number of frames: rates, accumulations, reflectivity."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import netCDF4
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.variables import describe_dataset
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.signals import uninterrupted


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    group, _, variable = (options.variable or "").strip("/").rpartition("/")
    inside = replace(options, variable=variable or None)
    with storage.only_reader():
        try:
            opened = storage.open_netcdf(path)
            with uninterrupted(), _of_group(opened, group, path) as file:
                if not group:
                    _refuse_groups(opened, path)
                described = describe_dataset(file, path, inside, "netcdf")
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise storage.explain(path, error) from error
    name = f"{group}/{described.layout.variable}" if group else described.layout.variable
    return replace(described, layout=replace(described.layout, variable=name))


@contextmanager
def _of_group(opened: netCDF4.Dataset, group: str, path: Path) -> Iterator[xr.Dataset]:
    """Open the variables of a group ('' is the root), and those of its parent groups, which CF 2.7
    allows it to use. Closes the file.

    Errors: DataError if the file has no such group.
    """
    names = [group.rsplit("/", k)[0] for k in range(group.count("/") + 1)] + [""] if group else [""]
    try:
        with warnings.catch_warnings():  # xarray warns of fill values and similar
            warnings.simplefilter("ignore")
            file = _opened_group(opened, names[0], path)
            for name in names[1:]:
                outer = _opened_group(opened, name, path)
                fits = [
                    one
                    for one in outer.variables
                    if one not in file.variables and _fits(outer[one], file)
                ]
                file = file.assign({one: outer[one].variable for one in fits})
            yield file
    finally:
        opened.close()


def _opened_group(opened: netCDF4.Dataset, name: str, path: Path) -> xr.Dataset:
    if name and name not in _groups(opened):
        raise DataError(
            f"{path}: has no group {name!r} (it has: {', '.join(_groups(opened)) or 'none'}); set"
            " data.variable."
        )
    stored = xr.backends.NetCDF4DataStore(opened, group=name or None)  # type: ignore[no-untyped-call]
    return xr.open_dataset(
        stored,
        engine="store",
        decode_times=False,
        decode_coords=False,
        mask_and_scale=False,
        cache=False,
    )


def _fits(variable: xr.DataArray, file: xr.Dataset) -> bool:
    return all(file.sizes.get(dim, size) == size for dim, size in variable.sizes.items())


def _groups(opened: netCDF4.Dataset, above: str = "") -> dict[str, netCDF4.Group]:
    """Return all groups of a file by their paths."""
    found: dict[str, netCDF4.Group] = {}
    for name, group in opened.groups.items():
        found |= {f"{above}{name}": group, **_groups(group, f"{above}{name}/")}
    return found


def _refuse_groups(opened: netCDF4.Dataset, path: Path) -> None:
    """Errors: DataError naming the variables if all that may be rain are in groups."""
    if any(variable.ndim >= 2 for variable in opened.variables.values()):
        return
    inside = [
        f"{at}/{name}"
        for at, group in _groups(opened).items()
        for name, one in group.variables.items()
        if one.ndim >= 2
    ]
    if inside:
        raise DataError(
            f"{path}: its data are in groups ({', '.join(inside)}); name the rain, for example"
            f" data.variable={inside[0]}."
        )


def read(request: ReadRequest) -> storage.Values:
    """Read frames in the units of the file, with one read: float64 (time, y, x), NaN = missing.

    Errors: see describe.
    """
    file, layout = request.file, request.file.layout
    assert layout.dims is not None
    time, y, x = layout.dims
    index = {time if time is not None else "": request.frames, y: request.rows, x: request.columns}
    missing = storage.missing_numbers(request.options.missing_value, layout.missing)
    return storage.read_values(file.path, layout.variable, index, missing, request.dry)
