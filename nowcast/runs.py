"""Read the folders of training runs for a comparison: settings, state, and scores so far.

Nothing heavy is imported and no checkpoint is read, so this also works while a run goes on.
"""

import hashlib
import json
import logging
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent

from nowcast.errors import DataError
from nowcast.files import is_written, written_whole

log = logging.getLogger(__name__)

RECORD = Path(".hydra") / "config.yaml"
"""The settings of a run, written by the command line when the run starts."""
OVERRIDES = RECORD.with_name("overrides.yaml")
FAILURE = "failed.txt"
"""The file that says why a job of a sweep failed; removed when the job runs again."""
FINISHED, RUNNING, UNFINISHED, FAILED = "finished", "running", "unfinished", "failed"
_MOST_BYTES = 2**20
_MOST_METRICS = 2**26
_KEY_DIGITS = 8
_LONGEST = 9
SAME_BITS = (
    "output", "resume", "loggers", "data.cache", "data.cache_gb", "training.workers",
    "training.log_every",
)  # fmt: skip
"""Keys of `nowcast train` that change no bit of the result. Only data.cache=null does: frames that
are not unpacked give other windows.
"""
SAME_RESULT = (
    *SAME_BITS, "device", "deterministic", "training.accumulate", "training.checkpoint_segments",
)  # fmt: skip
"""Keys that change the result by no more than rounding."""
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A training run.

    state: 'finished', 'running', 'unfinished' or 'failed'. settings: by dotted keys. overrides:
    the settings given on the command line, by key. monitor: 'csi' or 'loss'. score: the best
    monitored value so far, None if undefined or before the first epoch is done. rows: the metrics
    of each epoch. epochs: how many of `planned` are done. seconds: of training and validation.
    failure: why it failed.
    """

    folder: Path
    state: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    monitor: str = "csi"
    score: float | None = None
    loss: float | None = None
    best_epoch: int | None = None
    rows: Sequence[_Row] = ()
    epochs: int = 0
    planned: int | None = None
    seconds: float = 0.0
    failure: str = ""


def find_runs(folder: Path) -> list[Run]:
    """Return the runs below a folder, the best first. A run that cannot be read is skipped with a
    warning. Errors: DataError if none can be read.
    """
    runs, unread = list[Run](), list[DataError]()
    for path in sorted(folder.rglob(str(RECORD))):
        try:
            runs.append(read_run(path.parents[1]))
        except DataError as error:
            unread.append(error)
    if unread and not runs:
        raise unread[0]
    for one in unread:
        log.warning("skipped: %s", one)
    return sorted(runs, key=rank)


def read_run(folder: Path) -> Run:
    """Return the run recorded in a folder; it may still be running.

    Errors: DataError, naming the file, if the folder holds no valid record of a run.
    """
    settings = dict(flat(_yaml(folder / RECORD, dict)))
    given = (str(word).lstrip("+~").partition("=") for word in _yaml(folder / OVERRIDES, list))
    rows = _rows(folder / "metrics.jsonl")
    failure = " ".join(_lines(folder / FAILURE))
    monitor = settings.get("training.monitor", "csi")
    if monitor not in ("csi", "loss"):
        raise _damaged(folder / RECORD)
    best = min(rows, key=lambda row: _badness(monitor, row), default={})
    return Run(
        folder=folder,
        state=_state(folder, failure),
        settings=settings,
        overrides={key: value for key, _, value in given},
        monitor=monitor,
        score=best.get(f"validation_{monitor}"),
        loss=best.get("validation_loss"),
        best_epoch=best.get("epoch"),
        rows=rows,
        epochs=max((int(row.get("epoch") or 0) for row in rows), default=0),
        planned=settings.get("training.epochs"),
        seconds=sum(row.get("seconds") or 0.0 for row in rows),
        failure=failure,
    )


def finished_score(folder: Path) -> tuple[str, float] | None:
    """Return the monitor and the score (NaN if undefined) of a finished run; None for a run that is
    not finished. Errors: DataError for a damaged summary.json.
    """
    if _state(folder, " ".join(_lines(folder / FAILURE))) != FINISHED:
        return None
    path = folder / "summary.json"
    summary = _mapping(path, _text(path) or "")
    score = _number(path, summary.get("score"))
    return str(summary.get("monitor", "csi")), math.nan if score is None else score


def forget_failure(folder: Path) -> None:
    """Remove the record of an earlier failure in this folder."""
    (folder / FAILURE).unlink(missing_ok=True)


def record_failure(folder: Path, message: str) -> None:
    """Write why a run failed into its folder."""
    with written_whole(folder / FAILURE) as path:
        path.write_text(f"{message}\n", encoding="utf-8")


def rank(run: Run) -> tuple[bool, str, float, float]:
    """Return a sort key, best first. Runs are grouped by monitor, and equal scores are ordered by
    their validation loss. An undefined score counts as 0, and runs without an epoch come last.
    """
    if run.best_epoch is None:
        return True, run.monitor, 0.0, 0.0
    return (
        False,
        run.monitor,
        *_badness(
            run.monitor, {f"validation_{run.monitor}": run.score, "validation_loss": run.loss}
        ),
    )


def key_of(settings: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits that identify the settings of a training.

    Settings that do not affect the result are ignored, and so are those that are off (null, false
    or empty). So a key that a later version adds changes nothing while it is off. data.cache=null
    (frames that are not unpacked) does count.
    """
    values = dict(sorted(flat(settings)))
    plain = {key: value for key, value in values.items() if matters(key) and not _is_off(value)}
    if values.get("data.cache", "") is None:
        plain["data.cache"] = None
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings that differ between runs, by key, each with its value for every run.

    A key given on the command line, such as model or experiment, stands for all keys that it sets.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings if matters(key))
    changing = [key for key in keys if _differs([run.settings.get(key) for run in runs])]
    given = {
        key: [run.overrides.get(key, _shown(run.settings.get(key))) for run in runs]
        for key in dict.fromkeys(key for run in runs for key in run.overrides if matters(key))
    }
    told = {key: values for key, values in given.items() if _differs(values)}
    left = [key for key in changing if not any(_covers(one, key) for one in told)]
    return told | {key: [_shown(run.settings.get(key)) for run in runs] for key in left}


