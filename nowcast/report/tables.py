"""The tables of the report: the headline with intervals, what differs by more than chance, all
scores, data, settings.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nowcast.report.diagrams import at_or_above, names_of
from nowcast.verification.scoring import Score, shown_in
from nowcast.verification.swaps import LEAST_BLOCKS, more_than_chance, significantly_better

if TYPE_CHECKING:
    import xarray as xr

_UNDEFINED = '<span class="undefined" title="undefined: 0/0">–</span>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = ""
) -> str:
    """A table of cells that are HTML already; the first of each row is its heading."""
    first = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    caption = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="wide"><table class="{kind}">{caption}<thead><tr>{first}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def headline(scores: "xr.Dataset") -> str:
    """CSI and HSS by threshold, and errors: `…_mean` of each forecast with its interval, the
    best bold where that is no chance.
    """
    names = [html.escape(name) for name in names_of(scores)]
    tables = []
    for score in shown_in("headline", of_events=True):
        rows = [
            [at_or_above(scores, value), *_cells(scores, score, value)]
            for value in scores["threshold"].values
        ]
        tables.append(table([score.title, *names], rows, kind="scores"))
    errors = [
        [score.title, *_cells(scores, score)]
        for score in shown_in("headline", of_events=False)
        if f"{score.name}_mean" in scores
    ]
    return "".join([*tables, table(["all rates", *names], errors, kind="scores")])


def has_intervals(scores: "xr.Dataset") -> bool:
    """Whether there are any: not without resampling, nor of fewer than four days."""
    return "csi_mean_low" in scores and bool(scores["csi_mean_low"].notnull().any())


def verdict(scores: "xr.Dataset") -> str:
    """In words, at which thresholds which forecast has the best CSI by more than chance."""
    names, thresholds = names_of(scores), scores["threshold"].values
    if len(names) < 2:
        return f"{html.escape(names[0])} stands alone here: there is nothing to compare it with."
    if not scores.attrs["resamples"]:
        return "Resampling is off, so no difference is tested: nothing is bold."
    if scores.attrs["blocks"] < LEAST_BLOCKS:
        return (
            f"The cases lie in {_blocks(scores)}: too few to call any forecast better than another,"
            " so nothing is bold."
        )
    winners = [significantly_better(scores, "csi", threshold=threshold) for threshold in thresholds]
    found = [
        (winner.forecast if winner.certain else None, f"{threshold:g}")
        for winner, threshold in zip(winners, thresholds, strict=True)
    ]
    unit = (
        at_or_above(scores, thresholds[0]).rpartition(" ")[2]
        if "mm/h" in at_or_above(scores, thresholds[0])
        else ""
    )
    sentences = []
    for name in names:
        where = [threshold for winner, threshold in found if winner == name]
        if where:
            sentences.append(
                f"<b>{html.escape(name)}</b> has the best CSI by more than chance at"
                f" {listed(where)} {unit}."
            )
    nowhere = [threshold for winner, threshold in found if winner is None]
    if nowhere:
        sentences.append(
            f"At {listed(nowhere)} {unit} no forecast is better than all others by more than"
            " chance."
        )
    return " ".join(sentences)


def _blocks(scores: "xr.Dataset") -> str:
    return f"{scores.attrs['blocks']} block{'s' * (scores.attrs['blocks'] != 1)}"


def differences(scores: "xr.Dataset") -> str:
    """The first forecast minus each other, with intervals; bold where it is more than chance."""
    first, *others = (html.escape(name) for name in names_of(scores))
    head = [f"{first} minus …", *others]
    tables = []
    for score in shown_in("headline", of_events=True):
        rows = [
            [
                f"{score.title} {at_or_above(scores, value)}",
                *_difference_cells(scores, score, threshold=value),
            ]
            for value in scores["threshold"].values
        ]
        tables.append(table(head, rows, kind="scores"))
    rows = [
        [score.title, *_difference_cells(scores, score)]
        for score in shown_in("headline", of_events=False)
        if f"{score.name}_mean_difference" in scores
    ]
    return "".join([*tables, table(head, rows, kind="scores")])


def all_scores(scores: "xr.Dataset", shown: Sequence[Score], forecast: int) -> str:
    """All these scores of one forecast by threshold, each as its mean over lead times and
    pooled.
    """
    columns = [
        scores[f"{score.name}_{how}"].isel(part=0, forecast=forecast).values
        for score in shown
        for how in ("mean", "pooled")
    ]
    rows = [
        [at_or_above(scores, value), *map(_number, cells)]
        for value, *cells in zip(scores["threshold"].values, *columns, strict=True)
    ]
    head = [
        "",
        *[
            f"{score.title}<br><small>{how}</small>"
            for score in shown
            for how in ("mean", "pooled")
        ],
    ]
    return table(head, rows, html.escape(names_of(scores)[forecast]), kind="scores small")


def missing(counts: "xr.Dataset") -> str:
    """Pixels that were to be scored, and those that were not, by forecast."""
    total = int(counts["total"].sum())
    rows = []
    for number, name in enumerate(names_of(counts)):
        lacking = int(counts["missing"].isel(forecast=number).sum())
        share = f"{100 * lacking / total:.3g} %" if total else "–"
        rows.append([html.escape(name), f"{total:,}", f"{lacking:,}", share])
    return table(
        ["forecast", "pixels of observed frames", "not scored, for they are missing", "share"],
        rows,
        kind="scores",
    )


def pairs(values: Mapping[str, str]) -> str:
    """Keys and values as they are, escaped."""
    rows = [[html.escape(key), html.escape(value)] for key, value in values.items()]
    return table(["", ""], rows, kind="pairs")


def listed(words: Sequence[str]) -> str:
    """'1', '1 and 2', '1, 2 and 5'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cells(scores: "xr.Dataset", score: Score, threshold: float | None = None) -> list[str]:
    """The mean of one score for each forecast, with its interval below, the best bold where it
    is so by more than chance.
    """
    where = {} if threshold is None else {"threshold": threshold}
    mean = f"{score.name}_mean"
    here = scores[_with_bounds(scores, mean)].sel(where)
    winner = significantly_better(scores, score.name, **where)
    values = here[mean].isel(part=0).values
    places = score.decimals_of(values)
    cells = []
    for number, name in enumerate(names_of(scores)):
        text = _number(values[number], places)
        if winner.certain and name == winner.forecast:
            text = f'<b title="better than each other forecast by more than chance">{text}</b>'
        cells.append(text + _interval(here, mean, places, forecast=number))
    return cells


