"""From counts to scores: one labelled dataset for all parts, lead times and thresholds."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.verification import probabilistic
from nowcast.verification.intervals import (
    CONFIDENCE,
    amount_interval,
    draws_of,
    groups_of,
    leave_one_out,
    studentised_interval,
)
from nowcast.verification.parts import parts_of, weigh
from nowcast.verification.scores import Scores, Sums
from nowcast.verification.scoring import AMOUNT_UNITS, OF_SUMS, TABLE, Score, scores_of
from nowcast.verification.spectra import power_ratio
from nowcast.verification.sums import mean_over_leads, pooled, sums_of
from nowcast.verification.swaps import p_values, swapped, swaps_of

AGGREGATES = {
    "pooled": "counts summed over lead times, then divided",
    "mean": "mean over lead times of the score at each, where it is defined",
}
_NUMBERS_AT_ONCE = 2**22  # of each sum after swaps: limits the memory
_NOT_DRAWN = ("forecast_power", "observed_power", "member_power", "probability", "rank")

Variables = dict[str, xr.Variable]


def scores_dataset(
    counts: xr.Dataset,
    *,
    event_min_wet_share: float,
    event_gap_hours: int,
    interval_blocks: str,
    resamples: int,
    seed: int,
) -> xr.Dataset:
    """Return all scores of all forecasts in all parts of the cases; NaN if undefined.

    A score X is (part, forecast, lead_time, …). It has two aggregates without lead_time: `X_pooled`
    from counts summed over lead times, and `X_mean`, the mean over the lead times at which it is
    defined. For part 'all', `…_low` and `…_high` bound the 95 % interval of each of these.
    `X_mean_difference` (forecast, other_forecast, …) is the score of the first minus that of the
    second, with an interval and with `…_p`, the p value of swapping the two. `probabilistic`
    explains the additional scores of ensembles.

    Args:
        counts: from `Tally.dataset`, or the sum of several.
        event_min_wet_share, event_gap_hours: the definition of an event, see `events_of`.
        interval_blocks: bootstrap blocks, which are drawn and swapped: 'day' or 'event', see
            `groups_of`.
        resamples: number of draws; 0 leaves all intervals and p values NaN. Fewer than four days or
            events have no intervals.
        seed: of the draws and swaps.

    Returns:
        The scores, each with its units and its perfect value as attributes.

    Example:
        >>> import torch
        >>> from nowcast.verification import Tally
        >>> tally, rain = Tally([0.5], [5]), torch.ones(1, 1, 8, 8)  # (case, lead, h, w) in mm/h
        >>> time = np.array(["2020-01-01T00:00"], "datetime64[m]")
        >>> _ = tally.add(time, rain, {"model": rain[:, :, None]})
        >>> scores = scores_dataset(
        ...     tally.dataset(), event_min_wet_share=0.05, event_gap_hours=6, interval_blocks="day",
        ...     resamples=0, seed=0,
        ... )
        >>> scores["csi"].sel(part="all").values
        array([[[1.]]])
    """
    labels, kinds, weights = parts_of(counts, event_min_wet_share, event_gap_hours)
    groups = groups_of(counts, interval_blocks, event_min_wet_share, event_gap_hours)
    weighed = weigh(counts, weights)
    sums = sums_of(weighed)
    by_group = sums_of(weigh(counts.drop_vars(_NOT_DRAWN, errors="ignore"), groups))
    of_amounts = counts["threshold"].attrs.get("units") == AMOUNT_UNITS
    variables = _counted(sums, weighed)
    for name, score in scores_of(sums, of_amounts=of_amounts).items():
        variables |= _scored(name, score, sums)
    variables |= _spectra(sums, of_amounts)
    if "probability" in sums:
        variables |= _ensembles(sums)
    draws, swaps = draws_of(len(groups), resamples, seed), swaps_of(len(groups), resamples, seed)
    for name, score in scores_of(by_group, of_amounts=of_amounts).items():
        variables |= _intervals(name, score, variables, by_group, draws)
        variables[f"{name}_mean_difference_p"] = _chance(
            score, by_group, swaps, variables[f"{name}_mean"].shape[1:]
        )
    about = {
        "title": "Scores of precipitation nowcasts",
        "Conventions": "CF-1.11",
        "cases": int(weighed["cases"][0]),
        "unscored_cases": int(weighed["unscored_cases"][0]),
        "interval_blocks": interval_blocks if counts.attrs["timed"] else "block",
        "blocks": len(groups),
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "seed": seed,
    }
    return xr.Dataset(variables, _coordinates(counts, labels, kinds), {**counts.attrs, **about})


def _coordinates(counts: xr.Dataset, labels: list[str], kinds: list[str]) -> dict[str, Any]:
    taken_over = ("forecast", "lead_time", "threshold", "scale", "wavenumber")
    coordinates: dict[str, Any] = {
        name: counts[name].variable for name in taken_over if name in counts.coords
    }
    coordinates["lead_time"] = _described(
        coordinates["lead_time"], "lead time", "minute", standard_name="forecast_period"
    )
    coordinates["forecast"] = _described(coordinates["forecast"], "forecast that was scored")
    coordinates["other_forecast"] = (
        "other_forecast",
        counts["forecast"].values,
        {"long_name": "forecast that it is compared with"},
    )
    coordinates["part"] = ("part", labels, {"long_name": "part of the cases"})
    coordinates["part_kind"] = (
        "part",
        kinds,
        {"long_name": "what the part is: all, day, hour (of the day), event or wet_share; UTC"},
    )
    for name, dim, long_name in (
        ("members_above", "members_above", "members at or above the threshold"),
        ("rank", "members_below", "rank of the observation among the members"),
    ):
        if dim in counts.dims:
            numbers = np.arange(counts.sizes[dim])
            coordinates[name] = (name, numbers, {"long_name": long_name, "units": "1"})
    return coordinates


def _counted(sums: Sums, weighed: xr.Dataset) -> Variables:
    counted = {
        name: _variable(sums[name], ("threshold",), name.replace("_", " "), "1") for name in TABLE
    }
    counted["pixels"] = _variable(sums["pixels"], (), "pixels scored", "1")
    for name, long_name in (
        ("cases", "cases scored"),
        ("unscored_cases", "cases without one scored pixel"),
    ):
        counted[name] = xr.Variable("part", weighed[name].values, _named(long_name))
    return counted


def _scored(name: str, score: Score, sums: Sums) -> Variables:
    """Return a score of all parts: by lead time, pooled and as mean."""
    values = _three_ways(score, sums)
    return {
        f"{name}{way}": xr.Variable(("part", *_dims(score, way)), values[way], _attrs(score, way))
        for way in values
    }


def _intervals(
    name: str, score: Score, scored: Variables, by_group: Sums, draws: NDArray[Any]
) -> Variables:
    """Return the bounds of a score of part 'all', by lead time, pooled and as mean, and the
    differences of each forecast from each other one.
    """
    without = _three_ways(score, _without_each(by_group, score.needs))
    whole = {way: scored[f"{name}{way}"].values[0] for way in without}
    variables: Variables = {}
    for way in without:
        bounds = np.clip(_interval_of(score)(whole[way], without[way], draws), *score.range)
        variables |= _bounds(f"{name}{way}", bounds, _dims(score, way), _attrs(score, way))
    mean, of_rest = whole["_mean"], without["_mean"]
    dims = ("forecast", "other_forecast", *score.dims)
    attrs = {
        "long_name": (
            f"{score.long_name}: the mean over lead times of the one less that of the other"
        ),
        "units": score.units,
    }
    difference = mean[:, None] - mean[None, :]
    variables[f"{name}_mean_difference"] = xr.Variable(dims, difference, attrs)
    bounds = np.array(
        studentised_interval(difference, of_rest[:, :, None] - of_rest[:, None, :], draws)
    )
    return variables | _bounds(f"{name}_mean_difference", bounds, dims, attrs)


def _interval_of(score: Score) -> Callable[..., tuple[Scores, Scores]]:
    return amount_interval if score.range == (0.0, math.inf) else studentised_interval


def _without_each(by_group: Sums, needs: tuple[str, ...]) -> Sums:
    """Turn the needed sums of groups, (group, …), into those of all groups but one, (group, …)."""
    return {name: leave_one_out(by_group[name]) for name in needs}


def _chance(
    score: Score, by_group: Sums, swaps: NDArray[np.bool_], shape: tuple[int, ...]
) -> xr.Variable:
    """Return for each two forecasts the p value of the difference of their means over lead times;
    shape: of these means, (forecast, …).
    """
    p = np.full((shape[0], *shape), np.nan)
    for one, other in combinations(range(shape[0]) if len(swaps) else (), 2):
        p[one, other] = p[other, one] = p_values(_differences(score, by_group, one, other, swaps))
    long_name = (
        f"{score.long_name}: share of swaps of the two forecasts, block by block, with so large a"
        " difference of the means"
    )
    return xr.Variable(("forecast", "other_forecast", *score.dims), p, _named(long_name))


def _differences(
    score: Score, by_group: Sums, one: int, other: int, swaps: NDArray[np.bool_]
) -> Scores:
    """Return for each choice of swaps, (choice, …), the mean over lead times of one forecast minus
    that of the other.
    """
    largest = max(by_group[name][0, 0].size for name in score.needs)
    parts = []
    for piece in np.array_split(swaps, -(-2 * len(swaps) * largest // _NUMBERS_AT_ONCE) or 1):
        sums = {
            name: swapped(by_group[name][:, one], by_group[name][:, other], piece)
            for name in score.needs
        }
        mean = mean_over_leads(score.of(sums))
        parts.append(mean[:, 0] - mean[:, 1])
    return np.concatenate(parts)


def _three_ways(score: Score, sums: Sums) -> dict[str, Scores]:
    """Return a score by lead time (n, forecast, lead_time, …), pooled, and as mean over leads."""
    by_lead = score.of(sums)
    whole = score.of(pooled({name: sums[name] for name in score.needs}))
    return {"": by_lead, "_pooled": whole[:, :, 0], "_mean": mean_over_leads(by_lead)}


def _bounds(name: str, bounds: Any, dims: tuple[str, ...], attrs: dict[str, Any]) -> Variables:
    about = {**attrs, "long_name": f"{attrs['long_name']}: {CONFIDENCE:.0%} interval"}
    return {
        f"{name}_{side}": xr.Variable(dims, bound, about)
        for side, bound in zip(("low", "high"), bounds, strict=True)
    }


def _spectra(sums: Sums, of_amounts: bool) -> Variables:
    """Return the mean power of a frame, and the ratio of forecast to observed power."""
    frames = np.where(sums["frames"] > 0, sums["frames"], np.nan)[..., None]
    forecast, observed = sums["forecast_power"] / frames, sums["observed_power"] / frames
    of_members = sums.get("member_power")
    what = "sum of rain" if of_amounts else "rain rate"
    of = f"radially averaged power spectral density of the {what}"
    square = OF_SUMS["mm2 h-2"] if of_amounts else "mm2 h-2"
    members = {}
    if of_members is not None:
        values = of_members / frames
        members = {
            "member_power": _variable(values, ("wavenumber",), f"{of}, mean of members", square),
            "member_power_ratio": _variable(
                power_ratio(values, observed), ("wavenumber",), f"{of}, members over observed", "1"
            ),
        }
    return members | {
        "forecast_power": _variable(forecast, ("wavenumber",), f"{of}, forecast", square),
        "observed_power": _variable(observed, ("wavenumber",), f"{of}, observed", square),
        "power_ratio": _variable(
            power_ratio(forecast, observed), ("wavenumber",), f"{of}, forecast over observed", "1"
        ),
    }


def _ensembles(sums: Sums) -> Variables:
    """Return the data of reliability diagram, ROC and rank histogram, pooled over lead times."""
    probability, rank = sums["probability"].sum(2), sums["rank"].sum(2)
    members = sums["members"][..., 0]  # (1, forecast)
    by_count = {
        "observed_frequency": (
            probabilistic.observed_frequency,
            "share of pixels with an observed event, by members at or above",
        ),
        "probability_pixels": (
            probabilistic.probability_pixels,
            "pixels, by members at or above the threshold",
        ),
        "roc_pod": (probabilistic.roc_pod, "probability of detection of so many members or more"),
        "roc_pofd": (
            probabilistic.roc_pofd,
            "probability of false detection of so many members or more",
        ),
    }
    by_threshold = {
        "roc_area": (probabilistic.roc_area, "area under the ROC curve"),
        "observed_base_rate": (
            probabilistic.observed_base_rate,
            "share of pixels with an observed event",
        ),
    }
    dims = ("part", "forecast", "threshold")
    variables = {
        name: xr.Variable(
            (*dims, "members_above")[: function(probability).ndim],
            function(probability),
            _named(long_name),
        )
        for name, (function, long_name) in {**by_count, **by_threshold}.items()
    }
    given = probabilistic.forecast_probability(members[0], probability.shape[-2] - 1)
    variables["forecast_probability"] = xr.Variable(
        ("forecast", "members_above"), given, _named("forecast probability of an event")
    )
    frequency = probabilistic.rank_frequency(rank, members)
    variables["rank_frequency"] = xr.Variable(
        ("part", "forecast", "rank"), frequency, _named("share of pixels with this rank")
    )
    return variables


def _dims(score: Score, way: str) -> tuple[str, ...]:
    return ("forecast", *(() if way else ("lead_time",)), *score.dims)


def _attrs(score: Score, way: str) -> dict[str, Any]:
    long_name = f"{score.long_name}: {AGGREGATES[way[1:]]}" if way else score.long_name
    return {
        **_named(long_name, score.units),
        **({} if score.perfect is None else {"perfect": score.perfect}),
    }


def _named(long_name: str, units: str = "1") -> dict[str, Any]:
    return {"long_name": long_name, "units": units}


def _variable(
    values: NDArray[Any], dims: tuple[str, ...], long_name: str, units: str
) -> xr.Variable:
    return xr.Variable(("part", "forecast", "lead_time", *dims), values, _named(long_name, units))


def _described(
    coordinate: xr.Variable, long_name: str, units: str | None = None, **more: str
) -> xr.Variable:
    attrs = {"long_name": long_name, **({} if units is None else {"units": units}), **more}
    return xr.Variable(coordinate.dims, coordinate.values, attrs)
