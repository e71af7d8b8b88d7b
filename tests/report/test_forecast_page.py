"""The page of a forecast holds everything in one file, looks as old as it is, and works in a real
browser.
"""

import base64
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from browser import BROWSER, Browser
from PIL import Image

from nowcast.report.forecast_page import ForecastPage, values_of, write_forecast_page
from nowcast.report.page_frames import probability_frames, rate_frames
from nowcast.report.page_map import path_of
from nowcast.report.page_places import PagePlace, chart_of
from nowcast.report.pictures.colours import RATE_CLASSES, RATE_CLASSES_IN_THE_DARK
from nowcast.report.scale import build_scale

HOSTILE = "</script><script>alert('a')</script> & \"co\""
NOON = np.datetime64("2024-06-02T12:00", "ns")
STEP = np.timedelta64(5, "m")
H, W, SEEN, LEADS = 30, 40, 4, 3


def rain(steps: int, first: int) -> np.ndarray:
    """A wet column that moves a pixel a step; the last two rows are not covered."""
    frames = np.zeros((steps, H, W), np.float32)
    for step in range(steps):
        frames[step, :, first + step] = 60.0
    frames[:, -2:] = np.nan
    return frames


@pytest.fixture(scope="module")
def page() -> ForecastPage:
    """Four observed frames, one of them absent, and three of a forecast with probabilities."""
    observed, forecast = rain(SEEN, 5), rain(LEADS, 5 + SEEN)
    observed[1] = np.nan
    probabilities = np.stack([forecast / 100, forecast / 200], axis=1)
    rates = np.concatenate([observed, forecast])[:, 3, 9].astype(float)
    chance = np.array([0.2, 0.7, 0.4])
    place = PagePlace(HOSTILE, f"Rain soon. {HOSTILE}", 9, 3, rates, chance, 0.5)
    outside = PagePlace("far away", "Outside.", None, None, np.full(SEEN + LEADS, np.nan))
    return ForecastPage(
        observed,
        forecast,
        NOON + STEP * np.arange(1 - SEEN, LEADS + 1),
        (0.5, 5.0),
        probabilities,
        (1.0, 1.0),
        {"coast": [np.array([[0.0, 0.0], [20.0, 10.0], [39.0, 29.0]])], "border": []},
        [place, outside],
        ZoneInfo("Europe/Berlin"),
        [f"flood: 10 mm/h or more in {HOSTILE}.", *(f"rule {n}." for n in range(3))],
        [("radar", HOSTILE)],
        f"Forecast by extrapolation: {HOSTILE}",
    )


