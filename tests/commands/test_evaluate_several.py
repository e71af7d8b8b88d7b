"""`nowcast evaluate` of several models and folders in one table."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.radar import open_grid, write_synthetic
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

Run = Callable[..., Outcome]
FORECAST_FROM = ["05:15", "05:45", "06:15", "07:15"]

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def theirs(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Persistence of two lead times by another program, in kg m-2 s-1, rows from the other end; one
    of its forecasts reaches beyond the observed frames.
    """
    folder, grid = tmp_path_factory.mktemp("theirs"), open_grid(radar_file)
    for time in [*FORECAST_FROM, "07:55"]:
        newest = np.datetime64(f"2020-01-01T{time}", "ns")
        rates = grid["precipitation_rate"].sel(time=newest).values[::-1] / 3600
        file = xr.Dataset(
            {"rain": (("lead", "y", "x"), np.stack([rates] * 2), {"units": "kg m-2 s-1"})},
            {
                "lead": ("lead", [5.0, 10.0], {"units": "min", "standard_name": "forecast_period"}),
                "forecast_reference_time": newest,
                "y": ("y", grid["y"].values[::-1], grid["y"].attrs),
                "x": ("x", grid["x"].values, grid["x"].attrs),
            },
        )
        file.to_netcdf(folder / f"{time.replace(':', '')}.nc", engine="netcdf4")
    return folder


