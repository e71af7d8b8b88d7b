import errno
import os
from pathlib import Path

import numpy as np
import pytest

from nowcast.errors import ConfigError, MissingInputError
from nowcast.radar import find_files
from nowcast.radar.finding.files import newest_files, would_find
from nowcast.radar.finding.time_patterns import span_of


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def period(first: str, last: str):
    return np.datetime64(first, "ns"), np.datetime64(last, "ns")


def names(files) -> list[str]:
    return [file.name for file in files]


@pytest.fixture
def listed(monkeypatch) -> list[str]:
    """The folders that are listed, by name, in order."""
    seen: list[str] = []
    real = os.scandir

    def counting(folder):
        seen.append(Path(folder).name)
        return real(folder)

    monkeypatch.setattr(os, "scandir", counting)
    monkeypatch.setattr(
        os, "listdir", lambda folder: pytest.fail(f"{folder} was listed by other means")
    )
    return seen


@pytest.fixture
def archive(tmp_path):
    """Three years, two months each, three days each, a file every six hours."""
    for year in (2019, 2020, 2021):
        for month in (1, 6):
            for day in (1, 2, 30):
                folder = f"{year}/{month:02}/{day:02}"
                touch(tmp_path, *(f"{folder}/radar_{hour:02}00.h5" for hour in (0, 6, 12, 18)))
    return tmp_path


def test_a_folder_may_contain_the_cache(tmp_path) -> None:
    series = ("frames.npy", "tiles.npy", "statistics.npz", "motion-1f.npy")
    touch(tmp_path, "rain.nc", "cache/5e.contents", *(f"cache/aa27/{name}" for name in series))
    assert names(find_files(tmp_path)) == ["rain.nc"]
    assert not would_find(tmp_path, tmp_path / "cache/aa27/statistics.npz")


def test_a_period_enters_only_the_folders_that_may_hold_it(archive, listed):
    files = find_files(
        archive / "%Y/%m/%d/radar_%H%M.h5", period("2020-06-01T05:00", "2020-06-01T12:00")
    )
    assert names(files) == ["radar_0600.h5", "radar_1200.h5"]
    assert listed == [archive.name, "2020", "06", "01"]


def test_a_period_is_widened_by_an_hour_on_either_side(archive):
    pattern = archive / "%Y/%m/%d/radar_%H%M.h5"
    assert names(find_files(pattern, period("2020-06-01T07:00", "2020-06-01T11:00"))) == [
        "radar_0600.h5",
        "radar_1200.h5",
    ]
    with pytest.raises(
        MissingInputError, match="no file from 2020-06-01T07:01 to 2020-06-01T10:59 matches"
    ):
        find_files(pattern, period("2020-06-01T07:01", "2020-06-01T10:59"))


def test_without_a_period_all_files_come_in_the_order_of_time(archive):
    files = find_files(archive / "%Y/%m/%d/radar_%H%M.h5")
    assert len(files) == 72
    assert files == sorted(files)


def test_the_order_is_that_of_time_and_not_of_names(tmp_path):
    touch(tmp_path, "01-06-2020.nc", "02-01-2021.nc", "03-01-2020.nc")
    assert names(find_files(tmp_path / "%d-%m-%Y.nc")) == [
        "03-01-2020.nc",
        "01-06-2020.nc",
        "02-01-2021.nc",
    ]


def test_the_newest_files_are_found_without_listing_older_folders(archive, listed):
    files = newest_files(archive / "%Y/%m/%d/radar_%H%M.h5", 5)
    assert [str(file.relative_to(archive)) for file in files] == [
        "2021/06/02/radar_1800.h5", "2021/06/30/radar_0000.h5", "2021/06/30/radar_0600.h5",
        "2021/06/30/radar_1200.h5", "2021/06/30/radar_1800.h5",
    ]  # fmt: skip
    assert listed == [archive.name, "2021", "06", "30", "02"]


def test_the_newest_are_the_newest_of_all_sites_and_of_folders_in_any_order(tmp_path):
    touch(tmp_path, "a/20200101.nc", "a/20200103.nc", "b/20200102.nc", "b/20200104.nc")
    assert names(newest_files(tmp_path / "*/%Y%m%d.nc", 2)) == ["20200103.nc", "20200104.nc"]
    touch(tmp_path, "31/01/2020.nc", "01/02/2020.nc")
    assert newest_files(tmp_path / "%d/%m/%Y.nc", 1) == [tmp_path / "01/02/2020.nc"]


def test_the_newest_of_what_is_no_pattern_are_all(archive):
    assert newest_files(archive / "2020/06/01", 1) == find_files(archive / "2020/06/01")


def test_a_file_of_a_day_may_hold_any_hour_of_it(tmp_path):
    touch(tmp_path, "rain_20200531.nc", "rain_20200601.nc", "rain_20200602.nc")
    assert names(
        find_files(tmp_path / "rain_%Y%m%d.nc", period("2020-06-01T15:00", "2020-06-01T16:00"))
    ) == ["rain_20200601.nc"]


