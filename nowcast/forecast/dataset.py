"""The forecast file: CF-1.11 NetCDF that says what it holds, where, when, and what it was made from."""

import glob
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast import __version__
from nowcast.errors import DataError, MissingInputError
from nowcast.files import written_whole
from nowcast.radar.grid import CRS, RATE

EPOCH = "1970-01-01 00:00:00"


def build_forecast(
    rates: NDArray[np.float32],
    grid: xr.Dataset,
    forecast_reference_time: np.datetime64,
    timestep: np.timedelta64,
    provenance: Mapping[str, Any],
) -> xr.Dataset:
    """Rates (lead, y, x) in mm/h on the grid they were forecast from → the forecast dataset.

    Its `time` is the valid time; `forecast_reference_time` is that of the last observed frame; `lead_time` is the
    difference. Georeference is the grid's. `provenance` becomes global attributes, its mappings and lists as JSON.
    """
    leads = np.arange(1, len(rates) + 1)
    dataset = xr.Dataset(
        {RATE: (("time", "y", "x"), rates, _rate_attributes(grid))},
        coords={name: grid.variables[name] for name in grid.coords if name not in ("time", CRS)},
        attrs=_global_attributes(grid, provenance),
    )
    if CRS in grid.coords:
        dataset[CRS] = grid.variables[CRS]
    return dataset.assign_coords(
        time=("time", forecast_reference_time + timestep * leads, {"standard_name": "time", "long_name": "valid time", "axis": "T"}),
        lead_time=(
            "time",
            (timestep * leads / np.timedelta64(1, "m")).astype(np.float64),
            {"standard_name": "forecast_period", "long_name": "time since the last observed frame", "units": "minutes"},
        ),
        forecast_reference_time=(
            (),
            forecast_reference_time,
            {"standard_name": "forecast_reference_time", "long_name": "time of the last observed frame"},
        ),
    )


def write_forecast(dataset: xr.Dataset, path: str | Path) -> None:
    """Write the file whole or not at all, compressed. Errors: CannotCreateError, InputOutputError."""
    time = {"units": f"minutes since {EPOCH}", "calendar": "standard", "dtype": "float64", "_FillValue": None}
    height, width = dataset[RATE].shape[1:]
    encoding: dict[str, dict[str, Any]] = {
        name: {"_FillValue": None, "coordinates": None} for name in dataset.variables if name not in (RATE, "time")
    }
    encoding |= {"time": time, "forecast_reference_time": time}
    encoding["lead_time"] = {"_FillValue": None, "dtype": "float64"}
    auxiliary = [str(name) for name in dataset.coords if name not in dataset.dims]
    encoding[RATE] = {
        "zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (1, height, width),
        "dtype": "float32", "_FillValue": np.float32(np.nan), "coordinates": " ".join(sorted(auxiliary)),
    }  # fmt: skip
    with written_whole(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=encoding, unlimited_dims=["time"])


def open_forecast(path: str | Path) -> xr.Dataset:
    """Read a forecast file whole into memory. Errors: MissingInputError, DataError."""
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such forecast file; give one that 'nowcast predict' wrote.")
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_timedelta=False) as dataset:
            forecast = dataset.load()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: not a readable NetCDF file ({error}).") from error
    missing = {RATE, "forecast_reference_time", "lead_time"} - set(forecast.variables)
    if missing:
        raise DataError(f"{path}: no forecast file, it lacks {', '.join(sorted(missing))}; give one that 'nowcast predict' wrote.")
    return forecast


def find_forecasts(path: str) -> list[Path]:
    """The forecast files that a path, a folder or a glob means, by name. Errors: MissingInputError where there are none."""
    whole = Path(path).expanduser()
    paths = sorted(whole.glob("*.nc")) if whole.is_dir() else [Path(name) for name in sorted(glob.glob(str(whole)))]
    if not paths:
        raise MissingInputError(f"{path}: no forecast file there; give a file, a folder or a quoted glob of what 'nowcast predict' wrote.")
    return paths


def _rate_attributes(grid: xr.Dataset) -> dict[str, str]:
    attributes = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "forecast precipitation rate",
        "units": "mm h-1",
    }
    return {**attributes, "grid_mapping": CRS} if CRS in grid.coords else attributes


def _global_attributes(grid: xr.Dataset, provenance: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    plain = {key: value if isinstance(value, str) else json.dumps(value) for key, value in provenance.items()}
    return {
        "Conventions": "CF-1.11",
        "title": "Precipitation forecast",
        "institution": grid.attrs.get("institution", "not stated"),
        "source": f"nowcast {__version__}, encoder-forecaster ConvLSTM",
        "history": f"{now} nowcast predict",
        "references": "Shi et al. 2015, https://arxiv.org/abs/1506.04214",
        **plain,
    }
