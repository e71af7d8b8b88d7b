"""All ways in which CF lets a file state its axes, grid mapping, times, bounds and packing: one line
each, read or refused.

The left side is what the file has, the right side what is read: numbers, or the error message.
"""

import json
from typing import Any

import netCDF4
import numpy as np
import pyproj
import pytest

from nowcast.errors import DataError
from nowcast.radar import open_grid
from nowcast.radar.placing.cropping import degrees_of
from nowcast.radar.placing.georeference import place_of_grid

RAIN = np.arange(18, dtype="f4").reshape(3, 2, 3)
"""(time, y, x); each pixel of each frame is a number of its own."""
EAST, NORTH = np.array([5.0, 5.5, 6.0]), np.array([40.0, 41.0])
METRES = (np.array([1000.0, 2000.0, 3000.0]), np.array([7000.0, 6000.0]))
SINCE = "minutes since 2021-07-03 12:00"


@pytest.fixture
def write(tmp_path):
    """`write(axes, dims)`: rain over these dimensions; axes are name → (dimensions, values,
    attributes).
    """

    def write_file(
        axes=None,
        dims=("time", "y", "x"),
        *,
        rain=None,
        attrs=None,
        time=None,
        file_attrs=None,
        order="tyx",
    ):
        path = tmp_path / "a.nc"
        values = (
            np.moveaxis(RAIN, (0, 1, 2), [order.index(letter) for letter in "tyx"])
            if rain is None
            else rain
        )
        with netCDF4.Dataset(path, "w") as file:
            for name, size in zip(dims, values.shape, strict=True):
                file.createDimension(name, size)
            for name, (of, numbers,
                about) in {**({} if time is False else {"time": time or (("time",), [0, 5, 10],
                {"units": SINCE})}),
                                               **(axes or {})}.items():  # fmt: skip
                numbers = np.asarray(numbers)
                for dim, size in zip(of, numbers.shape, strict=True):
                    if dim not in file.dimensions:
                        file.createDimension(dim, size)
                file.createVariable(name, numbers.dtype, of).setncatts(about)
                file[name].set_auto_maskandscale(False)
                file[name][...] = numbers
            about = dict(attrs or {})
            stored = file.createVariable(
                "rain", values.dtype, dims, fill_value=about.pop("_FillValue", None)
            )
            stored.set_auto_maskandscale(False)
            stored.setncatts({"units": "mm/h", **about})
            stored[...] = values
            file.setncatts(file_attrs or {})
        return path

    return write_file


def refused(path, words, **options):
    with pytest.raises(DataError, match=words) as error:
        open_grid(path, **options).load()
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


# --- 4.1, 4.2, 5: which dimension is x
# ----------------------------------------------------------------------------------

LON, LAT = {"units": "degrees_east"}, {"units": "degrees_north"}
BOTH = np.meshgrid(EAST, NORTH)
AXES = [  # what the file says, the order of its dimensions, their names, its coordinates
    ("units only", "txy", "a b", {"a": (("a",), EAST, LON), "b": (("b",), NORTH, LAT)}),
    ("units of x only", "txy", "a b", {"a": (("a",), EAST, {"units": "degree_E"})}),
    ("units of y only", "txy", "a b", {"b": (("b",), NORTH, {"units": "degreesN"})}),
    ("y first, by units", "tyx", "a b", {"a": (("a",), NORTH, LAT), "b": (("b",), EAST, LON)}),
    ("time last", "xyt", "lon lat", {"lon": (("lon",), EAST, LON), "lat": (("lat",), NORTH, LAT)}),
    ("axis of both", "txy", "a b", {"a": (("a",), EAST, {"axis": "X"}), "b": (("b",), NORTH,
    {"axis": "Y"})}), ("axis of y only", "txy", "a b", {"a": (("a",), EAST, {}), "b": (("b",),
    NORTH, {"axis": "y"})}), ("standard names", "txy", "a b", {"a": (("a",), EAST,
    {"standard_name": "longitude"}), "b": (("b",), NORTH, {})}), ("projection standard names",
    "txy", "a b",
     {"a": (("a",), METRES[0], {"standard_name": "projection_x_coordinate", "units": "m"}),
     "b": (("b",), METRES[1], {"units": "m"})}),
    ("angular standard names", "txy", "a b", {"b": (("b",), [0.1, 0.2],
    {"standard_name": "projection_y_angular_coordinate"})}), ("rotated pole", "txy", "a b",
    {"a": (("a",), EAST, {"standard_name": "grid_longitude", "units": "degrees"})}),
    ("_CoordinateAxisType", "txy", "a b", {"a": (("a",), EAST, {"_CoordinateAxisType": "GeoX"})}),
    ("names of coordinates", "txy", "x y", {"x": (("x",), METRES[0], {"units": "m"}), "y": (("y",),
    METRES[1], {"units": "m"})}), ("names of dimensions", "txy", "lon lat", {}),
    ("names of WRF's dimensions", "txy", "west_east south_north", {}),
    ("coordinates of other names along the dimensions", "txy", "a b", {"long": (("a",), EAST, LON),
    "lati": (("b",), NORTH, LAT)}), ("latitude and longitude of each pixel", "txy", "a b",
    {"lon2": (("a", "b"), BOTH[0].T, LON), "lat2": (("a", "b"), BOTH[1].T, LAT)}),
    ("latitude and longitude of each pixel, y first", "tyx", "a b", {"lon2": (("a", "b"), BOTH[0],
    LON), "lat2": (("a", "b"), BOTH[1], LAT)}), ("nothing", "tyx", "a b", {}),
]  # fmt: skip


