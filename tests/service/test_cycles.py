"""Cycles that follow each other: of a period, after a late frame, with another checkpoint."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.forecast.dataset import open_forecast

Run = Callable[..., Outcome]
TIMES = [f"2020-01-01T06:{minute:02d}" for minute in range(0, 30, 5)]


@pytest.fixture
def words(
    radar_file: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Of predict, in a folder with a file a frame; the model sees three of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "radar").mkdir()
    shutil.copy(trained / "best.pt", tmp_path)
    with xr.open_dataset(radar_file, engine="netcdf4") as series:
        for time in TIMES:
            series.sel(time=[time]).to_netcdf(
                tmp_path / f"radar/{time[-5:-3]}{time[-2:]}.nc", engine="netcdf4"
            )
    return [
        "checkpoint=best.pt", "data=radar", "data.path=radar", "data.cache=cache", "device=cpu",
        "precision=fp32", "retry=0", "output=out/%H%M.nc", "max_wet_ratio=1e9",
    ]  # fmt: skip


def test_a_period_is_filled_around_a_hole_which_is_told_with_its_own_exit_code(
    run: Run, words: list[str]
) -> None:
    Path("radar/0610.nc").rename("0610.nc")
    period = ["from=2020-01-01T06:10", "to=2020-01-01T06:25"]
    outcome = run("predict", *words, *period)
    assert outcome.code == 66 and "3 of 4 forecasts failed; the first error: " in outcome.err
    assert [path.name for path in Path("out").iterdir()] == ["0625.nc"]
    Path("0610.nc").rename("radar/0610.nc")
    assert run("predict", *words, *period).code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "0610.nc",
        "0615.nc",
        "0620.nc",
        "0625.nc",
    ]
    outcome = run("predict", *words, *period)
    assert outcome.code == 0 and outcome.err.count("already there") == 4


def test_a_fallback_gives_way_to_the_model_once_the_late_frame_is_there(
    run: Run, words: list[str]
) -> None:
    chain = ["fallback=[model,persistence,none]", "fallback_exit_code=75"]
    Path("radar/0620.nc").rename("0620.nc")
    outcome = run("predict", *words, *chain)
    assert outcome.code == 75 and open_forecast("out/0625.nc").attrs["method"] == "persistence"
    made = Path("out/0625.nc").stat().st_mtime_ns
    assert (
        run("predict", *words, *chain).code == 75 and Path("out/0625.nc").stat().st_mtime_ns == made
    )
    Path("0620.nc").rename("radar/0620.nc")
    assert run("predict", *words, *chain).code == 0
    assert "method" not in open_forecast("out/0625.nc").attrs


def test_a_gap_between_two_frames_is_no_other_spacing(run: Run, words: list[str]) -> None:
    for path in Path("radar").glob("*.nc"):
        if path.name not in ("0600.nc", "0625.nc"):
            path.unlink()
    assert run("predict", *words, "fallback=[model,persistence]").code == 0
    assert open_forecast("out/0625.nc").attrs["method"] == "persistence"


def test_whose_a_forecast_is_only_its_user_says(run: Run, words: list[str]) -> None:
    """The radar's institution is that of its input."""
    for path in Path("radar").glob("*.nc"):
        with netCDF4.Dataset(path, "a") as file:
            file.setncatts({"institution": "A weather service", "license": "CC BY 4.0"})
    assert run("predict", *words).code == 0
    attrs = open_forecast("out/0625.nc").attrs
    assert not attrs.keys() & {"institution", "license", "contact"}
    assert (attrs["input_institution"], attrs["input_license"]) == (
        "A weather service",
        "CC BY 4.0",
    )
    ours = ["institution=Our office", "licence=CC0", "contact=me@example.org"]
    assert run("predict", *words, *ours).code == 0
    attrs = open_forecast("out/0625.nc").attrs
    assert [attrs[name] for name in ("institution", "license", "contact")] == [
        "Our office", "CC0", "me@example.org",
    ]  # fmt: skip
    assert attrs["input_institution"] == "A weather service"
    assert run("predict", *words, "contact=").code == 78


def test_a_fallback_with_probabilities_writes_them(run: Run, words: list[str]) -> None:
    Path("radar/0615.nc").unlink()  # which the model sees, and two frames do not
    assert run("predict", *words, "fallback=[model,lagrangian_probability,none]").code == 0
    forecast = open_forecast("out/0625.nc")
    assert forecast.attrs["method"] == "lagrangian_probability"
    assert forecast["probability"].notnull().mean() > 0.5


