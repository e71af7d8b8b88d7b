"""Which pixels are scored: all, those of a box of degrees, or those of a mask."""

from contextlib import closing

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nowcast.config import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.radar.cropping import degrees_of
from nowcast.radar.fields import open_field
from nowcast.radar.grid import RATE


def region_of(config: EvaluateConfig, grid: xr.Dataset | None) -> Tensor | None:
    """(h, w) bool; None where all pixels are scored. Errors: ConfigError, DataError where there is none; as open_field."""
    if config.region is None and config.mask is None:
        return None
    if grid is None:
        raise ConfigError("region, mask: these frames have no place; leave both out.")
    inside = _in_box(config.region, grid, config.data.path) if config.region is not None else _in_mask(config, grid)
    shape = grid[RATE].shape[1:]
    return torch.from_numpy(np.array(np.broadcast_to(inside, shape)))


def _in_box(box: list[float], grid: xr.Dataset, where: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    west, south, east, north = box
    longitude, latitude = degrees_of({str(name): one.variable for name, one in grid.coords.items()}, where)
    inside = ((longitude - west) % 360.0 <= east - west) & (latitude >= south) & (latitude <= north)
    if not inside.any():
        reach = f"{np.nanmin(longitude):.2f} to {np.nanmax(longitude):.2f} E, {np.nanmin(latitude):.2f} to {np.nanmax(latitude):.2f} N"
        raise DataError(f"region: no pixel of {where} lies in {list(box)}; its pixels lie from {reach}.")
    return inside


def _in_mask(config: EvaluateConfig, grid: xr.Dataset) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    path, variable = config.mask, config.mask_variable
    assert path is not None and variable is not None
    with closing(open_field(path, variable, grid)) as field:
        if field.times is not None:
            raise DataError(f"{path}: {variable!r} changes with time, and a mask does not; give one without time.")
        values = field.read(0, 1)[0]
    inside = np.nan_to_num(values) != 0
    if not inside.any():
        raise DataError(f"{path}: {variable!r} is 0 everywhere, so no pixel would be scored; give another mask.")
    return np.asarray(inside)