@pytest.mark.parametrize(("says", "order", "names", "axes"), AXES, ids=[line[0] for line in AXES])
def test_rain_is_turned_to_time_y_x_whatever_says_which_axis_is_which(
    write, says, order, names, axes
):
    dims = iter(names.split())
    path = write(axes, ["time" if letter == "t" else next(dims) for letter in order], order=order)
    np.testing.assert_array_equal(open_grid(path).precipitation_rate.values, RAIN)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"a": (("a",), EAST, LON), "b": (("b",), NORTH, {"units": "degrees_east"})}, "both 'a' and 'b' are declared as x; correct its axes"),
        ({"a": (("a",), EAST, {**LON, "axis": "Y"})}, "the axis of 'a' is declared as Y, but its units or standard name mean X"),
    ],
)  # fmt: skip
def test_axes_that_contradict_themselves_are_refused(write, axes, words):
    refused(write(axes, ("time", "a", "b"), order="txy"), words)


@pytest.mark.parametrize(
    ("dims", "axes", "words"),
    [
        (("time", "member", "y", "x"), {}, "'rain' also has 'member' of size 4"),
        (("time", "y", "x", "level"), {}, "'rain' also has 'level' of size 4"),
        (("time", "lon", "lat", "h"), {"h": (("h",), np.arange(4.0), {"units": "m", "axis": "Z"})}, "'rain' also has 'h' of size 4"),
    ],
)  # fmt: skip
def test_a_further_dimension_is_named(write, dims, axes, words):
    sizes = {"time": 3, "y": 2, "x": 3, "lon": 3, "lat": 2}
    refused(write(axes, dims, rain=np.ones([sizes.get(dim, 4) for dim in dims], "f4")), words)


def test_a_further_dimension_of_size_one_is_left_out(write):
    path = write({}, ("time", "member", "y", "x"), rain=RAIN[:, None])
    np.testing.assert_array_equal(open_grid(path).precipitation_rate.values, RAIN)


# --- 4.1, 4.2: units of x and y
# -----------------------------------------------------------------------------------------

