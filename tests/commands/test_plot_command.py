"""`nowcast plot` as a person meets it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.api import plotting
from nowcast.commands import plot
from nowcast.forecast.dataset import build_forecast, open_forecast, write_forecast
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.motion.estimation import estimate_motion
from nowcast.radar import RATE, open_grid, synthetic_grid, write_synthetic
from nowcast.report.pictures.arrows import only_over_coverage
from nowcast.report.pictures.frames import time_in_words
from nowcast.report.pictures.stamps import stamps_figure

Run = Callable[..., Outcome]
START = np.datetime64("2020-01-01T00:25")
STEP = np.timedelta64(5, "m")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An hour of rain, rain.nc, and a forecast from its sixth frame that is it, forecast.nc."""
    monkeypatch.chdir(tmp_path)
    write_synthetic("rain.nc", 12, 20, 24, seed=1, start="2020-01-01T00:00")
    write("forecast.nc")
    return tmp_path


def write(
    name: str,
    method: str | None = None,
    steps: int = 3,
    members: int = 0,
    shift: int = 0,
    start: int = 0,
) -> None:
    """A forecast file; of an ensemble the members' rates are those of the rain times 1, 2, 3, …"""
    grid = open_grid("rain.nc").load()
    if shift:
        grid = grid.assign_coords(x=grid["x"] + shift)
    rates = grid[RATE].values[6 : 6 + steps]
    if members:
        rates = rates[:, None] * np.arange(1, members + 1, dtype=np.float32)[:, None, None]
    provenance = {} if method is None else {"method": method}
    write_forecast(build_forecast(rates, grid, START + start * STEP, STEP, provenance), name)


