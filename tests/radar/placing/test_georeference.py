import warnings
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import open_grid
from nowcast.radar.grid import refuse_beyond_poles
from nowcast.radar.placing.georeference import grid_mapping_from_proj, place_differs, place_of_grid
from nowcast.radar.placing.place import crs_in_words

ONES = np.ones((2, 2, 2), dtype=np.float32)


def axes(units, **more):
    def extra(file):
        for name, values in (("y", [10.0, 9.0]), ("x", [1.0, 2.0])):
            axis = file.createVariable(name, "f8", (name,))
            axis[:] = values
            axis.setncatts(
                {"units": units, "standard_name": f"projection_{name}_coordinate"} if units else {}
            )
        if more.get("mapping"):
            file.createVariable("proj", "i1", ()).setncatts(more["mapping"])
            file["rain"].grid_mapping = "proj"
        if more.get("proj_string"):
            file.proj_string = more["proj_string"]

    return extra


def test_kilometres_become_metres_and_rows_stay_as_they_are(write):
    mapping = {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "false_easting": 5.0,
        "crs_wkt": "in km",
    }
    grid = open_grid(write("a.nc", ONES, extra=axes("km", mapping=mapping)))
    assert grid.y.values.tolist() == [10000.0, 9000.0]
    assert grid.x.attrs == {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}
    assert grid.crs.attrs == {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "false_easting": 5000.0,
    }
    assert grid.precipitation_rate.attrs["grid_mapping"] == "crs"


def test_a_proj_text_becomes_a_cf_grid_mapping_that_knows_its_pole(write):
    text = "+proj=stere +lat_ts=60 +ellps=bessel +lon_0=14 +lat_0=90"
    attrs = open_grid(write("a.nc", ONES, extra=axes("", proj_string=text))).crs.attrs
    assert attrs["grid_mapping_name"] == "polar_stereographic"
    assert attrs["latitude_of_projection_origin"] == 90.0
    assert attrs["standard_parallel"] == 60.0
    assert attrs["straight_vertical_longitude_from_pole"] == 14.0


def test_a_grid_mapping_without_its_pole_gets_the_one_of_its_parallel(write):
    mapping = {
        "grid_mapping_name": "polar_stereographic",
        "standard_parallel": -71.0,
        "straight_vertical_longitude_from_pole": 0.0,
    }
    assert (
        open_grid(write("a.nc", ONES, extra=axes("m", mapping=mapping))).crs.attrs[
            "latitude_of_projection_origin"
        ]
        == -90.0
    )


def test_a_proj_text_that_makes_no_sense_is_said_and_left_out(write, caplog):
    assert "crs" not in open_grid(
        write("a.nc", ONES, extra=axes("m", proj_string="+proj=nonsense"))
    )
    assert "unknown projection" in caplog.text


def test_nothing_is_invented_where_the_file_is_silent(write):
    grid = open_grid(write("a.nc", ONES))
    assert set(grid.coords) == {"time"}


def test_coordinates_without_units_stay_without(write):
    def bare(file):
        file.createVariable("x", "f8", ("x",))[:] = [0.5, 1.5]

    x = open_grid(write("a.nc", ONES, extra=bare)).x
    assert x.values.tolist() == [0.5, 1.5]
    assert "units" not in x.attrs
    assert "standard_name" not in x.attrs


def test_latitudes_of_pixels_are_found_by_name_or_units_and_turned_to_y_x(write):
    def places(file):
        file.createVariable("latitudes", "i2", ("y", "x")).scale_factor = 0.01
        file["latitudes"][:] = [[50.5, 50.5], [51.0, 51.0]]
        file.createVariable("where", "f4", ("x", "y")).units = "degrees_east"
        file["where"][:] = [[8.0, 8.1], [9.0, 9.1]]

    grid = open_grid(write("a.nc", ONES, extra=places))
    assert np.allclose(grid.latitude.values, [[50.5, 50.5], [51.0, 51.0]])
    assert np.allclose(grid.longitude.values, [[8.0, 9.0], [8.1, 9.1]])
    assert grid.latitude.attrs == {"standard_name": "latitude", "units": "degrees_north"}


