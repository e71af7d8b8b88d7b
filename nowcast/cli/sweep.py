"""What Hydra does around a training: which way a sweeper optimises, the table at the end of a
sweep, and the output of a failed run.
"""

import json
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write

from nowcast.errors import ConfigError

log = logging.getLogger(__name__)

DIRECTIONS = {"csi": "maximize", "loss": "minimize"}
"""Which way each `training.monitor` is better, as Optuna names it."""
GROUPS = ("data", "scaling", "model", "optimizer", "schedule")
_DIRECTION = "hydra.sweeper.direction"

_folder: list[Path] = []
_started: list[float] = []
_new: list[Path] = []


class RememberSweep(Callback):
    """Hydra tells it where a sweep or a run puts its output, which nothing else knows before
    and afterwards.
    """

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        _new[:] = [one for one in (folder, *folder.parents) if not one.exists()]

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        _folder[:] = [Path(config.hydra.sweep.dir)]
        _started[:] = [time.time()]
        set_direction(config)


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
    """Print the jobs of the sweep with the score of each, best first; those without one last."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    folder = sweep_folder()
    if folder is None:
        return
    of_this_sweep = [
        path
        for path in folder.glob("*/.hydra/overrides.yaml")
        if path.stat().st_mtime >= _started[0] - 1
    ]
    rows = sorted(map(_read_job, of_this_sweep), key=_rank)
    if not rows:  # it was only checked, or ended before its first job
        return
    shared = set.intersection(*[set(row["overrides"]) for row in rows]) if len(rows) > 1 else set()
    table = Table(
        "job",
        "overrides",
        "score",
        "epoch",
        "folder",
        box=box.SIMPLE_HEAD,
        title="Sweep, best first",
        title_justify="left",
    )
    for row in rows:
        score = (
            f"{row['monitor']} {row['score']:.4g}"
            if row.get("score") is not None
            else "undefined"
            if "score" in row
            else "failed"
        )
        own = " ".join(override for override in row["overrides"] if override not in shared)
        table.add_row(
            row["job"], own, score, str(row.get("best_epoch", "-")), str(folder / row["job"])
        )
    Console().print(table)


def _read_job(path: Path) -> dict[str, Any]:
    folder = path.parents[1]
    overrides = [line.removeprefix("- ") for line in path.read_text().splitlines() if line != "[]"]
    summary = folder / "summary.json"
    # else it is of an earlier sweep
    done = summary.exists() and summary.stat().st_mtime >= path.stat().st_mtime
    return {
        "job": folder.name,
        "overrides": overrides,
        **(json.loads(summary.read_text()) if done else {}),
    }


def _rank(row: dict[str, Any]) -> tuple[bool, str, float, float]:
    """Best first: jobs with equal scores by their validation loss, an undefined score as 0,
    jobs with another monitor apart.
    """
    if "score" not in row:
        return (True, "", 0.0, 0.0)
    score = row["score"] or 0.0
    return (
        False,
        row["monitor"],
        -score if row["monitor"] == "csi" else score,
        row.get("validation_loss") or 0.0,
    )
