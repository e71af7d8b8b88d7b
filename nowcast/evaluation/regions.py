"""The pixels to score: all, those of a box of degrees, or those of a mask."""

from contextlib import closing

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.factories.windows import require_radar
from nowcast.radar.grid import RATE
from nowcast.radar.placing.cropping import in_box
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.series.fields import open_field


def region_of(config: EvaluateConfig, grid: xr.Dataset | None) -> Tensor | None:
    """Return (h, w) bool; None if all pixels are scored.

    Errors: ConfigError if frames have no place, DataError if no pixel is left; as in_box,
    open_field.
    """
    if config.region is None and config.mask is None:
        return None
    if grid is None:
        raise ConfigError("region, mask: these frames have no place; leave both out.")
    if config.region is not None:
        west, south, east, north = config.region
        where = require_radar(config.data).path
        inside = in_box(place_of_grid(grid), (west, south, east, north), where, "region")
    else:
        inside = _in_mask(config, grid)
    return torch.from_numpy(np.array(np.broadcast_to(inside, grid[RATE].shape[1:])))


def _in_mask(config: EvaluateConfig, grid: xr.Dataset) -> NDArray[np.bool_]:
    path, variable = config.mask, config.mask_variable
    assert path is not None and variable is not None
    with closing(open_field(path, variable, grid)) as field:
        if field.times is not None:
            raise DataError(
                f"{path}: {variable!r} changes with time, but a mask must not; give one without"
                " time."
            )
        values = field.read(0, 1)[0]
    inside: NDArray[np.bool_] = np.nan_to_num(values) != 0
    if not inside.any():
        raise DataError(
            f"{path}: {variable!r} is 0 everywhere, so no pixel would be scored; give another mask."
        )
    return inside
