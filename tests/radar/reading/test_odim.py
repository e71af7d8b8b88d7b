"""ODIM HDF5: tiny files written by hand, and OPERA's own."""

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
import pytest
from pytest import approx

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import check_grid, open_grid
from nowcast.radar.reading import formats
from nowcast.radar.reading.file import ReadOptions

DATA = Path(__file__).parents[4] / "shared" / "data" / "opera_odyssey_odim_hdf5"
LAEA = "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"
TOP = {
    "object": "COMP",
    "version": "H5rad 2.0",
    "date": "20200101",
    "time": "001500",
    "source": "ORG:247",
}
RATE = {
    "quantity": "RATE",
    "gain": 1.0,
    "offset": 0.0,
    "nodata": -9999000.0,
    "undetect": -8888000.0,
}
DBZH = {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "nodata": 255.0, "undetect": 0.0}
ENDS = {"startdate": "20200101", "starttime": "000500", "enddate": "20200101", "endtime": "002000"}


def where(projdef=LAEA, scale=2000.0, size=(2, 3), upper_left=(0.0, 0.0), **more):
    """The attributes of `where` of an image of `size` (y, x) whose outer upper left corner is
    at `upper_left` in metres.
    """
    to_xy = pyproj.Proj(projdef)
    (x, y), (height, width) = upper_left, size
    said = {
        "projdef": projdef,
        "xscale": scale,
        "yscale": scale,
        "ysize": np.uint64(height),
        "xsize": np.uint64(width),
    }
    for name, column, row in [
        ("LL", 0, height),
        ("UL", 0, 0),
        ("UR", width, 0),
        ("LR", width, height),
    ]:
        said[f"{name}_lon"], said[f"{name}_lat"] = to_xy(
            x + column * scale, y - row * scale, inverse=True
        )
    return {**said, **more}


@pytest.fixture
def write(tmp_path):
    """`write(images, top, place)`: images is {path of dataM: (numbers, attributes of `what`)}; a
    third item names the group of the attributes.
    """

    def write_file(images: dict[str, Any], top=None, place=None, how=None, name="a.h5"):
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_0")
            file.create_group("what").attrs.update(TOP if top is None else top)
            if place is not False:
                file.create_group("where").attrs.update(where() if place is None else place)
            if how is not None:
                file.create_group("how").attrs.update(how)
            for at, (values, attrs, *level) in images.items():
                file[f"{at}/data"] = np.asarray(values)
                file.require_group(level[0] if level else f"{at}/what").attrs.update(attrs)
        return path

    return write_file


def one(values=((1.0, -9999000.0, -8888000.0), (0.5, 2.0, 3.0)), **attrs):
    return {"dataset1/data1": (values, {**RATE, **attrs})}


def read(path, **options):
    grid = open_grid(path, **options)
    check_grid(grid)
    return grid.precipitation_rate.values


def test_nodata_is_missing_and_undetect_is_dry(write):
    grid = open_grid(write(one()))
    check_grid(grid)
    np.testing.assert_array_equal(
        grid.precipitation_rate.values, np.float32([[[1, np.nan, 0], [0.5, 2, 3]]])
    )
    assert grid.time.values[0] == np.datetime64("2020-01-01T00:15")
    assert grid.attrs["converted_from"] == "RATE [mm h-1]"
    assert (grid.attrs["institution"], grid.attrs["source"], grid.attrs["source_format"]) == (
        "ORG:247",
        "ODIM_H5/V2_0",
        "odim",
    )


@pytest.mark.parametrize(
    "level", ["dataset1/data1/what", "dataset1/data1", "dataset1/what", "dataset1", "what"]
)
def test_attributes_may_stand_at_any_level(write, level):
    path = write(
        {
            "dataset1/data1": (
                np.uint8([[2, 255, 0], [4, 6, 8]]),
                {**RATE, "gain": 0.5, "nodata": 255, "undetect": 0},
                level,
            )
        }
    )
    np.testing.assert_array_equal(read(path), np.float32([[[1, np.nan, 0], [2, 3, 4]]]))


