"""The sections of the report, each as HTML made from the datasets; nothing where there is
nothing to show.
"""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from nowcast.report import diagrams
from nowcast.report import ensemble_diagrams as diagrams_ensemble
from nowcast.report import tables as html_tables
from nowcast.report import words as html_words
from nowcast.report.diagrams import at_or_above, names_of
from nowcast.report.example_frames import Showcase, cases_section
from nowcast.verification.remarks import remarks_of
from nowcast.verification.scoring import numbers_of, shown_in

if TYPE_CHECKING:
    import xarray as xr

_KINDS = ("day", "event", "hour", "wet_share")


def headline(scores: "xr.Dataset") -> str:
    """The verdict, how far it is to be trusted, and the tables."""
    words = [
        "Each number is the mean over lead times of the score at each, from counts added over all"
        " cases with a scored pixel."
    ]
    more = ""
    if not html_tables.has_intervals(scores):
        words.append(f"Intervals: {html_words.intervals_in_words(scores)}")
    else:
        words.append(f"Below it, its {100 * float(scores.attrs['confidence']):g} % interval.")
        if scores.sizes["forecast"] > 1:
            words.append(
                "Bold: better than each other forecast by more than chance, by swapping the two"
                " block by block"
            )
            words.append("(see Method); it may be so although the intervals of the scores overlap.")
            tables = f'<div class="tables">{html_tables.differences(scores)}</div>'
            more = f"<details><summary>The differences, with intervals</summary>{tables}</details>"
    rough = html_words.rough(scores)
    warning = f'<p class="warning">{rough}</p>' if rough else ""
    remarks = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks_of(scores))
    remarks = f'<ul class="notes remarks">{remarks}</ul>' if remarks else ""
    verdict = f'<p class="verdict">{html_tables.verdict(scores)}</p>{_soft(" ".join(words))}'
    verdict += f"{warning}{remarks}"
    return f'{verdict}<div class="tables">{html_tables.headline(scores)}</div>{more}'


def against_lead(scores: "xr.Dataset") -> str:
    """CSI and HSS at each threshold, and errors, all forecasts in each panel."""
    bands = "Bands are the intervals." if html_tables.has_intervals(scores) else ""
    parts = [
        _soft(
            f"Each panel has a scale of its own. A line breaks where a score is undefined. {bands}"
        ),
        _key(scores),
    ]
    for score in shown_in("by_lead", of_events=True):
        label = score.title
        charts = [
            diagrams.against_lead(
                scores, score.name, f"{label} {at_or_above(scores, value)}", value
            )
            for value in scores["threshold"].values
        ]
        parts.append(f"<h3>{score.heading} ({label})</h3>{_charts(charts)}")
    others = [
        diagrams.against_lead(scores, score.name, score.title)
        for score in shown_in("by_lead", of_events=False)
        if score.name in scores
    ]
    return "".join([*parts, "<h3>Errors and correlation, all rates</h3>", _charts(others)])


def cases(
    showcases: Sequence[Showcase],
    minutes: Sequence[float],
    score_name: str,
    origin: Literal["lower", "upper"],
) -> str:
    """Frames of the cases chosen. Errors: DataError where they do not fit together."""
    if not showcases:
        return (
            "<p>No frames to show: these scores come from counts, which keep none, or no case had"
            " rain enough to be judged by.</p>"
        )
    judged = html.escape(next((name for name in showcases[0].rows if name != "observed"), ""))
    words = (
        f"Of all cases those with the best, median and worst {html.escape(score_name)} of"
        f" <b>{judged}</b>, the number beside each. An ensemble is shown by its mean. <span"
        ' class="unscripted">Scripts are off: this is the first lead time.</span>'
    )
    return _soft(words) + cases_section(showcases, minutes, origin)


def performance(scores: "xr.Dataset") -> str:
    """The performance diagram and how to read it."""
    words = [
        (
            "Each dot is a threshold, in mm/h, its counts pooled over all lead times; a line joins"
            " those of one forecast."
        ),
        (
            "Up and to the right is better: the curves are of equal CSI. On the dashed diagonal as"
            " many events are forecast as are observed, a bias of 1; above it there are too many,"
            " below it too few."
        ),
        "Thin crosses are the intervals." if html_tables.has_intervals(scores) else "",
    ]
    beside = "".join(f"<p>{one}</p>" for one in words if one)
    chart = f'<div class="chart">{diagrams.performance(scores)}</div>'
    return f'{_key(scores)}<div class="beside">{chart}<div class="words">{beside}</div></div>'