def test_a_regular_latitude_longitude_grid_keeps_its_degrees(write):
    def degrees(file):
        for name, units in (("y", "degrees_north"), ("x", "degrees_east")):
            file.createVariable(name, "f8", (name,)).units = units
            file[name][:] = [1.0, 2.0]

    grid = open_grid(write("a.nc", ONES, extra=degrees))
    assert grid.y.attrs == {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    assert grid.x.attrs["standard_name"] == "longitude"


EARTH = {
    "grid_mapping_name": "mercator",
    "standard_parallel": 50.0,
    "longitude_of_projection_origin": 10.0,
}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"semi_major_axis": 6378137.0, "inverse_flattening": 298.257222101},
            "ellipsoid of 6378.137 and 6356.752 km",
        ),
        (
            {"semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.0},
            "ellipsoid of 6378.137 and 6356.752 km",
        ),
        ({"semi_major_axis": 6378137.0, "inverse_flattening": 0.0}, "sphere of 6378.14 km"),
        ({"earth_radius": 6370040.0}, "sphere of 6370.04 km"),
        ({"reference_ellipsoid_name": "GRS 1980"}, "GRS 1980"),
        ({"horizontal_datum_name": "OSGB_1936"}, "ellipsoid of 6377.563 and 6356.257 km"),
        ({}, "ellipsoid not stated"),
    ],
)
def test_an_ellipsoid_is_named_by_whatever_states_it(said, words):
    assert crs_in_words({"crs": xr.Variable((), 0, {**EARTH, **said})}).endswith(
        f"meridian 10°, {words}"
    )


def test_an_ellipsoid_of_a_text_only_is_named_too(write):
    wkt = pyproj.CRS.from_epsg(3035).to_wkt()
    place = place_of_grid(open_grid(write("a.nc", ONES, extra=axes("m", mapping={"crs_wkt": wkt}))))
    assert crs_in_words(place).endswith("GRS 1980")


FLATTENED = {
    **EARTH,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257222101,
    "false_easting": 5.0,
}


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (
            {"semi_minor_axis": 6378137.0 * (1 - 1 / 298.257222101), "inverse_flattening": None},
            False,
        ),
        ({"longitude_of_projection_origin": 370.0}, False),
        ({"false_northing": 0.0, "long_name": "a map"}, False),
        ({"inverse_flattening": None}, True),
        ({"false_easting": None}, True),
        ({"standard_parallel": None}, True),
        ({"standard_parallel": 51.0}, True),
        ({"semi_major_axis": None, "inverse_flattening": None, "earth_radius": 6371000.0}, True),
        ({"semi_major_axis": None, "inverse_flattening": None}, True),
    ],
)
def test_grid_mappings_differ_where_they_mean_another_place(other, differs):
    changed = {key: value for key, value in {**FLATTENED, **other}.items() if value is not None}
    one, two = ({"crs": xr.Variable((), 0, attrs)} for attrs in (FLATTENED, changed))
    assert (
        place_differs(one, two).startswith("their grid mappings differ: ")
        if differs
        else place_differs(one, two) == ""
    )
    assert place_differs(two, one) == place_differs(one, two)


def test_a_figure_of_the_earth_that_only_the_datum_states_counts():
    name = {"grid_mapping_name": "latitude_longitude"}
    one, two = (
        {"crs": xr.Variable((), 0, {**name, "horizontal_datum_name": datum})}
        for datum in ("OSGB_1936", "European_Datum_1950")
    )
    assert place_differs(one, one.copy()) == ""
    assert place_differs(one, two) == "their grid mappings differ: horizontal_datum_name"


def test_what_cf_has_no_word_for_is_no_warning_of_pyproj():
    somerc = (
        "+proj=somerc +lat_0=46.95 +lon_0=7.44 +k_0=1 +x_0=2600000 +y_0=1200000 +ellps=bessel"
        " +units=m +no_defs"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crs = grid_mapping_from_proj(somerc, "here")
    assert crs is not None and crs.attrs["grid_mapping_name"] == "oblique_mercator"


@pytest.mark.parametrize("name", ["y", "latitude"])
def test_latitudes_beyond_the_poles_are_refused(name: str) -> None:
    attrs = {"standard_name": "latitude"}
    dims, good, bad = ("y", "x"), [[89.0], [90.0], [np.nan]], [[89.0], [-9999.0], [np.nan]]
    if name == "y":
        dims, good, bad = "y", [89.0, 90.0], [100.0, 101.0]
    refuse_beyond_poles({name: xr.Variable(dims, good, attrs)}, "a.nc")
    with pytest.raises(DataError, match=r"^a\.nc: holds a latitude of (100|-9999), but"):
        refuse_beyond_poles({name: xr.Variable(dims, bad, attrs)}, "a.nc")
    refuse_beyond_poles({"y": xr.Variable("y", [100.0, 101.0], {"units": "m"})}, "a.nc")


def test_a_file_with_latitudes_beyond_the_poles_is_refused_by_name(tmp_path: Path) -> None:
    rain = xr.DataArray(np.zeros((2, 3, 3), np.float32), dims=("time", "lat", "lon"))
    rain.attrs = {"standard_name": "rainfall_rate", "units": "mm h-1"}
    degrees = {"lat": [100.0, 100.1, 100.2], "lon": [5.0, 5.1, 5.2]}
    times = np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[ns]")
    file = xr.Dataset({"rain": rain}, coords={"time": times, **degrees})
    file["lat"].attrs, file["lon"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    file.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"a\.nc: holds a latitude of 100, but"):
        open_grid(tmp_path / "a.nc")
