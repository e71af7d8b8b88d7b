"""`nowcast inspect` shows what a checkpoint and an exported model are."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Outcome

import nowcast
from nowcast.factories.model_files import is_model
from nowcast.files import sha256
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

Run = Callable[..., Outcome]
OLD = Path(__file__).parents[1] / "training/written_by_0.1.0.pt"


def rows(shown: str) -> dict[str, str]:
    """The rows of a block by name."""
    return {
        line.split()[0]: " ".join(line.split()[1:])
        for line in shown.splitlines()
        if line.startswith("  ")
    }


def test_a_checkpoint_is_shown_with_model_settings_data_days_scores_date_versions_and_hash(
    run: Run, trained: Path
) -> None:
    outcome = run("inspect", f"{trained}/last.pt")
    assert (outcome.code, outcome.err) == (0, "")
    shown, saved = rows(outcome.out), read_checkpoint(trained / "last.pt")
    row = saved["progress"]["history"][1]
    assert shown["model"].startswith(
        "encoder_forecaster: 6,016 parameters; frame fixed, head rate, hidden_channels [4, 4]"
    ), shown["model"]
    assert shown["frames"] == "3 → 4 every 5 minutes; scaling log, 100, 0.5"
    assert shown["data"].endswith(
        f"rain.nc: 72 frames of 34 × 41, SHA-256 {saved['data']['sha256']}"
    )
    assert shown["days"].startswith(
        "train 2020-01-01T00:00 to 2020-01-01T03:55; validation 2020-01-01T04:00 to"
    )
    assert shown["settings"].startswith(
        "loss balanced, adamw at 0.001, cosine schedule, 2 epochs at most, batches of 4, seed 0"
    )
    assert shown["epoch"].startswith(
        f"2: validation CSI {row['validation_csi']:.4f}, loss {row['validation_loss']:.5g}"
    )
    assert re.match(
        rf"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ by nowcast {nowcast.__version__}, torch ",
        shown["written"],
    )
    assert shown["SHA-256"] == sha256(trained / "last.pt")


def test_the_same_as_json_next_to_radar_files(run: Run, trained: Path, radar_file: Path) -> None:
    outcome = run("inspect", f"{trained}/best.pt", str(radar_file), "--json")
    model, radar = json.loads(outcome.out)["paths"]
    saved = read_checkpoint(trained / "best.pt")
    assert radar["series"][0]["frames"] == 96
    assert model["path"] == f"{trained}/best.pt"
    about = model["model"]
    assert (about["kind"], about["sha256"]) == ("checkpoint", sha256(trained / "best.pt"))
    for key in ("versions", "written", "data", "best_epoch", "config"):
        assert about[key] == saved[key]


def test_a_summary_names_the_checkpoint_and_the_version(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert (summary["versions"]["nowcast"], summary["checkpoint_sha256"]) == (
        nowcast.__version__,
        sha256(trained / "best.pt"),
    )


def test_a_checkpoint_of_a_landed_version_is_shown_without_what_it_does_not_know(run: Run) -> None:
    outcome = run("inspect", str(OLD))
    assert (outcome.code, outcome.err) == (0, "")
    assert rows(outcome.out)["data"] == "radar, rain.nc"
    assert not [line for line in outcome.out.splitlines() if line.endswith(" ")]
    assert rows(outcome.out)["written"].startswith(
        "at a time not recorded by nowcast 0.1.0, torch "
    )


def test_an_exported_model_is_shown(run: Run, trained: Path, tmp_path: Path) -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    made = run(
        "export", f"checkpoint={trained}/best.pt", "grid_size=[34,41]", f"output={tmp_path}/a.onnx"
    )
    assert made.code == 0, made.err
    shown = rows(run("inspect", f"{tmp_path}/a.onnx").out)
    assert shown["format"] == "nowcast exported model"
    assert shown["made"] == f"from the checkpoint with SHA-256 {sha256(trained / 'best.pt')}"


def test_what_is_no_checkpoint_is_told_and_the_others_are_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no zip archive")
    write_checkpoint(tmp_path / "other.pt", {"weights": {}, "config": {"seed": 3}})
    outcome = run(
        "inspect", f"{tmp_path}/bad.pt", f"{tmp_path}/other.pt", f"{tmp_path}/none.pt", str(OLD)
    )
    assert outcome.code == 65
    for said in (
        "bad.pt: not a checkpoint",
        "other.pt: does not describe a model of nowcast",
        "none.pt: no such checkpoint",
    ):
        assert said in outcome.err
    assert "1,516 parameters" in outcome.out


def test_control_characters_of_a_checkpoint_do_not_reach_the_terminal(
    run: Run, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(OLD)
    checkpoint["config"]["data"]["path"] = "\x1b]0;owned\x07\n  written yesterday"
    write_checkpoint(tmp_path / "a.pt", checkpoint)
    outcome = run("inspect", f"{tmp_path}/a.pt")
    assert outcome.code == 0 and "\x1b" not in outcome.out and "\x07" not in outcome.out
    assert rows(outcome.out)["data"] == r"radar, \x1b]0;owned\x07\x0a written yesterday"


@pytest.mark.parametrize(
    ("path", "model"), [("a.pt", True), ("a.ONNX", True), ("a.nc", False), ("archive", False)]
)
def test_a_model_is_known_by_the_end_of_its_name(path: str, model: bool, tmp_path: Path) -> None:
    assert is_model(path) == model
    (tmp_path / "folder.pt").mkdir()
    assert not is_model(f"{tmp_path}/folder.pt")
