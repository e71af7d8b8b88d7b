"""Warnings from a forecast by rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Literal

import numpy as np
import xarray as xr

from nowcast.arrays import Float64Array
from nowcast.console import two_digits
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME
from nowcast.forecast.file_members import MEMBER_RATE, REALIZATION
from nowcast.forecast.file_probability import PROBABILITY, THRESHOLD
from nowcast.places.areas import Area
from nowcast.places.curve import largest, values_at
from nowcast.places.pixels import Index, Pixels
from nowcast.places.rule import Rule
from nowcast.places.tables import number
from nowcast.places.words import rate_in_words
from nowcast.places.zone import clocks, in_iso
from nowcast.probability.formulas import between
from nowcast.radar.grid import RATE

Basis = Literal["probability", "members", "rate"]
"""The value that decides: the probability of the rate, interpolated between two thresholds. Outside
the forecast's thresholds, it is the share of members that reach the rate, or without members the
forecast rate itself.
"""


@dataclass(frozen=True)
class RuleWarning:
    """A warning: a rule holds in an area or at a place.

    Args:
        rule: the rule.
        area: the name of the area or place.
        start, end: the first and the last valid time at which it holds, in UTC.
        basis: the value that decided.
        highest_probability: the largest probability of the rule's rate at any pixel and valid time;
            None if the rate decided.
        highest_rate: the largest forecast rate in mm/h; None if unknown.
        share: the largest share of the area's pixels in which the rule holds at one time.
    """

    rule: Rule
    area: str
    start: np.datetime64
    end: np.datetime64
    basis: Basis
    highest_probability: float | None
    highest_rate: float | None
    share: float


def warnings_of(
    forecast: xr.Dataset, rule: Rule, areas: Sequence[Area], pixels: Pixels
) -> tuple[list[RuleWarning] | None, list[str]]:
    """Return the warnings of one rule, None if there is no forecast for any of its areas, and
    remarks on areas without one.

    Args:
        forecast: a forecast dataset.
        rule: for an area or a place.
        areas: from the rule's file; none for a place.
        pixels: of the forecast.
    """
    first = float(forecast[LEAD_TIME].values[0])
    if rule.within < first - 1e-6:
        return None, [
            f"warnings.rules.{rule.name}.within: the forecast begins {first:g} minutes ahead, so it"
            f" warns of nothing within {rule.within:g}"
        ]
    where = [(area.name, area.within(pixels)) for area in areas]
    if rule.place is not None:
        where = [(rule.place.name, pixels.of(rule.place))]
    found, remarks, any_known = list[RuleWarning](), _off_the_ladder(forecast, rule), False
    for name, index in where:
        if index is None:
            remarks.append(f"warnings.rules.{rule.name}: {name} is outside of the grid")
            continue
        warning, is_known = _warning(forecast, rule, name, index)
        if not is_known:
            remarks.append(f"warnings.rules.{rule.name}: {name} is not covered by the forecast")
        any_known |= is_known
        found += [] if warning is None else [warning]
    return found if any_known else None, remarks


def ends_too_early(forecast: xr.Dataset, rule: Rule) -> list[str]:
    """Return a remark if a forecast ends a lead time or more before the minutes of a rule."""
    leads = forecast[LEAD_TIME].values
    if rule.within < leads[-1] + leads[0] - 1e-6:
        return []
    return [
        f"warnings.rules.{rule.name}.within: the forecast ends after {leads[-1]:g} of these"
        f" {rule.within:g} minutes, and warns of nothing later"
    ]


def _warning(
    forecast: xr.Dataset, rule: Rule, name: str, index: Index
) -> tuple[RuleWarning | None, bool]:
    """Return the warning for an area if the rule holds, and whether the forecast covers it."""
    steps = np.flatnonzero(forecast[LEAD_TIME].values <= rule.within + 1e-6)
    forecast = forecast.isel(time=steps)
    rates = values_at(forecast[RATE], index)
    rates = rates.mean(axis=1) if REALIZATION in forecast[RATE].dims else rates
    basis, values = _decides(forecast, rule.rate, index, rates)
    known = bool(np.isfinite(values).any())
    holds = values >= (np.float32(rule.rate) if basis == "rate" else rule.probability - 1e-6)
    when = forecast["time"].values[holds.any(axis=1)]
    if not when.size:
        return None, known
    return RuleWarning(
        rule,
        name,
        when[0],
        when[-1],
        basis,
        None if basis == "rate" else float(np.nanmax(values)),
        number(largest(rates.ravel())),
        float(holds.mean(axis=1).max()),
    ), known


def _off_the_ladder(forecast: xr.Dataset, rule: Rule) -> list[str]:
    """Return a remark if the rate decides although the forecast has probabilities."""
    if PROBABILITY not in forecast or _of_members(forecast) is not None:
        return []
    ladder = forecast[THRESHOLD].values.tolist()
    if between(ladder, rule.rate) is not None:
        return []
    return [
        f"warnings.rules.{rule.name}.rate: {rule.rate:g} mm/h lies outside of the forecast's"
        f" probabilities, {ladder[0]:g} to {ladder[-1]:g} mm/h, so its rates decide"
    ]


def _of_members(forecast: xr.Dataset) -> xr.DataArray | None:
    """Return the rates of the members; None without members."""
    rates = forecast[MEMBER_RATE if MEMBER_RATE in forecast else RATE]
    return rates if REALIZATION in rates.dims else None


def _decides(
    forecast: xr.Dataset, rate: float, index: Index, rates: Float64Array
) -> tuple[Basis, Float64Array]:
    """Return the basis of a decision, and its values (lead, n)."""
    if PROBABILITY in forecast:
        around = between(forecast[THRESHOLD].values.tolist(), rate)
        if around is not None:
            *steps, share = around
            low, high = (
                values_at(forecast[PROBABILITY].isel({THRESHOLD: k}), index) for k in steps
            )
            return "probability", low + share * (high - low)
    of_members = _of_members(forecast)
    if of_members is not None:
        members = values_at(of_members, index)
        share = (members >= np.float32(rate)).mean(axis=1)
        return "members", np.where(np.isnan(members).any(axis=1), np.nan, share)
    return "rate", rates


def warning_in_words(warning: RuleWarning, zone: tzinfo) -> str:
    """Return a warning as a sentence, with clock times in a time zone."""
    rule, when = warning.rule, clocks(warning.start, warning.end, zone)
    likely = warning.highest_probability
    how = "" if likely is None else f" (probability up to {likely:.2g})"
    part = "" if rule.place is not None else f", on up to {two_digits(100 * warning.share)} % of it"
    most = warning.highest_rate
    rate = "" if most is None else f"; forecast rate up to {rate_in_words(most)}"
    return f"{rule.name}: {rule.rate:g} mm/h or more in {warning.area} {when}{how}{part}{rate}."


def warning_document(warning: RuleWarning, forecast: xr.Dataset, zone: tzinfo) -> dict[str, Any]:
    """Return a warning for JSON; times are in UTC, clock times in its words are in the zone."""
    rule = warning.rule
    reference: Any = forecast[REFERENCE_TIME].values[()]
    return {
        "rule": rule.name,
        "area": warning.area,
        "start": in_iso(warning.start, UTC),
        "end": in_iso(warning.end, UTC),
        "rate": rule.rate,
        "probability": rule.probability,
        "within": rule.within,
        "basis": warning.basis,
        "highest_probability": number(warning.highest_probability),
        "highest_rate": warning.highest_rate,
        "share": number(warning.share),
        "forecast_reference_time": in_iso(reference, UTC),
        "words": warning_in_words(warning, zone),
    }
