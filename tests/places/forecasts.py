"""Small forecasts whose answers can be worked out by hand."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from nowcast.forecast.dataset import build_forecast
from nowcast.forecast.file_members import MEMBER_RATE
from nowcast.forecast.file_probability import FileProbabilities

NOON = np.datetime64("2024-06-02T12:00", "ns")
STEP = np.timedelta64(5, "m")
LATITUDES, LONGITUDES = np.array([51.0, 50.9, 50.8]), np.array([10.0, 10.1, 10.2, 10.3])
HERE = (50.9, 10.1)
"""Latitude and longitude of the pixel in row 1 and column 1."""


def degree_grid(flip: bool = False) -> xr.Dataset:
    """A grid (3, 4) of a tenth of a degree, its first row in the north."""
    latitude, longitude = np.meshgrid(LATITUDES, LONGITUDES, indexing="ij")
    rows = slice(None, None, -1) if flip else slice(None)
    place = {"latitude": (("y", "x"), latitude[rows]), "longitude": (("y", "x"), longitude[rows])}
    return xr.Dataset(coords=place)


def forecast_of(
    here: Sequence[float],
    probabilities: dict[float, Sequence[float]] | None = None,
    elsewhere: float = 0.0,
    step: np.timedelta64 = STEP,
) -> xr.Dataset:
    """A forecast with these rates, and probabilities by threshold, at the pixel of HERE; another
    rate, and probability 0, elsewhere.
    """
    rates = np.full((len(here), 3, 4), elsewhere, np.float32)
    rates[:, 1, 1] = here
    given = None
    if probabilities is not None:
        values = np.zeros((len(here), len(probabilities), 3, 4), np.float32)
        values[:, :, 1, 1] = np.array(list(probabilities.values())).T
        given = FileProbabilities(tuple(probabilities), values)
    return build_forecast(rates, degree_grid(), NOON, step, {}, given)


def with_members(forecast: xr.Dataset, members: ArrayLike) -> xr.Dataset:
    """The forecast with members (lead, m, y, x) in mm/h."""
    dims = ("time", "realization", "y", "x")
    return forecast.assign({MEMBER_RATE: (dims, np.asarray(members, np.float32))})
