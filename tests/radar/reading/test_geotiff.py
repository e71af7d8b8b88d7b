"""GeoTIFF files, written by rasterio."""

import gzip
import warnings

import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import check_grid, open_grid

rasterio = pytest.importorskip("rasterio")
LAEA = "+proj=laea +lat_0=55 +lon_0=10 +ellps=WGS84"


@pytest.fixture
def write(tmp_path):
    """`write("a.tif", values)`: values (band, y, x) or (y, x); pixels of 1000 units, the upper
    left corner at (5000, 9000).
    """

    def write_file(
        name,
        values,
        *,
        crs=LAEA,
        transform=None,
        tags=(),
        band_tags=(),
        names=(),
        units=(),
        mask=None,
        **more,
    ):
        values = np.asarray(values)
        values = values[np.newaxis] if values.ndim == 2 else values
        scales, offsets = more.pop("scale", None), more.pop("offset", None)
        transform = (
            rasterio.Affine(1000, 0, 5000, 0, -1000, 9000) if transform is None else transform
        )
        count, height, width = values.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(
                tmp_path / name, "w", driver="GTiff", count=count, height=height, width=width,
                dtype=values.dtype, crs=crs, transform=transform, **more,
            ) as file:  # fmt: skip
                file.write(values)
                file.update_tags(**dict(tags))
                for k, one in enumerate(band_tags, 1):
                    file.update_tags(k, **one)
                for k, one in enumerate(names, 1):
                    file.set_band_description(k, one)
                if units:
                    file.units = units
                if scales is not None:
                    file.scales, file.offsets = [scales] * count, [offsets or 0.0] * count
                if mask is not None:
                    file.write_mask(np.asarray(mask))
        return tmp_path / name

    return write_file


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_band_with_units_and_a_time_in_the_name_opens_as_it_is(write):
    path = write(
        "rain_202001311205.tif",
        np.array([[1, 2, 3], [4, 5, 255]], "u1"),
        units=["mm/h"],
        nodata=255,
    )
    grid = open_grid(path)
    check_grid(grid)
    assert np.array_equal(
        grid.precipitation_rate.values, [[[1, 2, 3], [4, 5, np.nan]]], equal_nan=True
    )
    assert grid.time.values.tolist() == [np.datetime64("2020-01-31T12:05", "ns").astype(int)]
    assert grid.x.values.tolist() == [5500, 6500, 7500]  # centres
    assert grid.y.values.tolist() == [8500, 7500]
    assert grid.x.attrs["units"] == "m"
    assert grid.crs.attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    assert grid.crs.attrs["longitude_of_projection_origin"] == 10.0
    assert grid.attrs["source_format"] == "geotiff"


def test_scale_offset_and_nodata_are_applied_to_what_is_stored(write):
    path = write(
        "202001311205.tif",
        np.array([[10, -9999, 30]], "i2"),
        units=["mm"],
        nodata=-9999,
        scale=0.01,
        offset=0.0,
    )
    values = open_grid(path, accumulation_minutes=5).precipitation_rate.values.ravel()
    assert values[[0, 2]].tolist() == [np.float32(1.2), np.float32(3.6)]
    assert np.isnan(values[1])


def test_cell_methods_say_the_minutes_and_tags_the_units(write):
    tags = {
        "units": "mm",
        "cell_methods": "time: sum (interval: 10 minutes)",
        "time": "2020-01-31T12:10:00Z",
        "institution": "I",
    }
    grid = open_grid(write("a.tif", np.ones((1, 1), "f4"), tags=tags))
    assert grid.precipitation_rate.values.tolist() == [[[6.0]]]
    assert grid.attrs["institution"] == "I"


def test_an_amount_over_unknown_minutes_is_refused(write):
    refused(
        write("202001311205.tif", np.ones((1, 1), "f4"), units=["mm"]),
        r"data\.accumulation_minutes",
    )


def test_units_that_are_not_said_are_refused_until_they_are(write):
    path = write("202001311205.tif", np.ones((1, 1), "f4"))
    refused(path, r"has no units.*data\.units")
    assert open_grid(path, units="mm h-1").precipitation_rate.values.tolist() == [[[1.0]]]


def test_reflectivity_is_converted(write):
    dbz = 10 * np.log10(200 * np.array([[2.0, 8.0]]) ** 1.6)
    grid = open_grid(write("202001311205.tif", dbz, units=["dBZ"]), zr=(200, 1.6))
    assert grid.precipitation_rate.values.ravel() == approx([2, 8])


# --- times
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("a.tif", {"TIFFTAG_DATETIME": "2020:01:31 12:05:00"}, "2020-01-31T12:05"),
        ("a.tif", {"time": "2020-01-31 12:05"}, "2020-01-31T12:05"),
        ("a.tif", {"TIME": "2020-01-31T14:05:00+02:00"}, "2020-01-31T12:05"),
        ("202001010000.tif", {"time": "2020-01-31T12:05:00Z"}, "2020-01-31T12:05"),
        # when it was converted
        ("202001311205.tif", {"TIFFTAG_DATETIME": "2024:07:01 08:00:00"}, "2020-01-31T12:05"),
    ],
)
def test_the_time_is_of_the_tags_or_the_name(write, name, tags, expected):
    grid = open_grid(write(name, np.ones((1, 1), "f4"), tags=tags, units=["mm/h"]))
    assert grid.time.values[0] == np.datetime64(expected)


