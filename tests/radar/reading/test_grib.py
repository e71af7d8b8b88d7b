"""GRIB2 messages, written by ecCodes from its own samples."""

import gzip
import subprocess
import sys

import numpy as np
import pyproj  # before eccodes
import pytest
from pytest import approx

from nowcast.errors import DataError, MissingLibraryError
from nowcast.radar import check_grid, open_grid
from nowcast.radar.reading.readers import grib_message

eccodes = pytest.importorskip("eccodes")

PRECIP_RATE = {"discipline": 209, "parameterCategory": 6, "parameterNumber": 1}
GRID = {
    "Ni": 3, "Nj": 2, "latitudeOfFirstGridPointInDegrees": 54.995,
    "longitudeOfFirstGridPointInDegrees": 230.005, "latitudeOfLastGridPointInDegrees": 54.985,
    "longitudeOfLastGridPointInDegrees": 230.025, "iDirectionIncrementInDegrees": 0.01,
    "jDirectionIncrementInDegrees": 0.01,
}  # fmt: skip


def message(values, *, sample="regular_ll_sfc_grib2", bitmap=False, **keys):
    """A message of `values` (y, x) at 2020-01-31 12:05, north to south, of MRMS' PrecipRate
    unless `keys` say otherwise.
    """
    values = np.asarray(values, dtype=float)
    handle = eccodes.codes_grib_new_from_samples(sample)
    try:
        size = {"Nj": values.shape[0], "Ni": values.shape[1]}
        place = (
            {}
            if sample != "regular_ll_sfc_grib2"
            else {k: v for k, v in GRID.items() if k not in size}
        )
        time = {"dataDate": 20200131, "hour": 12, "minute": 5, "second": 0}
        keys = {**PRECIP_RATE, **keys} if "shortName" not in keys else keys
        for key, value in {**size, **place, **time, **keys}.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set(handle, "bitmapPresent", int(bitmap))
        eccodes.codes_set(handle, "missingValue", 9999.0)
        eccodes.codes_set(handle, "bitsPerValue", 24)
        eccodes.codes_set_values(handle, values.ravel())
        return eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)


@pytest.fixture
def write(tmp_path):
    def write_file(name, *messages):
        (tmp_path / name).write_bytes(b"".join(messages))
        return tmp_path / name

    return write_file


SIX = [[0.0, 1.5, 2.0], [3.0, 4.0, 150.0]]


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# --- what it holds
# ---------------------------------------------------------------------------------------------------


def test_mrms_rates_open_as_they_are(write):
    grid = open_grid(write("a.grib2", message(SIX)))
    check_grid(grid)
    assert grid.precipitation_rate.values[0] == approx(np.array(SIX), abs=1e-4)
    assert grid.time.values[0] == np.datetime64("2020-01-31T12:05")
    assert grid.attrs["converted_from"] == "PrecipRate [mm h-1]"
    assert grid.attrs["title"] == "MRMS PrecipRate"


def test_mrms_codes_of_no_coverage_and_no_data_are_missing_and_dry_is_dry(write):
    values = open_grid(
        write("a.grib2", message([[-3.0, -1.0, 0.0], [2.0, 0.0, 0.0]]))
    ).precipitation_rate.values[0]
    assert np.isnan(values).tolist() == [[True, True, False], [False, False, False]]
    assert values[0, 2] == 0.0
    assert values[1, 0] == approx(2.0, abs=1e-5)


@pytest.mark.parametrize(
    ("number", "factor"), [(2, 1.0), (3, 1 / 3), (6, 1 / 24), (37, 1.0), (38, 1 / 3), (45, 4.0)]
)
def test_mrms_sums_know_their_hours(write, number, factor):
    path = write(
        "a.grib2",
        message(
            [[6.0, -3.0, 0.0]],
            parameterNumber=number,
            Nj=1,
            latitudeOfLastGridPointInDegrees=54.995,
        ),
    )
    values = open_grid(path).precipitation_rate.values.ravel()
    assert values[0] == approx(6 * factor, rel=1e-5)
    assert np.isnan(values[1])


def test_mrms_reflectivity_without_echo_is_dry_and_without_coverage_is_missing(write):
    path = write("a.grib2", message([[-999.0, -99.0, 40.0]], parameterCategory=10,
        parameterNumber=0, Nj=1,
                                    latitudeOfLastGridPointInDegrees=54.995))  # fmt: skip
    values = open_grid(path, zr=(300, 1.4)).precipitation_rate.values.ravel()
    assert np.isnan(values).tolist() == [True, False, False]
    assert values[1] == 0.0
    assert values[2] == approx((1e4 / 300) ** (1 / 1.4), rel=1e-4)


