"""The leaderboard of trainings: one self-contained HTML file that opens without a network.

The learning curves of all runs are drawn over each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from nowcast.files import written_whole
from nowcast.report import rendering
from nowcast.report.foot import Facts, made_now
from nowcast.report.pictures.colours import LINES, page_colours
from nowcast.report.svg import (
    SOFT,
    Chart,
    nice_ticks,
    plain,
    power_of_ten,
    spread,
    text_colour,
)
from nowcast.runs import Run

COLOURED = 10
"""This many of the best runs have a colour and a label; the others are thin lines behind them."""
_CURVES = (
    ("validation_csi", "Validation CSI"),
    ("validation_loss", "Validation loss"),
    ("train_loss", "Training loss"),
)
_UNDEFINED = "–"
_LABEL_GAP = 12.5
_MOST_DOTS = 24
_LOG_FROM = 10.0  # ratio of greatest to least value from which an axis is logarithmic


@dataclass(frozen=True)
class Entry:
    """A run: its place, its folder, and its values of the settings that differ between runs."""

    place: int
    run: Run
    folder: str
    settings: Sequence[str]


def write_leaderboard_page(
    path: str | Path,
    title: str,
    settings: Sequence[str],
    entries: Sequence[Entry],
    made: datetime | None = None,
) -> Path:
    """Write the page, whole or not at all; `made` is its date, None is now.

    Errors: CannotCreateError, InputOutputError.
    """
    values = values_of(title, settings, entries, made)
    page = rendering.render("leaderboard.html.jinja", "page.js", values)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return Path(path)


def values_of(
    title: str, settings: Sequence[str], entries: Sequence[Entry], made: datetime | None = None
) -> dict[str, Any]:
    """Return the values of the page by the names that its template uses."""
    states = [entry.run.state for entry in entries]
    charts = [_curve(key, name, entries) for key, name in _CURVES]
    return {
        "title": title,
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "settings": settings,
        "rows": [_row(entry) for entry in entries],
        "charts": [chart for chart in charts if chart],
        "colours": page_colours(LINES[:COLOURED]),
        "foot": [*_data_of(entries), *made_now(made)],
        "left_grey": max(0, len(entries) - COLOURED),
    }


def _data_of(entries: Sequence[Entry]) -> Facts:
    """Return the data that the runs were trained on, each path once."""
    paths = [entry.run.settings.get("data.path") for entry in entries]
    known = dict.fromkeys(str(path) for path in paths if path)
    return [("data", ", ".join(known))] if known else []


def score_of(run: Run) -> str:
    """Return the best score as 'CSI 0.4212', or '–' before the first epoch."""
    if run.best_epoch is None:
        return _UNDEFINED
    if run.monitor == "csi":
        return "CSI undefined" if run.score is None else f"CSI {run.score:.4f}"
    return f"{run.monitor} undefined" if run.score is None else f"{run.monitor} {run.score:.4g}"


def epochs_of(run: Run) -> str:
    """Return the epochs done and planned as '12/50'."""
    return str(run.epochs) if run.planned is None else f"{run.epochs}/{run.planned}"


def duration(seconds: float) -> str:
    """Return a duration as '45 s', '12 min' or '3 h 05 min'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _row(entry: Entry) -> Mapping[str, Any]:
    run = entry.run
    return {
        "place": entry.place,
        "line": entry.place - 1 if entry.place <= COLOURED and run.rows else None,
        "score": score_of(run),
        "loss": _UNDEFINED if run.loss is None else f"{run.loss:.4g}",
        "settings": entry.settings,
        "best": _UNDEFINED if run.best_epoch is None else run.best_epoch,
        "epochs": epochs_of(run),
        "time": duration(run.seconds),
        "state": run.state,
        "folder": entry.folder,
        "failure": run.failure,
    }


def _curve(key: str, title: str, entries: Sequence[Entry]) -> Markup | None:
    """Draw one metric against the epoch, a line for each run; None without any value."""
    lines = {entry.place: _values(key, entry.run) for entry in entries}
    every = np.array([value for _, values in lines.values() for value in values])
    every = every[np.isfinite(every)]
    if not every.size:
        return None
    shown = [epoch for epochs, _ in lines.values() for epoch in epochs]
    first, last = min(shown), max(max(shown), min(shown) + 1)
    low, high, log = _limits(every, key)
    chart = Chart(
        title, "epoch", (first, last), (low, high), log_y=log,
        width=400, height=280, right=30,
    )  # fmt: skip
    ticks = [tick for tick in nice_ticks(first, last, 8) if tick == int(tick)]
    chart.x_ticks(ticks, [plain(tick) for tick in ticks], grid=False)
    _y_ticks(chart, low, high, log)
    for place, (epochs, values) in reversed(lines.items()):
        coloured = place <= COLOURED
        colour = f"var(--line-{place - 1})" if coloured else SOFT
        chart.line(epochs, values, colour, 1.8 if coloured else 0.7)
        if coloured and len(epochs) <= _MOST_DOTS:
            chart.dots(epochs, values, "o", colour, 2.0)
    _label_ends(chart, lines)
    return chart.svg(f"{title} of each run against the epoch")


def _values(key: str, run: Run) -> tuple[list[float], list[float]]:
    """Return the epochs of a run, and a metric in each; NaN if it is missing."""
    rows = [row for row in run.rows if isinstance(row.get("epoch"), int | float)]
    values = [row.get(key) for row in rows]
    return (
        [float(row["epoch"]) for row in rows],
        [float(value) if isinstance(value, int | float) else np.nan for value in values],
    )


def _limits(values: Any, key: str) -> tuple[float, float, bool]:
    """Return the ends of the axis, and whether it is logarithmic. A CSI begins at 0."""
    low, high = float(values.min()), float(values.max())
    if key == "validation_csi":
        return 0.0, high * 1.05 or 1.0, False
    if low > 0 and high / low >= _LOG_FROM:
        return low / 1.1, high * 1.1, True
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin, False


def _y_ticks(chart: Chart, low: float, high: float, log: bool) -> None:
    if not log:
        ticks = nice_ticks(low, high)
        chart.y_ticks(ticks, [plain(tick) for tick in ticks])
        return
    powers = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    chart.y_ticks([10.0**power for power in powers], [power_of_ten(power) for power in powers])


def _label_ends(chart: Chart, lines: Mapping[int, tuple[list[float], list[float]]]) -> None:
    """Write the place of each coloured run right of the axes, near the end of its line."""
    ends = {
        place: finite[-1]
        for place, (_, values) in lines.items()
        if place <= COLOURED and (finite := [one for one in values if np.isfinite(one)])
    }
    heights = [float(chart.y(value)) for value in ends.values()]
    for place, height in zip(
        ends, spread(heights, _LABEL_GAP, chart.top, chart.bottom), strict=True
    ):
        chart.words(chart.right + 6, height + 3.8, str(place), colour=text_colour(place - 1))
