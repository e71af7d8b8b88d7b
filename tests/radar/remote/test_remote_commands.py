"""Commands on remote data work as on local data, and no secret is written anywhere."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import TINY, Outcome
from servers import Web, write_zarr

from nowcast.radar import RATE, open_grid

Put = Callable[[Path, str], str]
Run = Callable[..., Outcome]

DAYS = (
    "data.train=['2020-01-01T00:00','2020-01-01T01:20']",
    "data.validation=['2020-01-01T01:25','2020-01-01T02:25']",
)
WINDOWS = ("sampling.windows_per_epoch=8", "sampling.crop=8", "sampling.rain_power=0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a command."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_no_secret_is_written_or_told(
    folder: Path, tmp_path: Path, s3: Put, run: Run, without_pictures: None
) -> None:
    address = s3(write_zarr(tmp_path / "rain.zarr"), f"{tmp_path.name}/rain.zarr")
    data = ("data=radar", f"data.path={address}")
    trained = run("train", *TINY, *data, *DAYS, *WINDOWS, "training.epochs=1", "output=run")
    assert trained.code == 0, trained.err
    made = run("predict", "checkpoint=run/best.pt", *data, "output=f.nc", "log_file=f.log")
    assert made.code == 0, made.err
    with xr.open_dataset(folder / "f.nc", engine="netcdf4") as forecast:
        assert forecast.attrs["inputs"] == address
    told = trained.out + trained.err + made.out + made.err
    files = [path for path in folder.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files) + told.encode()
    assert address.encode() in written
    assert b"of-a-test" not in written


@pytest.mark.parametrize("command", ["prepare", "train", "inspect"])
def test_an_address_with_a_secret_is_refused_and_the_secret_not_told(
    command: str, folder: Path, run: Run
) -> None:
    for address in ("https://user:hunter2@host/rain.nc", "https://host/rain.nc?sig=hunter2"):
        outcome = run(command, f"data.path={address}", *(["output=o"] * (command != "inspect")))
        assert outcome.code in (2, 78) and "hunter2" not in outcome.err + outcome.out
    assert list(folder.iterdir()) == []


def test_a_training_reads_frames_where_they_lie_as_it_reads_unpacked_ones(
    folder: Path, web: Web, run: Run, without_pictures: None
) -> None:
    """The same windows, so the same loss; and nothing is unpacked."""
    write_zarr(web.folder / "rain.zarr")

    def losses(name: str, path: str, cache: str) -> list[float]:
        data = ("data=radar", f"data.path={path}", f"data.cache={cache}", f"output={name}")
        outcome = run("train", *TINY, *data, *DAYS, *WINDOWS, "training.epochs=1")
        assert outcome.code == 0, outcome.err
        row = json.loads((folder / name / "metrics.jsonl").read_text().splitlines()[-1])
        return [row["train_loss"], row["validation_loss"]]

    unpacked = losses("unpacked", str(web.folder / "rain.zarr"), "cache")
    assert losses("direct", f"{web.address}/rain.zarr", "null") == unpacked
    assert {path.name for path in folder.iterdir()} == {"cache", "unpacked", "direct"}


@pytest.mark.parametrize(
    ("command", "more", "key"),
    [
        ("train", ("sampling.rain_power=1", *DAYS), "sampling.rain_power"),
        ("train", ("sampling.rain_power=0", "validation.min_wet_share=.1", *DAYS), "validation.m"),
        ("evaluate", ("input_steps=2", "lead_steps=2", "period=[2020-01-01,2020-01-01]",
                      "baseline=persistence"), "data.cache"),
    ],
)  # fmt: skip
def test_what_needs_all_frames_unpacked_says_so_without_a_cache(
    command: str, more: tuple[str, ...], key: str, tmp_path: Path, folder: Path, run: Run
) -> None:
    store = write_zarr(tmp_path / "rain.zarr")
    outcome = run(command, "data=radar", f"data.path={store}", "data.cache=null", *more, "output=o")
    assert outcome.code == 78 and outcome.err.startswith(f"nowcast: {key}")


def test_prepare_copies_a_period_and_goes_on_where_it_was_broken_off(
    folder: Path, web: Web, run: Run
) -> None:
    """The second day's chunk fails at first; the first day is not fetched again."""
    import zarr

    store = write_zarr(web.folder / "rain.zarr")
    times = zarr.open_array(store / "time", mode="r+")
    times[:] = np.where(np.arange(30) < 15, 0, 1440 - 75) + np.arange(30) * 5
    words = ("prepare", f"data.path={web.address}/rain.zarr", "output=store", "workers=1")
    web.trouble["/rain/c/4/"] = 500
    broken = run(*words)
    assert (broken.code, "the server answers 500" in broken.err) == (75, True), broken.err
    assert [path.name for path in (folder / "store").glob("*.nc")] == ["2020-01-01.nc"]
    web.trouble.clear()
    before = web.count("/rain/c/0/")
    done = run(*words)
    assert done.code == 0 and "15 frames written" in done.out
    assert web.count("/rain/c/0/") == before
    whole = open_grid(store)[RATE].values
    assert np.array_equal(open_grid("store")[RATE].values, whole)


def test_check_asks_but_fetches_nothing(folder: Path, web: Web, run: Run) -> None:
    (web.folder / "rain.nc").write_bytes(b"not looked into")
    words = ("prepare", f"data.path={web.address}/rain.nc", "output=store", "--check")
    assert run(*words).code == 0
    assert web.count("rain.nc", "HEAD") and not web.count("rain.nc")
    web.trouble["rain.nc"] = 404
    assert run(*words).code == 66
