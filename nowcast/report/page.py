"""The report of an evaluation: one self-contained HTML file that opens without a network.

Its content security policy allows only what the file holds, and only our script. Without scripts,
it shows the first lead time of each case, and everything else. The templates hold the words and the
elements, and escape every value; Python prepares the values.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nowcast.files import written_whole
from nowcast.radar.placing.place import Origin
from nowcast.report import diagrams, rendering, sections
from nowcast.report.about import about_of
from nowcast.report.example_frames import (
    ExampleCase,
    cases_of,
    legend,
    map_over,
    probability_legend,
)
from nowcast.report.foot import MODEL, facts_of_counts
from nowcast.report.pictures.colours import forecast_styles, page_colours
from nowcast.report.pictures.panel import Degrees
from nowcast.report.scale import build_scale, pixel_km_of
from nowcast.verification.intervals import FEW_BLOCKS, LEAST_FOR_INTERVAL
from nowcast.verification.swaps import LEAST_BLOCKS, LEVEL

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ExampleCase", "write_report"]

_LIMITS: dict[str, Any] = {
    "few_blocks": FEW_BLOCKS,
    "least_for_interval": LEAST_FOR_INTERVAL,
    "least_blocks": LEAST_BLOCKS,
    "level": LEVEL,
}


def write_report(
    path: str | Path,
    scores: "xr.Dataset",
    counts: "xr.Dataset",
    example_cases: Sequence[ExampleCase],
    score_name: str,
    origin: Origin,
    settings: Mapping[str, str],
    amounts: Sequence[tuple["xr.Dataset", "xr.Dataset"]] = (),
    degrees: Degrees | None = None,
    made: datetime | None = None,
) -> Path:
    """Write the report of an evaluation as one file, whole or not at all.

    Args:
        path: the file.
        scores: from `scores_dataset`.
        counts: the counts that the scores come from; their attributes give the foot and the scale.
        example_cases: cases to show, from best to worst; empty for counts of other evaluations.
        score_name: the name of `ExampleCase.score`.
        origin: whether row 0 of a frame is the south ('lower') or the north ('upper').
        settings: the configuration to print, by key.
        amounts: scores and counts of sums of rain, for each length of window.
        degrees: longitude and latitude of the pixel centres, for coastlines and borders over the
            frames; None draws none.
        made: when the report is made; None is now. A report made again differs only in this.

    Returns:
        The path.

    Raises:
        DataError: the frames of a case do not fit.
        CannotCreateError, InputOutputError: the file cannot be written.
    """
    page = render(
        "page.html.jinja",
        values_of(scores, counts, example_cases, origin, amounts, degrees, made)
        | {"score_name": score_name, "settings": settings},
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return Path(path)


def values_of(
    scores: "xr.Dataset",
    counts: "xr.Dataset",
    example_cases: Sequence[ExampleCase] = (),
    origin: Origin = "upper",
    amounts: Sequence[tuple["xr.Dataset", "xr.Dataset"]] = (),
    degrees: Degrees | None = None,
    made: datetime | None = None,
) -> dict[str, Any]:
    """Return the values of all sections, by the names that the templates use."""
    about = about_of(scores, counts)
    styles = forecast_styles(about.names)
    cases = cases_of(example_cases, about.minutes, origin)
    pixel_km = pixel_km_of(counts.attrs)
    foot = facts_of_counts(counts.attrs, made)
    return {
        "about": about,
        "colours": page_colours([style["color"] for style in styles.values()]),
        "headline": sections.headline(scores),
        "curves": sections.curves(scores),
        "cases": cases,
        "pixel_km": pixel_km,
        "scale": build_scale(cases[0].width * pixel_km[1]) if cases and pixel_km else None,
        "map": map_over(example_cases, origin, degrees),
        "legend": legend(),
        "probability_legend": probability_legend(),
        "performance": diagrams.performance(scores),
        "fss": sections.fss(scores),
        "parts": sections.parts(scores),
        "ensembles": sections.ensembles(scores, counts),
        "amounts": [sections.amount(*both) for both in amounts],
        "spectra": sections.spectra(scores),
        "tables": sections.all_scores(scores),
        "data": sections.data(counts),
        "definitions": sections.definitions(),
        "foot": foot,
        "models": [fact for fact in foot if fact[0].split(" ")[0] == MODEL],
    }


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a template of this page filled with these values.

    Raises:
        jinja2.UndefinedError: the template needs a value that is not given.
    """
    return rendering.render(template, "page.js", {**_LIMITS, **values})
