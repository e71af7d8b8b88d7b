"""From dBZ files to mm/h: the Z-R relation used, and the treatment of impossible values."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Outcome
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import ZR_RELATIONS, open_grid
from nowcast.radar.reading.rates import FrameArray

DBZ = np.array([[[-np.inf, 23.0, 40.0, np.nan]]] * 2, "f4")


def array_of(grid) -> FrameArray:
    """The lazy array beneath a grid that counts values above the limit."""
    array = grid.precipitation_rate.variable._data
    while not isinstance(array, FrameArray):
        array = array.array
    return array


def test_without_a_relation_reflectivity_is_refused_and_the_names_are_given(write):
    with pytest.raises(
        DataError, match=r"'rain' is reflectivity.*data\.zr to a and b.*marshall_palmer, meteoswiss"
    ):
        open_grid(write("a.nc", DBZ, units="dBZ"))


@pytest.mark.parametrize("zr", [(200.0, 1.6), (316.0, 1.5), (300.0, 1.4)])
def test_reflectivity_becomes_rain_by_the_relation(write, zr):
    rate = open_grid(write("a.nc", DBZ, units="dBZ"), zr=zr).precipitation_rate.values[0, 0]
    a, b = zr
    assert rate[:3].tolist() == [
        0,
        approx((10**2.3 / a) ** (1 / b)),
        approx((10**4 / a) ** (1 / b)),
    ]
    assert np.isnan(rate[3])


def test_23_dbz_is_a_millimetre_an_hour_by_marshall_and_palmer(write):
    grid = open_grid(write("a.nc", DBZ, units="dBZ"), zr=ZR_RELATIONS["marshall_palmer"])
    assert grid.precipitation_rate.values[0, 0, 1] == approx(1.0, abs=0.01)  # 10 log10(200) = 23.01
    assert grid.attrs["converted_from"] == "rain [dBZ] by Z = 200 R^1.6"


def test_the_relation_is_said_however_dbz_is_spelled_and_of_reflectivity_alone(write):
    assert (
        open_grid(write("a.nc", DBZ, units="dBz"), zr=(200.0, 1.6)).attrs["converted_from"]
        == "rain [dBz] by Z = 200 R^1.6"
    )
    assert (
        open_grid(write("b.nc", np.ones((2, 1, 3))), zr=(200.0, 1.6)).attrs["converted_from"]
        == "rain [mm h-1]"
    )


@pytest.mark.parametrize(("above", "becomes"), [("mask", np.nan), ("clip", 100.0)])
def test_values_above_the_limit_are_counted_and_said_once(write, caplog, above, becomes):
    path = write("a.nc", np.float32([[[1, 100, 101, 8647]]] * 2))
    grid = open_grid(path, max_rate=100, above_max_rate=above)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(
            grid.precipitation_rate[0].values, [[1, 100, becomes, becomes]]
        )
        grid.precipitation_rate[1].load()
    assert array_of(grid).high == 4
    assert len(caplog.messages) == 1
    assert (
        "2 values of the 1 frame(s) from 2020-01-01T00:00 on are above data.max_rate=100 mm/h"
        in caplog.messages[0]
    )
    assert ("were lowered to it" if above == "clip" else "count as missing") in caplog.messages[0]


@pytest.mark.parametrize("above", ["mask", "clip"])
def test_infinite_values_are_missing_whatever_the_limit_does(write, above):
    grid = open_grid(write("a.nc", np.float32([[[1, np.inf]]] * 2)), above_max_rate=above)
    np.testing.assert_array_equal(grid.precipitation_rate[0].values, [[1, np.nan]])
    assert array_of(grid).high == 1


def test_the_limit_holds_for_rain_and_not_for_dbz(write):
    """55 dBZ is 100 mm/h by Marshall–Palmer: (10^5.5 / 200)^(1/1.6)."""
    rate = open_grid(
        write("a.nc", np.float32([[[54, 56]]] * 2), units="dBZ"), zr=(200.0, 1.6), max_rate=100
    ).precipitation_rate
    hundred = (10**5.5 / 200) ** (1 / 1.6)
    assert hundred == approx(100, abs=0.2)
    assert np.isnan(rate.values[0, 0]).tolist() == [False, True]


@pytest.fixture
def dbz(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write("a.nc", DBZ, units="dBZ")


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ("data.zr=foo", 78, "data.zr: 'foo' is unknown; choose marshall_palmer"),
        ("data.zr=[200]", 78, "data.zr: give a and b of Z = a R^b"),
        ("data.zr=[inf,1.6]", 78, "data.zr: give a and b of Z = a R^b"),
        ("data.zr=[true,1.6]", 78, "data.zr: give a and b of Z = a R^b"),
        ("data.zr=[200,-1]", 78, "data.zr: give a and b of Z = a R^b"),
        ("data.above_max_rate=drop", 78, "data.above_max_rate: "),
        ("data.max_rate=0", 78, "data.max_rate: "),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(
    run: Callable[..., Outcome], dbz: Path, override: str, code: int, says: str
) -> None:
    outcome = run("inspect", str(dbz), override)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (code, "", 1)
    assert says in outcome.err


@pytest.mark.parametrize(
    ("override", "relation"), [("data.zr=hko", "58.53 R^1.56"), ("data.zr=[300,1.4]", "300 R^1.4")]
)
def test_a_relation_is_named_or_given_by_its_numbers(
    run: Callable[..., Outcome], dbz: Path, override: str, relation: str
) -> None:
    outcome = run("inspect", str(dbz), override)
    assert outcome.code == 0
    assert f"rain in dBZ, Z = {relation}" in outcome.out


def test_what_float32_has_no_number_for_is_infinite(write):
    grid = open_grid(write("a.nc", np.float64([[[1, 1e39]]] * 2)), max_rate=1e300)
    np.testing.assert_array_equal(grid.precipitation_rate[0].values, [[1, np.nan]])
