"""Forecast fields: frames of runs, read from files of each layout or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import build_grid
from nowcast.radar.series.fields_ahead import FieldAheadFile, open_field_ahead

TIMES = np.datetime64("2020-01-01T00:00", "ns") + np.timedelta64(5, "m") * np.arange(4)
RUNS = np.datetime64("2020-01-01T00:00", "ns") + np.timedelta64(6, "h") * np.arange(3)
PLACE = {"y": [2000.0, 1000.0, 0.0], "x": [0.0, 1000.0]}
LAYERS = ("forecast_reference_time", "lead_time")
HOURS = {"units": "hours", "standard_name": "forecast_period"}
VALUES = np.arange(36.0).reshape(3, 2, 3, 2)


@pytest.fixture
def grid() -> xr.Dataset:
    place = {name: xr.Variable(name, values, {"units": "m"}) for name, values in PLACE.items()}
    return build_grid(np.zeros((4, 3, 2), np.float32), TIMES, place, {})


def runs(**changes: Any) -> xr.Dataset:
    """Three runs of two lead times, 1 and 2 hours: frame n holds 6 n to 6 n + 5."""
    parts: dict[str, Any] = {
        "rain": ((*LAYERS, "y", "x"), VALUES),
        "lead_time": ("lead_time", [1, 2], HOURS),
        "forecast_reference_time": ("forecast_reference_time", RUNS),
        **changes,
    }
    return xr.Dataset(parts, {name: (name, v, {"units": "m"}) for name, v in PLACE.items()})


def opened(dataset: xr.Dataset, folder: Path, grid: xr.Dataset) -> FieldAheadFile:
    dataset.to_netcdf(folder / "nwp.nc", engine="netcdf4")
    return open_field_ahead(str(folder / "nwp.nc"), "rain", grid)


def test_the_frames_of_a_run_follow_each_other_and_then_those_of_the_next(
    tmp_path: Path, grid: xr.Dataset
) -> None:
    file = opened(runs(), tmp_path, grid)
    assert file.shape == (6, 3, 2)
    assert (file.leads / np.timedelta64(1, "h")).tolist() == [1, 2]
    assert file.references.tolist() == RUNS.tolist()
    np.testing.assert_array_equal(file.read(0, 6), VALUES.reshape(6, 3, 2))
    np.testing.assert_array_equal(file.read(1, 4), VALUES.reshape(6, 3, 2)[1:4])


def test_of_a_period_there_are_its_runs(tmp_path: Path, grid: xr.Dataset) -> None:
    file = opened(runs(), tmp_path, grid)
    part = file.between(RUNS[1], RUNS[2] - np.timedelta64(1, "h"))
    np.testing.assert_array_equal(part.read(0, part.shape[0]), VALUES[1])
    early = file.between(RUNS[0] - np.timedelta64(2, "h"), RUNS[0] - np.timedelta64(1, "h"))
    assert early.shape[0] == 0 and early.read(0, 0).shape == (0, 3, 2)


def test_a_file_of_one_run_has_a_scalar_reference_time_and_lead_or_valid_times(
    tmp_path: Path, grid: xr.Dataset
) -> None:
    by_lead = runs().isel(forecast_reference_time=1)
    by_time = by_lead.rename(lead_time="time").assign_coords(
        time=("time", RUNS[1] + np.array([1, 2]).astype("timedelta64[h]"))
    )
    for dataset in (by_lead, by_time):
        file = opened(dataset, tmp_path, grid)
        assert file.references.tolist() == [RUNS[1].astype(int)] and file.leads.size == 2
        np.testing.assert_array_equal(file.read(0, 2), VALUES[1])


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (runs(lead_time=("lead_time", [1, 2], {"units": "feet"})), "lead times have type int64 and units 'feet'"),
        (runs(lead_time=("lead_time", [2, 1], HOURS)), "its lead times do not increase"),
        (runs(forecast_reference_time=(LAYERS[0], RUNS[::-1])), "its runs do not increase"),
        (runs(rain=(("y", "x"), VALUES[0, 0])), "no known reference time and lead time"),
        (runs(rain=((*LAYERS, "y", "x"), VALUES)).isel(y=[0, 1]), "resample it to the grid of the radar"),
    ],
)  # fmt: skip
def test_what_tells_no_lead_times_or_lies_elsewhere_is_refused(
    tmp_path: Path, grid: xr.Dataset, dataset: xr.Dataset, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        opened(dataset, tmp_path, grid)
    with pytest.raises(MissingInputError, match=r"inputs\.ahead\.fields"):
        open_field_ahead(str(tmp_path / "none.nc"), "rain", grid)


@pytest.mark.parametrize(
    ("units", "leads"),
    [
        ("minutes", np.array([5, 10], np.int32)),
        ("hours", np.array([5, 10], np.float32) / np.float32(60)),
        ("days", np.array([5, 10], np.float32) / np.float32(1440)),
    ],
)
def test_lead_times_that_rounding_moved_are_whole_seconds(
    tmp_path: Path, grid: xr.Dataset, units: str, leads: np.ndarray
) -> None:
    about = {"units": units, "standard_name": "forecast_period"}
    file = opened(runs(lead_time=("lead_time", leads, about)), tmp_path, grid)
    assert (file.leads / np.timedelta64(1, "m")).tolist() == [5, 10]


@pytest.mark.parametrize("units", ["months", "M", "m", "hPa", "millisecond", ""])
def test_no_unit_of_lead_times_is_guessed(tmp_path: Path, grid: xr.Dataset, units: str) -> None:
    about = {"units": units, "standard_name": "forecast_period"}
    with pytest.raises(DataError, match="lead times have type"):
        opened(runs(lead_time=("lead_time", [1.0, 2.0], about)), tmp_path, grid)


def test_several_runs_need_a_dimension_of_the_field(tmp_path: Path, grid: xr.Dataset) -> None:
    one = runs(rain=(("lead_time", "y", "x"), VALUES[0]))
    with pytest.raises(DataError, match="no separate dimension for the 3 runs"):
        opened(one, tmp_path, grid)
