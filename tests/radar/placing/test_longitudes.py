"""Longitudes on a circle: unwrapped, compared, cropped, averaged and matched across Greenwich, the
date line and the seam of a grid.
"""

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import build_grid, open_grid
from nowcast.radar.placing.cropping import box_of, columns_of, degrees_of, in_box
from nowcast.radar.placing.georeference import axis_in_degrees, grid_differs, place_differs
from nowcast.radar.placing.longitudes import degrees_apart, unwrapped
from nowcast.radar.placing.place import pixel_size
from nowcast.radar.placing.resampling import to_grid
from nowcast.radar.reading.hdf5 import Footprint, place_of_footprint
from nowcast.radar.series.fields import open_field

NAN = np.nan


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ([358.0, 359.0, 0.0, 1.0], [-2, -1, 0, 1]),  # Greenwich, 0 to 360
        ([1.0, 0.0, 359.0, 358.0], [1, 0, -1, -2]),
        ([178.0, 179.0, -180.0, -179.0], [178, 179, 180, 181]),  # the date line, -180 to 180
        ([-179.0, -180.0, 179.0, 178.0], [181, 180, 179, 178]),
        ([10.0, 11.0, 12.0], [10, 11, 12]),
        ([350.0, 355.0, 359.0], [350, 355, 359]),  # what does not jump stays
        ([190.0, 280.0, 10.0, 100.0], [-170, -80, 10, 100]),  # a whole turn
        ([[359.0, 0.0, 1.0], [358.0, 359.0, 0.0]], [[-1, 0, 1], [-2, -1, 0]]),
        ([[NAN, 359.0, 0.0], [358.0, 359.0, NAN]], [[NAN, -1, 0], [-2, -1, NAN]]),
        ([[0.0, 120.0], [-120.0, 180.0]], [[0, 120], [-120, 180]]),  # around a pole
        ([5.0], [5]),
    ],
)
def test_longitudes_go_on_where_they_jumped(said, read):
    np.testing.assert_allclose(unwrapped(said), read, atol=1e-12)


def test_a_full_turn_is_no_distance():
    assert degrees_apart([359.0, -170.0, 10.0], [-1.0, 190.0, 20.0]).tolist() == [0.0, 0.0, 10.0]


@pytest.mark.parametrize(
    "lon", [np.array([359.5, 359.75, 0.0, 0.25]), np.array([179.5, 179.75, -180.0, -179.75])]
)
def test_a_file_across_the_seam_is_an_even_grid_in_one_and_two_dimensions(write, lon):
    def degrees(file):
        for name, units, values in (
            ("y", "degrees_north", [10.0, 10.25]),
            ("x", "degrees_east", lon),
        ):
            file.createVariable(name, "f8", (name,)).units = units
            file[name][:] = values
        file.createVariable("far", "f8", ("y", "x")).units = "degrees_east"
        file["far"][:] = [lon, lon]

    grid = open_grid(write("a.nc", np.ones((2, 2, 4), "f4"), extra=degrees))
    np.testing.assert_allclose(np.diff(grid.x.values), 0.25)
    np.testing.assert_allclose(np.diff(grid.longitude.values), 0.25)
    assert pixel_size({"y": grid.y.variable, "x": grid.x.variable}) == (0.25, 0.25, "degrees")


def place(x, y=(10.0, 9.0, 8.0)):
    return {"x": axis_in_degrees("x", x), "y": axis_in_degrees("y", y)}


def grid_of(x):
    return build_grid(
        np.zeros((1, 3, len(x)), "f4"), np.array(["2020-01-01"], "M8[ns]"), place(x), {}
    )


def test_grids_that_differ_by_a_full_turn_are_one(tmp_path):
    here, there = np.arange(-5.0, 5.0), np.arange(355.0, 365.0)
    assert place_differs(place(here), place(there)) == ""
    assert grid_differs(grid_of(here), grid_of(there)) == ""
    assert place_differs(place(here), place(there + 0.01)) == "'x' differs"
    field = xr.Dataset(
        {"height": (("y", "x"), np.ones((3, 10)))},
        {name: axis for name, axis in place(there).items()},
    )
    field.to_netcdf(tmp_path / "field.nc", engine="netcdf4")
    open_field(str(tmp_path / "field.nc"), "height", grid_of(here)).close()


