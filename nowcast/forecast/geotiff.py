"""Forecasts as GeoTIFF, for GIS programs, next to the forecast file `A.nc`:

    A.tif                  the rate in mm h-1; for an ensemble the mean of its members
    A_probability_0.5.tif  the probability that the rate is at or above 0.5 mm/h, from 0 to 1;
                           one file per threshold, if the method gives probabilities

Each file is cloud-optimised (COG): float32, NaN = missing, north up, with overviews. There is one
band per lead time. The description of a band is its valid time, its tags give both times. The tags
of the file are the attributes of the forecast.
"""

import glob
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nowcast.arrays import Float32Array
from nowcast.errors import CannotCreateError, DataError, InputOutputError, MissingLibraryError
from nowcast.files import written_whole
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME
from nowcast.forecast.file_members import REALIZATION
from nowcast.forecast.file_probability import PROBABILITY, THRESHOLD
from nowcast.radar.grid import RATE, UNITS
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.placing.north_up import NorthUp, north_up
from nowcast.version import install_command

_SUFFIX = ".tif"
_LAYOUT = {
    "driver": "COG", "dtype": "float32", "nodata": np.nan, "compress": "DEFLATE",
    "predictor": "YES", "overview_resampling": "average",
}  # fmt: skip
_TIFF_TAGS = {
    "title": "TIFFTAG_IMAGEDESCRIPTION",
    "source": "TIFFTAG_SOFTWARE",
    "institution": "TIFFTAG_ARTIST",
    "license": "TIFFTAG_COPYRIGHT",
}
"""Attributes for which TIFF has its own tags."""
_OURS = (b"Precipitation forecast\0", b"nowcast ")
"""Title and source, which stand in the first bytes of a GeoTIFF that nowcast wrote."""
_HEAD = 2**14  # bytes


def geotiff_path(forecast_path: Path) -> Path:
    """Return the GeoTIFF of the rates next to a forecast file."""
    return forecast_path.with_suffix(_SUFFIX)


def find_geotiffs(forecast_path: Path) -> list[Path]:
    """Return the GeoTIFFs that nowcast wrote next to a forecast file."""
    stem = glob.escape(forecast_path.stem)
    found = forecast_path.parent.glob(f"{stem}_{PROBABILITY}_*{_SUFFIX}")
    return [one for one in (geotiff_path(forecast_path), *sorted(found)) if _is_ours(one)]


def remove_geotiffs(forecast_path: Path, kept: Collection[Path] = ()) -> None:
    """Remove the GeoTIFFs that nowcast wrote next to a forecast file, except those in `kept`.

    Raises:
        InputOutputError: if one cannot be removed.
    """
    for one in find_geotiffs(forecast_path):
        if one in kept:
            continue
        try:
            one.unlink(missing_ok=True)
        except OSError as error:
            raise InputOutputError(
                f"{one}: cannot be removed ({error.strerror}), although its forecast was replaced"
                " or not finished; check the permissions of its folder."
            ) from error


def require_rasterio() -> Any:
    """Return rasterio. Errors: MissingLibraryError if it is not installed."""
    try:
        import rasterio
    except ImportError as error:
        raise MissingLibraryError(
            f"format=geotiff: needs rasterio: {install_command('geotiff')}."
        ) from error
    return rasterio


def write_geotiffs(forecast: xr.Dataset, path: Path) -> None:
    """Write the GeoTIFFs of a forecast, each complete or not at all.

    Args:
        forecast: as made by `build_forecast`.
        path: of the forecast file; the GeoTIFFs are written next to it.

    Raises:
        DataError: if its grid is not regular; then nothing is written.
        CannotCreateError, InputOutputError: if one cannot be written.
        MissingLibraryError: without rasterio.
    """
    grid = north_up(place_of_grid(forecast))
    if grid is None:
        raise DataError(
            f"{geotiff_path(path)}: a GeoTIFF needs regular x and y in a projection, or regular"
            " longitudes and latitudes, which these radar files do not have; leave format=geotiff"
            " out, or put files with latitudes and longitudes on such a grid (nowcast prepare"
            " grid=…)."
        )
    fields = dict(_fields(forecast, path))
    for one in fields:
        if one.exists() and not _is_ours(one):
            raise CannotCreateError(
                f"{one}: already exists and is not a forecast; choose another output, or"
                " format=netcdf."
            )
    for one, (values, units, about) in fields.items():
        _write(one, grid.turned(values), units, forecast, _profile(grid, values.shape), about)
    remove_geotiffs(path, kept=fields)  # files of thresholds that the forecast no longer has


def _fields(
    forecast: xr.Dataset, path: Path
) -> Iterator[tuple[Path, tuple[Float32Array, str, dict[str, str]]]]:
    """Yield the files of a forecast: path, values (time, y, x), their unit, and tags."""
    rates = forecast[RATE]
    if REALIZATION in rates.dims:
        members = {"cell_methods": f"{REALIZATION}: mean"}
        yield geotiff_path(path), (rates.mean(REALIZATION, skipna=False).values, UNITS, members)
    else:
        yield geotiff_path(path), (rates.values, UNITS, {})
    if PROBABILITY in forecast:
        for k, threshold in enumerate(forecast[THRESHOLD].values.tolist()):
            name = f"{path.stem}_{PROBABILITY}_{threshold:g}{_SUFFIX}"
            about = {
                "long_name": str(forecast[PROBABILITY].attrs["long_name"]),
                THRESHOLD: f"{threshold:g} {UNITS}",
            }
            yield path.with_name(name), (forecast[PROBABILITY].values[:, k], "1", about)


def _profile(grid: NorthUp, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the georeference and size of a GeoTIFF of fields (…, y, x)."""
    rasterio = require_rasterio()
    (west, _, _, north), (width, height) = grid.box, grid.pixel
    return {
        "crs": rasterio.crs.CRS.from_wkt(grid.crs.to_wkt()),
        "transform": rasterio.Affine(width, 0, west, 0, -height, north),
        "height": shape[-2],
        "width": shape[-1],
    }


def _write(
    path: Path, values: Float32Array, units: str, forecast: xr.Dataset, profile: dict[str, Any],
    about: dict[str, str],
) -> None:  # fmt: skip
    """Write (time, y, x), north up, one band per time."""
    rasterio = require_rasterio()
    valid = [f"{time:.19}Z" for time in forecast["time"].values.astype("datetime64[s]").astype(str)]
    reference = f"{forecast[REFERENCE_TIME].values.astype('datetime64[s]')}Z"
    tags = {str(name): str(value) for name, value in forecast.attrs.items()}
    tags |= {tag: tags[name] for name, tag in _TIFF_TAGS.items() if name in tags}
    tags |= {REFERENCE_TIME: reference, **about}
    tags.pop("Conventions", None)  # it applies to NetCDF only
    with rasterio.MemoryFile() as memory:
        with memory.open(count=len(values), **profile, **_LAYOUT) as file:
            file.write(values.astype(np.float32, copy=False))
            file.descriptions, file.units = valid, [units] * len(valid)
            file.update_tags(**tags)
            for band, (time, lead) in enumerate(
                zip(valid, forecast[LEAD_TIME].values.tolist(), strict=True), start=1
            ):
                file.update_tags(band, valid_time=time, lead_time=f"{lead:g} minutes")
        content = memory.read()
    with written_whole(path) as temporary:  # GDAL itself does not report a full disk
        temporary.write_bytes(content)


def _is_ours(path: Path) -> bool:
    """Whether nowcast wrote this GeoTIFF; False if there is no such file."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    return all(text in head for text in _OURS)
