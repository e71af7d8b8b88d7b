"""The report holds everything in one file, says what the scores say, and works in a real
browser.
"""

import base64
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from jinja2 import UndefinedError
from PIL import Image

import nowcast.report
from nowcast.errors import CannotCreateError, DataError
from nowcast.radar.placing.place import Origin
from nowcast.report import example_frames as html_frames
from nowcast.report.example_frames import map_over
from nowcast.report.page import ExampleCase, render, values_of, write_report
from nowcast.report.pictures.colours import DRY, NOT_COVERED, RATE_CLASSES
from nowcast.report.tables import number
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.remarks import AMOUNT_TITLE
from nowcast.verification.scoring import SCORES
from nowcast.verification.tally import Tally

BROWSER = (
    shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
)
HOSTILE = "<script>alert('a')</script> & \"co\""
LEADS = [5.0, 10.0, 15.0]


def rain(days: int, members: int = 1) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Four cases a day: times, observed (b, lead, h, w), and a forecast of it (b, lead, m, h,
    w) that errs a little.
    """
    random = np.random.default_rng(0)
    times = np.array(["2018-05-17T01:10"], "datetime64[m]") + np.arange(4 * days) * np.timedelta64(
        6, "h"
    )
    observed = random.gamma(0.4, 4.0, (4 * days, len(LEADS), 16, 20)).astype("float32")
    observed[:, :, 0] = np.nan
    forecast = observed[:, :, None] * random.gamma(
        20.0, 0.05, (4 * days, len(LEADS), members, 16, 20)
    ).astype("float32")
    return times.astype("datetime64[ns]"), torch.from_numpy(observed), torch.from_numpy(forecast)


def counts_of(
    days: int,
    members: int = 1,
    names: tuple[str, str] = ("good", "late"),
    thresholds: Sequence[float] = (0.5, 2.0, 80.0),
) -> xr.Dataset:
    """Counts of a good forecast, and of one that is the same a frame late."""
    times, observed, forecast = rain(days, members)
    tally = Tally(thresholds, LEADS, scales=[1, 5])
    tally.add(
        times,
        observed,
        dict(zip(names, (forecast, forecast[:, :, :1].roll(1, dims=1)), strict=True)),
    )
    return tally.dataset()


def scores_of(counts: xr.Dataset, resamples: int = 50) -> xr.Dataset:
    about = {
        "event_min_wet_share": 0.05,
        "event_gap_hours": 6,
        "interval_blocks": "day",
        "resamples": resamples,
        "seed": 0,
    }
    return scores_dataset(counts, **about)


def example_case(
    label: str = "best", forecast: str = "good", time: str = "2018-05-17 12:00 UTC"
) -> ExampleCase:
    """A wet pixel that moves a column a lead time, and a forecast that leaves it where it was."""
    observed = np.zeros((len(LEADS), 16, 20), "float32")
    for step in range(len(LEADS)):
        observed[step, 8, 4 + step] = 60.0
    return ExampleCase(
        label,
        time,
        0.5,
        {"observed": observed, forecast: np.repeat(observed[:1], len(LEADS), 0)},
    )


@pytest.mark.parametrize("origin", ["lower", "upper"])
def test_the_map_lies_north_up_over_the_frames_wherever_row_0_is(origin: Origin) -> None:
    """Frames of 700 rows of 0.01 degrees from 53.5 N down or from 46.51 N up, averaged 3 × 3."""
    north = 53.5 - 0.01 * np.arange(700)[:, None]
    degrees = 5 + 0.01 * np.arange(640)[None, :], north if origin == "upper" else north[::-1]
    case = ExampleCase("best", "now", 0.5, {"observed": np.zeros((1, 700, 640), np.float32)})
    drawn = map_over([case], origin, degrees)
    assert drawn is not None and (drawn.height, drawn.width) == (702, 642)
    points = np.array(re.findall(r"([-\d.]+) ([-\d.]+)", drawn.path), dtype=float)
    row = 0.5 + (53.5 - 47.421) / 0.01 + (2 if origin == "lower" else 0)  # padded in the north
    zugspitze = [0.5 + (10.985 - 5) / 0.01, row]
    assert np.hypot(*(points - zugspitze).T).min() < 3
    assert map_over([case], origin, None) is None
    assert map_over([], origin, degrees) is None


def test_the_map_stands_once_in_a_page_and_over_each_of_its_frames() -> None:
    counts = counts_of(1)
    degrees = 3 + 0.2 * np.arange(20)[None, :], 54 - 0.2 * np.arange(16)[:, None]
    for given, paths, uses in ((degrees, 1, 2 * 2), (None, 0, 0)):
        values = values_of(scores_of(counts), counts, [example_case()], "upper", degrees=given)
        page = render("sections/cases.html.jinja", values | {"score_name": "CSI"})
        assert page.count('<path id="map"') == paths and page.count('href="#map"') == uses


def shown(template: str, scores: xr.Dataset, counts: xr.Dataset) -> str:
    """A section of the page, with single spaces."""
    return " ".join(render(f"sections/{template}.html.jinja", values_of(scores, counts)).split())


def verdict(section: str) -> str:
    return section.partition('<p class="verdict">')[2].partition("</p>")[0].strip()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two forecasts, one with a hostile name, one an ensemble."""
    counts = counts_of(3, members=4, names=("steps", HOSTILE), thresholds=[2.0])
    counts = counts.assign_attrs(grid=f"grid {HOSTILE}", remarks=f"remark {HOSTILE}")
    cases = [example_case(label, HOSTILE, HOSTILE) for label in ("best", "median", "worst")]
    path = tmp_path_factory.mktemp("report") / "report.html"
    settings = {"checkpoint": f"/data/{HOSTILE}.pt", "thresholds": "[0.5, 2.0]"}
    return write_report(path, scores_of(counts), counts, cases, f"CSI {HOSTILE}", "upper", settings)


