"""KNMI HDF5: tiny files written by hand, and KNMI's own."""

import gzip
import locale
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import check_grid, open_grid

DATA = Path(__file__).parents[4] / "shared" / "data" / "knmi_rap_5min_hdf5"
# an Earth in km
STEREO = "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
START, END = "26-AUG-2010;00:00:00.000", "26-AUG-2010;00:05:00.000"
AMOUNT = {
    "image_geo_parameter": "ACCUMULATED_PRECIPITATION_[MM]", "image_product_name": "RAD_NL25_RAU",
    "calibration_formulas": "GEO=0.01*PV+0.0", "calibration_missing_data": 65534,
    "calibration_out_of_image": 65535,
}  # fmt: skip
REFLECTIVITY = {
    "image_geo_parameter": "REFLECTIVITY_[DBZ]",
    "calibration_formulas": "GEO = 0.500000 * PV + -32.000000", "calibration_missing_data": 0,
    "calibration_out_of_image": 255,
}  # fmt: skip
QUALITY = {**AMOUNT, "image_geo_parameter": "QUALITY_[-]"}
ADJUSTMENT = {**AMOUNT, "image_geo_parameter": "ADJUSTMENT_FACTOR_[DB]"}
SHAPE = (2, 3)


def geographic(projection=STEREO, shape=SHAPE, **more):
    """Two rows of three pixels of 1 km, 3650 km south of the pole; the corners as they follow
    from that.
    """
    to_xy = pyproj.Proj(STEREO)  # takes the km for metres: so x and y are in km
    corners = [
        to_xy(x, y, inverse=True) for x, y in [(0, -3652), (0, -3650), (3, -3650), (3, -3652)]
    ]
    return {
        "projection": projection, "geo_column_offset": np.float32([0]),
        "geo_row_offset": np.float32([3650]), "geo_pixel_size_x": np.float32([1]),
        "geo_pixel_size_y": np.float32([-1]), "geo_pixel_def": "LU", "geo_dim_pixel": "KM,KM",
        "geo_number_rows": np.int32([shape[0]]), "geo_number_columns": np.int32([shape[1]]),
        "geo_product_corners": np.float32(corners).ravel(), **more,
    }  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """`write(images, overview, place)`: images is {"image1": (numbers, attributes of the image
    and its calibration)}.
    """

    def write_file(images, overview=None, place=None, name="a.h5", spell=np.bytes_):
        def put(node, attrs):
            node.attrs.update(
                {
                    key: spell(value) if isinstance(value, str) else value
                    for key, value in attrs.items()
                }
            )

        path = tmp_path / name
        with h5py.File(path, "w") as file:
            if overview is not False:
                times = {
                    "product_datetime_start": np.array([np.bytes_(START)]),
                    "product_datetime_end": np.array([np.bytes_(END)]),
                }
                put(file.create_group("overview"), times if overview is None else overview)
            put(file.create_group("radar1"), {"radar_name": "De_Bilt"})
            if place is not False:
                said = geographic() if place is None else dict(place)
                put(
                    file.create_group("geographic/map_projection"),
                    {"projection_proj4_params": said.pop("projection")},
                )
                put(file["geographic"], said)
            for image, (values, attrs) in images.items():
                if values is not None:
                    file[f"{image}/image_data"] = np.asarray(values)
                put(
                    file.require_group(image),
                    {key: value for key, value in attrs.items() if key.startswith("image")},
                )
                calibration = {
                    key: value for key, value in attrs.items() if key.startswith("calibration")
                }
                if calibration:
                    put(file.create_group(f"{image}/calibration"), calibration)
        return path

    return write_file


def one(values=((100, 65534, 65535), (0, 10, 20)), **attrs):
    return {"image1": (np.uint16(values), {**AMOUNT, **attrs})}


def read(path, **options):
    grid = open_grid(path, **options)
    check_grid(grid)
    return grid.precipitation_rate.values


@pytest.mark.parametrize(
    "spell",
    [
        np.bytes_,
        str,
        lambda text: np.array([np.bytes_(text)]),
        lambda text: np.bytes_(f"{text}\0\0"),
    ],
)
def test_an_amount_becomes_a_rate_at_the_end_of_its_interval(write, spell):
    grid = open_grid(write(one(), spell=spell))
    check_grid(grid)
    np.testing.assert_array_equal(
        grid.precipitation_rate.values, np.float32([[[12, np.nan, np.nan], [0, 1.2, 2.4]]])
    )
    assert grid.time.values[0] == np.datetime64("2010-08-26T00:05")
    assert grid.attrs["converted_from"] == "ACCUMULATED_PRECIPITATION [mm per 5 min]"
    assert (grid.attrs["source"], grid.attrs["product"], grid.attrs["source_format"]) == (
        "radar De_Bilt",
        "RAD_NL25_RAU",
        "knmi",
    )


