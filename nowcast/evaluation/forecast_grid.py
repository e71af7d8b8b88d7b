"""Whether a forecast file lies on the grid of the observations, and in the same order of rows
and columns.
"""

from pathlib import Path

import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.grid import LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import grid_differs

_ORDERS = ((), ("y",), ("x",), ("y", "x"))


def onto_grid(path: Path, forecast: xr.Dataset, grid: xr.Dataset) -> tuple[xr.Dataset, str]:
    """The forecast with its rows and columns in the order of the observations, and a remark where
    it was turned, or nobody can tell.

    Errors: DataError where its grid is another.
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
            f"forecast files have their {which} in the other order than the observations, and were"
            " turned"
        )
    shared = set(forecast.coords) & set(grid.coords)
    if {LATITUDE, LONGITUDE} <= shared or {"y", "x"} <= shared:
        return ""
    return (
        "forecast files and observations do not both say where their pixels lie (x and y, or"
        " latitude and longitude): scored pixel by pixel in the order of the files, right only if"
        " that is the same"
    )