def test_the_nearest_level_holds(write):
    path = write(one(), top={**TOP, "gain": 100.0, "quantity": "TH"})
    assert np.nanmax(read(path)) == 3.0


@pytest.mark.parametrize(
    "spell",
    [
        np.bytes_,
        str,
        lambda text: np.array([np.bytes_(text)]),
        lambda text: np.bytes_(f"{text}\0\0"),
    ],
)
def test_texts_are_read_however_they_are_stored(write, spell):
    def spelled(attrs):
        return {
            name: spell(value) if isinstance(value, str) else value for name, value in attrs.items()
        }

    path = write(
        {"dataset1/data1": ([[1.0, 2.0, 3.0]] * 2, spelled(RATE))},
        top=spelled(TOP),
        place=spelled(where()),
    )
    grid = open_grid(path)
    assert (grid.attrs["institution"], grid.crs.attrs["grid_mapping_name"]) == (
        "ORG:247",
        "lambert_azimuthal_equal_area",
    )


def test_numbers_are_read_however_they_are_stored(write):
    path = write(
        one(
            np.uint16([[100, 7, 9], [1, 2, 3]]),
            gain=np.float32([0.01]),
            nodata="7",
            undetect=np.array([9]),
        )
    )
    np.testing.assert_array_equal(read(path), np.float32([[[1, np.nan, 0], [0.01, 0.02, 0.03]]]))
    with pytest.raises(DataError, match="its attribute gain is 'one', not a number"):
        open_grid(write(one(gain="one")))


def test_packed_numbers_are_unpacked_exactly(write):
    path = write(
        one(
            np.uint16([[65535, 0, 123], [10, 5, 1]]),
            gain=0.1,
            offset=-0.1,
            nodata=65535,
            undetect=0,
        )
    )
    np.testing.assert_array_equal(read(path), np.float32([[[np.nan, 0, 12.2], [0.9, 0.4, 0]]]))


def test_bytes_stored_as_signed_are_meant_unsigned(write):
    path = write(one(np.int8([[-1, 0, 10], [1, 2, -56]]), nodata=255, undetect=0))
    np.testing.assert_array_equal(read(path), np.float32([[[np.nan, 0, 10], [1, 2, 200]]]))


def test_where_one_number_is_nodata_and_undetect_it_is_missing(write):
    assert np.isnan(read(write(one([[1.0, -1.0, 2.0]] * 2, nodata=-1.0, undetect=-1.0)))[0, 0, 1])


def test_without_gain_and_flags_numbers_are_as_they_stand(write):
    path = write({"dataset1/data1": ([[0.0, 1.0, 2.0]] * 2, {"quantity": "RATE"})})
    np.testing.assert_array_equal(read(path)[0, 0], [0, 1, 2])


def test_flags_that_are_not_declared_are_refused_until_named(write):
    path = write({"dataset1/data1": ([[-9999000.0, -8888000.0, 2.0]] * 2, {"quantity": "RATE"})})
    with pytest.raises(
        DataError,
        match=r"'RATE' is -9.999e\+06 .* 4 such values\); .* data.missing_value=-9.999e\+06",
    ):
        read(path)
    np.testing.assert_array_equal(
        read(path, missing_value=[-9.999e6, -8.888e6])[0, 0], [np.nan, np.nan, 2]
    )
    path = write({"dataset1/data1": ([[-9999000.0, 20.0, 30.0]] * 2, {"quantity": "DBZH"})})
    with pytest.raises(DataError, match=r"data.missing_value=-9.999e\+06"):
        read(path, zr=(200.0, 1.6))


def test_what_the_user_calls_missing_is_missing_even_if_undetect(write):
    assert np.isnan(read(write(one()), missing_value=-8888000.0)[0, 0, 2])


