"""Places on the page of a forecast: their pixels, rates and answers."""

from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.places.answers import answers_of
from nowcast.places.curve import PlaceForecast, curve_at, largest
from nowcast.places.pixels import Pixels, pixels_of
from nowcast.places.place import Place
from nowcast.places.words import in_words
from nowcast.report.page_places import PagePlace


def places_on_page(
    forecast: xr.Dataset,
    observed: NDArray[np.float32],
    places: Sequence[Place],
    zone: tzinfo,
    *,
    turned: bool,
) -> list[PagePlace]:
    """Return the places as the page shows them.

    Args:
        forecast: a forecast dataset.
        observed: (n, y, x) in mm/h, NaN = missing, with rows in the order of the forecast.
        places: the places.
        zone: time zone of their answers.
        turned: whether the page shows the last row at the top.

    Raises:
        DataError: if the forecast does not give the place of its pixels.
    """
    if not places:
        return []
    pixels, height = pixels_of(forecast), observed.shape[1] if turned else None
    return [
        _on_page(curve_at(forecast, place, pixels), observed, pixels, zone, height)
        for place in places
    ]


def _on_page(
    curve: PlaceForecast,
    observed: NDArray[np.float32],
    pixels: Pixels,
    zone: tzinfo,
    height: int | None,
) -> PagePlace:
    """Return one place; height: of the grid, if the page shows its last row at the top."""
    place = curve.place
    row, column = pixels.nearest(place.longitude, place.latitude) or (None, None)
    index = pixels.of(place)
    seen = np.full(len(observed), np.nan)
    if index is not None:
        seen = largest(observed[:, index[0], index[1]].astype(float))
    threshold, chance = next(iter(curve.probability.items()), (None, None))
    quantiles = curve.quantiles or {}
    return PagePlace(
        name=place.name,
        sentence=in_words(answers_of(curve, float(seen[-1])), zone),
        column=column,
        row=height - 1 - row if height is not None and row is not None else row,
        rates=np.concatenate([seen, curve.rate]),
        threshold=threshold,
        chance=chance,
        low=quantiles.get(0.1),
        high=quantiles.get(0.9),
    )