def test_steps_of_another_checkpoint_are_another_forecast(run: Run, words: list[str]) -> None:
    words = [*(word for word in words if "max_wet" not in word), "model=persistence"]
    assert run("predict", *words).code == 0 and "already there" in run("predict", *words).err
    Path("other.pt").write_bytes(Path("best.pt").read_bytes())
    # by what it holds, not by its name
    assert "already there" in run("predict", *words, "checkpoint=other.pt").err


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("radar/%Y/%H%M.nc", 75),
        ("radar/rain*.nc", 75),
        ("empty", 75),
        ("raddar/%Y/%H%M.nc", 66),
        ("raddar/*.nc", 66),
        ("raddar", 66),
    ],
)
def test_a_folder_that_does_not_exist_is_no_late_frame(
    run: Run, words: list[str], path: str, code: int
) -> None:
    Path("empty").mkdir()
    outcome = run("predict", *words, f"data.path={path}", "fallback=[model,none]")
    assert outcome.code == code and path in outcome.err


def test_a_period_needs_a_name_for_each_time(run: Run, words: list[str]) -> None:
    outcome = run(
        "predict", *words, "from=2020-01-01T06:10", "to=2020-01-01T06:25", "output=out/%Y%m%d.nc"
    )
    assert outcome.code == 78 and "gives several of these times the same name" in outcome.err


@pytest.mark.parametrize(
    "clashing",
    [
        ["data.path=radar", "output=radar/%Y%m%dT%H%MZ.nc"],
        ["data.path=radar", "output=radar/forecasts/%H%M.nc", "watch=true"],
        ["data.path=radar/*.nc", "output=radar/f_%H%M.nc"],
        ["data.path=radar/%H%M.nc", "output=radar/%H%M.nc"],
        ['data.path="radar/[0l]*.nc"', "output=radar/f_%H%M.nc", "latest=symlink"],
        [
            "data.path=radar/*.nc",
            "output=radar/%Y%m%d%H%M.nc",
            "from=2020-01-01T06:10",
            "to=2020-01-01T06:25",
        ],
    ],
)
def test_forecasts_among_the_radar_files_are_refused_before_there_is_one(
    run: Run, words: list[str], clashing: list[str]
) -> None:
    def files() -> list[Path]:
        return sorted(path for path in Path().rglob("*") if path.is_file())

    before = files()
    outcome = run("predict", *words, *clashing)
    assert outcome.code == 78
    assert (
        "output: radar/" in outcome.err
        and "would be read as a radar file, because it matches data.path=radar" in outcome.err
    )
    assert files() == before


@pytest.mark.parametrize(
    "beside",
    [
        ["data.path=radar/0*.nc", "output=radar/f_%H%M.nc", "latest=symlink"],
        ["data.path=radar/*.nc", "output=radar/forecasts/%H%M.nc"],
        ["data.path=radar/%H%M.nc", "output=radar/%Y%m%dT%H%MZ.nc"],
    ],
)
def test_forecasts_may_lie_beside_radar_files_of_other_names(
    run: Run, words: list[str], beside: list[str]
) -> None:
    for _ in range(2):
        assert run("predict", *words, *beside).code == 0


def test_what_is_there_is_no_work_even_where_its_frames_are_gone(
    run: Run, words: list[str]
) -> None:
    at = ["at=2020-01-01T06:25"]
    assert run("predict", *words, *at).code == 0
    shutil.rmtree("radar")
    Path("radar").mkdir()
    outcome = run("predict", *words, *at)
    assert outcome.code == 0 and "already there" in outcome.err


def replace_frame(name: str, factor: float) -> None:
    """Another frame of the same time takes the place of one, in one step, as a service that
    corrects it does.
    """
    with xr.open_dataset(f"radar/{name}", engine="netcdf4") as file:
        changed = file.load()
    variable = next(str(one) for one in changed.data_vars if changed[one].ndim == 3)
    changed[variable] = changed[variable] * factor
    changed.to_netcdf("corrected.nc", engine="netcdf4")
    Path("corrected.nc").replace(f"radar/{name}")


@pytest.mark.parametrize("path", ["radar", "radar/%H%M.nc"])
def test_a_forecast_whose_input_changed_afterwards_is_told_and_made_again(
    run: Run, words: list[str], path: str
) -> None:
    words = [*words, f"data.path={path}", *(["at=2020-01-01T06:25"] if path == "radar" else [])]
    assert run("predict", *words).code == 0 and "already there" in run("predict", *words).err
    [made] = Path("out").iterdir()
    before = open_forecast(made)["precipitation_rate"].values
    replace_frame("0625.nc", 1.5)
    outcome = run("predict", *words)
    assert (
        outcome.code == 0
        and "made again, because frames changed since: 2020-01-01T06:25 UTC" in outcome.err
    )
    assert not np.array_equal(
        open_forecast(made)["precipitation_rate"].values, before, equal_nan=True
    )
    assert "already there" in run("predict", *words).err
    os.utime("radar/0620.nc")  # touched, and the same
    assert "already there" in run("predict", *words).err


