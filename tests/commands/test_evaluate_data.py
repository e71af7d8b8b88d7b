"""`nowcast evaluate` without data: a trained model is scored on the data of its training."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from helpers import Outcome

from nowcast.config.data import DataConfig, MovingMnistConfig, RadarConfig
from nowcast.config.effects import group_values
from nowcast.config.stored_data import stored_data
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.trained_data import data_of_checkpoint
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

Run = Callable[..., Outcome]
QUICK = ("device=cpu", "precision=fp32", "thresholds=[0.5,2]", "stride=6", "fss_scales=[]")
REMEDY = "give data=radar data.path=…, or data=radolan"

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def stored(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a copy of the trained checkpoint whose data differ in these keys."""
    monkeypatch.chdir(tmp_path)

    def written(file: str = "best.pt", **changes: Any) -> str:
        checkpoint = read_checkpoint(trained / "best.pt")
        checkpoint["config"]["data"].update(changes)
        del checkpoint["schema"]
        write_checkpoint(file, checkpoint)
        return file

    return written


def test_without_data_a_model_is_scored_on_the_data_of_its_training(
    run: Run, stored: Callable[..., str], radar_file: Path
) -> None:
    best = stored()
    outcome = run("evaluate", f"checkpoint={best}", *QUICK, "output=a")
    assert outcome.code == 0, outcome.err
    assert f"data: {radar_file}, as in the training of {best}" in outcome.err
    with xr.open_dataset("a/counts.nc") as counts:
        data = json.loads(counts.attrs["settings"])["data"]
    assert (data["path"], data["cache"]) == (str(radar_file), "data/cache")
    assert data["test"] == ["2020-01-01T06:00", "2020-01-01T07:55"]


def test_data_on_the_command_line_win(run: Run, stored: Callable[..., str]) -> None:
    best = stored(path="/nowhere/rain.nc")
    named = ("data=radar", "data.path=other.nc", "period=[2020-01-01,2020-01-01]")
    outcome = run("evaluate", f"checkpoint={best}", *QUICK, *named)
    assert outcome.code == 66 and "other.nc" in outcome.err
    assert "as in the training" not in outcome.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "the pretrained model"),
        (["checkpoint=pretrained"], "the pretrained model"),
        (["input_steps=3", "lead_steps=3"], "baselines forecast from radar data"),
        (["forecasts=forecasts/*.nc"], "forecast files are scored against"),
    ],
)
def test_without_data_and_a_trained_model_the_data_are_asked_for(
    run: Run, words: list[str], why: str
) -> None:
    outcome = run("evaluate", *words)
    assert outcome.code == 78 and outcome.err.count("\n") == 1
    assert outcome.err.startswith("nowcast: data") and why in outcome.err and REMEDY in outcome.err


def test_a_path_of_data_without_data_is_asked_for_data(run: Run) -> None:
    outcome = run("evaluate", "data.path=archive")
    assert outcome.code == 78
    assert outcome.err == "nowcast: data.path: data is not set; add data=radar.\n"


def test_models_trained_on_different_data_need_data(run: Run, stored: Callable[..., str]) -> None:
    models = f"checkpoint=[{stored('a.pt')},{stored('b.pt', path='other.nc')}]"
    outcome = run("evaluate", models, *QUICK)
    assert outcome.code == 78 and REMEDY in outcome.err
    assert "a.pt and b.pt were trained on different data (data.path: " in outcome.err


def test_a_training_without_test_days_needs_a_period(run: Run, stored: Callable[..., str]) -> None:
    outcome = run("evaluate", f"checkpoint={stored(test=None)}", *QUICK)
    assert outcome.code == 78 and outcome.err.count("\n") == 1
    assert "period: the training of best.pt names no test days; give" in outcome.err
    scored = run(
        "evaluate", "checkpoint=best.pt", *QUICK, "--check",
        "period=['2020-01-01T06:00','2020-01-01T07:55']",
    )  # fmt: skip
    assert (scored.code, scored.out) == (0, "configuration is valid\n"), scored.err


def test_a_model_of_moving_digits_is_scored_on_digits(
    run: Run, stored: Callable[..., str], trained: Path
) -> None:
    checkpoint = read_checkpoint(trained / "best.pt")
    checkpoint["config"]["data"] = group_values("data", "moving_mnist") | {"path": "digits.gz"}
    del checkpoint["schema"]
    write_checkpoint(stored(), checkpoint)
    outcome = run("evaluate", "checkpoint=best.pt")
    assert "data: digits.gz, as in the training of best.pt" in outcome.err
    assert outcome.code == 66 and "digits.gz" in outcome.err.splitlines()[-1]
    refused = run("evaluate", "checkpoint=best.pt", "stride=7")
    assert refused.code == 78 and "stride: has no effect on moving_mnist" in refused.err


def test_an_address_in_a_checkpoint_is_not_followed(stored: Callable[..., str]) -> None:
    for path in ("s3://bucket/rain.zarr", "https://host/rain.nc", "zip://a.nc::rain.zip"):
        with pytest.raises(ConfigError, match=r"is not followed; give data=radar data\.path"):
            data_of_checkpoint(stored(path=path))


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ["a.nc"]},
        {"path": "https://user:password@host/rain.nc"},
        {"max_rate": "much"},
        {"test": "2020"},
        {"missing_value": "${oc.env:HOME}"},
        {"command": "rm"},
        {"name": ["radar"]},
    ],
    ids=str,
)
def test_data_in_a_checkpoint_are_checked(
    stored: Callable[..., str], changes: Mapping[str, Any]
) -> None:
    with pytest.raises(DataError, match=r"^best\.pt: what it was trained on .*; give") as raised:
        data_of_checkpoint(stored(**changes))
    assert "password@" not in str(raised.value)


def test_the_cache_of_a_checkpoint_is_not_taken() -> None:
    stored = group_values("data", "radolan") | {"cache": "/home/someone", "cache_gb": 0.001}
    usual = group_values("data", "radar")
    data = stored_data(stored)
    assert isinstance(data, RadarConfig)
    assert (data.cache, data.cache_gb) == (usual["cache"], usual["cache_gb"])


def test_keys_that_an_older_checkpoint_lacks_have_their_usual_values() -> None:
    data: DataConfig = stored_data({"name": "radar", "path": "a.nc"})
    assert isinstance(data, RadarConfig) and (data.max_rate, data.dry_value) == (1000, None)
    digits = stored_data({"name": "moving_mnist", "path": "digits.gz"})
    assert isinstance(digits, MovingMnistConfig) and digits.test_sequences == 3000