def test_codes_mix_with_globs_and_may_come_again(tmp_path):
    touch(
        tmp_path,
        "2020/06/PrecipRate_00.00_20200601-000200.grib2.gz",
        "2020/06/PrecipRate_00.00_20200702-000200.grib2.gz",
    )
    touch(tmp_path, "2020/06/Other_20200601-000200.grib2.gz")
    found = find_files(tmp_path / "%Y/%m/Precip*_%Y%m%d-%H%M%S.grib?.gz")
    # the other is of July, and in June's folder
    assert names(found) == ["PrecipRate_00.00_20200601-000200.grib2.gz"]


def test_two_digits_of_a_year_and_days_of_it(tmp_path):
    touch(
        tmp_path,
        "AQC151351545F_00005.801.gif",
        "AQC151351550F_00005.801.gif",
        "AQC154001550F_00005.801.gif",
    )
    files = find_files(
        tmp_path / "AQC%y%j%H%M*.gif", period("2015-05-15T16:48", "2015-05-15T17:00")
    )
    assert names(files) == ["AQC151351550F_00005.801.gif"]  # day 135 is 15 May; there is no day 400


@pytest.mark.parametrize(
    ("known", "first"),
    [
        ({"Y": 2020}, "2020-01-01"), ({"y": 68}, "2068-01-01"), ({"y": 69}, "1969-01-01"), ({"Y": 2020, "m": 2}, "2020-02-01"),
        ({"Y": 2020, "m": 2, "d": 29, "M": 7}, "2020-02-29"), ({"Y": 2020, "j": 366}, "2020-12-31"),
        ({"Y": 2020, "j": 60, "m": 2, "d": 29}, "2020-02-29"), ({"Y": 2020, "m": 2, "d": 3, "H": 4, "M": 5, "S": 6}, "2020-02-03"),
    ],
)  # fmt: skip
def test_what_codes_allow(known, first):
    assert str(span_of(known).start.date()) == first


@pytest.mark.parametrize(
    "known",
    [
        {"Y": 2019, "m": 2, "d": 29},
        {"Y": 2019, "j": 366},
        {"Y": 2020, "y": 19},
        {"Y": 2020, "j": 60, "m": 3},
    ],
)
def test_what_codes_contradict(known):
    assert span_of(known) is None


def test_a_pattern_may_end_in_a_folder(tmp_path):
    touch(tmp_path, "2020/06/01/a.h5", "2020/06/01/b.h5", "2020/06/01/README", "2020/06/02/c.h5")
    assert names(
        find_files(tmp_path / "%Y/%m/%d", period("2020-06-01T12:00", "2020-06-01T13:00"))
    ) == ["a.h5", "b.h5"]
    assert names(newest_files(tmp_path / "%Y/%m/%d", 2)) == ["b.h5", "c.h5"]


def test_percent_signs(tmp_path):
    touch(tmp_path, "50%/rain_2020.nc", "50%/rain_x.nc")
    assert names(find_files(tmp_path / "50%%/rain_%Y.nc")) == ["rain_2020.nc"]
    assert names(find_files(tmp_path / "50%")) == ["rain_2020.nc", "rain_x.nc"]
    with pytest.raises(ConfigError, match="'%Q' is not a time code"):
        find_files(tmp_path / "rain_%Q.nc")
    with pytest.raises(ConfigError, match="'%' is not a time code"):
        find_files(tmp_path / "rain_%Y%")


def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "disk/2020", "rain_01.nc")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/2020").symlink_to(tmp_path / "disk/2020")
    (tmp_path / "disk/2020/again").symlink_to(tmp_path / "disk")
    assert names(find_files(tmp_path / "archive/%Y/rain_%m.nc")) == ["rain_01.nc"]
    assert find_files(tmp_path / "archive") == [tmp_path / "archive/2020/rain_01.nc"]


@pytest.mark.parametrize("path", ["{}", "{}/*", "{}/**", "{}/%Y*"])
def test_hidden_files_and_those_being_written_never_match(tmp_path, path):
    touch(
        tmp_path, "2020.nc", ".2020.nc", "2020.nc.tmp", "2020.nc.part", "2020.nc~", ".old/2020.nc"
    )
    assert names(find_files(path.format(tmp_path))) == ["2020.nc"]


def test_a_folder_is_searched_for_names_of_radar_files(tmp_path):
    radar = [
        "a.nc", "b.H5", "c.pgm.gz", "d.grib2.gz", "raa01-ry_10000-2108230850-dwd---bin",
        "raa01-rw_10000-2108230850-dwd---bin.gz", "raa01-yw2017.002_10000-1801010050-dwd---bin.gz",
        "DE1200_RV2108230850_000",
    ]  # fmt: skip
    touch(
        tmp_path,
        *radar,
        "README",
        "README.md",
        "MANIFEST.sha256",
        "LICENSE",
        "train-images-idx3-ubyte.gz",
        "notes.txt",
    )
    assert sorted(names(find_files(tmp_path))) == sorted(radar)
    assert names(find_files(tmp_path, form="fmi")) == ["c.pgm.gz"]


