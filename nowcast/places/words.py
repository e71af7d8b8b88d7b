"""Answers and warnings in plain words."""

from datetime import tzinfo
from typing import Any

import numpy as np
import xarray as xr

from nowcast.forecast.dataset import REFERENCE_TIME, method_name
from nowcast.places.answers import Amount, Answers, Turn
from nowcast.places.zone import clock, local, zone_name

_LEAST = 0.1
"""Least sum in mm that is mentioned when no rain is forecast."""


def in_words(answers: Answers, zone: tzinfo) -> str:
    """Return answers as a sentence.

    Args:
        answers: of a place.
        zone: the time zone of the clock times.

    Returns:
        Such as "Rain starts at 14:25 CEST (probability 0.7), stops about 15:05 (probability 0.6);
        heaviest 6 mm/h at 14:40 (probability 0.5 of at least 5 mm/h); 0.9 mm expected in the next
        30 minutes, 2.1 mm expected in the next hour (probability 0.55 of at least 2 mm, 0.1 of 5
        mm)." Rain "may start" or "may stop" if the probability is below 0.5. The first clock time
        names its zone; all do if the clocks change in between. A sum is the expected amount; when
        the rates show no rain, it is given if it or the highest quantile of the members is at least
        0.1 mm. The longest sum has its probabilities.

    Example:
        >>> from datetime import UTC
        >>> from nowcast.places.answers import answers_of
        >>> from nowcast.places.curve import PlaceForecast
        >>> from nowcast.places.place import Place
        >>> start = np.datetime64("2020-01-01T00:00", "ns")
        >>> times, leads = start + np.arange(1, 4) * np.timedelta64(20, "m"), np.arange(1, 4) * 20.0
        >>> rates = np.array([[0.0], [6.0], [0.0]])
        >>> curve = PlaceForecast(Place("a", 0, 0), "covered", start, times, leads, rates)
        >>> in_words(answers_of(curve, observed=0.0), UTC)[:53]
        'Rain starts at 00:40 UTC, stops about 01:00; heaviest'
    """
    if answers.curve.status == "outside":
        asked = " (latitude and longitude swapped?)" if answers.curve.swapped_is_inside else ""
        return f"Outside of the grid of the forecast{asked}."
    if answers.curve.status == "not covered":
        return "Not covered by the forecast."
    return _named_once(_told(answers, zone), answers, zone)


def _told(answers: Answers, zone: tzinfo) -> str:
    """Return the sentence, with the zone at every clock time."""
    if answers.known_until is None:
        return f"{_now(answers, zone)}; the first forecast frame does not cover it."
    clauses = [_spell(answers, zone), *_heaviest(answers, zone), *_sums(answers)]
    if answers.known_until < answers.curve.times[-1]:
        clauses.append(f"not known after {clock(answers.known_until, zone)}")
    return "; ".join(clauses) + "."


def forecast_in_words(forecast: xr.Dataset, zone: tzinfo) -> str:
    """Return the method and the reference time of a forecast in words."""
    reference: Any = forecast[REFERENCE_TIME].values[()]
    time = local(reference, zone)
    return f"forecast by {method_name(forecast)} from {time:%Y-%m-%d %H:%M} ({zone})"


def _named_once(words: str, answers: Answers, zone: tzinfo) -> str:
    """Name the zone only at the first clock time, unless its name changes within the forecast."""
    ends = (answers.now.time, answers.curve.times[-1])
    names = {zone_name(local(time, zone)) for time in ends}
    if len(names) > 1:
        return words
    first, name, rest = words.partition(f" {names.pop()}")
    return first + name + (rest.replace(name, "") if name else rest)


def _now(answers: Answers, zone: tzinfo) -> str:
    now = answers.now
    when = "now" if now.observed else f"at {clock(now.time, zone)}"
    if now.raining is None:
        return f"Not known whether it rains {when}"
    return f"Raining {when} ({rate_in_words(now.rate or 0.0)})" if now.raining else f"Dry {when}"


