"""DWD's RADOLAN binary files, written byte by byte; headers as real files have them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pytest import approx

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import check_grid, open_grid

DATA = (
    Path(__file__).parents[4]
    / "shared"
    / "data"
    / "radolan_ry_netcdf"
    / "radolan_ry_data_compressed.nc"
)
RADARS = "MS 61<boo,ros,emd,hnr,umd,pro,ess,asd,neu,nhb,oft,tur,isn,fbg,mem>"
RY = f"RY230850100000821BY1620138VS 3SW   2.29.0PR E-02INT   5GP 900x 900{RADARS}"
RW = f"RW030950100000814BY1620130VS 3SW   2.13.1PR E-01INT  60GP 900x 900{RADARS}"
YW = (
    "YW070235100001014BY1980156VS 3SW   2.18.3PR E-02INT   5U0GP1100x 900MF"
    f" 00000000VR2017.002{RADARS}"
)
RV = (
    "RV161355100000926BY   2640195VS 5SW  P42001HPR E-02INT   5GP1200x1100VV 000MF 00000008MS"
    " 13<deboo,dedrs>"
)
SF = f"SF020550100001218BY1620150VS 3SW   2.21.0PR E-01INT1440GP 900x 900MF 00000000{RADARS}"
RX = f"RX102050100000814BY 810134VS 3SW   2.13.1PR E+00INT   5GP 900x 900{RADARS}"
WN = (
    "WN081840100001026BY   2640195VS 5SW  P42001HPR E-01INT   5GP1200x1100VV 000MF 00000008MS"
    " 13<deboo,dedrs>"
)
SIZES = {
    "RY": (900, 900),
    "RW": (900, 900),
    "YW": (1100, 900),
    "RV": (1200, 1100),
    "SF": (900, 900),
    "RX": (900, 900),
    "WN": (1200, 1100),
}


def radolan(header, first=(), shape=None):
    """A file whose south-western pixels, eastward, are stored as `first`; the others are 0."""
    pixels = np.zeros(shape or SIZES[header[:2]], "u1" if header[:2] in ("RX", "WX") else "<u2")
    pixels[0, : len(first)] = first
    return header.encode() + b"\x03" + pixels.tobytes()


@pytest.fixture
def write(tmp_path):
    def write_file(whole, name="raa01-ry_10000-2108230850-dwd---bin"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(whole, 1) if name.endswith(".gz") else whole)
        return path

    return write_file


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["raa01-ry_10000-2108230850-dwd---bin", "raa01-ry_10000-2108230850-dwd---bin.gz", "ry.bin"],
)
def test_hundredths_of_mm_in_five_minutes_become_rates(write, name):
    path = write(radolan(RY, [0, 1, 10, 250, 4095]), name)
    grid = open_grid(path, max_rate=2000)
    check_grid(grid)
    assert list(grid.time.values) == [np.datetime64("2021-08-23T08:50")]
    assert (
        grid.attrs["source_format"] == "radolan"
        and grid.attrs["institution"] == "Deutscher Wetterdienst"
    )
    assert grid.attrs["converted_from"] == "RY [mm per 5 min]"
    assert grid.precipitation_rate.values[0, 0, :6] == approx([0, 0.12, 1.2, 30.0, 491.4, 0])
    assert (grid.precipitation_rate.values[0, 1:] == 0).all()
    assert open_grid(path.parent).sizes["time"] == 1  # found in its folder too


@pytest.mark.parametrize(
    ("header", "time", "origin", "rate"),
    [
        (RW, "2014-08-03T09:50", "RW [mm per 60 min]", 10.0),
        (YW, "2014-10-07T02:35", "YW [mm per 5 min]", 12.0),
        (RV, "2026-09-16T13:55", "RV [mm per 5 min]", 12.0),
        (SF, "2018-12-02T05:50", "SF [mm per 1440 min]", 10 / 24),
        # U1: in days
        (SF.replace("INT1440", "INT   1U1"), "2018-12-02T05:50", "SF [mm per 1440 min]", 10 / 24),
    ],
)
def test_products_say_their_precision_and_minutes(write, header, time, origin, rate):
    grid = open_grid(write(radolan(header, [100])))
    assert (grid.time.values[0], grid.attrs["converted_from"]) == (np.datetime64(time), origin)
    assert grid.precipitation_rate.values[0, 0, :2] == approx([rate, 0])


def test_flags_say_what_a_number_is(write):
    first = [
        2500 | 0x2000,
        2490 | 0x8000,
        100 | 0x1000,
        100 | 0x1000 | 0x2000,
        0xFFFF,
        2500,
        0x4000,
    ]
    rate = open_grid(write(radolan(RY, first))).precipitation_rate.values[0, 0, : len(first)]
    # no data, clutter, secondary, no data, all of them, 25 mm without a flag, no rain with a sign
    assert rate == approx([np.nan, np.nan, 12.0, np.nan, np.nan, 300.0, 0.0], nan_ok=True)


def test_rain_below_zero_is_refused_with_its_number(write):
    path = write(radolan(RY, [7, 30 | 0x4000]))
    refused(path, r"'RY' is -30 at 2021-08-23T08:50 \(row 0, column 1; .* data.missing_value=-30")
    rate = open_grid(path, missing_value=-30).precipitation_rate.values[0, 0, :3]
    assert rate == approx([0.84, np.nan, 0.0], nan_ok=True)


def test_reflectivity_of_one_byte_becomes_rain_by_dwds_relation(write):
    grid = open_grid(write(radolan(RX, [0, 64, 65, 125, 248, 249, 250, 255])), max_rate=1e6)
    assert grid.attrs["converted_from"] == "RX [dBZ] by Z = 256 R^1.42"
    dry, low, zero, thirty, top, *missing = grid.precipitation_rate.values[0, 0, :8]
    # -0.5 and 0 dBZ
    assert (dry, low) == (0, 0) and zero == approx((1 / 256) ** (1 / 1.42), rel=1e-6)
    assert thirty == approx((1000 / 256) ** (1 / 1.42), rel=1e-6)
    assert top == approx((10**9.15 / 256) ** (1 / 1.42), rel=1e-6)
    assert np.isnan(missing).all()


def test_reflectivity_of_two_bytes_has_tenths(write):
    rate = open_grid(write(radolan(WN, [1250, 0, 2500 | 0x2000]))).precipitation_rate.values[
        0, 0, :3
    ]
    # 1250 is 30 dBZ
    assert rate == approx([(1000 / 256) ** (1 / 1.42), 0, np.nan], rel=1e-6, nan_ok=True)


def test_a_part_is_that_part_of_the_whole(write):
    rate = open_grid(write(radolan(RY, range(100)))).precipitation_rate
    assert np.array_equal(rate[0, :3, 20:40].values, rate.values[0, :3, 20:40])


# Outer corners in km, from DWD's description, and the centre of the first pixel in DWD's later one
# (from its own north-west).
@pytest.mark.parametrize(
    ("header", "west", "south", "height"),
    [
        (RY, -523.4622, -4658.645, 900),
        (YW, -443.4622, -4758.645, 1100),
        (RV.replace("VS 5", "VS 3"), -543.4622, -4808.645, 1200),
        (RY.replace("VS 3", "VS 5"), -523.19683521777776 - 0.5, -3772.588861931134 - 899.5, 900),
        (RV, -543.19683521776402 - 0.5, -3622.5888619310018 - 1199.5, 1200),
    ],
)
def test_grids_lie_where_dwd_says(write, header, west, south, height):
    grid = open_grid(write(radolan(header)))
    assert grid.x.values[0] == approx(west * 1000 + 500, abs=0.5) and grid.y.values[0] == approx(
        south * 1000 + 500, abs=0.5
    )
    # the southern row first
    assert grid.y.values[-1] - grid.y.values[0] == approx((height - 1) * 1000)
    assert np.diff(grid.x.values) == approx(1000.0)
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert (
        grid.crs.attrs["standard_parallel"],
        grid.crs.attrs["straight_vertical_longitude_from_pole"],
    ) == (60.0, 10.0)


def test_the_earth_is_a_sphere_before_format_version_5_and_wgs84_from_it_on(write):
    import pyproj

    for header, radius, corner in [
        (RY, (6370040.0, 6370040.0), (3.5889, 46.9526)),
        (RV, (6378137.0, approx(6356752.3142)), (3.566994635, 45.69642538)),
    ]:
        grid = open_grid(write(radolan(header)))
        assert (grid.crs.attrs["semi_major_axis"], grid.crs.attrs["semi_minor_axis"]) == radius
        crs = pyproj.CRS.from_cf(grid.crs.attrs)
        to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        assert to_degrees.transform(grid.x.values[0] - 500, grid.y.values[0] - 500) == approx(
            corner, abs=5e-5
        )


def test_forecasts_are_no_observations(write):
    refused(
        write(radolan(RV.replace("VV 000", "VV 015"))),
        "a forecast for 15 minutes ahead, not an observation",
    )


def test_what_is_not_known_is_refused(write):
    refused(
        write(radolan(RY.replace("RY", "RD"), shape=(900, 900))),
        "holds RADOLAN RD; nowcast reads only the products RV, RW, RX, RY",
    )
    refused(
        write(radolan(RY.replace("900x 900", "450x 450"), shape=(450, 450))),
        "its grid is 450 x 450; .* 900 x 900, 1100 x 900",
    )
    refused(write(radolan(RY)), "its rain is in 'furlong'; .* data.units", units="furlong")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GP 900x 900", ""),
        ("PR E-02", "PR E+xx"),
        ("INT   5", "INT    "),
        ("INT   5", "INT   0"),
        ("VS 3", "VS X"),
        ("BY1620138", "BY"),
    ],
)
def test_a_bad_header_is_refused(write, old, new):
    assert old in RY
    refused(write(radolan(RY.replace(old, new, 1))), "its RADOLAN header cannot be read")


def test_a_header_without_end_or_time_is_refused(write):
    refused(write(radolan(RY)[:60]), "its RADOLAN header cannot be read")
    refused(write(RY.encode() + b" " * 5000), "its RADOLAN header cannot be read")
    refused(write(radolan(RY.replace("230850", "310275", 1))), "an invalid time, '310275' '0821'")
    refused(
        write(radolan(RY.replace("0821BY", "0221BY").replace("230850", "300850", 1))),
        "an invalid time",
    )


def test_files_of_another_length_are_refused(write):
    whole = radolan(RY)
    for name in ("ry.bin", "ry.bin.gz"):
        for bad, there in ((whole[: len(RY) + 1], 0), (whole[:-1], 1619999)):
            refused(
                write(bad, name),
                f"truncated, or still being written: {there} bytes of pixels, but 900 x 900 pixels need"
                " 1620000; compare it with its source",
            )
        refused(
            write(whole + b"\0", name), "has more than the 1620000 bytes for the 900 x 900 pixels"
        )


def test_damaged_gzip_is_refused(write):
    path = write(radolan(RY), "ry.bin.gz")
    data = path.read_bytes()
    # cut, cut in the checksum, of another checksum
    for bad in (data[:200], data[:-6], data[:-8] + b"\0\0\0\0" + data[-4:]):
        path.write_bytes(bad)
        refused(path, "gzipped file is truncated, damaged")


def test_empty_and_absent_files_are_named(write):
    refused(write(b""), "this file is empty")
    path = write(radolan(RY))
    grid = open_grid(path)
    path.unlink()
    with pytest.raises(MissingInputError, match="no such file"):
        grid.load()


def test_a_file_changed_behind_our_back_is_refused(write):
    path = write(radolan(RY))
    grid = open_grid(path)
    path.write_bytes(radolan(RW))
    with pytest.raises(DataError, match="has changed since it was opened"):
        grid.load()


@pytest.fixture
def netcdf():
    """The same product and grid in NetCDF, whose x, y, longitude and latitude are of each
    pixel's south-western corner.
    """
    if not DATA.exists():
        pytest.skip("the sample data are not at hand")
    with xr.open_dataset(DATA, engine="netcdf4") as file:
        yield file


def test_pixel_centres_are_half_a_pixel_off_the_corners_of_the_netcdf_form(write, netcdf):
    import pyproj

    grid = open_grid(write(radolan(RY)))
    assert grid.x.values - 500 == approx(netcdf.x.values * 1000, abs=0.01)
    assert grid.y.values - 500 == approx(netcdf.y.values * 1000, abs=0.01)
    crs = pyproj.CRS.from_cf(grid.crs.attrs)
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    longitude, latitude = to_degrees.transform(
        *np.meshgrid(grid.x.values - 500, grid.y.values - 500)
    )
    # they are in single precision
    np.testing.assert_allclose(longitude, netcdf.longitude.values, rtol=0, atol=2e-6)
    np.testing.assert_allclose(latitude, netcdf.latitude.values, rtol=0, atol=4e-6)


def test_a_real_frame_stored_as_dwd_stores_it_comes_back(write, netcdf):
    amount = netcdf.RY[0].values
    stored = np.where(
        np.isnan(amount), 2500 | 0x2000, np.round(np.nan_to_num(amount) * 100)
    ).astype("<u2")
    rate = open_grid(write(RY.encode() + b"\x03" + stored.tobytes())).precipitation_rate.values[0]
    np.testing.assert_allclose(rate, amount * 12, rtol=1e-6)
