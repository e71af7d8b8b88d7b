"""Forecasts with probabilities in `nowcast evaluate`, `nowcast.score` and `nowcast plot`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import Outcome
from torch import Tensor

import nowcast
from nowcast.evaluation import window_cases
from nowcast.forecast.dataset import build_forecast, write_forecast
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.probability.neighbourhoods import fractions
from nowcast.radar import RATE, open_grid

Run = Callable[..., Outcome]
LADDER = (0.1, 0.5, 1.0, 2.0)
STEP = np.timedelta64(5, "m")

undrawn = pytest.mark.usefixtures("without_pictures")


def shares(rates: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """(lead, k, h, w) from (lead, h, w), missing where the rates are."""
    return fractions(rates, thresholds)[:, 2].masked_fill(rates.isnan()[:, None], torch.nan)


def forecast(
    frame: int, ladder: tuple[float, ...] = LADDER, members: int = 0, **about: str
) -> xr.Dataset:
    """Three lead times by persistence from a frame of rain.nc, with probabilities of a ladder."""
    grid = open_grid("rain.nc").load()
    rates = np.stack([grid[RATE].values[frame]] * 3)
    given = FileProbabilities(ladder, shares(torch.from_numpy(rates), ladder).numpy())
    start, made = grid["time"].values[frame], {"method": "mine", **about}
    if members:
        rates = np.stack([rates] * members, axis=1)
    return build_forecast(rates, grid, start, STEP, made, given if ladder else None)


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rain as rain.nc, and forecasts/a.nc and b.nc with probabilities."""
    monkeypatch.chdir(tmp_path)
    Path("rain.nc").symlink_to(radar_file)
    Path("forecasts").mkdir()
    for name, frame in {"a": 66, "b": 69}.items():
        write_forecast(forecast(frame), f"forecasts/{name}.nc")
    return ["data=radar", "data.path=rain.nc", "data.cache=cache", "resamples=0", "fss_scales=[]"]


def scores(folder: str = "scores") -> xr.Dataset:
    with xr.open_dataset(f"{folder}/scores.nc", engine="netcdf4") as file:
        return file.load().sel(part="all")


@undrawn
def test_files_with_probabilities_are_scored_by_them_next_to_plain_baselines(
    run: Run, data: list[str]
) -> None:
    words = ["thresholds=[0.7,2,5]", "baseline=persistence"]
    outcome = run("evaluate", *data, *words, "forecasts=forecasts")
    remark = "mine: no scores of probabilities at 5 mm/h, outside its thresholds of 0.1 to 2 mm/h"
    assert outcome.code == 0 and outcome.err.count(remark) == 1
    assert "CRPS" in outcome.out
    whole = scores()
    mine, plain = (whole.sel(forecast=name) for name in ("mine", "persistence"))
    assert whole.attrs["remarks"] == remark
    np.testing.assert_array_equal(mine["csi"], plain["csi"])
    assert (mine["crps_pooled"] < plain["crps_pooled"]) and (mine["crps"] < plain["crps"]).all()
    assert (mine["brier_pooled"] < plain["brier_pooled"]).sel(threshold=[0.7, 2]).all()
    assert np.isnan(mine["brier_pooled"].sel(threshold=5))
    report = Path("scores/report.html").read_text()
    assert "mine (probabilities)" in report and "mine: probability of ≥ 1 mm/h" in report
    assert "Rank histogram</h3>" not in report and remark in report
    table = Path("scores/scores.csv").read_text().splitlines()
    assert {"brier", "reliability_distance", "crps"} <= set(table[0].split(","))


@undrawn
def test_rates_of_a_wrong_unit_are_remarked_on(run: Run, data: list[str]) -> None:
    high = forecast(66)
    high[RATE] = high[RATE] * 3.6e6
    write_forecast(high, "forecasts/a.nc")
    outcome = run("evaluate", *data, "forecasts=forecasts")
    remark = "1 of 2 forecasts hold rates above data.max_rate=1000 mm/h; check the unit"
    assert outcome.code == 0 and outcome.err.count(remark) == 1
    assert remark in scores().attrs["remarks"] and "forecasts/a.nc holds" in outcome.err


@undrawn
def test_score_counts_as_the_command_does(run: Run, data: list[str]) -> None:
    grid, files = open_grid("rain.nc"), [f"forecasts/{name}.nc" for name in "ab"]
    assert run("evaluate", *data, "thresholds=[0.5,2]", "forecasts=forecasts").code == 0
    ours = nowcast.score(
        [nowcast.open_forecast(one) for one in files],
        grid,
        thresholds=[0.5, 2],
        fss_scales=[],
        resamples=0,
    ).sel(part="all")
    for name in ("brier", "crps", "roc_area", "reliability_distance_pooled"):
        theirs = scores()[name].sel(forecast=["mine"])
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-6, err_msg=name)


