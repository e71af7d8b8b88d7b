"""Import a forecast file in the way of the importers of pysteps."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.forecast.dataset import LEAD_TIME, open_forecast
from nowcast.forecast.file_members import members_of
from nowcast.radar.grid import RATE
from nowcast.radar.placing.georeference import Place, place_of_grid
from nowcast.radar.placing.north_up import north_up
from nowcast.radar.placing.place import first_row


def import_nowcast_netcdf(
    filename: str | Path, members: bool = False, **_: Any
) -> tuple[NDArray[Any], None, dict[str, Any]]:
    """Read a forecast file that `nowcast predict` wrote.

    Args:
        filename: of the forecast file.
        members: whether to read the members that were drawn from the probabilities.

    {extra_kwargs_doc}

    Returns:
        Rates in mm/h (timesteps, y, x), or (members, timesteps, y, x) for an ensemble, the first
        row in the north; None for the quality; and the metadata of pysteps. These include a
        projection and corners only if the file has a regular grid.

    Raises:
        DataError: if it is not a forecast, or has no members; and as `open_forecast`.
    """
    dataset = open_forecast(filename)
    rates = members_of(dataset) if members else dataset[RATE].values
    if rates is None:
        raise DataError(
            f"{filename}: has no members; forecast with ensemble=20, or leave members out."
        )
    rates, place = _north_up(rates, place_of_grid(dataset))
    wet, leads = rates[rates > 0], dataset[LEAD_TIME].values
    metadata = {
        **place,
        "yorigin": "upper",
        "institution": dataset.attrs.get("institution", ""),
        "unit": "mm/h",
        "transform": None,
        "accutime": float(leads[0] if len(leads) == 1 else leads[1] - leads[0]),
        "zerovalue": 0.0,
        "threshold": float(wet.min()) if wet.size else 0.0,
        "leadtimes": leads,
        "timestamps": dataset["time"].values.astype("datetime64[us]").tolist(),
    }
    return np.array(rates.swapaxes(0, 1) if rates.ndim == 4 else rates), None, metadata


def _north_up(rates: NDArray[Any], place: Place) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return rates (…, y, x) with the first row in the north, and their place in pysteps' terms."""
    grid = north_up(place)
    if grid is None:
        return (rates[..., ::-1, :] if first_row(place) == "south" else rates), {}
    with warnings.catch_warnings(action="ignore"):  # pyproj warns that PROJ texts lose information
        projection = grid.crs.to_proj4()
    corners = dict(zip(("x1", "y1", "x2", "y2"), grid.box, strict=True))
    sizes = dict(zip(("xpixelsize", "ypixelsize"), grid.pixel, strict=True))
    return grid.turned(rates), {
        "projection": projection, "cartesian_unit": grid.unit, **corners, **sizes,
    }  # fmt: skip
