"""Places on a page: a label, an answer in words, and a small chart."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nowcast.arrays import Float64Array
from nowcast.radar.grid import WET_RATE
from nowcast.report.pictures.colours import RATE_CLASSES
from nowcast.report.svg import DASHED, INK, SOFT, Chart, nice_ticks

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 108.0, 24.0, 40.0, 20.0, 20.0
CHART_LEFT, CHART_WIDTH = _LEFT / _WIDTH, (_WIDTH - _LEFT - _RIGHT) / _WIDTH
"""Start and length of the time axis, as shares of the chart's width."""
_LEAST_HIGHEST = 2.0
"""Least rate in mm/h at the top of a chart."""
_LEAST_CHANCE = 0.05
"""Without rain, a chart is drawn only if the chance reaches this."""


@dataclass(frozen=True, eq=False)
class PagePlace:
    """A place as the page shows it.

    Args:
        name: as the user gave it.
        sentence: the answer in words.
        column, row: its position in pixels; None if it is outside the grid.
        rates: (n + lead,) observed and forecast, in mm/h, NaN = unknown.
        chance: (lead,) of a rate at or above `threshold`, 0 to 1; None if unknown.
        threshold: in mm/h.
        low, high: (lead,) bounds of the members' rates, in mm/h; None without members.
    """

    name: str
    sentence: str
    column: float | None
    row: float | None
    rates: NDArray[np.floating]
    chance: Float64Array | None = None
    threshold: float | None = None
    low: Float64Array | None = None
    high: Float64Array | None = None


def chart_of(place: PagePlace, minutes: Float64Array, newest: int) -> Markup | None:
    """Draw rates as bars (observed ones narrow) and the chance as a line.

    Return None if all is dry or unknown.

    Args:
        place: the place.
        minutes: (n + lead,) since the newest observed frame.
        newest: the index of that frame.
    """
    is_likely = place.chance is not None and bool((place.chance >= _LEAST_CHANCE).any())
    if not is_likely and not (place.rates >= WET_RATE).any():
        return None
    step = float(minutes[newest + 1])
    known = [place.rates, *(one for one in (place.high,) if one is not None)]
    top = max(_LEAST_HIGHEST, *(float(np.nanmax(one)) for one in known if np.isfinite(one).any()))
    chart = Chart(
        "", "", (minutes[0] - step / 2, minutes[-1] + step / 2), (0.0, top),
        width=_WIDTH, height=_HEIGHT, left=_LEFT, right=_RIGHT, top=_TOP,
        bottom=_BOTTOM,
    )  # fmt: skip
    ticks = nice_ticks(0.0, top, 3)
    chart.y_ticks(ticks, [f"{one:g}" for one in ticks])
    times = nice_ticks(minutes[0], minutes[-1], 5, (1, 1.5, 3, 6))
    labels = [f"{one:+g}".replace("-", "−") if one else "0" for one in times]
    chart.x_ticks(times, labels, grid=False)
    chart.words(0, _TOP - 9, "mm/h", size=9.5, colour=SOFT)
    _draw_rates(chart, place, minutes, newest, step)
    if place.chance is not None:
        chart.line(minutes[newest + 1 :], top * place.chance, INK, 1.6)
        for share, words in ((0, "0"), (0.5, "50"), (1, "100 %")):
            chart.words(chart.right + 5, chart.y(top * share) + 3.8, words, colour=SOFT)
    return chart.svg(f"rain rates at {place.name}, observed and forecast, mm/h")


def _draw_rates(
    chart: Chart, place: PagePlace, minutes: Float64Array, newest: int, step: float
) -> None:
    lowest = list(RATE_CLASSES)
    for number, (minute, rate) in enumerate(zip(minutes, place.rates, strict=True)):
        if rate >= lowest[0]:
            colour = f"var(--rate-{int(np.searchsorted(lowest, rate, side='right')) - 1})"
            chart.bar(minute, (0.55 if number <= newest else 0.95) * step, rate, colour)
    if place.low is not None and place.high is not None:
        chart.band(minutes[newest + 1 :], place.low, place.high, INK)
    chart.line([step / 2] * 2, [chart.y.start, chart.y.end], SOFT, 1, dash=DASHED)