@pytest.fixture(scope="module")
def written(page: ForecastPage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_forecast_page(tmp_path_factory.mktemp("page") / "index.html", page)


def picture(head: str, rest: str) -> np.ndarray:
    """Red, green, blue and opacity (h, w, 4) of a frame."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(head + rest))).convert("RGBA"))


def colour(pixel: np.ndarray) -> str:
    return "#" + bytes(pixel[:3]).hex()


def test_frames_are_one_picture_by_day_and_another_in_the_dark() -> None:
    rates = np.zeros((2, 9, 12), np.float32)
    rates[0, 0, :4] = [0.09, 0.1, 49.9, 50.0]
    rates[1, 5:] = np.nan
    frames = rate_frames(rates)
    for head, colours in ((frames.light, RATE_CLASSES), (frames.dark, RATE_CLASSES_IN_THE_DARK)):
        first, second = (picture(head, rest) for rest in frames.rest)
        classes = list(colours.values())
        assert [colour(one) for one in first[0, 1:4]] == [classes[0], classes[7], classes[8]]
        assert (first[0, 1:4, 3] == 255).all() and first[0, 0, 3] == 0 == first[5, 5, 3]
        grey = second[5:, :, 3]
        assert (grey > 0).all() and (grey < 255).all() and len(np.unique(grey)) == 2  # hatched
        assert (second[:5, :, 3] == 0).all()
    chances = probability_frames(np.array([[[0.04, 0.05, 0.95]]], np.float32))
    alpha = picture(chances.light, chances.rest[0])[0, :, 3]
    assert alpha.tolist() == [0, 255, 255]


def test_large_grids_are_averaged_until_the_page_is_small(
    page: ForecastPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).gamma(0.3, 4.0, (SEEN + LEADS, 90, 130)).astype(np.float32)
    large = ForecastPage(noise[:SEEN], noise[SEEN:], page.times)
    monkeypatch.setattr("nowcast.report.forecast_page.LARGEST", 80)
    values = values_of(large)
    assert values["averaged"] == 2
    head, rest = values["data"]["rates"]["light"], values["data"]["rates"]["rest"]
    assert picture(head, rest[0]).shape == (45, 65, 4)
    assert 4000 < sum(map(len, rest)) < 40_000
    monkeypatch.setattr("nowcast.report.forecast_page.MOST", 4000)
    values = values_of(large)
    assert values["averaged"] > 2 and sum(map(len, values["data"]["rates"]["rest"])) <= 4000


def test_lines_are_cut_to_the_map_and_lead_up_to_its_edge() -> None:
    line = np.array([[-50.0, 4.0], [-9.0, 4.0], [3.0, 4.0], [3.0002, 4.0], [6.0, 4.0], [60.0, 4.0]])
    assert path_of([line], (10, 10)) == "M-8.500 4.500L3.500 4.500L6.500 4.500L60.500 4.500"
    gap = np.array([[1.0, 1.0], [np.nan, np.nan], [2.0, 2.0], [3.0, 3.0]])
    assert path_of([gap, line + 100], (10, 10)) == "M2.500 2.500L3.500 3.500"


def test_the_scale_is_a_round_length_of_less_than_a_third_of_the_map() -> None:
    for width, words, percent in (
        (228, "50 km", 21.93),
        (900, "200 km", 22.22),
        (7, "2 km", 28.57),
    ):
        scale = build_scale(width)
        assert scale is not None and (scale.words, scale.percent) == (words, percent)
    assert build_scale(np.nan) is None


def test_the_curve_of_a_place_shows_what_is_wet_and_is_left_out_where_all_is_dry() -> None:
    minutes = np.array([-5.0, 0.0, 5.0, 10.0])
    wet = PagePlace("a", "", 0, 0, np.array([0.0, np.nan, 0.3, 12.0]), np.array([0.5, 0.9]), 0.1)
    chart = str(chart_of(wet, minutes, 1))
    assert re.findall(r'fill="var\(--rate-(\d)\)"', chart) == ["0", "5"]
    dry = replace(wet, rates=np.zeros(4), chance=np.array([0.0, 0.04]))
    assert chart_of(dry, minutes, 1) is None
    assert chart_of(replace(dry, chance=np.array([0.0, 0.06])), minutes, 1) is not None
    assert chart_of(replace(dry, rates=np.full(4, np.nan), chance=None), minutes, 1) is None


def test_the_band_of_members_is_explained_where_there_is_one(
    page: ForecastPage, written: Path, tmp_path: Path
) -> None:
    words = "Grey band: the rates of 8 of 10 members."
    low, high = np.zeros(LEADS), np.full(LEADS, 9.0)
    place = replace(page.places[0], low=low, high=high)
    made = write_forecast_page(tmp_path / "index.html", replace(page, places=[place]))
    assert words in made.read_text() and words not in written.read_text()


def test_what_users_and_files_say_stays_text_and_nothing_is_loaded(written: Path) -> None:
    text = written.read_text()
    assert HOSTILE not in text and text.count("<script") == 2 == text.count("</script>")
    assert text.count("&lt;/script&gt;&lt;script&gt;") >= 5
    assert not re.search(r"<(link|iframe|object|embed|base)\b|https?://|@import|url\(", text)
    sources = re.findall(r'\b(?:src|href)="([^"]*)"', text)
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,")
    assert "default-src 'none'; img-src data:;" in text
    assert [path.name for path in written.parent.iterdir()] == ["index.html"]


def test_another_forecast_has_another_stamp_and_the_same_one_the_same(page: ForecastPage) -> None:
    stamp = values_of(page)["stamp"]
    assert values_of(page)["stamp"] == stamp
    others = [
        replace(page, rates=page.rates[::-1]),
        replace(page, by_other=""),
        replace(page, warnings=["flood."]),
        replace(page, times=page.times + STEP),
        replace(page, places=[replace(page.places[0], sentence="Dry.")]),
    ]
    assert stamp not in {values_of(one)["stamp"] for one in others}


@pytest.mark.parametrize(("minutes", "late", "old"), [(5, 15, 30), (1, 15, 30), (15, 45, 90)])
def test_late_and_old_follow_from_the_timestep(minutes: int, late: int, old: int) -> None:
    times = NOON + np.timedelta64(minutes, "m") * np.arange(3)
    data = values_of(ForecastPage(rain(1, 1), rain(2, 2), times))["data"]
    assert (data["late"], data["old"]) == (late, old)


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome")


@pytest.fixture
def opened(browser: Browser, written: Path) -> Callable[..., Browser]:
    """The page in a browser, so many minutes after its newest frame, on a screen of some size."""

    def open_it(minutes: float = 4.0, width: int = 1280, *, dark: bool = False) -> Browser:
        browser.at(NOON.astype("datetime64[ms]").astype(float) + 60000 * minutes)
        browser.look(width, 844, dark=dark)
        browser.requests.clear(), browser.complaints.clear()
        browser.send("Page.navigate", url="about:blank")
        browser.show(written.as_uri())
        return browser

    return open_it


def shown(browser: Browser, name: str) -> str:
    return str(browser.value(f"document.getElementById('{name}').textContent"))


def source(browser: Browser) -> str:
    return str(browser.value("document.getElementById('picture').src"))


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_slider_switch_and_button_change_the_frame(
    opened: Callable[..., Browser], page: ForecastPage, width: int, dark: bool
) -> None:
    browser = opened(width=width, dark=dark)
    rates = rate_frames(np.concatenate([page.observed, page.rates]))
    assert page.probabilities is not None
    chances = probability_frames(page.probabilities[:, 1])
    head = "data:image/png;base64," + (rates.dark if dark else rates.light)
    assert source(browser) == head + rates.rest[3]
    assert [shown(browser, one) for one in ("kind", "clock", "lead")] == [
        "observed",
        "14:00 CEST",
        "newest",
    ]
    browser.value("document.getElementById('step').focus()")
    browser.press("ArrowRight", 39)
    assert source(browser) == head + rates.rest[4]
    assert [shown(browser, one) for one in ("kind", "clock", "lead")] == [
        "forecast",
        "14:05 CEST",
        "+5 min",
    ]
    assert "in 1 min" in shown(browser, "local")
    browser.click("[name=shown][value='5']")
    head = "data:image/png;base64," + (chances.dark if dark else chances.light)
    assert source(browser) == head + chances.rest[0]
    assert browser.value("document.querySelector('.legend:not([hidden])').dataset.of") == "chance"
    browser.click("#play")
    browser.until("document.getElementById('lead').textContent === '+10 min'")
    assert source(browser) == head + chances.rest[1]
    browser.click("#play")
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.documentElement.dataset.error ?? ''") == ""
    assert browser.complaints == []
    assert {one.partition("#")[0] for one in browser.requests} == {
        browser.value("location.href").partition("#")[0]
    }


@needs_browser
@pytest.mark.parametrize(
    ("fragment", "clock"),
    [("#-1,5,", "13:55 CEST"), ("#9999,5,", "14:15 CEST"), ("#%E0,<b>,x", "14:00 CEST")],
)
def test_a_choice_is_taken_from_the_address_and_nonsense_is_ignored(
    browser: Browser, written: Path, fragment: str, clock: str
) -> None:
    browser.send("Page.navigate", url="about:blank")
    browser.show(f"{written.as_uri()}{fragment}")
    assert shown(browser, "clock") == clock


@needs_browser
def test_in_a_browser_old_data_look_old(opened: Callable[..., Browser]) -> None:
    looks = {}
    for minutes in (4, 16, 31, 3000):
        browser = opened(minutes)
        looks[minutes] = (
            shown(browser, "age-words"),
            browser.value("getComputedStyle(document.getElementById('age')).backgroundColor"),
            *(
                browser.value(f"getComputedStyle(document.querySelector('{one}')).filter")
                for one in ("#picture", ".legend li i", ".legend .missing")
            ),
        )
        is_told = "grey: out of date" in browser.value("document.querySelector('.age').innerText")
        assert is_told == (minutes > 30)
        is_alarmed = not browser.value("document.getElementById('alarm').hidden")
        assert is_alarmed == (minutes > 30)
    assert [look[0] for look in looks.values()] == [
        "4 min old", "LATE: 16 min old", "OLD: 31 min old", "OLD: 2 days old",
    ]  # fmt: skip
    fresh, late, old, very_old = (look[1:] for look in looks.values())
    assert len({fresh[0], late[0], old[0]}) == 3 and old == very_old
    assert {*late[1:], *fresh[1:]} == {"none"} and all("grayscale(1)" in one for one in old[1:])
    assert "all of this forecast lies in the past" in shown(browser, "alarm")
    assert browser.value("document.title").startswith("OLD ")
    assert "clock differs" in shown(opened(-30), "age-words")


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_a_warning_stands_on_top_and_grows_old(
    opened: Callable[..., Browser], width: int, dark: bool
) -> None:
    grounds = []
    for minutes, heading in ((4, "Warning"), (31, "Old warning: the data are 31 min old")):
        browser = opened(minutes, width, dark=dark)
        box = "document.querySelector('.warning')"
        assert browser.value(f"{box} === document.body.children[0] && {box}.role") == "alert"
        assert browser.value(f"(b => [b.x, b.y, b.width])({box}.getBoundingClientRect())") == [
            0, 0, width,
        ]  # fmt: skip
        lines = browser.value(f"{box}.innerText").split("\n")
        words = [f"flood: 10 mm/h or more in {HOSTILE}.", "rule 0.", "rule 1.", "and 1 more"]
        assert [line for line in lines if line] == [heading, *words]
        ground, ink = (
            re.findall(r"\d+", browser.value(f"getComputedStyle({box}).{one}"))
            for one in ("backgroundColor", "color")
        )
        assert contrast(ground, ink) > 7
        assert browser.value("document.documentElement.scrollWidth") == width
        grounds.append([int(one) for one in ground])
    colourful, grey = (max(one) - min(one) for one in grounds)
    assert colourful > 30 and grey < 15


def contrast(one: list[str], other: list[str]) -> float:
    """Of two colours, as WCAG 2 has it: 1 to 21."""
    shares = np.array([one, other], float) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))


def test_without_a_warning_there_is_no_banner(page: ForecastPage, tmp_path: Path) -> None:
    text = write_forecast_page(tmp_path / "a.html", replace(page, warnings=[])).read_text()
    assert 'class="warning"' not in text and "<p><strong" not in text


@needs_browser
@pytest.mark.parametrize(
    ("reader", "here"), [("Europe/Berlin", ""), ("America/New_York", "Sun, 08:00 GMT-4 here")]
)
def test_in_a_browser_every_clock_names_its_zone(
    opened: Callable[..., Browser], reader: str, here: str
) -> None:
    """That of the page, and that of a reader elsewhere."""
    browser = opened()
    browser.send("Emulation.setTimezoneOverride", timezoneId=reader)
    try:
        browser = opened()
        browser.value("document.getElementById('numbers').open = true")
        text = browser.value("document.body.innerText + document.getElementById('picture').alt")
        clocks = re.findall(r"\d\d:\d\d.{5}", text)
        others = [one for one in clocks if not one.endswith(" CEST")]
        assert len(clocks) - len(others) == SEEN + LEADS + 3
        assert others == 2 * ([here[5:15]] if here else [])
        assert shown(browser, "age-local") == (here and f" · {here}")
        assert shown(browser, "local") == f" · {here and here + ', '}4 min ago"
    finally:
        browser.send("Emulation.setTimezoneOverride", timezoneId="")


@needs_browser
def test_in_a_browser_the_rain_is_where_it_was_observed(
    opened: Callable[..., Browser], tmp_path: Path
) -> None:
    """The wet column is purple, in the eighth of 40 pixels; a place is marked in the tenth."""
    browser = opened()
    box, place = (
        browser.value(f"(b => [b.x, b.y, b.width, b.height])(document.querySelector('{one}').getBoundingClientRect())")
        for one in ("#map", ".place")
    )  # fmt: skip
    pixels = np.asarray(Image.open(browser.picture(tmp_path / "a.png")).convert("RGB")).astype(int)
    x, y, width, height = (round(one) for one in box)
    inside = pixels[y + 5 : y + height // 2, x + 5 : x + width - 5]
    purple = np.abs(inside - [0x96, 0x12, 0x7F]).sum(axis=2) < 6
    columns = np.flatnonzero(purple.any(axis=0)) + 5
    assert 40 * (columns.mean() + 0.5) / width == pytest.approx(8.5, abs=0.1)
    assert len(columns) == pytest.approx(width / 40, abs=2)
    assert 40 * (place[0] - x) / width == pytest.approx(9.5, abs=0.1)
    assert 30 * (place[1] - y) / height == pytest.approx(3.5, abs=0.1)


@needs_browser
def test_without_scripts_the_first_forecast_frame_and_a_table_are_shown(
    browser: Browser, written: Path, page: ForecastPage
) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.send("Page.navigate", url=written.as_uri())
        browser.until("document.querySelector('footer') !== null")
        assert (
            browser.value("getComputedStyle(document.querySelector('.player')).visibility")
            == "hidden"
        )
        assert shown(browser, "clock") == "14:05 CEST"
        rows = browser.value("document.querySelector('tbody').innerText").split("\n")
        assert len(rows) == SEEN + LEADS
        assert rows[1].split("\t")[1:] == ["−10 min", "observed", "–", "–"]
        assert rows[-1].split("\t") == ["14:15 CEST", "+15 min", "forecast", "2.5 %", "60.0"]
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.fixture
def two_pages(page: ForecastPage, written: Path, tmp_path: Path) -> tuple[Path, str]:
    """A page that looks for a newer one twice a second, and the text of that newer one."""
    path = tmp_path / "index.html"
    path.write_text(re.sub(r'"check": [\d.]+', '"check": 0.5', written.read_text()))
    newer = write_forecast_page(tmp_path / "newer.html", replace(page, times=page.times + STEP))
    return path, newer.read_text()


def step_and_choose(browser: Browser) -> None:
    browser.value("document.getElementById('step').focus()")
    browser.press("ArrowRight", 39)
    browser.press("ArrowRight", 39)
    browser.click("[name=shown][value='5']")


def is_newer_with_the_same_choice(browser: Browser) -> bool:
    browser.until("document.getElementById('clock')?.textContent === '14:15 CEST'")
    browser.until("document.documentElement?.dataset.ready !== undefined")
    chosen = browser.value("document.querySelector('[name=shown]:checked').value")
    return bool(shown(browser, "lead") == "+10 min" and chosen == "5")


@needs_browser
def test_a_page_opened_from_a_disk_reloads_itself(
    browser: Browser, two_pages: tuple[Path, str]
) -> None:
    path, newer = two_pages
    browser.show(path.as_uri())
    step_and_choose(browser)
    browser.until("document.getElementById('check').textContent.startsWith('Checked')")
    assert shown(browser, "clock") == "14:10 CEST"
    path.write_text(newer)
    assert is_newer_with_the_same_choice(browser)


@needs_browser
def test_a_page_from_a_server_stays_while_the_server_is_away(
    browser: Browser, two_pages: tuple[Path, str], tmp_path: Path
) -> None:
    path, newer = two_pages
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.show(f"http://127.0.0.1:{server.server_port}/index.html")
        step_and_choose(browser)
        for content in (None, "<html>Bad gateway", newer[: len(newer) // 2]):
            path.unlink() if content is None else path.write_text(content)
            browser.value("document.getElementById('check').textContent = ''")
            browser.until("document.getElementById('check').textContent.startsWith('No newer')")
            assert shown(browser, "clock") == "14:10 CEST"
        path.write_text(newer)
        later = time.time() + 60
        os.utime(path, (later, later))  # of the same second it would be the same to a server
        assert is_newer_with_the_same_choice(browser)
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


def test_the_data_of_the_script_are_what_the_page_shows(written: Path) -> None:
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*)</script>', written.read_text()
    )
    data = json.loads(text)
    assert [frame["kind"] for frame in data["frames"]] == ["observed"] * SEEN + ["forecast"] * LEADS
    assert [frame["absent"] for frame in data["frames"]] == [False, True] + [False] * 5
    assert data["newest"] == SEEN - 1 and data["reference"] == 1717329600000
    assert list(data["chances"]) == ["0.5", "5"] and len(data["chances"]["5"]["rest"]) == LEADS
    assert data["places"][0] == [0.0, None, 0.0, 0.0, 60.0, 0.0, 0.0]
