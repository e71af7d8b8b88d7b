"""Real files, if available: each folder opens without options and has the values that other tools
measured in it (see the README of the data).
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from nowcast.radar import check_grid, open_grid

DATA = Path(__file__).parents[4] / "shared" / "data"


def sample(*parts):
    path = DATA.joinpath(*parts)
    if not list(DATA.glob("/".join(parts))):
        pytest.skip("the sample data are not at hand")
    return path


def facts(rate):
    """(share missing, share of the rest above 0.1 mm/h, maximum), read in blocks."""
    missing = wet = valid = 0
    top = 0.0
    step = max(1, 2**26 // (rate.sizes["y"] * rate.sizes["x"] * 4))
    for start in range(0, rate.sizes["time"], step):
        block = rate[start : start + step].values
        there = block[~np.isnan(block)]
        missing, valid, wet = (
            missing + block.size - there.size,
            valid + there.size,
            wet + int((there > 0.1).sum()),
        )
        top = max(top, float(there.max(initial=0.0)))
    return missing / rate.size, wet / valid, top


@dataclass(frozen=True)
class Sample:
    """Known values of a folder: `missing` and `wet` in percent, `top` in mm/h, each with its
    published digits.
    """

    folder: str
    source: str
    shape: tuple[int, int, int]
    minutes: float
    first: str
    last: str
    missing: str
    wet: str
    top: str
    frames: tuple[int, ...] = ()  # those measured; all where none is named
    max_rate: float = 1000.0
    reading: dict[str, object] = field(default_factory=dict)
    gaps: bool = False


SAMPLES = [
    Sample("radolan_yw_netcdf", "rainfall_amount [mm per 5 min]", (2016, 190, 228), 5,
    "2018-05-10T00:00", "2018-05-16T23:55",
           "2.5", "9.6", "236.9"),
    Sample("radolan_ry_netcdf", "RY [mm per 5 min]", (12, 900, 900), 5, "2021-08-23T08:50",
    "2021-08-23T09:45",
           "22.4", "11.8", "101.6"),
    Sample("openmrg_netcdf", "rainfall_amount [mm h-1]", (36, 48, 37), 5, "2015-08-27T00:20",
    "2015-08-27T03:15",
           "0", "40.2", "68.7"),
    Sample("knmi_rap_5min_hdf5", "ACCUMULATED_PRECIPITATION [mm per 5 min]", (55, 765, 700), 5,
    "2010-08-26T00:00", "2010-08-26T04:30",
           "74.4", "51", "20.5"),
    Sample("mch_aqc_gif/20150515", "AQC [mm per 5 min]", (40, 640, 710), 5, "2015-05-15T15:45",
    "2015-05-15T19:00",
           "30.9", "17.1", "115.5"),
    Sample("mch_aqc_gif/20170131", "AQC [mm per 5 min]", (40, 640, 710), 5, "2017-01-31T09:45",
    "2017-01-31T13:00",
           "28.4", "20.7", "29.0"),
    # 24.346 % of the bytes are 255; the README has rounded twice.
    Sample("fmi_pgm/20160928", "CorrectedReflectivity [dBZ] by Z = 223 R^1.53", (40, 1226, 760), 5,
    "2016-09-28T14:45", "2016-09-28T18:00",
           "24.35", "30.3", "167"),
    Sample("opera_odyssey_odim_hdf5/20180824", "RATE [mm h-1]", (24, 2200, 1900), 15,
    "2018-08-24T18:00", "2018-08-24T23:45",
           "49.9", "11.7", "8647", max_rate=1e5),
    Sample("bom_rf3_netcdf", "precipitation [kg m-2 per 10 min]", (144, 512, 512), 10,
    "2020-10-31T00:00", "2020-10-31T23:50",
           "0", "12.7", "91.8"),
    # Two of its 20 frames, that of the maximum and the last, to save time. By cfgrib; of all 20
    # that has 35.76 %, 6.14 % and
    # 151.3 mm/h, where the README says 153.
    Sample("mrms_grib2", "PrecipRate [mm h-1]", (20, 3500, 7000), 2, "2019-06-10T00:00",
    "2019-06-10T00:38",
           "35.78", "6.12", "151.3", frames=(4, 19)),
    # From here on by gzip, h5py, netCDF4, rasterio and NumPy, without this package; large ones in
    # part.
    Sample("fmi_geotiff", "Corrected reflectivity [dBZ] by Z = 223 R^1.53", (2, 7316, 4963), 5,
    "2016-09-28T14:45", "2016-09-28T14:50",
           "67.947", "28.419", "84.96", frames=(0,)),
    Sample("radolan_ry_binary/*-200906*", "RY [mm per 5 min]", (13, 900, 900), 5,
    "2020-09-06T17:25", "2020-09-06T18:25",
           "25.574", "11.352", "87.84"),
    Sample("radolan_ry_binary/*-200907*", "RY [mm per 5 min]", (79, 900, 900), 5,
    "2020-09-07T07:25", "2020-09-07T14:00",
           "25.574", "1.434", "337.44", frames=(0, 27, 78), gaps=True),
    Sample("radolan_yw_rw_binary/*yw*", "YW [mm per 5 min]", (12, 1100, 900), 5, "2017-08-16T00:55",
    "2017-08-16T01:50",
           "38.8", "14.6", "142.92"),
    Sample("radolan_yw_rw_binary/*rw_*", "RW [mm per 60 min]", (24, 900, 900), 60,
    "2018-11-22T00:50", "2018-11-22T23:50",
           "18.596", "0.151", "3.0"),
    Sample("rmi_qpe_odim", "RATE [mm h-1]", (39, 700, 700), 5, "2021-07-04T15:50",
    "2021-07-04T19:00", "33.064", "15.2", "84.39"), Sample("opera_2024_odim/T_PAAH22*",
    "RATE [mm h-1]", (5, 2200, 1900), 15, "2024-11-26T01:00", "2024-11-26T02:00",
           "48.539", "9.167", "344.24"),
    Sample("opera_2024_odim/T_PASH22*", "ACRR [mm per 60 min]", (5, 2200, 1900), 15,
    "2024-11-26T01:00", "2024-11-26T02:00",
           "48.639", "11.007", "86.06"),
    Sample("opera_2024_odim/T_PABV21*", "DBZH [dBZ] by Z = 200 R^1.6", (2, 4400, 3800), 5,
    "2024-11-26T01:00", "2024-11-26T01:05",
           "49.095", "16.277", "998.5", frames=(0,), reading={"zr": (200.0, 1.6)}),
    Sample("knmi_rac_mfbs_netcdf/*_2011091021*", "image1_image_data [kg m-2 per 5 min]", (12, 765,
    700), 5,
           "2011-09-10T20:55", "2011-09-10T21:50", "92.892", "32.467", "251.52",
           reading={"accumulation_minutes": 5.0}),
    Sample("radklim_yw_netcdf", "rainfall_amount [mm per 5 min]", (288, 1100, 900), 5,
    "2017-05-14T00:00", "2017-05-14T23:55",
           "38.448", "4.009", "13.8", frames=(150, 151), reading={"accumulation_minutes": 5.0}),
    Sample("openrainer_netcdf", "rainfall_amount [mm per 15 min]", (11, 290, 373), 15,
    "2022-09-17T08:00", "2022-09-17T10:30",
           "0.101", "43.405", "46.14", reading={"accumulation_minutes": 15.0}),
    Sample("taasrad19_netcdf/*2015-10*", "dbz [dBZ] by Z = 200 R^1.6", (4045, 64, 64), 5,
    "2015-10-05T09:25", "2015-10-29T23:55",
           "23.242", "7.396", "63.92", frames=tuple(range(1000)), reading={"zr": (200.0, 1.6)},
           gaps=True),
    Sample("meteonet_npz/rainfall_NW_*", "rainfall [mm per 5 min]", (45, 565, 784), 5,
    "2016-08-21T00:10", "2016-08-31T00:30",
           "12.505", "0.681", "30.48", gaps=True),
    Sample("meteonet_npz/rainfall_SE_*", "rainfall [mm per 5 min]", (45, 515, 784), 5,
    "2016-08-21T00:10", "2016-08-31T00:30",
           "4.037", "1.741", "60.0", gaps=True),
]  # fmt: skip


def published(number):
    """A number to the digits that were written: '9.6' is 9.55 to 9.65."""
    return approx(float(number), abs=0.5000001 * 10.0 ** -len(number.partition(".")[2]))


@pytest.mark.parametrize("known", SAMPLES, ids=lambda known: known.folder)
def test_a_folder_opens_as_it_is(known):
    grid = open_grid(sample(*known.folder.split("/")), max_rate=known.max_rate, **known.reading)
    check_grid(grid)
    assert grid.precipitation_rate.shape == known.shape
    assert grid.attrs["timestep_minutes"] == known.minutes
    assert (grid.time.values[0], grid.time.values[-1]) == (
        np.datetime64(known.first),
        np.datetime64(known.last),
    )
    assert (
        known.gaps or (np.diff(grid.time.values) == np.timedelta64(int(known.minutes), "m")).all()
    )
    assert grid.attrs["converted_from"] == known.source
    missing, wet, top = facts(grid.precipitation_rate[list(known.frames) or slice(None)])
    assert (100 * missing, 100 * wet, top) == (
        published(known.missing),
        published(known.wet),
        published(known.top),
    )


def test_impossible_rates_of_opera_are_missing_and_that_is_said(caplog):
    rate = open_grid(sample("opera_odyssey_odim_hdf5")).precipitation_rate
    with caplog.at_level(logging.WARNING):
        assert np.nanmax(rate[17].values) <= 1000.0  # 22:15 has the 8647
    assert "are above data.max_rate=1000 mm/h and count as missing" in caplog.text


def test_radolan_of_wradlib_lies_on_dwds_grid():
    grid = open_grid(sample("radolan_ry_netcdf"))
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert grid.crs.attrs["straight_vertical_longitude_from_pole"] == 10.0
    # centres: the corner is at -523462.2, -4658644.7
    assert grid.x.values[[0, -1]] == approx([-522962.2, 376037.8], abs=0.1)
    assert grid.y.values[[0, -1]] == approx([-4658144.7, -3759144.7], abs=0.1)
    assert set(grid.coords) == {"time", "x", "y", "crs"}


def test_the_sample_that_its_publisher_moved_has_no_place():
    grid = open_grid(sample("radolan_yw_netcdf"))
    assert set(grid.coords) == {"time", "x", "y"}
    # the first row is the southern one
    assert np.diff(grid.y.values)[0] == np.diff(grid.x.values)[0] == 1000.0


def test_openmrg_knows_its_projection():
    grid = open_grid(sample("openmrg_netcdf"))
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert np.diff(grid.x.values)[0] == approx(2000.0)


def test_mrms_lies_between_130_and_60_degrees_west():
    grid = open_grid(sample("mrms_grib2"))
    assert grid.x.values[[0, -1]] == approx([-129.995, -60.005])
    assert grid.y.values[[0, -1]] == approx([54.995, 20.005])
    assert grid.crs.attrs["grid_mapping_name"] == "latitude_longitude"


@pytest.mark.parametrize("zone", ["NW", "SE"])
def test_meteonet_lies_where_its_files_of_coordinates_say(zone):
    grid = open_grid(sample("meteonet_npz", f"rainfall_{zone}_*"))
    with np.load(sample("meteonet_npz", f"radar_coords_{zone}.npz")) as said:
        np.testing.assert_allclose(grid.y.values, said["lats"][:, 0], atol=1e-9)
        np.testing.assert_allclose(grid.x.values, said["lons"][0], atol=1e-9)


def test_fmi_geotiff_lies_on_finlands_own_grid():
    grid = open_grid(sample("fmi_geotiff"))
    assert grid.crs.attrs["grid_mapping_name"] == "transverse_mercator"
    assert grid.x.values[0] == approx(-196593.0043142296 + 125.002)
    assert grid.attrs["institution"] == "Finnish Meteorological Institute"
