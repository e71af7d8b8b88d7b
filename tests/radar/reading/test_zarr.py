"""Zarr stores, written by zarr and by xarray."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import check_grid, open_grid

zarr = pytest.importorskip("zarr")

VALUES = np.arange(24, dtype="f4").reshape(6, 2, 2)


@pytest.fixture
def write(tmp_path):
    """`write("a.zarr", values)`: `values` (time, y, x) every 5 minutes from 2020-01-01 on, as
    `version` 3 or 2.
    """

    def write_store(name, values, *, version=3, minutes=None, attrs=None, encoding=None, **axes):
        minutes = np.arange(len(values)) * 5 if minutes is None else minutes
        time = xr.Variable("time", np.asarray(minutes), {"units": "minutes since 2020-01-01"})
        about = {"units": "mm h-1"} if attrs is None else attrs
        dataset = xr.Dataset(
            {"rain": (("time", "y", "x"), values, about)}, coords={"time": time, **axes}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a writer is told is not what a reader is
            dataset.to_zarr(
                tmp_path / name,
                zarr_format=version,
                mode="w",
                encoding={"rain": {"chunks": (2, 2, 2), **(encoding or {})}},
            )
        return tmp_path / name

    return write_store


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_opens_as_a_netcdf_file_would(write, version):
    x = xr.Variable("x", [1.0, 2.0], {"units": "km", "standard_name": "projection_x_coordinate"})
    grid = open_grid(write("a.zarr", VALUES, version=version, x=x))
    check_grid(grid)
    assert np.array_equal(grid.precipitation_rate.values, VALUES)
    assert grid.precipitation_rate[3:5, 1, :1].values.tolist() == [[14], [18]]
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid.attrs["source_format"] == "zarr"
    assert grid.x.values.tolist() == [1000.0, 2000.0]


@pytest.mark.parametrize("version", [2, 3])
def test_packed_numbers_come_out_as_the_decimals_they_mean(write, version):
    values = np.array([[[0.1, np.nan, 0.3]]])
    packing = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -9999, "chunks": (1, 1, 3)}
    attrs = {"units": "mm", "cell_methods": "time: sum (interval: 5 minutes)"}
    rate = open_grid(
        write("a.zarr", values, version=version, attrs=attrs, encoding=packing)
    ).precipitation_rate.values.ravel()
    assert rate[[0, 2]].tolist() == [np.float32(1.2), np.float32(3.6)]
    assert np.isnan(rate[1])


@pytest.mark.parametrize("version", [2, 3])
def test_a_declared_fill_value_of_floats_and_the_users_are_missing(write, version):
    values = np.array([[[-1.0, np.nan, 3.0]]])
    path = write(
        "a.zarr", values, version=version, encoding={"_FillValue": -9999.0, "chunks": (1, 1, 3)}
    )
    assert np.isnan(
        open_grid(path, missing_value=-1).precipitation_rate.values.ravel()
    ).tolist() == [True, True, False]


def test_one_frame_with_a_scalar_time_is_a_series_of_one(tmp_path):
    time = xr.Variable((), 10, {"units": "minutes since 2020-01-01"})
    rain = xr.Variable(("y", "x"), [[1.0, 2.0]], {"units": "mm h-1"})
    xr.Dataset({"rain": rain}, coords={"time": time}).to_zarr(
        tmp_path / "a.zarr", consolidated=False
    )
    grid = open_grid(tmp_path / "a.zarr")
    assert grid.precipitation_rate.values.tolist() == [[[1.0, 2.0]]]
    assert grid.time.values[0] == np.datetime64("2020-01-01T00:10")


def test_dimensions_in_another_order_are_turned(tmp_path):
    time = xr.Variable("time", [0, 5], {"units": "minutes since 2020-01-01"})
    x = xr.Variable("lon", [1.0, 2.0, 3.0], {"standard_name": "longitude", "units": "degrees_east"})
    rain = xr.Variable(
        ("lon", "lat", "time"), np.arange(12.0).reshape(3, 2, 2), {"units": "mm h-1"}
    )
    xr.Dataset({"rain": rain}, coords={"time": time, "lon": x}).to_zarr(
        tmp_path / "a.zarr", consolidated=False
    )
    rate = open_grid(tmp_path / "a.zarr").precipitation_rate
    assert rate.shape == (2, 2, 3)
    assert rate[1, 0, 2].values == np.arange(12).reshape(3, 2, 2)[2, 0, 1]


def test_stores_in_a_folder_are_one_file_each(write, tmp_path):
    write("day/1.zarr", VALUES[:3])
    write("day/2.zarr", VALUES[3:], minutes=[15, 20, 25], version=2)
    grid = open_grid(tmp_path / "day")
    assert grid.attrs["source_files"] == 2
    assert np.array_equal(grid.precipitation_rate.values, VALUES)


def test_a_store_grown_after_opening_is_read_anew(write):
    path = write("a.zarr", VALUES[:2])
    assert open_grid(path).precipitation_rate[1].values[0, 0] == 4
    more = xr.Dataset(
        {"rain": (("time", "y", "x"), VALUES[2:4])}, coords={"time": ("time", [10, 15])}
    )
    more.to_zarr(path, append_dim="time", consolidated=False)
    assert open_grid(path).precipitation_rate[3].values[0, 0] == 12


def test_what_was_opened_can_be_written_and_opened_again(write, tmp_path):
    grid = open_grid(write("a.zarr", VALUES))
    grid.to_zarr(tmp_path / "b.zarr", consolidated=False)
    assert np.array_equal(open_grid(tmp_path / "b.zarr").precipitation_rate.values, VALUES)


# --- stores that are none
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["{", json.dumps({"zarr_format": 3, "node_type": "array"})])
def test_a_store_of_damaged_metadata_is_refused(write, content):
    path = write("a.zarr", VALUES)
    (path / "zarr.json").write_text(content)
    refused(path, "not a Zarr store, or a damaged one")


def test_a_store_without_its_variable_is_refused(write):
    path = write("a.zarr", VALUES)
    (path / "rain" / "zarr.json").unlink()
    refused(path, "has no rain")


def test_a_damaged_chunk_is_refused_when_it_is_read(write):
    path = write("a.zarr", np.random.default_rng(0).random((6, 2, 2)))
    grid = open_grid(path)
    chunk = path / "rain" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged") as error:
        grid.load()
    assert "\n" not in str(error.value)


def test_a_store_that_loses_its_variable_after_opening_is_refused(write):
    path = write("a.zarr", VALUES)
    grid = open_grid(path)
    (path / "rain" / "zarr.json").unlink()
    with pytest.raises(DataError, match="damaged"):
        grid.load()


def test_a_store_that_goes_away_is_missing(write):
    path = write("a.zarr", VALUES)
    grid = open_grid(path)
    path.rename(path.with_name("b.zarr"))
    with pytest.raises(MissingInputError, match="no such file"):
        grid.load()
