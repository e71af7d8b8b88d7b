"""Answers as JSON and as CSV tables."""

import csv
import io
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import numpy as np
import xarray as xr

from nowcast.forecast.dataset import MODEL, REFERENCE_TIME
from nowcast.places.answers import Amount, Answers, Turn
from nowcast.places.curve import PlaceForecast
from nowcast.places.words import in_words
from nowcast.places.zone import in_iso, local

_PLACE = ("name", "latitude", "longitude", "radius")
_DIGITS = 3  # of mm/h and of probabilities, as in files


def as_document(answers: Answers, zone: tzinfo) -> dict[str, Any]:
    """Return the answers of one place for JSON: times in a time zone, rates in mm/h, sums in mm,
    null if unknown.
    """
    curve = answers.curve
    heaviest = answers.heaviest
    return {
        **{name: getattr(curve.place, name) for name in _PLACE},
        "status": curve.status,
        "words": in_words(answers, zone),
        "rain_threshold": curve.rain_threshold,
        "probability_source": curve.probability_source,
        "raining_now": answers.now.raining,
        "now": {
            "time": in_iso(answers.now.time, zone),
            "rate": number(answers.now.rate),
            "observed": answers.now.observed,
        },
        "starts_at": _turn(answers.starts, zone),
        "stops_at": _turn(answers.stops, zone),
        "rains_again_at": _time(answers.again, zone),
        "heaviest": heaviest
        and {
            "time": in_iso(heaviest.time, zone),
            "rate": number(heaviest.rate),
            "threshold": heaviest.threshold,
            "probability": number(heaviest.probability),
        },
        "sums": {str(minutes): _amount(one) for minutes, one in answers.sums.items()},
        "known_until": _time(answers.known_until, zone),
        "lead_times": [_step(curve, step, zone) for step in range(len(curve.times))],
    }


def document_of(
    forecast: xr.Dataset, answers: Sequence[Answers], zone: tzinfo, path: str
) -> dict[str, Any]:
    """Return the answers of several places for JSON, with the name of their forecast."""
    reference: Any = forecast[REFERENCE_TIME].values[()]
    return {
        "forecast": path,
        "forecast_reference_time": in_iso(reference, zone),
        "method": str(forecast.attrs.get("method", MODEL)),
        "timezone": str(zone),
        "places": [as_document(one, zone) for one in answers],
    }


def table_of(answers: Answers, zone: tzinfo) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table to read, a row for each lead time."""
    curve = answers.curve
    quantiles = curve.quantiles or {}
    header = [
        "time", "min", "mm/h", *(_percent(one) for one in quantiles),
        *(f"≥ {one:g}" for one in curve.probability),
    ]  # fmt: skip
    columns = [curve.rate, *quantiles.values(), *curve.probability.values()]
    rows = [
        [
            f"{local(time, zone):%H:%M}",
            f"{curve.lead_minutes[step]:g}",
            *("–" if np.isnan(column[step]) else f"{column[step]:.2f}" for column in columns),
        ]
        for step, time in enumerate(curve.times)
    ]
    return header, rows


def as_csv(answers: Sequence[Answers], zone: tzinfo) -> str:
    """Return CSV with a line for each place and lead time; unknown values are empty."""
    thresholds = sorted({one for each in answers for one in each.curve.probability})
    quantiles = sorted({one for each in answers for one in each.curve.quantiles or {}})
    circles = any(each.curve.place.radius is not None for each in answers)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            *_PLACE, "status", "time", "lead_minutes", "rate", *(["wet_share"] if circles else []),
            *(f"rate_{_percent(one)}" for one in quantiles),
            *(f"probability_{one:g}" for one in thresholds),
        ]
    )  # fmt: skip
    for each in answers:
        curve = each.curve
        for step in range(len(curve.times)):
            row = _step(curve, step, zone)
            table.writerow(
                [
                    *(getattr(curve.place, name) for name in _PLACE), curve.status, row["time"],
                    row["lead_minutes"], row["rate"],
                    *([row.get("wet_share")] if circles else []),
                    *(row.get("quantiles", {}).get(_percent(one)) for one in quantiles),
                    *(row.get("probability", {}).get(f"{one:g}") for one in thresholds),
                ]
            )  # fmt: skip
    return text.getvalue()


def number(value: Any) -> float | None:
    """Return a number rounded for JSON and CSV; None for NaN and None."""
    return None if value is None or np.isnan(value) else round(float(value), _DIGITS)


def _step(curve: PlaceForecast, step: int, zone: tzinfo) -> dict[str, Any]:
    quantiles, share = curve.quantiles, curve.share
    row: dict[str, Any] = {
        "time": in_iso(curve.times[step], zone),
        "lead_minutes": number(curve.lead_minutes[step]),
        "rate": number(curve.rate[step]),
    }
    if share is not None:
        row["wet_share"] = number(share[step])
    if quantiles is not None:
        row["quantiles"] = {_percent(q): number(of[step]) for q, of in quantiles.items()}
    if curve.probability:
        row["probability"] = {f"{at:g}": number(of[step]) for at, of in curve.probability.items()}
    return row


def _percent(quantile: float) -> str:
    return f"p{round(100 * quantile)}"


def _turn(turn: Turn | None, zone: tzinfo) -> dict[str, Any] | None:
    if turn is None:
        return None
    return {"time": in_iso(turn.time, zone), "probability": number(turn.probability)}


def _time(time: np.datetime64 | None, zone: tzinfo) -> str | None:
    return None if time is None else in_iso(time, zone)


def _amount(one: Amount | None) -> dict[str, Any] | None:
    if one is None:
        return None
    quantiles = {_percent(q): number(of) for q, of in (one.quantiles or {}).items()}
    return {
        "amount": number(one.amount),
        "source": one.source,
        "probability": number(one.probability),
        "quantiles": quantiles or None,
        "probabilities": {f"{at:g}": number(of) for at, of in one.probabilities.items()} or None,
    }
