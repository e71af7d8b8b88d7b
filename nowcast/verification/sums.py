"""The sums that scores are made of, of n parts or groups of cases at once."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from nowcast.verification.counts import Counts
from nowcast.verification.scores import ERROR_SUMS, Scores, Sums, ratio
from nowcast.verification.scoring import FRACTIONS, TABLE

LEAD_AXIS = 2
_TAKEN_OVER = (
    *ERROR_SUMS, "frames", "ssim", *FRACTIONS, "forecast_power", "observed_power", "member_power",
    "probability", "rank", "crps_error", "crps_pixels",
)  # fmt: skip


def sums_of(weighed: xr.Dataset) -> dict[str, NDArray[Any]]:
    """Counts of n parts or groups, as `weigh` gives them → what scores are made of."""
    joint = torch.from_numpy(weighed["joint"].values)
    counts = Counts(tuple(weighed["threshold"].values.tolist()), joint)
    sums = {name: getattr(counts, name).numpy() for name in (*TABLE, "pixels")}
    sums["members"] = weighed["members"].values[None, :, None]
    sums |= {name: weighed[name].values for name in _TAKEN_OVER if name in weighed}
    if "member_power" in sums:  # 0 of probabilities, which have no members
        has_members = sums["rank"].any((-1, -2))[..., None] if "rank" in sums else False
        sums["member_power"] = np.where(has_members, sums["member_power"], np.nan)
    if "crps_spread" in weighed:
        sums |= _spread_of_pairs(
            weighed["crps_spread"].values, weighed["members"].values[None, :, None]
        )
    return sums | {
        name: sums[name].astype(np.float64) for name in FRACTIONS if name in sums
    }  # lead times together may exceed int64


def pooled(sums: Sums) -> dict[str, NDArray[Any]]:
    """The same with all lead times added into one."""
    return {
        name: values if name == "members" else values.sum(LEAD_AXIS, keepdims=True)
        for name, values in sums.items()
    }


def mean_over_leads(by_lead: Scores) -> Scores:
    """(n, forecast, lead_time, …) → (n, forecast, …): the mean of what is defined; NaN where
    nothing is.
    """
    return ratio(np.nansum(by_lead, axis=LEAD_AXIS), (~np.isnan(by_lead)).sum(axis=LEAD_AXIS))


def _spread_of_pairs(spread: NDArray[Any], members: NDArray[Any]) -> dict[str, Scores]:
    """Σ_{i<j} |x_i − x_j| by the number of pairs, plain and fair, which can be added over
    ensembles of other sizes.
    """
    m = members.astype(np.float64)
    return {"crps_pairs": spread / m**2, "crps_pairs_fair": ratio(spread, m * (m - 1))}
