"""The rows of a picture next to rates: probabilities, sums, members."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import xarray as xr

from nowcast.errors import ConfigError
from nowcast.forecast.dataset import LEAD_TIME
from nowcast.forecast.file_accumulation import (
    ACCUMULATION_PROBABILITY,
    AMOUNT_THRESHOLD,
    accumulation_variables,
)
from nowcast.forecast.file_members import MEMBER_RATE, REALIZATION
from nowcast.forecast.file_probability import probabilities_of
from nowcast.radar.grid import RATE

MOST_STAMPS = 20


def probabilities_at(
    threshold: float | None, forecasts: Mapping[str, xr.Dataset], where: str
) -> dict[str, Any]:
    """Return the probabilities (lead, y, x) of a threshold in mm/h by the names of their rows.

    where: the name of the forecasts in messages.
    Errors: ConfigError if no forecast has probabilities of this threshold.
    """
    if threshold is None:
        return {}
    given = {name: probabilities_of(forecast) for name, forecast in forecasts.items()}
    values = {
        name: one.values[:, one.thresholds.index(threshold)]
        for name, one in given.items()
        if one is not None and threshold in one.thresholds
    }
    known = sorted({value for one in given.values() if one is not None for value in one.thresholds})
    if not known:
        raise ConfigError(
            f"probability: {where} has no probabilities; leave the key out, or give a forecast by a"
            " method that has them."
        )
    if not values:
        raise ConfigError(
            f"probability: {where} has none of {threshold:g} mm/h; choose one of {_listed(known)}."
        )
    return {
        f"{name}: probability of ≥ {threshold:g} mm/h": drawn
        for name, drawn in _each_once(values).items()
    }


def amounts_at(
    minutes: int | None,
    forecasts: Mapping[str, xr.Dataset],
    observed: Sequence[Any] | None,
    where: str,
) -> dict[str, Any]:
    """Return sums over `minutes` by the names of their rows: a frame (y, x) in mm for each lead
    time, None until the first sum ends. Observed sums come first.

    observed: frames (y, x) in mm/h at the valid times; None for a time without a frame.
    where: the name of the forecasts in messages.
    Errors: ConfigError if no forecast has sums over these minutes.
    """
    if minutes is None:
        return {}
    given = {name: _amounts_of(forecast) for name, forecast in forecasts.items()}
    known = sorted({length for one in given.values() for length in one})
    if not known:
        raise ConfigError(
            f"accumulation: {where} has no sums; leave the key out, or forecast with"
            f" accumulations=[{minutes}]."
        )
    if minutes not in known:
        raise ConfigError(
            f"accumulation: {where} has none over {minutes} minutes; choose one of"
            f" {_listed(known)}."
        )
    leads = next(iter(forecasts.values()))[LEAD_TIME].values
    sums = {} if observed is None else {"observed": _sums_of(observed, minutes, float(leads[0]))}
    sums |= {name: _ended(one[minutes].values) for name, one in given.items() if minutes in one}
    return {f"{name}: sum over {minutes} min": frames for name, frames in sums.items()}


def amount_probabilities_at(
    threshold: float | None,
    minutes: int | None,
    forecasts: Mapping[str, xr.Dataset],
    where: str,
) -> dict[str, Any]:
    """Return the probabilities of a sum of at least `threshold` mm over `minutes` by the names of
    their rows: a frame (y, x) for each lead time, None until the first sum ends.

    where: the name of the forecasts in messages.
    Errors: ConfigError if no forecast has probabilities of this sum.
    """
    if threshold is None:
        return {}
    variable = f"{ACCUMULATION_PROBABILITY}{minutes}min"
    given = {name: one[variable] for name, one in forecasts.items() if variable in one}
    if not given:
        raise ConfigError(
            f"accumulation_probability: {where} has no probabilities of sums over {minutes}"
            f" minutes; forecast with ensemble=20 accumulations=[{minutes}]."
        )
    known = sorted({x for one in given.values() for x in one[AMOUNT_THRESHOLD].values.tolist()})
    if threshold not in known:
        raise ConfigError(
            f"accumulation_probability: {where} has none of {threshold:g} mm; choose one of"
            f" {_listed(known)}."
        )
    values = {
        name: one.values[:, one[AMOUNT_THRESHOLD].values.tolist().index(threshold)]
        for name, one in given.items()
        if threshold in one[AMOUNT_THRESHOLD].values
    }
    return {
        f"{name}: probability of ≥ {threshold:g} mm in {minutes} min": _ended(frames)
        for name, frames in _each_once(values).items()
    }


def members_at(lead_time: float | None, forecast: xr.Dataset, where: str) -> tuple[int, Any]:
    """Return a lead step, and the members (m, y, x) in mm/h of that step.

    lead_time: in minutes; None takes the last. where: the name of the forecast in messages.
    Errors: ConfigError if the forecast has no members, or not this lead time.
    """
    name = MEMBER_RATE if MEMBER_RATE in forecast else RATE
    if REALIZATION not in forecast[name].dims:
        raise ConfigError(
            f"members: {where} has no members; leave the key out, or give a forecast with members."
        )
    leads = forecast[LEAD_TIME].values.tolist()
    if lead_time is not None and lead_time not in leads:
        raise ConfigError(
            f"lead_time: {where} has none of {lead_time:g} minutes; choose one of {_listed(leads)}."
        )
    step = len(leads) - 1 if lead_time is None else leads.index(lead_time)
    return step, forecast[name].isel(time=step).values


def _ended(frames: Any) -> list[Any]:
    """Return the frames (y, x); None for those without a value, as before the first sum ends."""
    return [None if np.isnan(frame).all() else frame for frame in frames]


def _amounts_of(forecast: xr.Dataset) -> dict[int, xr.DataArray]:
    """Return the sums (time, y, x) of a forecast by their minutes."""
    return {
        minutes: forecast[name]
        for name, minutes in accumulation_variables(forecast).items()
        if not name.startswith(ACCUMULATION_PROBABILITY)
    }


def _sums_of(observed: Sequence[Any], minutes: int, timestep: float) -> list[Any]:
    """Return the sums in mm over the minutes before each frame; None if a frame is missing."""
    count = round(minutes / timestep)
    windows = [observed[max(0, end - count) : end] for end in range(1, len(observed) + 1)]
    return [
        np.sum(window, axis=0) * np.float32(timestep / 60)
        if len(window) == count and all(frame is not None for frame in window)
        else None
        for window in windows
    ]


def _each_once(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return probabilities with equal rows merged, as of one model with several kinds of rates.

    A merged row is named by the common start of the names, or by all names.
    """
    rows: dict[str, Any] = {}
    left = dict(values)
    while left:
        first = next(iter(left.values()))
        same = [name for name in left if np.array_equal(left[name], first, equal_nan=True)]
        left = {name: one for name, one in left.items() if name not in same}
        common = _common(same)
        rows[", ".join(same) if not common or common in {*rows, *left} else common] = first
    return rows


def _common(names: list[str]) -> str:
    """Return the common start of names by parts: "model, a" and "model, b" → "model"."""
    parts = zip(*(name.split(", ") for name in names), strict=False)
    return ", ".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, parts))


def _listed(values: list[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)
