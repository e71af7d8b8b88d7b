import numpy as np
import pytest

from nowcast.errors import ConfigError
from nowcast.periods import Period, parse_period, parse_time, refuse_overlap

NANOSECOND = np.timedelta64(1, "ns")


def at(text):
    return np.datetime64(text, "ns")


def test_a_date_stands_for_its_whole_day():
    period = parse_period("data.train", ["2018-05-10", "2018-05-11"])
    assert period == Period(at("2018-05-10T00:00"), at("2018-05-12T00:00") - NANOSECOND)
    assert at("2018-05-10T00:00") in period
    assert at("2018-05-11T23:55") in period
    assert at("2018-05-12T00:00") not in period
    assert at("2018-05-09T23:55") not in period


def test_one_day_may_be_a_period():
    period = parse_period("data.test", ["2018-05-10", "2018-05-10"])
    assert period.end - period.start == np.timedelta64(24, "h") - NANOSECOND


def test_times_are_the_first_and_the_last_themselves():
    period = parse_period("period", ["2018-05-10T06:00", "2018-05-10T12:00"])
    assert period == Period(at("2018-05-10T06:00"), at("2018-05-10T12:00"))
    assert at("2018-05-10T12:00") in period
    assert at("2018-05-10T12:00") + NANOSECOND not in period


@pytest.mark.parametrize(
    "text",
    ["2018-05-17T12:00", "2018-05-17T12:00Z", " 2018-05-17 12:00 ", "2018-05-17T12:00:00.000Z"],
)
def test_a_time_can_be_written_in_these_ways(text):
    assert parse_time("at", text) == at("2018-05-17T12:00")
    assert parse_time("at", text).dtype == np.dtype("datetime64[ns]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaT",
        "soon",
        "now",
        "today",
        "17.05.2018",
        "2018-02-30",
        "2018-05-17T25:00",
        "2018",
        "2018-05",
        "20180517",
        "2018-05-17Z",
    ]
    + ["2018-05-17T12:00+02:00", "1600-01-01", "9999-01-01"],
)
def test_what_is_no_time_is_refused_with_its_key(text):
    """A month would be its first day alone, '20180517' a year, and nanoseconds since 1970 wrap
    in 1677 and 2262.
    """
    with pytest.raises(
        ConfigError, match=r"^data\.train: .*is not a time; write it in UTC"
    ) as refusal:
        parse_period("data.train", ["2018-05-10", text])
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("texts", [[], ["2018-05-10"], ["2018-05-10", "2018-05-11", "2018-05-12"]])
def test_a_period_has_a_first_and_a_last_day(texts):
    with pytest.raises(ConfigError, match=r"^data\.train: give the first and the last day"):
        parse_period("data.train", texts)


def test_a_period_that_ends_before_it_starts_is_refused():
    with pytest.raises(
        ConfigError, match=r"^data\.train: ends \(2018-05-09\) before it starts \(2018-05-10\)"
    ):
        parse_period("data.train", ["2018-05-10", "2018-05-09"])


def days(first, last):
    return parse_period("", [f"2018-05-{first}", f"2018-05-{last}"])


@pytest.mark.parametrize("other", [(12, 14), (14, 20), (10, 20), (15, 15), (11, 12)])
def test_periods_that_share_a_day_are_refused_and_both_are_named(other):
    periods = {
        "data.train": days(12, 15),
        "data.validation": days(25, 26),
        "data.test": days(*other),
    }
    with pytest.raises(ConfigError, match=r"^data\.train .* and data\.test .* overlap"):
        refuse_overlap(periods)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_shared_instant_is_an_overlap(names):
    periods = {
        "a": parse_period("a", ["2018-05-10T00:00", "2018-05-10T12:00"]),
        "b": parse_period("b", ["2018-05-10T12:00", "2018-05-10T18:00"]),
    }
    with pytest.raises(ConfigError, match=rf"{names[0]} .* and {names[1]} .* overlap"):
        refuse_overlap({name: periods[name] for name in names})


def test_days_next_to_each_other_do_not_overlap():
    refuse_overlap(
        {"data.train": days(12, 15), "data.test": days(16, 17), "data.validation": days(10, 11)}
    )


def test_a_period_reads_as_its_first_and_last_minute():
    assert str(days(10, 11)) == "2018-05-10T00:00 to 2018-05-11T23:59"
