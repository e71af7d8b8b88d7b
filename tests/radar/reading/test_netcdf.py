import gzip

import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import open_grid

ONES = np.ones((3, 2, 2), dtype=np.float32)


def rate(path, **options):
    return open_grid(path, **options).precipitation_rate


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# --- what it holds
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "options", "expected"),
    [
        ({"units": "mm/hr"}, {}, 1.0),
        ({"units": "kg m-2 s-1"}, {}, 3600.0),
        ({"units": "mm"}, {"accumulation_minutes": 5}, 12.0),
        ({"units": "mm", "cell_methods": "time: sum (interval: 5 minutes)"}, {}, 12.0),
        ({"units": "mm", "cell_methods": "time: sum (interval: 1 hr)"}, {}, 1.0),
        # data.units overrules a lying file
        ({"units": "mm h-1"}, {"units": "mm", "accumulation_minutes": 10}, 6.0),
        ({"units": None}, {"units": "mm h-1"}, 1.0),
    ],
)
def test_units_become_mm_per_hour(write, attrs, options, expected):
    values = rate(write("a.nc", ONES, **attrs), max_rate=1e4, **options)
    assert values.values == approx(np.full((3, 2, 2), expected))
    assert values.attrs["units"] == "mm h-1"
    assert values.dtype == np.float32


def test_dbz_is_converted_with_the_constants_given(write):
    path = write("a.nc", np.full((2, 1, 1), 10 * np.log10(300 * 4**1.4)), units="dBZ")
    assert rate(path, zr=(300, 1.4)).values.ravel() == approx([4, 4])


def test_time_bounds_say_the_minutes_of_an_amount(write):
    def bounds(file):
        file["time"].bounds = "time_bnds"
        file.createDimension("nv", 2)
        file.createVariable("time_bnds", "f8", ("time", "nv"))[:] = [[-10, 0], [0, 10], [10, 20]]

    path = write("a.nc", ONES, [0, 10, 20], units="mm", extra=bounds)
    assert rate(path).values == approx(6 * ONES)


def test_what_the_file_says_of_its_minutes_goes_before_the_option_and_that_is_said(write, caplog):
    path = write("a.nc", ONES, units="mm", cell_methods="time: sum (interval: 5 minutes)")
    assert rate(path, accumulation_minutes=10).values == approx(12 * ONES)
    assert "accumulation_minutes=10 is not used" in caplog.text


def test_an_amount_over_unknown_minutes_is_refused(write):
    refused(write("a.nc", ONES, units="mm"), r"data\.accumulation_minutes")


@pytest.mark.parametrize("units", ["K", "kg", None])
def test_units_that_are_no_rain_are_refused_with_the_way_out(write, units):
    path = write("a.nc", ONES, units=units)
    refused(
        path,
        r"nowcast reads 'mm h-1', 'mm' with data\.accumulation_minutes, or"
        r" 'dBZ'.*data\.units.*data\.variable",
    )


def test_the_variable_is_found_by_its_cf_name_among_others(write):
    def temperature(file):
        file.createVariable("t", "f4", ("time", "y", "x")).setncatts(
            {"units": "mm h-1", "standard_name": "air_temperature"}
        )

    assert rate(
        write("a.nc", ONES, standard_name="rainfall_rate", extra=temperature)
    ).values == approx(ONES)


def test_the_only_field_in_units_of_rain_is_found_without_a_name(write):
    def quality(file):
        file.createVariable("quality", "f4", ("time", "y", "x")).units = "1"

    assert rate(write("a.nc", ONES, extra=quality)).values == approx(ONES)


def test_several_candidates_are_refused_and_listed_until_one_is_chosen(write):
    def second(file):
        other = file.createVariable("other", "f4", ("time", "y", "x"))
        other.units = "mm"
        other[:] = 7.0

    path = write("a.nc", ONES, extra=second)
    refused(path, r"rain \[mm h-1\], other \[mm\].*data\.variable")
    assert rate(path, variable="other", units="mm/h").values == approx(7 * ONES)


def test_a_variable_that_is_not_there_is_refused(write):
    refused(write("a.nc", ONES), r"no field 'x'.*rain \[mm h-1\]", variable="x")


def test_a_file_without_rain_is_refused(write):
    refused(write("a.nc", np.ones(3, np.float32)), "has no rain")


# --- how it is stored
# ------------------------------------------------------------------------------------------------


