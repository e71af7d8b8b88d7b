"""Check that a forecast file has the grid of the observations, and put its rows and columns into
the same order.
"""

from pathlib import Path

import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.grid import LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import grid_differs

_ORDERS = ((), ("y",), ("x",), ("y", "x"))


def onto_grid(path: Path, forecast: xr.Dataset, grid: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return the forecast with rows and columns in the order of the observations, and a remark if
    it was flipped or its order is unknown.

    Errors: DataError if its grid differs.
    """
    for axes in _ORDERS:
        turned = forecast.isel({axis: slice(None, None, -1) for axis in axes})
        if not grid_differs(turned, grid):
            return turned, _remark(axes, forecast, grid)
    difference = grid_differs(forecast, grid)
    raise DataError(
        f"{path}: its grid is not that of the observations ({difference}); give observations on the"
        " same grid."
    )


def _remark(turned: tuple[str, ...], forecast: xr.Dataset, grid: xr.Dataset) -> str:
    if turned:
        which = " and ".join({"y": "rows", "x": "columns"}[axis] for axis in turned)
        return (
            f"forecast files have their {which} in the opposite order of the observations, and were"
            " flipped"
        )
    shared = set(forecast.coords) & set(grid.coords)
    if {LATITUDE, LONGITUDE} <= shared or {"y", "x"} <= shared:
        return ""
    return (
        "forecast files and observations do not both give the place of their pixels (x and y, or"
        " latitude and longitude): scored pixel by pixel in the order of the files, which is right"
        " only if their order is the same"
    )
