"""Places on the page of a forecast: where they lie, their rates, and what is said of them."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.places.curve import PlaceForecast, curve_at
from nowcast.places.pixels import Index, pixels_of
from nowcast.places.place import Place
from nowcast.report.page_places import PagePlace


def places_on_page(
    forecast: xr.Dataset, observed: NDArray[np.float32], places: Sequence[Place], *, turned: bool
) -> list[PagePlace]:
    """Return the places as the page shows them.

    Args:
        forecast: a forecast dataset.
        observed: (n, y, x) in mm/h, NaN = missing, as the forecast has its rows.
        places: where.
        turned: whether the page shows the last row on top.

    Raises:
        DataError: the forecast does not say where its pixels are.
    """
    if not places:
        return []
    pixels, height = pixels_of(forecast), observed.shape[1]
    on_page = []
    for place in places:
        centre = pixels.nearest(place.longitude, place.latitude)
        row, column = (None, None) if centre is None else centre
        curve = curve_at(forecast, place, pixels)
        chance = next(iter(curve.probability.items()), None)
        quantiles = curve.quantiles or {}
        on_page.append(
            PagePlace(
                name=place.name,
                sentence=_sentence(curve),
                column=column,
                row=height - 1 - row if turned and row is not None else row,
                rates=np.concatenate([_largest(observed, pixels.of(place)), curve.rate]),
                threshold=chance[0] if chance else None,
                chance=chance[1] if chance else None,
                low=quantiles.get(0.1),
                high=quantiles.get(0.9),
            )
        )
    return on_page


def _largest(observed: NDArray[np.float32], index: Index | None) -> NDArray[np.floating]:
    """The largest rate (n,) of the pixels of a place; NaN where one is missing, or outside."""
    if index is None:
        return np.full(len(observed), np.nan)
    largest: NDArray[np.floating] = observed[:, index[0], index[1]].max(axis=1)
    return largest


def _sentence(curve: PlaceForecast) -> str:
    return "" if curve.status == "covered" else f"{curve.status} by the radar"