def test_a_rate_is_read_as_it_is(write):
    assert read(write(one(image_geo_parameter="RAINFALL_RATE_[MM/H]")))[0, 0, 0] == 1.0


def test_reflectivity_of_no_echo_is_dry_and_out_of_image_is_missing(write):
    # missing, none, 0 dBZ; -31.5, 20, 40 dBZ
    path = write({"image1": (np.uint8([[255, 0, 64], [1, 104, 144]]), REFLECTIVITY)})
    with pytest.raises(
        DataError, match="'REFLECTIVITY' is reflectivity, and its Z-R relation is unknown"
    ):
        open_grid(path)
    rain = [[np.nan, 0, 0.1], [0, 1, 10]]  # Z = 100 R^2
    np.testing.assert_allclose(read(path, zr=(100.0, 2.0))[0], rain, rtol=1e-6)
    assert np.isnan(read(path, zr=(100.0, 2.0), missing_value=0)[0, 0, 1])


@pytest.mark.parametrize(
    ("formula", "ten"),
    [
        ("GEO=0.01*PV+0.0", 0.1), ("GEO = 0.500000 * PV + -3.000000", 2), ("GEO=1e-1*PV-.5", 0.5), ("GEO=.1*PV", 1),
        ("GEO=+2*PV+1", 21), ("GEO=1.E0*PV + 0", 10),
    ],
)  # fmt: skip
def test_calibration_formulas_are_read_in_general(write, formula, ten):
    path = write(
        one(
            [[10, 10, 10]] * 2,
            image_geo_parameter="RAINFALL_RATE_[MM/H]",
            calibration_formulas=formula,
        )
    )
    assert read(path)[0, 0, 0] == approx(ten)


@pytest.mark.parametrize("formula", ["GEO=0*PV+1", "GEO=10^PV", "GEO=0.01*PV+0.0+1", "PV", ""])
def test_other_calibrations_are_refused(write, formula):
    with pytest.raises(
        DataError, match=r"image1 is calibrated with .*; nowcast reads only GEO=a\*PV\+b"
    ):
        open_grid(write(one(calibration_formulas=formula)))