def test_a_standard_rate_and_its_bitmap(write):
    path = write(
        "a.grib2", message([[0.001, 9999.0, 0.0], [0.0, 0.0, 0.0]], shortName="prate", bitmap=True)
    )
    values = open_grid(path).precipitation_rate.values[0]
    assert values[0, 0] == approx(3.6, rel=1e-4)  # kg m-2 s-1
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[0, 1])


def test_a_standard_sum_knows_its_minutes_and_ends_with_them(write):
    keys = {"shortName": "tp", "stepType": "accum", "stepUnits": "m"}
    # m of water, as ECMWF has it
    first = message([[0.001, 0.0, 0.0], [0.0, 0.0, 0.0]], **keys, stepRange="0-5")
    grid = open_grid(write("a.grib2", first))
    assert grid.time.values[0] == np.datetime64("2020-01-31T12:10")
    assert grid.precipitation_rate.values[0, 0, 0] == approx(12.0, rel=1e-4)
    both = write("b.grib2", first, message(SIX, **keys, stepRange="0-10"))
    refused(both, "sums over 5 to 10 minutes")


def test_an_amount_over_unknown_minutes_is_refused_until_they_are_said(write):
    path = write("a.grib2", message(np.array(SIX) / 1000, shortName="tp"))
    refused(path, r"data\.accumulation_minutes")
    assert open_grid(path, accumulation_minutes=60).precipitation_rate.values[0] == approx(
        np.array(SIX), rel=1e-4
    )


def test_rain_is_found_among_other_parameters(write):
    path = write("a.grib2", message(np.full((2, 3), 280.0), shortName="2t"), message(SIX))
    assert open_grid(path).precipitation_rate.values[0] == approx(np.array(SIX), abs=1e-4)


def test_several_rains_are_refused_and_listed_until_one_is_chosen(write):
    path = write("a.grib2", message(SIX), message(np.ones((2, 3)), shortName="prate"))
    refused(path, r"PrecipRate \[mm h-1\], prate \[kg m.*data\.variable")
    assert open_grid(path, variable="PrecipRate").precipitation_rate.values[0] == approx(
        np.array(SIX), abs=1e-4
    )


def test_what_is_not_known_needs_units(write):
    path = write("a.grib2", message(SIX, parameterNumber=99))
    refused(path, r"has no known rain parameter \(it has: 209/6/99 \[unknown\]\)")
    assert open_grid(path, units="mm h-1").precipitation_rate.values[0] == approx(
        np.array(SIX), abs=1e-4
    )


def test_messages_are_frames_and_windows_read_what_they_say(write):
    frames = [message(np.array(SIX) + k, minute=2 * k) for k in range(3)]
    grid = open_grid(write("a.grib2", *frames))
    assert grid.attrs["timestep_minutes"] == 2.0
    assert grid.precipitation_rate[1:, 1, 1:].values == approx(
        np.array([[5, 151], [6, 152]]), abs=1e-4
    )


def test_the_users_missing_value_is_missing(write):
    values = open_grid(write("a.grib2", message(SIX)), missing_value=0).precipitation_rate.values[0]
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[0, 0])


# --- where it lies
# ---------------------------------------------------------------------------------------------------


