"""Commands on archives given by a time pattern list only the folders they need."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import TINY, Outcome

from nowcast.radar import open_grid
from nowcast.radar.series import describing

Run = Callable[..., Outcome]


pytestmark = pytest.mark.usefixtures("without_pictures")
PATTERN = "radar/%Y/%H/rain_%Y%m%d_%H%M.nc"


@pytest.fixture(scope="module")
def folder(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight hours of `radar_file`, a file a frame in a folder an hour, and a folder of an
    earlier year.
    """
    folder = tmp_path_factory.mktemp("archive")
    grid = open_grid(radar_file).load()
    for k, time in enumerate(grid["time"].values):
        path = folder / time.astype("datetime64[s]").item().strftime(PATTERN)
        path.parent.mkdir(parents=True, exist_ok=True)
        grid.isel(time=[k]).to_netcdf(path, engine="netcdf4")
    (folder / "radar/2019/23").mkdir(parents=True)
    (folder / "radar/2019/23/rain_20191201_2355.nc").write_bytes(
        b"of another year, and never opened"
    )
    return folder


@pytest.fixture
def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The pattern of the archive, relative to the current folder."""
    monkeypatch.chdir(folder)
    return PATTERN


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The folders that are listed and the files that are described."""
    seen: dict[str, set[str]] = {"folders": set(), "files": set()}
    scandir, describe = os.scandir, describing.describe_file

    def listing(folder: str) -> object:
        if "radar" in str(folder):
            seen["folders"].add(str(folder))
        return scandir(folder)

    def noting(path: Path, options: object) -> object:
        seen["files"].add(path.name)
        return describe(path, options)

    monkeypatch.setattr(os, "scandir", listing)
    monkeypatch.setattr(describing, "describe_file", noting)
    return seen


def rates_of(path: Path) -> np.ndarray:
    with xr.open_dataset(path, engine="netcdf4") as forecast:
        return forecast["precipitation_rate"].values


def test_predict_finds_the_newest_frames_without_listing_the_archive(
    run: Run,
    archive: str,
    trained: Path,
    looked_at: dict[str, set[str]],
    radar_file: Path,
    tmp_path: Path,
) -> None:
    words = ["predict", f"checkpoint={trained}/best.pt", "data=radar", "device=cpu"]
    assert run(*words, f"data.path={archive}", f"output={tmp_path}/a.nc").code == 0
    assert looked_at["files"] == {
        f"rain_20200101_07{minute}.nc" for minute in (20, 25, 30, 35, 40, 45, 50, 55)
    }
    assert "radar/2019" not in looked_at["folders"]
    assert run(*words, f"data.path={radar_file}", f"output={tmp_path}/b.nc").code == 0
    np.testing.assert_array_equal(rates_of(tmp_path / "a.nc"), rates_of(tmp_path / "b.nc"))


def test_predict_at_a_time_opens_files_around_it_alone(
    run: Run, archive: str, trained: Path, looked_at: dict[str, set[str]], tmp_path: Path
) -> None:
    words = [
        "predict",
        f"checkpoint={trained}/best.pt",
        "data=radar",
        f"data.path={archive}",
        "device=cpu",
    ]
    assert run(*words, "at=2020-01-01T04:00", f"output={tmp_path}/a.nc").code == 0
    # eight frames up to 03:55, and an hour
    assert min(looked_at["files"]) == "rain_20200101_0220.nc"
    assert max(looked_at["files"]) == "rain_20200101_0500.nc"
    outcome = run(*words, "at=2020-01-01T12:00")
    assert (outcome.code, outcome.err.count("\n")) == (66, 1)
    assert (
        "no file from 2020-01-01T11:20 to 2020-01-01T12:00 matches this time pattern" in outcome.err
    )


def test_a_forecast_is_not_written_over_a_file_of_the_pattern(
    run: Run, archive: str, trained: Path
) -> None:
    words = [
        "predict",
        f"checkpoint={trained}/best.pt",
        "data=radar",
        f"data.path={archive}",
        "device=cpu",
    ]
    outcome = run(*words, f"output={archive}")
    assert outcome.code == 78
    assert (
        f"would be read as a radar file, because it matches data.path={archive}; give forecasts another folder"
        in outcome.err
    )


def test_training_opens_files_of_its_periods_alone(
    run: Run, archive: str, looked_at: dict[str, set[str]], tmp_path: Path
) -> None:
    days = [
        "data.train=['2020-01-01T00:00','2020-01-01T02:00']",
        "data.validation=['2020-01-01T05:30','2020-01-01T06:30']",
    ]
    data = ["data=radar", f"data.path={archive}", *days, f"data.cache={tmp_path}/cache"]
    outcome = run("train", *TINY, *data, f"output={tmp_path}/run", "training.epochs=1")
    assert outcome.code == 0, outcome.err
    hours = {name[14:16] for name in looked_at["files"]}
    # an hour around each: 03:00 and 04:30
    assert hours == {"00", "01", "02", "03", "04", "05", "06", "07"}
    assert (
        not {"rain_20200101_0305.nc", "rain_20200101_0425.nc", "rain_20200101_0735.nc"}
        & looked_at["files"]
    )
    assert "rain_20191201_2355.nc" not in looked_at["files"]