LAEA = {"grid_mapping_name": "lambert_azimuthal_equal_area", "longitude_of_projection_origin": 10.0,
        "latitude_of_projection_origin": 52.0, "false_easting": 100.0, "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257}  # fmt: skip
UNITS = [  # units of x and y, x as stored, x as read, the false easting as read
    ("m", 3.0, 3.0, 100.0),
    ("metres", 3.0, 3.0, 100.0),
    ("", 3.0, 3.0, 100.0),
    ("km", 3.0, 3000.0, 100e3),
    ("Kilometers", 3.0, 3000.0, 100e3),
    ("1000 m", 3.0, 3000.0, 100e3),
    ("cm", 300.0, 3.0, 1.0),
    ("feet", 10.0, 3.048, 30.48),
    ("US_survey_foot", 3937.0, 1200.0, 100 * 1200 / 3937),
]


@pytest.mark.parametrize(
    ("units", "stored", "read", "false_easting"), UNITS, ids=[f"{line[0]!r}" for line in UNITS]
)
def test_lengths_of_any_unit_become_metres_and_false_origins_with_them(
    write, units, stored, read, false_easting
):
    about = {"units": units} if units else {}
    axes = {
        "x": (("x",), stored + np.arange(3.0), about),
        "y": (("y",), stored + np.arange(2.0), about),
        "p": ((), 0, LAEA),
    }
    grid = open_grid(write(axes, attrs={"grid_mapping": "p"}))
    assert grid.x.values[0] == pytest.approx(read) and grid.x.attrs["units"] == "m"
    assert grid.x.attrs["standard_name"] == "projection_x_coordinate"
    assert grid.crs.attrs["false_easting"] == pytest.approx(false_easting)


DEGREES = [  # attributes of x, x as stored, x as read
    ({"units": "degrees_east"}, 5.0, 5.0),
    ({"units": "degreeE"}, 5.0, 5.0),
    ({"units": "degrees_west"}, 5.0, -5.0),
    ({"units": "degrees", "standard_name": "longitude"}, 5.0, 5.0),
    ({"units": "radians", "standard_name": "longitude"}, 0.1, np.degrees(0.1)),
    ({"units": "degrees_east", "scale_factor": 0.01}, np.int16(500), 5.0),
]


@pytest.mark.parametrize(
    ("attrs", "stored", "read"), DEGREES, ids=[json.dumps(line[0]) for line in DEGREES]
)
def test_longitudes_of_any_unit_become_degrees_east(write, attrs, stored, read):
    step = stored // 100 + 1 if isinstance(stored, np.integer) else 0.01
    x = np.array([stored, stored + step, stored + 2 * step], dtype=np.asarray(stored).dtype)
    grid = open_grid(write({"x": (("x",), x, attrs), "y": (("y",), NORTH, LAT)}))
    assert grid.x.values[0] == pytest.approx(read)
    assert (grid.x.attrs["units"], grid.x.attrs["standard_name"]) == ("degrees_east", "longitude")


# --- 5.6 and appendix F: grid mappings
# ----------------------------------------------------------------------------------

SPHERE = {"earth_radius": 6370000.0}
MAPPINGS = [
    {"grid_mapping_name": "albers_conical_equal_area", "standard_parallel": [40.0, 60.0],
    "longitude_of_central_meridian": 10.0,
     "latitude_of_projection_origin": 50.0},
    {"grid_mapping_name": "azimuthal_equidistant", "longitude_of_projection_origin": 10.0,
    "latitude_of_projection_origin": 50.0}, {"grid_mapping_name": "lambert_azimuthal_equal_area",
    "longitude_of_projection_origin": 10.0, "latitude_of_projection_origin": 50.0},
    {"grid_mapping_name": "lambert_conformal_conic", "standard_parallel": 50.0,
    "longitude_of_central_meridian": 10.0,
     "latitude_of_projection_origin": 50.0},
    {"grid_mapping_name": "lambert_conformal_conic", "standard_parallel": [45.0, 55.0],
    "longitude_of_central_meridian": 10.0,
     "latitude_of_projection_origin": 50.0},
    {"grid_mapping_name": "lambert_cylindrical_equal_area", "standard_parallel": 50.0,
    "longitude_of_central_meridian": 10.0}, {"grid_mapping_name": "mercator",
    "standard_parallel": 50.0, "longitude_of_projection_origin": 10.0},
    {"grid_mapping_name": "mercator", "scale_factor_at_projection_origin": 0.8,
    "longitude_of_projection_origin": 10.0}, {"grid_mapping_name": "oblique_mercator",
    "azimuth_of_central_line": 20.0, "latitude_of_projection_origin": 50.0,
     "longitude_of_projection_origin": 10.0, "scale_factor_at_projection_origin": 1.0},
    {"grid_mapping_name": "orthographic", "longitude_of_projection_origin": 10.0,
    "latitude_of_projection_origin": 50.0}, {"grid_mapping_name": "polar_stereographic",
    "standard_parallel": 60.0, "straight_vertical_longitude_from_pole": 10.0,
     "latitude_of_projection_origin": 90.0},
    {"grid_mapping_name": "polar_stereographic", "scale_factor_at_projection_origin": 0.93,
    "straight_vertical_longitude_from_pole": 10.0,
     "latitude_of_projection_origin": 90.0},
    {"grid_mapping_name": "sinusoidal", "longitude_of_projection_origin": 10.0},
    {"grid_mapping_name": "stereographic", "longitude_of_projection_origin": 10.0,
    "latitude_of_projection_origin": 50.0,
     "scale_factor_at_projection_origin": 1.0},
    {"grid_mapping_name": "transverse_mercator", "longitude_of_central_meridian": 10.0,
    "latitude_of_projection_origin": 50.0,
     "scale_factor_at_central_meridian": 0.9996},
    {"grid_mapping_name": "vertical_perspective", "longitude_of_projection_origin": 10.0,
    "latitude_of_projection_origin": 50.0,
     "perspective_point_height": 35786e3},
]  # fmt: skip


def projection_of(mapping: dict[str, Any]) -> pyproj.Proj:
    """The projection by PROJ. Of an oblique Mercator CF does not say by which angle its axes are
    turned back: as PROJ does by default, by the azimuth, so that north is up.
    """
    if mapping["grid_mapping_name"] != "oblique_mercator":
        return pyproj.Proj(pyproj.CRS.from_cf({**mapping, **SPHERE}))
    return pyproj.Proj(
        proj="omerc", R=SPHERE["earth_radius"], alpha=mapping["azimuth_of_central_line"],
        lonc=mapping["longitude_of_projection_origin"],
        lat_0=mapping["latitude_of_projection_origin"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "mapping", MAPPINGS, ids=[f"{k}-{line['grid_mapping_name']}" for k, line in enumerate(MAPPINGS)]
)
def test_a_projection_of_appendix_f_places_the_pixels(write, mapping):
    """A point 12° E, 51° N goes to x and y by the projection, and comes back."""
    x, y = projection_of(mapping)(12.0, 51.0)
    axes = {"x": (("x",), x / 1000 + np.arange(3.0), {"units": "km"}), "y": (("y",),
        y / 1000 + np.arange(2.0), {"units": "km"}),
            "p": ((), 0, {**mapping, **SPHERE})}  # fmt: skip
    grid = open_grid(write(axes, attrs={"grid_mapping": "p"}))
    longitude, latitude = degrees_of(place_of_grid(grid), "a.nc")
    assert (longitude[0, 0], latitude[0, 0]) == pytest.approx((12.0, 51.0))


def test_a_rotated_pole_places_the_pixels(write):
    """The rotated origin of COSMO's pole lies at 10° E, 50° N; its west at 359° is west."""
    mapping = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 40.0,
        "grid_north_pole_longitude": -170.0,
    }
    axes = {"rlon": (("rlon",), [359.0, 0.0, 1.0], {"standard_name": "grid_longitude",
        "units": "degrees"}),
            "rlat": (("rlat",), [0.0, 1.0], {"standard_name": "grid_latitude", "units": "degrees"}),
            "p": ((), 0, mapping)}  # fmt: skip
    grid = open_grid(write(axes, ("time", "rlat", "rlon"), attrs={"grid_mapping": "p"}))
    assert (
        grid.x.values.tolist() == [-1.0, 0.0, 1.0]
        and grid.x.attrs["standard_name"] == "grid_longitude"
    )
    longitude, latitude = degrees_of(place_of_grid(grid), "a.nc")
    assert (longitude[0, 1], latitude[0, 1]) == pytest.approx((10.0, 50.0))
    assert longitude[0, 0] < 10.0 < longitude[0, 2]


@pytest.mark.parametrize(
    ("attrs", "scale"),
    [({"units": "rad", "standard_name": "projection_x_angular_coordinate"}, 1.0), ({"units": "microradian"}, 1e6), ({"units": "degrees"}, 180 / np.pi)],
)  # fmt: skip
def test_viewing_angles_of_a_geostationary_satellite_become_metres(write, attrs, scale):
    mapping = {"grid_mapping_name": "geostationary", "perspective_point_height": 35786e3,
        "longitude_of_projection_origin": 0.0,
               "sweep_angle_axis": "y", "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.3}  # fmt: skip
    other = {**attrs, "standard_name": "projection_y_coordinate"}
    axes = {
        "x": (("x",), np.array([0.0, 0.01, 0.02]) * scale, attrs),
        "y": (("y",), np.array([0.1, 0.09]) * scale, other),
        "p": ((), 0, mapping),
    }
    grid = open_grid(write(axes, attrs={"grid_mapping": "p"}))
    assert (
        grid.x.values == pytest.approx([0.0, 357860.0, 715720.0]) and grid.x.attrs["units"] == "m"
    )
    assert degrees_of(place_of_grid(grid), "a.nc")[0][0, 0] == pytest.approx(0.0)


WKT = pyproj.CRS.from_epsg(3035).to_wkt("WKT1_GDAL")
FEET = pyproj.CRS.from_epsg(2263).to_wkt()
# what the file says: attributes of the rain, of the variable p, of the file; the CRS that is meant
STATED = [
    ("crs_wkt only", {"grid_mapping": "p"}, {"crs_wkt": pyproj.CRS.from_epsg(3035).to_wkt()}, {},
    3035), ("spatial_ref only", {"grid_mapping": "p"}, {"spatial_ref": WKT}, {}, 3035),
    ("a compound WKT", {"grid_mapping": "p"}, {"crs_wkt": pyproj.CRS("EPSG:3035+5773").to_wkt()},
    {}, 3035), ("an EPSG code", {"grid_mapping": "p"}, {"epsg_code": "EPSG:3035"}, {}, 3035),
    ("a number of EPSG", {"grid_mapping": "p"}, {"epsg_code": np.int32(3035)}, {}, 3035),
    ("a PROJ text at the mapping", {"grid_mapping": "p"},
    {"proj4": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80"}, {}, 3035),
    ("a PROJ text at the rain",
    {"proj4": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80"},
    {"nothing": 1}, {}, 3035), ("WKT at the file", {}, {"nothing": 1}, {"spatial_ref": WKT}, 3035),
    ("no grid_mapping attribute, a lone mapping", {}, {"spatial_ref": WKT}, {}, 3035),
    ("a name with its axes", {"grid_mapping": "p: x y"}, {"spatial_ref": WKT}, {}, 3035),
    ("several names, that of x and y", {"grid_mapping": "other: lat lon p: x y"},
    {"spatial_ref": WKT}, {}, 3035), ("feet of WKT", {"grid_mapping": "p"}, {"crs_wkt": FEET}, {},
    2263), ("CF attributes go before a WKT of another place", {"grid_mapping": "p"},
     {**{k: v for k, v in pyproj.CRS.from_epsg(3035).to_cf().items() if k != "crs_wkt"},
     "crs_wkt": FEET}, {}, 3035),
    ("CF attributes without an ellipsoid, and WKT", {"grid_mapping": "p"},
     {"grid_mapping_name": "lambert_azimuthal_equal_area", "longitude_of_projection_origin": 10.0,
     "latitude_of_projection_origin": 52.0,
      "false_easting": 4321000.0, "false_northing": 3210000.0,
      "crs_wkt": pyproj.CRS.from_epsg(3035).to_wkt()}, {}, 3035),
]  # fmt: skip


@pytest.mark.parametrize(
    ("says", "rain", "mapping", "whole", "epsg"), STATED, ids=[line[0] for line in STATED]
)
def test_a_projection_is_found_wherever_it_is_stated(write, says, rain, mapping, whole, epsg):
    crs = pyproj.CRS.from_epsg(epsg)
    lon, lat = (10.5, 51.5) if epsg == 3035 else (-74.0, 40.5)
    x, y = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(lon, lat)
    about = {"units": "m"} if epsg == 3035 else {"units": "US_survey_foot"}
    axes = {
        "x": (("x",), x + 5000 * np.arange(3.0), about),
        "y": (("y",), y + 5000 * np.arange(2.0), about),
        "p": ((), 0, mapping),
    }
    grid = open_grid(write(axes, attrs=rain, file_attrs=whole))
    longitude, latitude = degrees_of(place_of_grid(grid), "a.nc")
    assert (longitude[0, 0], latitude[0, 0]) == pytest.approx((lon, lat), abs=1e-6)


SILENT = [  # attributes of the mapping, the warning
    ({"grid_mapping_name": "healpix"},
    "its grid mapping 'healpix' is unknown; the grid will have none"),
    ({"grid_mapping_name": "albers_conical_equal_area"},
    "its grid mapping 'albers_conical_equal_area' lacks 'standard_parallel'; the grid will have none"),
    ({**LAEA, "false_easting": np.zeros(0)},
    "has attributes that make no projection; the grid will have none"), ({**LAEA,
    "false_easting": "west"}, "has attributes that make no projection; the grid will have none"),
    ({"crs_wkt": 'PROJCS["nothing"]'}, "unknown projection 'PROJCS[\"nothing\"]'; the grid will have none"),
]  # fmt: skip


@pytest.mark.parametrize(("mapping", "words"), SILENT, ids=[line[1][:50] for line in SILENT])
def test_a_projection_that_cannot_be_made_is_said_and_left_out(write, caplog, mapping, words):
    axes = {
        "x": (("x",), np.arange(3.0), {"units": "km"}),
        "y": (("y",), np.arange(2.0), {"units": "km"}),
        "p": ((), 0, mapping),
    }
    assert "crs" not in open_grid(write(axes, attrs={"grid_mapping": "p"})).coords
    assert words in caplog.text


# --- 4.4: times
# ---------------------------------------------------------------------------------------------------------

NOON = np.datetime64("2021-07-03T12:00", "ns")
FIVE = np.arange(3) * 5.0
TIMES = [  # units, calendar, numbers as stored
    ("minutes since 2021-07-03 12:00", None, FIVE),
    ("Minutes Since 2021-07-03 12:00", None, FIVE),
    ("min since 2021-07-03T12:00:00Z", None, FIVE),
    ("mins since 2021-07-03 12:00 UTC", None, FIVE),
    ("secs since 2021-7-3 12:0:0.0", "gregorian", FIVE * 60),
    ("seconds since 1970-01-01", "standard", (1625313600 + FIVE * 60).astype("i4")),
    ("seconds since 1970-01-01", None, (1625313600 + FIVE * 60).astype("i8")),
    ("s since 2021-07-03 12", None, FIVE.astype("i2") * 60),
    ("hrs since 2021-07-03 12:00", None, FIVE / 60),
    ("h since 2021-07-03 12:00", None, (FIVE / 60).astype("f4")),
    ("msecs since 2021-07-03 12:00", None, FIVE * 60e3),
    ("microseconds since 2021-07-03 12:00", None, FIVE * 60e6),
    ("nanoseconds since 2021-07-03 12:00", None, (FIVE * 60e9).astype("i8")),
    ("days since 1-1-1 00:00:0.0", None, 719164 + 18811.5 + FIVE / 1440),
    ("days since 0001-01-01", "proleptic_gregorian", 719162 + 18811.5 + FIVE / 1440),
    ("d since 1900-01-01", None, 44378.5 + FIVE / 1440),
    ("hours since 1582-10-15", "standard", 24 * (141427 + 18811.5) + FIVE / 60),
    ("weeks since 2021-07-03 12:00", None, FIVE / 10080),
    ("minutes since 2021-07-03 14:00 +02:00", None, FIVE),
    ("minutes since 2021-07-03 14:00:00 +2", None, FIVE),
    ("minutes since 2021-07-03 06:00 -6:00", None, FIVE),
    ("minutes since 2021-07-03 17:30 +0530", None, FIVE),
    ("minutes since 2021-07-03 12:00 0:00", None, FIVE),
    ("minutes since 2021/07/03 12:00", None, FIVE),
    ("minutes since 2021-07", None, 2 * 1440 + 720 + FIVE),
    ("minutes since 2021", None, 183 * 1440 + 720 + FIVE),
    ("minutes since 3 Jul 2021 12:00", None, FIVE),
]


@pytest.mark.parametrize(
    ("units", "calendar", "numbers"),
    TIMES,
    ids=[f"{line[0]}, {np.asarray(line[2]).dtype}" for line in TIMES],
)
def test_times_in_any_unit_that_counts_from_a_date_are_read(write, units, calendar, numbers):
    about = {"units": units, **({} if calendar is None else {"calendar": calendar})}
    times = open_grid(write(time=(("time",), numbers, about))).time.values
    assert times.tolist() == (NOON + np.arange(3) * np.timedelta64(5, "m")).tolist()


NO_TIMES = [  # units, calendar, numbers, the words of the refusal
    ("months since 2021-07-03", None, FIVE, r"cannot be read: the length of a month varies"),
    ("years since 2021-07-03", None, FIVE, r"cannot be read: the length of a year varies"),
    ("fortnights since 2021-07-03", None, FIVE,
    "cannot be read: 'fortnights' is not a known unit of time"),
    ("minutes since 2021-13-03", None, FIVE,
    "cannot be read; '2021-13-03' is not a date in the calendar 'standard'"),
    ("minutes since 0000-01-01", None, FIVE,
    "cannot be read; '0000-01-01' is not a date in the calendar 'standard'"),
    ("minutes since the flood", None, FIVE, "cannot be read; write them in UTC"),
    ("minutes since 2021-07-03 12:00 CET", None, FIVE,
    r"CET'\) cannot be read; write them in UTC, .*or with an offset"), ("minutes since 1582-10-10",
    "standard", FIVE, "cannot be read"), ("minutes since 2021-07-03", "julian", FIVE,
    r"calendar 'julian'; nowcast reads gregorian, proleptic_gregorian, standard\. If .*ncatted"),
    ("minutes since 2021-07-03", "noleap", FIVE, "calendar 'noleap'"), ("minutes since 2021-07-03",
    "365_day", FIVE, "calendar '365_day'"), ("minutes since 2021-07-03", "all_leap", FIVE,
    "calendar 'all_leap'"), ("minutes since 2021-07-03", "360_day", FIVE, "calendar '360_day'"),
    ("minutes since 2021-07-03", "tai", FIVE, "calendar 'tai'"),
    ("day as %Y%m%d.%f", None, 20210703 + FIVE / 1440,
    "'time' is in 'day as %Y%m%d.%f', not in units like 'minutes since"),
    ("minutes since 1970-01-01", None, (27088560 + FIVE).astype("f4"),
    "single precision, which is exact only to 2 minutes"), ("days since 1-1-1", None, FIVE + 3e9,
    "one is out of range"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "calendar", "numbers", "words"),
    NO_TIMES,
    ids=[f"{line[0]} {line[1] or ''}" for line in NO_TIMES],
)
def test_times_that_cannot_be_read_are_refused_for_what_is_wrong_with_them(
    write, units, calendar, numbers, words
):
    about = {"units": units, **({} if calendar is None else {"calendar": calendar})}
    refused(write(time=(("time",), numbers, about)), words)


FOUND = [  # what says that this is the time
    ("units only", "t", {}),
    ("standard name", "when", {"standard_name": "time"}),
    ("axis", "t", {"axis": "T"}),
    ("_CoordinateAxisType", "t", {"_CoordinateAxisType": "Time"}),
]


@pytest.mark.parametrize(("says", "name", "more"), FOUND, ids=[line[0] for line in FOUND])
@pytest.mark.parametrize("own", [True, False], ids=["coordinate variable", "auxiliary coordinate"])
def test_the_time_is_found_by_whatever_says_that_it_is_one(write, says, name, more, own):
    axes = {name: ((name if own else "record",), FIVE, {"units": SINCE, **more})}
    path = write(axes, (name if own else "record", "y", "x"), time=False)
    assert open_grid(path).time.values[0] == NOON


# --- 7: cell bounds and methods
# -------------------------------------------------------------------------------------------

ENDS = np.array([5.0, 10.0, 15.0])
PAIRS = np.stack([ENDS - 5, ENDS], axis=1)
MM = {"units": "mm", "cell_methods": "time: sum"}
# the case: attributes of the rain, label of each frame, bounds, their attributes; minutes from noon
# as read
BOUNDS = [
    ("label at the end", MM, ENDS, PAIRS, {}, ENDS),
    ("label at the start", MM, ENDS - 5, PAIRS, {}, ENDS),
    ("label in the middle", MM, ENDS - 2.5, PAIRS, {}, ENDS),
    ("bounds the other way round", MM, ENDS - 5, PAIRS[:, ::-1], {}, ENDS),
    ("bounds in units of their own", MM, ENDS - 5, PAIRS * 60,
    {"units": "seconds since 2021-07-03 12:00"}, ENDS),
    ("bounds go before an interval in cell_methods", {"units": "mm",
    "cell_methods": "time: sum (interval: 1 minute)"}, ENDS, PAIRS, {}, ENDS), ("a mean rate",
    {"cell_methods": "time: mean"}, ENDS - 5, PAIRS, {}, ENDS), ("a rate", {}, ENDS - 2.5, PAIRS,
    {}, ENDS), ("a rate at the label", {"cell_methods": "time: point"}, ENDS - 5, PAIRS, {},
    ENDS - 5), ("a mean over area and time", {"cell_methods": "area: mean time: mean"}, ENDS, PAIRS,
    {}, ENDS), ("bounds of no length", {}, ENDS, np.stack([ENDS, ENDS], 1), {}, ENDS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("says", "attrs", "labels", "pairs", "about", "read"), BOUNDS, ids=[line[0] for line in BOUNDS]
)
def test_a_frame_stands_at_the_end_of_its_bounds(write, says, attrs, labels, pairs, about, read):
    axes = {"time_bnds": (("time", "nv"), pairs, about)}
    grid = open_grid(
        write(axes, attrs=attrs, time=(("time",), labels, {"units": SINCE, "bounds": "time_bnds"}))
    )
    assert ((grid.time.values - NOON) / np.timedelta64(1, "m")).tolist() == read.tolist()
    np.testing.assert_allclose(
        grid.precipitation_rate.values, RAIN * (12.0 if attrs.get("units") == "mm" else 1.0)
    )


COMPANIONS = [  # label, start_time and end_time of each frame
    ("start and end", ENDS - 5, {"start_time": ENDS - 5, "end_time": ENDS}),
    ("start, and a label at the end", ENDS, {"start_time": ENDS - 5}),
    ("end, and a label at the start", ENDS - 5, {"end_time": ENDS}),
    ("a label at the start, the minutes by cell_methods", ENDS - 5, {"start_time": ENDS - 5}),
]


@pytest.mark.parametrize(
    ("says", "labels", "companions"), COMPANIONS, ids=[line[0] for line in COMPANIONS]
)
def test_variables_of_start_and_end_say_what_bounds_say(write, says, labels, companions):
    axes = {name: (("time",), values, {"units": SINCE}) for name, values in companions.items()}
    attrs = {"units": "mm", "cell_methods": "time: sum (interval: 5 minutes)"}
    grid = open_grid(write(axes, attrs=attrs, time=(("time",), labels, {"units": SINCE})))
    assert ((grid.time.values - NOON) / np.timedelta64(1, "m")).tolist() == ENDS.tolist()
    np.testing.assert_allclose(grid.precipitation_rate.values, RAIN * 12)


def test_bounds_are_known_by_their_usual_name_too(write):
    grid = open_grid(
        write(
            {"time_bnds": (("time", "nv"), PAIRS, {})},
            attrs=MM,
            time=(("time",), ENDS - 5, {"units": SINCE}),
        )
    )
    assert ((grid.time.values - NOON) / np.timedelta64(1, "m")).tolist() == ENDS.tolist()


def test_bounds_that_are_not_there_are_told_and_the_label_is_taken(write, caplog):
    path = write(
        attrs={"units": "mm"}, time=(("time",), ENDS, {"units": SINCE, "bounds": "time_bnds"})
    )
    grid = open_grid(path, accumulation_minutes=5)
    assert ((grid.time.values - NOON) / np.timedelta64(1, "m")).tolist() == ENDS.tolist()
    assert "names 'time_bnds' as the bounds of its times, but has no such variable" in caplog.text


@pytest.mark.parametrize(
    ("attrs", "late"), [({}, 0), ({"cell_methods": "time: mean"}, 5)], ids=["a scan", "a mean"]
)
def test_start_and_end_of_a_rate_are_those_of_a_scan_unless_it_is_a_mean(write, attrs, late):
    axes = {
        name: (("time",), values, {"units": SINCE})
        for name, values in (("start_time", ENDS - 5), ("end_time", ENDS))
    }
    grid = open_grid(write(axes, attrs=attrs, time=(("time",), ENDS - 5, {"units": SINCE})))
    assert (grid.time.values[0] - NOON) / np.timedelta64(1, "m") == late


NO_BOUNDS = [  # attributes of the rain and the time, bounds, the words of the refusal
    (MM, {"climatology": "time_bnds"}, PAIRS, "holds a climatology"),
    ({"units": "mm", "cell_methods": "time: sum within days time: mean over days"}, {}, PAIRS,
    "holds a climatology"), (MM, {"bounds": "time_bnds"}, PAIRS + [[0, 0], [0, 0], [-2, 0]],
    "its frames are sums over 5 to 7 minutes"), (MM, {"bounds": "time_bnds"}, PAIRS + 600,
    "its frame of 2021-07-03T12:05 is outside its time bounds from 2021-07-03T22:00 to"),
    (MM, {"bounds": "time_bnds"}, PAIRS + [[0, 0], [0, np.nan], [0, 0]],
    "the bounds of its time are missing"), (MM, {}, np.zeros((3, 2, 2)),
    "over an unknown number of minutes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attrs", "time", "pairs", "words"), NO_BOUNDS, ids=[line[3][:40] for line in NO_BOUNDS]
)
def test_bounds_that_say_no_one_interval_are_refused(write, attrs, time, pairs, words):
    path = write(
        {"time_bnds": (("time", "nv", "more")[: pairs.ndim], pairs, {})},
        attrs=attrs,
        time=(("time",), ENDS, {"units": SINCE, **time}),
    )
    refused(path, words)


# --- 2.5, 3.5, 8.1: missing data and packing
# --------------------------------------------------------------------------------

F4, I2 = np.float32, np.int16
PACKED = {"scale_factor": 0.01}
M = np.nan
PACKING = [  # type of the numbers stored, attributes, numbers as stored, as read
    ("valid_max of a floating type", "i2", {**PACKED, "valid_max": F4(200)}, [0, 1000, 25000], [0,
    10, M]), ("valid_max of the packed type", "i2", {**PACKED, "valid_max": I2(1000)}, [0, 1000,
    1001], [0, 10, M]), ("valid_max in double", "u1", {"scale_factor": 0.5, "valid_max": 100.0}, [0,
    200, 201], [0, 100, M]), ("valid_range of a floating type", "i2", {**PACKED,
    "valid_range": np.array([0.0, 150.0])}, [-1, 15000, 15001], [M, 150, M]),
    ("valid_range of the packed type", "i2", {**PACKED, "valid_range": np.array([0, 100], I2)}, [-1,
    100, 101], [M, 1, M]), ("valid_min at the least value", "i2", {**PACKED, "valid_min": F4(0.1)},
    [10, 9, 11], [0.1, M, 0.11]), ("limits with an offset only", "i2", {"add_offset": -10.0,
    "valid_min": 0.0}, [10, 9, 11], [0, M, 1]), ("limits of a floating type, not packed", "i2",
    {"valid_max": F4(100)}, [0, 100, 101], [0, 100, M]), ("limits in double of packed single", "f4",
    {**PACKED, "valid_max": 10.0}, [0, 1000, 1001], [0, 10, M]),
    ("limits in single of packed single", "f4", {**PACKED, "valid_max": F4(1000)}, [0, 1000, 1001],
    [0, 10, M]), ("_FillValue is packed", "i2", {**PACKED, "_FillValue": I2(-1)}, [0, -1, 100], [0,
    M, 1]), ("missing_value is packed, whatever its type", "i2", {**PACKED,
    "missing_value": -999.0}, [0, -999, 100], [0, M, 1]), ("missing_value that cannot be packed",
    "i2", {**PACKED, "missing_value": -9.99}, [0, -999, 100], [0, M, 1]), ("several missing_value",
    "i2", {**PACKED, "missing_value": np.array([-1, -2], I2)}, [-1, -2, 100], [M, M, 1]),
    ("actual_range is no limit", "i2", {**PACKED, "actual_range": np.array([0.0, 1.0])}, [0, 100,
    200], [0, 1, 2]), ("_Unsigned", "i1", {"_Unsigned": "true", "scale_factor": 0.5,
    "valid_range": np.array([0, -56], "i1")}, [0, -56, -1], [0, 100, M]),
    ("_Unsigned, fill of the signed type", "i1", {"_Unsigned": "true", "_FillValue": np.int8(-1)},
    [0, -2, -1], [0, 254, M]), ("_Unsigned is false", "u1", {"_Unsigned": "false",
    "_FillValue": np.uint8(255), "add_offset": 10.0}, [0, 254, 255], [10, 8, M]),
    ("scale and offset as text", "i2", {"scale_factor": "0.01", "add_offset": "0"}, [0, 1, 2], [0,
    0.01, 0.02]), ("scale of an integer type", "i2", {"scale_factor": I2(2)}, [0, 1, 2], [0, 2, 4]),
    ("flags", "u1", {"scale_factor": 0.5, "flag_values": np.array([254, 255], "u1"),
    "flag_meanings": "no_rain outside"}, [2, 254, 255], [1, 0, M]), ("nothing was written", "i2",
    PACKED, [0, -32767, 100], [0, M, 1]), ("nothing was written, not packed", "f4", {}, [0,
    netCDF4.default_fillvals["f4"], 1], [0, M, 1]),
]  # fmt: skip


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
@pytest.mark.parametrize(
    ("says", "dtype", "attrs", "stored", "read"), PACKING, ids=[line[0] for line in PACKING]
)
def test_numbers_are_unpacked_and_left_out_as_their_attributes_mean_it(
    write, tmp_path, form, says, dtype, attrs, stored, read
):
    rain = np.array(stored, dtype).reshape(1, 1, 3)
    if form == "netcdf":
        path = write(rain=rain, attrs=attrs, time=(("time",), [0], {"units": SINCE}))
    else:
        path = as_zarr(tmp_path / "a.zarr", rain, attrs)
        if says.startswith("nothing was written"):
            pytest.skip("Zarr has no such numbers")
        if says == "limits in single of packed single":
            pytest.skip("JSON knows one type of fractions")
    np.testing.assert_allclose(open_grid(path).precipitation_rate.values.ravel(), read, rtol=1e-6)


def as_zarr(path, rain, attrs):
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group(path, zarr_format=2)
    plain = {key: np.asarray(value).tolist() for key, value in attrs.items() if key != "_FillValue"}
    for name, values, dims, about in (
        ("time", np.array([0]), ["time"], {"units": SINCE}),
        ("rain", rain, ["time", "y", "x"], {"units": "mm/h", **plain}),
    ):
        fill = (
            np.asarray(attrs["_FillValue"]).item()
            if name == "rain" and "_FillValue" in attrs
            else None
        )
        array = root.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=fill)
        array[...] = values
        array.attrs.update({"_ARRAY_DIMENSIONS": dims, **about})
    return path


@pytest.mark.parametrize(
    "attrs",
    [
        {"scale_factor": "wet"},
        {"scale_factor": 0.0},
        {"add_offset": np.array([1.0, 2.0])},
        {"scale_factor": M},
    ],
)
def test_packing_that_unpacks_nothing_is_refused(write, attrs):
    refused(write(attrs=attrs), "'rain' cannot be unpacked with .*must be single finite numbers")


# --- 2.7: groups
# ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["netcdf", "zarr"])
def grouped(request, tmp_path):
    """Rain (time, lon, lat) in the group Grid, as IMERG has it; its time in the root, of NetCDF."""
    if request.param == "zarr":
        pytest.importorskip("zarr").create_group(tmp_path / "a.zarr", zarr_format=2)
        as_zarr(tmp_path / "a.zarr" / "Grid", RAIN[:1], {})
        return tmp_path / "a.zarr"
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", 3)
        time = file.createVariable("time", "f8", ("time",))
        time.units, time[:] = SINCE, FIVE
        group = file.createGroup("Grid")
        for name, values, about in (("lon", EAST, LON), ("lat", NORTH, LAT)):
            group.createDimension(name, values.size)
            group.createVariable(name, "f8", (name,)).setncatts(about)
            group[name][:] = values
        rain = group.createVariable("rain", "f4", ("time", "lon", "lat"))
        rain.units, rain[:] = "mm/h", RAIN.transpose(0, 2, 1)
    return tmp_path / "a.nc"


def test_data_in_a_group_are_named_and_read_by_that_name(grouped):
    refused(
        grouped,
        r"its data are in groups \(Grid/rain\); name the rain, for example data.variable=Grid/rain",
    )
    rate = open_grid(grouped, variable="Grid/rain").precipitation_rate
    np.testing.assert_array_equal(rate.values, RAIN[: rate.sizes["time"]])


def test_a_group_that_is_not_there_is_refused(write):
    refused(write(), r"has no group 'Grid' \(it has: none\)", variable="Grid/rain")
