"""Text can be read on every page and picture, tables are whole at every width, and a foot states the
origin.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import BROWSER, Browser

import nowcast.report
from nowcast.report import foot
from nowcast.report.forecast_page import ForecastPage, write_forecast_page
from nowcast.report.leaderboard import Entry, write_leaderboard_page
from nowcast.report.page import ExampleCase, write_report
from nowcast.report.page_places import PagePlace
from nowcast.report.pictures import colours, frames
from nowcast.report.scale import PIXEL_KM
from nowcast.runs import Run
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.tally import Tally

LEAST = 4.5  # WCAG 2.1, level AA, text of any size
TEMPLATES = Path(nowcast.report.__file__).parent / "templates"
PAIRS = {
    "page.css": ["ink ground", "ink card", "soft ground", "soft card", "accent ground"],
    "forecast.css": [
        "ink ground", "ink card", "ink map", "soft ground", "soft card", "accent ground",
        "on-accent accent", "ground ink", "on-amber amber", "on-red red", "on-warning warning",
        "alarm ground",
    ],
}  # fmt: skip
"""The custom properties of text and of what lies behind it."""
NOON = np.datetime64("2024-06-02T12:00", "ns")
NAMES = ["model", "persistence", "extrapolation", "lagrangian_probability", "a_rather_long_name"]
MADE = datetime(2024, 6, 3, 9, 30, tzinfo=UTC)
TABLES = "[...document.querySelectorAll('th, td')]"


def schemes(style: str) -> dict[str, dict[str, str]]:
    """The custom properties of a style, in light and in dark."""
    text = (TEMPLATES / style).read_text()
    light, dark = re.findall(r":root \{(.*?)\}", text, flags=re.DOTALL)[:2]
    found = [dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in (light, dark)]
    return {"light": found[0], "dark": found[0] | found[1]}


@pytest.mark.parametrize(
    ("style", "scheme", "pair"),
    [(style, *rest) for style in PAIRS for rest in product(("light", "dark"), PAIRS[style])],
)
def test_text_of_pages_has_contrast(style: str, scheme: str, pair: str) -> None:
    properties = schemes(style)[scheme]
    text, ground = (properties[name] for name in pair.split())
    assert colours.contrast(text, ground) >= LEAST


def test_contrast_is_as_defined() -> None:
    assert colours.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert colours.contrast("#1f5fb4", "#1f5fb4") == 1


def test_text_about_a_line_has_contrast_and_the_page_knows_its_background() -> None:
    page = schemes("page.css")
    grounds = page["light"]["ground"], page["dark"]["ground"]
    assert grounds == (colours.PAGE, colours.DARK_PAGE)
    for _, light, dark in colours.page_colours(colours.LINES):
        assert colours.contrast(light, grounds[0]) >= LEAST
        assert colours.contrast(dark, grounds[1]) >= LEAST


@pytest.mark.parametrize("text", [colours.INK, colours.SOFT])
def test_text_of_pictures_has_contrast(text: str) -> None:
    assert colours.contrast(text, "#ffffff") >= LEAST


def test_labels_on_a_map_have_contrast_over_every_colour() -> None:
    """Labels have a background that lets a little of the map through."""
    light, dark = schemes("forecast.css").values()
    behind = [*colours.RATE_CLASSES.values(), *colours.PROBABILITY_CLASSES.values(), "#ffffff"]
    by_night = [
        *colours.RATE_CLASSES_IN_THE_DARK.values(),
        *colours.PROBABILITY_CLASSES_IN_THE_DARK.values(),
    ]
    for one in behind:
        assert colours.contrast(light["ink"], blended("#ffffff", one, 0.84)) >= LEAST
    for one in by_night:
        assert colours.contrast(dark["ink"], blended("#0f1214", one, 0.78)) >= LEAST


def blended(above: str, below: str, opacity: float) -> str:
    parts = zip(bytes.fromhex(above[1:]), bytes.fromhex(below[1:]), strict=True)
    return "#" + bytes(round(opacity * a + (1 - opacity) * b) for a, b in parts).hex()


def report(path: Path, made: datetime = MADE) -> Path:
    """A report of five forecasts over six days, with frames, intervals and probabilities."""
    random = np.random.default_rng(0)
    days = np.datetime64("2024-05-01T12:00", "ns") + np.arange(6) * np.timedelta64(1, "D")
    observed = torch.from_numpy(random.gamma(0.5, 4.0, (6, 2, 16, 20)).astype("float32"))
    tally = Tally([0.5, 2.0, 30.0], [5.0, 10.0], scales=[1, 5])
    noise = random.gamma(9.0, 1 / 9, (len(NAMES), 6, 2, 3, 16, 20)).astype("float32")
    errors = torch.from_numpy(noise)
    made_by = {name: observed[:, :, None] * one for name, one in zip(NAMES, errors, strict=True)}
    tally.add(days, observed, made_by)
    counts = tally.dataset().assign_attrs(ATTRS)
    scores = scores_dataset(
        counts, event_min_wet_share=0.05, event_gap_hours=6, interval_blocks="day", resamples=50,
        seed=0,
    )  # fmt: skip
    rows = {name: observed[0].numpy() for name in ["observed", *NAMES]}
    case = ExampleCase("best", "2024-05-01 23:55 UTC", 0.5, rows, time=NIGHT)
    settings = {"data.path": "/a/rather/long/path/" * 6}
    return write_report(path, scores, counts, [case], "CSI at 1 mm/h", "upper", settings, made=made)


NIGHT = np.datetime64("2024-05-01T23:55", "ns")
ATTRS: Mapping[str, object] = {
    PIXEL_KM: np.array([2.0, 2.0]),
    "input_institution": "A weather service",
    "input_license": "not stated",
    "checkpoint_sha256": "ab" * 32,
    "settings": json.dumps({"checkpoint": "runs/best.pt", "data": {"path": "radar/*.nc"}}),
}


def forecast_page(path: Path) -> Path:
    rain = np.full((3, 30, 40), 5.0, np.float32)
    chance = np.full(3, 0.4)
    place = PagePlace("Town", "Rain until noon.", 9, 3, np.full(6, 5.0), chance, 0.5)
    page = ForecastPage(
        rain, rain, NOON + np.timedelta64(5, "m") * np.arange(-2, 4), (0.5,), rain[:, None] / 10,
        (1.0, 1.0), places=[place], warnings=["flood: 10 mm/h or more"],
        about=[("radar", "A weather service")], by_other="Forecast by extrapolation.",
    )  # fmt: skip
    return write_forecast_page(path, page)


def leaderboard(path: Path) -> Path:
    """Twelve runs that differ in five settings."""
    settings = ["model.hidden_channels", "training.learning_rate", "loss.name", "seed", "data.path"]
    values = ["[64, 64, 64]", "0.0001", "balanced_mse", "1", "/archive/radar/*.nc"]
    rows = [
        {"epoch": epoch, "validation_csi": 0.3 + 0.01 * epoch, "validation_loss": 1 / epoch}
        for epoch in (1, 2, 3)
    ]
    runs = [
        Run(Path(f"run{k}"), "finished", {"data.path": values[-1]}, rows=rows, score=0.33, loss=0.5,
            best_epoch=3, epochs=3, planned=5, seconds=5000.0, failure="a.nc: damaged." * (k == 11))
        for k in range(12)
    ]  # fmt: skip
    entries = [Entry(k, run, f"2024-06-03/{k}_{'x' * 20}", values) for k, run in enumerate(runs, 1)]
    return write_leaderboard_page(path, "multirun", settings, entries, MADE)


def test_a_report_states_its_origin_and_differs_only_in_its_date(tmp_path: Path) -> None:
    first = report(tmp_path / "a.html").read_text()
    later = report(tmp_path / "b.html", MADE + timedelta(hours=1)).read_text()
    assert first.replace("2024-06-03 09:30 UTC", "2024-06-03 10:30 UTC") == later
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd></div>", first.split("<footer>")[1]))
    assert facts["data"] == "radar/*.nc" and facts["radar"] == "A weather service"
    assert facts["model"] == "best.pt (SHA-256 abababababab)"
    assert facts["program"].startswith("nowcast ") and facts["made"] == "2024-06-03 09:30 UTC"
    assert "licence of the radar data" not in facts


def test_a_report_has_valid_times_and_lengths_in_km(tmp_path: Path) -> None:
    text = report(tmp_path / "a.html").read_text()
    assert 'data-valid="2024-05-02 00:00 UTC|2024-05-02 00:05 UTC"' in text
    assert "16 × 20 of 2 × 2 km" in text and ">10 km</span>" in text
    assert "width of the neighbourhood, pixels, and below in km" in text
    assert "wavelength, pixels, and below in km" in text


def test_the_facts_of_a_forecast_are_those_that_its_file_states() -> None:
    attrs = {
        "input_institution": "A weather service", "input_license": "CC BY 4.0", "license": "CC0",
        "institution": "not stated", "checkpoint": "/runs/best.pt", "checkpoint_sha256": "cd" * 32,
        "source": "nowcast 9.9: learned", "history": "2024-06-02T12:01:30Z nowcast predict",
    }  # fmt: skip
    zone = timezone(timedelta(hours=2), "CEST")
    assert foot.facts_of_forecast(attrs, zone) == [
        ("radar", "A weather service"),
        ("licence of the radar data", "CC BY 4.0"),
        ("licence of the forecast", "CC0"),
        ("method", "model best.pt (SHA-256 cdcdcdcdcdcd)"),
        ("program", "nowcast 9.9"),
        ("made", "2024-06-02 14:01 CEST"),
    ]
    both = foot.joined([[("radar", "A"), ("method", "x")], [("radar", "A"), ("method", "y")]])
    assert foot.line_of(both) == "radar: A · method: x; y"


def test_several_models_and_counts_have_their_facts() -> None:
    sums = {"a": "12" * 32, "b": "34" * 32 + ", " + "56" * 32}
    settings = {"checkpoint": {"a": "a.pt", "b": ["b1.pt", "b2.pt"]}, "counts": ["x.nc", "y.nc"]}
    attrs = {"settings": json.dumps(settings), "checkpoint_sha256": json.dumps(sums)}
    facts = dict(foot.facts_of_counts(attrs, MADE))
    assert facts["model a"] == "a.pt (SHA-256 121212121212)"
    assert facts["model b"] == "b1.pt (SHA-256 343434343434), b2.pt (SHA-256 565656565656)"
    assert facts["counts"] == "x.nc and 1 more" and "data" not in facts
    assert list(dict(foot.facts_of_counts({}, MADE))) == ["program", "made"]


def test_a_picture_has_a_scale_bar_and_a_foot_below_its_legend() -> None:
    rain = np.ones((2, 40, 60))
    figure = frames.frames_figure(
        None, {"model": rain}, [5, 10], "Rain", pixel_km=(1.0, 2.0), foot="radar: A · " * 40
    )
    figure.canvas.draw()
    words = [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]
    assert "20 km" in words  # of 120
    (below,) = (text for text in figure.texts if "radar: A" in text.get_text())
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    line, panel = below.get_window_extent(), figure.axes[0].get_tightbbox()
    assert line.y1 <= legend.y0 and panel is not None and legend.y1 <= panel.y0
    assert line.x1 <= page.x1 and line.y0 >= 0
    bare = frames.frames_figure(None, {"model": rain}, [5, 10], "Rain")
    assert not any("km" in text.get_text() for text in bare.findobj(type(below)))


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        "report": report(folder / "report.html"),
        "forecast": forecast_page(folder / "forecast.html"),
        "leaderboard": leaderboard(folder / "leaderboard.html"),
    }


UNREADABLE = """(() => {
  const parts = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, k) => sum + one * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3) return colour;
      if (colour[3] > 0) return null; // lets the map through
    }
    return null;
  };
  const found = [];
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.getClientRects().length || ["SCRIPT", "STYLE"].includes(one.tagName)) continue;
    const style = getComputedStyle(one), ground = behind(one);
    if (!ground) continue;
    if (style.opacity < 1) found.push(`transparent: ${one.textContent.trim()}`);
    const onDot = one.tagName === "text" && one.getAttribute("fill") === "var(--ground)";
    if (onDot) continue; // the dots have the colour of text
    const text = parts(one.tagName === "text" ? style.fill : style.color);
    const [low, high] = [light(text), light(ground)].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) found.push(`${text} on ${ground}: ${one.textContent.trim()}`);
  }
  return found;
})()"""


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "minutes"),
    [("report", 1), ("leaderboard", 1), ("forecast", 1), ("forecast", 17), ("forecast", 100)],
)
def test_in_a_browser_all_text_has_contrast(
    browser: Browser, pages: Mapping[str, Path], name: str, dark: bool, minutes: int
) -> None:
    """Fresh, late and old: the page of a forecast changes its colours."""
    browser.at(NOON.astype("datetime64[ms]").astype(float) + 60000 * minutes)
    browser.look(1280, 900, dark=dark)
    browser.show(pages[name].as_uri())
    assert browser.value(UNREADABLE) == []


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "forecast", "leaderboard"])
def test_in_a_browser_only_tables_are_wider_than_the_screen(
    browser: Browser, pages: Mapping[str, Path], name: str, width: int
) -> None:
    browser.look(width, 900)
    browser.show(pages[name].as_uri())
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") == width
    outside = f"{TABLES}.filter((one) => one.getBoundingClientRect().right > {width}"
    assert browser.value(f"{outside} && !one.closest('.wide')).length") == 0


@needs_browser
@pytest.mark.parametrize("name", ["report", "forecast", "leaderboard"])
def test_on_paper_tables_are_whole(browser: Browser, pages: Mapping[str, Path], name: str) -> None:
    """A4 without its margins of 12 mm is 186 mm wide, 703 CSS pixels."""
    browser.look(703, 900)
    browser.show(pages[name].as_uri())
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    try:
        widest = f"Math.max(0, ...{TABLES}.map((one) => one.getBoundingClientRect().right))"
        assert browser.value(widest) <= 703
        assert browser.value("document.documentElement.scrollWidth") == 703
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
