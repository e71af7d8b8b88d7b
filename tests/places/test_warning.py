"""Warnings by rule, worked out by hand."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import numpy as np
import pytest
import xarray as xr
from forecasts import HERE, NOON, STEP, forecast_of, with_members

from nowcast.errors import ConfigError
from nowcast.places.areas import Area
from nowcast.places.pixels import pixels_of
from nowcast.places.place import Place
from nowcast.places.rule import Rule, parse_rules
from nowcast.places.warning import (
    RuleWarning,
    ends_too_early,
    warning_document,
    warning_in_words,
    warnings_of,
)
from nowcast.places.zone import zone_of

ALL = Area("all", (np.array([[9.0, 50.0], [11.0, 50.0], [11.0, 52.0], [9.0, 52.0]]),))
WEST = Area("west", (np.array([[9.0, 50.0], [10.05, 50.0], [10.05, 52.0], [9.0, 52.0]]),))
FAR = Area("far", (np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]),))
RULE = Rule("flood", rate=10.0, probability=0.3, within=60.0, area="areas.geojson")


def warned(
    forecast: xr.Dataset, rule: Rule = RULE, *areas: Area
) -> tuple[list[RuleWarning], list[str]]:
    return warnings_of(forecast, rule, areas, pixels_of(forecast))


def test_the_probability_of_a_pixel_decides_and_tells_from_when_to_when() -> None:
    rates, likely = [1, 12, 8, 15, 0], [0.1, 0.3, 0.2, 0.6, 0.0]
    forecast = forecast_of(rates, {1.0: [1, 1, 1, 1, 0], 10.0: likely})
    (warning,), remarks = warned(forecast, RULE, ALL, WEST)
    assert remarks == []
    assert (warning.area, warning.basis) == ("all", "probability")
    assert (warning.start, warning.end) == (NOON + 2 * STEP, NOON + 4 * STEP)
    assert warning.highest_probability == pytest.approx(0.6) and warning.highest_rate == 15.0
    assert warning.share == pytest.approx(1 / 12)
    assert warning_in_words(warning, UTC) == (
        "flood: 10 mm/h or more in all from 12:10 to 12:20 UTC (probability up to 0.6), on up to"
        " 8.3 % of it; forecast rate up to 15 mm/h."
    )
    assert warning_document(warning, forecast, UTC) | {"words": ""} == {
        "rule": "flood", "area": "all", "start": "2024-06-02T12:10:00Z",
        "end": "2024-06-02T12:20:00Z", "rate": 10.0, "probability": 0.3, "within": 60.0,
        "basis": "probability", "highest_probability": 0.6, "highest_rate": 15.0, "share": 0.083,
        "forecast_reference_time": "2024-06-02T12:00:00Z", "words": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "start", "words"),
    [
        ("Australia/Brisbane", "2024-06-02T05:10", "from 15:10 to 15:40 AEST "),
        ("Asia/Kathmandu", "2024-06-02T05:10", "from 10:55 to 11:25 UTC+05:45 "),
        ("Europe/Berlin", "2024-10-27T00:50", "from 02:50 CEST to 02:20 CET "),
        ("Europe/Berlin", "2024-10-27T00:00", "from 02:00 to 02:30 CEST "),
    ],
)
def test_clock_times_of_a_warning_name_their_zone(name: str, start: str, words: str) -> None:
    first = np.datetime64(start, "ns")
    end = first + 6 * STEP
    warning = RuleWarning(RULE, "all", first, end, "members", 0.6, 15.0, 1.0)
    assert words in warning_in_words(warning, zone_of("timezone", name))


def test_what_comes_later_than_asked_for_is_no_warning() -> None:
    forecast = forecast_of([0, 0, 0, 20], {10.0: [0, 0, 0, 0.9]})
    early = Rule("flood", 10.0, 0.3, within=15.0, area="a")
    assert warned(forecast, early, ALL) == ([], [])
    assert len(warned(forecast, RULE, ALL)[0]) == 1


def test_a_forecast_that_ends_before_the_minutes_of_a_rule_is_remarked() -> None:
    forecast = forecast_of([0, 0, 0], {10.0: [0, 0, 0]})
    for within, ends in ((15.0, False), (19.0, False), (20.0, True)):
        remarks = ends_too_early(forecast, Rule("flood", 10.0, 0.3, within, area="a"))
        assert bool(remarks) == ends
    assert remarks == [
        "warnings.rules.flood.within: the forecast ends after 15 of these 20 minutes, and warns of"
        " nothing later"
    ]


def test_all_of_an_area_is_a_hundred_percent() -> None:
    (warning,), _ = warned(forecast_of([12], {10.0: [0.9]}, elsewhere=12.0), RULE, ALL)
    assert "on up to 100 % of it" in warning_in_words(replace(warning, share=1.0), UTC)


def test_at_a_place_the_rule_looks_at_its_pixel() -> None:
    forecast = forecast_of([11, 0], {10.0: [0.5, 0]}, elsewhere=50.0)
    here = Rule("here", 10.0, 0.3, 60.0, place=Place("50.9, 10.1", *HERE))
    (warning,), _ = warned(forecast, here)
    assert (warning.area, warning.share, warning.highest_rate) == ("50.9, 10.1", 1.0, 11.0)
    assert warning_in_words(warning, UTC) == (
        "here: 10 mm/h or more in 50.9, 10.1 at 12:05 UTC (probability up to 0.5); forecast rate"
        " up to 11 mm/h."
    )


def test_members_decide_outside_of_the_thresholds() -> None:
    members = np.zeros((1, 10, 3, 4))
    members[0, :4, 1, 1] = 20.0
    forecast = with_members(forecast_of([1.0], {5.0: [0.9]}), members)
    (warning,), remarks = warned(forecast, RULE, ALL)
    assert (warning.basis, remarks) == ("members", [])
    assert warning.highest_probability == pytest.approx(0.4)


def test_between_two_thresholds_the_probability_is_interpolated() -> None:
    """10 mm/h is halfway from 5 to 20 in logarithms, and the rate itself never reaches it."""
    rates, likely = [6, 6, 6], {5.0: [0.5, 0.6, 0.7], 20.0: [0.0, 0.0, 0.1]}
    members = np.full((3, 5, 3, 4), 50.0)
    for forecast in (forecast_of(rates, likely), with_members(forecast_of(rates, likely), members)):
        (warning,), remarks = warned(forecast, RULE, ALL)
        assert (warning.basis, remarks) == ("probability", [])
        assert (warning.start, warning.end) == (NOON + 2 * STEP, NOON + 3 * STEP)
        assert warning.highest_probability == pytest.approx(0.4, abs=0.003)


def test_a_threshold_in_single_precision_is_that_of_the_rule() -> None:
    forecast = forecast_of([1.0], {0.1: [0.9], 5.0: [0.1]})
    single = forecast["threshold"].values.astype(np.float32).astype(float)
    forecast = forecast.assign_coords(threshold=single)
    (warning,), remarks = warned(forecast, Rule("drizzle", 0.1, 0.3, 60.0, area="a"), ALL)
    assert (warning.basis, remarks) == ("probability", [])


def test_without_probabilities_the_rate_itself_decides() -> None:
    (warning,), remarks = warned(forecast_of([10.0, 9.9]), RULE, ALL)
    assert (warning.basis, warning.highest_probability, remarks) == ("rate", None, [])
    assert warning.start == warning.end == NOON + STEP
    assert "probability" not in warning_in_words(warning, UTC)


@pytest.mark.parametrize("ladder", [(0.5, 5.0), (20.0, 50.0)])
def test_outside_of_the_thresholds_the_rate_decides_and_that_is_remarked(
    ladder: tuple[float, float],
) -> None:
    forecast = forecast_of([10.0, 9.9], {one: [1.0, 1.0] for one in ladder})
    (warning,), remarks = warned(forecast, RULE, ALL)
    assert (warning.basis, warning.start, warning.end) == ("rate", NOON + STEP, NOON + STEP)
    assert remarks == [
        "warnings.rules.flood.rate: 10 mm/h lies outside of the forecast's probabilities,"
        f" {ladder[0]:g} to {ladder[1]:g} mm/h, so its rates decide"
    ]


def test_an_area_that_the_forecast_does_not_know_is_remarked() -> None:
    nothing = forecast_of([np.nan], elsewhere=np.nan)
    found, remarks = warned(nothing, RULE, ALL, FAR)
    assert found is None
    assert remarks == [
        "warnings.rules.flood: all is not covered by the forecast",
        "warnings.rules.flood: far is outside of the grid",
    ]


def test_rules_are_read_by_their_names() -> None:
    about = {"rate": 10, "probability": 0.3, "within": 60}
    flood, here = parse_rules({
        "flood": {**about, "area": "areas.geojson"}, "here": {**about, "place": [50.9, 10.1]},
    })  # fmt: skip
    assert flood == RULE
    assert here == Rule("here", 10.0, 0.3, 60.0, place=Place("50.9, 10.1", 50.9, 10.1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 5}, "warnings.rules.a: takes names with values, not 5; give "),
        ({"a": {"rate": 1, "within": 60, "area": "a"}}, "warnings.rules.a: needs probability too; give "),
        ({"a": {"rate": 1, "probability": 0.3, "within": 60}}, "warnings.rules.a: needs one of area and place"),
        ({"a": {"rate": 1, "probability": 0.3, "within": 60, "area": "a", "place": [1, 2]}}, "rules.a: needs one of"),
        ({"a": {"rate": 1, "probability": 0.3, "within": 60, "area": "a", "raet": 1}}, "rules.a: has no key raet; give "),
        ({"a": {"rate": 0, "probability": 0.3, "within": 60, "area": "a"}}, "rules.a.rate: give a number"),
        ({"a": {"rate": 1, "probability": 30, "within": 60, "area": "a"}}, "rules.a.probability: give"),
        ({"a": {"rate": 1, "probability": 0.3, "within": "1h", "area": "a"}}, "rules.a.within: give"),
        ({"a": {"rate": 1, "probability": 0.3, "within": 60, "area": 5}}, "rules.a.area: give the path"),
        ({"a": {"rate": 1, "probability": 0.3, "within": 60, "place": "x"}}, "rules.a.place: give lat"),
        ({'a"b': {}}, "letters, digits"),
    ],
)  # fmt: skip
def test_what_is_no_rule_names_its_key(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_rules(given)
