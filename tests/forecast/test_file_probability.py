"""Probabilities in the forecast file: written small, read back, refused if they are none."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError, DeviceError
from nowcast.forecast import dataset as dataset_module
from nowcast.forecast.dataset import build_forecast, check_forecast, open_forecast, write_forecast
from nowcast.forecast.file_probability import FileProbabilities, probabilities_of
from nowcast.radar.synthetic import synthetic_grid

THRESHOLDS = (0.1, 1.0, 10.0)


def probabilities() -> FileProbabilities:
    """Three lead times, some pixels missing, some certain, some impossible."""
    values = np.random.default_rng(0).random((3, 3, 24, 30)).astype(np.float32)
    values[..., :4], values[..., 4:6], values[..., 6:9] = np.nan, 0, 1
    return FileProbabilities(THRESHOLDS, -np.sort(-values, axis=1))


def forecast() -> xr.Dataset:
    grid = synthetic_grid(4, 24, 30, coverage=True)
    step = np.timedelta64(5, "m")
    return build_forecast(
        grid["precipitation_rate"].values[:3],
        grid,
        grid["time"].values[0],
        step,
        {"history": "made at one time"},
        probabilities(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_forecast(forecast(), tmp_path / "a.nc")
    return tmp_path / "a.nc"


def test_probabilities_are_read_as_they_were_built_to_half_a_step(path: Path) -> None:
    again = open_forecast(path)
    xr.testing.assert_identical(again, forecast())
    read, given = probabilities_of(again), probabilities()
    assert read is not None and read.thresholds == THRESHOLDS
    assert read.values.dtype == np.float32 and {0.0, 1.0} <= set(read.values[0, 0].flat)
    np.testing.assert_allclose(read.values, given.values, rtol=0, atol=0.0025001)
    assert (np.isnan(read.values) == np.isnan(given.values)).all()


def test_a_file_without_probabilities_has_none() -> None:
    grid = synthetic_grid(2, 8, 8)
    rates, time = grid["precipitation_rate"].values, grid["time"].values[0]
    made = build_forecast(rates, grid, time, np.timedelta64(5, "m"), {})
    assert probabilities_of(made) is None and "threshold" not in made.variables


def test_names_and_attributes_are_those_of_improver_and_values_are_bytes(path: Path) -> None:
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        field, threshold = file["probability"], file["threshold"]
        assert field.dimensions == ("time", "threshold", "y", "x") and field.dtype == np.int8
        assert field.long_name == "probability_of_lwe_precipitation_rate_above_threshold"
        assert (field.units, field.grid_mapping, field.coordinates) == (
            "1", "crs", file["precipitation_rate"].coordinates,
        )  # fmt: skip
        assert (threshold.standard_name, threshold.units) == ("lwe_precipitation_rate", "mm h-1")
        assert threshold.spp__relative_to_threshold == "greater_than_or_equal_to"
        assert (field[:, :, :, :4] == -128).all() and (field[:, :, :, 6:9] == 100).all()
        assert field.filters()["zlib"] and field.filters()["fletcher32"]
        assert field.chunking() == [1, 1, 24, 30]


def test_cf_compliant_to_the_letter(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker's own
        runner = pytest.importorskip("compliance_checker.runner")
        runner.CheckSuite.load_all_available_checkers()
        passed, failed = runner.ComplianceChecker.run_checker(str(path), ["cf:1.11"], 0, "strict")
    report = capsys.readouterr().out
    assert passed and not failed and "All tests passed!" in report, report


def falling(file: Any) -> None:
    file["threshold"][:] = [1.0, 0.5, 2.0]


def negative(file: Any) -> None:
    file["threshold"][0] = -1.0


def in_decibels(file: Any) -> None:
    file["threshold"].units = "dBZ"


def beyond_one(file: Any) -> None:
    file.set_auto_maskandscale(False)
    file["probability"][1, 2, 3, 4] = 101


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (falling, "'threshold' does not rise"),
        (negative, "'threshold' holds no rates above 0"),
        (in_decibels, "'threshold' is not in 'mm h-1'"),
        (beyond_one, "'probability' holds values outside of 0 to 1"),
    ],
)
def test_what_are_no_probabilities_is_refused(
    change: Callable[[Any], None], reason: str, path: Path
) -> None:
    with netCDF4.Dataset(path, "a") as file:
        change(file)
    with pytest.raises(DataError) as raised:
        open_forecast(path)
    assert str(raised.value).startswith(f"{path}: not a forecast file ({reason})")


def test_probabilities_in_another_order_are_refused_in_memory_and_in_a_file(tmp_path: Path) -> None:
    made = forecast()
    other = made.assign(probability=made["probability"].transpose("threshold", "time", "y", "x"))
    with pytest.raises(DataError, match=r"'probability' has the dimensions \('threshold', 'time'"):
        check_forecast(other)
    other.to_netcdf(tmp_path / "b.nc", engine="netcdf4")
    with pytest.raises(DataError, match="'probability' has the dimensions"):
        open_forecast(tmp_path / "b.nc")


def test_damage_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = len(content) - content[::-1].find(b"\x78\x5e"[::-1]) - 2  # of the last packed chunk
    content[start + 20] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a whole NetCDF file"):
        open_forecast(path)


def test_large_probabilities_are_read_step_by_step_if_memory_holds_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module, "_AT_ONCE", 3 * 24 * 30 * 4)
    xr.testing.assert_identical(open_forecast(path), forecast())
    monkeypatch.setattr(dataset_module, "free_memory", lambda: 1000)
    with pytest.raises(DeviceError, match="GB of memory are free"):
        open_forecast(path)