def fss(scores: "xr.Dataset") -> str:
    """FSS against scale, a panel a threshold."""
    if "fss_mean" not in scores:
        return ""
    words = (
        "Fractions skill score, mean over lead times, against the width of the square within which"
        " an event counts as met. Above the dashed line, ½ + f/2 with f the observed share of"
        " events, a forecast is useful at that scale (Roberts &amp; Lean 2008)."
    )
    charts = [diagrams.fss_by_scale(scores, threshold) for threshold in scores["threshold"].values]
    return _soft(words) + _key(scores) + _charts(charts)


def parts(scores: "xr.Dataset") -> str:
    """CSI by day, event, hour and wet share, at the threshold that the reader chooses; first
    the one nearest to 1.
    """
    kinds = [kind for kind in _KINDS if (scores["part_kind"].values == kind).any()]
    if not kinds:
        return ""
    thresholds = scores["threshold"].values
    first = int(np.argmin(np.abs(np.log(np.maximum(thresholds, 1e-9)))))
    boxes, charts = [], []
    for k, threshold in enumerate(thresholds):
        box = (
            f'<input type="radio" name="choose" id="choose-{k}"{" checked" if k == first else ""}>'
        )
        boxes.append(f'{box}<label for="choose-{k}">{at_or_above(scores, threshold)}</label>')
        charts.append(
            _charts([diagrams.by_part(scores, kind, threshold) for kind in kinds], f"choice-{k}")
        )
    words = (
        "CSI, mean over lead times, of the cases whose forecast reference time lies in each part."
        " Hours of the day are in UTC; the wet share is that of the observed pixels of an hour."
    )
    choice = (
        "<fieldset"
        f' class="choice"><legend>Threshold</legend>{"".join(boxes)}{"".join(charts)}</fieldset>'
    )
    return _soft(words) + _key(scores) + choice


def ensembles(scores: "xr.Dataset", counts: "xr.Dataset") -> str:
    """Reliability, ROC, rank histogram and Brier score of forecasts with more than one member;
    nothing without any.
    """
    members = dict(zip(names_of(counts), counts["members"].values.tolist(), strict=True))
    names, thresholds = names_of(scores), scores["threshold"].values
    many = [number for number, name in enumerate(names) if members[name] > 1]
    if not many:
        return ""
    sizes = html_tables.listed(
        [f"{html.escape(names[number])} ({members[names[number]]} members)" for number in many]
    )
    reliability = _charts(
        [diagrams_ensemble.reliability(scores, threshold, many) for threshold in thresholds]
    )
    roc = _charts([diagrams_ensemble.roc(scores, threshold, many) for threshold in thresholds])
    ranks = _charts(
        [
            diagrams_ensemble.rank_histogram(scores, number, members[names[number]])
            for number in many
        ]
    )
    shown = numbers_of("ensembles")
    brier = "".join(html_tables.all_scores(scores, shown, number) for number in many)
    of_probability = (
        "How often an event came when it was forecast with a probability, all lead times together."
        " On the diagonal a forecast means what it says; the dotted line is how often the event"
        " came at all. Below: how often each probability was given."
    )
    of_roc = (
        "Detected events against false detections, if the event is warned of from 1, 2, … members"
        " on; the number is the area below the curve. A forecast of one member is a point."
    )
    of_ranks = (
        "Where among the sorted members the observation fell. Flat is perfect; a U is too little"
        " spread, a slope a bias. Pixels where all members equal the observation, nearly always"
        " dry, are left out."
    )
    return (
        f"<p>{sizes}.</p>{_key(scores)}<h3>Reliability</h3>{_soft(of_probability)}{reliability}<h3>ROC</h3>{_soft(of_roc)}{roc}<h3>Rank"
        f" histogram</h3>{_soft(of_ranks)}{ranks}<details><summary>Brier score and its"
        f" parts</summary>{brier}</details>"
    )