def test_months_are_english_whatever_the_locale(write):
    before = locale.setlocale(locale.LC_TIME)
    for name in ("nl_NL.UTF-8", "de_DE.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_TIME, name)
            break
        except locale.Error:
            continue
    months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    try:
        for k, month in enumerate(months):
            path = write(one(), overview={"product_datetime_start": f"01-{month}-2021;00:00:00.000",
                "product_datetime_end": f"1-{month.title()}-2021;01:00:00"})  # fmt: skip
            grid = open_grid(path)
            assert grid.time.values[0] == np.datetime64(f"2021-{k + 1:02d}-01T01:00")
            assert grid.attrs["converted_from"].endswith("[mm per 60 min]")
    finally:
        locale.setlocale(locale.LC_TIME, before)


@pytest.mark.parametrize("start", [None, END])
def test_an_amount_over_an_unknown_interval_asks_for_its_minutes(write, start):
    path = write(
        one(),
        overview={
            "product_datetime_end": END,
            **({"product_datetime_start": start} if start else {}),
        },
    )
    with pytest.raises(
        DataError, match=r"over an unknown number of minutes; set data\.accumulation_minutes"
    ):
        open_grid(path)
    assert read(path, accumulation_minutes=60)[0, 0, 0] == 1.0


def test_of_several_images_the_only_one_of_rain_is_taken(write):
    path = write(
        {
            "image1": ([[1, 2, 3]] * 2, QUALITY),
            "image2": one()["image1"],
            "image3": ([[1, 2, 3]] * 2, ADJUSTMENT),
        }
    )
    assert read(path)[0, 0, 0] == 12.0
    with pytest.raises(DataError, match=r"image3 ADJUSTMENT_FACTOR is in 'DB'; .* data\.variable"):
        open_grid(path, variable="image3")
    assert read(path, variable="image3", units="mm h-1")[0, 0, 2] == approx(0.03)


def test_of_several_images_of_rain_one_must_be_chosen(write):
    rate = ([[1, 2, 3]] * 2, {**AMOUNT, "image_geo_parameter": "RAINFALL_RATE_[MM/H]"})
    path = write({**one(), "image2": rate})
    with pytest.raises(
        DataError,
        match=(
            r"several images of rain \(it has: image1 ACCUMULATED_PRECIPITATION \[MM\],"
            r" .*data\.variable"
        ),
    ):
        open_grid(path)
    assert read(path, variable="image2/image_data")[0, 0, 2] == approx(0.03)
    assert read(path, variable="ACCUMULATED_PRECIPITATION_[MM]")[0, 0, 0] == 12.0
    assert read(path, variable="RAINFALL_RATE")[0, 0, 1] == approx(0.02)
    with pytest.raises(DataError, match="has no 'image7'"):
        open_grid(path, variable="image7")
    with pytest.raises(
        DataError, match="several images of ACCUMULATED_PRECIPITATION for 2010-08-26T00:05"
    ):
        open_grid(write({**one(), "image2": one()["image1"]}))


def test_a_file_without_rain_is_refused(write):
    with pytest.raises(DataError, match=r"has no rain \(it has: image1 QUALITY \[-\]\)"):
        open_grid(write({"image1": ([[1, 2, 3]] * 2, QUALITY)}))
    with pytest.raises(DataError, match="has no rain .*image1 without a parameter"):
        open_grid(write({"image1": ([[1, 2, 3]] * 2, {"image_product_name": "?"})}))


def test_images_valid_at_several_times_are_frames_in_order(write, caplog):
    def at(clock, value):
        return np.uint16([[value] * 3] * 2), {
            **AMOUNT,
            "image_datetime_valid": f"26-AUG-2010;{clock}:00.000",
        }

    path = write({"image1": at("00:10", 2), "image2": at("00:05", 1), "image10": at("00:15", 3)})
    with pytest.raises(DataError, match=r"set data\.accumulation_minutes"):
        open_grid(path)
    grid = open_grid(path, accumulation_minutes=5)
    assert [str(time)[11:16] for time in grid.time.values] == ["00:05", "00:10", "00:15"]
    assert caplog.text == ""
    np.testing.assert_allclose(
        grid.precipitation_rate[:, 0, 0].values, [0.12, 0.24, 0.36], rtol=1e-6
    )


@pytest.mark.usefixtures("in_this_process")
def test_only_the_rows_and_columns_asked_for_are_read(write, monkeypatch):
    asked = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: asked.append(key) or plain(self, key)
    )
    grid = open_grid(write(one()))
    assert asked == []
    np.testing.assert_allclose(grid.precipitation_rate[0, 1:2, 1:3].values, [[1.2, 2.4]])
    assert asked == [(slice(1, 2), slice(1, 3))]


@pytest.mark.parametrize(
    "projection",
    [
        STEREO,
        STEREO.replace("+x_0=0 +y_0=0", "+x_0=0 y_0=0"),
        STEREO.replace("6378.137", "6378137").replace("6356.752", "6356752") + " +units=km",
        STEREO.replace("6378.137", "6378137").replace("6356.752", "6356752"),
    ],
)
def test_everything_is_in_metres_whichever_way_the_projection_is_written(write, projection):
    grid = open_grid(write(one(), place=geographic(projection)))
    np.testing.assert_array_equal(grid.x.values, [500, 1500, 2500])
    np.testing.assert_array_equal(grid.y.values, [-3650500, -3651500])
    about = grid.crs.attrs
    assert (
        about["semi_major_axis"],
        about["latitude_of_projection_origin"],
        grid.x.attrs["units"],
    ) == (6378137.0, 90.0, "m")
    assert "kilometre" not in about["crs_wkt"]


def test_false_origins_in_km_become_metres_too(write):
    grid = open_grid(
        write(
            one(),
            place=geographic(
                STEREO.replace("x_0=0", "x_0=100"), geo_column_offset=np.float32([100])
            ),
        )
    )
    np.testing.assert_array_equal(grid.x.values, [100500, 101500, 102500])
    assert grid.crs.attrs["false_easting"] == 100000.0


def test_where_offsets_are_not_of_the_left_upper_corner_the_corners_place_the_image(write):
    grid = open_grid(
        write(one(), place=geographic(geo_pixel_def="CC", geo_row_offset=np.float32([7])))
    )
    # corners are single-precision degrees
    np.testing.assert_allclose(grid.y.values, [-3650500, -3651500], atol=100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"geo_row_offset": 3640.0},
        {"geo_pixel_size_x": 2.0},
        {"geo_pixel_size_y": 1.0},
        {"geo_pixel_size_y": 0.0},
    ],
)
def test_a_place_that_contradicts_its_corners_is_left_out_and_that_is_said(write, caplog, wrong):
    path = write(one(), place=geographic(**wrong))
    assert set(open_grid(path).coords) == {"time"}
    assert f"{path}: its corners are" in caplog.text