def write_nowhere(name: str) -> None:
    """A forecast file that does not say where its pixels are."""
    grid = synthetic_grid(12, 20, 24)
    nowhere = grid.drop_vars([name for name in grid.coords if name != "time"])
    write_forecast(build_forecast(grid[RATE].values[:2], nowhere, START, STEP, {}), name)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be drawn, in place of drawing it."""
    calls: list[dict[str, Any]] = []

    def note(path: str, **shown: Any) -> Path:
        calls.append({"path": path, **shown})
        return Path(path)

    monkeypatch.setattr(plotting, "draw_frames", note)
    monkeypatch.setattr(plotting, "draw_film", note)
    return calls


def test_a_forecast_becomes_a_panel(run: Run, folder: Path) -> None:
    outcome = run("plot", "forecast.nc", "columns=2")
    assert (outcome.code, outcome.out, outcome.err) == (0, "forecast.png\n", "")
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_a_forecast_becomes_a_film_beside_what_was_observed(run: Run, folder: Path) -> None:
    outcome = run(
        "plot",
        "forecast.nc",
        "data=radar",
        "data.path=rain.nc",
        "output=films/f.gif",
        "colours=colour_blind",
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "films/f.gif\n", "")
    assert (folder / "films" / "f.gif").read_bytes().startswith(b"GIF89a")


def test_what_is_drawn_is_what_the_file_says(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    assert run("plot", "forecast.nc", "data=radar", "data.path=rain.nc", "columns=4").code == 0
    [shown] = drawn
    rain = open_grid("rain.nc")[RATE].values
    np.testing.assert_array_equal(shown["forecasts"]["model"], rain[6:9])
    np.testing.assert_array_equal(shown["observed"], rain[6:9])
    np.testing.assert_array_equal(shown["past"], rain[2:6])
    assert shown["lead_minutes"] == [5, 10, 15]
    assert shown["title"] == "Forecast from 2020-01-01 00:25 UTC"
    assert shown["reference_time"].isoformat() == "2020-01-01T00:25:00+00:00"
    assert (shown["origin"], shown["colours"], shown["columns"]) == ("lower", "radar", 4)
    longitude, latitude = shown["degrees"]
    assert longitude.shape == latitude.shape == (20, 24)
    assert latitude[0, 0] < latitude[-1, 0] and longitude[0, 0] < longitude[0, -1]


def test_forecasts_stand_side_by_side_by_the_names_of_their_methods(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    write("steps.nc", "steps", members=3)
    write("p.nc", "persistence")
    write("q.nc", "persistence")
    assert (
        run(
            "plot", "forecast.nc", "steps.nc", "p.nc", "q.nc", "output=f.mp4", "frames_per_second=2"
        ).code
        == 0
    )
    [shown] = drawn
    names = ["model", "steps, mean of 3 members", "persistence, p.nc", "persistence, q.nc"]
    assert (list(shown["forecasts"]), shown["path"], shown["frames_per_second"]) == (
        names,
        "f.mp4",
        2,
    )
    one = shown["forecasts"]["model"]
    # the mean of 1, 2 and 3 times it
    np.testing.assert_allclose(shown["forecasts"][names[1]], 2 * one, rtol=1e-6)
    assert shown["observed"] is None


def motion_where_covered(rates: np.ndarray) -> np.ndarray:
    return only_over_coverage(estimate_motion(rates), np.isfinite(rates).any(axis=0))


def test_arrows_show_the_motion_up_to_the_forecast_or_over_it(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    """Pixels of 1 km, a frame every 5 minutes: a pixel a timestep is 12 km/h."""
    write_synthetic("rain.nc", 12, 60, 70, seed=1, start="2020-01-01T00:00")
    write("forecast.nc")
    rain = open_grid("rain.nc")[RATE].values
    assert run("plot", "forecast.nc", "motion=true").code == 0
    assert run("plot", "forecast.nc", "data=radar", "data.path=rain.nc", "motion=true").code == 0
    seen = ["data=radar", "data.path=rain.nc", "motion=true"]
    assert run("plot", "forecast.nc", *seen, "columns=1").code == 0
    assert run("plot", "forecast.nc", *seen, "output=f.gif").code == 0
    assert run("plot", "forecast.nc", "data=radar", "data.path=rain.nc").code == 0
    over, *up_to, none = [shown["arrows"] for shown in drawn]
    np.testing.assert_array_equal(over.motion, motion_where_covered(rain[6:9]))
    for one in up_to:
        np.testing.assert_array_equal(one.motion, motion_where_covered(rain[2:6]))
        assert (one.speed, one.unit) == (pytest.approx(12), "km/h")
    assert none is None and 0.5 < np.isfinite(over.motion).mean() < 1


def test_without_rain_no_arrow_is_drawn_and_that_is_said(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    with xr.open_dataset("forecast.nc", engine="netcdf4") as forecast:
        dry = forecast.load()
    dry[RATE][:] = 0
    dry.to_netcdf("dry.nc", engine="netcdf4")
    outcome = run("plot", "dry.nc", "motion=true")
    assert outcome.code == 0 and "dry.nc: its frames show no rain to follow" in outcome.err
    assert drawn[0]["arrows"] is None


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        (["fc/p.nc", "fc/q.nc"], ["p.nc", "q.nc"]),
        (["a/fc/x.nc", "b/fc/x.nc"], ["a", "b"]),
        (["runs/a/x.nc", "runs/b/c/x.nc", "runs/b/d/x.nc"], ["a", "b/c", "b/d"]),
        (["x.nc", "old/x.nc"], ["x.nc", "old/x.nc"]),
        (["a/1.nc", "b/2.nc"], ["a/1.nc", "b/2.nc"]),
    ],
)
def test_forecasts_of_one_method_are_told_apart_by_their_folders(
    paths: list[str], parts: list[str]
) -> None:
    assert plot.differing_parts(paths) == parts


def test_models_in_two_folders_are_named_by_them(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        write(f"{name}/x.nc")
    assert run("plot", "one/x.nc", "two/x.nc").code == 0
    assert list(drawn[0]["forecasts"]) == ["model, one", "model, two"]


def test_one_model_with_several_rates_is_named_by_them_and_its_probabilities_stand_once(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    grid = open_grid("rain.nc").load()
    rates = grid[RATE].values[6:9]
    likely = FileProbabilities((0.5, 1.0), np.stack([rates > 0.5, rates > 1], axis=1) * 1.0)
    rows = {"csi.nc": "csi", "mean.nc": "mean", "other/mean.nc": "mean"}
    for name, rate in rows.items():
        Path(name).parent.mkdir(exist_ok=True)
        made = build_forecast(rates, grid, START, STEP, {"rate": rate}, likely)
        write_forecast(made, name)
    write("plain.nc", "persistence")
    assert run("plot", *rows, "plain.nc", "probability=1").code == 0
    [shown] = drawn
    assert list(shown["forecasts"]) == [
        "model, rate=csi", "model, rate=mean, mean.nc", "model, rate=mean, other/mean.nc",
        "persistence",
    ]  # fmt: skip
    assert list(shown["probabilities"]) == ["model: probability of ≥ 1 mm/h"]


def test_members_are_drawn_at_one_lead_time(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of a forecast, as STEPS gives them, or next to its rate."""
    calls: list[tuple[dict[str, Any], str]] = []

    def note(stamps: dict[str, Any], title: str, **look: Any) -> Any:
        calls.append((stamps, title))
        return stamps_figure(stamps, title, **look)

    monkeypatch.setattr(plotting, "stamps_figure", note)
    write("steps.nc", "steps", members=3)
    seen = ["data=radar", "data.path=rain.nc"]
    outcome = run("plot", "steps.nc", *seen, "members=true", "lead_time=10")
    assert (outcome.code, outcome.out) == (0, "forecast.png\n")
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
    rain = open_grid("rain.nc")[RATE].values
    [(stamps, title)] = calls
    mean = "steps, mean of 3 members"
    assert title == "Forecast from 2020-01-01 00:25 UTC, +10 min · 00:35 UTC"
    assert list(stamps) == ["observed", mean, "member 1", "member 2", "member 3"]
    np.testing.assert_array_equal(stamps["observed"], rain[7])
    np.testing.assert_array_equal(stamps["member 2"], 2 * rain[7])

    forecast = open_forecast("forecast.nc")
    many = rain[6:9, None] * np.linspace(0, 1, 25, dtype=np.float32)[:, None, None]
    members = (("time", "realization", "y", "x"), many, {"units": "mm h-1"})
    forecast["member_rate"] = members
    forecast = forecast.assign_coords(realization=np.arange(1, 26, dtype=np.int32))
    figure = plotting.plot(forecast, members=True)
    stamps, title = calls[-1]
    assert title.endswith("+15 min · 00:40 UTC, 20 of 25 members")
    assert list(stamps)[:2] == ["model", "member 1"] and len(stamps) == 21
    np.testing.assert_array_equal(stamps["model"], rain[8])
    np.testing.assert_allclose(stamps["member 7"], 0.25 * rain[8])
    assert len(figure.axes) == 4 * 6 + 1