def _difference_cells(scores: "xr.Dataset", score: Score, **where: float) -> list[str]:
    """The mean of the first forecast minus that of each other, with its interval below, bold
    where it is more than chance.
    """
    name = f"{score.name}_mean_difference"
    here = scores[[*_with_bounds(scores, name), f"{name}_p"]].sel(where)
    places = score.decimals_of(here[name].values)
    cells = []
    for number in range(1, here.sizes["forecast"]):
        place = {"forecast": 0, "other_forecast": number}
        text = _number(here[name].isel(place).item(), places, signed=True)
        is_bold = more_than_chance(here[f"{name}_p"].isel(place))
        cells.append(
            (f"<b>{text}</b>" if is_bold else text) + _interval(here, name, places, **place)
        )
    return cells


def _with_bounds(scores: "xr.Dataset", name: str) -> list[str]:
    return [one for one in (name, f"{name}_low", f"{name}_high") if one in scores]


def _interval(here: "xr.Dataset", name: str, places: int, **place: int) -> str:
    if f"{name}_low" not in here:
        return ""
    low, high = (here[f"{name}_{side}"].isel(place).item() for side in ("low", "high"))
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    signed = name.endswith("difference")
    return f"<small>{_number(low, places, signed)} to {_number(high, places, signed)}</small>"


def _number(value: float, places: int = 3, signed: bool = False) -> str:
    """With a true minus; '–' where undefined."""
    if not np.isfinite(value):
        return _UNDEFINED
    value = round(value, places) + 0.0  # no −0.000
    return f"{value:{'+' if signed and value else ''},.{places}f}".replace("-", "−")
