"""The hours that form a part of the verification (a day, an event, an hour of the day, …), and sums
of counts over parts.

A part is a row of weights over the hourly blocks of a counts dataset; its counts are the weighted
sum over these blocks.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import InternalError
from nowcast.verification.scores import ratio

WET_SHARE_CLASSES = (0, 1, 5, 10, 20, 40, 100)
"""Limits of the classes of hours by observed wet fraction in percent: from the lower, included, to
the upper, excluded; 100 is in the last.
"""
_HOUR = np.timedelta64(1, "h")
_NUMBERS_AT_ONCE = 2**22  # numbers to copy at once: limits the memory
_NO_SUM = ("minutes",)  # bits that mark the minutes with a case

Hours = NDArray[np.datetime64]
Selected = NDArray[np.bool_]


def weigh(counts: xr.Dataset, weights: NDArray[Any], dim: str = "part") -> xr.Dataset:
    """Sum over blocks with weights (n, block) everything that has the dimension block; `dim`
    becomes the first dimension.

    Integer counts with integer weights give exact int64, all else float64. Variables without blocks
    are passed on. The minutes with cases are left out, because they are bits and not a sum.

    Errors: InternalError if the weights do not match the blocks.
    """
    if weights.ndim != 2 or weights.shape[1] != counts.sizes["block"]:
        raise InternalError(
            f"weights of shape {weights.shape} do not match {counts.sizes['block']} blocks."
        )
    weighed = counts.drop_dims("block")
    for name, variable in counts.variables.items():
        if name in counts.data_vars and name not in _NO_SUM and "block" in variable.dims:
            by_block = variable.transpose("block", ...)
            sums = weighted_sum(weights, by_block.values.reshape(weights.shape[1], -1))
            weighed[name] = xr.Variable(
                (dim, *by_block.dims[1:]), sums.reshape(-1, *by_block.shape[1:]), variable.attrs
            )
    return weighed


def weighted_sum(weights: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """weights (n, b) · values (b, columns) → (n, columns): exact int64 if both are integers, else
    float64.

    Integer weights are assumed to be those of parts, nearly all 0; zeros are skipped. Others use a
    matrix product.
    """
    if not np.issubdtype(weights.dtype, np.integer):
        return weights @ values.astype(np.float64)
    dtype = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64
    sums = np.empty((len(weights), values.shape[1]), dtype)
    rows = [(weight[weight != 0, None], np.flatnonzero(weight)) for weight in weights]
    step = max(1, _NUMBERS_AT_ONCE // max(1, len(values)))
    for first in range(0, values.shape[1], step):
        some = values[:, first : first + step].astype(dtype)
        for row, (weight, there) in enumerate(rows):
            sums[row, first : first + step] = (weight * some[there]).sum(axis=0)
    return sums


def parts_of(
    counts: xr.Dataset, event_min_wet_share: float, event_gap_hours: int
) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Return the parts of a counts dataset: labels, kinds, and weights (part, block), 0 or 1.

    First 'all'; then the days (UTC), the hours of the day, the events (`events_of`) and the classes
    of hours by observed wet fraction (`WET_SHARE_CLASSES`), if they have a block. Cases without
    times only have 'all'.
    """
    hours: Hours = counts["block"].values
    parts: list[tuple[str, str, Selected]] = [("all", "all", np.ones(hours.size, dtype=bool))]
    if counts.attrs["timed"]:
        of_day = (hours - days_of(hours)) // _HOUR
        parts += [(f"day {day}", "day", days_of(hours) == day) for day in np.unique(days_of(hours))]
        parts += [(f"hour {hour:02d}", "hour", of_day == hour) for hour in np.unique(of_day)]
        for first, last in events_of(counts, event_min_wet_share, event_gap_hours):
            name = " to ".join(np.datetime_as_string(hour, unit="h") for hour in (first, last))
            parts.append((f"event {name}", "event", (hours >= first) & (hours <= last)))
        parts += _by_wet_share(counts)
    labels, kinds, selected = zip(*parts, strict=True)
    return list(labels), list(kinds), np.array(selected, dtype=np.int64)


def events_of(
    counts: xr.Dataset, min_wet_share: float, gap_hours: int
) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the first and the last hour of each event.

    An event begins and ends with a wet hour, whose observed wet fraction is at least
    `min_wet_share`. At least `gap_hours` hours in a row without a wet hour separate two events.
    Fewer such hours, drier or without cases, belong to the event that they interrupt.
    """
    wet = counts["block"].values[observed_wet_share(counts) >= min_wet_share]
    if not wet.size:
        return []
    breaks = np.flatnonzero(np.diff(wet) > gap_hours * _HOUR) + 1
    return [(run[0], run[-1]) for run in np.split(wet, breaks)]


def observed_wet_share(counts: xr.Dataset) -> NDArray[np.float64]:
    """(block,) the fraction of observed pixels at or above 0.1 mm/h in each hour, 0 to 1; NaN if no
    pixel was observed.
    """
    return ratio(counts["observed_wet"].values, counts["observed_covered"].values)


def days_of(hours: Hours) -> Hours:
    """Return the UTC day of each hour."""
    return hours.astype("datetime64[D]")


def _by_wet_share(counts: xr.Dataset) -> list[tuple[str, str, Selected]]:
    percent = 100 * observed_wet_share(counts)
    classes = []
    for lowest, below in pairwise(WET_SHARE_CLASSES):
        selected = (percent >= lowest) & ((percent < below) | (below == WET_SHARE_CLASSES[-1]))
        classes.append((f"wet share {lowest} to {below} %", "wet_share", selected))
    return [one for one in classes if one[2].any()]
