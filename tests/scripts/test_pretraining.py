"""The scripts that train, score and seal the model that comes with nowcast refuse what would be
lost or wrong, before they begin.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
import xarray as xr

from nowcast.errors import UsageError
from nowcast.files import sha256
from nowcast.pretrained import PRETRAINED, checkpoint_path
from nowcast.training import checkpoints

FOLDER = Path(__file__).parents[2] / "scripts" / "pretraining"
NAMES = ("sources", "card", "pretrain", "score", "seal")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


def refusal_of(
    script: ModuleType,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run a script with arguments that it refuses, and return what it says."""
    monkeypatch.setattr(sys, "argv", [script.__name__, *words])
    # where a test before ran the command, argparse raises UsageError
    with pytest.raises((SystemExit, UsageError)) as refused:
        script.main()
    return capsys.readouterr().err + str(refused.value)


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
    assert says in refusal_of(scripts["pretrain"], ["copies", "runs", *words], monkeypatch, capsys)
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


def table_of(scripts: dict[str, ModuleType], csi: dict[tuple[str, str], list[float]]) -> Any:
    """Return scores of events and forecasts: CSI as given, all other scores 0.25."""
    card = scripts["card"]
    whats = ("brier", "reliability", "low", "high", "difference low", "difference high")
    rows = {
        key: {
            "without": "dwd+knmi" if key == ("fmi", "model") else "", "sha256": "", "cases": 4,
            "days": 12,
            "crps": 0.25, **dict(zip(card.columns("csi"), values, strict=True)),
            **{name: 0.25 for what in whats for name in card.columns(what)},
        }
        for key, values in csi.items()
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["event", "forecast"])


def test_the_card_says_where_other_forecasts_are_better_and_the_mean_ratios(
    scripts: dict[str, ModuleType],
) -> None:
    table = table_of(scripts, {
        ("fmi", "extrapolation"): [0.2, 0.2, 0.2, 0.2, 0.2],
        ("fmi", "lagrangian"): [0.2, 0.2, 0.2, 0.4, 0.2],
        ("fmi", "model"): [0.3, 0.2, 0.1, 0.4, 0.2],
        ("rmi", "extrapolation"): [0.5, 0.5, 0.5, 0.5, 0.5],
        ("rmi", "lagrangian"): [0.5, 0.5, 0.5, 0.5, 0.5],
        ("rmi", "sprog"): [0.4, 0.4, 0.4, 0.4, 0.6],
        ("rmi", "model"): [0.5, 0.5, 0.5, 0.5, 0.5],
    })  # fmt: skip
    said = scripts["card"].scores_in_markdown(table)
    words = " ".join(said.split())
    assert "without ¹ DWD and KNMI. The other rows" in words
    assert (
        "| FMI, 28 September 2016 ¹ | 4 | .200 .200 .200 .200 .200 | – | – |"
        " .200 .200 .200 .400 .200 | .300 .200 .100 .400 .200 |"
    ) in said
    assert (
        "CSI of the model is on average 1.25, 1.00, 0.75, 1.50, 1.00 times that of extrapolation at"
        " 0.5, 1, 2, 5 and 10 mm/h. For the Lagrangian probability forecast, which is not trained,"
        " it is 1.00, 1.00, 1.00, 1.50, 1.00 times. These are means over 2 events. Extrapolation is"
        " better than the model in 1 of 10 comparisons"
    ) in words
    assert "in these of the 10 comparisons (thresholds in mm/h)." in words
    assert "Extrapolation: FMI, 28 September 2016 (2). S-PROG: RMI, 4 July 2021 (10)." in words
    assert "LINDA: nowhere." in words
    assert "and .250 .250 .250 .250 .250 to .250 .250 .250 .250 .250 for the difference" in words
    assert "| RMI, 4 July 2021 | 0.250, 0.250 | 250.0 250.0" in said


def test_scores_of_other_pixels_are_not_put_into_the_same_table(
    scripts: dict[str, ModuleType],
) -> None:
    """New scores of an event replace the earlier ones of the same forecasts."""
    csi = [0.5, 0.4, 0.3, 0.2, 0.1]
    before = table_of(scripts, {
        ("fmi", "extrapolation"): csi, ("fmi", "linda"): csi, ("rmi", "extrapolation"): csi,
    })  # fmt: skip
    better = [0.6, 0.4, 0.3, 0.2, 0.1]
    rows = table_of(scripts, {("fmi", "extrapolation"): csi, ("fmi", "model"): better})
    found = scripts["score"].merged(before, rows)
    assert sorted(found.index) == [
        ("fmi", "extrapolation"), ("fmi", "linda"), ("fmi", "model"), ("rmi", "extrapolation"),
    ]  # fmt: skip
    assert [event for event, _ in found.index] == ["fmi", "fmi", "fmi", "rmi"]
    again = table_of(scripts, {("fmi", "extrapolation"): csi, ("fmi", "model"): csi})
    found = scripts["score"].merged(found, again)
    assert found.loc[("fmi", "model"), "csi 0.5"] == 0.5 and len(found) == 4
    other = table_of(scripts, {("fmi", "extrapolation"): better})
    with pytest.raises(SystemExit, match=r"^fmi: extrapolation has other scores than in the table"):
        scripts["score"].merged(found, other)
    whole = table_of(scripts, {key: better for key in found.index if key[0] == "fmi"})
    assert (scripts["score"].merged(found, whole).loc["fmi", "csi 0.5"] == 0.6).all()


