"""The figures of the report: each function draws one panel as SVG from the dataset of scores, with
all forecasts in it.

References:
    Roebber 2009, Visualizing multiple measures of forecast quality, Weather and Forecasting 24,
    601-608. Roberts & Lean 2008, Scale-selective verification of rainfall accumulations, Monthly
    Weather Review 136, 78-97.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nowcast.report.scale import square_km_of
from nowcast.report.svg import (
    DASHED,
    DOTTED,
    FAINT,
    GROUND,
    INK,
    SOFT,
    Chart,
    Line,
    label_room,
    lines_of,
    listed,
    nice_ticks,
    plain,
    power_of_ten,
    text_colour,
)
from nowcast.verification.scoring import UNITS_IN_WORDS

if TYPE_CHECKING:
    import xarray as xr

_TENTHS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
_MINUTES = (1, 1.5, 2, 3, 5, 6, 10)


def names_of(scores: "xr.Dataset") -> list[str]:
    """Return the names of the forecasts, in the order of their colours."""
    return [str(name) for name in scores["forecast"].values]


def at_or_above(scores: "xr.Dataset", threshold: float) -> str:
    """Return an event in words: '≥ 0.5 mm/h'."""
    unit = UNITS_IN_WORDS.get(scores["threshold"].attrs.get("units", ""), "")
    return f"≥ {threshold:g} {unit}".rstrip()


def against_lead(
    scores: "xr.Dataset", name: str, title: str, threshold: float | None = None
) -> Markup:
    """Draw a score of all cases against lead time: lines of forecasts, bands of intervals."""
    here = _all_cases(scores, [name], threshold)
    names, minutes = names_of(scores), here["lead_time"].values
    lines = _lines(here, name, "lead_time")
    low, high = _range(lines, 0.0 if threshold is None else 0.05)
    chart = Chart(
        title, "lead time, minutes", (0, 1.02 * minutes.max()), (low, high), right=label_room(names)
    )
    _numbers(chart, nice_ticks(0, minutes.max(), 7, _MINUTES), nice_ticks(low, high))
    chart.lines(minutes, lines)
    chart.label_ends(lines, names)
    return chart.svg(f"{title} against lead time, for {listed(names)}.")


def fss_by_scale(scores: "xr.Dataset", threshold: float) -> Markup:
    """Draw the mean FSS over lead times against the width of the neighbourhood, in pixels and km.

    A dashed line marks the useful FSS, 1/2 + f/2 with f the share of observed events (Roberts &
    Lean 2008): half way from a random forecast to a perfect one.
    """
    here = _all_cases(scores, ["fss_mean", "hits", "misses", "pixels"], threshold)
    title, names, scales = at_or_above(scores, threshold), names_of(scores), here["scale"].values
    lines = _lines(here, "fss_mean", "scale")
    ends = (scales[0] / 1.1, scales[-1] * 1.1)
    km = square_km_of(scores.attrs)
    chart = Chart(
        f"FSS {title}",
        f"width of the neighbourhood, {_units_of_length(km)}",
        ends,
        (0, 1),
        log_x=True,
        right=label_room(names),
        height=240 + _more_for_km(km),
        bottom=42 + _more_for_km(km),
    )
    chart.x_ticks(
        scales.tolist(), [f"{scale:g}" for scale in scales], below=_in_km(scales.tolist(), km)
    )
    chart.y_ticks(_TENTHS, [plain(tick) for tick in _TENTHS])
    events = (here["hits"] + here["misses"]).isel(forecast=0).sum().item()
    pixels = here["pixels"].isel(forecast=0).sum().item()
    if pixels and events:
        useful = 0.5 + 0.5 * events / pixels
        chart.line(ends, (useful, useful), SOFT, dash=DASHED)
        chart.words(
            chart.right - 3,
            float(chart.y(useful)) + 12,
            "useful",
            colour=SOFT,
            size=10,
            anchor="end",
        )
    chart.lines(scales, lines)
    chart.label_ends(lines, names)
    return chart.svg(
        f"Fractions skill score {title} against the width of the neighbourhood, for"
        f" {listed(names)}."
    )


def performance(scores: "xr.Dataset") -> Markup:
    """Draw the performance diagram (Roebber 2009) of counts pooled over lead times.

    Each threshold is a dot at its success ratio SR = 1 − FAR and its POD. Curves have equal CSI,
    1 / CSI = 1 / SR + 1 / POD − 1; straight lines have equal bias, POD / SR.
    """
    side = 440
    chart = Chart(
        "",
        "success ratio (1 − FAR)",
        (0, 1),
        (0, 1),
        width=46 + side + 84,
        height=44 + side + 42,
        left=46,
        right=84,
        top=44,
    )
    chart.words(chart.left, 12, "probability of detection (POD)")
    chart.x_ticks(_TENTHS, [plain(tick) for tick in _TENTHS], grid=False)
    chart.y_ticks(_TENTHS, [plain(tick) for tick in _TENTHS], grid=False)
    _performance_lines(chart)
    here, names = _all_cases(scores, ["far_pooled", "pod_pooled"]), names_of(scores)
    for number in reversed(range(len(names))):
        _performance_of(
            chart, here.isel(forecast=number), text_colour(number), 1.6 if number else 2.3
        )
    thresholds = ", ".join(at_or_above(scores, one) for one in scores["threshold"].values)
    return chart.svg(
        f"Performance diagram: success ratio and probability of detection of {listed(names)} at"
        f" {thresholds}."
    )


def by_part(scores: "xr.Dataset", kind: str, threshold: float) -> Markup:
    """Draw the mean CSI over lead times of each part of the cases, such as each day or hour.

    A part is a row, a forecast a dot.
    """
    parts = np.flatnonzero(scores["part_kind"].values == kind)
    of_kind = scores[["csi_mean", "cases"]].isel(part=parts).sel(threshold=threshold)
    labels, names = (
        [_part_label(str(part), kind) for part in of_kind["part"].values],
        names_of(scores),
    )
    step = float(np.clip(900 / len(labels), 4, 17))
    highest = of_kind["csi_mean"].max().item()
    top = _nice_top(highest if np.isfinite(highest) else 1.0)
    title, left = f"by {kind.replace('_', ' ')}", 16 + 6.2 * max(map(len, labels))
    ends = (len(labels) - 0.4, -0.6)
    chart = Chart(
        title, "CSI", (0, top), ends, width=380, height=70 + step * len(labels), left=left, right=50
    )
    rows, every = np.arange(len(labels)), int(np.ceil(12 / step))
    ticks = nice_ticks(0, top, 4)
    chart.x_ticks(ticks, [plain(tick) for tick in ticks])
    chart.y_ticks(rows[::every].tolist(), [f"{label}\u2002" for label in labels[::every]])
    for line in reversed(lines_of(names, of_kind["csi_mean"].transpose("forecast", "part").values)):
        chart.dots(line.values, rows, line.marker, line.colour, 3.4 if step > 8 else 2.0)
    for height, cases in zip(chart.y(rows[::every]), of_kind["cases"].values[::every], strict=True):
        chart.words(
            chart.right + 46, height + 3.8, f"{cases:,}", size=9.5, colour=SOFT, anchor="end"
        )
    chart.words(chart.right + 46, 17, "cases", size=9.5, colour=SOFT, anchor="end")
    return chart.svg(f"CSI {at_or_above(scores, threshold)} {title}, for {listed(names)}.")


def _with_power_of_members(scores: "xr.Dataset") -> "xr.Dataset":
    """Return the scores with the power of an ensemble's members in place of their mean's power."""
    pairs = {"forecast_power": "member_power", "power_ratio": "member_power_ratio"}
    known = {ours: scores[theirs] for ours, theirs in pairs.items() if theirs in scores}
    return scores.assign({name: one.fillna(scores[name]) for name, one in known.items()})


def spectrum(scores: "xr.Dataset", lead: float) -> Markup:
    """Draw the radially averaged power against wavelength at one lead time, observed and forecast.

    The power of an ensemble is that of its members.
    """
    scores = _with_power_of_members(scores)
    here, names = _waves(scores, ["forecast_power", "observed_power"], lead), names_of(scores)
    lines, observed = (
        _lines(here, "forecast_power", "wavenumber"),
        here["observed_power"].isel(forecast=0).values,
    )
    everything = np.concatenate([observed, *[line.values for line in lines]])
    positive = everything[everything > 0]
    least, most = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    powers = range(int(np.floor(np.log10(least))), int(np.floor(np.log10(most))) + 2)
    wavelengths, ends = _wavelengths(here)
    title = f"power after {lead:g} min, mm²/h²"
    km = square_km_of(scores.attrs)
    chart = _wave_chart(title, ends, powers, km)
    shown = powers[:: -(-len(powers) // 8)]
    chart.y_ticks([10.0**power for power in shown], [power_of_ten(power) for power in shown])
    _wavelength_ticks(chart, ends, km)
    chart.lines(wavelengths, lines)
    chart.line(wavelengths, observed, INK, 2.2, dash=DOTTED)
    return chart.svg(f"Power spectra after {lead:g} minutes, observed and of {listed(names)}.")


def _wave_chart(
    title: str, ends: tuple[float, float], powers: range, km: float | None, **room: float
) -> Chart:
    """Return an empty chart of powers of ten against wavelength, with km below pixels if known."""
    return Chart(
        title,
        f"wavelength, {_units_of_length(km)}",
        ends,
        (10.0 ** powers[0], 10.0 ** powers[-1]),
        log_x=True,
        log_y=True,
        height=240 + _more_for_km(km),
        bottom=42 + _more_for_km(km),
        **room,
    )


def power_ratio(scores: "xr.Dataset", lead: float) -> Markup:
    """Draw the power of each forecast divided by the observed power, against wavelength.

    Below 1, a forecast is too smooth.
    """
    scores = _with_power_of_members(scores)
    here, names = _waves(scores, ["power_ratio"], lead), names_of(scores)
    lines = _lines(here, "power_ratio", "wavenumber")
    everything = np.concatenate([line.values for line in lines])
    lowest = everything[everything > 0].min(initial=0.1)
    powers = range(int(np.clip(np.floor(np.log10(lowest)), -4, -1)), 2)
    wavelengths, ends = _wavelengths(here)
    title, km = f"power forecast / observed, {lead:g} min", square_km_of(scores.attrs)
    chart = _wave_chart(title, ends, powers, km, right=label_room(names))
    chart.y_ticks([10.0**power for power in powers], [f"{10.0**power:g}" for power in powers])
    _wavelength_ticks(chart, ends, km)
    chart.line(ends, (1, 1), INK, 1.6, dash=DOTTED)
    chart.lines(wavelengths, lines)
    chart.label_ends(lines, names)
    return chart.svg(
        f"Ratio of power, forecast to observed, after {lead:g} minutes, for {listed(names)}."
    )


def _all_cases(
    scores: "xr.Dataset", names: Sequence[str], threshold: float | None = None
) -> "xr.Dataset":
    """Return these scores of all cases together, with their intervals if known."""
    wanted = [
        f"{name}{bound}"
        for name in names
        for bound in ("", "_low", "_high")
        if f"{name}{bound}" in scores
    ]
    here = scores[wanted].isel(part=0)
    return here if threshold is None else here.sel(threshold=threshold)


def _lines(here: "xr.Dataset", name: str, dim: str) -> list[Line]:
    """Return a line for each forecast: one score along a dimension, with its interval if known."""
    names = [name, *(f"{name}_{side}" for side in ("low", "high") if f"{name}_{side}" in here)]
    return lines_of(names_of(here), *[here[one].transpose("forecast", dim).values for one in names])


def _numbers(chart: Chart, x: Sequence[float], y: Sequence[float]) -> None:
    chart.x_ticks(x, [plain(tick) for tick in x])
    chart.y_ticks(y, [plain(tick) for tick in y])


def _range(lines: Sequence[Line], least: float) -> tuple[float, float]:
    """Return the ends of an axis: from 0 or the lowest score to a little above the highest.

    The upper end is at least `least`.
    """
    values = np.concatenate(
        [part for line in lines for part in (line.values, line.low, line.high) if part is not None]
    )
    values = values[np.isfinite(values)]
    low, high = min(0.0, values.min(initial=0.0)), values.max(initial=least)
    return (0.0, 1.0) if low == high or not values.size else (1.06 * low, 1.06 * high)


def _performance_lines(chart: Chart) -> None:
    """Draw the background: curves of equal CSI, and lines of equal bias, each with its value."""
    for csi in np.arange(1, 10) / 10:
        x = np.linspace(csi, 1, 60)
        chart.line(x, np.minimum(1, 1 / (1 / csi + 1 - 1 / x)), FAINT, 1.2)
        chart.words(chart.right + 5, float(chart.y(csi)) + 3.8, f"{csi:.1f}", size=9.5, colour=SOFT)
    for bias in (0.25, 0.5, 1.0, 2.0, 4.0):
        end = (min(1.0, 1 / bias), min(1.0, bias))
        chart.line((0, end[0]), (0, end[1]), SOFT, 0.7, dash=DASHED)
        place, height = float(chart.x(end[0])), float(chart.y(end[1]))
        if bias < 1:
            chart.words(chart.right + 40, height + 3.8, f"{bias:g}", size=9.5, colour=SOFT)
        else:
            chart.words(place, chart.top - 6, f"{bias:g}", size=9.5, colour=SOFT, anchor="middle")
    chart.words(
        float(chart.x(0.375)),
        chart.top - 6,
        "bias",
        size=9.5,
        colour=SOFT,
        anchor="middle",
        bold=True,
    )
    for offset, word in ((5, "CSI"), (40, "bias")):
        chart.words(chart.right + offset, chart.top + 12, word, size=9.5, colour=SOFT, bold=True)


def _performance_of(chart: Chart, one: "xr.Dataset", colour: str, width: float) -> None:
    """Draw one forecast: a line through its thresholds, numbered dots, and crosses of intervals."""
    right, up = 1 - one["far_pooled"].values, one["pod_pooled"].values
    if "far_pooled_low" in one and "pod_pooled_low" in one:
        bounds = [one[f"pod_pooled_{side}"].values for side in ("low", "high")]
        sides = [1 - one[f"far_pooled_{side}"].values for side in ("high", "low")]
        for k, (x, y) in enumerate(zip(right, up, strict=True)):
            chart.line((x, x), (bounds[0][k], bounds[1][k]), colour, opacity=0.4)
            chart.line((sides[0][k], sides[1][k]), (y, y), colour, opacity=0.4)
    chart.line(right, up, colour, width)
    for x, y, threshold in zip(right, up, one["threshold"].values, strict=True):
        if np.isfinite(x) and np.isfinite(y):
            chart.dots([x], [y], "o", GROUND, 9.5)
            chart.dots([x], [y], "o", colour, 8.5)
            place = float(chart.x(x)), float(chart.y(y)) + 3
            chart.words(
                *place, f"{threshold:g}", size=8.5, colour=GROUND, anchor="middle", bold=True
            )


def _waves(scores: "xr.Dataset", names: Sequence[str], lead: float) -> "xr.Dataset":
    """Return scores at one lead time, without the mean, which has no wavelength."""
    return (
        scores[list(names)]
        .isel(part=0, wavenumber=scores["wavenumber"].values > 0)
        .sel(lead_time=lead)
    )


def _wavelengths(here: "xr.Dataset") -> tuple[NDArray[Any], tuple[float, float]]:
    """Return the wavelengths in pixels, and the ends of their axis; long waves are on the left."""
    wavelengths = 1 / here["wavenumber"].values
    return wavelengths, (float(wavelengths.max()) * 1.02, float(wavelengths.min()) / 1.02)


def _wavelength_ticks(chart: Chart, ends: tuple[float, float], km: float | None) -> None:
    ticks = [2**power for power in range(1, 14) if ends[1] <= 2**power <= ends[0]]
    chart.x_ticks(ticks, [str(tick) for tick in ticks], below=_in_km(ticks, km))


def _units_of_length(km: float | None) -> str:
    return "pixels" if km is None else "pixels, and below in km"


def _more_for_km(km: float | None) -> float:
    """Return the pixels that a second row of labels needs."""
    return 0 if km is None else 13


def _in_km(pixels: Sequence[float], km: float | None) -> list[str]:
    """Return lengths in km with at least two digits; none if the size of a pixel is unknown."""
    if km is None:
        return []
    lengths = [one * km for one in pixels]
    return [f"{one:.0f}" if one >= 10 else f"{one:.2g}" for one in lengths]


def _part_label(part: str, kind: str) -> str:
    """Return a part in few words: '2018-05-17', '14 h', '2018-05-17 03 to 11 h', '5 to 10 %'."""
    words = part.removeprefix(kind.replace("_", " ")).strip()
    if kind == "event":
        first, last = (hour.split("T") for hour in words.split(" to "))
        return f"{' '.join(first)} to {last[1] if last[0] == first[0] else ' '.join(last)[5:]} h"
    return f"{words} h" if kind == "hour" else words


def _nice_top(value: float) -> float:
    """Return the end of an axis from 0 that holds `value`: a round number."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(
        next(
            step * power
            for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
            if value <= step * power * 1.0001
        )
    )
