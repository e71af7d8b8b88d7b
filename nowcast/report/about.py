"""The facts of an evaluation as plain values, for the sentences of the report."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nowcast.report.diagrams import at_or_above, names_of

if TYPE_CHECKING:
    import xarray as xr

_BLOCKS = {"day": "a day, UTC", "event": "a rain event", "block": "up to sixty consecutive cases"}


@dataclass(frozen=True)
class About:
    """Facts that several sections name.

    Args:
        names: of the forecasts, in the order of their colours.
        events: each threshold in words, '≥ 0.5 mm/h'.
        minutes: the lead times.
        period: the first and the last forecast reference time; empty for cases without times.
        blocks, block: the number of bootstrap blocks, and what one block is.
        confidence: of the intervals, percent.
    """

    title: str
    names: list[str]
    events: list[str]
    minutes: list[float]
    period: str
    cases: int
    grid: str
    blocks: int
    block: str
    resamples: int
    seed: int
    confidence: float
    has_intervals: bool
    common_pixels: bool


def about_of(scores: "xr.Dataset", counts: "xr.Dataset") -> About:
    """Return the facts of these scores and of the counts they come from."""
    attrs = scores.attrs
    return About(
        title=str(attrs["title"]),
        names=names_of(scores),
        events=[at_or_above(scores, threshold) for threshold in scores["threshold"].values],
        minutes=scores["lead_time"].values.tolist(),
        period=period(counts),
        cases=int(counts["cases"].sum()),
        grid=str(counts.attrs.get("grid", "")),
        blocks=int(attrs["blocks"]),
        block=_BLOCKS[attrs["interval_blocks"]],
        resamples=int(attrs["resamples"]),
        seed=int(attrs["seed"]),
        confidence=100 * float(attrs["confidence"]),
        has_intervals=has_intervals(scores),
        common_pixels=bool(counts.attrs["common_pixels"]),
    )


def has_intervals(scores: "xr.Dataset") -> bool:
    """Return whether any score has an interval, which takes resampling and four days or more."""
    return "csi_mean_low" in scores and bool(scores["csi_mean_low"].notnull().any())


def period(counts: "xr.Dataset") -> str:
    """Return the first and the last forecast reference time; empty for cases without times."""
    if not counts.attrs.get("timed", 1):
        return ""
    hours, minutes = counts["block"].values.astype("datetime64[m]"), counts["minutes"].values
    first, last = hours.argmin(), hours.argmax()
    earliest, latest = int(minutes[first]), int(minutes[last])
    # the lowest bit, and below the highest
    start = hours[first] + np.timedelta64((earliest & -earliest).bit_length() - 1, "m")
    end = hours[last] + np.timedelta64(latest.bit_length() - 1, "m")
    return f"{start} to {end}".replace("T", " ") + " UTC"
