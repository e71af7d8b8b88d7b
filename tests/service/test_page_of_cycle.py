"""The page of the newest forecast is written with each cycle, and costs no forecast."""

import base64
import json
import os
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder
from nowcast.config.predict import PredictConfig
from nowcast.errors import CannotCreateError, ConfigError, MissingInputError
from nowcast.forecast.dataset import build_forecast, open_forecast, write_forecast
from nowcast.radar import Weather, open_grid, write_synthetic
from nowcast.radar.placing.cropping import degrees_of
from nowcast.radar.placing.georeference import axis_in_degrees, axis_in_metres, place_of_grid
from nowcast.report.scale import sides_km
from nowcast.service.live_frames import FrameSource
from nowcast.service.page import build_page, write_page
from nowcast.service.page_map import lines_on_page
from nowcast.service.publication import forecast_path
from nowcast.service.questions import read_questions

Run = Callable[..., Outcome]
SIX, STEP = np.datetime64("2020-01-01T06:00", "ns"), np.timedelta64(5, "m")


@pytest.fixture(scope="module")
def radar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Much rain from 04:00 to 06:55."""
    path = tmp_path_factory.mktemp("radar") / "rain.nc"
    weather = Weather(wet_share=0.5)
    return write_synthetic(path, 36, 20, 24, weather=weather, start="2020-01-01T04:00")


@pytest.fixture
def words(radar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of predict by a baseline, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return [
        "baseline=persistence", "input_steps=1", "lead_steps=3", f"data.path={radar}",
        "output=out/%H%M.nc", "page=out/index.html",
    ]  # fmt: skip


def configured(*words: str) -> PredictConfig:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        config = OmegaConf.to_object(compose("predict", list(words)))
    assert isinstance(config, PredictConfig)
    return config


def forecast_from(radar: Path, time: np.datetime64, members: int = 0) -> xr.Dataset:
    """Three lead times of random rain, as seen by no radar."""
    size = (3, members, 20, 24) if members else (3, 20, 24)
    rates = np.random.default_rng(0).gamma(0.3, 3.0, size).astype(np.float32)
    return build_forecast(rates, open_grid(radar), time, STEP, {})


def cycle(config: PredictConfig, radar: Path, time: np.datetime64) -> None:
    """What a cycle from this time does at its end."""
    write_forecast(forecast_from(radar, time), forecast_path(config.output, time))
    write_page(
        FrameSource(config), read_questions(config), time, np.datetime64("2026-01-01", "ns"), {}
    )


def shown() -> dict[str, Any]:
    """What the script of the page is told."""
    (data,) = re.findall(r'id="data">(.*)</script>', Path("out/index.html").read_text())
    found: dict[str, Any] = json.loads(data)
    return found


def newest() -> str:
    data = shown()
    return str(data["frames"][data["newest"]]["clock"])


def wet_pixels(frames: dict[str, Any], number: int) -> np.ndarray:
    """Where a picture is coloured, (h, w)."""
    picture = base64.b64decode(frames["light"] + frames["rest"][number])
    return np.asarray(Image.open(BytesIO(picture)).convert("RGBA"))[..., 3] == 255


def test_the_page_shows_the_hour_before_and_the_forecast_north_up(
    run: Run, words: list[str], radar: Path
) -> None:
    assert run("predict", *words, "at=2020-01-01T06:00").code == 0
    data = shown()
    assert [frame["clock"] for frame in data["frames"]][::3] == [
        f"{clock} UTC" for clock in ("05:00", "05:15", "05:30", "05:45", "06:00", "06:15")
    ]  # fmt: skip
    assert data["newest"] == 12 and [one["absent"] for one in data["frames"]] == [False] * 16
    forecast = open_forecast("out/0600.nc")
    assert forecast["y"].values[0] < forecast["y"].values[-1]  # row 0 lies in the south
    observed = open_grid(radar)["precipitation_rate"].sel(time="2020-01-01T05:20").values
    for number, rates in ((4, observed), (14, forecast["precipitation_rate"].values[1])):
        is_wet = rates[::-1] >= 0.1
        assert is_wet.any() and not is_wet.all()
        assert (wet_pixels(data["rates"], number) == is_wet).all()


def test_an_older_forecast_leaves_the_page_of_a_newer_one(words: list[str], radar: Path) -> None:
    config, half = configured(*words), np.timedelta64(30, "m")
    for time, seen in ((SIX, "06:00 UTC"), (SIX - half, "06:00 UTC"), (SIX + half, "06:30 UTC")):
        cycle(config, radar, time)
        assert newest() == seen
    Path("out/index.html").unlink()
    cycle(config, radar, SIX - half)
    assert newest() == "06:30 UTC"


def test_frames_that_were_never_observed_are_shown_as_absent(words: list[str], radar: Path) -> None:
    config = configured(*words)
    cycle(config, radar, SIX - np.timedelta64(70, "m"))
    assert [one["absent"] for one in shown()["frames"]] == [True] * 2 + [False] * 14
    gone = configured(*words[:-3], "data.path=gone.nc", *words[-2:])
    cycle(gone, radar, SIX)
    assert [one["absent"] for one in shown()["frames"]] == [True] * 13 + [False] * 3


def test_a_damaged_frame_of_the_hour_before_is_absent_and_not_waited_for(
    run: Run, words: list[str], radar: Path
) -> None:
    Path("radar").mkdir()
    with xr.open_dataset(radar, engine="netcdf4") as series:
        for time in SIX - STEP * np.arange(14):
            path = f"radar/{str(time)[:16].replace(':', '')}.nc"
            series.sel(time=[time]).to_netcdf(path, engine="netcdf4")
    Path("radar/2020-01-01T0510.nc").write_bytes(b"not whole")
    outcome = run("predict", *words, "data.path=radar/%Y-%m-%dT%H%M.nc", "retry=600")
    assert outcome.code == 0 and "0510" not in outcome.err
    assert [n for n, one in enumerate(shown()["frames"]) if one["absent"]] == [2]


def test_a_page_that_cannot_be_written_is_told_before_the_forecast(
    run: Run, words: list[str]
) -> None:
    Path("out/index.html").mkdir(parents=True)
    outcome = run("predict", *words, "at=2020-01-01T06:00", "status=a/status.json")
    assert outcome.code == 73 and "page: out/index.html: already exists" in outcome.err
    last = json.loads(Path("a/status.json").read_text())["last_cycle"]
    assert last["outcome"] == "failed" and not list(Path("out").glob("*.nc"))


def test_a_page_that_can_be_written_no_more_costs_no_forecast(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path, _: Any) -> None:
        raise CannotCreateError(f"{path}: already exists")

    monkeypatch.setattr("nowcast.service.page.write_forecast_page", gone)
    outcome = run("predict", *words, "at=2020-01-01T06:00", "latest=copy", "status=a/status.json")
    assert outcome.code == 73 and "out/index.html: already exists" in outcome.err
    last = json.loads(Path("a/status.json").read_text())["last_cycle"]
    assert last["outcome"] == "forecast" and last["exit_code"] == 73
    assert {one.name for one in Path("out").glob("*.nc")} == {"0600.nc", "latest.nc"}


def test_a_map_that_is_not_there_leaves_the_page_as_it_was(words: list[str], radar: Path) -> None:
    cycle(configured(*words), radar, SIX)
    with pytest.raises(MissingInputError, match=r"absent\.geojson: no such"):
        cycle(configured(*words, "page_map=absent.geojson"), radar, SIX + STEP)
    assert newest() == "06:00 UTC" and Path("out/0605.nc").exists()


def test_an_ensemble_is_shown_by_its_mean_and_the_shares_of_its_members(
    words: list[str], radar: Path
) -> None:
    forecast = forecast_from(radar, SIX, members=4)
    rates = forecast["precipitation_rate"].values[:, :, ::-1]
    config = configured(*words)
    page = build_page(forecast, FrameSource(config), read_questions(config))
    assert page.thresholds == (0.5, 1.0, 2.0, 5.0, 10.0) and page.probabilities is not None
    np.testing.assert_allclose(page.rates, rates.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(page.probabilities[:, 3], (rates >= 5.0).mean(axis=1))


def test_the_page_names_the_method_and_why_it_stood_in(words: list[str], radar: Path) -> None:
    forecast, config = forecast_from(radar, SIX), configured(*words)
    with_it = FrameSource(config), read_questions(config)
    by_model = forecast.assign_attrs(checkpoint="/home/me/best.pt", checkpoint_sha256="ab" * 32)
    page = build_page(by_model, *with_it)
    assert ("method", "model best.pt (SHA-256 abababababab)") in page.about and page.by_other == ""
    instead = forecast.assign_attrs(method="persistence", method_reason="model: no frame at 05:55")
    page = build_page(instead, *with_it)
    assert page.by_other == "Forecast by persistence, not by the model: no frame at 05:55"


def test_places_stand_on_the_page_where_they_are(words: list[str], radar: Path) -> None:
    longitude, latitude = degrees_of(place_of_grid(open_grid(radar)), "")
    rows = f"here,{latitude[3, 7]:.4f},{longitude[3, 7]:.4f}\nfar,0,0\n"
    Path("places.csv").write_text(f"name,latitude,longitude\n{rows}")
    forecast = forecast_from(radar, SIX)
    config = configured(*words, "places=places.csv", "timezone=Europe/Berlin")
    page = build_page(forecast, FrameSource(config), read_questions(config))
    here, far = page.places
    assert (here.name, here.column, here.row) == ("here", 7, 20 - 1 - 3)
    observed = open_grid(radar)["precipitation_rate"].sel(time=SIX).values[3, 7]
    assert here.rates[12] == pytest.approx(float(observed), nan_ok=True)
    np.testing.assert_allclose(here.rates[13:], forecast["precipitation_rate"].values[:, 3, 7])
    assert here.sentence and here.chance is None and str(page.zone) == "Europe/Berlin"
    assert (far.column, far.row) == (None, None) and far.sentence.startswith("Outside")


def test_the_page_has_the_warnings_of_its_forecast_and_its_clocks(
    run: Run, words: list[str], radar: Path
) -> None:
    """Also if the page is made again for it by a cycle of an earlier forecast."""
    rain = open_grid(radar)["precipitation_rate"]
    row, column = np.argwhere((rain.sel(time=[SIX - STEP, SIX]).values > 0.1).all(axis=0))[0]
    longitude, latitude = (
        one[row, column] for one in degrees_of(place_of_grid(open_grid(radar)), "")
    )
    place = f"place: [{latitude:.4f}, {longitude:.4f}]"
    rule = f"warnings.rules.wet={{rate: 0.1, probability: 0.3, within: 60, {place}}}"
    for time in ("06:00", "05:55"):
        outcome = run("predict", *words, rule, "timezone=Europe/Berlin", f"at=2020-01-01T{time}")
        (banner,) = re.findall(r"<p>(wet: [^<]+)\.</p>", Path("out/index.html").read_text())
        assert outcome.code == 0 and "from 07:05 to 07:15 CET" in banner
        assert (banner in outcome.err) == (time == "06:00") and newest() == "07:00 CET"
        Path("out/index.html").unlink()
    assert run("predict", *words, rule.replace("0.1", "900"), "at=2020-01-01T06:00").code == 0
    assert "Warning" not in Path("out/index.html").read_text().partition("<header>")[0]


def test_keys_that_cannot_be_meant_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"page: the file name must end in \.html"):
        configured(*words, "page=out/index.nc")
    with pytest.raises(ConfigError, match=r"page_map: needs a page"):
        configured(*words[:-1], "page_map=none")


def test_lines_and_pixels_are_where_they_are_on_earth(tmp_path: Path) -> None:
    """On a grid of degrees: row 0, in the south, is drawn at the bottom."""
    path = tmp_path / "map.geojson"
    line = {"type": "LineString", "coordinates": [[10.0, 50.0], [12.0, 50.5]]}
    path.write_text(json.dumps(line))
    place = {"x": axis_in_degrees("x", np.arange(10.0, 13)), "y": axis_in_degrees("y", [50, 50.5])}
    for turned, rows in ((False, [0, 1]), (True, [1, 0])):
        (found,) = lines_on_page(place, 2, str(path), turned=turned)["coast"]
        np.testing.assert_allclose(found, np.stack([[0, 2], rows], 1), atol=0.01)
    height, width = sides_km(place) or (0, 0)
    assert height == pytest.approx(55.6, abs=0.1) and width == pytest.approx(71.1, abs=0.1)
    metres = {"x": axis_in_metres("x", [0, 2e3]), "y": axis_in_metres("y", [0, 1e3])}
    assert sides_km(metres) == (1, 2) and sides_km({}) is None
    assert lines_on_page(metres, 2, "natural_earth", turned=True) == {}
