"""Where forecasts are published: whole, once, with `latest.nc` beside them, and old ones removed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.config_predict import PredictConfig
from nowcast.errors import DataError
from nowcast.forecast import open_forecast, write_forecast


def forecast_path(output: str, reference_time: np.datetime64) -> Path:
    """The file of a forecast from this time."""
    return Path(reference_time.astype("datetime64[s]").item().strftime(output)).expanduser()


def output_folder(output: str) -> Path:
    """The folder below which all forecasts are, above the first that is named by a time."""
    parts = Path(output).expanduser().parts[:-1]
    fixed = next((k for k, part in enumerate(parts) if "%" in part), len(parts))
    return Path(*parts[:fixed])


def is_published(path: Path, reference_time: np.datetime64, recipe: Mapping[str, str]) -> bool:
    """Whether `path` is a whole forecast from this time, with the attributes of `recipe`: made in the same way."""
    if not path.is_file():
        return False
    try:
        there = open_forecast(path)
    except DataError:
        return False
    same = there["forecast_reference_time"].values == reference_time
    return bool(same) and all(there.attrs.get(name) == value for name, value in recipe.items())


def publish(forecast: xr.Dataset, path: Path) -> None:
    """Errors: CannotCreateError, InputOutputError."""
    write_forecast(forecast, path)


def tidy_up(config: PredictConfig) -> None:
    """Switch `latest.nc`, and remove what is older than is to be kept."""