def test_a_zarr_store_is_one_file_and_is_not_searched(tmp_path, listed):
    touch(tmp_path, "2020.zarr/zarr.json", "2020.zarr/inside.nc", "2020.zarr/c/0/0", "rain.nc")
    assert names(find_files(tmp_path)) == ["2020.zarr", "rain.nc"]
    assert "2020.zarr" not in listed
    assert names(find_files(tmp_path / "%Y.zarr")) == ["2020.zarr"]
    assert find_files(tmp_path / "2020.zarr") == [tmp_path / "2020.zarr"]


def test_a_glob_takes_a_store_whole(tmp_path):
    touch(tmp_path, "2020.zarr/zarr.json", "2020.zarr/c/0/0", "rain.nc")
    assert names(find_files(tmp_path / "**/*")) == ["2020.zarr", "rain.nc"]


def test_stars_of_any_depth_before_codes(tmp_path):
    touch(tmp_path, "2020.nc", "a/2021.nc", "a/b/2019.nc")
    assert names(find_files(tmp_path / "**/%Y.nc")) == ["2019.nc", "2020.nc", "2021.nc"]


@pytest.mark.parametrize(
    "asked",
    [
        "", "*.nc", "*", "**/*.nc", "**", "a", "a/%Y.nc", "a/%Y%m.nc", "%Y", "%Y/*.nc", "%Y/%m%Y.nc", "**/%Y.nc", "[ab]/[!x]*", "link",
        "a/x.nc",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["auto", "odim"])
def test_a_file_that_would_be_found_is_known_before_it_is_there(tmp_path, asked, form):
    touch(tmp_path, "x.nc", "a/x.nc", "a/b/x.nc", "2019/x.nc", "a/x.h5", "2019/x.h5").joinpath(
        "link"
    ).symlink_to(tmp_path / "a")
    files = [
        "y.nc", "x.nc", ".y.nc", "y.nc.tmp", "a/y.nc", "a/2020.nc", "a/202013.nc", "a/202012.nc",
        "a/b/y.nc", "a/.b/y.nc", "2020/y.nc", "2020/062020.nc", "2020/062021.nc", "2020/b/2021.nc",
        "link/y.nc", "a/y.h5", "c/y.txt", "a/x.nc", "new/deep/2020.nc",
    ]  # fmt: skip
    foretold = {name for name in files if would_find(tmp_path / asked, tmp_path / name, form)}
    for name in files:
        touch(tmp_path, name)
    found = {os.path.realpath(file) for file in find_files(tmp_path / asked, form=form)}
    assert foretold == {name for name in files if os.path.realpath(tmp_path / name) in found}


def test_what_nothing_matches_is_said_in_words(tmp_path):
    with pytest.raises(MissingInputError, match="no file matches this time pattern"):
        find_files(tmp_path / "nowhere/%Y/rain.nc")


@pytest.mark.parametrize("asked", ["locked", "locked/a.nc", "locked/%Y.nc"])
def test_what_may_not_be_entered_is_named(tmp_path, monkeypatch, asked):
    touch(tmp_path, "locked/a.nc")
    stat = os.stat

    def denied(path, *args, **keywords):  # whoever runs the tests may enter everything
        if Path(path).parent == tmp_path / "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *args, **keywords)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(
        MissingInputError,
        match=r"locked.*: cannot be read \(Permission denied\); check its permissions",
    ):
        find_files(tmp_path / asked)


def test_a_folder_below_that_may_not_be_entered_is_left_out_with_a_warning(
    tmp_path, monkeypatch, caplog
):
    touch(tmp_path, "locked/a.nc", "open/b.nc")
    scandir = os.scandir

    def denied(path):
        if Path(path) == tmp_path / "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert find_files(tmp_path) == find_files(tmp_path) == [tmp_path / "open/b.nc"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/locked: cannot be listed (Permission denied); check its permissions. It is"
        " skipped."
    ]


@pytest.mark.parametrize("path", ["", "*.nc"])
def test_what_is_no_file_and_a_link_to_itself_or_to_a_folder_above_are_left_out(tmp_path, path):
    touch(tmp_path, "2020.nc")
    (tmp_path / "2021.nc").symlink_to("2021.nc")
    (tmp_path / "2022").symlink_to(tmp_path)
    (tmp_path / "2023.nc").symlink_to("gone.nc")
    os.mkfifo(tmp_path / "2024.nc")
    assert find_files(tmp_path / path) == [tmp_path / "2020.nc"]


def test_a_link_below_a_glob_hides_no_file_from_it(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").symlink_to(tmp_path / "elsewhere")
    assert would_find(tmp_path / "data/*/rain_*.nc", tmp_path / "data/a/rain_x.nc")
    assert not would_find(tmp_path / "data/*/rain_*.nc", tmp_path / "elsewhere/x.nc")
