"""The sections of the report as plain values from the datasets; None or empty without content."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from nowcast.report import diagrams, ensemble_diagrams, tables
from nowcast.report.diagrams import at_or_above, names_of
from nowcast.report.tables import Table
from nowcast.verification.remarks import AMOUNT_TITLE, remarks_of
from nowcast.verification.scoring import SCORES, numbers_of, shown_in
from nowcast.verification.swaps import LEAST_BLOCKS

if TYPE_CHECKING:
    import xarray as xr

_KINDS = ("day", "event", "hour", "wet_share")

Charts = list[Markup]


@dataclass(frozen=True)
class Headline:
    """The tables, and the thresholds at which each forecast is the best by more than chance.

    `undecided` are the other thresholds. The differences come in groups with a title.
    """

    winners: dict[str, list[str]]
    undecided: list[str]
    remarks: list[str]
    tables: list[Table]
    differences: list[tuple[str, list[Table]]]


@dataclass(frozen=True)
class Curves:
    """Charts against lead time: groups of events, each with its title, and of all rates."""

    by_event: list[tuple[str, Charts]]
    of_all: Charts


@dataclass(frozen=True)
class Parts:
    """Charts of parts for each threshold; `first` is the threshold shown first."""

    first: int
    charts: list[Charts]


@dataclass(frozen=True)
class Ensembles:
    """Charts and Brier scores of forecasts with members or probabilities.

    `members` says in words which of the two each forecast has.
    """

    members: dict[str, str]
    reliability: list[tuple[Markup, Markup]]
    roc: Charts
    ranks: Charts
    brier: list[Table]


@dataclass(frozen=True)
class Amount:
    """Scores of sums of rain over windows of one length."""

    title: str
    headline: Headline
    curves: Curves
    ensembles: Ensembles | None


@dataclass(frozen=True)
class Data:
    """Hours and cases scored, shares in percent, and missing pixels by forecast."""

    hours: int
    unscored: int
    covered: float | None
    wet: float | None
    missing: Table


def headline(scores: "xr.Dataset") -> Headline:
    """Return the forecasts that are better by more than chance, the remarks and the tables."""
    several = scores.sizes["forecast"] > 1
    is_tested = several and scores.attrs["resamples"] and scores.attrs["blocks"] >= LEAST_BLOCKS
    winners, undecided = tables.winners(scores) if is_tested else ({}, [])
    differences = tables.differences(scores) if several else []
    return Headline(winners, undecided, remarks_of(scores), tables.headline(scores), differences)


def curves(scores: "xr.Dataset") -> Curves:
    """Return CSI and HSS at each threshold, and errors, all forecasts in each chart."""
    by_event = []
    for score in shown_in("by_lead", of_events=True):
        name, label = score.name, score.title
        charts = [
            diagrams.against_lead(scores, name, f"{label} {at_or_above(scores, value)}", value)
            for value in scores["threshold"].values
        ]
        by_event.append((f"{score.heading} ({label})", charts))
    of_all = [
        diagrams.against_lead(scores, score.name, score.title_in(scores))
        for score in shown_in("by_lead", of_events=False)
        if score.name in scores
    ]
    return Curves(by_event, of_all)


def fss(scores: "xr.Dataset") -> Charts:
    """Return FSS against scale, a chart a threshold."""
    if "fss_mean" not in scores:
        return []
    return [diagrams.fss_by_scale(scores, threshold) for threshold in scores["threshold"].values]


def parts(scores: "xr.Dataset") -> Parts | None:
    """Return CSI by day, event, hour and wet share; the threshold nearest to 1 first."""
    kinds = [kind for kind in _KINDS if (scores["part_kind"].values == kind).any()]
    if not kinds:
        return None
    thresholds = scores["threshold"].values
    first = int(np.argmin(np.abs(np.log(np.maximum(thresholds, 1e-9)))))
    charts = [
        [diagrams.by_part(scores, kind, threshold) for kind in kinds] for threshold in thresholds
    ]
    return Parts(first, charts)


def ensembles(scores: "xr.Dataset", counts: "xr.Dataset") -> Ensembles | None:
    """Return reliability, ROC, rank histogram and Brier score of forecasts with several members or
    with probabilities. The latter have no rank histogram.
    """
    names, members = names_of(scores), counts["members"].values.tolist()
    many = [place for place, m in enumerate(members) if m > 1]
    if not many:
        return None
    thresholds = scores["threshold"].values
    ranked = [place for place in many if place not in _with_probabilities(counts)]
    return Ensembles(
        {
            names[place]: f"{members[place]} members" if place in ranked else "probabilities"
            for place in many
        },
        [ensemble_diagrams.reliability(scores, threshold, many) for threshold in thresholds],
        [ensemble_diagrams.roc(scores, threshold, many) for threshold in thresholds],
        [ensemble_diagrams.rank_histogram(scores, place, members[place]) for place in ranked],
        [tables.all_scores(scores, numbers_of("ensembles"), place) for place in many],
    )


def amount(scores: "xr.Dataset", counts: "xr.Dataset") -> Amount:
    """Return tables and charts of sums of rain over windows of one length."""
    title = str(scores.attrs[AMOUNT_TITLE])
    return Amount(title, headline(scores), curves(scores), ensembles(scores, counts))


def _with_probabilities(counts: "xr.Dataset") -> list[int]:
    """Return the indices of the forecasts with scored probabilities."""
    if "has_probabilities" not in counts:
        return []
    return [int(place) for place in np.flatnonzero(counts["has_probabilities"].values)]


def spectra(scores: "xr.Dataset") -> Charts:
    """Return power by wavelength at the first, middle and last lead time, and its ratio to the
    observed power.
    """
    if not (scores["wavenumber"].values > 0).any():  # a grid one pixel wide
        return []
    leads = scores["lead_time"].values
    picked = leads[np.unique(np.linspace(0, len(leads) - 1, 3).round().astype(int))]
    return [
        draw(scores, lead) for draw in (diagrams.spectrum, diagrams.power_ratio) for lead in picked
    ]


def all_scores(scores: "xr.Dataset") -> list[Table]:
    """Return the categorical scores in numbers, a table a forecast."""
    return [
        tables.all_scores(scores, numbers_of("all"), place)
        for place in range(scores.sizes["forecast"])
    ]


def data(counts: "xr.Dataset") -> Data:
    """Return cases, coverage, and pixels that could not be scored."""
    total, covered, wet = (
        int(counts[name].sum()) for name in ("total", "observed_covered", "observed_wet")
    )
    return Data(
        hours=counts.sizes["block"],
        unscored=int(counts["unscored_cases"].sum()),
        covered=100 * covered / total if total else None,
        wet=100 * wet / covered if covered else None,
        missing=tables.missing(counts),
    )


def definitions() -> list[tuple[str, str]]:
    """Return each score with the first paragraph of its function's docstring."""
    return [
        (score.title, _first_paragraph(score.function))
        for score in SCORES.values()
        if score.place.defined
    ]


def _first_paragraph(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
