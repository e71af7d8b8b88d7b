"""MeteoNet's .npz: hundredths of mm over 5 minutes, dates that are never unpickled, the grids
of its zones.
"""

import os
import pickle
import zipfile
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import find_files, open_grid
from nowcast.radar.reading.file import ReadOptions
from nowcast.radar.reading.formats import describe_file, format_of

SHAPE = (565, 784)
START = datetime(2016, 8, 21, 0, 10)
DATES = np.array([START, START + timedelta(minutes=5), START + timedelta(minutes=20)], dtype=object)


def frames(count=3):
    data = np.zeros((count, *SHAPE), "i2")
    data[:, 0, :3], data[:, 1, 0] = (-1, 25, 100), np.arange(count) * 10
    return data


@pytest.fixture
def write(tmp_path):
    def write_file(name="rainfall_NW_2016_08.3.npz", data=None, dates=DATES, **arrays):
        np.savez_compressed(
            tmp_path / name,
            data=frames() if data is None else data,
            dates=dates,
            miss_dates=dates,
            **arrays,
        )
        return tmp_path / name

    return write_file


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)


def test_hundredths_of_mm_become_rates_at_their_dates_on_the_grid_of_the_zone(write):
    grid = open_grid(write())
    assert grid.time.values.tolist() == DATES.astype("datetime64[ns]").tolist()
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid.attrs["converted_from"] == "rainfall [mm per 5 min]"
    rate = grid.precipitation_rate.values
    assert rate[:, 0, 1:3] == approx(np.full((3, 2), [3.0, 12.0]))
    assert np.isnan(rate[:, 0, 0]).all()
    assert rate[:, 1, 0] == approx([0.0, 1.2, 2.4])
    assert (grid.y.values[[0, -1]], grid.x.values[[0, -1]]) == (
        approx([51.896, 46.256]),
        approx([-5.842, 1.988]),
    )
    assert grid.x.attrs["standard_name"] == "longitude"


def test_frames_are_read_in_any_order(write):
    rate = open_grid(write()).precipitation_rate
    assert [float(rate[k, 1, 0]) for k in (2, 0, 1, 1)] == approx([2.4, 0.0, 1.2, 1.2])
    assert rate[1:, 1:2, :1].values.ravel() == approx([1.2, 2.4])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_dates_are_read_whatever_the_protocol(write, tmp_path, protocol):
    path = write()
    with zipfile.ZipFile(path) as archive:
        data = archive.read("data.npy")
        header = archive.read("dates.npy").partition(b"\n")[0] + b"\n"
    with zipfile.ZipFile(tmp_path / "rainfall_b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", data)
        archive.writestr("dates.npy", header + pickle.dumps(DATES, protocol))
    assert (
        describe_file(tmp_path / "rainfall_b.npz", ReadOptions()).times.tolist()
        == DATES.astype("datetime64[ns]").tolist()
    )


def test_dates_may_be_numpys_own(write):
    assert open_grid(write(dates=DATES.astype("datetime64[s]"))).time.values[0] == np.datetime64(
        "2016-08-21T00:10"
    )


class Hostile:
    """What runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch hostile",)


@pytest.mark.parametrize(
    ("dates", "match"),
    [
        (
            np.array([Hostile(), *DATES[1:]], dtype=object),
            "pickled with 'posix system'|pickled with 'posix'",
        ),
        (
            np.array([date.replace(tzinfo=UTC) for date in DATES]),
            "pickled with 'timezone'|pickled with 'datetime timezone'",
        ),
        (np.array([date.date() for date in DATES], dtype=object), "pickled with 'date'"),
        (DATES[:2], r"has 3 frames, but dates of shape \(2,\)"),
        (np.arange(3.0), "dates are not 3 Python datetimes"),
    ],
)
def test_other_dates_are_refused_and_nothing_of_them_is_run(
    write, tmp_path, monkeypatch, dates, match
):
    monkeypatch.chdir(tmp_path)
    refused(write(dates=dates), match)
    assert not (tmp_path / "hostile").exists()


def test_what_is_no_rain_of_meteonet_is_refused(write):
    refused(
        write("rainfall_mean_quality-code_NW_2016_08.3.npz"),
        "its name is not one of MeteoNet's rainfall",
    )
    refused(
        write("reflectivity_old_NW_2016_08.3.npz"),
        "its name is not one of MeteoNet's rainfall; set data.units",
    )
    refused(
        write(data=np.zeros((3, 10, 12), "i2")),
        "its frames are 10 x 12; MeteoNet's zones have 565 x 784, 515 x 784",
    )
    refused(write(data=np.zeros((3, *SHAPE), "f4")), "its data are float32")
    refused(write(data=np.asfortranarray(frames())), "columns first")


def test_a_damaged_file_is_refused_before_a_frame_is_believed(write):
    path = write(data=np.random.default_rng(0).integers(0, 99, (3, *SHAPE)).astype("i2"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    refused(path, r"this \.npz cannot be read \(.*check where it came from")


def test_sizes_that_lie_are_refused_before_anything_is_unpacked(write, tmp_path):
    header = np.lib.format.header_data_from_array_1_0(frames(1)) | {"shape": (3, 2**20, 2**20)}
    path = tmp_path / "rainfall_NW.npz"
    with zipfile.ZipFile(write()) as source, zipfile.ZipFile(path, "w") as archive:
        with archive.open("data.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
        archive.writestr("dates.npy", source.read("dates.npy"))
    refused(path, "has the size 3 x 1048576 x 1048576")


def test_a_folder_is_searched_for_rain_not_for_what_lies_beside(write, tmp_path):
    rain = write()
    write("rainfall_mean_quality-code_NW_2016_08.3.npz")
    np.savez(tmp_path / "radar_coords_NW.npz", lats=np.zeros(3), lons=np.zeros(3))
    assert find_files(tmp_path) == [rain]
    assert format_of(rain) == "meteonet"
