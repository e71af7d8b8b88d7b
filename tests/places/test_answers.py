"""What people ask, worked out by hand from a few rates; in fields, in words and in tables."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
import pytest
from forecasts import HERE, NOON, STEP, forecast_of, with_members

from nowcast.errors import ConfigError
from nowcast.forecast.file_accumulation import FileAccumulation, with_accumulations
from nowcast.places.answers import Amount, Answers, Turn, amount_of, answers_of
from nowcast.places.curve import curve_at
from nowcast.places.place import Place
from nowcast.places.tables import as_csv, document_of
from nowcast.places.words import in_words
from nowcast.places.zone import in_iso, zone_of

NAN = float("nan")
BERLIN = zone_of("timezone", "Europe/Berlin")


def asked(
    rates: list[float], observed: float | None = 0.0, rain: list[float] | None = None
) -> Answers:
    """The answers of a forecast every 5 minutes; `rain`: the probability of 0.1 mm/h."""
    probabilities: dict[float, Sequence[float]] | None = None
    if rain is not None:
        probabilities = {0.1: rain, 5.0: [0.5 * one for one in rain]}
    return answers_of(curve_at(forecast_of(rates, probabilities), Place("a", *HERE)), observed)


def turn(answer: Turn | None) -> Any:
    """(minutes since the reference time, probability)."""
    return answer and (int((answer.time - NOON) / np.timedelta64(1, "m")), answer.probability)


def millimetres(amount: Amount | None) -> float:
    """Of a sum without members."""
    assert amount is not None and amount.probability is None and amount.quantiles is None
    return amount.amount


def test_rain_starts_stops_and_comes_again() -> None:
    answers = asked([0, 0.2, 6, 0, 0.1, 0], rain=[0.1, 0.6, 0.9, 0.25, 0.5, 0])
    assert answers.now.raining is False and answers.now.observed
    assert turn(answers.starts) == (10, pytest.approx(0.6))
    assert turn(answers.stops) == (20, pytest.approx(0.75))
    assert answers.again == NOON + 5 * STEP
    assert answers.heaviest is not None
    assert answers.heaviest.time == NOON + 3 * STEP and answers.heaviest.rate == 6.0
    assert answers.heaviest.threshold == 5.0
    assert answers.heaviest.probability == pytest.approx(0.45)
    assert in_words(answers, UTC) == (
        "Rain starts at 12:10 UTC (probability 0.6), stops about 12:20 (probability 0.75), again"
        " from 12:25; heaviest 6 mm/h at 12:15 (probability 0.45 of at least 5 mm/h); 0.7 mm expected"
        " in the next 30 minutes."
    )


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (
            asked([3, 0, 0], observed=4.0),
            "Raining now (4 mm/h), stops about 12:10 UTC; heaviest 3 mm/h at 12:05.",
        ),
        (asked([0, 0], observed=12.4), "Raining now (12 mm/h), stops about 12:05 UTC."),
        (
            asked([3, 2], observed=None),
            "Raining at 12:05 UTC (3 mm/h), goes on until 12:10 at least; heaviest 3 mm/h at"
            " 12:05.",
        ),
        (
            asked([0, 2], observed=NAN),
            "Rain starts at 12:10 UTC, lasts until 12:10 at least; heaviest 2 mm/h at 12:10.",
        ),
        (
            asked([0, 0], rain=[0.02, 0.08]),
            "No rain until 12:10 UTC (probability of rain at most 0.08, at 12:10).",
        ),
        (asked([0, 0]), "No rain until 12:10 UTC."),
        (
            asked([1, NAN, 0]),
            "Rain starts at 12:05 UTC, lasts until 12:05 at least; heaviest 1 mm/h at 12:05; not"
            " known after 12:05.",
        ),
        (asked([NAN, 1], observed=0.0), "Dry now; the first forecast frame does not cover it."),
        (
            asked([NAN, 1], observed=NAN),
            "Not known whether it rains now; the first forecast frame does not cover it.",
        ),
        (asked([NAN, NAN]), "Not covered by the forecast."),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_answers_in_words(answers: Answers, words: str) -> None:
    assert in_words(answers, UTC) == words


def test_after_what_is_unknown_nothing_starts_or_stops() -> None:
    answers = asked([0, NAN, 5], rain=[0, NAN, 1])
    assert (answers.starts, answers.stops, answers.heaviest) == (None, None, None)
    assert answers.known_until == NOON + STEP


def test_sums_are_rates_times_the_time_since_the_valid_time_before() -> None:
    rates = [6.0, 12.0] + 10 * [1.2]
    sums = asked(rates).sums
    assert millimetres(sums[30]) == pytest.approx((6 + 12 + 4 * 1.2) / 12)
    assert millimetres(sums[60]) == pytest.approx((6 + 12 + 10 * 1.2) / 12)
    assert asked(rates[:6]).sums[60] is None and asked(rates[:6]).sums[30] is not None
    assert asked([6.0, NAN] + 4 * [0.0]).sums[30] is None
    # of ten minutes a half
    wide = forecast_of([6.0, 12.0, 3.0], step=2 * STEP)
    amount = amount_of(curve_at(wide, Place("a", *HERE)), 25)
    assert millimetres(amount) == pytest.approx((6 + 12 + 0.5 * 3) / 6)


def test_probabilities_without_members_tell_the_expected_sum() -> None:
    """A rate of 1 mm/h or more with 0.8, of 4 or more with 0.4: below 1 mm/h 0.8 · 1, then 3 times
    the logarithmic mean of 0.8 and 0.4, 0.4 / ln 2; and 0.4 times the 8 mm/h by which the rate of
    12 mm/h is above the last threshold.
    """
    likely = {1.0: [0.8] * 5 + [np.nan], 4.0: [0.4] * 5 + [np.nan]}
    curve = curve_at(forecast_of(6 * [12.0], likely), Place("a", *HERE))
    expected = 0.8 + 3 * 0.4 / np.log(2) + 0.4 * 8
    np.testing.assert_array_equal(curve.rate, 12.0)
    assert curve.pixel_expected is not None
    np.testing.assert_allclose(curve.pixel_expected[:, 0], 5 * [expected] + [12.0], rtol=1e-5)
    amount = answers_of(curve).sums[30]
    assert millimetres(amount) == pytest.approx((5 * expected + 12.0) / 12)
    assert amount is not None and amount.source == "expected rates"


def test_a_sum_that_is_expected_is_told_though_no_rain_is_forecast() -> None:
    """Of 0.1 mm/h or more with 0.3, of 1 or more with 0.2: 0.1 · 0.3 + 0.9 · 0.1 / ln 1.5."""
    likely = {0.1: 12 * [0.3], 1.0: 12 * [0.2]}
    curve = curve_at(forecast_of(12 * [0.0], likely), Place("a", *HERE))
    assert in_words(answers_of(curve, 0.0), UTC) == (
        "No rain until 13:00 UTC (probability of rain at most 0.3, at 12:05); 0.1 mm expected in"
        " the next 30 minutes, 0.3 mm expected in the next hour."
    )
    unlikely = {0.1: 12 * [0.06], 1.0: 12 * [0.04]}
    rare = curve_at(forecast_of(12 * [0.0], unlikely), Place("a", *HERE))
    assert in_words(answers_of(rare, 0.0), UTC).endswith(
        "(probability of rain at most 0.06, at 12:05)."
    )


def test_members_tell_the_probability_and_quantiles_of_a_sum() -> None:
    members = np.zeros((12, 11, 3, 4))
    members[:, :, 1, 1] = np.arange(11)  # member k rains k mm/h all the time
    forecast = with_members(forecast_of(12 * [3.0]), members)
    amount = answers_of(curve_at(forecast, Place("a", *HERE))).sums[60]
    # their mean, whatever the rate
    assert amount is not None and amount.amount == pytest.approx(5.0)
    assert amount.probability == pytest.approx(6 / 11) and amount.quantiles is not None
    assert list(amount.quantiles.values()) == pytest.approx([1.0, 5.0, 9.0])
    words = in_words(answers_of(curve_at(forecast, Place("a", *HERE)), 3.0), UTC)
    assert words.endswith(
        "5 mm (1 to 9 mm in 8 of 10 members) expected in the next hour"
        " (probability 0.91 of at least 1 mm, 0.82 of 2 mm, 0.55 of 5 mm, 0.091 of 10 mm)."
    )
    assert amount.probabilities == pytest.approx(
        {1: 10 / 11, 2: 9 / 11, 5: 6 / 11, 10: 1 / 11, 20: 0}
    )


def test_a_dry_place_is_told_a_sum_of_members_from_a_tenth_of_a_millimetre_on() -> None:
    """The expected sum or its highest quantile reaches 0.1 mm; equal quantiles are named once."""
    members = np.zeros((12, 20, 3, 4))
    members[:, 0, 1, 1] = 0.1  # one of twenty drizzles
    forecast = with_members(forecast_of(12 * [0.0]), members)
    curve = curve_at(forecast, Place("a", *HERE))
    assert "expected" not in in_words(answers_of(curve, 0.0), UTC)
    members[:, 0, 1, 1] = 6.0
    forecast = with_members(forecast_of(12 * [0.0]), members)
    words = in_words(answers_of(curve_at(forecast, Place("a", *HERE)), 0.0), UTC)
    assert "0.3 mm (0 mm in 8 of 10 members) expected in the next hour" in words
    members[:, :4, 1, 1] = 0.3  # the mean is 0.06 mm
    forecast = with_members(forecast_of(12 * [0.0]), members)
    words = in_words(answers_of(curve_at(forecast, Place("a", *HERE)), 0.0), UTC)
    assert "0.1 mm (0 to 0.3 mm in 8 of 10 members) expected in the next hour" in words


def test_members_tell_a_sum_and_its_thresholds_though_a_file_has_another_sum() -> None:
    members = np.zeros((12, 4, 3, 4))
    members[:, :, 1, 1] = [0, 1, 2, 9]
    members[:, 0, 1, 2] = 12.0  # the pixel next to it
    forecast = with_members(forecast_of(12 * [3.0]), members)
    forecast = with_accumulations(forecast, [sums_of_an_hour(0.5, (2.0, 9.0), (0.1, 0.1))])
    amount = answers_of(curve_at(forecast, Place("a", *HERE))).sums[60]
    assert amount is not None and (amount.amount, amount.source) == (3.0, "members")
    assert amount.probabilities == {2.0: 0.5, 9.0: 0.25}
    # of a circle the largest sum of each member: 12, 1, 2 and 9 mm
    circle = answers_of(curve_at(forecast, Place("a", *HERE, radius=8.0))).sums[60]
    assert circle is not None and (circle.amount, circle.probability) == (6.0, 0.5)
    assert circle.probabilities == {2.0: 0.75, 9.0: 0.5}
    assert circle.quantiles is not None and circle.quantiles[0.5] == pytest.approx(5.5)


def test_without_members_the_probabilities_of_a_sum_are_those_that_a_file_has() -> None:
    one = sums_of_an_hour(0.5, (2.0, 10.0), (0.3, 0.0))
    assert one.probabilities is not None
    one.probabilities[:, :, 1, 2] = 0.6  # the pixel next to it
    forecast = with_accumulations(forecast_of(12 * [3.0]), [one])
    answers = answers_of(curve_at(forecast, Place("a", *HERE)))
    amount, half = answers.sums[60], answers.sums[30]
    assert amount is not None and amount.source == "file" and half is not None
    assert amount.probabilities == pytest.approx({2.0: 0.3, 10.0: 0.0}, abs=0.006)
    assert half.probabilities == {}
    assert in_words(answers, UTC).endswith("in the next hour (probability 0.3 of at least 2 mm).")
    circle = answers_of(curve_at(forecast, Place("a", *HERE, radius=8.0))).sums[60]
    assert circle is not None and circle.probabilities[2.0] == pytest.approx(0.6, abs=0.006)


def sums_of_an_hour(
    amount: float, thresholds: tuple[float, ...], probabilities: tuple[float, ...]
) -> FileAccumulation:
    """The same sum in mm, with the same probabilities, at every pixel and each of 12 leads."""
    chances = np.tile(np.reshape(probabilities, (1, -1, 1, 1)), (12, 1, 3, 4)).astype(np.float32)
    return FileAccumulation(60, np.full((12, 3, 4), amount, np.float32), thresholds, chances)


def test_what_is_less_likely_than_not_may_start_and_may_stop() -> None:
    may = asked([0, 2, 0], rain=[0.1, 0.38, 0.55])
    assert in_words(may, UTC).startswith(
        "Rain may start at 12:10 UTC (probability 0.38), may stop about 12:15 (probability 0.45); "
    )
    raining = asked([2, 0], observed=2.0, rain=[0.9, 0.6])
    assert in_words(raining, UTC).startswith(
        "Raining now (2 mm/h), may stop about 12:10 UTC (probability 0.4); "
    )
    even = asked([0, 2, 0], rain=[0.1, 0.5, 0.5])
    assert in_words(even, UTC).startswith(
        "Rain starts at 12:10 UTC (probability 0.5), stops about "
    )


def test_the_sum_that_a_file_has_is_the_one_that_is_told() -> None:
    forecast = forecast_of(12 * [3.0])
    sums = np.full((12, 3, 4), np.nan, np.float32)
    sums[5:] = np.arange(7, dtype=np.float32)[:, None, None]
    forecast["accumulation_30min"] = (("time", "y", "x"), sums + 2)
    answers = answers_of(curve_at(forecast, Place("a", *HERE)))
    assert millimetres(answers.sums[30]) == 2.0 and millimetres(answers.sums[60]) == 3.0


def test_sums_of_other_lengths_in_a_file_are_told_too() -> None:
    forecast = forecast_of(24 * [3.0])
    sums = [
        FileAccumulation(minutes, np.full((24, 3, 4), minutes / 10, np.float32))
        for minutes in (15, 120, 180)
    ]
    answers = answers_of(curve_at(with_accumulations(forecast, sums), Place("a", *HERE)))
    told = {minutes: amount and amount.amount for minutes, amount in answers.sums.items()}
    assert told == pytest.approx({15: 1.5, 30: 1.5, 60: 3.0, 120: 12.0})
    assert in_words(answers, UTC).endswith(
        "1.5 mm expected in the next 15 minutes, 1.5 mm expected in the next 30 minutes, 3 mm"
        " expected in the next hour, 12 mm expected in the next 2 hours."
    )


def test_the_sum_of_a_circle_is_that_of_its_wettest_pixel() -> None:
    forecast = forecast_of([6.0, 0, 0, 0, 0, 0])
    forecast["precipitation_rate"][1, 1, 2] = 12.0
    amount = answers_of(curve_at(forecast, Place("near", *HERE, radius=8.0))).sums[30]
    assert amount == Amount(1.0, "rates")  # not 1.5, that of the largest rates


def test_times_stand_in_the_zone_asked_for_summer_and_winter() -> None:
    assert in_iso(NOON, BERLIN) == "2024-06-02T14:00:00+02:00"
    assert in_iso(np.datetime64("2024-01-02T12:00"), BERLIN) == "2024-01-02T13:00:00+01:00"
    assert in_iso(NOON, UTC) == "2024-06-02T12:00:00Z"
    assert in_words(asked([0, 2]), BERLIN).startswith(
        "Rain starts at 14:10 CEST, lasts until 14:10 "
    )


def test_where_the_clocks_change_each_clock_time_names_its_zone() -> None:
    one = asked([0, 2, 0])
    change = np.datetime64("2024-10-27T00:54", "ns") - NOON
    curve = replace(one.curve, reference_time=NOON + change, times=one.curve.times + change)
    assert in_words(answers_of(curve, 0.0), BERLIN).startswith(
        "Rain starts at 02:04 CET, stops about 02:09 CET; heaviest 2 mm/h at 02:04 CET"
    )


@pytest.mark.parametrize("name", ["Europe/Berlinn", "", "Europe", "../etc/passwd", "/etc/passwd"])
def test_an_unknown_zone_names_its_key(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^timezone: "):
        zone_of("timezone", name)


@pytest.mark.parametrize("zone", [UTC, BERLIN], ids=str)
def test_json_and_csv_have_the_same_numbers(zone: tzinfo) -> None:
    members = np.zeros((2, 11, 3, 4))
    members[:, :, 1, 1] = np.arange(11)
    forecast = with_members(forecast_of([0.0, 2.5], {0.1: [0.25, 0.75]}), members)
    places = (Place("a, b", *HERE), Place("far", -10.0, 10.0, 5.0))
    answers = [
        answers_of(curve_at(forecast, place), seen)
        for place, seen in zip(places, (0.0, NAN), strict=True)
    ]
    document = json.loads(json.dumps(document_of(forecast, answers, zone, "a.nc"), allow_nan=False))
    rows = list(csv.DictReader(io.StringIO(as_csv(answers, zone))))
    assert document["method"] == "model" and document["timezone"] == str(zone)
    here, far = document["places"]
    assert (here["name"], here["status"], far["status"]) == ("a, b", "covered", "outside")
    assert here["raining_now"] is False and far["raining_now"] is None
    assert here["starts_at"] == {"time": in_iso(NOON + 2 * STEP, zone), "probability": 0.75}
    assert here["sums"] == {"30": None, "60": None}
    assert far["words"] == "Outside of the grid of the forecast." and far["heaviest"] is None
    step = here["lead_times"][1]
    assert step == {
        "time": in_iso(NOON + 2 * STEP, zone), "lead_minutes": 10.0, "rate": 2.5,
        "quantiles": {"p10": 1.0, "p50": 5.0, "p90": 9.0}, "probability": {"0.1": 0.75},
    }  # fmt: skip
    assert [row["name"] for row in rows] == ["a, b", "a, b", "far", "far"]
    assert rows[1] == {
        "name": "a, b", "latitude": "50.9", "longitude": "10.1", "radius": "", "status": "covered",
        "time": step["time"], "lead_minutes": "10.0", "rate": "2.5", "wet_share": "",
        "rate_p10": "1.0", "rate_p50": "5.0", "rate_p90": "9.0", "probability_0.1": "0.75",
    }  # fmt: skip
    assert rows[3]["rate"] == rows[3]["rate_p50"] == rows[3]["probability_0.1"] == ""


def test_json_tells_where_a_sum_comes_from_and_how_likely_each_threshold_is() -> None:
    members = np.zeros((6, 4, 3, 4))
    members[:, 3] = 12.0
    here = Place("a", *HERE)
    known = with_members(forecast_of(6 * [0.0]), members)
    known, unknown = (
        document_of(one, [answers_of(curve_at(one, here))], UTC, "a.nc")["places"][0]["sums"]["30"]
        for one in (known, forecast_of(6 * [12.0]))
    )
    assert known == {
        "amount": 1.5, "source": "members", "probability": 0.25,
        "quantiles": {"p10": 0.0, "p50": 0.0, "p90": 4.2},
        "probabilities": {"1": 0.25, "2": 0.25, "5": 0.25, "10": 0.0, "20": 0.0},
    }  # fmt: skip
    assert unknown == {
        "amount": 6.0, "source": "rates", "probability": None, "quantiles": None,
        "probabilities": None,
    }  # fmt: skip


def test_a_place_outside_whose_swapped_coordinates_lie_inside_is_asked_about() -> None:
    latitude, longitude = HERE
    forecast = forecast_of([0.0])
    swapped, far = [
        in_words(answers_of(curve_at(forecast, Place("a", *where))), UTC)
        for where in ((longitude, latitude), (-latitude, longitude))
    ]
    assert swapped == "Outside of the grid of the forecast (latitude and longitude swapped?)."
    assert far == "Outside of the grid of the forecast."
