"""`nowcast inspect` as a person meets it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Outcome

from nowcast.cli.arguments import split_arguments
from nowcast.radar import write_synthetic

Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An hour of rain, an hour of nothing, and an hour of rain."""
    monkeypatch.chdir(tmp_path)
    write_synthetic(tmp_path / "rain/20200101_00.nc", 12, 20, 24, seed=1, start="2020-01-01T00:00")
    write_synthetic(tmp_path / "rain/20200101_02.nc", 12, 20, 24, seed=1, start="2020-01-01T02:00")
    return tmp_path / "rain"


def test_words_with_an_equals_sign_are_overrides_unless_they_are_paths(tmp_path: Path) -> None:
    odd = tmp_path / "year=2020"
    odd.touch()
    words = [
        "a.nc",
        "data.max_rate=500",
        str(odd),
        "year=%Y/*.nc",
        "b/year=%Y/*.nc",
        "hydra/job_logging=none",
        "--cfg",
        "job",
    ]
    assert split_arguments(words)[0] == ["a.nc", str(odd), "b/year=%Y/*.nc"]
    assert split_arguments(words)[1] == [
        "data.max_rate=500",
        "year=%Y/*.nc",
        "hydra/job_logging=none",
        "--cfg",
        "job",
    ]


def test_what_is_there_is_shown(run: Run, folder: Path) -> None:
    outcome = run("inspect", str(folder))
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    assert "format CF NetCDF" in text
    assert "grid 20 × 24 pixels of 1 km × 1 km" in text
    assert "period 2020-01-01T00:00 to 2020-01-01T02:55 UTC, every 5 minutes" in text
    assert re.search(
        r"projection polar stereographic.* box west \d+\.\d\d, south \d+\.\d\d, east \d+\.\d\d,"
        r" north \d+\.\d\d degrees",
        text,
    )
    assert "of covered pixels have at least 0.1 mm/h" in text
    assert "frames 24 in 2 files" in text
    assert "gaps 12 frames in 1 gap: 12 from 2020-01-01T01:00 to 2020-01-01T01:55" in text


def test_the_same_as_json(run: Run, folder: Path) -> None:
    document = json.loads(run("inspect", str(folder), "--json").out)
    assert [one["path"] for one in document["paths"]] == [str(folder)]
    [series] = document["paths"][0]["series"]
    assert (series["format"], series["shape"], series["files"], series["frames"]) == (
        "netcdf",
        [20, 24],
        2,
        24,
    )
    assert (series["start"], series["end"]) == ("2020-01-01T00:00:00Z", "2020-01-01T02:55:00Z")
    assert series["gaps"] == [
        {"first": "2020-01-01T01:00:00Z", "last": "2020-01-01T01:55:00Z", "frames": 12}
    ]
    assert series["missing_frames"] == 12
    west, south, east, north = series["box"]
    assert west < east and south < north
    assert series["jump_minute_ratio"] is None


def test_without_a_path_the_folder_one_is_in_or_the_one_of_the_data(run: Run, folder: Path) -> None:
    assert "24 in 2 files" in run("inspect").out
    assert "12 in 1 file" in run("inspect", "data.path=rain/20200101_00.nc").out


def test_several_paths_globs_and_patterns_of_times(run: Run, folder: Path) -> None:
    outcome = run("inspect", "rain/%Y%m%d_%H.nc", "rain/*_02.nc")
    assert outcome.code == 0
    assert "24 in 2 files" in outcome.out and "12 in 1 file" in outcome.out


def test_files_of_two_grids_are_two_blocks(run: Run, folder: Path) -> None:
    write_synthetic(folder / "other.nc", 3, 8, 8, seed=1, start="2020-01-01T00:00")
    out = run("inspect", "rain").out
    assert "rain (1 of 2 kinds of files)" in out and "rain (2 of 2 kinds of files)" in out
    assert "8 × 8 pixels" in out