def test_reflectivity_becomes_rain_by_the_relation_the_file_states(write):
    # missing, none, 0 dBZ; -31.5, 20, 40 dBZ
    images = {"dataset1/data1": (np.uint8([[255, 0, 64], [1, 104, 144]]), DBZH)}
    with pytest.raises(
        DataError,
        match="'DBZH' is reflectivity, and its Z-R relation is unknown",
    ):
        open_grid(write(images))
    rain = [[np.nan, 0, 0.1], [0, 1, 10]]  # Z = 100 R^2
    np.testing.assert_allclose(read(write(images), zr=(100.0, 2.0))[0], rain, rtol=1e-6)
    path = write(images, how={"zr_a": 100.0, "zr_b": 2.0})
    np.testing.assert_allclose(read(path)[0], rain, rtol=1e-6)
    assert open_grid(path).attrs["converted_from"] == "DBZH [dBZ] by Z = 100 R^2"


@pytest.mark.parametrize("quantity", ["TH", "DBZV", "dbzh"])
def test_other_reflectivities_are_read_too(write, quantity):
    path = write({"dataset1/data1": (np.uint8([[255, 0, 64]] * 2), {**DBZH, "quantity": quantity})})
    np.testing.assert_allclose(
        read(path, zr=(200.0, 1.6))[0, 0], [np.nan, 0, 200 ** (-1 / 1.6)], rtol=1e-6
    )


def test_an_accumulation_is_over_its_interval_and_ends_it(write):
    grid = open_grid(write(one(quantity="ACRR", **ENDS)))
    np.testing.assert_array_equal(
        grid.precipitation_rate.values, np.float32([[[4, np.nan, 0], [2, 8, 12]]])
    )
    assert grid.time.values[0] == np.datetime64("2020-01-01T00:20")
    assert grid.attrs["converted_from"] == "ACRR [mm per 15 min]"


def test_an_interval_over_midnight_with_a_second_lacking_is_counted_in_whole_minutes(write):
    ends = {
        "startdate": "20191231",
        "starttime": "235501",
        "enddate": "20200101",
        "endtime": "0000",
    }
    assert (
        open_grid(write(one(quantity="ACRR", **ends))).attrs["converted_from"]
        == "ACRR [mm per 5 min]"
    )


def test_an_accumulation_over_an_unknown_or_impossible_interval_asks_for_its_minutes(write):
    path = write(one(quantity="ACRR"))
    with pytest.raises(
        DataError,
        match=r"does not state its minutes of accumulation; set data\.accumulation_minutes",
    ):
        open_grid(path)
    assert read(path, accumulation_minutes=60)[0, 1, 1] == 2.0
    path = write(one(quantity="ACRR", **{**ENDS, "starttime": "002000"}))
    with pytest.raises(
        DataError, match=r"ends less than a minute after its start; set data\.accumulation_minutes"
    ):
        open_grid(path)


def test_a_rate_has_the_nominal_time_though_it_has_an_interval(write):
    assert open_grid(write(one(**ENDS))).time.values[0] == np.datetime64("2020-01-01T00:15")


def test_quality_is_never_rain(write):
    images = {**one(), "dataset2/data1": ([[0.5, 0.5, 0.5]] * 2, {**RATE, "quantity": "QIND"})}
    assert np.nanmax(read(write(images))) == 3.0
    with pytest.raises(DataError, match="has no rain .*dataset2/data1 QIND"):
        open_grid(write(images), variable="QIND")
    with pytest.raises(DataError, match="has no rain"):
        open_grid(write({"dataset1/data1": images["dataset2/data1"]}))


