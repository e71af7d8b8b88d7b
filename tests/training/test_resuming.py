"""A training that goes on says what is not as before, and does nothing where nothing is left to
do.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import SPLITS, TINY, Outcome

from nowcast.files import sha256
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint
from nowcast.training.resuming import Change, changes_between, in_words, may_change

pytestmark = pytest.mark.usefixtures("without_pictures")
Train = Callable[..., Outcome]


@pytest.fixture
def last(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The last.pt of a finished run in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return Path(shutil.copy(trained / "last.pt", "run/last.pt"))


@pytest.fixture
def train(run: Callable[..., Outcome], radar_file: Path, trained: Path) -> Train:
    """Run the command that trained it again, with further overrides."""
    words = [
        "train",
        *TINY,
        *SPLITS,
        "data=radar",
        f"data.path={radar_file}",
        f"data.cache={trained}/cache",
        "output=run",
    ]
    return lambda *more: run(*words, *more)


def named(changes: list[Change]) -> set[str]:
    return {key for key, _, _ in changes}


def test_a_change_is_named_by_its_key_and_both_values() -> None:
    before = {
        "optimizer": {"name": "adamw", "lr": 0.02},
        "model": {"hidden_channels": [4]},
        "loss": "mse",
        "data": {"variable": None},
    }
    now = {
        "optimizer": {"name": "adamw", "lr": 0.03},
        "model": {"hidden_channels": [4, 4]},
        "loss": "mse",
        "data": {"variable": "R"},
    }
    said = in_words(list(changes_between(before, now)))
    assert (
        said
        == "optimizer.lr 0.02 → 0.03, model.hidden_channels [4] → [4,4], data.variable null → R"
    )


def test_of_another_model_only_the_name_is_a_change() -> None:
    before = {"model": {"name": "small", "hidden_channels": [4]}}
    now = {"model": {"name": "fc_lstm", "grid_size": [8, 8], "hidden_channels": [8]}}
    assert list(changes_between(before, now)) == [("model.name", "small", "fc_lstm")]


def test_a_field_that_is_left_out_is_a_change() -> None:
    field = {"path": "a.nc", "variable": "z"}
    changes = list(
        changes_between({"inputs": {"fields": {"height": field}}}, {"inputs": {"fields": {}}})
    )
    assert named(changes) == {"inputs.fields.height.path", "inputs.fields.height.variable"}
    ahead = {"inputs": {"ahead": {"fields": {"nwp": field}}}}
    gone = list(changes_between(ahead, {"inputs": {"ahead": {"fields": {}}}}))
    assert named(gone) == {"inputs.ahead.fields.nwp.path", "inputs.ahead.fields.nwp.variable"}


def test_many_changes_are_counted() -> None:
    assert in_words([(f"key{k}", k, k + 1) for k in range(7)]).endswith("key4 4 → 5 and 2 more")


def test_what_says_what_a_step_is_may_not_change() -> None:
    allowed = (
        "training.epochs",
        "training.patience",
        "device",
        "precision",
        "data.cache",
        "data.cache_gb",
        "output",
    )
    refused = (
        "training.batch_size",
        "training.monitor",
        "data.path",
        "data.cache_of_others",
        "optimizer.lr",
        "seed",
    )
    assert [may_change(key) for key in (*allowed, *refused)] == [True] * len(allowed) + [
        False
    ] * len(refused)


def test_a_key_that_the_checkpoint_does_not_know_is_no_change_at_its_default(
    train: Train, last: Path
) -> None:
    checkpoint = read_checkpoint(last)
    assert checkpoint["config"]["optimizer"].pop("momentum") == 0.9
    del checkpoint["config"]["data"]["cache_gb"]
    write_checkpoint(last, checkpoint)
    outcome = train("optimizer.momentum=0.5")
    assert outcome.code == 78
    assert outcome.err.splitlines()[-1].startswith(
        "nowcast: optimizer.momentum 0.9 → 0.5: not as in run/last.pt"
    )
    assert train().code == 0


def test_a_finished_run_says_that_nothing_is_left(train: Train, last: Path) -> None:
    before = sha256(last)
    outcome = train()
    assert (
        "nothing to train: 2 of 2 epochs are done; to train longer, raise training.epochs\n"
        in outcome.err
    )
    assert (outcome.code, sha256(last)) == (0, before)


def test_a_run_that_ended_early_says_so_each_time_and_does_nothing(
    train: Train, last: Path
) -> None:
    checkpoint = read_checkpoint(last)
    write_checkpoint(last, {**checkpoint, "best_epoch": 1})
    before = sha256(last)
    outcome = train("training.epochs=9", "training.patience=1")
    assert (outcome.code, sha256(last)) == (0, before)
    said = (
        "nothing to train: ended early after epoch 2 of 9: validation has not improved since epoch"
        " 1; to continue, raise training.patience=1\n"
    )
    assert said in outcome.err
    assert json.loads(Path("run/summary.json").read_text())["ended_early"] is True


def test_a_run_that_ends_early_says_so(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = train(
        "training.epochs=9", "training.patience=1", "optimizer.lr=1e-12", "training.monitor=loss"
    )
    summary = json.loads(Path("run/summary.json").read_text())
    assert (outcome.code, summary["ended_early"]) == (0, True)
    assert (
        f"ended early after epoch {summary['epochs']} of 9: validation has not improved"
        in outcome.err
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [(["data.path=none.nc"], 66), (["training.epochs=0"], 78)],
    ids=["no data", "a bad value"],
)
def test_a_run_that_fails_at_its_start_leaves_no_folder(
    words: list[str], code: int, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = train(*words, "output=runs/a/b", "data.cache=data/cache")
    assert (outcome.code, sorted(path.name for path in tmp_path.iterdir())) == (
        code,
        [],
    ), outcome.err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine.txt").touch()
    train(*words, "output=runs/a/b")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine.txt"]


def test_days_without_a_measured_pixel_are_refused(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, radar_file: Path
) -> None:
    import numpy as np
    import xarray as xr

    monkeypatch.chdir(tmp_path)
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole = whole.load()
    whole["precipitation_rate"][48:72] = np.nan
    whole.to_netcdf("gap.nc", engine="netcdf4")
    outcome = train("data.path=gap.nc")
    assert outcome.code == 65
    assert "data.validation: none of its 24 frames has a measured pixel" in outcome.err
    outcome = train(f"data.path={radar_file}", "data.train=[2030-01-01,2030-01-02]")
    assert outcome.code == 65
    assert "no gap-free window" in outcome.err and "the data hold 2020-" in outcome.err
    assert not Path("run").exists()
