"""A sweep goes the way in which its monitored score is better, whatever sweeps."""

import csv
import json
import logging
import math
import re
import signal
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
from nowcast.errors import DataError, Interrupted, TryLaterError

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
        == [
            "hydra.sweeper.direction=minimize: using maximize instead, because training.monitor=csi"
        ]
        * warnings
    )


def test_a_sweeper_that_tries_all_has_no_direction() -> None:
    config = OmegaConf.create(
        {"hydra": {"sweeper": {"max_batch_size": None}}, "training": {"monitor": "csi"}}
    )
    sweep.set_direction(config)
    assert config.hydra == {"sweeper": {"max_batch_size": None}}


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Training that takes no time and whose score is its learning rate. → those trained."""
    monkeypatch.chdir(tmp_path)
    trained = list[float]()

    def score(config: TrainConfig, folder: Path, defaults: Any) -> float:
        trained.append(config.optimizer.lr)
        if config.optimizer.lr == 0.9:
            raise DataError("too bold")
        if config.optimizer.lr == 0.8:
            raise Interrupted(signal.SIGTERM)
        defined = config.optimizer.lr != 0.4
        summary = {
            "monitor": config.training.monitor,
            "score": config.optimizer.lr if defined else None,
        }
        row = {"epoch": 1, f"validation_{config.training.monitor}": config.optimizer.lr}
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        return config.optimizer.lr if defined else math.nan

    monkeypatch.setattr(train, "train", score)
    return trained


SWEEP = ("train", "-m", "data.path=a.nc", "output=sweep")


def jobs() -> dict[str, str]:
    """The state of each job of the sweep, by its learning rate."""
    with Path("sweep/leaderboard.csv").open() as file:
        return {row["optimizer.lr"]: row["state"] for row in csv.DictReader(file)}


def test_the_same_sweep_again_trains_only_what_is_not_finished(
    run: Run, scored: list[float]
) -> None:
    words = (*SWEEP, "optimizer.lr=0.1,0.9,0.2")
    first = run(*words)
    assert (first.code, scored) == (65, [0.1, 0.9, 0.2])
    assert jobs() == {"0.2": "finished", "0.1": "finished", "0.9": "failed"}
    assert "failed: sweep/" in first.out and ": too bold" in first.out
    again = run(*words)
    assert (again.code, scored) == (65, [0.1, 0.9, 0.2, 0.9])
    assert re.findall(r"already trained: sweep/\w+, csi (\S+)", again.err) == ["0.1", "0.2"]
    more = run(*SWEEP, "optimizer.lr=1e-1,0.2,0.3", "training.workers=2", "device=cpu")
    assert (more.code, scored[4:]) == (0, [0.3])
    assert jobs() == {"0.3": "finished", "0.2": "finished", "0.1": "finished", "0.9": "failed"}
    anew = run(*SWEEP, "optimizer.lr=0.1,0.2", "resume=never")
    assert (anew.code, scored[5:]) == (0, [0.1, 0.2])


def test_where_another_process_trains_is_no_failure_and_a_failure_does_not_outlast_success(
    run: Run, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = train.train

    def meanwhile(config: TrainConfig, folder: Path, defaults: Any) -> float:
        if config.optimizer.lr == 0.1:
            raise TryLaterError("another process writes here")
        score = here(config, folder, defaults)
        (folder / "failed.txt").write_text("of a process that began later\n")
        return score

    monkeypatch.setattr(train, "train", meanwhile)
    assert run(*SWEEP, "optimizer.lr=0.1,0.2").code == 75
    assert jobs() == {"0.2": "finished", "0.1": "unfinished"}


def test_a_signal_ends_the_whole_sweep_and_leaves_its_job_unfinished(
    run: Run, scored: list[float]
) -> None:
    assert run(*SWEEP, "optimizer.lr=0.1,0.8,0.2").code == 143
    assert scored == [0.1, 0.8]
    assert run("sweep", "sweep").code == 0
    assert jobs() == {"0.1": "finished", "0.8": "unfinished"}


def test_a_job_waits_for_another_process_that_trains_the_same(
    run: Run, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*SWEEP, "optimizer.lr=0.1").code == 0
    looks = iter([True, True, False, False])
    monkeypatch.setattr("nowcast.files.is_written", lambda folder: next(looks, False))
    monkeypatch.setattr(sweep, "_WAIT", 0.0)
    outcome = run(*SWEEP, "optimizer.lr=0.1")
    assert outcome.code == 0 and scored == [0.1]
    assert "waiting for another process that trains with these settings" in outcome.err
    assert "already trained" in outcome.err


def test_a_folder_that_the_user_names_may_hold_other_settings(
    run: Run, scored: list[float]
) -> None:
    words = (*SWEEP, "hydra.sweep.subdir=${hydra:job.num}")
    assert run(*words, "optimizer.lr=0.1,0.2").code == 0
    assert run(*words, "optimizer.lr=0.3,0.2").code == 0
    assert scored == [0.1, 0.2, 0.3, 0.2]


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (["evaluate", "checkpoint=a.pt,b.pt", "output=scores"], "output: two jobs of this sweep would write scores"),
        (["evaluate", "data=radar", "data.path=a.nc", "checkpoint=a.pt,b.pt", "output=s/${hydra:job.num}"], None),
        (["evaluate", "data=radar", "data.path=a.nc", "checkpoint=a.pt", "output=a,b"], None),
        (["predict", "data.path=a.nc", "checkpoint=a.pt,b.pt"], "output: two jobs of this sweep would write forecasts/%Y%m%dT%H%MZ.nc"),
        (["predict", "data.path=a.nc", "at=2020-01-01T00:00,2020-01-01T01:00"], None),
        (["predict", "data.path=a.nc", "at=2020-01-01T00:00,2020-01-01T01:00", "output=a.nc"], "output: two jobs of this sweep would write a.nc"),
        (["predict", "data.path=a.nc", "at=2020-01-01T00:00,2020-01-01T01:00", "page=a.html"], "page: two jobs of this sweep would write a.html"),
        (["export", "checkpoint=a.pt", "grid_size=[8,8],[9,9]"], "output: two jobs of this sweep would write a"),
        (["export", "checkpoint=a.pt,b.pt", "grid_size=[8,8]"], None),
    ],
)  # fmt: skip
def test_two_jobs_of_a_sweep_write_no_output_together(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    shared: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    began = list[Any]()
    monkeypatch.setattr(
        "nowcast.cli.app.task_of", lambda *_: lambda config, _: began.append(config)
    )
    command, *overrides = words
    outcome = run(command, "-m", *overrides)
    assert (outcome.code, len(began)) == ((0, 2) if shared is None else (78, 0)), outcome.err
    assert shared is None or shared in outcome.err


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_in_processes_of_their_own_tell_why_they_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    monkeypatch.chdir(tmp_path)
    outcome = run(*SWEEP, f"hydra/launcher={launcher}", "model.kernel_size=2,4", "model=small")
    assert outcome.code == 78, outcome.err
    for size in (2, 4):
        assert f"model.kernel_size: must be an odd number above 0, not {size}." in outcome.out
    last = outcome.err.splitlines()[-1]
    assert last.startswith("nowcast: not every job of the sweep succeeded: model.kernel_size")


@pytest.mark.parametrize(
    "words",
    [["hydra/launcher=joblib"], ["hydra/launcher=submitit_slurm"], ["hydra/sweeper=optuna"]],
    ids=str,
)
def test_without_its_library_a_launcher_or_sweeper_is_refused_with_the_remedy(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nowcast.cli.trusted_hydra.find_spec", lambda name: None)
    outcome = run(*SWEEP, *words, "seed=1,2")
    assert (outcome.code, outcome.err.count("\n")) == (69, 1)
    assert "pip install 'nowcast-radar[sweep]'" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def optuna() -> None:
    """Optuna and Hydra's sweeper of it, or the test is skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what they import
        pytest.importorskip("optuna")
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")


