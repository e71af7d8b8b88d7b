"""Answers from a forecast: is it raining, when does rain start and stop, how much falls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.places.curve import QUANTILES, PlaceForecast, largest

AmountSource = Literal["members", "file", "expected rates", "rates"]
"""The source of a sum: the mean of the members' sums, the sum in a file, the sum of the expected
rates by the probabilities, or the sum of the rates.
"""


@dataclass(frozen=True)
class Now:
    """Whether it rains.

    Args:
        raining: None if unknown.
        time: of the rate: the reference time for an observed rate, else the first valid time.
        rate: in mm/h; None if unknown.
        observed: whether the rate was observed; if not, it is the rate at the first lead time.
    """

    raining: bool | None
    time: np.datetime64
    rate: float | None
    observed: bool


@dataclass(frozen=True)
class Turn:
    """A valid time at which rain starts or stops.

    probability: of rain at a start, of no rain at a stop; None if unknown.
    """

    time: np.datetime64
    probability: float | None


@dataclass(frozen=True)
class Heaviest:
    """The largest rate in mm/h, and its valid time.

    probability: of a rate at or above `threshold` [mm/h] at that time; `threshold` is the highest
    threshold of the forecast that the rate reaches. Both are None without probabilities.
    """

    time: np.datetime64
    rate: float
    threshold: float | None
    probability: float | None


@dataclass(frozen=True)
class Amount:
    """The rain in mm from the reference time on.

    In a circle, it is the amount at the pixel with the most rain, for each member its own pixel.

    Args:
        amount: in mm.
        source: of the amount.
        probability: the share of members with at least this amount; None without members.
        quantiles: 0.1, 0.5 and 0.9 of the members; None without members.
        probabilities: by threshold in mm, increasing: the share of members at or above it. Without
            members, the probabilities in a file, the largest in a circle; empty if it has none.
    """

    amount: float
    source: AmountSource
    probability: float | None = None
    quantiles: Mapping[float, float] | None = None
    probabilities: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Answers for a place. Times are valid times of the forecast.

    Rain means a rate at or above the curve's `rain_threshold` [mm/h].

    Args:
        curve: the forecast that gives the answers.
        now: whether it rains.
        starts: None if it rains now, or if no rain is forecast.
        stops: None if no rain is forecast, or if it lasts to the end of the known forecast.
        again: the first valid time of the next rain; None without any.
        heaviest: None if no rain is forecast.
        sums: by minutes; None if the forecast is shorter, or partly unknown.
        known_until: the last valid time before the first unknown one; None if the first is unknown.
    """

    curve: PlaceForecast
    now: Now
    starts: Turn | None = None
    stops: Turn | None = None
    again: np.datetime64 | None = None
    heaviest: Heaviest | None = None
    sums: Mapping[int, Amount | None] = field(default_factory=dict)
    known_until: np.datetime64 | None = None


def answers_of(curve: PlaceForecast, observed: float | None = None) -> Answers:
    """Return the answers for a place.

    Args:
        curve: the forecast there.
        observed: the rate in mm/h at the reference time, NaN = not covered; None without that
            frame: then the first lead time decides whether it rains.

    Returns:
        Answers, in UTC; `in_words` writes them in a time zone.

    Example:
        >>> from nowcast.places.place import Place
        >>> start = np.datetime64("2020-01-01T00:00", "ns")
        >>> times, leads = start + np.arange(1, 4) * np.timedelta64(20, "m"), np.arange(1, 4) * 20.0
        >>> rates = np.array([[0.0], [6.0], [0.0]])
        >>> curve = PlaceForecast(Place("a", 0, 0), "covered", start, times, leads, rates)
        >>> answers = answers_of(curve, observed=0.0)
        >>> answers.now.raining, str(answers.starts.time)[11:16], answers.heaviest.rate
        (False, '00:40', 6.0)
    """
    now = _now(curve, observed)
    wet, dry = _wet(curve), _dry(curve)
    count = _known(curve)
    starts = None if now.raining else _first(wet, 0)
    since = 0 if now.raining else len(wet) if starts is None else starts
    stops = _first(dry, since)
    again = None if stops is None else _first(wet, stops)
    return Answers(
        curve,
        now,
        None if starts is None else Turn(curve.times[starts], _probability(curve, starts)),
        None if stops is None else Turn(curve.times[stops], _complement(curve, stops)),
        None if again is None else curve.times[again],
        _heaviest(curve),
        {minutes: amount_of(curve, minutes) for minutes in curve.sum_minutes},
        curve.times[count - 1] if count else None,
    )


