"""The figures of the report say what the scores say, whatever the forecasts are called."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

from nowcast.report import diagrams, svg
from nowcast.report import ensemble_diagrams as diagrams_ensemble

SVG = "{http://www.w3.org/2000/svg}"


def parsed(element: str) -> ElementTree.Element:
    """As a browser reads it, where <svg> needs no names of its own."""
    return ElementTree.fromstring(
        str(element).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )


def points(element: str, colour: str) -> list[list[tuple[float, float]]]:
    """The pieces of the lines of this colour."""
    paths = [
        path.get("d", "")
        for path in parsed(element).iter(f"{SVG}path")
        if path.get("stroke") == f"var(--{colour})"
    ]
    pieces = [piece for path in paths for piece in path.split("M")[1:]]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", piece)]
        for piece in pieces
    ]


def words(element: str) -> list[str]:
    return ["".join(text.itertext()).strip() for text in parsed(element).iter(f"{SVG}text")]


def scores_of(
    values: np.ndarray, names: list[str], leads: list[float], thresholds: list[float]
) -> xr.Dataset:
    """A CSI, (forecast, lead_time, threshold), with an interval of ± 0.1."""
    dims = ("forecast", "lead_time", "threshold")
    return xr.Dataset(
        {
            "csi": (("part", *dims), values[None]),
            "csi_low": (dims, values - 0.1),
            "csi_high": (dims, values + 0.1),
        },
        coords={
            "part": ["all"],
            "forecast": names,
            "lead_time": leads,
            "threshold": ("threshold", thresholds, {"units": "mm h-1"}),
        },
    )


def test_labels_stay_near_their_lines_and_apart_from_each_other() -> None:
    np.testing.assert_array_equal(svg.spread(np.array([50.0, 10.0]), 12, 0, 100), [50, 10])
    np.testing.assert_array_equal(svg.spread(np.array([40.0, 40.0]), 12, 0, 100), [34, 46])
    np.testing.assert_array_equal(svg.spread(np.array([99.0, 1.0, 99.0]), 10, 0, 100), [90, 1, 100])
    crowded = svg.spread(np.array([5.0, 5.0, 5.0]), 12, 0, 10)
    np.testing.assert_array_equal(np.diff(crowded), [12, 12])


def test_a_line_goes_where_the_scores_are_and_breaks_where_they_are_undefined() -> None:
    scores = scores_of(
        np.array([[[0.8], [0.4], [np.nan], [0.2], [0.1]]]), ["model"], [5, 10, 15, 20, 25], [1.0]
    )
    before, after = points(diagrams.against_lead(scores, "csi", "CSI", 1.0), "line-0")
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = *before, *after
    assert x1 - x0 == pytest.approx(x3 - x2, abs=0.2) and x2 - x1 == pytest.approx(
        2 * (x1 - x0), abs=0.2
    )
    # 0.8 → 0.4, and 0.2 → 0.1, downward
    assert y1 - y0 == pytest.approx(4 * (y3 - y2), abs=0.4) and y0 < y1 < y2 < y3


def test_a_band_lies_between_the_bounds_and_breaks_with_them() -> None:
    # 10 pixels a unit; 100 upward
    chart = svg.Chart("", "", (0, 10), (0, 1), width=156, height=170, left=44, right=12, top=28)
    chart.band(
        np.arange(5.0),
        np.array([0.1, 0.1, np.nan, 0.3, 0.3]),
        np.array([0.5, 0.5, np.nan, 0.4, 0.4]),
        "red",
    )
    bands = [
        path.get("d")
        for path in parsed(chart.svg("")).iter(f"{SVG}path")
        if path.get("fill") == "red"
    ]
    assert bands == [
        "M44.0 118.0L54.0 118.0L54.0 78.0L44.0 78.0z",
        "M74.0 98.0L84.0 98.0L84.0 88.0L74.0 88.0z",
    ]


def test_a_logarithmic_scale_is_even_in_factors_and_ends_at_its_ends() -> None:
    scale = svg.Scale(100.0, 1.0, 0.0, 50.0, log=True)
    np.testing.assert_allclose(scale([100, 10, 1]), [0, 25, 50])
    assert np.isnan(scale([0.5, 200, 0, -1, np.nan])).all()


def test_a_panel_without_any_event_says_so() -> None:
    scores = scores_of(np.full((2, 3, 1), np.nan), ["model", "persistence"], [5, 10, 15], [30.0])
    assert "undefined: no such events" in words(diagrams.against_lead(scores, "csi", "CSI", 30.0))


def test_names_are_escaped_cut_and_never_taken_for_formulas_or_fonts() -> None:
    names = [
        "<script>alert(1)</script>",
        "$\\frac{1}$",
        "雷达 & §0§",
        "a name that is far too long to stand there",
    ]
    values = np.linspace(0.1, 0.9, 8).reshape(4, 2, 1)
    chart = diagrams.against_lead(scores_of(values, names, [5, 10], [1.0]), "csi", "CSI", 1.0)
    assert set(words(chart)) >= {svg.short(name) for name in names}
    assert "<script" not in chart
    assert svg.short(names[3]) == "a name that is …"


def test_a_chart_has_colours_of_the_page_and_no_ids_or_addresses() -> None:
    scores = scores_of(np.full((2, 2, 1), 0.5), ["model", "persistence"], [5, 10], [1.0])
    chart = diagrams.against_lead(scores, "csi", "CSI", 1.0)
    assert not re.search(r"#|http|\bid=|<style", chart)
    assert {"var(--line-0)", "var(--line-1)", "var(--ink)", "var(--faint)"} <= set(
        re.findall(r"var\([^)]*\)", chart)
    )


def test_ticks_are_round_and_written_out() -> None:
    assert svg.nice_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert svg.nice_ticks(-0.03, 0.08) == pytest.approx([-0.02, 0, 0.02, 0.04, 0.06, 0.08])
    assert svg.nice_ticks(0, 60, 7, (1, 1.5, 2, 3, 5, 6, 10)) == [0, 10, 20, 30, 40, 50, 60]
    assert svg.nice_ticks(0, 120, 7, (1, 1.5, 2, 3, 5, 6, 10)) == [0, 20, 40, 60, 80, 100, 120]
    assert [svg.plain(value) for value in (0.125, 0.00005, -400000.0, -0.0, 0.1 + 0.2)] == [
        "0.125",
        "0.00005",
        "−400,000",
        "0",
        "0.3",
    ]
    assert svg.power_of_ten(-12) == "10⁻¹²"


def test_each_marker_is_drawn_where_it_belongs() -> None:
    for marker in "osD^vPX*d":
        chart = svg.Chart("", "", (0, 10), (0, 1), width=156, height=170, left=44, right=12, top=28)
        chart.dots([5, np.nan, 20], [0.5, 0.5, 0.5], marker, "red", 2)
        (path,) = [
            path.get("d", "")
            for path in parsed(chart.svg("")).iter(f"{SVG}path")
            if path.get("fill") == "red"
        ]
        numbers = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), dtype=float)
        assert len(numbers) == 1 or np.abs(numbers.mean(axis=0) - [94, 78]).max() < 1
        assert np.abs(numbers - [94, 78]).max() < 4


def test_parts_are_named_in_few_words() -> None:
    assert diagrams._part_label("day 2018-05-17", "day") == "2018-05-17"
    assert diagrams._part_label("hour 07", "hour") == "07 h"
    assert (
        diagrams._part_label("event 2018-05-17T03 to 2018-05-17T11", "event")
        == "2018-05-17 03 to 11 h"
    )
    assert (
        diagrams._part_label("event 2018-05-17T03 to 2018-05-18T01", "event")
        == "2018-05-17 03 to 05-18 01 h"
    )
    assert diagrams._part_label("wet share 5 to 10 %", "wet_share") == "5 to 10 %"


def test_a_dot_of_the_performance_diagram_lies_at_success_ratio_and_pod() -> None:
    pooled = {"pod_pooled": 0.75, "far_pooled": 0.5}
    dims = ("part", "forecast", "threshold")
    scores = xr.Dataset(
        {name: (dims, np.full((1, 1, 1), value)) for name, value in pooled.items()},
        coords={
            "part": ["all"],
            "forecast": ["model"],
            "threshold": ("threshold", [2.0], {"units": "mm h-1"}),
        },
    )
    (number,) = [
        text
        for text in parsed(diagrams.performance(scores)).iter(f"{SVG}text")
        if text.get("fill") == "var(--ground)"
    ]
    assert number.text == "2"
    left, top, side = 46, 44, 440
    assert float(number.get("x", "")) == pytest.approx(left + 0.5 * side)
    # the baseline of the digit
    assert float(number.get("y", "")) == pytest.approx(top + 0.25 * side + 3)


def test_an_unskilled_ensemble_lies_on_the_diagonals() -> None:
    """Three members that are above the threshold or not whatever happens: probabilities of 0,
    1/3, 2/3, 1, base rate 1/4.
    """
    dims = ("part", "forecast", "threshold", "members_above")
    scores = xr.Dataset(
        {
            "observed_frequency": (dims, np.full((1, 1, 1, 4), 0.25)),
            "probability_pixels": (dims, np.full((1, 1, 1, 4), 100)),
            "roc_pod": (dims, np.array([1, 0.75, 0.5, 0.25]).reshape(1, 1, 1, 4)),
            "roc_pofd": (dims, np.array([1, 0.75, 0.5, 0.25]).reshape(1, 1, 1, 4)),
            "roc_area": (dims[:3], np.full((1, 1, 1), 0.5)),
            "observed_base_rate": (dims[:3], np.full((1, 1, 1), 0.25)),
            "forecast_probability": (
                ("forecast", "members_above"),
                np.array([[0, 1 / 3, 2 / 3, 1]]),
            ),
            "rank_frequency": (("part", "forecast", "rank"), np.full((1, 1, 4), 0.25)),
        },
        coords={
            "part": ["all"],
            "forecast": ["steps"],
            "threshold": ("threshold", [1.0], {"units": "mm h-1"}),
        },
    )
    assert "area 0.500" in words(diagrams_ensemble.roc(scores, 1.0, [0]))
    assert "observed frequency ≥ 1 mm/h" in words(
        diagrams_ensemble.reliability(scores, 1.0, [0])[0]
    )
    (curve,), (flat,) = (
        points(chart, "line-0")[:1]
        for chart in (
            diagrams_ensemble.roc(scores, 1.0, [0]),
            diagrams_ensemble.reliability(scores, 1.0, [0])[0],
        )
    )
    start, *_, end = points(diagrams_ensemble.roc(scores, 1.0, [0]), "soft")[-1]
    slope = (end[1] - start[1]) / (end[0] - start[0])
    assert all(y - start[1] == pytest.approx(slope * (x - start[0]), abs=0.2) for x, y in curve)
    assert len({y for _, y in flat}) == 1
    histogram = parsed(diagrams_ensemble.rank_histogram(scores, 0, 3))
    bars = [
        path.get("d", "")
        for path in histogram.iter(f"{SVG}path")
        if path.get("fill") == "var(--line-0)"
    ]
    assert len({re.findall(r"V([\d.]+)", bar)[0] for bar in bars}) == 1 and len(bars) == 4
