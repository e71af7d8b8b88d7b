"""Further fields: read from NetCDF and Zarr if on the grid of the radar, else refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import build_grid
from nowcast.radar.series.fields import open_field

TIMES = np.datetime64("2020-01-01T00:00", "ns") + np.timedelta64(5, "m") * np.arange(4)
HOURS = np.datetime64("2020-01-01T00:00", "ns") + np.timedelta64(1, "h") * np.arange(3)
Y, X = np.array([2000.0, 1000.0, 0.0]), np.array([0.0, 1000.0])
METRES = {"units": "m"}


@pytest.fixture
def grid() -> xr.Dataset:
    place = {"y": xr.Variable("y", Y, METRES), "x": xr.Variable("x", X, METRES)}
    return build_grid(np.zeros((4, 3, 2), np.float32), TIMES, place, {})


def field(**changes: Any) -> xr.Dataset:
    """Heights (y, x), and cloud (time, y, x)."""
    parts: dict[str, Any] = {
        "height": (
            ("y", "x"),
            np.arange(6.0).reshape(3, 2),
            {"standard_name": "surface_altitude", "units": "m"},
        ),
        "cloud": (
            ("time", "y", "x"),
            np.arange(18, dtype=np.int16).reshape(3, 3, 2),
            {},
            {"_FillValue": np.int16(4)},
        ),
    }
    coords = {"time": HOURS, "y": ("y", Y, METRES), "x": ("x", X, METRES)}
    return xr.Dataset({**parts, **changes.pop("parts", {})}, {**coords, **changes})


def write(dataset: xr.Dataset, path: Path) -> str:
    if path.suffix == ".zarr":
        pytest.importorskip("zarr")
        dataset.to_zarr(path, consolidated=False)
    else:
        dataset.to_netcdf(path, engine="netcdf4")
    return str(path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_field_with_times_and_one_without(grid: xr.Dataset, tmp_path: Path, suffix: str) -> None:
    path = write(field(), tmp_path / f"field{suffix}")
    height = open_field(path, "height", grid)
    assert (height.times, height.shape, height.name) == (None, (1, 3, 2), "surface_altitude")
    assert height.read(0, 1).tolist() == [[[0, 1], [2, 3], [4, 5]]]
    cloud = open_field(path, "cloud", grid)
    assert cloud.shape == (3, 3, 2) and np.array_equal(cloud.times, HOURS)
    # as stored 4 is missing
    np.testing.assert_array_equal(cloud.read(0, 2)[:, 2], [[np.nan, 5], [10, 11]])
    for one in (height, cloud):
        one.close()


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4"])
def test_what_was_never_written_of_a_field_is_missing(
    grid: xr.Dataset, tmp_path: Path, kind: str
) -> None:
    """The NetCDF library reads 9.97e36, or -32767, where nothing was written and no fill value
    is declared.
    """
    import netCDF4

    path = write(field(), tmp_path / "field.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("cape", kind, ("y", "x"))[:2] = 7
    cape = open_field(path, "cape", grid)
    np.testing.assert_array_equal(cape.read(0, 1), [[[7, 7], [7, 7], [np.nan, np.nan]]])
    cape.close()


@pytest.mark.parametrize(("units", "dry"), [("mm h-1", 0.0), ("dBZ", np.nan)])
def test_a_flag_of_no_echo_is_no_weak_echo(
    grid: xr.Dataset, tmp_path: Path, units: str, dry: float
) -> None:
    attrs = {"units": units, "flag_values": np.int16([-1]), "flag_meanings": "no_echo"}
    values = np.array([[-1, 20], [30, 40], [50, 60]], np.int16)
    echo = open_field(
        write(field(parts={"echo": (("y", "x"), values, attrs)}), tmp_path / "field.nc"),
        "echo",
        grid,
    )
    np.testing.assert_array_equal(echo.read(0, 1), [[[dry, 20], [30, 40], [50, 60]]])
    echo.close()


def test_what_holds_in_a_period_is_its_frames_and_the_one_before(
    grid: xr.Dataset, tmp_path: Path
) -> None:
    cloud = open_field(write(field(), tmp_path / "field.nc"), "cloud", grid)
    part = cloud.between(np.datetime64("2020-01-01T01:30"), np.datetime64("2020-01-01T02:00"))
    assert np.array_equal(part.times, HOURS[1:]) and part.read(0, 1)[0, 0, 0] == 6
    assert cloud.between(np.datetime64("2019-01-01"), np.datetime64("2019-01-02")).shape == (
        0,
        3,
        2,
    )
    cloud.close()


def test_a_field_stored_with_x_before_y_is_turned(grid: xr.Dataset, tmp_path: Path) -> None:
    dataset = field(x=("x", X, {**METRES, "axis": "X"})).transpose("time", "x", "y")
    one = open_field(write(dataset, tmp_path / "field.nc"), "height", grid)
    assert one.read(0, 1).tolist() == [[[0, 1], [2, 3], [4, 5]]]
    one.close()


def test_a_single_field_with_a_time_of_its_own_has_that_time(
    grid: xr.Dataset, tmp_path: Path
) -> None:
    one = open_field(write(field().isel(time=1), tmp_path / "field.nc"), "cloud", grid)
    assert np.array_equal(one.times, HOURS[1:2]) and one.read(0, 1)[0, 0].tolist() == [6, 7]
    one.close()


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (field().isel(y=slice(0, 2)), "has 2 × 2 pixels, the radar 3 × 2"),
        (field().isel(y=slice(None, None, -1)), "the y of 'cloud' differs from that of the radar"),
        (field(x=("x", X + 500.0, METRES)), "the x of 'cloud' differs from that of the radar"),
        (field(time=HOURS[[0, 2, 1]]), "its times do not increase after 2020-01-01T02:00"),
        (field().rename(cloud="rain"), "has no variable 'cloud', only"),
        (
            field(parts={"cloud": ("time", [1.0, 2.0, 3.0])}),
            "a field needs numbers over y, x, or time, y, x",
        ),
        (
            field(parts={"cloud": (("y", "x"), np.full((3, 2), "wet"))}),
            "a field needs numbers over y, x, or time, y, x",
        ),
    ],
)
def test_what_is_not_a_field_on_this_grid_is_refused(
    grid: xr.Dataset, tmp_path: Path, dataset: xr.Dataset, says: str
) -> None:
    with pytest.raises(DataError) as error:
        open_field(write(dataset, tmp_path / "field.nc"), "cloud", grid)
    assert "field.nc: " in str(error.value) and says in str(error.value)


def test_kilometres_are_the_same_place(grid: xr.Dataset, tmp_path: Path) -> None:
    dataset = field(x=("x", X / 1000, {"units": "km"}), y=("y", Y / 1000, {"units": "km"}))
    open_field(write(dataset, tmp_path / "field.nc"), "height", grid).close()


def test_degrees_in_single_precision_are_the_same_place_and_half_a_pixel_off_they_are_not(
    tmp_path: Path,
) -> None:
    """Latitudes (y, x) of a regular grid do not change along x: a pixel is measured along both."""
    latitude, longitude = np.meshgrid([50.03, 50.02, 50.01], [9.11, 9.12], indexing="ij")
    names = {"latitude": latitude, "longitude": longitude}
    place = {
        name: xr.Variable(("y", "x"), values, {"standard_name": name})
        for name, values in names.items()
    }
    grid = build_grid(np.zeros((4, 3, 2), np.float32), TIMES, place, {})
    for off, same in ((0.0, True), (0.005, False)):
        coords = {
            name: (("y", "x"), (values + off).astype(np.float32), {"standard_name": name})
            for name, values in names.items()
        }
        path = write(
            xr.Dataset({"height": (("y", "x"), np.zeros((3, 2)))}, coords), tmp_path / f"{off}.nc"
        )
        if same:
            open_field(path, "height", grid).close()
        else:
            with pytest.raises(
                DataError, match="the latitude of 'height' differs from that of the radar"
            ):
                open_field(path, "height", grid)


def test_files_that_cannot_be_read_are_told(grid: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such field file"):
        open_field(str(tmp_path / "none.nc"), "cloud", grid)
    (tmp_path / "junk.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match="truncated or damaged"):
        open_field(str(tmp_path / "junk.nc"), "cloud", grid)
    pytest.importorskip("zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match="not a Zarr store, or a damaged one"):
        open_field(str(tmp_path / "empty.zarr"), "cloud", grid)


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("eastward_wind", True), ("y_wind", True), ("grid_northward_wind", True), ("wind_from_direction", True), ("u10", True),
        ("V", True), ("u_wind", True), ("wind_speed", False), ("surface_altitude", False), ("upward_air_velocity", False),
        ("cloud_area_fraction", False), ("vis006", False),
    ],
)  # fmt: skip
def test_components_of_vectors_are_known_by_name(
    grid: xr.Dataset, tmp_path: Path, name: str, vector: bool
) -> None:
    with_name = field(parts={name: (("y", "x"), np.zeros((3, 2)))})
    one = open_field(write(with_name, tmp_path / "field.nc"), name, grid)
    assert one.is_vector == vector
    one.close()