def test_what_cannot_be_read_is_listed_after_all_else_and_is_bad_data(
    run: Run, folder: Path
) -> None:
    (folder / "empty.nc").touch()
    (folder / "page.nc").write_text("<html>")
    outcome = run("inspect", "rain")
    assert outcome.code == 65
    assert "24 in 2 files" in outcome.out
    assert (
        "rain/empty.nc  this file is empty" in outcome.out
        and "rain/page.nc   this is a web page" in outcome.out
    )
    assert outcome.err == "nowcast: rain: 2 of 4 file(s) cannot be read; see the reasons above.\n"
    document = json.loads(run("inspect", "rain", "--json").out)
    assert [one["path"] for one in document["paths"][0]["unreadable"]] == [
        "rain/empty.nc",
        "rain/page.nc",
    ]


def test_a_path_where_nothing_is_does_not_hide_the_others(run: Run, folder: Path) -> None:
    outcome = run("inspect", "nowhere", "rain")
    assert (outcome.code, outcome.err.count("\n")) == (66, 1)
    assert "24 in 2 files" in outcome.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["rain", "data.format=bufr"], 78, "data.format: 'bufr' is unknown"),
        (["rain/%Q.nc"], 78, "'%Q' is not a time code"),
        (["rain", "workers=0"], 78, "workers: must be at least 1"),
        (
            ["rain", "data.dry_value=often"],
            78,
            "data.dry_value: give a number as the files store it",
        ),
        (
            ["rain", "data.missing_value=true"],
            78,
            "data.missing_value: give a number as the files store it",
        ),
        (["rain", "data.dry_value=-1", "data.missing_value=[-2,-1]"], 78, "-1 cannot mean both"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    run: Run, folder: Path, words: list[str], code: int, says: str
) -> None:
    outcome = run("inspect", *words)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1)
    assert says in outcome.err


def test_numbers_that_mean_dry_or_missing_are_named_on_the_command_line(
    run: Run, folder: Path
) -> None:
    from nowcast.radar import open_grid

    grid = open_grid(folder / "20200101_00.nc").load()
    rate = grid["precipitation_rate"].values
    rate[2, :5], rate[2, 5:], rate[3] = -9998, -9997, -9999
    grid.to_netcdf("dpc.nc", engine="netcdf4")
    refused = run("inspect", "dpc.nc").out
    assert (
        "set data.missing_value=-9998; if it means no rain, set data.dry_value=-9998"
        in " ".join(refused.split())
    )
    outcome = run(
        "inspect", "dpc.nc", "data.dry_value=[-9998,-9997]", "data.missing_value=-9999", "--json"
    )
    [series] = json.loads(outcome.out)["paths"][0]["series"]
    assert (series["dry"], series["empty"]) == (["2020-01-01T00:10:00Z"], ["2020-01-01T00:15:00Z"])


def test_suspicious_things_are_said(run: Run, folder: Path, tmp_path: Path) -> None:
    from nowcast.radar import open_grid

    grid = open_grid(folder / "20200101_00.nc").load()
    rate = grid["precipitation_rate"].values
    rate[4] = rate[3] = np.maximum(rate[3], 1)
    rate[6, 0, 0] = 5000
    rate[9] = 0
    rate[10] = np.nan
    grid.to_netcdf("odd.nc", engine="netcdf4")
    text = run("inspect", "odd.nc").out
    assert "frozen, identical to the frame before: 1 frame: 2020-01-01T00:20" in text
    assert (
        "impossible rates: 1 value above data.max_rate=1000, made missing; up to 5000 mm/h at"
        " 2020-01-01T00:30" in text
    )
    assert "completely dry: 1 frame: 2020-01-01T00:45" in text
    assert "completely missing: 1 frame: 2020-01-01T00:50" in text
    # at, and after, the missing one; not of one impossible pixel
    assert "other coverage than the frame before: 2 frames" in text