def test_of_several_rains_one_must_be_chosen(write):
    images = {
        **one(),
        "dataset1/data2": ([[7.0, 8.0, 9.0]] * 2, {**RATE, "quantity": "ACRR", **ENDS}),
        "dataset2/data1": (np.uint8([[64, 64, 64]] * 2), DBZH),
        "dataset2/data2": (np.uint8([[64, 64, 64]] * 2), {**DBZH, "quantity": "TH"}),
    }
    path = write(images)
    with pytest.raises(
        DataError,
        match=(
            r"several quantities of rain, ACRR and RATE \(it has: dataset1/data1 RATE,"
            r" .*data\.variable"
        ),
    ):
        open_grid(path)
    assert read(path, variable="RATE")[0, 1, 2] == 3.0
    assert read(path, variable="dataset1/data2")[0, 1, 2] == 36.0
    with pytest.raises(DataError, match="several quantities of rain, DBZH and TH"):
        open_grid(path, variable="dataset2")
    assert read(path, variable="/dataset2/data2/data", zr=(1.0, 1.0))[0, 0, 0] == 1.0
    with pytest.raises(DataError, match="has no 'rain'"):
        open_grid(path, variable="rain")


def test_rain_is_taken_before_reflectivity(write):
    path = write(
        {
            "dataset1/data1": (np.uint8([[64] * 3] * 2), DBZH),
            "dataset2/data1": one()["dataset1/data1"],
        }
    )
    assert open_grid(path).attrs["converted_from"] == "RATE [mm h-1]"


def test_other_quantities_are_read_only_with_units(write):
    path = write(one(quantity="PRATE"))
    with pytest.raises(DataError, match="has no rain"):
        open_grid(path)
    with pytest.raises(DataError, match="is PRATE, which is not rain; .* data.units"):
        open_grid(path, variable="PRATE")
    assert read(path, variable="PRATE", units="mm h-1")[0, 1, 2] == 3.0


def test_images_of_one_quantity_at_several_times_are_frames_in_order(write, caplog):
    later = {**RATE, **ENDS, "endtime": "003500", "starttime": "002000"}
    images = {
        "dataset10/data1": ([[5.0] * 3] * 2, later),
        "dataset2/data1": ([[1.0] * 3] * 2, {**RATE, **ENDS}),
    }
    images["dataset1/data1"] = (
        [[0.3] * 3] * 2,
        {**RATE, **ENDS, "endtime": "000500", "starttime": "235000"},
    )
    grid = open_grid(write(images))
    assert [str(time)[11:16] for time in grid.time.values] == ["00:05", "00:20", "00:35"]
    assert caplog.text == ""
    np.testing.assert_array_equal(grid.precipitation_rate[:, 0, 0].values, np.float32([0.3, 1, 5]))
    np.testing.assert_array_equal(grid.precipitation_rate[1:, 0, 0].values, np.float32([1, 5]))


def test_images_of_one_quantity_at_one_time_must_be_chosen_from(write):
    path = write({**one(**ENDS), "dataset2/data1": ([[9.0] * 3] * 2, {**RATE, **ENDS})})
    with pytest.raises(
        DataError, match="several images of RATE for 2020-01-01T00:20 .*; set data.variable"
    ):
        open_grid(path)
    assert read(path, variable="dataset2/data1")[0, 0, 0] == 9.0


@pytest.mark.usefixtures("in_this_process")
def test_only_the_rows_and_columns_asked_for_are_read(write, monkeypatch):
    asked = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: asked.append(key) or plain(self, key)
    )
    grid = open_grid(write(one()))
    assert asked == []
    assert grid.precipitation_rate[0, 1:2, 1:3].values.tolist() == [[2.0, 3.0]]
    assert asked == [(slice(1, 2), slice(1, 3))]


def test_pixel_centres_are_in_metres_from_the_north(write):
    grid = open_grid(write(one()))
    np.testing.assert_allclose(grid.x.values, [1000, 3000, 5000])
    np.testing.assert_allclose(grid.y.values, [-1000, -3000])
    assert (grid.x.attrs["units"], grid.crs.attrs["false_easting"]) == ("m", 1950000.0)


