"""The store: one file per day, written completely or not at all, with its settings; opens without
options.
"""

import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr

from nowcast.errors import ConfigError, DataError
from nowcast.radar import check_grid, open_grid, synthetic_grid, write_synthetic
from nowcast.radar.store.store import (
    StoredFrame,
    day_path,
    fingerprint,
    kept_frames,
    read_record,
    read_records,
    refuse_other_settings,
    write_day,
)

DAY = np.datetime64("2020-06-01")
SETTINGS = {"crop": [5.0, 50.0, 8.0, 53.0], "speckle_neighbours": 2, "data.missing_value": None}
GRID = synthetic_grid(30, 24, 30, coverage=True)
PROJECTED = {name: GRID[name].variable for name in ("y", "x", "crs")}


def frames() -> list[StoredFrame]:
    """Thirty frames from midnight on; k values too high and 2 k specks in frame k."""
    rates = GRID["precipitation_rate"].values
    return [StoredFrame(time, rates[k], k, 2 * k) for k, time in enumerate(GRID["time"].values)]


@cache
def places() -> dict[str, dict[str, xr.Variable]]:
    longitude, latitude = pyproj.Proj(pyproj.CRS.from_cf(GRID["crs"].attrs))(
        *np.meshgrid(GRID["x"], GRID["y"]), inverse=True
    )
    degrees = {
        "latitude": xr.Variable(
            ("y", "x"), latitude, {"standard_name": "latitude", "units": "degrees_north"}
        ),
        "longitude": xr.Variable(
            ("y", "x"), longitude, {"standard_name": "longitude", "units": "degrees_east"}
        ),
    }
    return {
        "projected": PROJECTED,
        "both": PROJECTED | degrees,
        "curvilinear": degrees,
        "nowhere": {},
    }


def write(path: Path, place: dict[str, xr.Variable] | None = None) -> int:
    attrs = {"institution": "A weather service", "converted_from": "rain [mm h-1]"}
    left_out = {"2020-06-01T02:30": "b.nc: damaged."}
    place = PROJECTED if place is None else place
    return write_day(path, place, iter(frames()), attrs, SETTINGS, {"0123", "4567"}, left_out)


@pytest.mark.parametrize("kind", ["projected", "both", "curvilinear", "nowhere"])
def test_what_is_written_is_what_opens_without_options(kind: str, tmp_path: Path) -> None:
    assert write(day_path(tmp_path, DAY), places()[kind]) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["2020-06-01.nc"]
    grid = open_grid(tmp_path)
    check_grid(grid)
    np.testing.assert_array_equal(grid["time"], GRID["time"])
    assert (
        grid["precipitation_rate"].values.tobytes() == GRID["precipitation_rate"].values.tobytes()
    )
    assert set(grid.coords) == {"time", *places()[kind]}
    for name, variable in places()[kind].items():
        np.testing.assert_array_equal(grid[name].values, variable.values)
        assert variable.attrs.items() <= grid[name].attrs.items()
    assert grid.attrs["institution"] == "A weather service"


@pytest.mark.parametrize("kind", ["projected", "both", "curvilinear", "nowhere"])
def test_a_day_is_cf_to_the_letter(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker's own
        runner = pytest.importorskip("compliance_checker.runner")
        write(day_path(tmp_path, DAY), places()[kind])
        runner.CheckSuite.load_all_available_checkers()
        passed, failed = runner.ComplianceChecker.run_checker(
            str(day_path(tmp_path, DAY)), ["cf:1.11"], 0, "strict"
        )
    report = capsys.readouterr().out
    assert passed and not failed and "All tests passed!" in report, report


def test_a_day_remembers_how_it_was_made(tmp_path: Path) -> None:
    write(day_path(tmp_path, DAY))
    (record,) = read_records(tmp_path).values()
    assert list(read_records(tmp_path)) == [DAY]
    assert (record.settings, record.sources) == (SETTINGS, {"0123", "4567"})
    assert record.left_out == {"2020-06-01T02:30": "b.nc: damaged."}
    assert (record.high, record.speckle) == (sum(range(30)), 2 * sum(range(30)))
    np.testing.assert_array_equal(record.times, GRID["time"])


def test_frames_can_be_taken_over_from_a_day(tmp_path: Path) -> None:
    write(day_path(tmp_path, DAY))
    kept = list(kept_frames(day_path(tmp_path, DAY), GRID["time"].values[[3, 20]]))
    assert [(frame.time, frame.high, frame.speckle) for frame in kept] == [
        (GRID["time"].values[3], 3, 6), (GRID["time"].values[20], 20, 40),
    ]  # fmt: skip
    for frame, k in zip(kept, (3, 20), strict=True):
        assert frame.rate.tobytes() == GRID["precipitation_rate"].values[k].tobytes()


def test_a_failure_midway_leaves_the_older_day(tmp_path: Path) -> None:
    path = day_path(tmp_path, DAY)
    write(path)
    before = path.read_bytes()

    def broken():
        yield from frames()[:14]
        raise DataError("c.nc: damaged.")

    with pytest.raises(DataError, match=r"c\.nc: damaged"):
        write_day(path, PROJECTED, broken(), {}, SETTINGS, (), {})
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_day_without_frames_is_no_file(tmp_path: Path) -> None:
    assert write_day(day_path(tmp_path, DAY), PROJECTED, iter([]), {}, SETTINGS, (), {}) == 0
    assert not list(tmp_path.iterdir())


def test_other_settings_are_named(tmp_path: Path) -> None:
    write(day_path(tmp_path, DAY))
    record = read_record(day_path(tmp_path, DAY))
    refuse_other_settings([record], SETTINGS)
    with pytest.raises(
        ConfigError, match=r"speckle_neighbours is 3, in the store 2\); choose another output"
    ):
        refuse_other_settings([record], {**SETTINGS, "speckle_neighbours": 3})
    refuse_other_settings(
        [replace(record, settings={"data.missing_value": float("nan")})],
        {"data.missing_value": float("nan")},
    )
    with pytest.raises(ConfigError, match="pixel_size is 2000"):
        refuse_other_settings([replace(record)], {**SETTINGS, "pixel_size": 2000})


def test_what_is_no_day_of_a_store_is_never_written_over(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "raw.nc", 2, 8, 8)
    for name in ("raw.nc", "2020-01-01.nc"):
        with pytest.raises(ConfigError, match=rf"{name} was not written by 'nowcast prepare'"):
            read_records(tmp_path)
        path = (tmp_path / name).rename(tmp_path / "2020-01-01.nc")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        DataError,
        match=(
            r"2020-01-01\.nc: this day of the store cannot be read .*; move it elsewhere and"
            r" prepare again"
        ),
    ):
        read_records(tmp_path)
    (tmp_path / "other.nc").write_bytes(b"of somebody else")
    # and no word of removing it
    with pytest.raises(ConfigError, match=r"other\.nc was not written by 'nowcast prepare'"):
        read_record(tmp_path / "other.nc")


def test_a_file_that_changed_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    path.write_bytes(b"one")
    first = fingerprint(path)
    assert fingerprint(path) == first
    path.write_bytes(b"longer")
    assert fingerprint(path) != first
