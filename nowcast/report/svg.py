"""Charts as SVG inside a page: small, quick to draw, and coloured by the page, so they are readable
in light, in dark and on paper.

Matplotlib would take a tenth of a second and ten kilobytes for each of the fifty panels of a
report. Python's XML library writes the elements: each is a path or text with computed attributes,
so a template would add nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nowcast.report.pictures.colours import forecast_styles

INK, SOFT, FAINT, GROUND = "var(--ink)", "var(--soft)", "var(--faint)", "var(--ground)"
"""The page's colours: of text, of axes and remarks, of grid lines, and of the background."""
DOTTED, DASHED = "1 3", "5 4"
_LABEL_GAP, _LONGEST_LABEL = 12.5, 16
_DIAMOND, _TRIANGLE = [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)], [(0, -1.2), (1.2, 1), (-1.2, 1)]
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "s": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "D": _DIAMOND,
    "^": _TRIANGLE,
    "v": [(x, -y) for x, y in _TRIANGLE],
    "P": [(-.4, -1.2), (.4, -1.2), (.4, -.4), (1.2, -.4), (1.2, .4), (.4, .4), (.4, 1.2), (-.4,
    1.2), (-.4, .4), (-1.2, .4), (-1.2, -.4), (-.4, -.4)], "X": [(0, -.5), (.7, -1.2), (1.2, -.7),
    (.5, 0), (1.2, .7), (.7, 1.2), (0, .5), (-.7, 1.2), (-1.2, .7), (-.5, 0), (-1.2, -.7), (-.7,
    -1.2)], "*": [(.3 * 5 ** (k % 2 == 0) * np.sin(k * np.pi / 5),
    -.3 * 5 ** (k % 2 == 0) * np.cos(k * np.pi / 5)) for k in range(10)], "d": [(.6 * x, y) for x,
    y in _DIAMOND],
}  # fmt: skip
"""Markers by their letters in matplotlib; any other letter is a disc."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One forecast in a chart: its number, marker, values (n,) with gaps at NaN, and the bounds of
    its interval if known.
    """

    number: int
    marker: str
    values: Numbers
    low: Numbers | None = None
    high: Numbers | None = None

    @property
    def colour(self) -> str:
        """The page's colour of this forecast."""
        return f"var(--line-{self.number})"

    @property
    def text_colour(self) -> str:
        """The page's colour of text about this forecast."""
        return text_colour(self.number)

    @property
    def width(self) -> float:
        """The width of the line in pixels; the first forecast is bolder."""
        return 1.6 if self.number else 2.3


def lines_of(names: Sequence[str], values: NDArray[Any], *bounds: NDArray[Any]) -> list[Line]:
    """Return a line for each forecast from values, and bounds of intervals, (forecast, n)."""
    styles = forecast_styles(names)
    rows = zip(names, values, *bounds, strict=True)
    return [Line(number, styles[name]["marker"], *row) for number, (name, *row) in enumerate(rows)]


def text_colour(number: int) -> str:
    """Return the page's colour of text about a forecast: readable on the page, and under it."""
    return f"var(--text-{number})"


@dataclass(frozen=True)
class Scale:
    """Maps values to pixels: `start` and `end` lie at `first` and `last`; `log` is logarithmic."""

    start: float
    end: float
    first: float
    last: float
    log: bool = False

    def __call__(self, values: Any) -> Any:
        """Return pixels; NaN for a value that is NaN or beyond the ends."""
        low, high = sorted((self.start, self.end))
        inside = np.where(
            (np.asarray(values) >= low) & (np.asarray(values) <= high), values, np.nan
        )
        start, end, place = (
            np.log(one) if self.log else one for one in (self.start, self.end, inside)
        )
        return self.first + (place - start) / (end - start) * (self.last - self.first)


