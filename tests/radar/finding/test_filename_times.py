"""Times in the names of files."""

import numpy as np
import pytest

from nowcast.radar.finding.filename_times import time_from_name


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("RAD_NL25_RAP_5min_201008260005.h5", "2010-08-26T00:05"),
        ("T_PAAH21_C_EUOC_20180824181500.hdf", "2018-08-24T18:15"),
        ("PrecipRate_00.00_20190610-000230.grib2.gz", "2019-06-10T00:02:30"),
        ("66_20201031_235000.prcp-c10.nc", "2020-10-31T23:50"),
        ("rain_20180824T1815.tif", "2018-08-24T18:15"),
        ("rain_20180824T181500Z.tif", "2018-08-24T18:15"),
        ("2015-05-15T15:45:00Z.tif", "2015-05-15T15:45"),
        ("rain 2015-05-15 15:45.tif", "2015-05-15T15:45"),
        ("2015_05_15_15_45_30.tif", "2015-05-15T15:45:30"),
        ("20190610_0005_00060.tif", "2019-06-10T00:05"),  # what follows is not the seconds
        ("201005260005_copy_of_20100526-000500.h5", "2010-05-26T00:05"),  # twice the same
        ("20191399_0000_of_202002290000.h5", "2020-02-29T00:00"),  # no 13th month
    ],
)
def test_a_time_is_found_however_it_is_written(name, time):
    assert time_from_name(name) == np.datetime64(time)
    assert time_from_name(name).dtype == np.dtype("datetime64[ns]")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rain.tif",
        "rain_20180824.tif",  # a day
        "2018082418.tif",  # an hour
        "20180510-20180516.nc",  # two days
        "20210229_0000.tif",  # no such day
        "201808242460.tif",  # no such minute
        "1201808241815.tif",  # a longer number
        "201808241815007.tif",
        "AQC151351545F_00005.801.gif",
        "201808241800_201808241815.tif",  # two times: the start or the end?
        "2018-08-24T18:15+02:00.tif",  # not in UTC
        "20180824T1815+0030.tif",  # or a lead time
    ],
)
def test_no_time_or_no_single_one_is_none(name):
    assert time_from_name(name) is None
