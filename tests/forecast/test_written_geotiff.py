"""The forecast as GeoTIFF: what GIS programs and our own reader find in it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr

from nowcast import open_grid
from nowcast.errors import CannotCreateError, DataError, MissingLibraryError
from nowcast.forecast.dataset import build_forecast
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.forecast.geotiff import (
    find_geotiffs,
    geotiff_path,
    require_rasterio,
    write_geotiffs,
)
from nowcast.radar.grid import RATE
from nowcast.radar.placing.north_up import north_up
from nowcast.radar.synthetic import synthetic_grid

STEP = np.timedelta64(5, "m")
CHANCES = FileProbabilities((0.5, 10.0), np.full((3, 2, 24, 30), 0.25, np.float32))


def forecast_of(grid: xr.Dataset, probabilities: FileProbabilities | None = None) -> xr.Dataset:
    """Three lead times from 00:15 on, of which the frames of the grid are the rates."""
    rates = grid[RATE].values[:3]
    rates[0, :4, :5] = np.nan
    start = np.datetime64("2020-06-01T00:15", "ns")
    attrs = {"institution": "Our office", "license": "CC0", "config": {"seed": 0}}
    return build_forecast(rates, grid, start, STEP, attrs, probabilities)


def grid_of(kind: str = "projected", *, south: bool = False) -> xr.Dataset:
    grid = synthetic_grid(4, 24, 30).load()
    if kind == "degrees":
        about = {"axis": "Y", "standard_name": "latitude", "units": "degrees_north"}
        grid["y"] = ("y", 51 - np.arange(24) / 100, about)
        about = {"axis": "X", "standard_name": "longitude", "units": "degrees_east"}
        grid["x"] = ("x", 230 + np.arange(30) / 50, about)
        grid = grid.drop_vars("crs")
    if kind == "uneven":
        grid["x"] = grid["x"].copy(data=1000 * np.arange(30.0) ** 1.1)
    if kind == "curvilinear":
        degrees = np.broadcast_to(50 + np.arange(24)[:, None] / 100, (24, 30))
        grid = grid.drop_vars(["x", "y", "crs"])
        grid = grid.assign_coords(latitude=(("y", "x"), degrees), longitude=(("y", "x"), degrees))
    if kind == "rotated":
        grid = grid_of("degrees")
        pole = {"grid_north_pole_latitude": 39.25, "grid_north_pole_longitude": -162.0}
        grid["crs"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude", **pole})
        for axis, name in (("x", "longitude"), ("y", "latitude")):
            grid[axis].attrs = {"standard_name": f"grid_{name}", "units": "degrees"}
        grid = grid.set_coords("crs")
    north_first = grid.sortby("y", ascending=False) if "y" in grid.coords else grid
    return north_first.isel(y=slice(None, None, -1)) if south else north_first


@pytest.mark.parametrize("south", [False, True])
def test_a_projected_forecast_is_north_up_and_lies_where_its_pixels_are(
    south: bool, tmp_path: Path
) -> None:
    forecast = forecast_of(grid_of(south=south))
    write_geotiffs(forecast, tmp_path / "a.nc")
    north_first = forecast.sortby("y", ascending=False)
    assert [one.name for one in tmp_path.iterdir()] == ["a.tif"]
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), north_first[RATE].values)
        assert np.isnan(file.nodata) and file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        x, y = north_first["x"].values, north_first["y"].values
        assert file.xy(0, 0) == pytest.approx((x[0], y[0]))
        assert file.xy(23, 29) == pytest.approx((x[-1], y[-1]))
        ours, theirs = pyproj.CRS.from_cf(forecast["crs"].attrs), pyproj.CRS(file.crs.to_wkt())
        assert pyproj.Proj(theirs)(10, 50) == pytest.approx(pyproj.Proj(ours)(10, 50))


def test_a_band_tells_its_time_and_unit_and_the_file_whose_it_is(tmp_path: Path) -> None:
    write_geotiffs(forecast_of(grid_of()), tmp_path / "a.nc")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.descriptions == tuple(f"2020-06-01T00:{m}:00Z" for m in (20, 25, 30))
        assert file.tags(2) == {"valid_time": "2020-06-01T00:25:00Z", "lead_time": "10 minutes"}
        assert set(file.units) == {"mm h-1"} and set(file.scales) == {1.0}
        tags = file.tags()
    assert tags["forecast_reference_time"] == "2020-06-01T00:15:00Z"
    assert (tags["TIFFTAG_ARTIST"], tags["TIFFTAG_COPYRIGHT"]) == ("Our office", "CC0")
    assert tags["config"] == '{"seed": 0}' and "Conventions" not in tags


def test_our_own_reader_reads_it(tmp_path: Path) -> None:
    forecast = forecast_of(grid_of())
    write_geotiffs(forecast, tmp_path / "a.nc")
    grid = open_grid(tmp_path / "a.tif")
    np.testing.assert_array_equal(grid[RATE].values, forecast[RATE].values)
    np.testing.assert_array_equal(grid["time"].values, forecast["time"].values)
    np.testing.assert_allclose(grid["y"].values, forecast["y"].values)


def test_longitudes_beyond_180_are_degrees_west(tmp_path: Path) -> None:
    write_geotiffs(forecast_of(grid_of("degrees")), tmp_path / "a.nc")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 4326 and file.xy(0, 0) == pytest.approx((-130, 51))


def test_each_threshold_has_a_file_and_an_old_one_goes(tmp_path: Path) -> None:
    write_geotiffs(forecast_of(grid_of(), CHANCES), tmp_path / "a.nc")
    names = ["a.tif", "a_probability_0.5.tif", "a_probability_10.tif"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    with rasterio.open(tmp_path / names[2]) as file:
        assert file.tags()["threshold"] == "10 mm h-1" and set(file.units) == {"1"}
        assert np.allclose(file.read(), 0.25) and file.count == 3
    fewer = replace(CHANCES, thresholds=(0.5,), values=CHANCES.values[:, :1])
    (tmp_path / "a_probability_mine.tif").write_bytes(b"of another program")
    write_geotiffs(forecast_of(grid_of(), fewer), tmp_path / "a.nc")
    assert [one.name for one in find_geotiffs(tmp_path / "a.nc")] == names[:2]
    assert (tmp_path / "a_probability_mine.tif").exists() and not (tmp_path / names[2]).exists()


def test_of_an_ensemble_the_mean_is_written(tmp_path: Path) -> None:
    grid = grid_of()
    rates = np.stack([grid[RATE].values[:3], 3 * grid[RATE].values[:3]], axis=1)
    rates[0, 0, 0, 0] = np.nan  # known by the other member only
    start = np.datetime64("2020-06-01T00:15", "ns")
    write_geotiffs(build_forecast(rates, grid, start, STEP, {}), tmp_path / "a.nc")
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_allclose(file.read(), rates.mean(axis=1), rtol=1e-6)
        assert file.tags()["cell_methods"] == "realization: mean"


@pytest.mark.parametrize("kind", ["curvilinear", "uneven", "rotated"])
def test_pixels_that_no_geotiff_can_place_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tif: a GeoTIFF needs regular x and y"):
        write_geotiffs(forecast_of(grid_of(kind)), tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_program_is_not_written_over(tmp_path: Path) -> None:
    geotiff_path(tmp_path / "a.nc").write_bytes(b"II*\0")
    with pytest.raises(CannotCreateError, match=r"a\.tif: already exists and is not a forecast"):
        write_geotiffs(forecast_of(grid_of()), tmp_path / "a.nc")
    assert (tmp_path / "a.tif").read_bytes() == b"II*\0"


def test_without_rasterio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingLibraryError, match=r"'nowcast-radar\[geotiff\]'"):
        require_rasterio()


def test_a_grid_in_an_oblique_projection_lies_where_its_pixels_are() -> None:
    """CF has no word for the turn of its axes; on the Swiss grid x runs to the east."""
    about = {
        "grid_mapping_name": "oblique_mercator", "azimuth_of_central_line": 90.0,
        "latitude_of_projection_origin": 46.9524, "longitude_of_projection_origin": 7.4396,
        "scale_factor_at_projection_origin": 1.0, "false_easting": 6e5, "false_northing": 2e5,
        "semi_major_axis": 6377397.155, "inverse_flattening": 299.1528128,
    }  # fmt: skip
    place = {
        "x": xr.Variable("x", [6e5, 7e5, 8e5], {"units": "m"}),
        "y": xr.Variable("y", [3e5, 2e5], {"units": "m"}),
        "crs": xr.Variable((), 0, about),
    }
    grid = north_up(place)
    assert grid is not None
    to_degrees = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    assert to_degrees.transform(7e5, 2e5) == pytest.approx((8.75, 46.94), abs=0.01)