@pytest.mark.parametrize("units", ["+units=km", "+to_meter=1000"])
def test_projections_in_km_become_metres(write, units):
    projdef = LAEA.replace("+units=m", units)
    grid = open_grid(write(one(), place=where(projdef, scale=2.0)))
    np.testing.assert_allclose(grid.x.values, [1000, 3000, 5000])
    np.testing.assert_allclose(grid.y.values, [-1000, -3000])
    assert grid.crs.attrs["false_easting"] == 1950000.0
    assert "kilometre" not in grid.crs.attrs["crs_wkt"]


def test_grids_of_longitude_and_latitude_stay_in_degrees(write):
    grid = open_grid(
        write(one(), place=where("+proj=longlat +ellps=WGS84", scale=0.01, upper_left=(5.0, 50.0)))
    )
    np.testing.assert_allclose(grid.x.values, [5.005, 5.015, 5.025])
    np.testing.assert_allclose(grid.y.values, [49.995, 49.985])
    assert (grid.x.attrs["units"], grid.crs.attrs["grid_mapping_name"]) == (
        "degrees_east",
        "latitude_longitude",
    )


@pytest.mark.parametrize("kept", [("UL",), ("LR",), ("LL", "UR")])
def test_some_corners_are_enough(write, kept):
    lacking = {
        f"{name}_{part}"
        for name in ("LL", "UL", "UR", "LR")
        if name not in kept
        for part in ("lon", "lat")
    }
    grid = open_grid(
        write(
            one(),
            place={
                name: value
                for name, value in where(upper_left=(8000.0, -6000.0)).items()
                if name not in lacking
            },
        )
    )
    np.testing.assert_allclose(grid.x.values, [9000, 11000, 13000], atol=0.01)
    np.testing.assert_allclose(grid.y.values, [-7000, -9000], atol=0.01)


def test_the_pixel_size_may_follow_from_the_corners(write):
    place = {name: value for name, value in where().items() if name not in ("xscale", "yscale")}
    np.testing.assert_allclose(
        open_grid(write(one(), place=place)).x.values, [1000, 3000, 5000], atol=0.01
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"xscale": 4000.0},
        {"UR_lon": 12.0},
        {"LL_lat": float("nan")},
        {"yscale": 0.0},
        {"projdef": f"{LAEA} +units=mi"},
    ],
)
def test_a_place_that_contradicts_itself_is_left_out_and_that_is_said(write, caplog, wrong):
    # a place of its own: each is logged once
    path = write(one(), place=where(upper_left=(float(len(str(wrong))), 0.0), **wrong))
    grid = open_grid(path)
    assert set(grid.coords) == {"time"}
    assert f"{path}: its corners are" in caplog.text
    assert caplog.text.count("so the grid will have no location") == 1


@pytest.mark.parametrize("place", [False, {"xsize": 3, "ysize": 2}])
def test_a_file_silent_on_its_place_opens_without(write, place):
    assert set(open_grid(write(one(), place=place)).coords) == {"time"}


def test_a_projection_unknown_leaves_the_place_out(write, caplog):
    assert set(open_grid(write(one(), place={**where(), "projdef": "+proj=nonsense"})).coords) == {
        "time"
    }
    assert "unknown projection '+proj=nonsense'" in caplog.text


