"""Known facts about services: units of RADOLAN and OpenMRG, the grid of RADOLAN, a flag of
Rainfields.
"""

import numpy as np
import pyproj
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import open_grid
from nowcast.radar.placing.cropping import box_in_degrees
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.placing.place import crs_in_words, first_row, pixel_size
from nowcast.radar.reading.products import RADOLAN_PROJ

NATIONAL = np.ones((1, 900, 900), dtype="u1")


def on_radolan(file, *, shift=0.0, tilt=0.0, y_start=-4658.6447):
    """x and y in km of RADOLAN's grid without units, `shift` km from its corners, and their
    latitudes, `tilt` degrees off.
    """
    rows, columns = (file.dimensions[name].size for name in ("y", "x"))
    x, y = -523.4622 + shift + np.arange(columns), y_start + shift + np.arange(rows)
    longitude, latitude = pyproj.Proj(RADOLAN_PROJ)(*np.meshgrid(1000 * x, 1000 * y), inverse=True)
    for name, dims, values in [
        ("x", ("x",), x), ("y", ("y",), y), ("latitude", ("y", "x"), latitude + tilt), ("longitude",
        ("y", "x"), longitude),
    ]:  # fmt: skip
        file.createVariable(name, "f8", dims)[:] = values


@pytest.mark.parametrize(("name", "factor"), [("RY", 12), ("YW", 12), ("RV", 12), ("RW", 1)])
def test_radolan_products_on_their_grid_know_their_units(write, name, factor):
    grid = open_grid(write("a.nc", NATIONAL, variable=name, units=None))
    assert grid.precipitation_rate[0, 0, 0].values == factor


def test_the_users_units_and_what_the_file_says_go_before_what_is_known(write):
    assert (
        open_grid(write("a.nc", NATIONAL, variable="RY", units=None), units="mm h-1")
        .precipitation_rate[0, 0, 0]
        .values
        == 1
    )
    assert (
        open_grid(write("b.nc", NATIONAL, variable="RW", units="mm/h"))
        .precipitation_rate[0, 0, 0]
        .values
        == 1
    )


def test_a_name_alone_is_no_product(write):
    with pytest.raises(DataError, match="'RY' has no units"):
        open_grid(write("a.nc", np.ones((1, 2, 2)), variable="RY", units=None))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_kilometres_of_radolan_become_metres_of_centres(write, shift):
    grid = open_grid(
        write("a.nc", np.ones((1, 4, 3)), extra=lambda file: on_radolan(file, shift=shift))
    )
    assert grid.x.values == approx([-522962.2, -521962.2, -520962.2], abs=0.1)
    assert grid.y.values[[0, -1]] == approx([-4658144.7, -4655144.7], abs=0.1)
    assert grid.x.attrs == {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert grid.crs.attrs["straight_vertical_longitude_from_pole"] == 10.0
    assert ("latitude" in grid.coords) == (shift == 0.5)  # those of corners are not those of pixels


def test_coordinates_that_are_not_where_their_latitudes_are_stay_as_they_are(write):
    # 2 km
    grid = open_grid(
        write("a.nc", np.ones((1, 4, 3)), extra=lambda file: on_radolan(file, tilt=0.02))
    )
    assert grid.x.values[0] == approx(-523.4622)
    assert "units" not in grid.x.attrs
    assert "crs" not in grid


def moved(file, *, by=0.0):
    """The latitudes and longitudes of pycomlink's sample, here linear between its corners, `by`
    degrees off.
    """
    down, right = np.linspace(0, 1, 190)[:, None], np.linspace(0, 1, 228)
    for name, (a, b, c, d) in {
        "latitudes": (56.88, 56.87, 58.48, 58.47),
        "longitudes": (1.23, 4.11, 1.17, 4.18),
    }.items():
        values = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
        file.createVariable(name, "f8", ("y", "x"))[:] = values + by


def test_coordinates_that_a_publisher_moved_are_not_used(write):
    grid = open_grid(write("a.nc", np.ones((1, 190, 228)), extra=moved))
    assert set(grid.coords) == {"time", "x", "y"}
    assert (first_row(place_of_grid(grid)), pixel_size(place_of_grid(grid))) == (
        "south",
        (1000.0, 1000.0, "m"),
    )
    assert (crs_in_words(place_of_grid(grid)), box_in_degrees(place_of_grid(grid))) == (
        "not stated",
        None,
    )
    elsewhere = open_grid(
        write("b.nc", np.ones((1, 190, 228)), extra=lambda file: moved(file, by=0.5))
    )
    assert {"latitude", "longitude"} <= set(elsewhere.coords)


def test_openmrg_is_in_mm_per_hour(write):
    title = lambda file: file.setncattr("title", "OpenMRG-Radar")  # noqa: E731
    path = write("a.nc", np.ones((1, 2, 2)), variable="rainfall_amount", units=None, extra=title)
    assert open_grid(path).precipitation_rate.values.tolist() == [[[1, 1], [1, 1]]]
    other = write("b.nc", np.ones((1, 2, 2)), variable="data", units=None, extra=title)
    with pytest.raises(DataError, match="'data' has no units"):
        open_grid(other)


def test_minus_two_of_rainfields_is_missing(write):
    source = lambda file: file.setncattr("source", "rainfields 3.2.2 sdc")  # noqa: E731
    values = np.array([[[-2, -1, 4, 0]]], dtype="i2")
    path = write("a.nc", values, scale_factor=0.05, _FillValue=-1, units="kg m-2", extra=source)
    rate = open_grid(path, accumulation_minutes=10).precipitation_rate.values.ravel()
    assert np.isnan(rate).tolist() == [True, True, False, False]
    assert rate[2:].tolist() == [np.float32(1.2), 0.0]
    unknown = write("b.nc", values, scale_factor=0.05, _FillValue=-1, units="kg m-2")
    with pytest.raises(DataError, match=r"data\.missing_value=-2"):
        open_grid(unknown, accumulation_minutes=10).load()
