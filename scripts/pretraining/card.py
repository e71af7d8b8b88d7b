"""The scores in the model card, made from scores.csv, the table that `score.py` fills."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import fill

import pandas as pd
from sources import EVENTS, OWNERS

TABLE = Path(__file__).with_name("scores.csv")
THRESHOLDS = (0.5, 1.0, 2.0, 5.0, 10.0)
KEYS = ("event", "forecast")
WORDS = ("without", "sha256")
"""Columns of text: the groups of radars that a training left out, and the checkpoint's SHA-256."""
ENDS = ("low", "high")
SCORES = ("csi", "brier", "reliability", *ENDS, *(f"difference {end}" for end in ENDS))
MODEL, LAGRANGIAN, EXTRAPOLATION = "model", "lagrangian", "extrapolation"
NAMES = {
    EXTRAPOLATION: "extrapolation",
    "sprog": "S-PROG",
    "linda": "LINDA",
    LAGRANGIAN: "Lagrangian probability, cuts",
    MODEL: "the model",
}
WIDTH = 100
LEAST_DAYS = 10
"""Least number of days for bootstrap intervals over days."""

INTRODUCTION = (
    "The table shows the mean CSI over the lead times of an hour at 0.5, 1, 2, 5 and 10 mm/h, on"
    " the pixels that all forecasts cover. {marks}The"
    " Lagrangian probability forecast is not trained; its calibration and cuts come from the same"
    " validation days, in the same way as those of the model. What the network and the other"
    " thresholds add to the probabilities was halved after training. One half was chosen on 16 May"
    " 2018 (RADOLAN) and on the two KNMI events, so the KNMI rows are not independent of that"
    " choice. The composites of RMI and OPERA include radars of DWD, KNMI and Météo-France, on"
    " other days than those of the training."
)
LEFT_OUT = (
    "The model of a row with a number was trained and calibrated without {owners}. The other rows"
    " are scores of the model in the package."
)
ABOUT_PROBABILITIES = (
    "Scores of probabilities at these thresholds. CRPS is in mm/h; reliability is the largest"
    " distance from the diagonal of the reliability diagram:"
)


def column(what: str, threshold: float) -> str:
    """Return the column of a score at a threshold in mm/h."""
    return f"{what} {threshold:g}"


def columns(what: str) -> list[str]:
    """Return the columns of a score at all thresholds."""
    return [column(what, threshold) for threshold in THRESHOLDS]


def read_table(path: Path = TABLE) -> pd.DataFrame:
    """Return the scores; each row is an event and a forecast. Exit if it is no such table."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys((*KEYS, *WORDS), str))
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"{path}: not a table of scores ({error}); give one that score.py wrote."
        ) from error
    numbers = ["cases", "days", "crps", *(name for what in SCORES for name in columns(what))]
    missing = [name for name in (*KEYS, *WORDS, *numbers) if name not in table]
    if missing:
        raise SystemExit(f"{path}: has no column {', '.join(missing)}; correct it, or score again.")
    table = table.set_index(list(KEYS)).fillna(dict.fromkeys(WORDS, ""))
    groups = {group for joined in table["without"] for group in str(joined).split("+") if group}
    for wrong, names in (
        ("names unknown events", {*table.index.unique("event")} - EVENTS.keys()),
        ("names unknown groups of radars", groups - OWNERS.keys()),
        (
            "has two rows of",
            {" ".join(map(str, key)) for key in table.index[table.index.duplicated()]},
        ),
        ("holds text in", {*numbers} - {*table.select_dtypes("number")}),
    ):
        if names:
            raise SystemExit(
                f"{path}: {wrong} {', '.join(sorted(map(str, names)))}; correct it, or score again."
            )
    return table


def refuse_missing_rows(table: pd.DataFrame) -> None:
    """Exit if no event was scored for `MODEL`, or one of these lacks a forecast beside it."""
    events = [event for event in EVENTS if (event, MODEL) in table.index]
    missing = [
        f"{event} {name}"
        for event in events
        for name in (LAGRANGIAN, EXTRAPOLATION)
        if (event, name) not in table.index
    ]
    if missing or not events:
        names = ", ".join(missing) or MODEL
        raise SystemExit(f"the table of scores has no row of {names}; score it by score.py.")


def scores_in_markdown(table: pd.DataFrame) -> str:
    """Return the tables of scores, in words and numbers, of all events with a row of `MODEL`."""
    refuse_missing_rows(table)
    models = table.xs(MODEL, level="forecast")
    models = models.loc[[event for event in EVENTS if event in models.index]]
    left_out = [groups for groups in models["without"].drop_duplicates() if groups]
    marks = dict(zip(left_out, "¹²³⁴⁵⁶⁷⁸⁹", strict=False))
    titles = {
        event: f"{EVENTS[event].title} {marks.get(groups, '')}".strip()
        for event, groups in models["without"].items()
    }
    said = "; ".join(f"{mark} {owners(groups)}" for groups, mark in marks.items())
    if said:
        said = f"{LEFT_OUT.format(owners=said)} "
    return "\n\n".join(
        [
            fill(verdict(table, list(titles)), WIDTH),
            fill(INTRODUCTION.format(marks=said), WIDTH),
            skill_table(table, titles),
            fill(better_than_model(table, list(titles)), WIDTH),
            fill(intervals(table, titles), WIDTH),
            fill(ABOUT_PROBABILITIES, WIDTH),
            probability_table(table, titles),
        ]
    )


def owners(groups: str) -> str:
    """Return the owners of groups of radars that are joined by '+'."""
    return in_words(OWNERS[group] for group in groups.split("+"))


def skill_table(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return the CSI of each forecast (columns) for each event."""
    rows = [["radar", "cases", *NAMES.values()]]
    for event, title in titles.items():
        cells = [short(table, event, name, "csi") for name in NAMES]
        rows.append([title, str(table.loc[(event, MODEL), "cases"]), *cells])
    return in_rows(rows)


