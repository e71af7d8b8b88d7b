"""How sure a score is: intervals from drawing whole days, or whole events, with replacement (block bootstrap).

Pixels of a frame and frames of a day depend on each other, days much less: so what is drawn anew is a day or an event, never a
part of one. All forecasts are scored on the same draws, so that their differences are paired: what made a day hard for both
cancels.

References:
    Künsch 1989, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17, 1217-1241.
        https://doi.org/10.1214/aos/1176347265
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13: percentile intervals. https://doi.org/10.1201/9780429246593
    Hamill 1999, Hypothesis tests for evaluating numerical precipitation forecasts, Weather and Forecasting 14, 155-167: paired
        differences. https://doi.org/10.1175/1520-0434(1999)014<0155:HTFENP>2.0.CO;2
"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import InternalError
from nowcast.verification.parts import days_of, events_of
from nowcast.verification.scores import Scores

CONFIDENCE = 0.95
LEAST_BLOCKS = 6
"""With fewer of them no difference is called more than chance: 5 all favour one of two equal forecasts once in 16 times, 6 in 32."""
FEW_BLOCKS = 10
"""With fewer of them an interval is rough, and as a rule too narrow."""


class Best(NamedTuple):
    """Which forecast has the best score, and whether it is better than each other one by more than chance."""

    forecast: str | None
    certain: bool


def groups_of(counts: xr.Dataset, interval_blocks: str, event_min_wet_share: float, event_gap_hours: int) -> NDArray[np.int64]:
    """What the bootstrap draws, as weights (group, block), 0 or 1: each block is in one group.

    'day': the days, UTC. 'event': the events (`events_of`), each with the drier hours around it, an hour belonging to the event
    nearest to it in time, of two equally near ones to the earlier. So every case that is scored is also drawn, and two groups
    part in the middle of a dry spell, where hours depend on each other least. Without any event all is one group.
    Cases without times are drawn by block.
    """
    hours = counts["block"].values
    if not counts.attrs["timed"]:
        return np.eye(hours.size, dtype=np.int64)
    if interval_blocks not in ("day", "event"):
        raise InternalError(f"interval_blocks is {interval_blocks!r}, neither 'day' nor 'event'.")
    by_event = interval_blocks == "event"
    group = _nearest_event(hours, events_of(counts, event_min_wet_share, event_gap_hours)) if by_event else days_of(hours)
    return np.asarray(group == np.unique(group)[:, None], dtype=np.int64)


def draws_of(groups: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each group is drawn, (resample, group): as many draws as there are groups, with replacement.

    No resample where there are fewer than two groups, of which nothing can be learnt. The same seed gives the same draws.
    """
    if groups < 2:
        return np.zeros((0, groups), dtype=np.int64)
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def percentile_interval(samples: Scores, confidence: float = CONFIDENCE) -> tuple[Scores, Scores]:
    """Scores of resamples, (resample, …) → the bounds between which the middle share `confidence` of them lies, (…) each.

    NaN where more than the share 1 − confidence of the resamples leaves the score undefined: an event that so many of them miss
    lies in too few blocks for an interval; and where there is no resample.
    """
    if not len(samples):
        return np.full(samples.shape[1:], np.nan), np.full(samples.shape[1:], np.nan)
    ordered = np.sort(samples, axis=0)  # NaN comes last
    defined = len(samples) - np.isnan(samples).sum(axis=0)
    enough = defined >= confidence * len(samples)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = (np.where(enough, _quantile(ordered, defined, share), np.nan) for share in tails)
    return low, high


def significantly_better(scores: xr.Dataset, name: str, **where: Any) -> Best:
    """The forecast whose mean over lead times of a score is nearest to perfect, by `scores_dataset`; where: `threshold=0.5`, say.

    It is certain where the interval of the paired difference to every other forecast excludes 0, both on the same side of the
    perfect value: which of a bias of 0.9 and one of 1.2 is better, no difference of the two can say. Never certain for a single
    forecast, without intervals, where one cannot be had, or with fewer than `LEAST_BLOCKS`. Forecasts without this score do not
    compete.
    """
    score = scores[f"{name}_mean"].sel(part="all", **where)
    off = score.values - score.attrs["perfect"]
    defined = ~np.isnan(off)
    if not defined.any():
        return Best(None, False)
    best = int(np.nanargmin(np.abs(off)))
    rivals = defined & (np.arange(off.size) != best)
    low, high = (scores[f"{name}_mean_difference_{bound}"].sel(**where).values[best] for bound in ("low", "high"))
    beaten = ((low > 0) | (high < 0)) & (off * off[best] >= 0)
    certain = scores.attrs["blocks"] >= LEAST_BLOCKS and rivals.any() and beaten[rivals].all()
    return Best(str(scores["forecast"].values[best]), bool(certain))


def _nearest_event(hours: NDArray[np.datetime64], events: list[tuple[np.datetime64, np.datetime64]]) -> NDArray[np.intp]:
    """The number of the event nearest to each hour; 0 for all where there is none."""
    if not events:
        return np.zeros(hours.size, dtype=np.intp)
    first, last = np.array(events).T
    away = np.maximum(first[:, None] - hours, hours - last[:, None])  # negative within
    return np.asarray(away.argmin(axis=0))


def _quantile(ordered: Scores, defined: NDArray[Any], share: float) -> Scores:
    """By linear interpolation between the `defined` first of (resample, …), which are in order."""
    position = share * np.maximum(defined - 1, 0)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(defined - 1, 0))
    left, right = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (below, above))
    between: Scores = left + (position - below) * (right - left)
    return between
