"""The report of an evaluation: one HTML file with everything in it, that opens from a mail without
a network.

Its policy forbids to load anything but what the file holds, and to run any script but ours. Without
scripts it shows the first lead time of each case, and all else.
"""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nowcast.files import written_whole
from nowcast.report import sections as html_sections
from nowcast.report import tables as html_tables
from nowcast.report import words as html_words
from nowcast.report.diagrams import names_of
from nowcast.report.example_frames import Showcase
from nowcast.report.pictures.colours import forecast_styles

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Showcase", "write_report"]


def write_report(
    path: str | Path,
    scores: "xr.Dataset",
    counts: "xr.Dataset",
    showcases: Sequence[Showcase],
    score_name: str,
    origin: Literal["lower", "upper"],
    settings: Mapping[str, str],
) -> Path:
    """Write the report of an evaluation as one file, whole or not at all, and give its path.

    Args:
        scores: from `scores_dataset`.
        counts: what they were made of.
        showcases: cases to be seen, from best to worst; none where counts of other evaluations were
        added up.
        score_name: what `Showcase.score` is.
        origin: whether row 0 of a frame is the south ('lower') or the north ('upper').
        settings: what to print of the configuration.

    Errors: DataError where the frames of a case do not fit; CannotCreateError, InputOutputError.
    """
    minutes = [float(lead) for lead in scores["lead_time"].values]
    # first, for they may not fit
    frames = html_sections.cases(showcases, minutes, score_name, origin)
    sections = {
        "headline": ("Headline", html_sections.headline(scores)),
        "curves": ("Against lead time", html_sections.against_lead(scores)),
        "cases": ("Cases", frames),
        "performance": ("Performance diagram", html_sections.performance(scores)),
        "fss": ("FSS: how near is near enough", html_sections.fss(scores)),
        "parts": ("Parts: by day, event, hour and wet share", html_sections.parts(scores)),
        "ensembles": ("Ensembles", html_sections.ensembles(scores, counts)),
        "spectra": ("Blur: power against wavelength", html_sections.spectra(scores)),
        "scores": ("All scores", html_sections.all_scores(scores)),
        "data": ("Data", html_sections.data(scores, counts)),
        "settings": ("Settings", html_tables.pairs(settings)),
        "how": ("Method: how these numbers are made", html_sections.how(scores, counts)),
    }
    shown = {key: section for key, section in sections.items() if section[1]}
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, (title, content) in shown.items()
    )
    links = "".join(
        f'<li><a href="#{key}">{title.partition(":")[0]}</a></li>'
        for key, (title, _) in shown.items()
    )
    page = _page(scores, f"{_header(scores, counts, links)}<main>{body}</main>")
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return Path(path)


def _page(scores: "xr.Dataset", body: str) -> str:
    """The whole file: head, policy, style, script."""
    style, script = (
        Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js")
    )
    trusted = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src"
        f" 'sha256-{trusted}'; form-action 'none'"
    )
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(str(scores.attrs['title']))}</title>",
        f"<style>{style}{_colours(names_of(scores))}{_choices(scores)}</style>",
    ]
    foot = "<footer>Made by nowcast. This page holds all that it shows; it loads nothing.</footer>"
    return (
        "<!DOCTYPE html>\n<html"
        f' lang="en"><head>{"".join(head)}</head><body>{body}{foot}'
        f"<script>{script}</script></body></html>\n"
    )


def _colours(names: Sequence[str]) -> str:
    """The colours of the forecasts as the page's variables, lighter on a dark ground."""
    colours = [style["color"] for style in forecast_styles(names).values()]
    light = "".join(f"--line-{number}:{colour};" for number, colour in enumerate(colours))
    dark = "".join(
        f"--line-{number}:color-mix(in oklab, {colour} 68%, white);"
        for number, colour in enumerate(colours)
    )
    return (
        f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}@media"
        f" print{{:root{{{light}}}}}"
    )


def _choices(scores: "xr.Dataset") -> str:
    """Which charts the chosen threshold shows; by style alone, so that it works without scripts."""
    return "".join(
        f"#choose-{k}:checked ~ .choice-{k}{{display:grid}}"
        for k in range(scores.sizes["threshold"])
    )


def _header(scores: "xr.Dataset", counts: "xr.Dataset", links: str) -> str:
    names = names_of(scores)
    leads = scores["lead_time"].values
    facts = {
        "forecasts from": html_sections.period(counts),
        "cases": f"{int(counts['cases'].sum()):,}",
        "lead times": (
            f"{leads[0]:g} to {leads[-1]:g} min" if len(leads) > 1 else f"{leads[0]:g} min"
        ),
        "grid": html.escape(str(counts.attrs.get("grid", ""))),
        "blocks of the intervals": html_words.blocks_in_words(scores),
    }
    listed = "".join(
        f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items() if value
    )
    beside = (
        f"{html_tables.listed([f'<b>{html.escape(name)}</b>' for name in names])}, scored against"
        " what was then observed."
    )
    nav = f'<nav aria-label="sections"><ul>{links}</ul></nav>'
    return (
        f"<header><h1>{html.escape(str(scores.attrs['title']))}</h1><p>{beside}</p><dl"
        f' class="facts">{listed}</dl>{nav}</header>'
    )
