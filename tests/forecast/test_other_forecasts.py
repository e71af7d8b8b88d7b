"""Forecast files of other programs, as CF and as pysteps describe them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import CannotCreateError, DataError
from nowcast.forecast import open_forecast, write_forecast
from nowcast.radar.reading.units import rate_to_dbz
from nowcast.service.publication import published

START = np.datetime64("2020-01-01T06:00", "ns")
LEADS = [5.0, 10.0, 15.0]
# 3 lead times, 4 rows, 5 columns; dry, missing, and a rate of its own in every other pixel
RATES = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 4
RATES[1, 2, 3] = np.nan
PROJECTION = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +x_0=0 +y_0=0 +a=6370040 +b=6370040"


def cf_file(units: str = "mm h-1", **about: Any) -> xr.Dataset:
    """A forecast by CF: valid times, a scalar reference time, rows from the south."""
    clock = {"units": "minutes since 2020-01-01 06:00"}
    return xr.Dataset(
        {"rain": (("time", "north", "east"), RATES.copy(), {"units": units, **about})},
        {
            "time": ("time", LEADS, {**clock, "standard_name": "time"}),
            "begin": ((), 0.0, {**clock, "standard_name": "forecast_reference_time"}),
            "north": ("north", 1.0 * np.arange(4), {"units": "km", "axis": "Y"}),
            "east": ("east", 1.0 * np.arange(5), {"units": "km", "axis": "X"}),
        },
        {"source": "a weather model"},
    )


def opened(path: Path, file: xr.Dataset) -> xr.Dataset:
    file.to_netcdf(path, engine="netcdf4")
    return open_forecast(path)


def by_lead_time(file: xr.Dataset) -> xr.Dataset:
    """The same without valid times; the reference time along a dimension of one, the lead time last
    of all dimensions.
    """
    leads = ("lead", np.array(LEADS) * 60, {"units": "s", "standard_name": "forecast_period"})
    file = file.rename(time="lead").assign_coords(lead=leads).expand_dims("begin")
    return file.transpose("begin", "east", "north", "lead")


def members_first(file: xr.Dataset) -> xr.Dataset:
    rain = file["rain"].expand_dims(member=2, axis=0) * xr.DataArray([1.0, 2.0], dims="member")
    return file.assign(rain=rain.assign_attrs(file["rain"].attrs))


def with_bounds(file: xr.Dataset) -> xr.Dataset:
    """Amounts of the five minutes before each time."""
    ends = np.array(LEADS)
    bounds = (("time", "nv"), np.stack([ends - 5, ends], axis=1))
    file["time"].attrs["bounds"] = "time_bounds"
    return file.assign(time_bounds=bounds)


def test_rates_amounts_and_reflectivity_become_mm_per_hour(tmp_path: Path) -> None:
    for k, (file, factor, converted_from) in enumerate(
        [
            (cf_file("mm/hr"), 1.0, "rain [mm/hr]"),
            (cf_file("kg m-2 s-1"), 3600.0, "rain [kg m-2 s-1]"),
            (cf_file("m s-1"), 3.6e6, "rain [m s-1]"),
            (with_bounds(cf_file("mm")), 12.0, "rain [mm per 5 min]"),
            (
                cf_file("kg m-2", cell_methods="time: sum (interval: 10 minutes)"),
                6.0,
                "rain [kg m-2 per 10 min]",
            ),
        ]
    ):
        forecast = opened(tmp_path / f"{k}.nc", file)
        np.testing.assert_allclose(forecast["precipitation_rate"], RATES * factor, rtol=1e-6)
        assert forecast["precipitation_rate"].attrs["units"] == "mm h-1"
        assert forecast.attrs["converted_from"] == converted_from
    file = cf_file("dBZ")
    file["rain"].values[:] = rate_to_dbz(np.maximum(RATES, 0.1))
    forecast = opened(tmp_path / "dbz.nc", file)
    np.testing.assert_allclose(
        forecast["precipitation_rate"], np.where(RATES < 0.1, 0.1, RATES), rtol=1e-4
    )
    assert forecast.attrs["converted_from"] == "rain [dBZ] by Z = 200 R^1.6"


@pytest.mark.parametrize("change", [lambda file: file, by_lead_time])
def test_times_and_place_are_found_however_they_are_called(tmp_path: Path, change: Any) -> None:
    forecast = opened(tmp_path / "a.nc", change(cf_file()))
    np.testing.assert_array_equal(forecast["precipitation_rate"], RATES)
    assert forecast["precipitation_rate"].dims == ("time", "y", "x")
    assert forecast["forecast_reference_time"].values == START
    np.testing.assert_array_equal(forecast["lead_time"], LEADS)
    np.testing.assert_array_equal(forecast["time"], START + np.arange(5, 16, 5) * 60 * 10**9)
    np.testing.assert_array_equal(forecast["y"], 1000.0 * np.arange(4))
    assert forecast.attrs["method"] == "forecast"
    write_forecast(forecast, tmp_path / "again.nc")
    np.testing.assert_array_equal(open_forecast(tmp_path / "again.nc")["y"], forecast["y"])


def test_members_in_any_place_are_an_ensemble(tmp_path: Path) -> None:
    forecast = opened(tmp_path / "a.nc", members_first(cf_file()))
    assert forecast["precipitation_rate"].dims == ("time", "realization", "y", "x")
    np.testing.assert_array_equal(forecast["precipitation_rate"][:, 1], 2 * RATES)


def test_the_analysis_at_lead_time_0_is_left_out(tmp_path: Path) -> None:
    file = cf_file()
    times = file["time"].copy(data=[0.0, 5.0, 10.0])
    forecast = opened(tmp_path / "a.nc", file.assign_coords(time=times))
    np.testing.assert_array_equal(forecast["lead_time"], [5.0, 10.0])
    np.testing.assert_array_equal(forecast["precipitation_rate"], RATES[1:])


def without(name: str) -> xr.Dataset:
    return cf_file().drop_vars(name)


def several_runs() -> xr.Dataset:
    runs = ("run", [0.0, 60.0], dict(cf_file()["begin"].attrs))
    rain = cf_file()["rain"].drop_vars("begin").expand_dims(run=2)
    return cf_file().drop_vars("begin").assign(rain=rain).assign_coords(run=runs)


def along_levels() -> xr.Dataset:
    return cf_file().assign(rain=cf_file()["rain"].expand_dims(level=3))


def of_two_rains() -> xr.Dataset:
    return cf_file().assign(snow=cf_file()["rain"])


def negative() -> xr.Dataset:
    return (
        cf_file()
        .assign(rain=cf_file()["rain"] - 1)
        .assign(rain=lambda file: file["rain"].assign_attrs(units="mm h-1"))
    )


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (without("time"), "it has no lead times along a dimension"),
        (without("begin"), "it has no reference time"),
        (several_runs(), "it has 2 forecasts, the first from 2020-01-01T06:00 UTC"),
        (along_levels(), "'rain' has dimensions level, time, north, east, not lead time, y, x"),
        (of_two_rains(), "several of its variables may be the rain: rain [mm h-1], snow [mm h-1]"),
        (cf_file("K"), "no rain over lead time, y and x in units of rain; it has: rain [K]"),
        (cf_file("mm"), "'rain' is an amount in 'mm' over an unknown number of minutes"),
        (negative(), "'rain' is -1 at 2020-01-01T06:05 UTC; if that means missing"),
    ],
)
def test_what_a_file_does_not_say_is_refused(tmp_path: Path, file: xr.Dataset, reason: str) -> None:
    with pytest.raises(DataError) as raised:
        opened(tmp_path / "a.nc", file)
    assert str(raised.value).startswith(f"{tmp_path}/a.nc: ") and reason in str(raised.value)


@pytest.mark.parametrize("unit", ["mm/h", "mm", "dBZ"])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("yorigin", ["upper", "lower"])
def test_what_pysteps_exports_is_read(
    tmp_path: Path, unit: str, members: int, yorigin: str
) -> None:
    exporters = pytest.importorskip("pysteps.io.exporters")
    metadata = {
        "projection": PROJECTION, "x1": 0.0, "x2": 5000.0, "y1": -4000.0, "y2": 0.0,
        "cartesian_unit": "m", "unit": unit, "yorigin": yorigin,
    }  # fmt: skip
    file = exporters.initialize_forecast_exporter_netcdf(
        str(tmp_path), "a", datetime(2020, 1, 1, 6), 5, 3, (4, 5), metadata, n_ens_members=members
    )
    rates = np.maximum(RATES, 0.25)
    field = {"mm/h": rates, "mm": rates / 12, "dBZ": rate_to_dbz(rates)}[unit]
    exporters.export_forecast_dataset(field if members == 1 else np.stack([field] * 2), file)
    exporters.close_forecast_files(file)
    forecast = open_forecast(tmp_path / "a.nc")
    read = forecast["precipitation_rate"]
    np.testing.assert_allclose(read if members == 1 else read[:, 1], rates, rtol=1e-4)
    assert forecast.attrs["method"] == "pysteps" and forecast["crs"].dtype.kind in "iu"
    assert forecast["forecast_reference_time"].values == START
    np.testing.assert_array_equal(forecast["lead_time"], LEADS)
    rows = [-3500.0, -2500.0, -1500.0, -500.0]
    np.testing.assert_allclose(forecast["y"], rows if yorigin == "lower" else rows[::-1])
    assert read.sizes.get("realization", 1) == members


def test_a_forecast_of_another_program_is_never_written_over(tmp_path: Path) -> None:
    cf_file().to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with pytest.raises(CannotCreateError, match="already exists and is not a forecast"):
        published(tmp_path / "a.nc", START, {})
