"""The model that comes with nowcast: it forecasts, is scored and is trained further, on grids and
time steps that nobody trained it on.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import SPLITS, Outcome

from nowcast import load_forecaster
from nowcast.api.plotting import method_of
from nowcast.pretrained import PRETRAINED, data_of, path_of
from nowcast.radar import synthetic_grid, write_synthetic
from nowcast.training.checkpoints import forecast_weights, read_checkpoint

Run = Callable[..., Outcome]
HERE = ("device=cpu", "precision=fp32")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def forecast_of(
    run: Run, tmp_path: Path, minutes: float, *words: str, steps: int = 25
) -> xr.Dataset:
    """Forecast by the model from a synthetic radar of this time step."""
    write_synthetic(
        tmp_path / "rain.nc", steps, 40, 48, seed=3, start="2020-01-01", timestep_minutes=minutes
    )
    ran = run("predict", "data.path=rain.nc", "output=f.nc", *HERE, *words)
    assert ran.code == 0, ran.err
    with xr.open_dataset(tmp_path / "f.nc", decode_timedelta=False) as opened:
        return opened.load()


@pytest.mark.parametrize(
    ("minutes", "steps", "longest"), [(2.0, 30, 60), (5.0, 12, 60), (10.0, 6, 60), (15.0, 4, 60)]
)
def test_it_forecasts_an_hour_of_any_time_step_without_a_checkpoint(
    run: Run, tmp_path: Path, minutes: float, steps: int, longest: float
) -> None:
    made = forecast_of(run, tmp_path, minutes)
    assert made.sizes["time"] == steps and made["lead_time"].values[-1] == longest
    assert made.attrs["checkpoint"] == PRETRAINED
    assert made.attrs["model_data"] == data_of(PRETRAINED)
    assert "FMI open data, CC BY 4.0" in made.attrs["model_data"]
    assert method_of(made) == PRETRAINED
    assert "remarks" not in made.attrs
    assert np.isfinite(made["precipitation_rate"]).any()
    falls = np.diff(made["probability"].values, axis=1)
    assert (np.nan_to_num(falls) <= 1e-6).all()


def test_as_many_lead_steps_as_asked_for_up_to_2_hours(run: Run, tmp_path: Path) -> None:
    assert forecast_of(run, tmp_path, 10.0, "lead_steps=12").sizes["time"] == 12
    ran = run("predict", "data.path=rain.nc", "output=g.nc", "lead_steps=13", *HERE)
    assert ran.code == 78 and "give 12 or fewer" in ran.err


def test_what_it_was_not_made_for_is_said_in_the_file_and_the_log(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "fine.nc", 25, 40, 48, seed=3, start="2020-01-01")
    with xr.open_dataset(tmp_path / "fine.nc") as opened:
        opened.assign_coords(x=opened["x"] * 8, y=opened["y"] * 8).to_netcdf(tmp_path / "rain.nc")
    ran = run("predict", "data.path=rain.nc", "output=f.nc", *HERE)
    words = "pixels of 8 km, but the model was made for 0.5 to 5 km"
    assert ran.code == 0 and words in ran.err
    with xr.open_dataset(tmp_path / "f.nc") as made:
        assert words in made.attrs["remarks"]


def test_an_unknown_pixel_size_is_logged_once(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "fine.nc", 25, 40, 48, seed=3, start="2020-01-01")
    with xr.open_dataset(tmp_path / "fine.nc") as opened:
        rain = opened.load().drop_vars(["x", "y", "crs"])
    for variable in rain.variables.values():
        variable.attrs.pop("grid_mapping", None)
        variable.encoding.pop("grid_mapping", None)
    rain.to_netcdf(tmp_path / "rain.nc")
    scored = ["checkpoint=pretrained", "data=radar", "period=[2020-01-01,2020-01-01]"]
    scored += ["stride=20", "resamples=0", "fss_scales=[]", "baseline=persistence", "lead_steps=2"]
    for command, words in (("predict", ["output=f.nc"]), ("evaluate", scored)):
        ran = run(command, "data.path=rain.nc", *words, *HERE)
        assert ran.code == 0 and ran.err.count("give the pixel size") == 1, ran.err


def test_either_order_of_rows_has_the_same_forecast_within_its_symmetry(
    run: Run, tmp_path: Path
) -> None:
    """Turned upside down in the file, the rain stays where it is on the map."""
    straight = forecast_of(run, tmp_path, 5.0)
    with xr.open_dataset(tmp_path / "rain.nc") as opened:
        opened.isel(y=slice(None, None, -1)).to_netcdf(tmp_path / "turned.nc")
    ran = run("predict", "data.path=turned.nc", "output=t.nc", *HERE)
    assert ran.code == 0, ran.err
    with xr.open_dataset(tmp_path / "t.nc") as opened:
        turned = opened.load()
    assert turned["y"].values[0] == straight["y"].values[-1]
    near = straight["probability"].isel(time=0, threshold=0)
    far = turned["probability"].isel(time=0, threshold=0).isel(y=slice(None, None, -1))
    both = np.isfinite(near.values) & np.isfinite(far.values)
    assert np.corrcoef(near.values[both], far.values[both])[0, 1] > 0.95


def test_a_chain_of_methods_goes_on_by_a_baseline(run: Run, tmp_path: Path) -> None:
    made = forecast_of(
        run, tmp_path, 5.0, "fallback=[model,persistence]", "at=2020-01-01T00:10", steps=3
    )
    assert made.sizes["time"] == 12 and ": persistence: " in made.attrs["source"]


@pytest.mark.parametrize(
    ("minutes", "words", "reason"),
    [
        ([0], [], "holds a single frame"),
        ([0], ["lead_steps=30"], "holds a single frame"),
        ([0, 180], [], "a frame every 180 minutes"),
        ([0, 20], ["lead_steps=12"], "12 of 20 minutes"),
        ([0, 20], ["accumulations=[30]"], "accumulations: 30 minutes"),
        ([0, 90, 120], ["lead_steps=12"], "12 of 30 minutes"),
    ],
)
def test_a_chain_goes_on_where_frames_are_too_few_to_tell_their_spacing(
    run: Run, tmp_path: Path, minutes: list[int], words: list[str], reason: str
) -> None:
    pytest.importorskip("cv2")
    write_synthetic(tmp_path / "all.nc", 37, 16, 16, seed=3, start="2020-01-01")
    with xr.open_dataset(tmp_path / "all.nc") as opened:
        opened.isel(time=[minute // 5 for minute in minutes]).to_netcdf(tmp_path / "rain.nc")
    chain = "fallback=[model,lagrangian_probability,persistence]"
    ran = run("predict", "data.path=rain.nc", "output=f.nc", chain, *words, *HERE)
    assert ran.code == 0, ran.err
    with xr.open_dataset(tmp_path / "f.nc", decode_timedelta=False) as made:
        assert made.attrs["method"] == "persistence" and reason in made.attrs["method_reason"]
        last = 120 if "lead_steps=30" in words else 60
        assert made["lead_time"].values.tolist() == list(range(5, last + 5, 5))
    assert run("predict", "data.path=rain.nc", "output=g.nc", *words, *HERE).code in (65, 78)


def test_a_chain_is_no_way_around_too_many_lead_steps(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "rain.nc", 4, 16, 16, start="2020-01-01", timestep_minutes=30.0)
    chain = "fallback=[model,persistence]"
    ran = run("predict", "data.path=rain.nc", "output=f.nc", chain, "lead_steps=12", *HERE)
    assert ran.code == 78 and "12 of 30 minutes" in ran.err


def test_lead_steps_are_for_a_model_for_any_grid(
    run: Run, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    ran = run(
        "predict", "checkpoint=runs/mine/best.pt", "data.path=archive/*.nc", "lead_steps=7",
        "output=g.nc", *HERE
    )  # fmt: skip
    assert ran.code == 78 and "choose a model for any grid" in ran.err


def test_it_is_scored_by_its_name(run: Run, tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "rain.nc", 25, 40, 48, seed=3, start="2020-01-01", timestep_minutes=15.0
    )
    ran = run(
        "evaluate", "checkpoint=pretrained", "data=radar", "data.path=rain.nc",
        "period=[2020-01-01,2020-01-01]", "baseline=extrapolation", "resamples=0", "stride=8",
        "fss_scales=[]", *HERE
    )  # fmt: skip
    assert ran.code == 0, ran.err
    with xr.open_dataset(tmp_path / "scores/scores.nc", decode_timedelta=False) as scores:
        assert scores["lead_time"].values.tolist() == [15, 30, 45, 60]
    with xr.open_dataset(tmp_path / "scores/counts.nc") as counts:
        assert json.loads(counts.attrs["settings"])["checkpoint"] == PRETRAINED


def test_a_training_starts_from_it(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "rain.nc", 96, 40, 48, seed=3, start="2020-01-01")
    words = (
        "train", "start=pretrained", "data=radar", "data.path=rain.nc", *SPLITS[:2],
        "sampling.windows_per_epoch=4", "sampling.crop=16", "training.epochs=1",
        "training.batch_size=4", "validation.stride=24", "thresholds=[0.5,2]", "lead_steps=2",
        "optimizer.lr=1e-9", "output=runs/further", *HERE,
    )  # fmt: skip
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert "starting from pretrained, with its model, inputs and scaling" in ran.err
    before = forecast_weights(read_checkpoint(path_of(PRETRAINED)))
    after = read_checkpoint(tmp_path / "runs/further/best.pt")
    assert after["config"]["model"]["grids"] == "any" and after["config"]["inputs"]["mask"]
    assert after["config"]["start"] == PRETRAINED  # wherever nowcast is installed
    for name, weight in forecast_weights(after).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-5)
    assert "before training: validation loss" in ran.err
    again = run(*words)
    assert again.code == 0 and "nothing to train" in again.err
    assert "before training: validation" not in again.err
    assert "pretrained had " in again.err
    rows = [json.loads(one) for one in Path("runs/further/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    summary = json.loads(Path("runs/further/summary.json").read_text())
    assert summary["score_before_training"] == rows[0]["validation_csi"]
    assert summary["epochs"] == 1 and not summary["ended_early"]


def test_a_training_that_makes_it_worse_keeps_it(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "rain.nc", 96, 40, 48, seed=3, start="2020-01-01")
    ran = run(
        "train", "start=pretrained", "data=radar", "data.path=rain.nc", *SPLITS[:2],
        "sampling.windows_per_epoch=8", "sampling.crop=16", "training.epochs=1",
        "training.batch_size=1", "validation.stride=24", "thresholds=[0.5,2]", "lead_steps=2",
        "training.ema_decay=0", "optimizer.lr=0.5", "schedule=constant", "output=runs/worse", *HERE,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "no epoch was better, so best.pt holds its weights" in ran.err
    before = forecast_weights(read_checkpoint(path_of(PRETRAINED)))
    kept = forecast_weights(read_checkpoint("runs/worse/best.pt"))
    assert all(torch.equal(kept[name], one) for name, one in before.items())
    summary = json.loads(Path("runs/worse/summary.json").read_text())
    assert summary["best_epoch"] == 0
    assert summary["score"] == summary["score_before_training"]
    shown = run("inspect", "runs/worse/best.pt", "runs/worse/last.pt").out
    assert "0: validation CSI" in shown and ", best before training" in shown


def test_a_training_that_starts_from_it_has_its_model(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "rain.nc", 96, 40, 48, seed=3, start="2020-01-01")
    ran = run(
        "train", "start=pretrained", "model=small", "data=radar", "data.path=rain.nc", *SPLITS[:2],
        *HERE
    )  # fmt: skip
    assert ran.code == 78 and "model: a training with start= uses the model of" in ran.err
    ran = run(
        "train", "start=pretrained", "loss=mse", "data=radar", "data.path=rain.nc", *SPLITS[:2],
        *HERE
    )  # fmt: skip
    assert ran.code == 78 and "loss: mse does not fit model.head=probability" in ran.err


@pytest.mark.parametrize(
    "word",
    ["model=encoder_forecaster", "inputs.mask=false", "scaling.kind=log", "model.patch_size=2"],
)
def test_what_the_checkpoint_decides_is_refused_even_as_a_value_that_is_usual(
    run: Run, word: str
) -> None:
    """Taken from the checkpoint without a word, it would be another model than was asked for."""
    ran = run("train", "start=pretrained", word, "--check", *HERE)
    assert ran.code == 78 and f"leave out {word.split('=')[0]}, or start." in ran.err, ran.err


def test_a_training_that_starts_from_nothing_names_the_key(run: Run, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "rain.nc", 96, 40, 48, seed=3, start="2020-01-01")
    ran = run("train", "start=none.pt", "data=radar", "data.path=rain.nc", *SPLITS[:2], *HERE)
    assert ran.code == 66 and "start: none.pt: no such checkpoint" in ran.err


def test_it_is_listed_and_its_card_is_shown(run: Run) -> None:
    listed = run("models")
    assert listed.code == 0 and listed.out.startswith("pretrained: any radar in mm/h")
    card = run("models", PRETRAINED)
    assert card.code == 0 and "## Limits" in card.out and "## Licence" in card.out
    told = json.loads(run("models", "--json").out)[PRETRAINED]
    assert told["pixel_km"] == [0.5, 5.0] and Path(told["path"]).is_file()
    assert run("models", "moon").code == 66
    inspected = run("inspect", PRETRAINED)
    assert inspected.code == 0 and "grids any" in " ".join(inspected.out.split())


def test_it_is_not_exported(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    ran = run("export", "checkpoint=pretrained", "grid_size=[16,16]", "output=a.onnx")
    assert ran.code == 78 and "the model of pretrained is for any grid and cannot" in ran.err


def test_python_forecasts_by_it_without_a_path() -> None:
    model = load_forecaster(device="cpu", precision="fp32", lead_steps=3)
    assert model.lead_steps == 3
    grid = synthetic_grid(9, 32, 40, timestep_minutes=2.0)
    assert model.forecast(grid)["lead_time"].values.tolist() == [2, 4, 6]


def test_scores_over_days_that_it_has_seen_say_so_in_every_output(run: Run, tmp_path: Path) -> None:
    """Of the model and of forecast files that it made, but not of another day."""
    for day in ("2018-05-14", "2018-05-21"):
        write_synthetic(tmp_path / f"{day}.nc", 25, 40, 48, seed=3, start=day)
    scored = ["data=radar", "resamples=0", "fss_scales=[]"]
    words = "overlaps days that this model was trained or validated on (radolan: 10–15 May 2018"
    at = ["at=2018-05-14T00:30", "lead_steps=2", "output=f.nc"]
    assert run("predict", "data.path=2018-05-14.nc", *at, *HERE).code == 0
    model = ["checkpoint=pretrained", "lead_steps=2", "stride=20", *HERE]
    seen, unseen = [
        ["data.path=2018-05-14.nc", "period=[2018-05-14,2018-05-14]"],
        ["data.path=2018-05-21.nc", "period=[2018-05-21,2018-05-21]"],
    ]
    files = ["data.path=2018-05-14.nc", "forecasts=f.nc"]
    for given, known in ((model + seen, True), (model + unseen, False), (files, True)):
        ran = run("evaluate", *given, *scored, "output=scored")
        assert ran.code == 0, ran.err
        with xr.open_dataset("scored/scores.nc") as scores:
            remarks = scores.attrs.get("remarks", "")
        report = Path("scored/report.html").read_text(encoding="utf-8")
        for text in (ran.err, " ".join(ran.out.split()), remarks, report):
            assert (words in text) == known, text[:2000]
