"""The figures of the report say what the scores say, whatever the forecasts are called."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

from nowcast.verification import diagrams, diagrams_ensemble, svg

SVG = "{http://www.w3.org/2000/svg}"


def parsed(element: str) -> ElementTree.Element:
    """As a browser reads it, where <svg> needs no names of its own."""
    return ElementTree.fromstring(element.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="l" ', 1))


def words(element: str) -> list[str]:
    return ["".join(text.itertext()).strip() for text in parsed(element).iter(f"{SVG}text")]


def scores_of(values: np.ndarray, names: list[str], leads: list[float], thresholds: list[float]) -> xr.Dataset:
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
    scores = scores_of(np.array([[[0.8], [0.4], [np.nan], [0.2]]]), ["model"], [5, 10, 15, 20], [1.0])
    drawn = parsed(diagrams.against_lead(scores, "csi", "CSI", 1.0))
    (line,) = [
        path
        for path in drawn.iter(f"{SVG}path")
        if "stroke: var(--line-0)" in path.get("style", "") and "clip-path" in path.attrib
    ]
    points = [tuple(map(float, point)) for point in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line.get("d", ""))]
    assert len(points) >= 3
    (x0, y0), (x1, y1), (x2, y2) = points[0], points[1], points[-1]
    assert line.get("d", "").count("M") == 2  # taken up again after the gap
    assert (x2 - x1) == pytest.approx(2 * (x1 - x0), abs=0.05)
    assert (y1 - y0) == pytest.approx(2 * (y2 - y1), abs=0.05)  # 0.8 → 0.4 → 0.2, downward


def test_a_panel_without_any_event_says_so() -> None:
    scores = scores_of(np.full((2, 3, 1), np.nan), ["model", "persistence"], [5, 10, 15], [30.0])
    assert "undefined: no such events" in words(diagrams.against_lead(scores, "csi", "CSI", 30.0))


def test_names_are_escaped_cut_and_never_taken_for_formulas_or_fonts() -> None:
    names = ["<script>alert(1)</script>", "$\\frac{1}$", "雷达 & §0§", "a name that is far too long to stand there"]
    values = np.linspace(0.1, 0.9, 8).reshape(4, 2, 1)
    chart = diagrams.against_lead(scores_of(values, names, [5, 10], [1.0]), "csi", "CSI", 1.0)
    assert set(words(chart)) >= {svg.short(name) for name in names}
    assert "<script" not in chart
    assert svg.short(names[3]) == "a name that is …"


def test_a_chart_has_colours_of_the_page_ids_of_its_own_and_no_address() -> None:
    scores = scores_of(np.full((2, 2, 2), 0.5), ["model", "persistence"], [5, 10], [1.0, 2.0])
    one, other = (diagrams.against_lead(scores, "csi", f"CSI ≥ {threshold:g}", threshold) for threshold in (1.0, 2.0))
    ids = [set(re.findall(r'\bid="([^"]*)"', chart)) for chart in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    for chart, own in zip((one, other), ids, strict=True):
        assert {*re.findall(r'href="#([^"]*)"', chart), *re.findall(r"url\(#([^)]*)\)", chart)} <= own
        assert "http" not in chart and "<style" not in chart
        assert not set(re.findall("#[0-9a-f]{6}", chart))
        assert {"var(--line-0)", "var(--line-1)", "var(--ink)"} <= set(re.findall(r"var\([^)]*\)", chart))
    assert one == diagrams.against_lead(scores, "csi", "CSI ≥ 1", 1.0)


def test_ticks_are_written_out_and_decimals_cut_in_paths_alone() -> None:
    scores = scores_of(np.array([[[0.171], [0.0251]]]), ["model"], [5, 10], [30.0])
    ticks = words(diagrams.against_lead(scores, "csi", "CSI", 30.0))
    assert "0.125" in ticks or "0.15" in ticks
    assert diagrams._plain(0.00005) == "0.00005"
    assert diagrams._plain(-400000.0) == "−400,000"
    assert diagrams._plain(-0.0) == "0"


def test_parts_are_named_in_few_words() -> None:
    assert diagrams._part_label("day 2018-05-17", "day") == "2018-05-17"
    assert diagrams._part_label("hour 07", "hour") == "07 h"
    assert diagrams._part_label("event 2018-05-17T03 to 2018-05-17T11", "event") == "2018-05-17 03 to 11 h"
    assert diagrams._part_label("event 2018-05-17T03 to 2018-05-18T01", "event") == "2018-05-17 03 to 05-18 01 h"
    assert diagrams._part_label("wet share 5 to 10 %", "wet_share") == "5 to 10 %"


def test_a_dot_of_the_performance_diagram_lies_at_success_ratio_and_pod() -> None:
    pooled = {"pod_pooled": 0.75, "far_pooled": 0.5}
    dims = ("part", "forecast", "threshold")
    scores = xr.Dataset(
        {name: (dims, np.full((1, 1, 1), value)) for name, value in pooled.items()},
        coords={"part": ["all"], "forecast": ["model"], "threshold": ("threshold", [2.0], {"units": "mm h-1"})},
    )
    drawn = parsed(diagrams.performance(scores))
    (number,) = [text for text in drawn.iter(f"{SVG}text") if "var(--ground)" in text.get("style", "")]
    assert number.text == "2"
    left, right, top, bottom = 46, 560 - 84, 36, 560 - 42
    side = min(right - left, bottom - top)  # the square in the middle of the room
    x0, y1 = (left + right - side) / 2, (top + bottom + side) / 2
    assert float(number.get("x", "")) == pytest.approx(x0 + 0.5 * side, abs=1)
    assert float(number.get("y", "")) == pytest.approx(y1 - 0.75 * side, abs=5)  # the baseline of the digit


def test_an_unskilled_ensemble_lies_on_the_diagonals() -> None:
    """Three members that are above the threshold or not whatever happens: probabilities of 0, 1/3, 2/3, 1, base rate 1/4."""
    dims = ("part", "forecast", "threshold", "members_above")
    scores = xr.Dataset(
        {
            "observed_frequency": (dims, np.full((1, 1, 1, 4), 0.25)),
            "probability_pixels": (dims, np.full((1, 1, 1, 4), 100)),
            "roc_pod": (dims, np.array([1, 0.75, 0.5, 0.25]).reshape(1, 1, 1, 4)),
            "roc_pofd": (dims, np.array([1, 0.75, 0.5, 0.25]).reshape(1, 1, 1, 4)),
            "roc_area": (dims[:3], np.full((1, 1, 1), 0.5)),
            "observed_base_rate": (dims[:3], np.full((1, 1, 1), 0.25)),
            "forecast_probability": (("forecast", "members_above"), np.array([[0, 1 / 3, 2 / 3, 1]])),
            "rank_frequency": (("part", "forecast", "rank"), np.full((1, 1, 4), 0.25)),
        },
        coords={"part": ["all"], "forecast": ["steps"], "threshold": ("threshold", [1.0], {"units": "mm h-1"})},
    )
    assert "area 0.500" in words(diagrams_ensemble.roc(scores, 1.0, [0]))
    assert "≥ 1 mm/h" in words(diagrams_ensemble.reliability(scores, 1.0, [0]))
    histogram = parsed(diagrams_ensemble.rank_histogram(scores, 0, 3))
    bars = [path.get("d", "") for path in histogram.iter(f"{SVG}path") if "fill: var(--line-0)" in path.get("style", "")]
    tops = [min(float(y) for _, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", bar)) for bar in bars]
    assert len(tops) == 4 and max(tops) - min(tops) < 0.05
