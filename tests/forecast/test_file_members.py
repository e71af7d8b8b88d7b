"""Members drawn from probabilities in the forecast file: written, read back, refused if no rates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError
from nowcast.forecast import dataset as dataset_module
from nowcast.forecast.dataset import build_forecast, check_forecast, open_forecast, write_forecast
from nowcast.forecast.file_members import members_of
from nowcast.radar.synthetic import synthetic_grid


def members() -> Any:
    """Of three lead times four members, some pixels missing."""
    values = np.random.default_rng(0).gamma(0.5, 4, (3, 4, 24, 30)).astype(np.float32)
    values[..., :4] = np.nan
    return values


def forecast() -> xr.Dataset:
    grid = synthetic_grid(4, 24, 30)
    rates, time = grid["precipitation_rate"].values[:3], grid["time"].values[0]
    made = {"history": "made at one time"}
    return build_forecast(rates, grid, time, np.timedelta64(5, "m"), made, None, members())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_forecast(forecast(), tmp_path / "a.nc")
    return tmp_path / "a.nc"


@pytest.mark.parametrize("at_once", [2**28, 64])
def test_members_are_read_as_they_were_built(
    at_once: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next to one rate; in one go, or step by step."""
    monkeypatch.setattr(dataset_module, "_AT_ONCE", at_once)
    again = open_forecast(path)
    xr.testing.assert_identical(again, forecast())
    assert again["precipitation_rate"].dims == ("time", "y", "x")
    assert again["member_rate"].dims == ("time", "realization", "y", "x")
    assert again["realization"].values.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(members_of(again), members())


def test_a_file_without_members_has_none() -> None:
    assert members_of(forecast().drop_vars(["member_rate", "realization"])) is None


def rewritten(path: Path, **about: Any) -> Path:
    with xr.open_dataset(path, decode_timedelta=False) as file:
        changed = file.load()
    if "dims" in about:
        changed["member_rate"] = changed["member_rate"].transpose(*about["dims"])
    if "units" in about:
        changed["member_rate"].attrs["units"] = about["units"]
    if "value" in about:
        changed["member_rate"][0, 0, 0, 10] = about["value"]
    changed.to_netcdf(path.with_name("b.nc"), engine="netcdf4")
    return path.with_name("b.nc")


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"dims": ("realization", "time", "y", "x")}, "'member_rate' has the dimensions"),
        ({"units": "mm"}, "'member_rate' is not in 'mm h-1'"),
        ({"value": np.inf}, "'member_rate' holds values that are not rates"),
        ({"value": -1.0}, "'member_rate' holds values that are not rates"),
    ],
)
def test_what_is_no_member_is_refused(about: dict[str, Any], reason: str, path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        open_forecast(rewritten(path, **about))


def test_a_dataset_with_members_that_are_no_rates_is_refused() -> None:
    wrong = forecast()
    wrong["member_rate"][0, 0, 0, 10] = np.inf
    with pytest.raises(DataError, match="this dataset is not a forecast: 'member_rate'"):
        check_forecast(wrong)
