"""The tables of the report as plain values: headline, differences, all scores, missing pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nowcast.report.diagrams import at_or_above, names_of
from nowcast.verification.remarks import AMOUNT_TITLE
from nowcast.verification.scoring import Score, ranked_events, shown_in
from nowcast.verification.swaps import more_than_chance, significantly_better

if TYPE_CHECKING:
    import xarray as xr

UNDEFINED = "–"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and below it an interval or a remark in small type."""

    text: str
    small: str = ""
    is_bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its head, its rows (heading and cells), a caption, and the class of its style."""

    head: list[Cell]
    rows: list[tuple[str, list[Cell]]]
    caption: str = ""
    kind: str = "scores"


def headline(scores: "xr.Dataset") -> list[Table]:
    """Return CSI, frequency bias and HSS by threshold, and errors: `…_mean` of each forecast with
    its interval.

    A forecast that is the best by more than chance is bold.
    """
    names = names_of(scores)
    tables = [
        _table(
            [score.title, *names],
            [
                (at_or_above(scores, value), _cells(scores, score, value))
                for value in scores["threshold"].values
            ],
        )
        for score in shown_in("headline", of_events=True)
    ]
    errors = [
        (score.title_in(scores), _cells(scores, score))
        for score in shown_in("headline", of_events=False)
        if f"{score.name}_mean" in scores
    ]
    every = "all sums" if AMOUNT_TITLE in scores.attrs else "all rates"
    return [*tables, _table([every, *names], errors)]


def winners(scores: "xr.Dataset") -> tuple[dict[str, list[str]], list[str]]:
    """Return the thresholds at which each forecast has the best CSI by more than chance, and the
    thresholds at which none has.
    """
    found: dict[str, list[str]] = {name: [] for name in names_of(scores)}
    undecided: list[str] = []
    for threshold in scores["threshold"].values:
        winner = significantly_better(scores, "csi", threshold=threshold)
        is_known = winner.certain and winner.forecast is not None
        where = found[str(winner.forecast)] if is_known else undecided
        where.append(f"{threshold:g}")
    return {name: where for name, where in found.items() if where}, undecided


def differences(scores: "xr.Dataset") -> list[tuple[str, list[Table]]]:
    """Return the differences of the forecasts with intervals, in groups with a title.

    Differences by more than chance are bold. Two forecasts give one group without a title, with a
    table for each score. More forecasts give a group for each score, with a matrix for each
    threshold.
    """
    of_all = [
        score
        for score in shown_in("headline", of_events=False)
        if f"{score.name}_mean_difference" in scores
    ]
    if scores.sizes["forecast"] == 2:
        return [("", _of_two(scores, of_all))]
    groups = [
        (
            score.title,
            [
                _matrix(scores, score, f"{score.title} {at_or_above(scores, value)}", value)
                for value in scores["threshold"].values
            ],
        )
        for score in ranked_events()
    ]
    every = "all sums" if AMOUNT_TITLE in scores.attrs else "all rates"
    matrices = [_matrix(scores, score, score.title_in(scores)) for score in of_all]
    return [*groups, (every, matrices)]


def _of_two(scores: "xr.Dataset", of_all: Sequence[Score]) -> list[Table]:
    """Return the first forecast minus the other, a row for each threshold or score."""
    first, other = names_of(scores)
    head = [f"{first} minus …", other]
    tables = [
        _table(
            head,
            [
                (
                    f"{score.title} {at_or_above(scores, value)}",
                    [_difference_cell(scores, score, (0, 1), value)],
                )
                for value in scores["threshold"].values
            ],
        )
        for score in ranked_events()
    ]
    errors = [
        (score.title_in(scores), [_difference_cell(scores, score, (0, 1))]) for score in of_all
    ]
    return [*tables, _table(head, errors)]


def _matrix(
    scores: "xr.Dataset", score: Score, title: str, threshold: float | None = None
) -> Table:
    """Return the matrix of one score: the forecast of each row minus that of each column."""
    names = names_of(scores)
    places = range(len(names))
    rows = [
        (
            names[one],
            [
                Cell("·")
                if one == other
                else _difference_cell(scores, score, (one, other), threshold)
                for other in places
            ],
        )
        for one in places
    ]
    head = [Cell("row minus column"), *map(Cell, names)]
    return Table(head, rows, title, "scores small")


def all_scores(scores: "xr.Dataset", shown: Sequence[Score], forecast: int) -> Table:
    """Return these scores of one forecast by threshold, each as mean over lead times and pooled."""
    ways = [(score, how) for score in shown for how in ("mean", "pooled")]
    here = scores.isel(part=0, forecast=forecast)
    columns = [here[f"{score.name}_{how}"].values for score, how in ways]
    rows = [
        (
            at_or_above(scores, value),
            [
                Cell(number(one, score.decimals_of([one])))
                for one, (score, _) in zip(cells, ways, strict=True)
            ],
        )
        for value, *cells in zip(scores["threshold"].values, *columns, strict=True)
    ]
    head = [Cell(""), *[Cell(score.title, small=how) for score, how in ways]]
    return Table(head, rows, names_of(scores)[forecast], "scores small")


def missing(counts: "xr.Dataset") -> Table:
    """Return the observed pixels, and those not scored, by forecast."""
    total = int(counts["total"].sum())
    rows = []
    for place, name in enumerate(names_of(counts)):
        lacking = int(counts["missing"].isel(forecast=place).sum())
        share = f"{100 * lacking / total:.3g} %" if total else UNDEFINED
        rows.append((name, [Cell(f"{total:,}"), Cell(f"{lacking:,}"), Cell(share)]))
    return _table(
        ["forecast", "pixels of observed frames", "not scored because missing", "share"], rows
    )


def _table(head: Sequence[str], rows: Iterable[tuple[str, list[Cell]]]) -> Table:
    return Table([Cell(text) for text in head], list(rows))


def _cells(scores: "xr.Dataset", score: Score, threshold: float | None = None) -> list[Cell]:
    """Return the mean of one score for each forecast, with its interval.

    A forecast that is the best by more than chance is bold.
    """
    where = {} if threshold is None else {"threshold": threshold}
    mean = f"{score.name}_mean"
    here = scores[_with_bounds(scores, mean)].sel(where)
    winner = significantly_better(scores, score.name, **where)
    values = here[mean].isel(part=0).values
    places = score.decimals_of(values)
    return [
        Cell(
            number(values[place], places),
            _interval(here, mean, places, forecast=place),
            winner.certain and name == winner.forecast,
        )
        for place, name in enumerate(names_of(scores))
    ]


def _difference_cell(
    scores: "xr.Dataset", score: Score, pair: tuple[int, int], threshold: float | None = None
) -> Cell:
    """Return the mean of one forecast minus that of another, with its interval; bold if the
    difference is more than chance.
    """
    name = f"{score.name}_mean_difference"
    where = {} if threshold is None else {"threshold": threshold}
    of_pairs = scores[[*_with_bounds(scores, name), f"{name}_p"]].sel(where)
    here = of_pairs.isel(forecast=pair[0], other_forecast=pair[1])
    places = score.decimals_of(of_pairs[name].values)
    return Cell(
        number(here[name].item(), places, signed=True),
        _interval(here, name, places),
        bool(more_than_chance(here[f"{name}_p"])),
    )


def _with_bounds(scores: "xr.Dataset", name: str) -> list[str]:
    return [one for one in (name, f"{name}_low", f"{name}_high") if one in scores]


def _interval(here: "xr.Dataset", name: str, places: int, **place: int) -> str:
    if f"{name}_low" not in here:
        return ""
    low, high = (here[f"{name}_{side}"].isel(place).item() for side in ("low", "high"))
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    signed = name.endswith("difference")
    return f"{number(low, places, signed)} to {number(high, places, signed)}"


def number(value: float, places: int = 3, signed: bool = False) -> str:
    """Return a number with a true minus; '–' if undefined."""
    if not np.isfinite(value):
        return UNDEFINED
    value = round(value, places) + 0.0  # no −0.000
    return f"{value:{'+' if signed and value else ''},.{places}f}".replace("-", "−")
