"""A sweep goes the way in which its monitored score is better, whatever sweeps."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import Outcome
from omegaconf import OmegaConf

from nowcast.cli import sweep
from nowcast.commands import train
from nowcast.config.train import TrainConfig

Run = Callable[..., Outcome]
DIRECTIONS = [("csi", "maximize", 0.3), ("loss", "minimize", 0.1)]
"""The monitor, its direction, and which of 0.1, 0.2 and 0.3 is the best."""


def optuna_config(monitor: str, *overrides: str, direction: str = "minimize") -> Any:
    """As Hydra composes it, as far as a sweep of Optuna's is concerned."""
    sweeper = {"direction": direction, "n_trials": 3}
    config = {
        "hydra": {"sweeper": sweeper, "overrides": {"hydra": list(overrides)}},
        "training": {"monitor": monitor},
    }
    composed = OmegaConf.create(config)
    OmegaConf.set_readonly(composed.hydra, True)
    return composed


@pytest.mark.parametrize(("monitor", "direction"), [words[:2] for words in DIRECTIONS])
def test_the_direction_is_set_by_the_monitor_here_and_for_each_job(
    monitor: str, direction: str
) -> None:
    config = optuna_config(monitor, "hydra/sweeper=optuna")
    sweep.set_direction(config)
    assert config.hydra.sweeper == {"direction": direction, "n_trials": 3}
    assert config.hydra.overrides.hydra == [
        "hydra/sweeper=optuna",
        f"hydra.sweeper.direction={direction}",
    ]


@pytest.mark.parametrize(("asked", "warnings"), [("minimize", 1), ("maximize", 0)])
def test_a_direction_that_contradicts_the_monitor_is_told(
    asked: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    config = optuna_config("csi", f"hydra.sweeper.direction={asked}", direction=asked)
    sweep.set_direction(config)
    assert config.hydra.sweeper.direction == "maximize"
    assert config.hydra.overrides.hydra == ["hydra.sweeper.direction=maximize"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        said
        == ["hydra.sweeper.direction=minimize: set to maximize instead, since training.monitor=csi"]
        * warnings
    )


def test_a_sweeper_that_tries_all_has_no_direction() -> None:
    config = OmegaConf.create(
        {"hydra": {"sweeper": {"max_batch_size": None}}, "training": {"monitor": "csi"}}
    )
    sweep.set_direction(config)
    assert config.hydra == {"sweeper": {"max_batch_size": None}}


def test_jobs_are_ranked_by_score_then_by_loss_and_undefined_scores_are_not_better_than_0() -> None:
    def row(job: str, **summary: Any) -> dict[str, Any]:
        return {"job": job, "overrides": [], "monitor": "csi", **summary}

    rows = [
        {"job": "failed", "overrides": []},
        row("undefined", score=None, validation_loss=3.0),
        row("zero", score=0.0, validation_loss=2.0),
        row("skill", score=0.4, validation_loss=5.0),
        row("of an older version", score=0.3),
        row("loss", monitor="loss", score=0.1, validation_loss=0.1),
    ]
    ranked = [row["job"] for row in sorted(rows, key=sweep._rank)]
    assert ranked == ["skill", "of an older version", "zero", "undefined", "loss", "failed"]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Training that takes no time and whose score is its learning rate."""
    monkeypatch.chdir(tmp_path)

    def score(config: TrainConfig, folder: Path) -> float:
        sweep.refuse_other_direction(config.training.monitor)
        if config.optimizer.lr == 0.4:
            sweep.refuse_undefined_score(config.training.monitor)
        (folder / "summary.json").write_text(
            json.dumps({"monitor": config.training.monitor, "score": config.optimizer.lr})
        )
        return config.optimizer.lr

    monkeypatch.setattr(train, "train", score)


@pytest.fixture
def optuna() -> None:
    """Optuna and Hydra's sweeper of it, or the test is skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what they import
        pytest.importorskip("optuna")
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")


OPTUNA = ("train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "output=sweep")


@pytest.mark.usefixtures("optuna", "scored")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
@pytest.mark.parametrize(("monitor", "direction", "best"), DIRECTIONS)
def test_optuna_ends_with_the_best_run(run: Run, monitor: str, direction: str, best: float) -> None:
    outcome = run(
        *OPTUNA,
        "hydra/sweeper/sampler=grid",
        f"training.monitor={monitor}",
        "optimizer.lr=choice(0.1,0.2,0.3)",
    )
    assert outcome.code == 0, outcome.err
    assert f"Directions: ['{direction}']" in outcome.err
    found = yaml.safe_load(Path("sweep/optimization_results.yaml").read_text())
    assert (found["best_params"], found["best_value"]) == ({"optimizer.lr": best}, best)
    assert f"optimizer.lr={best}" in outcome.out.splitlines()[4]  # the first row of our own table


@pytest.mark.usefixtures("optuna", "scored")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["training.monitor=choice(csi,loss)"],
            "training.monitor: loss is no score for a sweep that is to maximize another",
        ),
        (
            ["optimizer.lr=choice(0.3,0.4)"],
            "the validation CSI is undefined, so that no sweep can choose by it",
        ),
    ],
)
def test_optuna_is_not_given_a_score_that_it_cannot_choose_by(
    run: Run, words: list[str], said: str
) -> None:
    outcome = run(*OPTUNA, "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", *words)
    assert outcome.code == 78, outcome.err
    assert said in outcome.err and outcome.err.count("nowcast: job") == 1