def test_a_file_without_time_is_refused(write):
    refused(write("rain.tif", np.ones((1, 1), "f4"), units=["mm/h"]), "has no time.*rename it")


def test_bands_with_a_time_each_are_frames(write):
    values = np.arange(6, dtype="f4").reshape(3, 1, 2)
    times = [{"time": f"2020-01-31T12:0{5 * k}:00Z"} for k in range(2)] + [
        {"time": "2020-01-31T12:10:00Z"}
    ]
    grid = open_grid(write("a.tif", values, band_tags=times, units=["mm/h"] * 3))
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid.precipitation_rate[1:].values[:, 0, 1].tolist() == [3.0, 5.0]
    named = open_grid(
        write(
            "b.tif",
            values,
            names=["2020-01-31T12:00", "2020-01-31T12:05", "2020-01-31T12:10"],
            units=["mm/h"] * 3,
        )
    )
    assert np.array_equal(named.time.values, grid.time.values)


def test_of_bands_without_times_one_is_chosen(write):
    path = write(
        "202001311205.tif", [[[1.0]], [[7.0]]], names=["quality", "rain"], units=["1", "mm/h"]
    )
    refused(path, r"several bands and no time for each: quality, rain.*data\.variable")
    assert open_grid(path, variable="rain").precipitation_rate.values.tolist() == [[[7.0]]]
    assert open_grid(path, variable="2").precipitation_rate.values.tolist() == [[[7.0]]]
    refused(path, "no band 'snow'", variable="snow")


def test_files_of_one_band_are_a_series_and_windows_read_what_they_say(write, tmp_path):
    for k in range(3):
        write(
            f"2020013112{5 * k:02d}.tif",
            np.arange(12, dtype="f4").reshape(3, 4) + 100 * k,
            units=["mm/h"],
        )
    grid = open_grid(tmp_path)
    assert grid.precipitation_rate[1:, 1:, 2].values.tolist() == [[106, 110], [206, 210]]


# --- places
# ----------------------------------------------------------------------------------------------------------


def test_feet_become_metres_with_their_false_origin(write):
    crs = "+proj=tmerc +lat_0=0 +lon_0=-75 +k=1 +x_0=300000 +y_0=0 +datum=NAD83 +units=us-ft"
    grid = open_grid(write("202001311205.tif", np.ones((2, 2), "f4"), crs=crs, units=["mm/h"]))
    assert grid.x.values[0] == approx(5500 * 1200 / 3937)
    assert grid.crs.attrs["false_easting"] == approx(300000, abs=1e-3)
    assert "crs_wkt" not in grid.crs.attrs


def test_degrees_stay_degrees(write):
    transform = rasterio.Affine(0.01, 0, -130, 0, -0.01, 55)
    grid = open_grid(
        write(
            "202001311205.tif",
            np.ones((2, 2), "f4"),
            crs="EPSG:4326",
            transform=transform,
            units=["mm/h"],
        )
    )
    assert grid.x.values == approx([-129.995, -129.985])
    assert grid.x.attrs["units"] == "degrees_east"
    assert grid.crs.attrs["grid_mapping_name"] == "latitude_longitude"


def test_nothing_is_invented_where_the_file_is_silent(write):
    silent = write(
        "202001311205.tif",
        np.ones((2, 2), "f4"),
        crs=None,
        transform=rasterio.Affine.identity(),
        units=["mm/h"],
    )
    assert set(open_grid(silent).coords) == {"time"}


def test_turned_pixels_are_refused(write):
    turned = rasterio.Affine(900, 100, 5000, 100, -900, 9000)
    refused(
        write("202001311205.tif", np.ones((2, 2), "f4"), transform=turned, units=["mm/h"]), "turned"
    )


# --- files as they come
# ----------------------------------------------------------------------------------------------


def test_what_a_mask_hides_is_missing(write):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write("202001311205.tif", np.ones((1, 2), "f4"), units=["mm/h"], mask=[[255, 0]])
    assert np.isnan(open_grid(path).precipitation_rate.values).tolist() == [[[False, True]]]


def test_a_gzipped_file_is_read_as_it_is(write):
    path = write("202001311205.tif", np.full((2, 2), 3.0), units=["mm/h"])
    packed = path.with_name("202001311205.tif.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert open_grid(packed).precipitation_rate.values.tolist() == [[[3.0, 3.0], [3.0, 3.0]]]


@pytest.mark.parametrize("keep", [8, 100, -3000])
def test_a_truncated_file_is_refused(write, keep):
    path = write("202001311205.tif", np.random.default_rng(0).random((50, 50)), units=["mm/h"])
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "GeoTIFF is truncated or damaged")