def test_sums_are_drawn_from_the_first_that_has_ended(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    sums = np.stack([np.full((20, 24), value, np.float32) for value in (np.nan, 1.0, 2.0)])
    forecast = open_forecast("forecast.nc")
    forecast["accumulation_10min"] = (("time", "y", "x"), sums, {"units": "mm"})
    forecast.to_netcdf("sums.nc", engine="netcdf4")
    write("plain.nc", "persistence")
    words = ["plot", "sums.nc", "plain.nc", "accumulation=10"]
    assert run(*words).code == 0
    ((name, frames),) = drawn[0]["amounts"].items()
    assert name == "model: sum over 10 min"
    assert frames[0] is None and [float(frame.max()) for frame in frames[1:]] == [1, 2]
    assert run(*words, "data=radar", "data.path=rain.nc").code == 0
    seen = drawn[1]["amounts"]["observed: sum over 10 min"]
    rain = open_grid("rain.nc")[RATE].values
    assert seen[0] is None
    np.testing.assert_allclose(seen[2], (rain[7] + rain[8]) / 12, rtol=1e-6)
    outcome = run("plot", "sums.nc", "accumulation=60")
    assert outcome.code == 78
    assert "accumulation: sums.nc has none over 60 minutes; choose one of 10." in outcome.err


def test_the_chance_of_a_sum_is_drawn_from_the_first_that_has_ended(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    frames = np.stack([np.full((20, 24), value, np.float32) for value in (np.nan, 0.25, 0.75)])
    forecast = open_forecast("forecast.nc")
    forecast["accumulation_10min"] = (("time", "y", "x"), frames, {"units": "mm"})
    forecast["threshold_amount"] = ("threshold_amount", [1.0, 2.0], {"units": "mm"})
    forecast["accumulation_probability_10min"] = (
        ("time", "threshold_amount", "y", "x"), np.stack([frames, frames / 2], 1), {"units": "1"}
    )  # fmt: skip
    forecast.to_netcdf("sums.nc", engine="netcdf4")
    words = ["plot", "sums.nc", "accumulation=10"]
    assert run(*words, "accumulation_probability=2").code == 0
    ((name, rows),) = drawn[0]["probabilities"].items()
    assert name == "model: probability of ≥ 2 mm in 10 min"
    assert rows[0] is None and [float(row.max()) for row in rows[1:]] == [0.125, 0.375]
    for given, said in (
        ([*words, "accumulation_probability=5"], "sums.nc has none of 5 mm; choose one of 1, 2."),
        (["plot", "sums.nc", "accumulation_probability=2"], "add accumulation=60."),
    ):
        outcome = run(*given)
        assert outcome.code == 78 and said in outcome.err


def test_times_are_in_the_zone_that_is_asked_for(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    assert run("plot", "forecast.nc", "timezone=Europe/Berlin").code == 0
    [shown] = drawn
    assert shown["title"] == "Forecast from 2020-01-01 01:25 CET"
    assert time_in_words(10, shown["reference_time"]) == "+10 min · 01:35 CET"
    outcome = run("plot", "forecast.nc", "timezone=Mars")
    assert outcome.code == 78 and "timezone: 'Mars' is no time zone" in outcome.err


def test_the_map_is_natural_earth_unless_another_is_asked_for(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    for words in ([], ["map=none"], ["map=own.geojson"]):
        assert run("plot", "forecast.nc", *words).code == 0
    assert [shown["map"] for shown in drawn] == ["natural_earth", "none", "own.geojson"]


def test_a_pixel_that_a_member_lacks_is_missing_in_the_mean(folder: Path) -> None:
    rates = np.array([[[[1.0, np.nan]], [[3.0, 4.0]]]], dtype=np.float32)
    mean = plotting.rates_of(xr.Dataset({RATE: (("time", "realization", "y", "x"), rates)}))
    np.testing.assert_array_equal(mean, [[[2.0, np.nan]]])


def test_lines_of_latitude_and_longitude_only_where_the_file_has_them(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    write_nowhere("nowhere.nc")
    assert run("plot", "nowhere.nc").code == 0
    assert (drawn[0]["degrees"], drawn[0]["origin"]) == (None, "upper")


def test_times_that_were_not_observed_stay_blank(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    write("late.nc", start=4)  # from 00:45: the rain ends at 00:55
    outcome = run("plot", "late.nc", "data=radar", "data.path=rain.nc")
    assert outcome.code == 0
    assert "1 of 3 times were not observed: 2020-01-01T01:00 UTC" in outcome.err
    assert [frame is None for frame in drawn[0]["observed"]] == [False, False, True]
    assert [frame is None for frame in drawn[0]["past"]] == [False] * 6


def test_observations_of_a_pattern_of_times(
    run: Run, folder: Path, drawn: list[dict[str, Any]]
) -> None:
    write_synthetic("archive/2020/rain_0000.nc", 12, 20, 24, seed=1, start="2020-01-01T00:00")
    # would not fit
    write_synthetic("archive/2021/rain_0000.nc", 2, 5, 5, seed=1, start="2021-01-01T00:00")
    assert (
        run("plot", "forecast.nc", "data=radar", "data.path=archive/%Y/*.nc", "output=f.gif").code
        == 0
    )
    np.testing.assert_array_equal(drawn[0]["observed"], open_grid("rain.nc")[RATE].values[6:9])


def test_the_help_is_there_and_quick_to_have(run: Run) -> None:
    outcome = run("plot", "--help")
    assert outcome.code == 0
    assert (
        "data=radar|radolan|synthetic" in outcome.out
        and "  nowcast plot forecast.nc" in outcome.out
    )
    assert "colours: radar" in run("plot", "--cfg", "job").out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "plot: give a forecast file, as 'nowcast plot forecast.nc'"),
        (["forecast.nc", "./forecast.nc"], 2, "./forecast.nc: given twice"),
        (["page.nc"], 65, "page.nc: not a whole NetCDF file"),
        (["rain.nc"], 65, "rain.nc: not a forecast file"),
        (["nothing.nc"], 66, "nothing.nc: no such forecast file"),
        (["forecast.nc", "other.nc"], 65, "other.nc: cannot be drawn with forecast.nc (another grid: 'x' differs); draw them separately."),
        (["forecast.nc", "later.nc"], 65, "(it starts at 2020-01-01T00:30, the other at 2020-01-01T00:25 UTC)"),
        (["forecast.nc", "short.nc"], 65, "short.nc: cannot be drawn with forecast.nc (other lead times)"),
        (["forecast.nc", "data=radar", "data.path=small.nc"], 65, "small.nc: not on the grid of the forecast (20×24 and 5×5 pixels)"),
        (["forecast.nc", "data=radar", "data.path=early.nc"], 66, "early.nc: none of the forecast's times was observed"),
        (["forecast.nc", "data=radar", "data.path=none.nc"], 66, "none.nc: no such file or folder"),
        (["forecast.nc", "data=radar"], 78, "data.path: needs a value"),
        (["forecast.nc", "data=moving_mnist"], 78, "data: moving_mnist has neither times nor a place"),
        (["forecast.nc", "output=f.jpg"], 78, "output: must end in .png, .gif or .mp4, not 'f.jpg'"),
        (["forecast.nc", "colours=rainbow"], 78, "colours: "),
        (["forecast.nc", "columns=0"], 78, "columns: must be from 1 to 50, not 0."),
        (["forecast.nc", "frames_per_second=0"], 78, "frames_per_second: must be from 0.1 to 50, not 0."),
        (["forecast.nc", "output=rain.nc/f.png"], 73, "cannot create this folder"),
        (["forecast.nc", "output=rain.nc/f.gif"], 73, "cannot create this folder"),
        (["forecast.nc", "colour=radar"], 78, "colour: no such key"),
        (["forecast.nc", "map=google"], 78, "map: 'google' is neither natural_earth, nor none, nor a GeoJSON file"),
        (["forecast.nc", "map=none.geojson"], 66, "none.geojson: no such GeoJSON file"),
        (["nowhere.nc", "map=own.geojson"], 78, "map: nowhere.nc does not say where its pixels are on Earth, so own.geojson cannot be drawn; leave the key out."),
        (["forecast.nc", "members=true"], 78, "members: forecast.nc has no members"),
        (["forecast.nc", "members=true", "output=f.gif"], 78, "output: members=true draws one picture, not 'f.gif'"),
        (["forecast.nc", "members=true", "motion=true"], 78, "motion: cannot be drawn with members=true"),
        (["steps.nc", "members=true", "lead_time=60"], 78, "lead_time: steps.nc has none of 60 minutes; choose one of 5, 10, 15."),
        (["steps.nc", "forecast.nc", "members=true"], 78, "members: stamps show the members of one forecast; give one."),
        (["forecast.nc", "lead_time=10"], 78, "lead_time: is only for members=true; leave it out."),
        (["forecast.nc", "data.path=rain.nc"], 78, "data.path: data is not set; add data=radar."),
        (["forecast.nc", "accumulation=30"], 78, "accumulation: forecast.nc has no sums"),
        (["forecast.nc", "accumulation=soon"], 78, "accumulation: give minutes that the file has sums over, as accumulation=60, not soon."),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line(
    run: Run, folder: Path, words: list[str], code: int, says: str
) -> None:
    Path("page.nc").write_text("<!DOCTYPE html><html>not found</html>")
    write("other.nc", shift=500)
    write("later.nc", start=1)
    write("short.nc", steps=2)
    write("steps.nc", "steps", members=3)
    write_nowhere("nowhere.nc")
    write_synthetic("small.nc", 12, 5, 5, start="2020-01-01T00:00")
    write_synthetic("early.nc", 3, 20, 24, start="2020-01-01T00:00")
    before = sorted(os.listdir())
    outcome = run("plot", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err and len(outcome.err.splitlines()) == 1
    assert sorted(os.listdir()) == before