def amount_of(curve: PlaceForecast, minutes: int) -> Amount | None:
    """Return the rain of the first minutes of a forecast; None if it is not known.

    The first available source counts: the mean of the members' sums (with their quantiles), the
    sum in a file, the sum of the expected rates by the probabilities, the sum of the rates. A rate
    holds from the valid time before to its own. Rates by cuts of the probabilities would add up to
    too much, as `nowcast.probability.accumulations` explains.

    Example:
        >>> from nowcast.places.place import Place
        >>> start = np.datetime64("2020-01-01T00:00", "ns")
        >>> times, leads = start + np.arange(1, 4) * np.timedelta64(20, "m"), np.arange(1, 4) * 20.0
        >>> rates = np.array([[3.0], [6.0], [0.0]])
        >>> curve = PlaceForecast(Place("a", 0, 0), "covered", start, times, leads, rates)
        >>> amount_of(curve, 30).amount, amount_of(curve, 60).amount
        (2.0, 3.0)
    """
    if minutes > curve.lead_minutes[-1]:
        return None
    if curve.pixel_members is not None:
        sums = largest(_sum_of(curve.pixel_members, curve, minutes))
        if np.isfinite(sums).all():
            return _amount_of_members(sums, curve.amounts)
    source, pixels = _pixel_sums(curve, minutes)
    amount = float(largest(pixels))
    if np.isnan(amount):
        return None
    known = curve.pixel_sum_probabilities.get(minutes, np.empty((0, 0)))
    chances = zip(curve.amounts, largest(known).tolist(), strict=False)
    return Amount(amount, source, probabilities={at: p for at, p in chances if np.isfinite(p)})


def _amount_of_members(sums: Float64Array, thresholds: Sequence[float]) -> Amount:
    """Return the amount from the members' sums (m,) in mm."""
    amount = float(sums.mean())
    quantiles = dict(zip(QUANTILES, np.quantile(sums, QUANTILES).tolist(), strict=True))
    shares = {at: float((np.float32(sums) >= np.float32(at)).mean()) for at in thresholds}
    return Amount(amount, "members", float((sums >= amount).mean()), quantiles, shares)


def _pixel_sums(curve: PlaceForecast, minutes: int) -> tuple[AmountSource, Float64Array]:
    """Return the source of sums without members, and the sums (n,) in mm."""
    if minutes in curve.pixel_sums:
        return "file", curve.pixel_sums[minutes]
    if curve.pixel_expected is not None:
        return "expected rates", _sum_of(curve.pixel_expected, curve, minutes)
    return "rates", _sum_of(curve.pixel_rates, curve, minutes)


def _sum_of(rates: Float64Array, curve: PlaceForecast, minutes: int) -> Float64Array:
    """Rates (lead, …) in mm/h → their sum (…) in mm over the first minutes."""
    ends = curve.lead_minutes
    starts = np.concatenate([[0.0], ends[:-1]])
    hours = np.clip(np.minimum(ends, minutes) - starts, 0, None) / 60.0
    used = hours > 0
    return np.asarray(np.tensordot(hours[used], rates[used], 1))


def _now(curve: PlaceForecast, observed: float | None) -> Now:
    rate = float(curve.rate[0]) if observed is None else observed
    time = curve.times[0] if observed is None else curve.reference_time
    known = bool(np.isfinite(rate))
    return Now(
        bool(rate >= np.float32(curve.rain_threshold)) if known else None,
        time,
        rate if known else None,
        observed is not None,
    )


def _known(curve: PlaceForecast) -> int:
    """Return the number of lead times before the first unknown one."""
    unknown = np.flatnonzero(np.isnan(curve.rate))
    return int(unknown[0]) if unknown.size else len(curve.rate)


def _wet(curve: PlaceForecast) -> list[bool]:
    """Return whether it rains, for each lead time before the first unknown one."""
    return [bool(one) for one in curve.rate[: _known(curve)] >= np.float32(curve.rain_threshold)]


def _dry(curve: PlaceForecast) -> list[bool]:
    return [not one for one in _wet(curve)]


def _first(truths: list[bool], since: int) -> int | None:
    return next((k for k in range(since, len(truths)) if truths[k]), None)


def _heaviest(curve: PlaceForecast) -> Heaviest | None:
    rates = curve.rate[: _known(curve)]
    if not rates.size or rates.max() < np.float32(curve.rain_threshold):
        return None
    step = int(rates.argmax())
    rate = float(rates[step])
    reached = [one for one in curve.probability if np.float32(one) <= rate]
    threshold = max(reached, default=None)
    probability = None if threshold is None else _known_number(curve.probability[threshold][step])
    return Heaviest(curve.times[step], rate, threshold, probability)


def _probability(curve: PlaceForecast, step: int) -> float | None:
    """Return the probability of rain at a lead time; None if unknown."""
    known = curve.probability.get(curve.rain_threshold)
    return None if known is None else _known_number(known[step])


def _complement(curve: PlaceForecast, step: int) -> float | None:
    probability = _probability(curve, step)
    return None if probability is None else 1.0 - probability


def _known_number(value: Float64Array | float) -> float | None:
    return float(value) if np.isfinite(value) else None