def test_a_grid_across_the_seam_differs_from_one_beside_it():
    """A jump of 360 degrees must not make the pixel look wide, and anything within a thousandth
    of it the same.
    """
    lon = np.array([359.5, 359.75, 0.0, 0.25])
    one, other = (
        {
            "longitude": xr.Variable(
                ("y", "x"), np.array([lon, lon]) + off, {"standard_name": "longitude"}
            )
        }
        for off in (0.0, 0.1)
    )
    assert place_differs(one, other) == "'longitude' differs"


@pytest.mark.parametrize(
    "box", [(-2.0, 7.5, 2.0, 11.0), (358.0, 7.5, 362.0, 11.0), (358.0, 7.5, 2.0, 11.0)]
)
@pytest.mark.parametrize(
    "x", [np.arange(-5.0, 6.0), np.arange(355.0, 366.0), np.arange(-5.0, 6.0) % 360]
)
def test_a_box_is_cut_in_whatever_turn_it_and_the_grid_are_counted(box, x):
    rows, columns = box_of(place(x), box, "a.nc")
    assert (rows, columns) == (slice(0, 3), slice(3, 8))


def test_a_box_whose_west_is_more_than_its_east_lies_across_the_date_line():
    inside = in_box(place(np.arange(160.0, 200.0)), (170.0, 0.0, -170.0, 20.0), "a.nc", "region")
    assert inside[0].sum() == 21 and inside[0, 10] and inside[0, 30]


@pytest.mark.parametrize(
    ("x", "west", "east"),
    [(np.arange(0.0, 360.0, 10.0), -20.0, 10.0), (np.arange(180.0, -180.0, -10.0), 170.0, -160.0)],
)
def test_a_crop_across_the_seam_of_a_global_grid_takes_both_ends_of_its_rows(x, west, east):
    _, columns = box_of(place(x), (west, 7.5, east, 11.0), "a.nc")
    cut = columns_of(place(x), columns)
    assert len(columns) == 4
    np.testing.assert_allclose(np.diff(cut["x"].values), np.diff(x)[0])
    far = in_box(place(x), (100.0, 7.5, 130.0, 11.0), "a.nc", "crop")  # within a row, no seam
    assert far.any() and isinstance(box_of(place(x), (100.0, 7.5, 130.0, 11.0), "a.nc")[1], slice)


def test_rain_is_averaged_across_the_seam_of_a_global_grid():
    """Pixels of 20 degrees around 0 are made of those of 10 degrees at 350 and 0."""
    source, target = (
        place(np.arange(5.0, 360.0, 10.0), (5.0, -5.0)),
        place([-20.0, 0.0, 20.0], (10.0, -10.0)),
    )
    rate = np.zeros((2, 36), "f4")
    rate[:, 0], rate[:, -1] = 4.0, 2.0
    made = to_grid(source, target, "a.nc", "b.nc")(rate)
    assert made[0].tolist() == [0.0, 3.0, 0.0]


def test_the_degrees_of_a_projected_grid_do_not_jump_at_the_date_line():
    from nowcast.radar.placing.georeference import axis_in_metres, grid_mapping_from_proj

    crs = grid_mapping_from_proj("+proj=merc +lon_0=180 +R=6371000", "a.h5")
    longitude, _ = degrees_of(
        {
            "crs": crs,
            "x": axis_in_metres("x", [-2e5, 0.0, 2e5]),
            "y": axis_in_metres("y", [0.0, 1e5]),
        },
        "a.h5",
    )
    assert (np.diff(longitude) > 0).all()


def test_corners_on_both_sides_of_the_date_line_say_how_large_a_pixel_is():
    corners = (
        ("LL", 178.0, -20.0),
        ("UL", 178.0, -16.0),
        ("UR", -178.0, -16.0),
        ("LR", -178.0, -20.0),
    )
    found = place_of_footprint(
        Footprint("+proj=longlat +R=6371000", (4, 4), None, None, corners, None, "a.h5")
    )
    assert found["x"].values.tolist() == [178.5, 179.5, 180.5, 181.5]


def test_a_box_beside_the_grid_is_refused_with_where_the_grid_lies():
    with pytest.raises(DataError, match=r"the pixels cover -2\.00 to 1\.00 E"):
        in_box(place([358.0, 359.0, 0.0, 1.0]), (20.0, 0.0, 30.0, 20.0), "a.nc", "crop")