def _spell(answers: Answers, zone: tzinfo) -> str:
    """Return when rain starts, stops and starts again."""
    assert answers.known_until is not None
    until = clock(answers.known_until, zone)
    if answers.now.raining:
        said = _now(answers, zone)
    elif answers.starts is not None:
        said = f"Rain {_may('start', answers.starts)} at {_turn(answers.starts, zone)}"
    else:
        return f"No rain until {until}{_at_most(answers, zone)}"
    stops = "goes on" if answers.now.raining else "lasts"
    if answers.stops is None:
        return f"{said}, {stops} until {until} at least"
    again = "" if answers.again is None else f", again from {clock(answers.again, zone)}"
    return f"{said}, {_may('stop', answers.stops)} about {_turn(answers.stops, zone)}{again}"


def _at_most(answers: Answers, zone: tzinfo) -> str:
    """Return the largest probability of rain in words."""
    curve = answers.curve
    known = curve.probability.get(curve.rain_threshold)
    if known is None or not np.isfinite(known).any():
        return ""
    step = int(np.nanargmax(known))
    if known[step] < 0.01:
        return " (probability of rain below 0.01)"
    most, when = _number(known[step]), clock(curve.times[step], zone)
    return f" (probability of rain at most {most}, at {when})"


def _heaviest(answers: Answers, zone: tzinfo) -> list[str]:
    one = answers.heaviest
    if one is None:
        return []
    said = f"heaviest {rate_in_words(one.rate)} at {clock(one.time, zone)}"
    if one.probability is None or one.threshold is None:
        return [said]
    return [f"{said} (probability {_number(one.probability)} of at least {one.threshold:g} mm/h)"]


def _sums(answers: Answers) -> list[str]:
    told = {
        minutes: one
        for minutes, one in answers.sums.items()
        if one is not None and (answers.heaviest or _most(one) >= _LEAST)
    }
    longest = max((minutes for minutes, one in told.items() if one.probabilities), default=None)
    said = [
        f"{_amount(one)} expected in the next {_over(minutes)}"
        f"{_chances(one) if minutes == longest else ''}"
        for minutes, one in told.items()
    ]
    return [", ".join(said)] if said else []


def _over(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if rest:
        return f"{minutes} minutes"
    return "hour" if hours == 1 else f"{hours} hours"


def _chances(one: Amount) -> str:
    """Return the probabilities of a sum's thresholds in words, above 0."""
    said = ", ".join(f"{_number(p)} of {at:g} mm" for at, p in one.probabilities.items() if p > 0)
    return f" (probability {said.replace('of', 'of at least', 1)})" if said else ""


def _most(one: Amount) -> float:
    """Return the expected sum in mm, or the highest quantile of the members if it is larger."""
    return max(one.amount, *(one.quantiles or {}).values(), 0.0)


def _amount(one: Amount) -> str:
    amount = "under 0.1" if 0 < one.amount < 0.05 else _rounded(one.amount)
    if one.quantiles is None:
        return f"{amount} mm"
    low, high = (_rounded(one.quantiles[q]) for q in (min(one.quantiles), max(one.quantiles)))
    span = low if low == high else f"{low} to {high}"
    return f"{amount} mm ({span} mm in 8 of 10 members)"


def _may(verb: str, turn: Turn) -> str:
    """Return 'starts', or 'may start' if the probability is below 0.5."""
    unlikely = turn.probability is not None and turn.probability < 0.5
    return f"may {verb}" if unlikely else f"{verb}s"


def _turn(turn: Turn, zone: tzinfo) -> str:
    known = turn.probability
    return clock(turn.time, zone) + ("" if known is None else f" (probability {_number(known)})")


def rate_in_words(rate: float) -> str:
    """Return a rate in words, such as "0.3 mm/h" or "12 mm/h"."""
    return f"{_rounded(rate)} mm/h"


def _rounded(value: float) -> str:
    return f"{round(value, 1 if value < 10 else 0):g}"


def _number(probability: float) -> str:
    return f"{probability:.2g}" if probability < 0.995 else "1"