def spectra(scores: "xr.Dataset") -> str:
    """Power by wavelength at the first, the middle and the last lead time, and its ratio to
    that observed.
    """
    if not (scores["wavenumber"].values > 0).any():  # a grid one pixel wide
        return ""
    leads = scores["lead_time"].values
    picked = leads[np.unique(np.linspace(0, len(leads) - 1, 3).round().astype(int))]
    charts = [
        draw(scores, lead) for draw in (diagrams.spectrum, diagrams.power_ratio) for lead in picked
    ]
    words = (
        "Power of the rates by wavelength, averaged over all directions and cases. A ratio below 1"
        " at short wavelengths is blur: the forecast is smoother than rain is."
    )
    return _soft(words) + _key(scores, observed=True) + _charts(charts)


def all_scores(scores: "xr.Dataset") -> str:
    """The categorical scores in numbers."""
    tables = "".join(
        html_tables.all_scores(scores, numbers_of("all"), number)
        for number in range(scores.sizes["forecast"])
    )
    words = (
        "All numbers, of each lead time and part, are in scores.nc and scores.csv beside this"
        " report."
    )
    summary = (
        "<summary>Categorical scores of each forecast, mean over lead times and pooled</summary>"
    )
    return f"{_soft(words)}<details>{summary}{tables}</details>"


def data(scores: "xr.Dataset", counts: "xr.Dataset") -> str:
    """Period, cases, coverage, and what could not be scored."""
    total, covered, wet = (
        int(counts[name].sum()) for name in ("total", "observed_covered", "observed_wet")
    )
    unscored = int(counts["unscored_cases"].sum())
    facts = {
        "forecast reference times": period(counts),
        "cases": (
            f"{int(counts['cases'].sum()):,}"
            + (f", in {counts.sizes['block']:,} hours" if period(counts) else "")
        ),
        "cases without one scored pixel, in no number here": f"{unscored:,}" if unscored else "",
        "blocks of the intervals": html_words.blocks_in_words(scores),
        "observed pixels that are covered": f"{100 * covered / total:.3g} %" if total else "",
        "covered pixels that are wet, at or above 0.1 mm/h": (
            f"{100 * wet / covered:.3g} %" if covered else ""
        ),
    }
    rows = [[key, value] for key, value in facts.items() if value]
    return html_tables.table(["", ""], rows, kind="plain") + html_tables.missing(counts)


def how(scores: "xr.Dataset", counts: "xr.Dataset") -> str:
    """The rules, the definitions, the references."""
    rules, definitions, references = (
        html_words.rules(scores, counts),
        html_words.definitions(),
        html_words.references(),
    )
    return (
        f"{rules}<details><summary>What each score is</summary>{definitions}</details>"
        f"<details><summary>References</summary>{references}</details>"
    )


def period(counts: "xr.Dataset") -> str:
    """The first and the last forecast reference time; nothing where cases have none."""
    if not counts.attrs.get("timed", 1):
        return ""
    hours, minutes = counts["block"].values.astype("datetime64[m]"), counts["minutes"].values
    first, last = hours.argmin(), hours.argmax()
    earliest, latest = int(minutes[first]), int(minutes[last])
    # the lowest bit, and below the highest
    start = hours[first] + np.timedelta64((earliest & -earliest).bit_length() - 1, "m")
    end = hours[last] + np.timedelta64(latest.bit_length() - 1, "m")
    return f"{start} to {end}".replace("T", " ") + " UTC"


def _soft(words: str) -> str:
    return f'<p class="soft">{words}</p>'


def _charts(charts: Sequence[str], kind: str = "") -> str:
    return f'<div class="charts {kind}">{"".join(charts)}</div>'


def _key(scores: "xr.Dataset", observed: bool = False) -> str:
    """Which line is which forecast."""
    picture = '<svg viewBox="0 0 26 12" aria-hidden="true"><path d="M0 6H26" {}/></svg>'
    lines = {
        name: f'stroke="var(--line-{number})" stroke-width="2.4"'
        for number, name in enumerate(names_of(scores))
    }
    if observed:
        lines = {"observed": 'stroke="var(--ink)" stroke-width="2" stroke-dasharray="2 2"'} | lines
    items = "".join(
        f"<li>{picture.format(line)}{html.escape(name)}</li>" for name, line in lines.items()
    )
    return f'<ul class="key" aria-label="lines">{items}</ul>'
