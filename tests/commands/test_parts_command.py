"""A long archive in parts, each a process of its own: together they are what one process makes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.radar import open_grid, write_synthetic

DAYS = ("2020-06-01", "2020-06-02", "2020-06-03", "2020-06-04")
FORECAST = ("baseline=persistence", "input_steps=2", "lead_steps=3", "data=radar")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of rain every half hour."""
    path = tmp_path_factory.mktemp("archive") / "rain.nc"
    write_synthetic(path, 4 * 48, 16, 16, start=DAYS[0], timestep_minutes=30)
    return path


@pytest.fixture(scope="module")
def parts(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that four processes make at once, a day each."""
    store = tmp_path_factory.mktemp("parts") / "store"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "nowcast", "prepare", f"data.path={archive}", "workers=1",
             f"period=[{day},{day}]", f"output={store}/{day}"],
            stdout=subprocess.DEVNULL,
        )
        for day in DAYS
    ]  # fmt: skip
    assert [process.wait() for process in processes] == [0] * 4
    return store


def test_four_processes_prepare_what_one_prepares(
    archive: Path, parts: Path, tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    assert run("prepare", f"data.path={archive}", "workers=1", f"output={tmp_path}/one").code == 0
    for day in DAYS:
        with (
            xr.open_dataset(tmp_path / f"one/{day}.nc", engine="netcdf4") as one,
            xr.open_dataset(parts / day / f"{day}.nc", engine="netcdf4") as part,
        ):
            assert one.drop_attrs(deep=False).identical(part.drop_attrs(deep=False))
            assert {k: v for k, v in one.attrs.items() if k != "history"} == {
                k: v for k, v in part.attrs.items() if k != "history"
            }
    xr.testing.assert_identical(
        open_grid(parts)["precipitation_rate"].load(),
        open_grid(tmp_path / "one")["precipitation_rate"].load(),
    )


def test_the_counts_of_parts_add_up_to_those_of_one_to_the_last_bit(
    parts: Path, tmp_path: Path, run: Callable[..., Outcome], without_pictures: None
) -> None:
    words = [*FORECAST, f"data.path={parts}", "fss_scales=[3]", "resamples=0", "stride=4"]
    cache = f"data.cache={tmp_path}/cache"

    def scored(first: str, last: str) -> None:
        folder = f"output={tmp_path}/{first}-{last}"
        assert run("evaluate", *words, cache, f"period=[{first},{last}]", folder).code == 0

    scored(DAYS[0], DAYS[3])
    scored(DAYS[0], DAYS[1])
    scored(DAYS[2], DAYS[3])
    (tmp_path / "of").mkdir()
    for name in (f"{DAYS[0]}-{DAYS[1]}", f"{DAYS[2]}-{DAYS[3]}"):
        (tmp_path / name).rename(tmp_path / "of" / name)
    assert run("evaluate", f"counts={tmp_path}/of/*/counts.nc", f"output={tmp_path}/sum").code == 0
    with (
        xr.open_dataset(tmp_path / f"{DAYS[0]}-{DAYS[3]}/counts.nc", engine="netcdf4") as one,
        xr.open_dataset(tmp_path / "sum/counts.nc", engine="netcdf4") as total,
    ):
        assert int(one["cases"].sum()) > 40
        xr.testing.assert_equal(one, total)


def test_back_fills_of_parts_forecast_what_one_forecasts(
    parts: Path, tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    def filled(start: str, end: str, folder: str) -> None:
        output = f"output={tmp_path}/{folder}/%Y%m%dT%H%MZ.nc"
        words = [*FORECAST, f"data.path={parts}", f"from={start}", f"to={end}", "max_age=null"]
        outcome = run("predict", *words, output)
        assert outcome.code == 0, outcome.err

    filled("2020-06-01T23:00", "2020-06-02T01:00", "one")
    filled("2020-06-01T23:00", "2020-06-01T23:59", "first")
    filled("2020-06-02T00:00", "2020-06-02T01:00", "second")
    one = sorted((tmp_path / "one").glob("*.nc"))
    assert len(one) == 5
    for path in one:
        part = next(tmp_path.glob(f"*d/{path.name}"), None) or tmp_path / "first" / path.name
        with (
            xr.open_dataset(path, engine="netcdf4") as whole,
            xr.open_dataset(part, engine="netcdf4") as other,
        ):
            rates = whole["precipitation_rate"], other["precipitation_rate"]
            assert np.array_equal(*rates, equal_nan=True)
            assert whole.attrs["input_digests"] == other.attrs["input_digests"]
