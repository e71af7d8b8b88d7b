"""`nowcast sweep`: the trainings in a folder, best first, as a table, CSV and HTML page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nowcast.console import console, printable
from nowcast.errors import MissingInputError
from nowcast.files import written_whole
from nowcast.report.leaderboard import Entry, duration, epochs_of, score_of, write_leaderboard_page
from nowcast.runs import FAILED, Run, differing, find_runs, rounded

TABLE, PAGE = "leaderboard.csv", "leaderboard.html"
_MOST_COLUMNS = 6


def sweep(folder: Path) -> None:
    """Print and write the leaderboard of the trainings below a folder.

    Errors: MissingInputError if the folder has none; DataError if none can be read.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: no such folder; give the output of 'nowcast train -m'.")
    runs = find_runs(folder)
    if not runs:
        raise MissingInputError(
            f"{folder}: contains no training; give the output of 'nowcast train -m'."
        )
    write_leaderboard(folder, runs)


def write_leaderboard(folder: Path, runs: Sequence[Run]) -> None:
    """Print the leaderboard of these runs, best first, and write it into the folder.

    Errors: CannotCreateError, InputOutputError.
    """
    settings = differing(runs)
    with written_whole(folder / TABLE) as path:
        path.write_text(as_csv(folder, runs, settings), encoding="utf-8", errors="replace")
    entries = [
        Entry(
            place,
            run,
            str(_below(run.folder, folder)),
            [rounded(values[place - 1]) for values in settings.values()],
        )
        for place, run in enumerate(runs, 1)
    ]
    write_leaderboard_page(folder / PAGE, str(folder), list(settings), entries)
    _print(folder, runs, settings)


def as_csv(folder: Path, runs: Sequence[Run], settings: dict[str, list[str]]) -> str:
    """Return the leaderboard as CSV, a line for each run, with exact numbers."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    rows: list[list[Any]] = [
        ["place", "state", "monitor", "score", "validation_loss", "best_epoch", "epochs",
         "planned_epochs", "seconds", *settings, "folder", "failure"]
    ]  # fmt: skip
    for place, run in enumerate(runs):
        rows.append(
            [place + 1, run.state, run.monitor, run.score, run.loss, run.best_epoch, run.epochs,
             run.planned, round(run.seconds, 3), *[values[place] for values in settings.values()],
             str(_below(run.folder, folder)), run.failure]
        )  # fmt: skip
    table.writerows([_no_formula(cell) for cell in row] for row in rows)
    return written.getvalue()


def _no_formula(cell: Any) -> Any:
    """Return a cell that no spreadsheet evaluates: a ' is put before text that looks like a
    formula.
    """
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _print(folder: Path, runs: Sequence[Run], settings: dict[str, list[str]]) -> None:
    shown = list(settings)[:_MOST_COLUMNS]
    table = Table(box=box.SIMPLE_HEAD, title="Trainings, best first", title_justify="left")
    for name in ("", "score", *shown, "epochs", "time", "state", "folder"):
        table.add_column(Text(name), justify="right" if name in ("", "epochs", "time") else "left")
    for place, run in enumerate(runs):
        values = [printable(rounded(settings[key][place])) for key in shown]
        words = [
            str(place + 1), score_of(run), *values, epochs_of(run), duration(run.seconds),
            run.state, printable(str(run.folder)),
        ]  # fmt: skip
        table.add_row(*map(Text, words))
    screen = console(markup=False)
    with screen.capture() as drawn:
        screen.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
    for run in runs:
        if run.state == FAILED:
            print(printable(f"failed: {run.folder}: {run.failure}"))
    if len(settings) > len(shown):
        print(f"{len(settings) - len(shown)} more settings differ; see {folder / TABLE}")
    print(f"{folder / TABLE}, {folder / PAGE}")


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder)
