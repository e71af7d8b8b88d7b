"""Whether a forecast may be published at all."""

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import InternalError

WET_RATE = 0.1
"""mm/h, from which on a pixel is wet."""
LITTLE = 0.02
"""A wet share that is as good as none: added to both shares, so that the first shower of a dry
day may grow.
"""


def wet_share(rates: NDArray[np.float32]) -> float:
    """The share of measured pixels at or above 0.1 mm/h; NaN where there is none."""
    measured = np.isfinite(rates)
    return float((rates[measured] >= WET_RATE).mean()) if measured.any() else float("nan")


def refuse_implausible(
    rates: NDArray[np.float32],
    newest: NDArray[np.float32],
    max_rate: float,
    max_wet_ratio: float,
    known: NDArray[np.bool_] | None = None,
) -> None:
    """rates: (lead, h, w) forecast, or (lead, m, h, w) of an ensemble; newest: (h, w) observed;
    both in mm/h, NaN = missing.

    known: (h, w) where the forecast has to be a number; None: wherever it can, but somewhere at the
    first lead time.
    max_wet_ratio: with w_k the share of wet pixels at lead time k (of an ensemble the mean of its
    members' shares) and w_0 that of the newest frame, (w_k + 0.02) / (w_0 + 0.02) is at most this,
    and at the first lead time at least one in this many: rain may end later, but not at once.

    Errors: InternalError where a rate is below 0, infinite or above `max_rate`, where it is no
    number though it should be one, and where the wet share is as it never is.
    """
    problem = _of_rates(rates, max_rate, known) or _of_wet_shares(rates, newest, max_wet_ratio)
    if problem:
        raise InternalError(
            f"the forecast {problem}, so it is not published; use another checkpoint, or another"
            " method."
        )


def _of_rates(rates: NDArray[np.float32], max_rate: float, known: NDArray[np.bool_] | None) -> str:
    """What is wrong with the values themselves; empty where nothing is."""
    if np.isinf(rates).any():
        return "holds infinite rates"
    unknown = np.isnan(rates)
    if known is not None and unknown[..., known].any():
        return f"is no number at {int(unknown[..., known].sum())} pixels that its input covers"
    if unknown[0].all():
        return "knows nothing, not even at its first lead time"
    lowest, highest = np.nanmin(rates), np.nanmax(rates)
    if lowest < 0:
        return f"holds negative rates, down to {lowest:g} mm/h"
    return f"holds {highest:g} mm/h, above data.max_rate={max_rate:g}" if highest > max_rate else ""


def _of_wet_shares(
    rates: NDArray[np.float32], newest: NDArray[np.float32], max_wet_ratio: float
) -> str:
    """What is wrong with how much of the frames is wet; empty where nothing is, or where there
    is nothing to hold them against.
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
        lead, beyond = 0, f"less than one part in max_wet_ratio={max_wet_ratio:g}"
    else:
        return ""
    return (
        f"is wet on {after[lead]:.1%} of its pixels at lead time {lead + 1} and the newest frame on"
        f" {before:.1%}, {beyond}"
    )