def test_a_frame_that_came_late_takes_the_place_of_the_one_made_for_it(
    run: Run, words: list[str]
) -> None:
    words = [*words, "max_gap=15", "gap_filling=interpolation"]
    Path("radar/0620.nc").rename("0620.nc")
    assert (
        run("predict", *words).code == 0
        and "filled_input_times" in open_forecast("out/0625.nc").attrs
    )
    assert "already there" in run("predict", *words).err
    shutil.copyfile("0620.nc", "radar/0620.nc")
    assert "frames changed since: 2020-01-01T06:20 UTC" in run("predict", *words).err
    assert open_forecast("out/0625.nc").attrs["filled_input_times"] == "[]"
    assert "already there" in run("predict", *words).err


def test_a_folder_whose_history_has_another_spacing_gives_lead_times_of_the_newest(
    run: Run, words: list[str]
) -> None:
    with xr.open_dataset("radar/0600.nc", engine="netcdf4") as file:
        frame = file.load()
    for minute in range(40, 60):
        frame.assign_coords(time=[np.datetime64(f"2020-01-01T05:{minute}", "ns")]).to_netcdf(
            f"radar/05{minute}.nc", engine="netcdf4"
        )
    for path in ("radar", "radar/*.nc", "radar/%H%M.nc"):
        given = [
            *words,
            "checkpoint=null",
            "model=persistence",
            "input_steps=2",
            "lead_steps=3",
            f"data.path={path}",
        ]
        outcome = run("predict", *given, f"output=out{len(path)}/%H%M.nc")
        assert outcome.code == 0, outcome.err
        assert open_forecast(f"out{len(path)}/0625.nc")["lead_time"].values.tolist() == [5, 10, 15]


@pytest.fixture
def placed(words: list[str]) -> list[str]:
    """The words of a baseline, whose forecasts are also GeoTIFFs."""
    steps = ["baseline=persistence", "input_steps=1", "lead_steps=2", "format=geotiff"]
    return [*(one for one in words if not one.startswith("checkpoint")), *steps]


def test_a_geotiff_comes_and_goes_with_its_forecast(run: Run, placed: list[str]) -> None:
    def names() -> list[str]:
        return sorted(path.name for path in Path("out").iterdir())

    assert run("predict", *placed[:-1], "at=2020-01-01T06:20").code == 0
    assert names() == ["0620.nc"]
    outcome = run("predict", *placed, "at=2020-01-01T06:20")
    assert "already there" in outcome.err and names() == ["0620.nc", "0620.tif"]
    assert run("predict", *placed, "keep_files=1").code == 0
    assert names() == ["0625.nc", "0625.tif"]


def test_a_geotiff_among_the_radar_files_is_refused(run: Run, placed: list[str]) -> None:
    for path in Path("radar").iterdir():
        path.rename(path.with_suffix(".t.nc"))
    among = [*placed, "data.path=radar/*.t*", "output=radar/%H%M.nc", "at=2020-01-01T06:20"]
    outcome = run("predict", *among)
    assert outcome.code == 78 and "radar/0620.tif would be read as a radar file" in outcome.err
    assert run("predict", *among, "format=netcdf").code == 0


def test_a_forecast_that_has_no_place_for_a_geotiff_is_not_written(
    run: Run, placed: list[str]
) -> None:
    for path in Path("radar").glob("*.nc"):
        with xr.open_dataset(path, engine="netcdf4") as frame:
            bare = frame.load().drop_vars(["x", "y", "crs"])
        bare.precipitation_rate.attrs.pop("grid_mapping", None)
        bare.to_netcdf(path, engine="netcdf4")
    outcome = run("predict", *placed)
    assert outcome.code == 65 and "0625.tif: a GeoTIFF needs" in outcome.err
    assert not list(Path("out").glob("*"))


@pytest.mark.parametrize(
    "fails", ["nowcast.service.publication.write_forecast", "pathlib.Path.write_bytes"]
)
def test_on_a_full_disk_neither_a_geotiff_nor_its_forecast_is_left(
    fails: str, run: Run, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fails, full)
    assert run("predict", *placed).code == 74
    assert not [path for path in Path("out").glob("*") if not path.name.startswith(".lock")]