OPTUNA = ("train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "output=sweep")
STUDY = (
    *OPTUNA, "hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=rain",
    "hydra.sweeper.storage=sqlite:///study.db",
)  # fmt: skip


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
    first = outcome.out.splitlines()[4].split()  # the first row of our own table
    assert (float(first[2]), float(first[3])) == (best, best)


@pytest.mark.usefixtures("optuna", "scored")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["training.monitor=choice(csi,loss)"],
            "training.monitor: loss cannot be used in a sweep whose direction is maximize",
        ),
        (
            ["optimizer.lr=choice(0.3,0.4)"],
            "the validation CSI is undefined, so a sweep cannot optimise it",
        ),
    ],
)
def test_optuna_is_not_given_a_score_that_it_cannot_choose_by(
    run: Run, words: list[str], said: str
) -> None:
    outcome = run(*OPTUNA, "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", *words)
    assert outcome.code == 78, outcome.err
    assert said in outcome.err and outcome.err.count("nowcast: job") == 1


@pytest.mark.usefixtures("optuna")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
def test_without_a_storage_the_same_search_draws_the_same_and_trains_nothing(
    run: Run, scored: list[float]
) -> None:
    words = (*OPTUNA, "hydra.sweeper.n_trials=3", "optimizer.lr=interval(0.1,0.3)")
    assert run(*words).code == 0
    assert len(set(scored)) == 3
    again = run(*words)
    assert again.code == 0 and len(scored) == 3
    assert again.err.count("already trained") == 3


@pytest.mark.usefixtures("optuna")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
def test_a_study_with_a_storage_goes_on_and_tries_again_what_failed(
    run: Run, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = train.train
    fail = iter([False, True])

    def at_first_failing(*given: Any) -> float:
        score = here(*given)
        if next(fail, False):
            raise DataError("no rain yet")
        return score

    monkeypatch.setattr(train, "train", at_first_failing)
    words = (*STUDY, "optimizer.lr=interval(0.1,0.3)")
    assert run(*words).code == 65  # after its second trial
    again = run(*words)
    assert again.code == 0, again.err
    assert "the study rain has 2 trials, 1 complete" in again.err
    assert scored[2] == scored[1] and len(set(scored)) == 3 and len(scored) == 4
    assert run(*words).code == 0 and len(scored) == 4
    found = yaml.safe_load(Path("sweep/optimization_results.yaml").read_text())
    assert found["best_value"] == max(scored)


@pytest.mark.usefixtures("optuna")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
def test_a_study_that_was_killed_tries_again_what_ran(run: Run, scored: list[float]) -> None:
    words = (*STUDY, "hydra/sweeper/sampler=random", "optimizer.lr=choice(0.8)")
    assert run(*words).code == 143
    assert run(*words).code == 143
    import optuna

    trials = optuna.load_study(study_name="rain", storage="sqlite:///study.db").trials
    assert [trial.state.name for trial in trials] == ["FAIL", "RUNNING"]
    assert scored == [0.8, 0.8]


@pytest.mark.usefixtures("optuna", "scored")
@pytest.mark.filterwarnings("ignore")  # of Optuna's own
def test_a_storage_that_cannot_be_opened_is_told(run: Run) -> None:
    outcome = run(
        *OPTUNA, "hydra.sweeper.study_name=rain", "hydra.sweeper.storage=sqlite:///no/a.db"
    )
    assert outcome.code == 78 and len(outcome.err.splitlines()) == 1, outcome.err
    assert "unable to open database file" in outcome.err
