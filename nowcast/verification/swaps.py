"""Which difference of two forecasts is more than chance: a paired test that swaps them day by day.

If two forecasts are equally good, it is chance which of them is which on a day: swapping them on
any choice of days gives a difference that is as likely as the observed one. The p value is the
share of all choices whose difference is at least as far from 0. For equal forecasts it is at most
0.05 in at most 5 % of cases, however few the days and however skewed the rain. Of six days there
are 2^6 choices, in pairs of opposite sign, so 2/64 is the smallest p; of five it is 2/32, and
nothing is more than chance.

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
"""With fewer blocks no difference is called more than chance, for the smallest p value, 2 /
2^blocks, is above 0.05.
"""
_ROUNDING = 1e-9


class Best(NamedTuple):
    """Which forecast has the best score, and whether it is better than each other one by more
    than chance.
    """

    forecast: str | None
    certain: bool


def swaps_of(groups: int, most: int, seed: int) -> NDArray[np.bool_]:
    """On which groups two forecasts are swapped, (choice, group): first on none; all 2^(groups − 1)
    choices, or `most` drawn ones.

    The first group is never swapped: a choice and its opposite give differences of opposite sign,
    and only the size counts. No choice for a single group, or if `most` is 0.
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
    """The sums of groups (group, …) of two forecasts → those of both after each choice of
    swaps, (choice, 2, …) float64.
    """
    columns = [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in (first, second)]
    taken = swaps.astype(np.float64)
    kept = 1.0 - taken
    both = [kept @ columns[0] + taken @ columns[1], taken @ columns[0] + kept @ columns[1]]
    return np.stack(both, axis=1).reshape(len(swaps), 2, *first.shape[1:])


def p_values(differences: Scores) -> Scores:
    """Differences after each choice of swaps, (choice, …), the first of them as it came → p values
    (…), from 1 / choices to 1.

    A difference that is undefined after a swap counts as no smaller. NaN if the first is undefined,
    or without choices.
    """
    if not len(differences):
        return np.full(differences.shape[1:], np.nan)
    came = np.abs(differences[0])
    smaller = (np.abs(differences) < came * (1 - _ROUNDING)).sum(axis=0)
    return np.where(np.isnan(came), np.nan, 1 - smaller / len(differences))


def significantly_better(scores: xr.Dataset, name: str, **where: Any) -> Best:
    """The forecast whose mean over lead times of a score is nearest to perfect, by
    `scores_dataset`; where: `threshold=0.5`, say.

    It is certain where the p value of its difference to every other forecast is at most 0.05, both
    on the same side of the perfect
    value: which of a bias of 0.9 and one of 1.2 is better, no difference of the two can say. Never
    certain for a single forecast, or without a test. Forecasts without this score do not compete.
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
    """Whether p values are at most 0.05; one that is undefined is not."""
    return np.asarray(p) <= LEVEL + _ROUNDING
