"""Probabilities in the forecast file, with the names and attributes of IMPROVER (Met Office).

    probability(time, threshold, y, x)     int8, the probability that the rate is at or above
                                           the threshold: 0.5 + 0.005 n, n = -100 … 100;
                                           -128 = missing
    threshold(threshold)                   mm h-1, rising

The long name is `probability_of_lwe_precipitation_rate_above_threshold`; the threshold has the
standard name of the rate, and `spp__relative_to_threshold` says that equality counts as reached.
The step of 0.005 keeps the file small: a probability below 0.0025 is written as 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.radar.grid import DIMS, UNITS

PROBABILITY, THRESHOLD = "probability", "threshold"
PROBABILITY_DIMS = (DIMS[0], THRESHOLD, *DIMS[1:])
STEP, MIDDLE = np.float32(0.005), np.float32(0.5)
"""The resolution of a probability in a file, and the probability that is stored as 0."""
_MISSING = np.int8(-128)


@dataclass(frozen=True, eq=False)
class FileProbabilities:
    """The probability that the rate is at or above each of some thresholds.

    Args:
        thresholds: (k,) in mm/h, rising.
        values: (lead, k, y, x) from 0 to 1, NaN = missing.
    """

    thresholds: tuple[float, ...]
    values: NDArray[np.float32]


def probabilities_of(forecast: xr.Dataset) -> FileProbabilities | None:
    """Return the probabilities of a forecast dataset; None if it has none."""
    if PROBABILITY not in forecast:
        return None
    return FileProbabilities(
        tuple(forecast[THRESHOLD].values.tolist()), forecast[PROBABILITY].values
    )


def probability_variable(probabilities: FileProbabilities) -> xr.Variable:
    """Build `probability` (time, threshold, y, x), rounded as in a file."""
    values = rounded_probability(probabilities.values)
    about = {"long_name": "probability_of_lwe_precipitation_rate_above_threshold", "units": "1"}
    return xr.Variable(PROBABILITY_DIMS, values, about)


def rounded_probability(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities rounded to steps of 0.005, as in a file."""
    rounded: NDArray[np.float32] = np.rint((values - MIDDLE) / STEP).astype(np.float32)
    return rounded * STEP + MIDDLE


def threshold_variable(probabilities: FileProbabilities) -> xr.Variable:
    """Build the coordinate `threshold` in mm h-1."""
    about = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "threshold of the rate",
        "units": UNITS,
        "spp__relative_to_threshold": "greater_than_or_equal_to",
    }
    return xr.Variable(THRESHOLD, np.asarray(probabilities.thresholds, np.float64), about)


def probability_encoding(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the encoding of (time, threshold, y, x), apart from compression and checksums."""
    return {
        "dtype": "int8",
        "scale_factor": STEP,
        "add_offset": MIDDLE,
        "_FillValue": _MISSING,
        "chunksizes": (1, 1, *shape[-2:]),
    }


def probability_problem(forecast: xr.Dataset) -> str:
    """Return what is wrong with the probabilities of a dataset; "" if nothing is or it has none."""
    if PROBABILITY not in forecast.variables:
        return ""
    if forecast[PROBABILITY].dims != PROBABILITY_DIMS:
        dims = forecast[PROBABILITY].dims
        return f"{PROBABILITY!r} has the dimensions {dims}, not {PROBABILITY_DIMS}"
    if THRESHOLD not in forecast.variables:
        return f"it has no {THRESHOLD!r}"
    thresholds, values = forecast[THRESHOLD], forecast[PROBABILITY].values
    if thresholds.attrs.get("units") != UNITS:
        return f"{THRESHOLD!r} is not in {UNITS!r}"
    numbers = thresholds.values
    if numbers.dtype.kind != "f" or not (np.isfinite(numbers) & (numbers > 0)).all():
        return f"{THRESHOLD!r} holds no rates above 0"
    if not numbers.size or (np.diff(numbers) <= 0).any():
        return f"{THRESHOLD!r} does not rise"
    if values.dtype.kind != "f" or (values < 0).any() or (values > 1).any():
        return f"{PROBABILITY!r} holds values outside of 0 to 1"
    return ""