def test_the_card_in_the_package_holds_the_scores_of_the_table(
    scripts: dict[str, ModuleType],
) -> None:
    card = scripts["card"]
    package = Path(checkpoint_path(PRETRAINED)).with_suffix(".md").read_text()
    assert card.scores_in_markdown(card.read_table()) in package


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("crps", "other", "has no column crps; correct it"),
        ("fmi,model", "FMI,model", "names unknown events FMI"),
        ("dwd+knmi", "dwd+x", "names unknown groups of radars x"),
        ("fmi,model", "fmi,lagrangian", "has two rows of fmi lagrangian"),
        ("0.7", "x", "holds text in csi 10"),
        ("event,", "event;", "has no column event"),
        ("fmi,model", "fmi,linda", "no row of model; score it"),
        ("fmi,lagrangian", "fmi,linda", "no row of fmi lagrangian; score it"),
    ],
)
def test_a_table_with_missing_or_wrong_rows_or_columns_is_refused(
    scripts: dict[str, ModuleType], old: str, new: str, said: str, tmp_path: Path
) -> None:
    card, path = scripts["card"], tmp_path / "scores.csv"
    names = ("extrapolation", "lagrangian", "model")
    text = table_of(scripts, {("fmi", name): [0.2, 0.2, 0.2, 0.2, 0.7] for name in names}).to_csv()
    path.write_text(text.replace(old, new))
    with pytest.raises(SystemExit, match=said):
        card.scores_in_markdown(card.read_table(path))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model"], "'model' is not NAME=CHECKPOINT"),
        (["=pretrained"], "'=pretrained' is not NAME=CHECKPOINT"),
        (["a=pretrained", "a=pretrained"], "give each forecast a name of its own, not a, a"),
        (["linda=pretrained"], "give each forecast a name of its own, not linda, extra"),
        (["a=pretrained", "--baselines", "[sprog]"], "--baselines: extrapolation is needed"),
        (["a=none.pt"], "none.pt: no such checkpoint"),
        (["a=pretrained", "--table", "bad.csv"], "bad.csv: has no column event, forecast"),
    ],
)
def test_a_scoring_refuses_its_arguments_before_it_scores(
    scripts: dict[str, ModuleType],
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("text\n")
    words = ["copies", "raw", "scores", *words]
    assert says in refusal_of(scripts["score"], words, monkeypatch, capsys)
    assert not Path("scores").exists()


def test_the_documentation_has_the_mean_ratios_of_the_table(
    scripts: dict[str, ModuleType],
) -> None:
    card = scripts["card"]
    table = card.read_table()
    said = (FOLDER.parents[1] / "docs" / "your_radar.md").read_text()
    for name in (card.MODEL, card.LAGRANGIAN):
        assert f"| {' | '.join(card.mean_ratios(table, name))} |" in said
    events = table.xs(card.MODEL, level="forecast").index
    better = sum(len(card.better_at(table, event, card.EXTRAPOLATION)) for event in events)
    assert f"In {better} of {5 * len(events)} comparisons it is below extrapolation" in said


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
    scores = tmp_path / "scores.csv"
    with pytest.raises(SystemExit, match=r"scores\.csv: not a table of scores \(.*No such file"):
        seal.main(tmp_path / "a.pt", scores)
    names = ("extrapolation", "lagrangian", "model")
    table_of(scripts, {("fmi", name): [0.2] * 5 for name in names}).to_csv(scores)
    made["config"]["data"]["path"] = "archive/*.nc"
    with pytest.raises(SystemExit, match=r"a\.pt: its data are archive/\*\.nc; give a checkpoint"):
        seal.main(tmp_path / "a.pt", scores)
    assert not (tmp_path / "package").exists()
    made["config"]["data"]["path"] = "fmi, knmi2011"
    table = table_of(scripts, {("rmi", name): [0.2] * 5 for name in names})
    table["sha256"] = "0" * 64
    table.to_csv(tmp_path / "other.csv")
    with pytest.raises(SystemExit, match=r"a\.pt: the scores of rmi are of another checkpoint;"):
        seal.main(tmp_path / "a.pt", tmp_path / "other.csv")
    assert not (tmp_path / "package").exists()
    seal.main(tmp_path / "a.pt", scores)
    card = (tmp_path / "package" / "pretrained.md").read_text()
    assert "| fmi |" in card and "| knmi2011 |" in card and "radolan" not in card
    assert (
        "(knmi2011)" in card and "(knmi2010)" not in card and "| FMI, 28 September 2016 ¹ |" in card
    )
