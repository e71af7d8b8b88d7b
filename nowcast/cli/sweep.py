"""Support for sweeps: the direction in which a sweeper optimises, the jobs that are already done,
the leaderboard at the end, and the output of a failed run.
"""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from nowcast.config.train import TrainConfig
from nowcast.console import printable
from nowcast.errors import ConfigError, NowcastError, TryLaterError
from nowcast.explain import explain

log = logging.getLogger(__name__)

DIRECTIONS = {"csi": "maximize", "loss": "minimize"}
"""Optuna's name for the direction in which each `training.monitor` is better."""
GROUPS = ("data", "scaling", "model", "optimizer", "schedule")
_DIRECTION = "hydra.sweeper.direction"

_WRITTEN = ("output", "page", "status", "metrics", "warnings.file")
"""Keys of the files and folders that a command writes."""
_SAVED_WITHIN = 20.0  # seconds
_WAIT = 1.0  # seconds between two checks of a folder in which another process trains

_folder: list[Path] = []
_new: list[Path] = []


class RememberSweep(Callback):
    """Hydra callback that remembers the output folder of a sweep or run and how each job ends."""

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        _new[:] = [one for one in (folder, *folder.parents) if not one.exists()]

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Record in the folder of a job why it failed, until a job there succeeds. An error that
        may pass, such as another process training there, does not count as a failure.
        """
        from nowcast.runs import forget_failure, record_failure

        folder, outcome = Path(config.hydra.runtime.output_dir), job_return._return_value
        failed = job_return.status == JobStatus.FAILED
        with suppress(NowcastError, OSError):  # perhaps a full disk; the failure is reported anyway
            if failed and not isinstance(outcome, TryLaterError):
                record_failure(folder, printable(" ".join(explain(outcome)[0].split())))
            elif not failed and isinstance(outcome, float):  # a training returns its score
                forget_failure(folder)

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        _folder[:] = [Path(config.hydra.sweep.dir)]
        set_direction(config)
        if OmegaConf.select(config, _DIRECTION) is not None:
            from nowcast.cli.optuna_study import go_on

            go_on(config)


def set_direction(config: Any) -> None:
    """Set the direction of an optimising sweeper such as Optuna's to the one in which the monitored
    score is better; its own default is to minimise.

    The direction is also added to Hydra's overrides, from which the configuration of each job is
    composed.
    """
    if OmegaConf.select(config, _DIRECTION) is None:
        return
    monitor = config.training.monitor
    asked = [
        override
        for override in config.hydra.overrides.hydra
        if override.startswith(f"{_DIRECTION}=")
    ]
    if asked and asked[-1] != f"{_DIRECTION}={DIRECTIONS[monitor]}":
        log.warning(
            "%s: using %s instead, because training.monitor=%s",
            asked[-1],
            DIRECTIONS[monitor],
            monitor,
        )
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweeper.direction = DIRECTIONS[monitor]
        others = [override for override in config.hydra.overrides.hydra if override not in asked]
        config.hydra.overrides.hydra = [*others, f"{_DIRECTION}={DIRECTIONS[monitor]}"]


def default_values_of_run(keys: set[str]) -> dict[str, Any]:
    """Return the values of these keys in configs/, with the groups chosen for this run."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    if not set(GROUPS) <= set(choices):
        return {}
    composed = compose("train", [f"{group}={choices[group]}" for group in GROUPS])
    return {
        key: OmegaConf.select(composed, key, default=None, throw_on_missing=False) for key in keys
    }


def refuse_other_direction(monitor: str) -> None:
    """Errors: ConfigError if this job belongs to a sweep that optimises in the other direction."""
    if _direction() not in (None, DIRECTIONS[monitor]):
        raise ConfigError(
            f"training.monitor: {monitor} cannot be used in a sweep whose direction is"
            f" {_direction()}; give one training.monitor for all jobs."
        )


def refuse_undefined_score(monitor: str) -> None:
    """Errors: ConfigError if this job belongs to a sweep that optimises."""
    if _direction() is not None:
        raise ConfigError(
            f"training.monitor: the validation {monitor.upper()} is undefined, so a sweep cannot"
            " optimise it; set training.monitor=loss."
        )