@pytest.fixture(scope="module")
def shorter(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, that sees 2 frames and forecasts 2."""
    path = tmp_path_factory.mktemp("shorter") / "best.pt"
    checkpoint = read_checkpoint(trained / "best.pt")
    steps = {"input_steps": 2, "lead_steps": 2}
    write_checkpoint(path, {**checkpoint, "config": checkpoint["config"] | steps})
    return path


@pytest.fixture
def words(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    data = ["data=radar", f"data.path={radar_file}", f"data.cache={tmp_path}/cache"]
    return ["evaluate", *data, "thresholds=[0.5,2]", "fss_scales=[]", "resamples=20"]


def opened(path: str) -> xr.Dataset:
    with xr.open_dataset(path, engine="netcdf4") as file:
        return file.load()


def test_models_and_files_are_scored_on_what_all_have(
    run: Run, words: list[str], trained: Path, shorter: Path, theirs: Path
) -> None:
    words = [*words, "device=cpu", "precision=fp32"]
    models = f"checkpoint={{ours: {trained}/best.pt, short: {shorter}}}"
    outcome = run(
        *words, models, f"forecasts={{theirs: {theirs}}}", "baseline=persistence", "output=all"
    )
    assert outcome.code == 0, outcome.err
    counts = opened("all/counts.nc")
    assert counts["forecast"].values.tolist() == ["ours", "short", "theirs", "persistence"]
    assert counts["lead_time"].values.tolist() == [5.0, 10.0]
    assert counts["cases"].sum() == len(FORECAST_FROM)
    same = counts.sel(forecast="theirs").drop_vars("forecast")
    xr.testing.assert_allclose(same, counts.sel(forecast="persistence").drop_vars("forecast"))
    remarks, page = opened("all/scores.nc").attrs["remarks"], Path("all/report.html").read_text()
    for remark in (
        "theirs: 1 of 5 forecasts were not scored, because they extend beyond the observed frames",
        "only the lead times that all forecasts have were scored, 5 to 10 min (2); available: ours 5 to"
        " 20 min (4), short 5 to 10 min (2), theirs 5 to 10 min (2)",
        "theirs: rates were made from rain [kg m-2 s-1]",
    ):
        assert remark in remarks and remark in page
    assert set(json.loads(counts.attrs["checkpoint_sha256"])) == {"ours", "short"}
    assert json.loads(counts.attrs["settings"])["checkpoint"]["short"] == str(shorter)

    # as it is scored alone
    alone = [f"checkpoint={trained}/best.pt", "baseline=null", "stride=2"]
    assert run(*words, *alone, "period=['2020-01-01T05:15','2020-01-01T05:45']").code == 0
    both = [f"checkpoint=[{trained}/best.pt,{shorter}]", *alone[1:], "output=both"]
    assert run(*words, *both, "period=['2020-01-01T05:15','2020-01-01T05:45']").code == 0
    joint = opened("scores/counts.nc")["joint"].sel(forecast="model", lead_time=[5.0, 10.0])
    found = opened("both/counts.nc")["joint"].isel(forecast=0)
    np.testing.assert_array_equal(found, joint)


def test_lead_steps_of_a_model_for_any_grid_are_scored_next_to_another_model(
    run: Run, words: list[str], trained: Path, shorter: Path
) -> None:
    here = ["device=cpu", "precision=fp32", "baseline=persistence", "stride=6"]
    words = [*words, *here, "period=['2020-01-01T05:15','2020-01-01T05:45']"]
    both = f"checkpoint={{ours: {trained}/best.pt, any: pretrained}}"
    outcome = run(*words, both, "lead_steps=3")
    assert outcome.code == 0, outcome.err
    counts = opened("scores/counts.nc")
    assert counts["forecast"].values.tolist() == ["ours", "any", "persistence"]
    assert counts["lead_time"].values.tolist() == [5.0, 10.0, 15.0]
    for refused, steps, has in (
        (both, 5, 4),
        (f"checkpoint=[{trained}/best.pt,{shorter}]", 2, 4),
    ):
        outcome = run(*words, refused, f"lead_steps={steps}")
        assert outcome.code == 78 and f"forecasts {has} frames; leave it out" in outcome.err


def test_every_difference_stands_in_the_table_and_the_report(
    run: Run, words: list[str], theirs: Path, tmp_path: Path
) -> None:
    (tmp_path / "latest").mkdir()
    for time in FORECAST_FROM[:3]:
        (tmp_path / "latest" / f"{time[:2]}{time[3:]}.nc").symlink_to(
            theirs / f"{time[:2]}{time[3:]}.nc"
        )
    outcome = run(
        *words, f"forecasts=[{theirs},latest]", "baseline=[persistence,zero]", "output=scores"
    )
    assert outcome.code == 0, outcome.err
    names = [theirs.name, "latest", "persistence", "zero"]
    scores = opened("scores/scores.nc")
    assert scores["forecast"].values.tolist() == names
    assert f"latest has no forecast from 1 of {len(FORECAST_FROM)} reference times" in outcome.err
    assert "the 3 cases that all forecasts have were scored" in scores.attrs["remarks"]
    table = pd.read_csv("scores/differences.csv")
    csi = table[(table["score"] == "csi") & (table["threshold"] == 2)]
    pairs = list(zip(csi["forecast"], csi["other_forecast"], strict=True))
    assert pairs == [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    for row in csi.itertuples():
        where = {"threshold": 2, "forecast": row.forecast, "other_forecast": row.other_forecast}
        for column, end in {"difference": "", "low": "_low", "high": "_high", "p": "_p"}.items():
            wanted = scores[f"csi_mean_difference{end}"].sel(where).item()
            np.testing.assert_allclose(getattr(row, column), wanted)
    # of a single forecast there is none, and no stale one is left
    assert run(*words, f"forecasts={theirs}", "baseline=null", "output=scores").code == 0
    assert not Path("scores/differences.csv").exists()
    assert opened("scores/scores.nc")["forecast"].values.tolist() == ["forecast"]


def test_what_cannot_be_compared_is_refused(
    run: Run, words: list[str], trained: Path, theirs: Path, tmp_path: Path
) -> None:
    model, other = f"checkpoint={trained}/best.pt", tmp_path / "later"
    other.mkdir()
    (other / "0715.nc").symlink_to(theirs / "0715.nc")
    for more, code, message in (
        ([model, f"forecasts={theirs}", "stride=2"], 78, "stride: has no effect, because the fore"),
        ([f"checkpoint={{zero: {trained}/best.pt}}", "baseline=zero"], 78, "two are called zero"),
        ([f"forecasts=[{theirs},{theirs}]"], 78, "has a path twice; give each path once"),
        (["forecasts={a: ''}"], 78, "forecasts: is empty; give a path"),
        (["checkpoint=[true]"], 78, "checkpoint: give a path, several as [a, b]"),
        (
            [f"forecasts={{early: '{theirs}/05*.nc', late: '{other}'}}", "baseline=null"],
            65,
            "no reference time is in all forecasts: early has 2, 2020-01-01T05:15 to"
            " 2020-01-01T05:45 UTC; late has 1",
        ),
        (
            [f"checkpoint=[{trained}/best.pt,{trained}/last.pt]", "+input_paths.height=a.nc"],
            78,
            "input_paths: the model has no field height",
        ),
    ):
        outcome = run(*words, *more)
        assert outcome.code == code and message in outcome.err, outcome.err


def test_a_single_frame_has_no_spacing_and_is_refused(
    run: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_synthetic(tmp_path / "one.nc", 1, 16, 16, start="2024-06-02T12:00")
    outcome = run(
        "evaluate", "data=radar", f"data.path={tmp_path / 'one.nc'}", "baseline=extrapolation",
        "input_steps=2", "lead_steps=2", "period=[2024-06-02,2024-06-02]",
        f"output={tmp_path / 'scores'}",
    )  # fmt: skip
    assert (outcome.code, outcome.err.count("\n")) == (65, 1)
    assert "one.nc: holds a single frame" in outcome.err
    assert not (tmp_path / "scores").exists()
