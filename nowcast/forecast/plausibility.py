"""Check whether a forecast may be published."""

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import InternalError

WET_RATE = 0.1
"""mm/h; a pixel is wet from this rate on."""
LITTLE = 0.02
"""A wet fraction that counts as none. It is added to both fractions, so that the first shower of a
dry day may grow.
"""


def wet_share(rates: NDArray[np.float32]) -> float:
    """Return the fraction of measured pixels at or above 0.1 mm/h; NaN if none is measured."""
    measured = np.isfinite(rates)
    return float((rates[measured] >= WET_RATE).mean()) if measured.any() else float("nan")


def refuse_implausible(
    rates: NDArray[np.float32],
    newest: NDArray[np.float32],
    max_rate: float,
    max_wet_ratio: float,
    known: NDArray[np.bool_] | None = None,
) -> None:
    """Refuse a forecast with impossible rates or an implausible wet fraction.

    rates: (lead, h, w) forecast, or (lead, m, h, w) for an ensemble; newest: (h, w) observed; both
    in mm/h, NaN = missing.
    known: (h, w) where the forecast must be a number; None: anywhere, but at least one pixel at the
    first lead time.
    max_wet_ratio: the limit of (w_k + 0.02) / (w_0 + 0.02), where w_k is the wet fraction at lead
    time k (for an ensemble the mean over its members) and w_0 that of the newest frame. At the
    first lead time the ratio must also be at least 1 / max_wet_ratio: rain may end later, but not
    at once.

    Errors: InternalError if a rate is negative, infinite or above `max_rate`, if it is NaN although
    it should be a number, or if the wet fraction is implausible.
    """
    problem = _of_rates(rates, max_rate, known) or _of_wet_shares(rates, newest, max_wet_ratio)
    if problem:
        raise InternalError(
            f"the forecast {problem}, so it is not published; use another checkpoint, or another"
            " method."
        )


def _of_rates(rates: NDArray[np.float32], max_rate: float, known: NDArray[np.bool_] | None) -> str:
    """Return what is wrong with the values themselves; empty if nothing is."""
    if np.isinf(rates).any():
        return "holds infinite rates"
    unknown = np.isnan(rates)
    if known is not None and unknown[..., known].any():
        return f"is missing at {int(unknown[..., known].sum())} pixels that its input covers"
    if unknown[0].all():
        return "is missing everywhere, even at its first lead time"
    lowest, highest = np.nanmin(rates), np.nanmax(rates)
    if lowest < 0:
        return f"holds negative rates, down to {lowest:g} mm/h"
    return f"holds {highest:g} mm/h, above data.max_rate={max_rate:g}" if highest > max_rate else ""


def _of_wet_shares(
    rates: NDArray[np.float32], newest: NDArray[np.float32], max_wet_ratio: float
) -> str:
    """Return what is wrong with the wet fraction; empty if nothing is, or if it cannot be compared
    with the newest frame.
    """
    before = wet_share(newest)
    after = [
        np.mean([wet_share(frame) for frame in lead.reshape(-1, *newest.shape)]) for lead in rates
    ]
    ratios = (np.array(after) + LITTLE) / (before + LITTLE)
    if (ratios > max_wet_ratio).any():
        lead, beyond = (
            int((ratios > max_wet_ratio).argmax()),
            f"more than max_wet_ratio={max_wet_ratio:g} times as much",
        )
    elif ratios[0] < 1 / max_wet_ratio:
        lead, beyond = 0, f"less than 1/max_wet_ratio of it, max_wet_ratio={max_wet_ratio:g}"
    else:
        return ""
    return (
        f"is wet on {after[lead]:.1%} of its pixels at lead time {lead + 1}, the newest frame on"
        f" {before:.1%}: {beyond}"
    )