def rounded(value: str) -> str:
    """Return a setting's value as shown in a table: long numbers are rounded to four digits."""
    try:
        return value if len(value) <= _LONGEST else f"{float(value):.4g}"
    except ValueError:
        return value


def matters(key: str) -> bool:
    """Return whether a key changes the result of a training by more than rounding."""
    return key not in SAME_RESULT and not key.startswith("hydra")


def _covers(given: str, key: str) -> bool:
    return given in ("experiment", key) or key.startswith(f"{given}.")


def _differs(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values[1:])


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _badness(monitor: str, row: _Row) -> tuple[float, float]:
    score, loss = row.get(f"validation_{monitor}"), row.get("validation_loss")
    loss = math.inf if loss is None else loss
    return (-(score or 0.0), loss) if monitor == "csi" else (loss, 0.0)


def _state(folder: Path, failure: str) -> str:
    if is_written(folder):
        return RUNNING
    if failure:
        return FAILED
    return FINISHED if (folder / "summary.json").exists() else UNFINISHED


def _text(path: Path, most: int = _MOST_METRICS) -> str | None:
    """Return the text of a file, or None if it is missing.

    Errors: DataError, also for anything but a regular file: reading a pipe could block.
    """
    try:
        with open(path, encoding="utf-8", opener=_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > most:
                raise _damaged(path)
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _damaged(path) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _lines(path: Path) -> list[str]:
    return [line for line in (_text(path) or "").split("\n") if line]


def _rows(path: Path) -> list[_Row]:
    """Return the metrics of each epoch. An incomplete last line, as after a power cut, is skipped.

    Errors: DataError.
    """
    text = _text(path) or ""
    whole, _, last = text.rpartition("\n")
    rows = [_row(path, line) for line in whole.split("\n") if line]
    with suppress(DataError):
        rows += [_row(path, last)]
    return rows


def _row(path: Path, line: str) -> _Row:
    row = _mapping(path, line)
    return row | {
        key: _number(path, value)
        for key, value in row.items()
        if key in ("epoch", "seconds") or key.startswith(("train_", "validation_"))
    }


def _number(path: Path, value: Any) -> float | None:
    """Return a number of a record; None if it is undefined or not finite. Errors: DataError."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _damaged(path)
    try:
        return value if value is not None and math.isfinite(value) else None
    except OverflowError as error:
        raise _damaged(path) from error


def _mapping(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """YAML without aliases, which could make a small file a huge value; Hydra writes none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _yaml(path: Path, kind: type) -> Any:
    """Return the content of a record, empty if the file is missing or still empty. Errors:
    DataError if the content is of another kind.
    """
    text = _text(path, _MOST_BYTES) or ""
    try:
        found = _PlainLoader(text).get_single_data()
    # PyYAML may raise any error for a value that does not fit its tag
    except Exception as error:
        raise _damaged(path) from error
    found = kind() if found is None else found
    if not isinstance(found, kind):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: damaged, or not a record of a training.")


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested settings under dotted keys."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
