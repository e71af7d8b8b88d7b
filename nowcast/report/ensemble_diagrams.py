"""The report's figures of ensembles over all lead times: reliability, ROC and rank histogram.

References:
    Wilks 2019, Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    Hamill 2001, Interpretation of rank histograms for verifying ensemble forecasts, Monthly Weather
    Review 129, 550-560.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from nowcast.report.diagrams import at_or_above, names_of
from nowcast.report.svg import (
    DASHED,
    DOTTED,
    INK,
    SOFT,
    Chart,
    Numbers,
    lines_of,
    nice_ticks,
    plain,
    power_of_ten,
    short,
)
from nowcast.verification import probabilistic

if TYPE_CHECKING:
    import xarray as xr

_TICKS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
_TOO_MANY = 60
"""With more points than this, a forecast is drawn in tenths."""
_LABELS = [plain(tick) for tick in _TICKS]


def reliability(
    scores: "xr.Dataset", threshold: float, ensembles: Sequence[int]
) -> tuple[Markup, Markup]:
    """Draw the observed frequency of an event against its forecast probability, and below how often
    each probability was forecast.
    """
    names, title = names_of(scores), at_or_above(scores, threshold)
    here = (
        scores[["observed_base_rate", "probability_pixels", "observed_frequency"]]
        .isel(part=0)
        .sel(threshold=threshold)
    )
    chart = Chart(f"observed frequency {title}", "", (0, 1), (0, 1), height=280)
    often = Chart(
        "share of pixels", "forecast probability", (0, 1), (1e-6, 1), log_y=True, height=120, top=24
    )
    for one in (chart, often):
        one.x_ticks(_TICKS, _LABELS if one is often else [""] * len(_TICKS))
    chart.y_ticks(_TICKS, _LABELS)
    often.y_ticks([1e-6, 1e-3, 1], [power_of_ten(-6), power_of_ten(-3), "1"])
    chart.line((0, 1), (0, 1), SOFT, dash=DASHED)
    base_rate = here["observed_base_rate"].isel(forecast=ensembles).max().item()
    chart.line((0, 1), (base_rate, base_rate), SOFT, dash=DOTTED)
    pixels = (
        here["probability_pixels"].transpose("forecast", "members_above").values.astype(np.float64)
    )
    frequency = here["observed_frequency"].transpose("forecast", "members_above").values
    given = scores["forecast_probability"].transpose("forecast", "members_above").values
    points = [_points(*rows) for rows in zip(given, pixels, frequency, strict=True)]
    for panel, which in ((chart, 1), (often, 2)):
        for number in reversed(ensembles):
            line, at, values = (
                lines_of(names, frequency)[number],
                *(points[number][axis] for axis in (0, which)),
            )
            panel.line(at, values, line.colour, line.width)
            panel.dots(at, values, line.marker, line.colour)
    return (
        chart.svg(f"Reliability diagram {title}."),
        often.svg(f"How often each probability was given, {title}."),
    )


def _points(given: Numbers, pixels: Numbers, frequency: Numbers) -> tuple[Numbers, ...]:
    """Return the points of one forecast: probability, observed frequency and share of the pixels.

    Many points are merged into tenths.
    """
    known = int(np.isfinite(given).sum())
    if known > _TOO_MANY:
        events = np.nan_to_num(frequency) * pixels
        counts = np.stack([pixels - events, events], axis=-1)
        given, pixels, frequency = probabilistic.tenths(counts, known - 1)
    share = np.divide(pixels, pixels.sum(), out=np.full(pixels.shape, np.nan), where=pixels > 0)
    return given, frequency, share


def roc(scores: "xr.Dataset", threshold: float, ensembles: Sequence[int]) -> Markup:
    """Draw POD against POFD for warnings given by at least k members; one member gives a point.

    The area under each curve is written next to it.
    """
    names, title = names_of(scores), at_or_above(scores, threshold)
    here = scores[["roc_pofd", "roc_pod", "roc_area"]].isel(part=0).sel(threshold=threshold)
    axis = "probability of false detection (POFD)"
    chart = Chart(f"POD {title}", axis, (0, 1), (0, 1), height=300, right=30)
    chart.x_ticks(_TICKS, _LABELS)
    chart.y_ticks(_TICKS, _LABELS)
    chart.line((0, 1), (0, 1), SOFT, dash=DASHED)
    pofd, areas = (
        here["roc_pofd"].transpose("forecast", "members_above").values,
        here["roc_area"].values,
    )
    given = scores["forecast_probability"].transpose("forecast", "members_above").values
    height = chart.bottom - 10.0
    for line in reversed(
        lines_of(names, here["roc_pod"].transpose("forecast", "members_above").values)
    ):
        if line.number in ensembles:
            chart.line(pofd[line.number], line.values, line.colour, line.width)
            if np.isfinite(given[line.number]).sum() <= _TOO_MANY:
                chart.dots(pofd[line.number], line.values, line.marker, line.colour)
            area = (
                f"area {areas[line.number]:.3f}" if np.isfinite(areas[line.number]) else "undefined"
            )
            chart.words(chart.right - 8, height, area, colour=line.text_colour, anchor="end")
            height -= 15
        else:
            chart.dots(pofd[line.number, 1:2], line.values[1:2], line.marker, line.colour, 4)
    return chart.svg(
        f"ROC {title}: probability of detection against probability of false detection."
    )


def rank_histogram(scores: "xr.Dataset", forecast: int, members: int) -> Markup:
    """Draw the share of observations at each rank among the members of one forecast.

    The dashed line is a flat histogram.
    """
    name = names_of(scores)[forecast]
    shares = scores["rank_frequency"].isel(part=0, forecast=forecast).values[: members + 1]
    flat = 1 / (members + 1)
    top = 1.06 * max(2 * flat, float(np.nanmax(shares, initial=0.0)))
    title, axis = f"{short(name)}: share of pixels", "members below the observation"
    chart = Chart(title, axis, (-0.7, members + 0.7), (0, top))
    ticks = nice_ticks(0, members, 8, (1, 2, 5, 10))
    heights = nice_ticks(0, top, 5)
    chart.y_ticks(heights, [plain(tick) for tick in heights])
    chart.x_ticks(ticks, [plain(tick) for tick in ticks], grid=False)
    for rank, share in enumerate(shares):
        if np.isfinite(share):
            chart.bar(rank, 0.82, share, f"var(--line-{forecast})")
    chart.line((-0.7, members + 0.7), (flat, flat), INK, 1.2, dash=DASHED)
    return chart.svg(f"Rank histogram of {name}.")