def test_degrees_run_from_west_to_east_and_as_the_rows_do(write):
    grid = open_grid(write("a.grib2", message(SIX)))
    assert grid.x.values == approx([-129.995, -129.985, -129.975])
    assert grid.y.values == approx([54.995, 54.985])
    assert grid.x.attrs == {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    assert grid.crs.attrs["grid_mapping_name"] == "latitude_longitude"


def test_rows_from_south_to_north_and_columns_that_come_first(write):
    southern = {
        "latitudeOfFirstGridPointInDegrees": 54.985,
        "latitudeOfLastGridPointInDegrees": 54.995,
        "jScansPositively": 1,
    }
    grid = open_grid(write("a.grib2", message(SIX, **southern)))
    assert grid.y.values == approx([54.985, 54.995])
    assert grid.precipitation_rate.values[0] == approx(np.array(SIX), abs=1e-4)
    columns = message(np.array(SIX).T.reshape(2, 3), jPointsAreConsecutive=1)
    assert open_grid(write("b.grib2", columns)).precipitation_rate.values[0] == approx(
        np.array(SIX), abs=1e-4
    )


def test_a_polar_stereographic_grid_lies_where_eccodes_puts_it(write):
    keys = {"latitudeOfFirstGridPointInDegrees": 60.0, "longitudeOfFirstGridPointInDegrees": 20.0,
        "LaDInDegrees": 60.0,
            "orientationOfTheGridInDegrees": 10.0, "DxInMetres": 2000, "DyInMetres": 1000,
            "jScansPositively": 1}  # fmt: skip
    content = message(SIX, sample="polar_stereographic_pl_grib2", **keys)
    handle = eccodes.codes_new_from_message(content)
    latitude, longitude = (
        eccodes.codes_get_array(handle, name).reshape(2, 3) for name in ("latitudes", "longitudes")
    )
    eccodes.codes_release(handle)
    grid = open_grid(write("a.grib2", content))
    assert abs(np.diff(grid.x.values)) == approx(2000.0)
    assert abs(np.diff(grid.y.values)) == approx(1000.0)
    crs = pyproj.CRS.from_cf(grid.crs.attrs)
    x, y = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(
        longitude, latitude
    )
    assert x == approx(np.broadcast_to(grid.x.values, (2, 3)), abs=1.0)
    assert y == approx(np.broadcast_to(grid.y.values[:, None], (2, 3)), abs=1.0)


def test_grids_that_are_none_are_refused(write):
    handle = eccodes.codes_grib_new_from_samples("reduced_gg_sfc_grib2")
    for key, value in PRECIP_RATE.items():
        eccodes.codes_set(handle, key, value)
    path = write("a.grib2", eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    refused(path, "its grid is 'reduced_gg'.*convert it")


# --- files as they come
# ----------------------------------------------------------------------------------------------


def test_a_gzipped_file_is_read_as_it_is(write):
    path = write("a.grib2.gz", gzip.compress(message(SIX) + message(np.array(SIX) + 1, minute=10)))
    assert open_grid(path).precipitation_rate[1].values == approx(np.array(SIX) + 1, abs=1e-4)


@pytest.mark.parametrize("cut", [1, 30, 150, 300])
def test_a_truncated_file_is_refused(write, cut):
    path = write("a.grib2", (message(SIX) + message(SIX, minute=10))[:-cut])
    refused(path, "this GRIB file is truncated, or still being written: its message at byte")


@pytest.mark.parametrize("at", [20, 40, 96, 150])
def test_damaged_headers_are_refused(write, at):
    content = bytearray(message(SIX))
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path = write("a.grib2", bytes(content))
    with pytest.raises(DataError) as error:
        open_grid(path).load()
    assert str(path) in str(error.value)


def test_another_edition_and_what_is_no_grib_are_refused(write):
    refused(write("a.grib", b"GRIB" + bytes([0, 0, 100, 1]) + bytes(92)), "edition 1.*convert it")
    refused(write("b.grib", message(SIX) + b"<html>"), "cannot be read at byte")


def test_several_fields_in_one_message_are_refused(write):
    content = message(SIX)
    at, sections = 16, {}
    while content[at:] != b"7777":
        length = int.from_bytes(content[at : at + 4])
        sections[content[at + 4]] = content[at : at + length]
        at += length
    again = b"".join(sections[k] for k in (4, 5, 6, 7))
    whole = content[:8] + (len(content) + len(again)).to_bytes(8) + content[16:-4] + again + b"7777"
    refused(write("a.grib2", whole), "several fields in one GRIB message")


@pytest.mark.usefixtures("in_this_process")
def test_eccodes_without_its_library_is_said_with_the_extra(write, monkeypatch):
    def broken(*_):
        raise RuntimeError("Cannot find the ecCodes library")

    monkeypatch.setattr(grib_message, "library", broken)
    with pytest.raises(MissingLibraryError, match=r"pip install 'nowcast-radar\[grib\]'"):
        open_grid(write("a.grib2", message(SIX)))


def test_pyproj_and_eccodes_leave_the_process_in_peace(write):
    path = write("a.grib2", message(SIX))
    code = (
        "from nowcast.radar import open_grid;"
        f" print(open_grid({str(path)!r}).precipitation_rate.max().item())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "150.0", "")
