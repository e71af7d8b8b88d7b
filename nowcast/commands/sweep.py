"""Where Hydra puts what it runs: the folder of a run that failed is removed while it is empty; a sweep ends in a table of its runs."""

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

_folder: list[Path] = []
_started: list[float] = []
_new: list[Path] = []


class RememberSweep(Callback):
    """Hydra tells it where a run or a sweep puts its files, since that is known nowhere else once it is over."""

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        _new[:] = [one for one in (folder, *folder.parents) if not one.exists()]

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        _folder[:] = [Path(config.hydra.sweep.dir)]
        _started[:] = [time.time()]


def sweep_folder() -> Path | None:
    """The folder of the sweep that was run, if one was."""
    return _folder[0] if _folder else None


def forget_sweep() -> None:
    """Before a command, so that a sweep earlier in this process is not taken for its own."""
    _folder.clear()
    _new.clear()


def remove_empty_run() -> None:
    """Remove the folders that Hydra made for a run, the deepest first, as far as nothing but Hydra's own record is in them."""
    record = _new[0] / ".hydra" if _new else None
    if record is not None and record.is_dir() and [path.name for path in _new[0].iterdir()] == [".hydra"]:
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
    of_this_sweep = [path for path in folder.glob("*/.hydra/overrides.yaml") if path.stat().st_mtime >= _started[0] - 1]
    rows = sorted(map(_read_job, of_this_sweep), key=_rank)
    shared = set.intersection(*[set(row["overrides"]) for row in rows]) if len(rows) > 1 else set()
    table = Table(
        "job", "overrides", "score", "epoch", "folder", box=box.SIMPLE_HEAD, title="Sweep, best first", title_justify="left"
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
        table.add_row(row["job"], own, score, str(row.get("best_epoch", "-")), str(folder / row["job"]))
    Console().print(table)


def _read_job(path: Path) -> dict[str, Any]:
    folder = path.parents[1]
    overrides = [line.removeprefix("- ") for line in path.read_text().splitlines() if line != "[]"]
    summary = folder / "summary.json"
    done = summary.exists() and summary.stat().st_mtime >= path.stat().st_mtime  # else it is of an earlier sweep
    return {"job": folder.name, "overrides": overrides, **(json.loads(summary.read_text()) if done else {})}


def _rank(row: dict[str, Any]) -> tuple[bool, float]:
    if row.get("score") is None:
        return (True, 0.0)
    return (False, -row["score"] if row["monitor"] == "csi" else row["score"])