@undrawn
@pytest.mark.parametrize("ladder", [(), (0.5, 1.0)])
def test_probabilities_are_scored_in_the_files_that_have_them(
    ladder: tuple[float, ...], run: Run, data: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As without the third file, whose rates are scored with those of the others."""
    names, words = (
        ("brier", "crps", "roc_area", "reliability_distance_pooled"),
        ("thresholds=[0.5,2]",),
    )
    evaluate = ["evaluate", *data, *words, "forecasts=forecasts", "baseline=persistence"]
    assert run(*evaluate).code == 0
    two = scores()
    write_forecast(forecast(72, ladder, method="zero"), "forecasts/c.nc")
    outcome = run(*evaluate)
    remark = (
        "probabilities were scored in 2 of 3 forecasts; the others have none at the same"
        " thresholds, 0.1 to 2 mm/h"
    )
    assert outcome.code == 0 and outcome.err.count(remark) == 1, outcome.err
    three = scores().sel(forecast="chain")
    assert three.attrs["remarks"] == remark and three["pixels"].sum() > two["pixels"][0].sum()
    for name in names:
        np.testing.assert_array_equal(three[name], two[name].sel(forecast="mine"), err_msg=name)
    grid, files = open_grid("rain.nc"), [f"forecasts/{name}.nc" for name in "abc"]
    caplog.clear()
    ours = nowcast.score(
        [nowcast.open_forecast(one) for one in files], grid, thresholds=[0.5, 2], fss_scales=[],
        resamples=0,
    ).sel(part="all", forecast="chain")  # fmt: skip
    assert caplog.messages[-1] == remark
    for name in (*names, "csi", "mse", "pixels"):
        np.testing.assert_array_equal(ours[name], three[name], err_msg=name)


@undrawn
def test_counts_of_months_with_and_without_a_fallback_add_up(run: Run, data: list[str]) -> None:
    Path("more").mkdir()
    Path("both").mkdir()
    for name, frame, ladder in (("c", 72, LADDER), ("d", 75, ()), ("e", 54, LADDER)):
        write_forecast(forecast(frame, ladder), f"more/{name}.nc")
    words = ["evaluate", *data, "thresholds=[0.5,2]", "baseline=null"]
    Path("more/e.nc").rename("forecasts/e.nc")
    for folder in ("forecasts", "more"):
        for path in Path(folder).iterdir():
            Path("both", path.name).symlink_to(path.absolute())
        assert run(*words, f"forecasts={folder}", f"output=counts/{folder}").code == 0
    assert run(*words, "forecasts=both", "output=whole").code == 0
    assert run("evaluate", "counts=counts/*/counts.nc", "resamples=0", "output=sum").code == 0
    for name in ("crps", "brier", "csi"):
        np.testing.assert_allclose(scores("sum")[name], scores("whole")[name], rtol=1e-6)


@undrawn
def test_rates_that_follow_from_probabilities_in_different_ways_are_told(
    run: Run, data: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    words = ["evaluate", *data, "thresholds=[0.5,2]", "forecasts=forecasts", "baseline=null"]
    for name, frame, rate in (("a", 66, "csi"), ("b", 69, "csi")):
        write_forecast(forecast(frame, rate=rate), f"forecasts/{name}.nc")
    outcome = run(*words)
    assert outcome.code == 0 and "different ways" not in outcome.err
    assert scores().attrs["rate"] == "csi" and "remarks" not in scores().attrs
    write_forecast(forecast(72, rate="median"), "forecasts/c.nc")
    remark = (
        "rates follow from probabilities in different ways: by rate=csi in 2, median in 1"
        " forecasts; these were scored together"
    )
    outcome = run(*words)
    assert outcome.code == 0 and outcome.err.count(remark) == 1
    assert scores().attrs["remarks"] == remark and scores().attrs["rate"] == "csi, median"
    caplog.clear()
    files = [nowcast.open_forecast(f"forecasts/{name}.nc") for name in "abc"]
    nowcast.score(files, open_grid("rain.nc"), resamples=0)
    assert caplog.messages.count(remark) == 1


@undrawn
def test_probabilities_of_turned_files_are_turned_with_them(run: Run, data: list[str]) -> None:
    Path("turned").mkdir()
    for name in "ab":
        one = nowcast.open_forecast(f"forecasts/{name}.nc")
        turned = one.isel(y=slice(None, None, -1), x=slice(None, None, -1))
        write_forecast(turned, f"turned/{name}.nc")
    for folder in ("forecasts", "turned"):
        words = ["thresholds=[0.5,2]", f"forecasts={folder}", f"output={folder}_scores"]
        assert run("evaluate", *data, *words, "baseline=null").code == 0
    for name in ("brier", "crps"):
        turned, whole = scores("turned_scores"), scores("forecasts_scores")
        np.testing.assert_allclose(turned[name], whole[name], rtol=1e-6)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be drawn, in place of drawing it."""
    shown: dict[str, Any] = {}

    def note(path: Path, observed: Any, forecasts: Any, *_: Any, **more: Any) -> Path:
        shown.update(forecasts=forecasts, **more)
        return Path(path)

    monkeypatch.setattr("nowcast.commands.evaluate.draw_frames", note)
    return shown


@undrawn
def test_a_predictor_may_give_probabilities_an_ensemble_or_rates(
    run: Run, data: list[str], monkeypatch: pytest.MonkeyPatch, drawn: dict[str, Any]
) -> None:
    genuine = window_cases.open_baseline

    def persistence(past: Tensor) -> Tensor:
        return past[:, -1:, 0].expand(-1, 3, -1, -1)[:, :, None]

    def with_probabilities(past: Tensor) -> Forecast:
        rates = persistence(past)
        values = torch.stack([shares(one, LADDER) for one in rates[:, :, 0]])
        return Forecast(rates, Probabilities(LADDER, values))

    def ensemble(past: Tensor) -> Forecast:
        return Forecast(persistence(past) * torch.tensor([0.5, 1, 2]).view(3, 1, 1))

    mine = {"climatology": with_probabilities, "zero": ensemble}
    monkeypatch.setattr(
        window_cases, "open_baseline",
        lambda name, *given, **more: mine.get(name) or genuine(name, *given, **more),
    )  # fmt: skip
    words = ["baseline=[persistence,climatology,zero]", "input_steps=3", "lead_steps=3"]
    hour = "period=['2020-01-01T05:00','2020-01-01T06:00']"
    outcome = run("evaluate", *data, *words, hour, "stride=6", "thresholds=[0.5,2]")
    assert outcome.code == 0, outcome.err
    whole = scores()
    assert np.isfinite(whole["crps"]).all() and np.isfinite(whole["brier_pooled"]).all()
    crps = whole["crps_pooled"]
    assert crps.sel(forecast="climatology") < crps.sel(forecast="persistence")
    with xr.open_dataset("scores/counts.nc", engine="netcdf4") as counts:
        assert counts["members"].values.tolist() == [1, 100, 3]
        assert counts["has_probabilities"].values.tolist() == [0, 1, 0]
    [(name, values)] = drawn["probabilities"].items()
    assert name == "climatology: probability of ≥ 1 mm/h"
    rates = drawn["forecasts"]["climatology"]
    np.testing.assert_allclose(values, shares(torch.from_numpy(rates), (1.0,))[:, 0])


def test_the_probability_of_a_threshold_is_drawn_or_refused(run: Run, data: list[str]) -> None:
    outcome = run("plot", "forecasts/a.nc", "probability=1", "columns=2")
    assert (outcome.code, outcome.out, outcome.err) == (0, "forecast.png\n", "")
    figure = nowcast.plot(nowcast.open_forecast("forecasts/a.nc"), probability=0.5)
    labels = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    assert "mine: probability of ≥ 0.5 mm/h" in labels
    write_forecast(forecast(66, ()), "plain.nc")
    refusals = {
        ("plain.nc", "probability=1"): "probability: plain.nc has no probabilities",
        ("forecasts/a.nc", "probability=3"): "has none of 3 mm/h; choose one of 0.1, 0.5, 1, 2.",
        ("forecasts/a.nc", "probability=0"): "probability: must be above 0",
        (
            "forecasts/a.nc",
            "probability=true",
        ): "give a threshold of the file in mm/h, as probability=1",
    }
    for words, reason in refusals.items():
        outcome = run("plot", *words)
        assert outcome.code == 78 and reason in outcome.err


def test_a_film_shows_the_probability_too(run: Run, data: list[str]) -> None:
    assert run("plot", "forecasts/a.nc", "probability=1", "output=f.gif").code == 0
    from PIL import Image

    from nowcast.report.pictures.colours import PROBABILITY_CLASSES

    with Image.open("f.gif") as film:
        colours = {colour for _, colour in film.convert("RGB").getcolors(2**16) or []}
    wanted = {tuple(bytes.fromhex(one[1:])) for one in PROBABILITY_CLASSES.values()}
    assert len(wanted & colours) >= 5