def _direction() -> str | None:
    """Return the direction of this job's sweep, or None if it does not optimise."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    config: Any = HydraConfig.instance().cfg
    direction = OmegaConf.select(config, _DIRECTION)
    return None if direction is None else str(getattr(direction, "name", direction))


def sweep_folder() -> Path | None:
    """Return the folder of the sweep that was run, or None."""
    return _folder[0] if _folder else None


def forget_sweep() -> None:
    """Forget an earlier sweep or run in this process; called before each command."""
    _folder.clear()
    _new.clear()


def remove_empty_run() -> None:
    """Remove the folders that Hydra made for a run, deepest first, if they contain nothing except
    Hydra's own record.
    """
    record = _new[0] / ".hydra" if _new else None
    if (
        record is not None
        and record.is_dir()
        and [path.name for path in _new[0].iterdir()] == [".hydra"]
    ):
        shutil.rmtree(record, ignore_errors=True)
    with suppress(OSError):  # not empty
        for folder in _new:
            folder.rmdir()


def print_sweep() -> None:
    """Print and write the leaderboard if a sweep was run."""
    folder = sweep_folder()
    if folder is None:
        return
    from nowcast.commands.sweep import write_leaderboard
    from nowcast.runs import find_runs

    runs = find_runs(folder)
    if runs:  # otherwise it was only checked, or ended before its first job
        write_leaderboard(folder, runs)


def score_of_job(config: Any, folder: Path, train: Callable[[], float]) -> float:
    """Return the score of a sweep's job: that of the finished run in its folder, else by training,
    which resumes an earlier run.
    """
    from nowcast.files import is_written
    from nowcast.runs import finished_score, forget_failure

    _keep_signals_from_children()
    _end_with_sweep()
    may_be_done = config.resume == "auto" and _has_own_folder()
    if may_be_done and is_written(folder):
        log.info("%s: waiting for another process that trains with these settings", folder)
        while is_written(folder):
            time.sleep(_WAIT)
    done = finished_score(folder) if may_be_done else None
    if done is None:
        forget_failure(folder)
        return train()
    log.info("already trained: %s, %s %.4g", folder, *done)
    return done[1]


@cache
def _keep_signals_from_children() -> None:
    """Let child processes ignore the signals that Slurm sends to all processes of a job at its time
    limit: submitit would queue the job again once for each.
    """

    def ignore() -> None:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    os.register_at_fork(after_in_child=ignore)


@cache
def _end_with_sweep() -> None:
    """Let a joblib process save and end when the sweep is killed; otherwise it would train on and
    then wait forever for another job.
    """
    if not current_process().name.startswith("Loky"):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WAIT)
        while True:  # the first signal ends the training, the second one the process
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_SAVED_WITHIN)

    threading.Thread(target=watch, daemon=True).start()


def refuse_shared_output(config: Any, overrides: Sequence[str], written: dict[str, Any]) -> None:
    """Refuse two jobs of a sweep that write the same files.

    Each training has a folder of its own; a job of another command writes where its keys say. All
    jobs are composed before the first one runs.

    written: what the jobs so far write; this job is added.
    Errors: ConfigError.
    """
    if OmegaConf.get_type(config) is TrainConfig:
        return
    for key in _WRITTEN:
        path = _as_written(config, key)
        # a path with strftime codes differs between times
        times = [str(config.get(one)) for one in ("at", "period") if "%" in str(path)]
        place = f"{key} {os.path.normpath(str(path))} {times}"
        if path is not None and written.setdefault(place, list(overrides)) != list(overrides):
            own = Path(path).parent / "${hydra:job.num}" / Path(path).name
            raise ConfigError(
                f"{key}: two jobs of this sweep would write {path}; give each job its own path,"
                f" such as '{key}={own}'."
            )


def _as_written(config: Any, key: str) -> str | None:
    """Return the path that a job writes for a key; None if it writes nothing, or a path that no
    other job has.
    """
    group, _, last = key.rpartition(".")
    node = OmegaConf.select(config, group) if group else config
    if node is None or last not in node or "${hydra:job." in str(node._get_node(last)._value()):
        return None
    path = node[last]
    checkpoint = config.get("checkpoint")
    if path is None and key == "output" and isinstance(checkpoint, str):  # the default of export
        path = Path(checkpoint).with_suffix("")
    return None if path in (None, "-") else str(path)


def register_key() -> None:
    """Register the resolver that names the folder of each job by its settings."""
    OmegaConf.register_new_resolver("settings_key", _settings_key, replace=True)


def _settings_key(*, _root_: DictConfig) -> str:
    from nowcast.runs import key_of

    settings = {
        str(key): OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, node in _root_.items()
        if key not in ("hydra", "output")
    }
    return key_of(settings)


def _has_own_folder() -> bool:
    """Return whether this job of a sweep has a folder that depends on its settings, which is so
    unless the user set hydra.sweep.subdir.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    config: Any = HydraConfig.instance().cfg
    return "settings_key:" in str(config.hydra.sweep._get_node("subdir")._value())
