"""Whether a forecast may be published at all."""

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import InternalError


def wet_share(rates: NDArray[np.float32], wet_rate: float = 0.1) -> float:
    """The share of measured pixels at or above 0.1 mm/h; NaN where there is none."""
    measured = np.isfinite(rates)
    return float((rates[measured] >= wet_rate).mean()) if measured.any() else float("nan")


def refuse_implausible(rates: NDArray[np.float32], newest: NDArray[np.float32], max_rate: float, max_wet_ratio: float) -> None:
    """rates: (lead, …, h, w) forecast, newest: (h, w) observed, both in mm/h, NaN = missing.

    Errors: InternalError where a rate is below 0, infinite or above max_rate.
    """
    if np.isinf(rates).any() or (rates < 0).any() or (rates > max_rate).any():
        raise InternalError("the forecast holds impossible rates, so it is not published; use another checkpoint.")
