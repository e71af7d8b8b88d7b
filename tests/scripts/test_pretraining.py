"""The scripts that train, score and seal the model that comes with nowcast refuse what would be
lost or wrong, before they begin.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import xarray as xr

from nowcast.errors import UsageError
from nowcast.files import sha256
from nowcast.pretrained import PRETRAINED, checkpoint_path
from nowcast.training import checkpoints

FOLDER = Path(__file__).parents[2] / "scripts" / "pretraining"
NAMES = ("sources", "pretrain", "score", "seal")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--leave-out", "dwdd"], "invalid choice: 'dwdd'"),
        (["--leave-out", "dwd", "knmi"], "no radar is left for training or for validation"),
        (["--untrained", "--calibrate", "a.pt"], "not allowed with argument --untrained"),
        (["--calibrate", "runs/../runs/best.pt"], "runs/best.pt would be replaced"),
        (["--calibrate", checkpoint_path(PRETRAINED)], "its corrections are halved already"),
    ],
)
def test_a_training_refuses_its_arguments(
    scripts: dict[str, ModuleType],
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "copies", "runs", *words])
    # where a test before ran the command, argparse raises UsageError
    with pytest.raises((SystemExit, UsageError)) as refused:
        scripts["pretrain"].main()
    assert says in capsys.readouterr().err + str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("checkpoints", "baselines", "same"),
    [
        ({"model": "a.pt", "other": "b.pt"}, "[sprog, linda]", True),
        ({"model": "a.pt", "other": "a.pt"}, "[sprog, linda]", False),
        ({"model": "a.pt"}, "[sprog, linda]", False),
        ({"model": "a.pt", "other": "b.pt"}, "[sprog]", False),
    ],
)
def test_scores_of_other_forecasts_are_not_taken_again(
    scripts: dict[str, ModuleType],
    checkpoints: dict[str, str],
    baselines: str,
    same: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b.pt"):
        Path(name).write_text(name)
    said = f'{{"model": "{sha256("a.pt")}", "other": "{sha256("b.pt")}"}}'
    scores = xr.Dataset(
        coords={"forecast": ["model", "other", "sprog", "linda"], "part": ["all"]},
        attrs={"checkpoint_sha256": said},
    )
    Path("scores/radolan").mkdir(parents=True)
    scores.to_netcdf("scores/radolan/scores.nc")
    given: Any = scripts["score"].argparse.Namespace(
        output=Path("scores"), checkpoints=list(checkpoints.items()), baselines=baselines
    )
    if same:
        assert scripts["score"].evaluated("radolan", given).sizes["forecast"] == 4
        return
    with pytest.raises(SystemExit, match=r"^scores/radolan: holds scores of other checkpoints"):
        scripts["score"].evaluated("radolan", given)


def test_half_of_the_corrections_of_the_averaged_weights_is_kept(
    scripts: dict[str, ModuleType],
) -> None:
    names = ("across.weights", "network.output.weight", "detail.output.bias", "trend.weights")
    checkpoint: Any = {
        "weights": dict.fromkeys(names, torch.zeros(2)),
        "ema": {
            "n_averaged": torch.tensor(9),
            **{f"module.{name}": torch.ones(2) for name in names},
        },
        "config": {"lead_steps": 24},
    }
    found = scripts["pretrain"].shrunk(checkpoint)
    assert found["ema"] is None and found["config"] == {"lead_steps": 24}
    kept = {name: float(value.mean()) for name, value in found["weights"].items()}
    assert kept == {**dict.fromkeys(names, 0.5), "trend.weights": 1.0}
    packaged = checkpoints.read_checkpoint(checkpoint_path(PRETRAINED))["weights"]
    assert packaged.keys() >= {*scripts["pretrain"].CORRECTIONS, *names}


def test_nothing_is_sealed_without_its_scores_or_of_other_data(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And what is sealed tells the radars that the checkpoint names."""
    seal = scripts["seal"]
    monkeypatch.setattr(seal, "FOLDER", tmp_path / "package")
    made: dict[str, Any] = {
        "config": {"data": {"path": "fmi, knmi2011"}}, "weights": {}, "ema": None, "calibration": {},
    }  # fmt: skip
    checkpoints.write_checkpoint(tmp_path / "a.pt", made)
    monkeypatch.setattr(seal, "read_checkpoint", lambda path: made)
    with pytest.raises(FileNotFoundError):
        seal.main(tmp_path / "a.pt", tmp_path / "scores.md")
    (tmp_path / "scores.md").write_text("| radar | CSI |")
    made["config"]["data"]["path"] = "archive/*.nc"
    with pytest.raises(SystemExit, match=r"a\.pt: its data are archive/\*\.nc; give a checkpoint"):
        seal.main(tmp_path / "a.pt", tmp_path / "scores.md")
    assert not (tmp_path / "package").exists()
    made["config"]["data"]["path"] = "fmi, knmi2011"
    seal.main(tmp_path / "a.pt", tmp_path / "scores.md")
    card = (tmp_path / "package" / "pretrained.md").read_text()
    assert "| fmi |" in card and "| knmi2011 |" in card and "radolan" not in card
    assert "(knmi2011)" in card and "(knmi2010)" not in card and "| radar | CSI |" in card
