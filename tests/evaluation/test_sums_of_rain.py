"""Sums of rain in `nowcast predict` and `nowcast evaluate`, held against frames added by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import Outcome

from nowcast.forecast.dataset import open_forecast
from nowcast.radar import RATE, open_grid
from nowcast.verification.counts import joint_histogram
from nowcast.verification.counts_files import open_all_counts

Run = Callable[..., Outcome]

LONG = "baseline=[persistence,extrapolation]"
STEPS = ("input_steps=2", "lead_steps=4")
SUMS = ("accumulations=[10,20]", "accumulation_thresholds=[0.2,0.5]")
WITH_MEMBERS = "baseline=steps, or baseline=lagrangian_probability with ensemble=20"
WHOLE = "period=['2020-01-01T05:00','2020-01-01T06:30']"
HALVES = (
    "period=['2020-01-01T05:00','2020-01-01T05:44']",
    "period=['2020-01-01T05:45','2020-01-01T06:30']",
)

undrawn = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rain as rain.nc, some of its pixels missing in one frame."""
    monkeypatch.chdir(tmp_path)
    grid = xr.load_dataset(radar_file)
    grid[RATE][{"time": 72, "y": slice(10, 20)}] = np.nan
    grid.to_netcdf("rain.nc", engine="netcdf4")
    return ["data=radar", "data.path=rain.nc", f"data.cache={tmp_path}/cache"]


EVALUATE = ["resamples=0", "fss_scales=[]", "thresholds=[0.5]", "device=cpu", "precision=fp32"]


@undrawn
def test_counts_of_sums_are_those_of_frames_added_by_hand(run: Run, data: list[str]) -> None:
    words = ["evaluate", *data, *EVALUATE, *STEPS, *SUMS, "baseline=persistence", WHOLE, "stride=3"]
    outcome = run(*words, "common_pixels=false")
    assert outcome.code == 0
    assert "Sums over 10 minutes" in outcome.out and "CSI ≥ 0.2" in outcome.out
    rain = open_grid("rain.nc")[RATE].load()
    counts = open_all_counts("scores/counts.nc")
    assert list(counts) == ["", "accumulation_10min", "accumulation_20min"]
    for minutes, leads in ((10, [10.0, 15.0, 20.0]), (20, [20.0])):
        joint, steps = counts[f"accumulation_{minutes}min"]["joint"], minutes // 5
        assert joint["lead_time"].values.tolist() == leads
        expected = torch.zeros(len(leads), 3, 3, dtype=torch.int64)
        for start in range(60, 79, 3):  # 05:00, 05:15, … 06:30
            frames = rain.values[start + 1 : start + 5]
            newest = rain.values[start]
            ends = range(steps, 5)
            # a pixel that is missing in any frame of the window is missing in the sum
            observed = np.stack([frames[end - steps : end].sum(axis=0) / 12 for end in ends])
            forecast = np.stack([newest * steps / 12] * len(observed))
            expected += joint_histogram(
                torch.from_numpy(forecast[None]), torch.from_numpy(observed[None]), [0.2, 0.5]
            )[0]
        np.testing.assert_array_equal(joint.sum("block").values[0], expected)
        assert expected[:, 1:, 1:].sum() > 0


@undrawn
def test_two_periods_added_are_scored_as_one(run: Run, data: list[str]) -> None:
    words = ["evaluate", *data, *EVALUATE, *STEPS, *SUMS, LONG]
    for name, period in zip(("a", "b", "whole"), (*HALVES, WHOLE), strict=True):
        assert run(*words, period, f"output={name}").code == 0
    assert run("evaluate", "counts='[ab]/counts.nc'", "resamples=0", "output=sum").code == 0
    merged, whole = open_all_counts("sum/counts.nc"), open_all_counts("whole/counts.nc")
    assert len(whole) == 3 and merged.keys() == whole.keys()
    for group, counts in whole.items():
        xr.testing.assert_allclose(merged[group].drop_attrs(), counts.drop_attrs(), rtol=1e-6)
    assert Path("sum/scores.csv").read_text().count("accumulation_20min") > 1
    plain = [word for word in words if word not in SUMS]
    assert run(*plain, HALVES[1], "output=b").code == 0
    outcome = run("evaluate", "counts='[ab]/counts.nc'", "output=sum")
    assert (
        outcome.code == 65 and "b/counts.nc: counted in another way than a/counts.nc" in outcome.err
    )