class Chart:
    """A chart of `width` × `height` CSS pixels to draw on.

    Args:
        title: above it, bold.
        x_label: below it.
        x, y: values at the ends of the axes: left and right, bottom and top.
        log_x, log_y: whether an axis is logarithmic.
        left, right, top, bottom: pixels between the edge and the axes.
    """

    def __init__(
        self,
        title: str,
        x_label: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log_x: bool = False,
        log_y: bool = False,
        width: float = 350,
        height: float = 240,
        left: float = 44,
        right: float = 12,
        top: float = 28,
        bottom: float = 42,
    ) -> None:
        self.left, self.right, self.top, self.bottom = left, width - right, top, height - bottom
        self.x = Scale(*x, self.left, self.right, log_x)
        self.y = Scale(*y, self.bottom, self.top, log_y)
        self._svg = Element(
            "svg",
            viewBox=f"0 0 {width:g} {height:g}",
            style=f"max-width:{width:g}px",
            role="img",
        )
        self.words((self.left + self.right) / 2, height - 9, x_label, anchor="middle")
        self.words(self.left, top - 11, title, size=12, bold=True)

    def x_ticks(
        self,
        ticks: Sequence[float],
        labels: Sequence[str],
        *,
        below: Sequence[str] = (),
        grid: bool = True,
    ) -> None:
        """Draw labels below the axis at these values, a second row `below` them, and grid lines."""
        for place, label in zip(self.x(ticks), labels, strict=True):
            if grid:
                self._stroke(f"M{place:.1f} {self.bottom:g}V{self.top:g}", FAINT, 0.8)
            self.words(place, self.bottom + 14, label, anchor="middle")
        for place, label in zip(self.x(ticks), below, strict=False):
            self.words(place, self.bottom + 27, label, anchor="middle", colour=SOFT)
        self._stroke(f"M{self.left:g} {self.bottom:g}H{self.right:g}", SOFT, 0.8)

    def y_ticks(self, ticks: Sequence[float], labels: Sequence[str], *, grid: bool = True) -> None:
        """Draw labels left of the axis at these values, and grid lines."""
        for place, label in zip(self.y(ticks), labels, strict=True):
            if grid:
                self._stroke(f"M{self.left:g} {place:.1f}H{self.right:g}", FAINT, 0.8)
            self.words(self.left - 6, place + 3.8, label, anchor="end")
        self._stroke(f"M{self.left:g} {self.bottom:g}V{self.top:g}", SOFT, 0.8)

    def line(
        self,
        x: Any,
        y: Any,
        colour: str,
        width: float = 1.0,
        *,
        dash: str = "",
        opacity: float = 1.0,
    ) -> None:
        """Draw a line through these values, with a gap at NaN."""
        path, pen = [], "M"
        for right, up in zip(self.x(x), self.y(y), strict=True):
            if np.isfinite(right) and np.isfinite(up):
                path.append(f"{pen}{right:.1f} {up:.1f}")
                pen = "L"
            else:
                pen = "M"
        self._stroke("".join(path), colour, width, dash, opacity)

    def dots(self, x: Any, y: Any, marker: str, colour: str, size: float = 2.4) -> None:
        """Draw markers at these values, about twice `size` wide."""
        disc = (
            f"m{-size:g} 0a{size:g} {size:g} 0 1 0 {2 * size:g} 0a{size:g} {size:g} 0 1 0"
            f" {-2 * size:g} 0z"
        )
        path = []
        for right, up in zip(self.x(x), self.y(y), strict=True):
            if not (np.isfinite(right) and np.isfinite(up)):
                continue
            corners = [
                f"{right + size * dx:.1f} {up + size * dy:.1f}"
                for dx, dy in _CORNERS.get(marker, ())
            ]
            path.append(f"M{'L'.join(corners)}z" if corners else f"M{right:.1f} {up:.1f}{disc}")
        if path:
            self._path("".join(path), fill=colour)

    def band(self, x: Any, low: Any, high: Any, colour: str) -> None:
        """Fill the band between two lines lightly, with a gap at NaN."""
        xs, lows, highs = self.x(x), self.y(low), self.y(high)
        finite = np.isfinite(xs) & np.isfinite(lows) & np.isfinite(highs)
        for run in np.split(np.arange(len(xs)), np.flatnonzero(~finite)):
            run = run[finite[run]]
            corners = [f"{xs[k]:.1f} {lows[k]:.1f}" for k in run] + [
                f"{xs[k]:.1f} {highs[k]:.1f}" for k in run[::-1]
            ]
            if len(run) > 1:
                self._path(f"M{'L'.join(corners)}z", fill=colour, fill_opacity=".1")

    def bar(self, x: float, width: float, y: float, colour: str) -> None:
        """Draw a bar from the bottom up to y."""
        left, right, up = self.x(x - width / 2), self.x(x + width / 2), self.y(y)
        self._path(
            f"M{left:.1f} {self.bottom:g}V{up:.1f}H{right:.1f}V{self.bottom:g}z", fill=colour
        )

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 10.5,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Write words, with their baseline at this pixel; any markup in them stays text."""
        attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": f"{size:g}", "fill": colour}
        if anchor != "start":
            attributes["text-anchor"] = anchor
        if bold:
            attributes["font-weight"] = "700"
        SubElement(self._svg, "text", attributes).text = text

    def lines(self, x: NDArray[Any], lines: Sequence[Line]) -> None:
        """Draw the lines of all forecasts over their intervals, the first on top."""
        for line in lines:
            if line.low is not None and line.high is not None:
                self.band(x, line.low, line.high, line.colour)
        for line in reversed(lines):
            self.line(x, line.values, line.colour, line.width)
            if len(x) <= 24:
                self.dots(x, line.values, line.marker, line.colour)
        if not any(np.isfinite(line.values).any() for line in lines):
            middle = (self.left + self.right) / 2, (self.top + self.bottom) / 2
            self.words(*middle, "undefined: no such events", colour=SOFT, anchor="middle")

    def label_ends(self, lines: Sequence[Line], names: Sequence[str]) -> None:
        """Write the name of each forecast right of the axes, near the end of its line."""
        heights = {line.number: self.y(line.values) for line in lines}
        ends = {
            number: places[np.isfinite(places)][-1]
            for number, places in heights.items()
            if np.isfinite(places).any()
        }
        for number, height in zip(
            ends, spread(list(ends.values()), _LABEL_GAP, self.top, self.bottom), strict=True
        ):
            self.words(
                self.right + 7, height + 3.8, short(names[number]), colour=text_colour(number)
            )

    def svg(self, description: str) -> Markup:
        """Return the chart as an element of a page; screen readers read out `description`."""
        self._svg.set("aria-label", description)
        return Markup(tostring(self._svg, encoding="unicode"))

    def _stroke(
        self, path: str, colour: str, width: float, dash: str = "", opacity: float = 1.0
    ) -> None:
        if path:
            more = {"stroke_dasharray": dash} if dash else {}
            if opacity < 1:
                more["stroke_opacity"] = f"{opacity:g}"
            self._path(path, fill="none", stroke=colour, stroke_width=f"{width:g}", **more)

    def _path(self, path: str, **attributes: str) -> None:
        names = {name.replace("_", "-"): value for name, value in attributes.items()}
        SubElement(self._svg, "path", {"d": path, **names})


def label_room(names: Sequence[str]) -> float:
    """Return the pixels that the names of the forecasts need right of the axes."""
    return 14 + 6.4 * min(_LONGEST_LABEL, max(map(len, names), default=0))


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: '1', '1 and 2', '1, 2 and 5'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def short(name: str) -> str:
    """Return a name, cut to fit next to a line."""
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def nice_ticks(
    low: float, high: float, most: int = 6, steps: Sequence[float] = (1, 2, 2.5, 5, 10)
) -> list[float]:
    """Return about `most` round numbers or fewer from low to high.

    Their spacing is one of `steps` times a power of ten.
    """
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next((one * power for one in steps if one * power >= rough * 0.9999), 10 * power)
    return [
        float(number * step)
        for number in range(int(np.ceil(low / step - 1e-6)), int(np.floor(high / step + 1e-6)) + 1)
    ]


def plain(value: float) -> str:
    """Return a number with commas at thousands and a true minus; from a million on as '15·10⁶'."""
    if abs(value) >= 1e6:
        return f"{plain(value / 1e6)}·10⁶"
    text = f"{value:,.9f}".rstrip("0").rstrip(".").replace("-", "−")
    return "0" if text == "−0" else text


def power_of_ten(power: int) -> str:
    """Return a power of ten as '10⁻³'."""
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def spread(wanted: Sequence[float] | NDArray[Any], gap: float, low: float, high: float) -> Numbers:
    """Return places near the wanted ones, with neighbours at least `gap` apart.

    They lie between `low` and `high` if they fit.
    """
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(order))
    # runs of neighbours that touch; each gives the place that it wants for the first of its run
    runs: list[list[float]] = []
    for place in np.asarray(wanted, dtype=np.float64)[order] - steps:
        runs.append([place])
        while len(runs) > 1 and np.mean(runs[-2]) > np.mean(runs[-1]):
            runs[-2:] = [runs[-2] + runs[-1]]
    places = np.array([np.mean(run) for run in runs for _ in run])
    result = np.empty(len(order))
    result[order] = np.clip(places, low, max(low, high - gap * (len(order) - 1))) + steps
    return result