def test_damaged_pixels_are_refused_when_they_are_read(write):
    rain = np.random.default_rng(0).integers(0, 9, (200, 200), "u1")
    path = write("202001311205.tif", rain, units=["mm/h"], compress="lzw")
    grid = open_grid(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 - 500 : len(content) // 2 + 500] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(DataError, match="GeoTIFF is truncated or damaged") as error:
        grid.load()
    assert "\n" not in str(error.value)


# --- what tags say
# -----------------------------------------------------------------------------------------------------

ITEMS = {"Gain": "0.500000", "Offset": "-32.000000", "Nodata": "255", "Undetect": "0"}
XML = (
    "<GDALMetadata>\n"
    '<Item name="Observation time" format="YYYYMMDDhhmm">201609281445</Item>\n'
    '<Item name="Quantity" unit="dBZ">Corrected reflectivity</Item>\n'
    + "".join(f'<Item name="{name}">{text}</Item>\n' for name, text in ITEMS.items())
    + "</GDALMetadata>\n"
)
STORED = np.array([[255, 0, 64, 104]], "u1")  # missing, no echo, 0 dBZ, 20 dBZ
FINLAND = {"crs": "EPSG:3067", "transform": rasterio.Affine(250, 0, 100_000, 0, -250, 7_000_000)}


def rates_of(path, **reading):
    return open_grid(path, **reading).precipitation_rate.values.ravel()


def by_zr(dbz, a, b):
    return (10 ** (dbz / 10) / a) ** (1 / b)


def test_what_fmi_says_in_a_tag_of_gdals_metadata_is_read(write):
    path = write("a.tif", STORED, tags={"GDAL_METADATA": XML}, **FINLAND)
    grid = open_grid(path)
    assert grid.time.values[0] == np.datetime64("2016-09-28T14:45")
    assert grid.attrs["converted_from"] == "Corrected reflectivity [dBZ] by Z = 223 R^1.53"
    assert grid.attrs["institution"] == "Finnish Meteorological Institute"
    assert rates_of(path) == approx(
        [np.nan, 0.0, by_zr(0, 223, 1.53), by_zr(20, 223, 1.53)], nan_ok=True
    )
    # the user's goes before what a service is known for
    assert rates_of(path, zr=(200.0, 1.6))[3] == approx(by_zr(20, 200, 1.6))


def test_the_same_in_tags_of_the_file_or_of_the_band(write):
    said = {**ITEMS, "quantity": "DBZH"}
    for name, tags in (
        ("202001311205_a.tif", {"tags": said}),
        ("202001311205_b.tif", {"band_tags": [said]}),
    ):
        path = write(name, STORED, **tags)
        refused(path, "Z-R relation")  # not known to be FMI's
        assert rates_of(path, zr=(200.0, 1.6)) == approx(
            [np.nan, 0.0, by_zr(0, 200, 1.6), by_zr(20, 200, 1.6)], nan_ok=True
        )
    path = write(
        "202001311205_c.tif", STORED, tags={"gain": "0.1", "quantity": "RATE", "nodata": "255"}
    )
    assert rates_of(path) == approx([np.nan, 0.0, 6.4, 10.4], nan_ok=True)


def test_the_bands_own_scale_goes_before_the_tags_and_counts_once(write):
    path = write("202001311205.tif", STORED, units=["dBZ"], scale=0.5, offset=-32.0, tags=ITEMS)
    assert rates_of(path, zr=(200.0, 1.6))[3] == approx(by_zr(20, 200, 1.6))


def test_signed_bytes_whose_nodata_is_255_are_unsigned(write):
    path = write("202001311205.tif", STORED.view("i1"), tags={**ITEMS, "units": "dBZ"})
    assert rates_of(path, zr=(200.0, 1.6)) == approx(
        [np.nan, 0.0, by_zr(0, 200, 1.6), by_zr(20, 200, 1.6)], nan_ok=True
    )


def test_tags_that_make_no_sense_are_refused_and_others_are_left_alone(write):
    refused(
        write("202001311205_a.tif", STORED, units=["mm/h"], tags={"gain": "a lot"}),
        "its tag gain is 'a lot', not a number",
    )
    refused(
        write("202001311205_b.tif", STORED, units=["mm/h"], tags={"gain": "0"}),
        "gain 0 and offset 0, which cannot unpack values",
    )
    path = write("202001311205_c.tif", STORED, units=["mm/h"], tags={"offset": "+01:00"})
    assert rates_of(path).tolist() == [255, 0, 64, 104]
    path = write(
        "202001311205_d.tif", STORED, units=["mm/h"], tags={"nodata": "none", "undetect": "64"}
    )
    assert rates_of(path).tolist() == [255, 0, 0, 104]
    assert np.isnan(rates_of(path, missing_value=64)).tolist() == [False, False, True, False]
