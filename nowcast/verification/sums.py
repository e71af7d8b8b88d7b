"""The sums that scores are computed from, for n parts or groups of cases at once."""

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
    """Turn counts of n parts or groups, from `weigh`, into the sums of scores."""
    joint = torch.from_numpy(weighed["joint"].values)
    counts = Counts(tuple(weighed["threshold"].values.tolist()), joint)
    sums = {name: getattr(counts, name).numpy() for name in (*TABLE, "pixels")}
    sums["members"] = weighed["members"].values[None, :, None]
    sums |= {name: weighed[name].values for name in _TAKEN_OVER if name in weighed}
    if "member_power" in sums:  # it is 0 for probabilities, which have no members
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
    """Return the sums with all lead times added into one."""
    return {
        name: values if name == "members" else values.sum(LEAD_AXIS, keepdims=True)
        for name, values in sums.items()
    }


def mean_over_leads(by_lead: Scores) -> Scores:
    """(n, forecast, lead_time, …) → (n, forecast, …): the mean over defined values; NaN if there
    are none.
    """
    return ratio(np.nansum(by_lead, axis=LEAD_AXIS), (~np.isnan(by_lead)).sum(axis=LEAD_AXIS))


def _spread_of_pairs(spread: NDArray[Any], members: NDArray[Any]) -> dict[str, Scores]:
    """Return Σ_{i<j} |x_i − x_j| over the number of pairs, plain and fair; these can be added over
    ensembles of different sizes.
    """
    m = members.astype(np.float64)
    return {"crps_pairs": spread / m**2, "crps_pairs_fair": ratio(spread, m * (m - 1))}
