"""`nowcast point` as a person and as a program meet it."""

import json
import zoneinfo
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from helpers import Outcome

from nowcast.forecast.dataset import build_forecast, write_forecast
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.radar import synthetic_grid

Run = Callable[..., Outcome]
PLACE = "place=51.08,10"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two forecasts every 10 minutes: rain.nc of 3 mm/h everywhere for half an hour, dry after it;
    and unknown.nc, of which nothing is known.
    """
    monkeypatch.chdir(tmp_path)
    grid = synthetic_grid(1, 24, 28, start="2024-06-02T12:00")
    rates = np.zeros((6, 24, 28), np.float32)
    rates[:3] = 3.0
    probability = np.where(rates[:, None] > 0, np.float32(0.8), np.float32(0.1))
    for name, field in (("rain.nc", rates), ("unknown.nc", np.full_like(rates, np.nan))):
        forecast = build_forecast(
            field,
            grid,
            grid["time"].values[-1],
            np.timedelta64(10, "m"),
            {},
            FileProbabilities((0.1,), probability),
        )
        write_forecast(forecast, name)
    return tmp_path


def test_a_place_is_told_in_words_and_as_a_table(run: Run, folder: Path) -> None:
    outcome = run("point", "rain.nc", PLACE, "timezone=Europe/Berlin")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "rain.nc: forecast by model from 2024-06-02 14:00 (Europe/Berlin)"
    assert lines[1] == (
        "  51.08, 10: Raining at 14:10 CEST (3 mm/h), stops about 14:40 (probability 0.9);"
        " heaviest 3 mm/h at 14:10 (probability 0.8 of at least 0.1 mm/h); 1.5 mm expected in the next 30"
        " minutes, 1.5 mm expected in the next hour."
    )
    assert lines[2].split() == ["time", "min", "mm/h", "≥", "0.1"]
    assert lines[3].split() == ["14:10", "10", "3.00", "0.80"] and len(lines) == 9


def test_a_forecast_by_the_model_that_comes_with_nowcast_says_so(run: Run, folder: Path) -> None:
    with netCDF4.Dataset("rain.nc", "a") as file:
        file.checkpoint = "pretrained"
    assert run("point", "rain.nc", PLACE).out.startswith("rain.nc: forecast by pretrained from ")


@pytest.mark.parametrize("given", ["place=[51.08,10]", 'place="51.08,10"', "place=51.08, 10"])
def test_a_place_may_be_a_list_or_quoted(run: Run, folder: Path, given: str) -> None:
    outcome = run("point", "rain.nc", given)
    assert outcome.code == 0 and "51.08, 10: Raining" in outcome.out, outcome.err


def test_a_list_of_places_in_several_files_is_one_document(run: Run, folder: Path) -> None:
    (folder / "places.csv").write_text("name,latitude,longitude\nHere,51.08,10\nFar,0,0\n")
    outcome = run("point", "rain.nc", "unknown.nc", "places=places.csv", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    rain, unknown = json.loads(outcome.out)["forecasts"]
    assert (rain["forecast"], rain["forecast_reference_time"]) == (
        "rain.nc",
        "2024-06-02T12:00:00Z",
    )
    assert [one["status"] for one in rain["places"]] == ["covered", "outside"]
    assert [one["status"] for one in unknown["places"]] == ["not covered", "outside"]
    assert rain["places"][0]["stops_at"] == {"time": "2024-06-02T12:40:00Z", "probability": 0.9}
    words = run("point", "rain.nc", "places=places.csv").out
    assert "  Far: Outside of the grid of the forecast.\n" in words and "≥" not in words


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["rain.nc", "place=1,2"], 65, "rain.nc: 1, 2: Outside of the grid of the forecast."),
        (["unknown.nc", PLACE], 65, "unknown.nc: 51.08, 10: Not covered by the forecast."),
        ([PLACE], 2, "point: give a forecast file"),
        (["none.nc", PLACE], 66, "none.nc: no such forecast file"),
        (["rain.nc"], 78, "place, places: give one of them"),
        (["rain.nc", PLACE, "places=places.csv"], 78, "place, places: give one of them"),
        (["rain.nc", "place=[1]"], 78, "place: give latitude and longitude in degrees"),
        (["rain.nc", "place=100,2"], 78, "place: the latitude must be from -90 to 90"),
        (["rain.nc", PLACE, "timezone=Mars/Base"], 78, "timezone: 'Mars/Base' is no time zone"),
        (["rain.nc", "places=none.csv"], 66, "none.csv: cannot be read"),
        (["rain.nc", "places=none.csv", "--check"], 66, "places: none.csv: no such file"),
    ],
)
def test_what_is_wrong_is_told(
    run: Run, folder: Path, words: list[str], code: int, says: str
) -> None:
    outcome = run("point", *words)
    assert outcome.code == code and says in outcome.err


def test_a_machine_without_time_zones_has_those_of_a_package(run: Run, folder: Path) -> None:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        outcome = run("point", "rain.nc", PLACE, "timezone=Asia/Kathmandu")
    finally:
        zoneinfo.reset_tzpath()
    assert outcome.code == 0 and "from 2024-06-02 17:45 (Asia/Kathmandu)" in outcome.out
