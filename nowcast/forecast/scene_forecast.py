"""The forecast of a scene as arrays, ready to be written into a file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nowcast.arrays import BoolArray, Float32Array
from nowcast.forecast.file_probability import FileProbabilities

if TYPE_CHECKING:
    from nowcast.probability.forecast import Forecast


@dataclass(frozen=True, eq=False)
class SceneForecast:
    """The forecast of a scene.

    Args:
        rates: (lead, h, w), or (lead, m, h, w) of an ensemble, in mm/h, NaN = missing.
        probabilities: for the same times and pixels; None if the method gives none.
        members: (lead, n, h, w) in mm/h: drawn from the probabilities or, without probabilities,
            the rates of each of several models; None if there are none.
        within: (h, w) where a model forecasts; None means the whole grid.
        remarks: notes for the user, in words.
    """

    rates: Float32Array
    probabilities: FileProbabilities | None = None
    members: Float32Array | None = None
    within: BoolArray | None = None
    remarks: tuple[str, ...] = ()


def scene_forecast(forecast: "Forecast", *, ensemble: bool = False) -> SceneForecast:
    """Return the forecast of one case (1, lead, …) as arrays, on the CPU."""
    rates: Float32Array = forecast.rates[0].float().cpu().numpy()
    probabilities, members = forecast.probabilities, forecast.members
    return SceneForecast(
        rates if ensemble else rates[:, 0],
        None
        if probabilities is None
        else FileProbabilities(
            probabilities.thresholds, np.asarray(probabilities.values[0].float().cpu())
        ),
        None if members is None else members[0].float().cpu().numpy(),
    )
