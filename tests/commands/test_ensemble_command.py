"""`ensemble=…`: members drawn from probabilities, from the command to the file and the scores."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

import nowcast
from nowcast.forecast.dataset import open_forecast

Run = Callable[..., Outcome]
STEPS = ("input_steps=4", "lead_steps=3")
HOUR = "period=['2020-01-01T05:00','2020-01-01T06:00']"
NAMES = ["lagrangian_probability", "lagrangian_probability (members)"]


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    return ["data=radar", f"data.path={radar_file}", "data.cache=cache"]


def scores(folder: str) -> xr.Dataset:
    with xr.open_dataset(f"{folder}/scores.nc", engine="netcdf4") as file:
        return file.load().sel(part="all")


def test_predict_writes_members_next_to_the_rate(run: Run, data: list[str]) -> None:
    words = ["predict", "model=lagrangian_probability", *STEPS, *data]
    assert run(*words, "output=plain.nc").code == 0
    for name, seed in (("a", 0), ("again", 0), ("other", 1)):
        done = run(*words, "ensemble=4", f"seed={seed}", f"output={name}.nc")
        assert (done.code, done.out) == (0, "")
    plain, a, again, other = (
        open_forecast(f"{name}.nc") for name in ("plain", "a", "again", "other")
    )
    members = a["member_rate"]
    assert dict(members.sizes) == {"time": 3, "realization": 4, "y": 34, "x": 41}
    xr.testing.assert_identical(plain, a.drop_vars(["member_rate", "realization"]).assign_attrs(
        config=plain.attrs["config"], history=plain.attrs["history"],
    ))  # fmt: skip
    missing = a["precipitation_rate"].isnull()
    assert bool((members.isnull() == missing).all())
    np.testing.assert_array_equal(again["member_rate"], members)
    assert (other["member_rate"] != members).any()
    assert json.loads(a.attrs["config"])["ensemble"] == 4
    assert "ensemble" not in json.loads(plain.attrs["config"])


def test_members_need_probabilities(run: Run, data: list[str]) -> None:
    without = "members are drawn from probabilities"
    done = run("predict", "model=persistence", *STEPS, *data, "ensemble=4", "output=a.nc")
    assert done.code == 78 and without in done.err and not Path("a.nc").exists()
    evaluate = ["evaluate", *data, *STEPS, HOUR, "ensemble=4"]
    done = run(*evaluate, "baseline=persistence", "output=scores")
    assert done.code == 78 and without in done.err and not Path("scores").exists()
    for count in (1, 101):
        done = run("predict", "model=lagrangian_probability", *STEPS, *data, f"ensemble={count}")
        assert done.code == 78 and f"ensemble: must be from 2 to 100, not {count}." in done.err


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.usefixtures("without_pictures")
def test_of_several_models_those_with_probabilities_have_members(
    run: Run, data: list[str], trained: Path
) -> None:
    models = f"checkpoint={{any: pretrained, rates: {trained}/best.pt}}"
    words = ["evaluate", models, "baseline=null", *data, HOUR, "resamples=0", "fss_scales=[]"]
    done = run(*words, "ensemble=2", "device=cpu", "precision=fp32", "output=scores")
    assert done.code == 0, done.err
    assert scores("scores")["forecast"].values.tolist() == ["any", "rates", "any (members)"]


def test_members_are_scored_as_an_ensemble_from_the_past_and_from_files(
    run: Run, data: list[str]
) -> None:
    shown = ["thresholds=[0.5,2]", "resamples=0", "fss_scales=[]"]
    evaluate = ["evaluate", *data, *shown, "stride=6"]
    words = ["baseline=lagrangian_probability", *STEPS, HOUR]
    assert run(*evaluate, *words, "ensemble=5", "output=made").code == 0
    made = scores("made")
    assert made["forecast"].values.tolist() == NAMES
    ladder, members = (made.sel(forecast=name) for name in NAMES)
    assert np.isfinite(members["crps_pooled"]) and np.isfinite(members["spread_error_pooled"])
    assert np.isnan(ladder["spread_error_pooled"]) and np.isnan(ladder["member_power"]).all()
    assert (members["member_power"] > members["forecast_power"])[:, 3:].all()
    with xr.open_dataset("made/counts.nc", engine="netcdf4") as counts:
        assert counts["members"].values.tolist() == [100, 5]
        assert counts["rank"].sel(forecast=NAMES[1]).sum() == members["pixels"].sum()
    assert (
        "Rank histogram of lagrangian_probability (members)" in Path("made/report.html").read_text()
    )
    span = ["from=2020-01-01T05:00", "to=2020-01-01T06:00"]
    predict = ["predict", "model=lagrangian_probability", *STEPS, *data, "ensemble=5"]
    assert run(*predict, *span, "output=all/%Y%m%dT%H%MZ.nc").code == 0
    Path("files").mkdir()
    for minute in ("0500", "0530", "0600"):
        Path("files", f"{minute}.nc").symlink_to(Path(f"all/20200101T{minute}Z.nc").absolute())
    files = ["forecasts=files", "baseline=null"]
    assert run("evaluate", *data, *shown, *files, "output=read").code == 0
    read = scores("read")
    assert read["forecast"].values.tolist() == NAMES
    for name in ("crps", "spread_error", "rank_frequency"):
        ours, theirs = (one[name].sel(forecast=NAMES[1]) for one in (made, read))
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, err_msg=name)
    opened = [nowcast.open_forecast(one) for one in sorted(Path("files").iterdir())]
    grid = nowcast.open_grid(data[1].removeprefix("data.path="))
    again = nowcast.score(opened, grid, thresholds=[0.5, 2], resamples=0, fss_scales=[])
    np.testing.assert_allclose(again["crps"].sel(part="all"), read["crps"], rtol=1e-6)


@pytest.mark.usefixtures("without_pictures")
def test_files_without_as_many_members_are_scored_without_them(run: Run, data: list[str]) -> None:
    predict = ["predict", "model=lagrangian_probability", *STEPS, *data]
    for at, count in (("05:00", "ensemble=3"), ("05:30", "ensemble=null")):
        words = [f"at=2020-01-01T{at}", count, f"output=files/{at[:2]}{at[3:]}.nc"]
        assert run(*predict, *words).code == 0
    words = ["thresholds=[0.5]", "resamples=0", "fss_scales=[]", "baseline=null"]
    done = run("evaluate", *data, *words, "forecasts=files")
    assert done.code == 0 and "members were not scored: 1 of 2 forecasts have some" in done.err
    assert scores("scores")["forecast"].values.tolist() == NAMES[:1]