def test_packed_integers_come_out_as_the_decimal_numbers_they_mean(write):
    values = np.array([[[10, -9999, 30]]], dtype="i2")
    path = write("a.nc", values, scale_factor=np.float32(0.01), units="mm", _FillValue=-9999)
    values = rate(path, accumulation_minutes=5).values.ravel()
    assert values[0] == np.float32(1.2)  # so that 1.2 mm/h is an event at the threshold 1.2
    assert np.isnan(values[1])
    assert values[2] == np.float32(3.6)


@pytest.mark.parametrize("dtype", [">f4", ">i2", "f8", "u1", "i8"])
def test_any_number_type_and_byte_order_is_read(write, dtype):
    assert rate(write("a.nc", np.array([[[3, 4]]], dtype=dtype))).values.tolist() == [[[3.0, 4.0]]]


def test_classic_files_are_read(write):
    assert rate(
        write("a.nc", 2 * ONES, np.array([0, 5, 10], "i4"), form="NETCDF3_CLASSIC")
    ).values == approx(2 * ONES)


def test_bytes_that_are_meant_unsigned_are(write):
    path = write(
        "a.nc", np.array([[[100, -56, -1]]], dtype="i1"), _Unsigned="true", _FillValue=np.int8(-1)
    )
    assert rate(path).values.ravel()[:2].tolist() == [100.0, 200.0]
    assert np.isnan(rate(path).values.ravel()[2])


def test_values_out_of_the_valid_range_are_missing(write):
    values = rate(
        write("a.nc", np.array([[[-5.0, 0.0, 50.0, 300.0]]]), valid_range=[0.0, 100.0])
    ).values.ravel()
    assert np.isnan(values).tolist() == [True, False, False, True]


def test_one_frame_with_a_scalar_time_is_a_series_of_one(write):
    grid = open_grid(write("a.nc", np.array([[1.0, 2.0]]), 10))
    assert grid.precipitation_rate.values.tolist() == [[[1.0, 2.0]]]
    assert grid.time.values.tolist() == np.array(["2020-01-01T00:10"], "datetime64[ns]").tolist()
    assert np.isnan(grid.attrs["timestep_minutes"])


def test_dimensions_may_have_other_names_and_orders(tmp_path, write):
    def field(file):
        for name, size in [("lon", 3), ("lat", 2), ("level", 1)]:
            file.createDimension(name, size)
            file.createVariable(name, "f4", (name,)).axis = {"lon": "X", "lat": "Y", "level": "Z"}[
                name
            ]
        rain = file.createVariable("r", "f4", ("level", "lon", "lat", "time"))
        rain.units = "mm/h"
        rain[:] = np.arange(12).reshape(1, 3, 2, 2)

    path = write("a.nc", np.ones(2), extra=field)
    values = rate(path).values
    assert values.shape == (2, 2, 3)
    assert values[1, 0, 2] == np.arange(12).reshape(3, 2, 2)[2, 0, 1]


# --- values that cannot be
# -------------------------------------------------------------------------------------------


def test_infinite_and_impossible_rates_become_missing_and_are_said_once(write, caplog):
    values = np.ones((3, 1, 3))
    values[1] = [np.inf, 8647.0, 999.0]
    values[2, 0, 0] = 5000.0
    grid = open_grid(write("a.nc", values))
    for _ in range(2):
        assert np.isnan(grid.precipitation_rate[1].values).tolist() == [[True, True, False]]
        assert np.isnan(grid.precipitation_rate[2].values).tolist() == [[True, False, False]]
    assert len(caplog.records) == 1
    assert "2 values" in caplog.text
    assert "a.nc" in caplog.text


def test_negative_values_are_refused_with_the_number_to_declare(write):
    path = write("a.nc", np.array([[[0, 5]], [[7, -9999]]], dtype="i2"), scale_factor=0.1)
    refused(path, r"-9999 at 2020-01-01T00:05 .*data\.missing_value=-9999")
    values = rate(path, missing_value=-9999).values
    assert np.isnan(values).tolist() == [[[False, False]], [[False, True]]]


def test_several_missing_values_can_be_declared(write):
    values = rate(
        write("a.nc", np.array([[[-1.0, -3.0, 2.0]]])), missing_value=(-1, -3)
    ).values.ravel()
    assert np.isnan(values).tolist() == [True, True, False]


def test_dbz_no_radar_measures_is_refused_too(write):
    refused(
        write("a.nc", np.array([[[30.0, -999.0]]]), units="dBZ"),
        r"data\.missing_value=-999",
        zr=(200, 1.6),
    )


def test_negative_zeros_of_rounding_are_dry(write):
    assert rate(write("a.nc", np.array([[[-0.001, -0.0, 1.0]]]))).values.ravel().tolist() == [
        0.0,
        0.0,
        1.0,
    ]


