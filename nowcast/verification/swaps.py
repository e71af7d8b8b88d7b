"""Significance of the difference of two forecasts: a paired test that swaps them day by day.

If two forecasts are equally good, it is random which of them is which on a day. So swapping them on
any choice of days gives a difference as likely as the observed one. The p value is the fraction of
all choices whose difference is at least as far from 0. For equal forecasts it is at most 0.05 in at
most 5 % of cases, for any number of days and any skewness of rain. Six days have 2^6 choices, in
pairs of opposite sign, so the smallest p is 2/64. Five days have 2/32 at least, so nothing is
significant.

Reference: Hamill 1999, Hypothesis tests for evaluating numerical precipitation forecasts, Weather
and Forecasting 14, 155-167.
    https://doi.org/10.1175/1520-0434(1999)014<0155:HTFENP>2.0.CO;2
"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.verification.intervals import CONFIDENCE
from nowcast.verification.scores import Scores

LEVEL = 1 - CONFIDENCE
LEAST_BLOCKS = 6
"""With fewer blocks no difference is called significant, because the smallest p value, 2 /
2^blocks, is above 0.05.
"""
_ROUNDING = 1e-9


class Best(NamedTuple):
    """The forecast with the best score, and whether it is significantly better than all others."""

    forecast: str | None
    certain: bool


def swaps_of(groups: int, most: int, seed: int) -> NDArray[np.bool_]:
    """Return on which groups two forecasts are swapped, (choice, group): first on none; all
    2^(groups − 1) choices, or `most` random ones.

    The first group is never swapped: a choice and its opposite give differences of opposite sign,
    and only the absolute value counts. No choice for a single group, or if `most` is 0.
    """
    if groups < 2 or most < 1:
        return np.zeros((0, groups), dtype=bool)
    free = groups - 1
    if free < 63 and 2**free <= most:
        bits = (np.arange(2**free)[:, None] >> np.arange(free)) & 1
    else:
        bits = np.random.default_rng([seed, 1]).integers(0, 2, (most, free))
        bits[0] = 0
    return np.concatenate([np.zeros((len(bits), 1), dtype=bool), bits.astype(bool)], axis=1)


def swapped(
    first: NDArray[Any], second: NDArray[Any], swaps: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Turn sums of groups (group, …) of two forecasts into those of both after each choice of
    swaps, (choice, 2, …) float64.
    """
    columns = [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in (first, second)]
    taken = swaps.astype(np.float64)
    kept = 1.0 - taken
    both = [kept @ columns[0] + taken @ columns[1], taken @ columns[0] + kept @ columns[1]]
    return np.stack(both, axis=1).reshape(len(swaps), 2, *first.shape[1:])


def p_values(differences: Scores) -> Scores:
    """Differences after each choice of swaps, (choice, …), the first without any swap → p values
    (…), from 1 / choices to 1.

    A difference that is undefined after a swap counts as at least as large. NaN if the first is
    undefined, or without choices.
    """
    if not len(differences):
        return np.full(differences.shape[1:], np.nan)
    came = np.abs(differences[0])
    smaller = (np.abs(differences) < came * (1 - _ROUNDING)).sum(axis=0)
    return np.where(np.isnan(came), np.nan, 1 - smaller / len(differences))


def significantly_better(scores: xr.Dataset, name: str, **where: Any) -> Best:
    """Return the forecast whose mean over lead times of a score is nearest to perfect, from
    `scores_dataset`; where: a selection such as `threshold=0.5`.

    It is certain if its difference from every other forecast has a p value of at most 0.05, and
    both
    are on the same side of the perfect value: whether a bias of 0.9 or of 1.2 is better does not
    follow from their difference. Never certain for a single forecast, or without a test. Forecasts
    without this score are ignored.
    """
    score = scores[f"{name}_mean"].sel(part="all", **where)
    off = score.values - score.attrs["perfect"]
    defined = ~np.isnan(off)
    if not defined.any():
        return Best(None, False)
    best = int(np.nanargmin(np.abs(off)))
    rivals = defined & (np.arange(off.size) != best)
    beaten = more_than_chance(scores[f"{name}_mean_difference_p"].sel(**where).values[best]) & (
        off * off[best] >= 0
    )
    return Best(str(scores["forecast"].values[best]), bool(rivals.any() and beaten[rivals].all()))


def more_than_chance(p: Any) -> Any:
    """Return whether p values are at most 0.05; False if undefined."""
    return np.asarray(p) <= LEVEL + _ROUNDING
