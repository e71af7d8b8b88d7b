"""Sums in the forecast file: added up by hand, written small, read back, refused if they are
none.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from nowcast.errors import ConfigError, DataError, DeviceError
from nowcast.forecast import dataset as dataset_module
from nowcast.forecast.accumulating import accumulations_of
from nowcast.forecast.dataset import build_forecast, open_forecast, write_forecast
from nowcast.forecast.file_accumulation import window_steps, with_accumulations
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.radar.synthetic import synthetic_grid

AMOUNTS = (0.2, 1.0, 3.0)
NAMES = ("accumulation_10min", "accumulation_15min")


def members() -> np.ndarray:
    """Four lead times of five members, some pixels missing in some frames."""
    rates = np.random.default_rng(0).gamma(0.5, 8, (4, 5, 24, 30)).astype(np.float32)
    rates[:, :, :3], rates[2, :, 3] = np.nan, np.nan
    return rates


def forecast(made: SceneForecast | None = None) -> xr.Dataset:
    made = made or SceneForecast(members()[:, 0], None, members())
    grid = synthetic_grid(4, 24, 30, coverage=True)
    whole = build_forecast(
        made.rates,
        grid,
        grid["time"].values[0],
        np.timedelta64(5, "m"),
        {"history": "made at one time"},
        made.probabilities,
        made.members,
    )
    return with_accumulations(whole, accumulations_of(made, 5.0, (10, 15), AMOUNTS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_forecast(forecast(), tmp_path / "a.nc")
    return tmp_path / "a.nc"


def test_a_sum_adds_the_frames_of_its_window_and_lies_nowhere_in_the_past() -> None:
    made, rates = forecast(), members()
    for minutes, name in zip((10, 15), NAMES, strict=True):
        steps, sums = minutes // 5, made[name].values
        assert np.isnan(sums[: steps - 1]).all()
        for lead in range(steps - 1, 4):
            window = rates[lead - steps + 1 : lead + 1].astype(np.float64) * 5 / 60
            np.testing.assert_allclose(sums[lead], window[:, 0].sum(axis=0), atol=0.0005001)
            reached = np.stack([window.sum(axis=0) >= amount for amount in AMOUNTS])
            share = np.where(np.isnan(window.sum(axis=(0, 1))), np.nan, reached.mean(axis=1))
            chance = made[f"accumulation_probability_{minutes}min"].values[lead]
            np.testing.assert_allclose(chance, share, atol=1e-6)


def test_the_sum_of_a_forecast_by_probabilities_is_that_of_expected_rates() -> None:
    """A rate of 1 mm/h or more with a probability of 1, and never 2 mm/h or more: between the two
    the probability falls as an exponential, and its mean is 1 mm/h and what little is above. A rate
    of 9 mm/h adds nothing, for above 2 mm/h the probability is 0.
    """
    shape = (4, 2, 24, 30)
    values = np.zeros(shape, np.float32)
    values[:, 0] = 1.0
    ladder = FileProbabilities((1.0, 2.0), values)
    by_cuts = SceneForecast(np.full((4, 24, 30), 9.0, np.float32), ladder)
    sums = forecast(by_cuts)["accumulation_15min"].values[3]
    assert np.allclose(sums, sums[0, 0]) and 0.25 < sums[0, 0] < 0.3
    assert "accumulation_probability_15min" not in forecast(by_cuts)  # nor is that an error


def test_members_of_an_ensemble_give_the_mean_sum_and_shares() -> None:
    made = forecast(SceneForecast(members()))
    mean = members()[1:].astype(np.float64).mean(axis=1).sum(axis=0) * 5 / 60
    np.testing.assert_allclose(made["accumulation_15min"].values[3], mean, atol=0.0005001)
    assert made["accumulation_probability_15min"].notnull().any()


def test_what_is_read_is_what_was_built(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xr.testing.assert_identical(open_forecast(path), forecast())
    monkeypatch.setattr(dataset_module, "_AT_ONCE", 1000)  # read step by step
    xr.testing.assert_identical(open_forecast(path), forecast())
    monkeypatch.setattr(dataset_module, "free_memory", lambda: 1000)
    with pytest.raises(DeviceError):
        open_forecast(path)


def test_the_file_says_over_which_minutes_each_sum_is(path: Path) -> None:
    with netCDF4.Dataset(path) as file:
        sums, window = file["accumulation_15min"], file["time_15min"]
        assert sums.dimensions == ("time", "y", "x") and sums.dtype == np.float32
        assert sums.standard_name == "lwe_thickness_of_precipitation_amount"
        assert (sums.units, sums.cell_methods) == ("mm", "time: sum (interval: 5 minutes)")
        rate = file["precipitation_rate"].coordinates
        assert sums.coordinates == f"{rate} time_15min" and "time_15min" not in rate
        ends = file[window.bounds][:]
        assert (ends[:, 1] == file["time"][:]).all() and (ends[:, 1] - ends[:, 0] == 15).all()
        chance, amounts = file["accumulation_probability_15min"], file["threshold_amount"]
        assert chance.dimensions == ("time", "threshold_amount", "y", "x")
        chance.set_auto_maskandscale(False)
        assert chance.dtype == np.int8 and chance.chunking() == [1, 1, 24, 30]
        assert (amounts.units, amounts[:].tolist()) == ("mm", list(AMOUNTS))
        every = [one for one in file.variables.values() if one.ndim]
        assert all(one.filters()["fletcher32"] for one in every)


def test_cf_compliant_to_the_letter(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker's own
        runner = pytest.importorskip("compliance_checker.runner")
        runner.CheckSuite.load_all_available_checkers()
        passed, failed = runner.ComplianceChecker.run_checker(str(path), ["cf:1.11"], 0, "strict")
    report = capsys.readouterr().out
    assert passed and not failed and "All tests passed!" in report, report


def below_zero(file: Any) -> None:
    file["accumulation_15min"][3, 20, 20] = -1.0


def without_end(file: Any) -> None:
    file["accumulation_15min"][3, 20, 20] = np.inf


def in_metres(file: Any) -> None:
    file["accumulation_15min"].units = "m"


def beyond_one(file: Any) -> None:
    file.set_auto_maskandscale(False)
    file["accumulation_probability_10min"][3, 1, 20, 20] = 101


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (below_zero, "'accumulation_15min' holds values below 0"),
        (without_end, "'accumulation_15min' holds infinite values"),
        (in_metres, "'accumulation_15min' is not in 'mm'"),
        (beyond_one, "'accumulation_probability_10min' holds values outside of 0 to 1"),
    ],
)
def test_what_are_no_sums_is_refused(
    change: Callable[[Any], None], reason: str, path: Path
) -> None:
    with netCDF4.Dataset(path, "a") as file:
        change(file)
    with pytest.raises(DataError) as raised:
        open_forecast(path)
    assert str(raised.value).startswith(f"{path}: not a forecast file ({reason})")


@pytest.mark.parametrize(
    ("minutes", "leads", "remedy"),
    [
        (12, (5, 10, 15), "12 minutes are not a multiple of the time step, 5 min; give 10 or 15"),
        (2, (5, 10, 15), "give 5"),
        (20, (5, 10, 15), "longer than the forecast, which ends after 15 minutes; give 15 or less"),
        (30, (30, 90), "needs a frame every 30 minutes"),
    ],
)
def test_a_window_that_does_not_fit_is_refused_with_the_key_and_a_remedy(
    minutes: int, leads: tuple[int, ...], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=r"^accumulations: ") as raised:
        window_steps(minutes, leads)
    assert remedy in str(raised.value)


def test_a_window_is_of_so_many_frames() -> None:
    assert window_steps(15, (5, 10, 15)) == 3 and window_steps(15, (2.5, 5, 7.5, 10, 12.5, 15)) == 6
