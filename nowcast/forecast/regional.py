"""The forecast of a region of the grid by a model trained on that region."""

from collections.abc import Callable

from torch import Tensor

from nowcast.forecast.forecaster import Forecaster, turned
from nowcast.model.stacks import Local
from nowcast.probability.forecast import Forecast
from nowcast.radar.placing.regions import Region


def seen_for(forecaster: Forecaster, region: Region, size: tuple[int, int]) -> Region:
    """Return the part of a grid (h, w) that is computed for the forecast of a region.

    In the fixed frame it is the region and the surrounding pixels that its forecast depends on, so
    that rain coming in from outside is seen. In the moving frame it is the whole grid: motion is
    estimated there, and rain comes from afar. A model for one grid size only sees its region.
    """
    model = forecaster.model
    if not isinstance(model, Local):
        return region
    if forecaster.moving:
        return Region(slice(0, size[0]), slice(0, size[1]))
    return region.widened(forecaster.halo(), model.multiple, size)


def forecast_within(
    forecaster: Forecaster, region: Region, past: Tensor, make: Callable[[Tensor], Forecast]
) -> Forecast:
    """Return the forecast of a region, (b, lead, …, h, w) of its pixels.

    Args:
        forecaster: of the model.
        region: of the grid, as the model sees that.
        past: the raw window (b, t, 1 + k, H, W) of the whole grid.
        make: forecasts a part of it.
    """
    seen = seen_for(forecaster, region, (int(past.shape[-2]), int(past.shape[-1])))
    made = make(past[(..., *seen)])
    inner = region.within(seen)
    return turned(made, lambda field: field[(..., *inner)])
