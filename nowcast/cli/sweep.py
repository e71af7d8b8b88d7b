"""What Hydra does around a training: which way a sweeper optimises, what of a sweep is done
already, the leaderboard at its end, and the output of a failed run.
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
"""Which way each `training.monitor` is better, as Optuna names it."""
GROUPS = ("data", "scaling", "model", "optimizer", "schedule")
_DIRECTION = "hydra.sweeper.direction"

_WRITTEN = ("output", "page", "status", "metrics", "warnings.file")
"""Keys of the files and folders that a command writes."""
_SAVED_WITHIN = 20.0  # seconds
_WAIT = 1.0  # seconds between two looks at a folder in which another process trains

_folder: list[Path] = []
_new: list[Path] = []


class RememberSweep(Callback):
    """Hydra tells it where a sweep or a run puts its output, which nothing else knows before
    and afterwards, and how each job ends.
    """

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        _new[:] = [one for one in (folder, *folder.parents) if not one.exists()]

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Keep in the folder of a job why it failed, until one there succeeds. What may go well
        later, as where another process trains there, is no failure.
        """
        from nowcast.runs import forget_failure, record_failure

        folder, outcome = Path(config.hydra.runtime.output_dir), job_return._return_value
        failed = job_return.status == JobStatus.FAILED
        with suppress(NowcastError, OSError):  # a full disk, perhaps; the failure is told anyway
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
    """Let a sweeper that optimises, as Optuna's, go the way in which the monitored score is better;
    its own default is to minimise.

    The direction joins Hydra's overrides too, from which the configuration of each job is made.
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
            "%s: set to %s instead, since training.monitor=%s",
            asked[-1],
            DIRECTIONS[monitor],
            monitor,
        )
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweeper.direction = DIRECTIONS[monitor]
        others = [override for override in config.hydra.overrides.hydra if override not in asked]
        config.hydra.overrides.hydra = [*others, f"{_DIRECTION}={DIRECTIONS[monitor]}"]


def default_values_of_run(keys: set[str]) -> dict[str, Any]:
    """The values that these keys have in configs/, with the groups chosen for this run."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    if not set(GROUPS) <= set(choices):
        return {}
    composed = compose("train", [f"{group}={choices[group]}" for group in GROUPS])
    return {
        key: OmegaConf.select(composed, key, default=None, throw_on_missing=False) for key in keys
    }


def refuse_other_direction(monitor: str) -> None:
    """Errors: ConfigError if this is a job of a sweep that optimises a score that is better the
    other way.
    """
    if _direction() not in (None, DIRECTIONS[monitor]):
        raise ConfigError(
            f"training.monitor: {monitor} is no score for a sweep that is to {_direction()}"
            " another; give one training.monitor for all jobs."
        )


def refuse_undefined_score(monitor: str) -> None:
    """Errors: ConfigError if this is a job of a sweep that optimises."""
    if _direction() is not None:
        raise ConfigError(
            f"training.monitor: the validation {monitor.upper()} is undefined, so that no sweep can"
            " choose by it; set training.monitor=loss."
        )


def _direction() -> str | None:
    """The direction of the sweep that this is a job of, if it optimises."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    config: Any = HydraConfig.instance().cfg
    direction = OmegaConf.select(config, _DIRECTION)
    return None if direction is None else str(getattr(direction, "name", direction))


def sweep_folder() -> Path | None:
    """The folder of the sweep that was run, if one was."""
    return _folder[0] if _folder else None


def forget_sweep() -> None:
    """Before a command, so that a sweep or a run earlier in this process is not taken for its
    own.
    """
    _folder.clear()
    _new.clear()


def remove_empty_run() -> None:
    """Remove the folders that Hydra made for a run, the deepest first, as far as nothing but
    Hydra's own record is in them.
    """
    record = _new[0] / ".hydra" if _new else None
    if (
        record is not None
        and record.is_dir()
        and [path.name for path in _new[0].iterdir()] == [".hydra"]
    ):
        shutil.rmtree(record, ignore_errors=True)
    with suppress(OSError):  # something is in it
        for folder in _new:
            folder.rmdir()


def print_sweep() -> None:
    """Print and write the leaderboard of the sweep that was run, if one was."""
    folder = sweep_folder()
    if folder is None:
        return
    from nowcast.commands.sweep import write_leaderboard
    from nowcast.runs import find_runs

    runs = find_runs(folder)
    if runs:  # else it was only checked, or ended before its first job
        write_leaderboard(folder, runs)


def score_of_job(config: Any, folder: Path, train: Callable[[], float]) -> float:
    """The score of a job of a sweep: of the finished run in its folder, or else by training, which
    goes on from where an earlier one stopped.
    """
    from nowcast.files import is_written
    from nowcast.runs import finished_score, forget_failure

    _keep_signals_from_children()
    _end_with_sweep()
    may_be_done = config.resume == "auto" and _has_own_folder()
    if may_be_done and is_written(folder):
        log.info("%s: another process trains these settings; waiting for it", folder)
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
    """Let processes that a job forks ignore what Slurm tells all processes of a job whose time is
    over: submitit would queue the job once for each.
    """

    def ignore() -> None:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    os.register_at_fork(after_in_child=ignore)


@cache
def _end_with_sweep() -> None:
    """Let a process of joblib's save and end once the sweep was killed: it would train on, and then
    wait for another job for ever.
    """
    if not current_process().name.startswith("Loky"):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WAIT)
        while True:  # the first one ends the training, the next one the process
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_SAVED_WITHIN)

    threading.Thread(target=watch, daemon=True).start()


def refuse_shared_output(config: Any, overrides: Sequence[str], written: dict[str, Any]) -> None:
    """Let no two jobs of a sweep write the same files. A training has a folder for each of its
    settings; a job of another command writes what it is told.

    written: what the jobs seen so far write; this one is added. Before the first job runs, each is
    composed.
    Errors: ConfigError.
    """
    if OmegaConf.get_type(config) is TrainConfig:
        return
    for key in _WRITTEN:
        path = _as_written(config, key)
        # a file of each time has codes of strftime
        times = [str(config.get(one)) for one in ("at", "period") if "%" in str(path)]
        place = f"{key} {os.path.normpath(str(path))} {times}"
        if path is not None and written.setdefault(place, list(overrides)) != list(overrides):
            own = Path(path).parent / "${hydra:job.num}" / Path(path).name
            raise ConfigError(
                f"{key}: two jobs of this sweep would write {path}; let it differ from job to job,"
                f" as '{key}={own}'."
            )


def _as_written(config: Any, key: str) -> str | None:
    """Where a job writes by one of its keys; None for nowhere, or where no other job does."""
    group, _, last = key.rpartition(".")
    node = OmegaConf.select(config, group) if group else config
    if node is None or last not in node or "${hydra:job." in str(node._get_node(last)._value()):
        return None
    path = node[last]
    checkpoint = config.get("checkpoint")
    if path is None and key == "output" and isinstance(checkpoint, str):  # as export does
        path = Path(checkpoint).with_suffix("")
    return None if path in (None, "-") else str(path)


def register_key() -> None:
    """Let configurations name the folder of each job by its settings, in the process of a job
    too.
    """
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
    """Whether this is a job of a sweep, in a folder that no job with other settings has: as it is
    unless the user set hydra.sweep.subdir.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    config: Any = HydraConfig.instance().cfg
    return "settings_key:" in str(config.hydra.sweep._get_node("subdir")._value())