def probability_table(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return CRPS, Brier score and reliability of the probability forecasts for each event."""
    rows = [
        ["radar", "CRPS: Lagrangian probability, model"]
        + ["Brier score × 1000 of Lagrangian probability", "of the model"]
        + ["reliability of the model"]
    ]
    for event, title in titles.items():
        crps = ", ".join(f"{table.loc[(event, name), 'crps']:.3f}" for name in (LAGRANGIAN, MODEL))
        brier = [
            " ".join(f"{1000 * value:.1f}" for value in table.loc[(event, name), columns("brier")])
            for name in (LAGRANGIAN, MODEL)
        ]
        rows.append([title, crps, *brier, short(table, event, MODEL, "reliability")])
    return in_rows(rows)


def verdict(table: pd.DataFrame, events: list[str]) -> str:
    """Return the mean ratios of CSI over the events, and how often extrapolation is better."""
    model, lagrangian = (", ".join(mean_ratios(table, name)) for name in (MODEL, LAGRANGIAN))
    better = sum(len(better_at(table, event, EXTRAPOLATION)) for event in events)
    return (
        "On radars that were not used in training, the CSI of the model is on average"
        f" {model} times that of extrapolation at 0.5, 1, 2, 5 and 10 mm/h."
        " For the Lagrangian probability forecast, which is not trained, it is"
        f" {lagrangian} times. These are means over {len(events)} events."
        f" Extrapolation is better than the model in {better} of"
        f" {len(events) * len(THRESHOLDS)} comparisons, one for each event and threshold; they are"
        " named below."
    )


def mean_ratios(table: pd.DataFrame, name: str) -> list[str]:
    """Return at each threshold the mean ratio of a forecast's CSI to that of extrapolation, over
    the events of `MODEL`.
    """
    events = table.xs(MODEL, level="forecast").index
    csi, reference = (
        table.xs(one, level="forecast").loc[events, columns("csi")] for one in (name, EXTRAPOLATION)
    )
    return [f"{value:.2f}" for value in (csi / reference).mean()]


def better_at(table: pd.DataFrame, event: str, name: str) -> list[float]:
    """Return the thresholds at which a forecast has a higher CSI than the model, to three
    decimals; none if the event was not scored.
    """
    if (event, name) not in table.index:
        return []
    csi, models = (table.loc[(event, one), columns("csi")] for one in (name, MODEL))
    both = zip(THRESHOLDS, csi, models, strict=True)
    return [limit for limit, one, model in both if round(one, 3) > round(model, 3)]


def better_than_model(table: pd.DataFrame, events: list[str]) -> str:
    """Return the events and thresholds at which another forecast has a higher CSI."""
    said = []
    for name in (name for name in NAMES if name != MODEL):
        found = [
            f"{EVENTS[event].title} ({', '.join(f'{limit:g}' for limit in above)})"
            for event in events
            if (above := better_at(table, event, name))
        ]
        said.append(f"{NAMES[name][0].upper()}{NAMES[name][1:]}: {'; '.join(found) or 'nowhere'}.")
    count = len(events) * len(THRESHOLDS)
    return (
        f"Other forecasts are better than the model in these of the {count} comparisons (thresholds"
        f" in mm/h). {' '.join(said)}"
    )


def intervals(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return intervals for the events of many days, and say that the other events have none."""
    said = []
    for event, title in titles.items():
        if (days := table.loc[(event, MODEL), "days"]) >= LEAST_DAYS:
            ends = {
                (name, of): " to ".join(short(table, event, name, f"{of}{end}") for end in ENDS)
                for name, of in ((MODEL, ""), (EXTRAPOLATION, ""), (MODEL, "difference "))
            }
            said.append(
                f" {title} ({days} days): {ends[MODEL, '']} for the model,"
                f" {ends[EXTRAPOLATION, '']} for extrapolation, and"
                f" {ends[MODEL, 'difference ']} for the difference of the model from"
                " extrapolation."
            )
    others = f" The 95 % intervals of the others are:{''.join(said)}" if said else ""
    return f"Events of fewer than {LEAST_DAYS} days have no bootstrap intervals over days.{others}"


def short(table: pd.DataFrame, event: str, name: str, what: str) -> str:
    """Return the scores at all thresholds with three decimals; '–' if the event was not scored."""
    if (event, name) not in table.index:
        return "–"
    values = table.loc[(event, name), columns(what)]
    return " ".join(f"{value:.3f}".replace("0.", ".", 1) for value in values)


def in_rows(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *others])


def in_words(names: Iterable[str]) -> str:
    """Return names as 'a, b and c'."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
