"""The scores that reports show, over sums (n, forecast, lead_time, …), for n parts or n draws
of a bootstrap at once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from nowcast.verification import probabilistic
from nowcast.verification.continuous import ERROR_SUMS
from nowcast.verification.counts import Counts
from nowcast.verification.parts import weighted_sum
from nowcast.verification.scores import (
    CATEGORICAL,
    CONTINUOUS,
    Contingency,
    Score,
    Scores,
    fss,
    ratio,
)

Sums = Mapping[str, NDArray[Any]]
"""By name, (n, forecast, lead_time, …); `members`, which is no sum, (1, forecast, 1)."""
LEAD_AXIS = 2
TABLE = ("hits", "false_alarms", "misses", "correct_negatives")
_FRACTIONS = ("fss_difference", "fss_reference")
_OF_ENSEMBLES = ("probability", "members")
_TAKEN_OVER = (
    *ERROR_SUMS, "frames", "ssim", *_FRACTIONS, "forecast_power", "observed_power", "probability",
    "rank", "crps_error",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A score as it stands in a dataset of scores."""

    function: Callable[[Sums], Scores]
    """Sums → (n, forecast, lead_time, …)."""
    needs: tuple[str, ...]
    """The sums that it is made of."""
    dims: tuple[str, ...]
    """What follows lead_time."""
    long_name: str
    units: str
    perfect: float | None
    range: tuple[float, float]
    """Lowest and highest value that the score can have."""


def sums_of(weighed: xr.Dataset) -> dict[str, NDArray[Any]]:
    """Counts of n parts or groups, as `weigh` gives them → what scores are made of."""
    joint = torch.from_numpy(weighed["joint"].values)
    counts = Counts(tuple(weighed["threshold"].values.tolist()), joint)
    sums = {name: getattr(counts, name).numpy() for name in (*TABLE, "pixels")}
    sums["members"] = weighed["members"].values[None, :, None]
    sums |= {name: weighed[name].values for name in _TAKEN_OVER if name in weighed}
    if "crps_spread" in weighed:
        sums |= _spread_of_pairs(
            weighed["crps_spread"].values, weighed["members"].values[None, :, None]
        )
    return sums | {
        name: sums[name].astype(np.float64) for name in _FRACTIONS if name in sums
    }  # lead times together may exceed int64


def pooled(sums: Sums) -> dict[str, NDArray[Any]]:
    """The same with all lead times added into one."""
    return {
        name: values if name == "members" else values.sum(LEAD_AXIS, keepdims=True)
        for name, values in sums.items()
    }


def drawn(sums: Sums, draws: NDArray[Any], needs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """What is needed of the sums of groups, (group, …) → of draws, (n, …) float64; draws (n,
    group): how often each came.
    """
    weights = draws.astype(np.float64)
    some = {name: sums[name] for name in needs}
    for name in some.keys() - {"members"}:
        columns = sums[name].reshape(len(sums[name]), -1)
        some[name] = weighted_sum(weights, columns).reshape(-1, *sums[name].shape[1:])
    return some


def mean_over_leads(by_lead: Scores) -> Scores:
    """(n, forecast, lead_time, …) → (n, forecast, …): the mean of what is defined; NaN where
    nothing is.
    """
    return ratio(np.nansum(by_lead, axis=LEAD_AXIS), (~np.isnan(by_lead)).sum(axis=LEAD_AXIS))


def scores_of(sums: Sums) -> dict[str, Shown]:
    """The scores that can be made of these sums, by name."""
    return {name: score for name, score in _SCORES.items() if set(score.needs) <= set(sums)}


def _categorical(score: Score) -> Shown:
    def function(sums: Sums) -> Scores:
        return score.function(Contingency(*[sums[name] for name in TABLE]))

    return Shown(
        function, TABLE, ("threshold",), score.long_name, score.units, score.perfect, score.range
    )


def _continuous(score: Score) -> Shown:
    return Shown(
        score.function,
        (*ERROR_SUMS, "pixels", "frames"),
        (),
        score.long_name,
        score.units,
        score.perfect,
        score.range,
    )


def _ssim(sums: Sums) -> Scores:
    """Mean structural similarity of a frame: Σ SSIM / frames."""
    return ratio(sums["ssim"], sums["frames"])


def _spread_of_pairs(spread: NDArray[Any], members: NDArray[Any]) -> dict[str, Scores]:
    """Σ_{i<j} |x_i − x_j| by the number of pairs, plain and fair, which can be added over
    ensembles of other sizes.
    """
    m = members.astype(np.float64)
    return {"crps_pairs": spread / m**2, "crps_pairs_fair": ratio(spread, m * (m - 1))}


def _crps(pairs: str, long_name: str, lowest: float) -> Shown:
    def function(sums: Sums) -> Scores:
        return probabilistic.crps(sums["crps_error"], sums[pairs], sums["pixels"], 1)

    return Shown(
        function, ("crps_error", pairs, "pixels"), (), long_name, "mm h-1", 0.0, (lowest, math.inf)
    )


def _brier(function: Callable[..., Scores], long_name: str, perfect: float | None) -> Shown:
    def of_members(sums: Sums) -> Scores:
        return function(sums["probability"], sums["members"][..., None])

    return Shown(of_members, _OF_ENSEMBLES, ("threshold",), long_name, "1", perfect, (0.0, 1.0))


_SCORES = {
    **{name: _categorical(score) for name, score in CATEGORICAL.items()},
    **{name: _continuous(score) for name, score in CONTINUOUS.items()},
    "ssim": Shown(_ssim, ("ssim", "frames"), (), "structural similarity of a frame", "1", 1.0,
    (-1.0, 1.0)), "fss": Shown(
        lambda sums: fss(*[sums[name] for name in _FRACTIONS]),
        _FRACTIONS, ("threshold", "scale"), "fractions skill score", "1", 1.0, (0.0, 1.0),
    ),
    "crps": _crps("crps_pairs", "continuous ranked probability score", 0.0),
    "crps_fair": _crps("crps_pairs_fair",
    "continuous ranked probability score, fair to ensembles of any size", -math.inf),
    "brier": _brier(probabilistic.brier, "Brier score", 0.0),
    "brier_reliability": _brier(probabilistic.brier_reliability,
    "reliability part of the Brier score", 0.0), "brier_resolution": _brier(lambda sums,
    _: probabilistic.brier_resolution(sums), "resolution part of the Brier score", None),
    "brier_uncertainty": _brier(lambda sums, _: probabilistic.brier_uncertainty(sums),
    "uncertainty in the Brier score", None),
}  # fmt: skip
