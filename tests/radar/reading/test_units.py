import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar.reading.units import (
    choose_minutes,
    choose_units,
    dbz_to_rate,
    quantity_of,
    rate_factor,
    rate_to_dbz,
)


def test_one_millimetre_an_hour_is_23_dbz_by_marshall_palmer():
    assert rate_to_dbz(np.array([1.0]))[0] == approx(10 * np.log10(200))  # Z = 200 · 1^1.6
    assert dbz_to_rate(np.array([10 * np.log10(200)]))[0] == approx(1.0)


def test_other_zr_constants_are_used():
    assert dbz_to_rate(np.array([10 * np.log10(58.53 * 2**1.56)]), 58.53, 1.56)[0] == approx(2.0)


def test_no_echo_is_exactly_dry_and_missing_stays_missing():
    rate = dbz_to_rate(np.array([-np.inf, -32.0, -0.5, np.nan], dtype=np.float32))
    assert rate.dtype == np.float32
    assert rate[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(rate[3])
    assert rate_to_dbz(np.array([0.0]))[0] == -np.inf


@pytest.mark.parametrize(
    "spelling",
    ["mm h-1", "mm/h", "mm/hr", "mm hr-1", "mm hour-1", "mm h^-1", "mm h**-1", "mm/hour", "MM/H", "mm per hour", "mm.h-1",
     "mm h⁻¹", " mm  h-1 ", "kg m-2 h-1", "kg/m2/h", "millimeters/hour"],
)  # fmt: skip
def test_spellings_of_mm_per_hour_mean_the_same(spelling):
    assert rate_factor(spelling) == 1.0


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("mm s-1", 3600),
        ("kg m-2 s-1", 3600),
        ("kg m^-2 s^-1", 3600),
        ("m s-1", 3.6e6),
        ("mm/min", 60),
        ("mm day-1", 1 / 24),
    ],
)
def test_rates_become_mm_per_hour(units, factor):
    assert rate_factor(units) == approx(factor)


@pytest.mark.parametrize(
    ("units", "minutes", "factor"),
    [("mm", 5, 12), ("kg m-2", 10, 6), ("m", 60, 1000), ("mm", 6, 10)],
)
def test_amounts_become_rates_by_their_minutes(units, minutes, factor):
    assert rate_factor(units, minutes) == approx(factor)


def test_an_amount_without_minutes_is_refused():
    with pytest.raises(DataError, match=r"data\.accumulation_minutes"):
        rate_factor("mm")
    with pytest.raises(DataError, match=r"data\.accumulation_minutes"):
        rate_factor("mm", 0)


@pytest.mark.parametrize(
    "units", ["", "kg", "K", "1", "mm2", "h mm", "degrees_north", "m-1", "%", "mm/5min"]
)
def test_what_is_no_rain_is_not_known(units):
    assert quantity_of(units) is None
    with pytest.raises(DataError):
        rate_factor(units)


def test_quantities_are_told_apart():
    assert [quantity_of(units) for units in ("mm/h", "kg m-2", "dBZ")] == [
        "rate",
        "amount",
        "reflectivity",
    ]


def test_the_units_of_the_user_go_before_those_of_the_file() -> None:
    assert choose_units(None, "mm", "a.nc: 'rain'") == "mm"
    assert choose_units("dBZ", "mm", "a.nc: 'rain'") == "dBZ"
    assert choose_units("dBZ", "", "a.nc: 'rain'") == "dBZ"


@pytest.mark.parametrize(
    ("asked", "stated", "holds"),
    [("furlong", "mm", "is in 'furlong'"), (None, "K", "is in 'K'"), (None, "", "has no units")],
)
def test_units_that_are_not_of_rain_are_refused(asked: str | None, stated: str, holds: str) -> None:
    with pytest.raises(DataError) as error:
        choose_units(asked, stated, "a.nc: 'rain'", ", or go home")
    assert str(error.value) == (
        f"a.nc: 'rain' {holds}; nowcast reads 'mm h-1', 'mm' with data.accumulation_minutes, or"
        " 'dBZ': set data.units, or go home."
    )


def test_the_minutes_of_the_file_go_before_those_of_the_user() -> None:
    assert choose_minutes(10, 5, "mm", "a.nc: holds") == 5
    assert choose_minutes(10, None, "mm", "a.nc: holds") == 10
    with pytest.raises(
        DataError, match=r"^a.nc: holds an amount in 'mm' over an unknown number of minutes; set"
    ):
        choose_minutes(None, None, "mm", "a.nc: holds")
