"""Numbers that mean missing or dry, declared in the file or by the user, are treated alike in every
format.
"""

from dataclasses import replace

import h5py
import numpy as np
import originals
import pytest
from pytest import approx

from nowcast.radar import open_grid
from nowcast.radar.reading.file import ReadRequest
from nowcast.radar.reading.formats import describe_file, read_frames
from nowcast.radar.reading.storage import unpack, unsigned_where_meant

RAIN = np.array([[0.0, 0.5, 4.0], [0.0, 30.0, 1.0]])  # mm/h
DBZ = np.where(RAIN > 0, 10 * np.log10(200 * np.maximum(RAIN, 1e-6) ** 1.6), np.nan)
HUGE = float(np.finfo("f8").max)


def odim(path, data, gain, offset, nodata=None, undetect=None, quantity="DBZH"):
    with h5py.File(path, "w") as file:
        file.create_group("what").attrs.update(
            {"object": "COMP", "date": "20210703", "time": "120000"}
        )
        said = {
            "quantity": quantity,
            "gain": gain,
            "offset": offset,
            "nodata": nodata,
            "undetect": undetect,
        }
        file.create_group("dataset1/data1/what").attrs.update(
            {key: value for key, value in said.items() if value is not None}
        )
        file["dataset1/data1/data"] = data
    return path


def rates(path, **reading):
    return open_grid(path, **{"zr": (200.0, 1.6), **reading}).precipitation_rate.values[0]


def packed(kind, scale, offset, dry):
    return np.where(np.isnan(DBZ), dry, np.round((DBZ - offset) / scale)).astype(kind)


@pytest.mark.parametrize("rule", ["mask", "clip"])
@pytest.mark.parametrize(
    ("data", "gain", "offset", "nodata", "undetect"),
    [
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, -32768.0, HUGE),
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, 9999999.0, -9999999.0),
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, -32768.0, 65535.0),
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, np.inf, -np.inf),
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, np.nan, np.nan),
        (packed("i4", 0.01, 0.0, -3200), 0.01, 0.0, HUGE, 1e12),
        (packed("i2", 0.01, 0.0, -3200), 0.01, 0.0, 40000.0, HUGE),
        (packed("u1", 0.5, -32.0, 0).view("i1"), 0.5, -32.0, 255.0, 0.0),
        (packed("u1", 0.5, -32.0, 0).view("i1"), 0.5, -32.0, 255.0, HUGE),
        (packed(">u2", 0.01, -320.0, 0).view(">i2"), 0.01, -320.0, 65535.0, 0.0),
        (packed("u1", 0.5, -32.0, 0), 0.5, -32.0, 255.0, -HUGE),
        (packed("f4", 1.0, 0.0, -32.0), 1.0, 0.0, -HUGE, HUGE),
    ],
)
def test_a_flag_that_the_type_cannot_hold_is_never_met(
    tmp_path, data, gain, offset, nodata, undetect, rule
):
    values = rates(
        odim(tmp_path / "a.h5", data, gain, offset, nodata, undetect), above_max_rate=rule
    )
    assert values == approx(RAIN, rel=0.1)


def test_signed_bytes_are_unsigned_only_where_a_flag_says_so():
    stored = np.array([-1, 5], "i1")
    assert unsigned_where_meant(stored, 255.0, None).tolist() == [255, 5]
    assert unsigned_where_meant(np.array([-1], "i2"), 65535.0, 0.0).tolist() == [65535]
    assert unsigned_where_meant(np.array([-1], "i2"), 32768.0, 0.0).tolist() == [-1]
    for flags in (
        (None, None),
        (-128.0, 255.0),
        (256.0,),
        (254.5,),
        (np.nan, np.inf),
        (127.0, 0.0),
    ):
        assert unsigned_where_meant(stored, *flags).tolist() == [-1, 5]


def test_what_is_undetect_and_nodata_alike_is_missing(tmp_path):
    stored = np.array([[0.0, 5.0, 7.0]])
    assert np.isnan(
        rates(odim(tmp_path / "a.h5", stored, 1.0, 0.0, 0.0, 0.0, "RATE"))
    ).tolist() == [[True, False, False]]
    not_a_number = np.array([[np.nan, 5.0, 7.0]])
    assert rates(odim(tmp_path / "b.h5", not_a_number, 1.0, 0.0, -1.0, np.nan, "RATE"))[0, 0] == 0.0
    assert np.isnan(
        rates(odim(tmp_path / "c.h5", not_a_number, 1.0, 0.0, np.nan, np.nan, "RATE"))[0, 0]
    )
    assert np.isnan(rates(odim(tmp_path / "d.h5", not_a_number, 1.0, 0.0, quantity="RATE"))[0, 0])


def test_netcdf_may_say_that_its_unsigned_bytes_are_signed():
    assert unpack(np.array([255, 1], "u1"), {"_Unsigned": "false"}).tolist() == [-1.0, 1.0]
    assert (
        unpack(np.array([-1, 1], "i1"), {"_Unsigned": "true", "_FillValue": np.int8(-1)}).tolist()[
            1
        ]
        == 1.0
    )


@pytest.mark.parametrize("form", sorted(originals.WRITERS))
def test_a_number_may_be_said_to_mean_dry_or_missing_in_every_format(form, tmp_path):
    """Of the numbers as stored, that of one wet pixel is named."""
    for paths, options in originals.of(form, tmp_path, every=False):
        if "shared" in str(paths[0]):
            continue
        file = describe_file(paths[0], options)
        request = ReadRequest(file, options, slice(0, 1))
        stored = read_frames(request)
        wet = np.unravel_index(np.nanargmax(stored), stored.shape)
        number = _as_stored(file, stored[wet])
        there = stored == stored[wet]
        for said, expected in (("dry_value", request.dry[1]), ("missing_value", np.nan)):
            for numbers in (number, [-4321.0, number]):
                named = type(options)(**{**options.__dict__, said: numbers})
                found = read_frames(replace(request, options=named))
                assert (
                    np.isnan(found[there]).all()
                    if np.isnan(expected)
                    else (found[there] == expected).all()
                )
                np.testing.assert_array_equal(found[~there], stored[~there])


def _as_stored(file, value):
    """The number of a value, which a table or a scale and an offset made of it."""
    if file.format == "meteoswiss":
        from nowcast.radar.reading.readers.meteoswiss import _table

        return float(np.argmin(np.abs(_table() - value)))
    scale, offset = file.layout.packing
    return (
        float(np.round((value - offset) / scale)) if (scale, offset) != (1.0, 0.0) else float(value)
    )


def test_what_the_user_calls_dry_is_dry_although_the_file_calls_it_missing(write):
    stored = np.array([[[-9998, -9999, 400]]], "i2")
    path = write(
        "a.nc", stored, units="mm h-1", scale_factor=0.01, _FillValue=-9999, valid_min=np.int16(0)
    )
    rate = open_grid(path, dry_value=-9998).precipitation_rate.values.ravel()
    assert rate[[0, 2]].tolist() == [0.0, 4.0]
    assert np.isnan(rate[1])


def test_the_advice_for_an_unknown_number_below_0_names_both_keys(write):
    path = write("a.nc", np.array([[[-9998.0, 2.0]]]))
    with pytest.raises(
        Exception,
        match=(
            r"means missing, set data\.missing_value=-9998; if it means no rain, set"
            r" data\.dry_value=-9998\."
        ),
    ):
        open_grid(path).load()
    assert open_grid(path, dry_value=-9998).precipitation_rate.values.ravel().tolist() == [0.0, 2.0]