@pytest.mark.parametrize("place", [False, {"projection": STEREO}])
def test_a_file_silent_on_its_place_opens_without(write, place):
    assert set(open_grid(write(one(), place=place)).coords) == {"time"}


@pytest.mark.parametrize(
    ("images", "overview", "message"),
    [
        (one(), False, "has no product_datetime_end in overview"),
        (
            one(),
            {"product_datetime_end": "26-AUX-2010;00:05:00.000"},
            "product_datetime_end is '26-AUX-2010;00:05:00.000', not a time",
        ),
        (
            one(),
            {"product_datetime_end": "31-FEB-2010;00:05:00.000"},
            "not a time like 26-AUG-2010;00:05:00.000",
        ),
        (one([[1, 2]]), None, r"image1 has the size \(1, 2\), but states 2 x 3"),
        (one([1, 2]), None, r"has the shape \(2,\); nowcast needs \(y, x\)"),
        ({"image1": (None, AMOUNT)}, None, "has no numeric image1/image_data"),
        ({"image1": ([[b"a"]], AMOUNT)}, None, "has no numeric image1/image_data"),
        (
            {"image1": ([[1, 2, 3]] * 2, {"image_geo_parameter": "X_[MM]"})},
            None,
            "image1 is calibrated with ''",
        ),
        (
            one(calibration_out_of_image="none"),
            None,
            "its attribute calibration_out_of_image is 'none', not a number",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(write, images, overview, message):
    path = write(images, overview=overview)
    with pytest.raises(DataError, match=message) as caught:
        open_grid(path, format="knmi").load()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_damaged_files_are_named_and_gzipped_ones_read(write):
    path = write(one())
    whole = path.read_bytes()
    packed = path.with_name("b.h5.gz")
    packed.write_bytes(gzip.compress(whole))
    np.testing.assert_array_equal(read(packed), read(path))
    path.write_bytes(whole[: len(whole) // 2])
    for form in ("auto", "knmi"):
        with pytest.raises(DataError, match="truncated or damaged"):
            open_grid(path, format=form)


def test_a_place_that_cannot_be_read_is_no_file_without_one(write):
    path = write(one())
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["geographic"].id).addr
    content = path.read_bytes()
    assert content.count(address.to_bytes(8, "little")) == 1
    path.write_bytes(content.replace(address.to_bytes(8, "little"), (2**40).to_bytes(8, "little")))
    with pytest.raises(DataError, match="truncated or damaged"):
        open_grid(path)


@pytest.fixture
def rap():
    if not DATA.exists():
        pytest.skip("the sample data are not at hand")
    return DATA


def test_knmi_lies_where_its_corners_say(rap):
    path = sorted(rap.rglob("*.h5"))[0]
    grid = open_grid(path)
    with h5py.File(path) as file:
        said = file["geographic"].attrs["geo_product_corners"].reshape(4, 2)
    crs = pyproj.CRS.from_cf(grid.crs.attrs)
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    west, east, north, south = (
        float(v) for v in (grid.x[0] - 500, grid.x[-1] + 500, grid.y[0] + 500, grid.y[-1] - 500)
    )
    for (lon, lat), x, y in zip(
        said, (west, west, east, east), (south, north, north, south), strict=True
    ):
        assert to_degrees.transform(x, y) == (approx(lon, abs=1e-3), approx(lat, abs=1e-3))


def test_knmi_equals_what_pysteps_reads(rap):
    importers = pytest.importorskip("pysteps.io.importers")
    path = sorted(rap.rglob("*.h5"))[30]
    theirs, _, about = importers.import_knmi_hdf5(str(path), qty="ACRR", accutime=5, pixelsize=1000)
    grid = open_grid(path)
    np.testing.assert_allclose(grid.precipitation_rate.values[0], theirs * 12, rtol=1e-6)
    assert (grid.x[0] - 500, grid.y[-1] - 500) == (1000 * about["x1"], 1000 * about["y1"])


@pytest.mark.parametrize("clock", ["00:00", "00:02:30", "00:05"])
def test_an_amount_stands_at_the_end_of_its_product_whatever_of_it_is_the_label(write, clock):
    valid = f"26-AUG-2010;{clock}" + (":00.000" if len(clock) == 5 else ".000")
    grid = open_grid(
        write({"image1": (np.uint16([[100] * 3] * 2), {**AMOUNT, "image_datetime_valid": valid})})
    )
    assert grid.time.values.tolist() == np.array(["2010-08-26T00:05"], "M8[ns]").tolist()
    assert grid.precipitation_rate.values.ravel() == approx([12.0] * 6)