# --- times
# -----------------------------------------------------------------------------------------------------------


def test_times_as_fractions_of_hours_are_exact(write):
    path = write(
        "a.nc",
        np.ones((13, 1, 1)),
        160895 + np.arange(13) / 12,
        time_attrs={"units": "hours since 2000-01-01T00:50:00"},
    )
    times = open_grid(path).time.values
    assert (np.diff(times) == np.timedelta64(5, "m")).all()
    assert times[0] == np.datetime64("2018-05-09T23:50")


def test_a_time_zone_is_turned_into_utc(write):
    path = write("a.nc", ONES, time_attrs={"units": "minutes since 2020-01-01 02:00:00 +02:00"})
    assert open_grid(path).time.values[0] == np.datetime64("2020-01-01T00:00")


@pytest.mark.parametrize(
    ("attrs", "match"),
    [
        ({"units": "minutes"}, "nowcast needs CF times"),
        ({"units": "minutes since the flood"}, "cannot be read"),
        (
            {"units": "minutes since 2020-01-01 00:00 CET"},
            r"CET'\) cannot be read; write them in UTC, as .*, or with an offset, .*\+01:00'\.$",
        ),
        ({"units": "months since 2020-01-01"}, "cannot be read"),
        ({"calendar": "noleap"}, "calendar 'noleap'"),
        ({"calendar": "360_day"}, "calendar '360_day'"),
    ],
)
def test_times_that_are_not_utc_dates_are_refused(write, attrs, match):
    refused(write("a.nc", ONES, time_attrs=attrs), match)


def test_a_frame_without_time_is_refused(write):
    refused(write("a.nc", ONES, [0.0, np.nan, 10.0]), "frame 1 has no time")


def test_times_out_of_range_are_refused(write):
    refused(write("a.nc", ONES, [0.0, 5.0, 9.9e36]), "cannot be read")


def test_a_file_without_any_time_is_refused(tmp_path):
    import netCDF4

    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("y", 2)
        file.createVariable("rain", "f4", ("y",))
    refused(tmp_path / "a.nc", "has no time")


# --- files that are none
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\x1f\x8b\x08rest", "gzipped file is truncated"),
        (b"hello", "not a radar file that nowcast recognizes"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "truncated or damaged"),
    ],
)
def test_what_is_not_netcdf_is_refused_by_what_it_is(tmp_path, content, match):
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    refused(path, match)


def test_a_truncated_file_is_refused(write):
    path = write("a.nc", np.random.default_rng(0).random((50, 20, 20)))
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, "truncated or damaged")


def test_a_file_of_damaged_frames_is_refused_when_they_are_read(write):
    import netCDF4

    def packed(file):
        rain = file.createVariable(
            "r", "f4", ("time", "y", "x"), compression="zlib", chunksizes=(1, 20, 20)
        )
        rain.setncatts({"units": "mm/h", "standard_name": "rainfall_rate"})
        rain[:] = np.random.default_rng(0).random((50, 20, 20))

    path = write("a.nc", np.zeros((50, 20, 20), "i1"), extra=packed)
    grid = open_grid(path)
    content = bytearray(path.read_bytes())
    content[-40000:-30000] = bytes(10000)
    path.write_bytes(content)
    with netCDF4.Dataset(path):
        pass  # it still opens
    with pytest.raises(DataError, match="truncated or damaged"):
        grid.load()


def test_a_gzipped_file_is_read_as_it_is(write, ramp):
    path = write("a.nc", ramp)
    packed = path.with_name("b.nc.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(
        open_grid(packed)["precipitation_rate"], open_grid(path)["precipitation_rate"]
    )
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match="gzipped file is truncated, damaged"):
        open_grid(packed)


def test_forecasts_are_not_taken_for_what_a_radar_measured(write, ramp):
    def reference(minutes):
        def extra(file):
            variable = file.createVariable("forecast_reference_time", "f8")
            variable.setncatts(
                {"standard_name": "forecast_reference_time", "units": "minutes since 2020-01-01"}
            )
            variable[...] = minutes

        return extra

    refused(
        write("a.nc", ramp, extra=reference(5)),
        "holds a forecast from 2020-01-01T00:05, not radar measurements; look at it with 'nowcast"
        r" plot .*a\.nc'",
    )
    # an analysis: none lies after it
    assert open_grid(write("b.nc", ramp, extra=reference(25))).sizes["time"] == 6


def test_a_file_that_goes_away_is_missing(write):
    path = write("a.nc", ONES)
    grid = open_grid(path)
    path.unlink()
    with pytest.raises(MissingInputError, match="no such file"):
        grid.load()