@undrawn
def test_files_are_scored_as_the_method_that_made_them_and_members_as_an_ensemble(
    run: Run, data: list[str]
) -> None:
    method, period = "lagrangian_probability", ["2020-01-01T06:30", "2020-01-01T06:40"]
    made = [f"baseline={method}", *STEPS, "ensemble=5"]
    predict = [*data, *SUMS, *made, f"from={period[0]}", f"to={period[1]}"]
    assert run("predict", *predict, "output=forecasts/%H%M.nc").code == 0
    at = [f"period=['{period[0]}','{period[1]}']", "stride=1"]
    assert run("evaluate", *data, *EVALUATE, *SUMS, *made, *at, "output=now").code == 0
    files = ["forecasts=forecasts", "baseline=null", "output=files"]
    assert run("evaluate", *data, *EVALUATE[:-2], *SUMS, *files).code == 0
    now, read = (open_all_counts(f"{name}/counts.nc") for name in ("now", "files"))
    for group in ("accumulation_10min", "accumulation_20min"):
        names = now[group]["forecast"].values.tolist()
        assert names == [method, f"{method} (members)"] == read[group]["forecast"].values.tolist()
        assert now[group]["members"].values.tolist() == [1, 5]
        ours, theirs = (one[group]["joint"].values for one in (now, read))
        np.testing.assert_array_equal(ours[1], theirs[1])
        # a file keeps probabilities in steps of 0.005, by which their expectation is off a little
        assert abs(ours[0] - theirs[0]).sum() < 0.02 * ours[0].sum()
    scores = xr.load_dataset("now/scores.nc", group="accumulation_20min").sel(part="all")
    brier = scores["brier_pooled"].sel(threshold=0.2).values
    assert brier[1] < brier[0]  # by the share of members, and by yes or no

    forecast = open_forecast("forecasts/0630.nc")
    members = forecast["member_rate"].values.astype(np.float64)
    share = (members[1:3].sum(axis=0) / 12 >= 0.2).mean(axis=0)
    known = ~np.isnan(members).any(axis=(0, 1))
    chance = forecast["accumulation_probability_10min"].values[2, 0]
    np.testing.assert_allclose(chance[known], share[known], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["accumulations=[12]"],
            78,
            "accumulations: 12 minutes are not a multiple of the time step",
        ),
        (["accumulations=[25]"], 78, "which ends after 20 minutes; give 20 or less, or forecast"),
        (["accumulations=[20,10]"], 78, "accumulations: give minutes from 1 to 1440, each above"),
        (
            ["accumulation_thresholds=[3]"],
            78,
            "accumulation_thresholds: is for sums of rain; give their",
        ),
        (
            ["accumulations=[10]", "accumulation_thresholds=[3,1]"],
            78,
            "accumulation_thresholds: give amounts in mm, each above the one before",
        ),
    ],
)
def test_what_gives_no_sums_is_refused_with_the_key_and_a_remedy(
    words: list[str], code: int, message: str, run: Run, data: list[str]
) -> None:
    here = ["baseline=persistence", *STEPS, *words]
    outcome = run("predict", *data, *here, "at=2020-01-01T05:00", "output=a.nc")
    assert outcome.code == code and message in outcome.err and not Path("a.nc").exists()
    outcome = run("evaluate", *data, *EVALUATE, *here, WHOLE)
    assert outcome.code == code and message in outcome.err and not Path("scores").exists()


def test_other_sums_are_another_forecast_and_none_leave_older_ones_as_they_are(
    run: Run, data: list[str]
) -> None:
    words = ["predict", *data, "baseline=zero", *STEPS, "at=2020-01-01T05:00", "output=a.nc"]
    assert run(*words).code == 0
    first = Path("a.nc").read_bytes()
    assert '"accumulations"' not in open_forecast("a.nc").attrs["config"]
    assert run(*words, "accumulations=[]").code == 0 and Path("a.nc").read_bytes() == first
    assert run(*words, "accumulations=[10]").code == 0
    assert (open_forecast("a.nc")["accumulation_10min"].values[1:] == 0).any()


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["baseline=persistence"], WITH_MEMBERS),
        (["baseline=steps_mean"], WITH_MEMBERS),
        (["baseline=lagrangian_probability"], "ensemble=20"),
        (["baseline=steps"], None),
        (["baseline=lagrangian_probability", "ensemble=5"], None),
    ],
)
def test_amounts_are_for_members_of_a_forecast(
    words: list[str], advice: str | None, run: Run, data: list[str]
) -> None:
    outcome = run("predict", "--check", *data, *STEPS, *SUMS, *words)
    assert outcome.code == (78 if advice else 0)
    assert advice is None or f"this forecast has none; set {advice}, or leave it out" in outcome.err