@pytest.mark.parametrize(
    ("images", "top", "message"),
    [
        (one([[1.0, 2.0]]), TOP, r"dataset1/data1 has the size \(1, 2\), but states 2 x 3"),
        (one([1.0, 2.0]), TOP, r"has the shape \(2,\); nowcast needs \(y, x\)"),
        (one(np.zeros((0, 3))), TOP, r"has the shape \(0, 3\); nowcast needs"),
        (one([[b"a", b"b", b"c"]] * 2), TOP, "has no numeric image datasetN/dataM/data"),
        (one(gain=0.0), TOP, "has gain 0 and offset 0"),
        (one(gain=float("nan")), TOP, "has gain nan"),
        (one(), {**TOP, "object": "PVOL"}, "holds an ODIM object 'PVOL'; nowcast reads only composites"),
        (one(), {"object": "COMP"}, "has neither date and time nor enddate and endtime"),
        (one(), {**TOP, "time": "noon"}, "has date '20200101' and time 'noon', which is not a valid time"),
        (one(), {**TOP, "date": "20200230"}, "has date '20200230' and time '001500', which is not a valid time"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used_are_refused_in_one_line(write, images, top, message):
    path = write(images, top=top)
    with pytest.raises(DataError, match=message) as caught:
        open_grid(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_images_of_different_sizes_are_refused(write):
    path = write(
        {**one(**ENDS), "dataset2/data1": ([[9.0]], {**RATE, **ENDS, "endtime": "003500"})},
        place={},
    )
    with pytest.raises(
        DataError, match=r"dataset1/data1 has the size \(2, 3\), dataset2/data1 has \(1, 1\)"
    ):
        open_grid(path)


def test_files_that_differ_in_time_make_one_series(write):
    write(one(), name="a.h5")
    path = write(one([[0.0, 0.0, 9.0]] * 2), top={**TOP, "time": "003000"}, name="b.h5")
    assert open_grid(path.parent).precipitation_rate[:, 1, 2].values.tolist() == [3.0, 9.0]


def test_gzipped_files_are_read_as_they_are(write):
    path = write(one())
    packed = path.with_name("b.h5.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read(packed), read(path))
    packed.write_bytes(packed.read_bytes()[:-900])
    with pytest.raises(DataError, match="truncated"):
        open_grid(packed)


def test_damaged_and_absent_files_are_named(write):
    path = write(one())
    whole = path.read_bytes()
    for size in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        for form in ("auto", "odim"):
            with pytest.raises(DataError, match="truncated or damaged"):
                open_grid(path, format=form)
    path.unlink()
    with pytest.raises(MissingInputError, match="no such file"):
        formats.describe_file(path, ReadOptions(format="odim"))


def test_a_file_that_changes_its_size_after_it_was_opened_is_refused(write):
    grid = open_grid(write(one()))
    write(one([[1.0, 2.0]]), place={})
    with pytest.raises(DataError, match="the size of its images changed since it was opened"):
        grid.precipitation_rate.load()


def test_other_hdf5_files_are_not_taken_for_odim(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layer/kernel"] = np.zeros(3)
    with pytest.raises(DataError, match="weights.h5"):
        open_grid(path)
    with pytest.raises(DataError, match="has no numeric image datasetN/dataM/data"):
        open_grid(path, format="odim")


@pytest.fixture
def opera():
    if not DATA.exists():
        pytest.skip("the sample data are not at hand")
    return DATA


def test_opera_lies_where_its_corners_say(opera):
    path = sorted(opera.rglob("*.hdf"))[0]
    grid = open_grid(path)
    with h5py.File(path) as file:
        said = {
            name: float(value) for name, value in file["where"].attrs.items() if name != "projdef"
        }
    crs = pyproj.CRS.from_cf(grid.crs.attrs)
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    west, east, north, south = (
        float(v) for v in (grid.x[0] - 1000, grid.x[-1] + 1000, grid.y[0] + 1000, grid.y[-1] - 1000)
    )
    for name, x, y in [
        ("UL", west, north),
        ("UR", east, north),
        ("LL", west, south),
        ("LR", east, south),
    ]:
        assert to_degrees.transform(x, y) == approx(
            (said[f"{name}_lon"], said[f"{name}_lat"]), abs=1e-6
        )


def test_opera_equals_what_pysteps_reads(opera):
    importers = pytest.importorskip("pysteps.io.importers")
    path = sorted(opera.rglob("*.hdf"))[3]
    theirs, _, about = importers.import_odim_hdf5(str(path), qty="RATE")
    grid = open_grid(path, max_rate=1e5)
    np.testing.assert_array_equal(grid.precipitation_rate.values[0], theirs.astype(np.float32))
    assert (grid.x[0] - 1000, grid.y[-1] - 1000) == (
        approx(about["x1"], abs=0.01),
        approx(about["y1"], abs=0.01),
    )