class Elements(HTMLParser):
    """All elements of a page: their names and attributes, and how they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.crossed.append(tag)


def test_one_file_that_loads_nothing(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text)
    assert [file.name for file in page.parent.iterdir()] == ["report.html"]
    assert not {tag for tag, _ in elements.found} & {"link", "iframe", "object", "embed", "base"}
    addresses = [
        value or ""
        for _, attrs in elements.found
        for key, value in attrs.items()
        if key in ("src", "href", "xlink:href", "srcset")
    ]
    assert addresses and all(
        address.startswith(("#", "data:image/png;base64,")) for address in addresses
    )
    assert "http" not in re.sub(r"http-equiv|data:[^\"]*", "", text).lower()
    (policy,) = [
        attrs["content"]
        for _, attrs in elements.found
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")


def test_elements_nest_and_ids_and_links_are_right(page: Path) -> None:
    elements = Elements(page.read_text())
    assert not elements.crossed and not elements.open
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    inner = [str(attrs["href"])[1:] for tag, attrs in elements.found if tag == "a"]
    assert len(inner) == 12 and set(inner) <= set(ids)
    assert all(attrs.get("alt") for tag, attrs in elements.found if tag == "img")
    assert all(
        attrs.get("aria-label") or attrs.get("aria-hidden")
        for tag, attrs in elements.found
        if tag == "svg"
    )


def test_names_and_settings_of_users_stay_text(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text)
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert HOSTILE not in text
    for before in ("/data/", "CSI ", "grid ", "remark ", "</b> from ", "forecast from "):
        assert f"{before}&lt;script&gt;" in text


def test_nothing_in_the_templates_is_exempt_from_escaping() -> None:
    """Only the charts are elements already, and only `Chart.svg` says so."""
    room = Path(nowcast.report.__file__).parent
    templates = [path.read_text() for path in room.rglob("*.jinja")]
    assert templates and not any(
        re.search(r"\bsafe\b|autoescape|Markup", text) for text in templates
    )
    makers = {path.name for path in room.rglob("*.py") if "Markup(" in path.read_text()}
    assert makers == {"svg.py"}


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="settings"):
        render("sections/settings.html.jinja", {})


def test_bold_is_what_is_better_by_more_than_chance() -> None:
    counts = counts_of(6)
    scores = scores_of(counts)
    section = shown("headline", scores, counts)
    assert (
        verdict(section) == "<b>good</b> has the best CSI by more than chance at 0.5 and 2 mm/h. "
        "At 80 mm/h no forecast is better than all others by more than chance."
    )
    first = section.split("</tr>")[1]
    mean, low, high = (
        scores[f"csi_mean{side}"].sel(forecast="good", threshold=0.5)
        for side in ("", "_low", "_high")
    )
    assert (
        f">{mean.sel(part='all').item():.3f}</b><small>{low.item():.3f} to"
        f" {high.item():.3f}</small>" in first
    )
    assert first.count("<b ") == 1
    worse = scores.assign(csi_mean_difference_p=scores["csi_mean_difference_p"] * 0 + 0.06)
    section = shown("headline", worse, counts)
    assert "<b " not in section.split("HSS")[0]
    assert (
        verdict(section)
        == "At 0.5, 2 and 80 mm/h no forecast is better than all others by more than chance."
    )


def test_without_intervals_nothing_is_bold_and_the_reason_is_said() -> None:
    one_day, three = counts_of(1), counts_of(3)
    for scores, counts, reason in (
        (scores_of(one_day), one_day, "all cases lie in a single block (a day, UTC)"),
        (scores_of(three, resamples=0), three, "resampling is off"),
    ):
        section = shown("headline", scores, counts)
        assert "<b" not in section and "<small>" not in section and "nothing is bold" in section
        assert reason in section
        assert 'class="warning"' not in section


def test_few_blocks_are_warned_of_and_of_very_few_nothing_is_bold() -> None:
    very_few, few, enough = (
        shown("headline", scores_of(counts), counts) for counts in map(counts_of, (3, 6, 10))
    )
    assert (
        "The cases lie in 3 blocks (each a day, UTC): too few to call any forecast better"
        in very_few
        and "<b" not in very_few
    )
    assert "by chance once in 4 times" in very_few
    assert (
        "With 6 blocks, fewer than 10, the intervals are rough" in few
        and "<b>" in few
        and "<b " in few
    )
    assert "rough" not in enough


def test_numbers_have_three_figures_a_true_minus_and_no_minus_zero() -> None:
    assert number(-0.0001) == "0.000"
    assert number(-0.25) == "−0.250"
    assert number(0.25, signed=True) == "+0.250"
    assert number(12345.6, SCORES["b_mse"].decimals_of(np.array([12345.6]))) == "12,346"
    assert number(0.0001278, SCORES["mse"].decimals_of(np.array([0.0001278, np.nan]))) == "0.000128"
    assert "–" in number(np.nan)


def test_the_data_section_counts_what_is_missing() -> None:
    counts = counts_of(1)
    section = shown("data", scores_of(counts), counts)
    pixels = 4 * len(LEADS) * 16 * 20
    missing = pixels // 16
    assert f"<td>{pixels:,}</td> <td>{missing:,}</td> <td>6.25 %</td>" in section
    assert "2018-05-17 01:10 to 2018-05-17 19:10 UTC" in section
    assert "93.8 %" in section


def test_ensembles_have_their_section_and_others_do_not(page: Path) -> None:
    assert "steps (4 members)" in page.read_text()
    assert "<h2>Ensembles and probabilities</h2>" in page.read_text()
    counts = counts_of(1)
    assert values_of(scores_of(counts), counts)["ensembles"] is None


def test_brier_scores_of_rare_rain_can_be_told_apart() -> None:
    counts = counts_of(1, members=4)
    scores = scores_of(counts)
    scores["brier_pooled"][:] = 0.000423
    assert "<td>0.000423</td>" in shown("ensembles", scores, counts)


def test_forecasts_scored_over_different_pixels_are_called_so() -> None:
    counts = counts_of(1)
    assert "over different pixels" not in shown("how", scores_of(counts), counts)
    apart = counts.assign_attrs(common_pixels=0)
    assert "over different pixels" in shown("how", scores_of(apart), apart)


def test_without_cases_and_rivals_the_report_says_so() -> None:
    counts = counts_of(1).isel(forecast=[0])
    scores = scores_of(counts)
    assert "No frames to show" in shown("cases", scores, counts)
    assert verdict(shown("headline", scores, counts)).startswith("Only good was scored")


def test_sums_of_rain_with_intervals_show_their_differences() -> None:
    counts = counts_of(12)
    scores = scores_of(counts)
    amounts = scores.assign_attrs({AMOUNT_TITLE: "Sums over 60 minutes"})
    values = values_of(scores, counts, amounts=[(amounts, counts)])
    page = render("page.html.jinja", values | {"score_name": "CSI", "settings": {}})
    section = page.partition('<section id="amounts">')[2].partition("</section>")[0]
    assert "Sums over 60 minutes" in section
    assert "<summary>Differences, with intervals" in section and "good minus …" in section


def test_a_single_case_is_called_so_and_the_models_are_named() -> None:
    counts = counts_of(1)
    settings = '{"checkpoint": "pretrained"}'
    counts = counts.assign_attrs(settings=settings, checkpoint_sha256="78aaabe0deb70f")
    scores = scores_of(counts)
    one, two = [
        render(
            "page.html.jinja",
            values_of(scores, counts, [example_case(label) for label in labels])
            | {"score_name": "CSI", "settings": {}},
        )
        for labels in (["best"], ["best", "worst"])
    ]
    assert "The only case with enough rain" in one and "<h3>Forecast from" in one
    assert "best, median and worst" in two and "<h3><b>best</b> from" in two
    header = one.partition("<nav")[0]
    assert "<dt>model</dt><dd>pretrained (SHA-256 78aaabe0deb7)</dd>" in header


def test_digits_without_times_have_a_report_without_period_parts_or_fss(tmp_path: Path) -> None:
    _, observed, forecast = rain(1)
    frames = (observed.nan_to_num(0.0) / 100).clamp(max=1)
    tally = Tally([0.5], [1.0], ssim=True, timed=False)
    tally.add(
        np.arange(4).astype("datetime64[m]"),
        frames[:, :1],
        {"model": (forecast[:, :1] / 100).nan_to_num(0.0).clamp(max=1)},
    )
    counts = tally.dataset()
    text = write_report(
        tmp_path / "report.html", scores_of(counts), counts, [], "CSI", "upper", {}
    ).read_text()
    assert (
        "UTC" not in re.sub(r"<footer>.*", "", text, flags=re.DOTALL)
        and 'id="parts"' not in text
        and 'id="fss"' not in text
    )
    assert '<th scope="row">SSIM</th>' in text and "<dd>4</dd>" in text


def test_a_frame_has_the_colours_of_its_rates_north_up() -> None:
    rates = np.array([[0.0, 0.1, 0.5, 49.9], [50.0, 900.0, np.nan, 0.09]], dtype="float32")
    uri, count = html_frames.strip(np.stack([rates, rates[:, ::-1]]), "lower")
    image = Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert (count, image.size, image.mode) == (2, (4, 2 * (2 + 2)), "P")
    colours = np.asarray(image.convert("RGBA"))
    hexed = [["#" + bytes(pixel[:3]).hex() for pixel in row] for row in colours]
    classes = list(RATE_CLASSES.values())
    assert hexed[1] == [classes[8], classes[8], NOT_COVERED, DRY]  # row 1 of the array is the north
    assert hexed[2] == [DRY, classes[0], classes[1], classes[7]]
    assert hexed[5] == hexed[1][::-1]
    assert (colours[[0, 3, 4, 7], :, 3] == 0).all() and (colours[[1, 2, 5, 6], :, 3] == 255).all()
    top, _ = html_frames.strip(rates[None], "upper")
    first = np.asarray(Image.open(BytesIO(base64.b64decode(top.partition(",")[2]))).convert("RGB"))[
        1, 0
    ]
    assert "#" + bytes(first).hex() == DRY


def test_frames_that_never_change_are_kept_once() -> None:
    still, moving = (np.asarray(field) for field in reversed(example_case().rows.values()))
    assert html_frames.strip(still, "upper")[1] == 1
    assert html_frames.strip(moving, "upper")[1] == len(LEADS)


def test_large_frames_are_averaged_over_what_is_covered() -> None:
    frames = np.zeros((1, 400, 641), dtype="float32")
    frames[0, 0, :3] = [4.0, np.nan, 2.0]
    frames[0, 3:6, 3:6] = np.nan
    small, times = html_frames.smaller(frames)
    assert times == 3 and small.shape == (1, 134, 214)
    assert small[0, 0, 0] == pytest.approx(6 / 8)
    assert np.isnan(small[0, 1, 1]) and np.isnan(small).sum() == 1
    assert html_frames.smaller(small)[1] == 1


def test_frames_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    counts = counts_of(1)
    case = example_case()
    short = ExampleCase(
        case.label, case.reference_time, case.score, {**case.rows, "good": case.rows["good"][:1]}
    )
    with pytest.raises(DataError, match="2018-05-17 12:00 UTC.*one for each lead time"):
        write_report(
            tmp_path / "report.html", scores_of(counts), counts, [short], "CSI", "upper", {}
        )
    (tmp_path / "report.html").mkdir()
    with pytest.raises(CannotCreateError):
        write_report(
            tmp_path / "report.html", scores_of(counts), counts, [case], "CSI", "upper", {}
        )
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def browse(page: Path, *options: str, fragment: str = "") -> str:
    """What a browser without a window writes to its output."""
    assert BROWSER is not None
    profile = page.parent / "profile"
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        *options,
    ]
    return subprocess.run(
        [*command, f"{page.as_uri()}{fragment}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome")


@needs_browser
def test_in_a_browser_scripts_run_nothing_is_blocked_and_a_lead_time_can_be_addressed(
    page: Path,
) -> None:
    shown = browse(page, "--dump-dom", fragment="#lead=10")
    assert re.search(r'<html[^>]* data-ready=""', shown) and "data-error" not in shown
    assert 'style="--step: 1;"' in shown or 'style="--step:1"' in shown
    assert ">+10 min</output>" in shown


@needs_browser
def test_in_a_browser_the_slider_and_the_button_move_the_frames(page: Path, tmp_path: Path) -> None:
    """A hand on the slider and on the button, by a script that the page's own policy would not
    let run.
    """
    hands = (
        "slider = document.getElementById('lead'); slider.value = 2; slider.dispatchEvent(new"
        " Event('input'));const image = document.querySelector('.frame img'); const moved = new"
        " DOMMatrix(getComputedStyle(image).transform).f;document.body.dataset.moved = (-moved /"
        " image.getBoundingClientRect().height).toFixed(4);document.body.dataset.when ="
        " document.getElementById('when').textContent;document.getElementById('play').click();"
        " document.body.dataset.pressed = document.getElementById('play').ariaPressed;"
    )
    held = tmp_path / "held.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    held.write_text(text.replace("</body>", f"<script>let slider; {hands}</script></body>"))
    shown = browse(held, "--dump-dom")
    assert "data-error" not in shown
    # two frames of 16 lines, each with a line above and below, and the first line: 37 / 54
    assert 'data-moved="0.6852"' in shown
    assert 'data-when="+15 min"' in shown and 'data-pressed="true"' in shown


@needs_browser
def test_in_a_browser_the_wet_pixel_is_where_it_was_observed(page: Path, tmp_path: Path) -> None:
    """Looked at: the frames of the lead time asked for, in their colours, and nothing of the
    page but them.
    """
    cases = tmp_path / "cases.html"
    cases.write_text(
        page.read_text().replace(
            "</style>", "header, footer, main > :not(#cases) { display: none; }</style>", 1
        )
    )
    pictures = []
    for minutes in (5, 15):
        path = tmp_path / f"{minutes}.png"
        browse(cases, f"--screenshot={path}", "--window-size=900,1800", fragment=f"#lead={minutes}")
        pictures.append(np.asarray(Image.open(path).convert("RGB")).astype(int))
    assert all(len(np.unique(picture @ [65536, 256, 1])) > 50 for picture in pictures)
    purple = [np.abs(picture - [0x96, 0x12, 0x7F]).sum(axis=2) < 6 for picture in pictures]
    stays, comes, goes = purple[0] & purple[1], purple[1] & ~purple[0], purple[0] & ~purple[1]
    assert stays.any()  # in the legend, and in a forecast that stays where it was
    assert comes.sum() == pytest.approx(goes.sum(), rel=0.25)
    first, last = (np.nonzero(moved.any(axis=0))[0].mean() for moved in (goes, comes))
    # two columns of 20, in a frame 420 wide
    assert last - first == pytest.approx(2 * 420 / 20, abs=3)
