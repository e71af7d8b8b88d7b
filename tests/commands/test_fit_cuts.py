"""`nowcast evaluate fit_cuts=true`: baselines with cuts fitted on validation days."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.evaluation.cuts import fit_all
from nowcast.verification.counts_files import open_counts

Run = Callable[..., Outcome]
PERIOD = "period=[2020-01-01T06:00,2020-01-01T07:59]"
VALIDATION = "data.validation=[2020-01-01T02:00,2020-01-01T04:55]"
DAYS = "2020-01-01T02:00 to 2020-01-01T04:55 UTC"

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def words(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        "evaluate", "data=radar", f"data.path={radar_file}", f"data.cache={tmp_path}/cache",
        "device=cpu", "precision=fp32", "thresholds=[0.5,2]", "stride=4", "resamples=0",
        "fss_scales=[]", "output=scores", "fit_cuts=true",
    ]  # fmt: skip


STEPS = ("input_steps=4", "lead_steps=3")


def test_both_are_scored_and_it_is_said_on_which_days_cuts_were_fitted(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    times = []

    def noting(source, *more):  # type: ignore[no-untyped-def]
        times.extend(source.times)
        return fit_all(source, *more)

    monkeypatch.setattr("nowcast.evaluation.validation_cases.fit_all", noting)
    baselines = "baseline=[persistence,lagrangian_probability]"
    outcome = run(*words, baselines, *STEPS, PERIOD, VALIDATION)
    assert outcome.code == 0, outcome.err
    # all frames, from 4 past to 3 ahead, lie within the days, every 20 minutes
    assert [str(time)[11:16] for time in times] == [
        "02:20", "02:40", "03:00", "03:20", "03:40", "04:00", "04:20", "04:40",
    ]  # fmt: skip
    table = pd.read_csv("scores/scores.csv")
    names = [
        "persistence", "persistence (cuts)", "lagrangian_probability",
        "lagrangian_probability (cuts)",
    ]  # fmt: skip
    assert table["forecast"].unique().tolist() == names
    days = table.groupby("forecast")["cuts_fitted_on"].unique()
    for name in names:
        assert days[name].tolist() == [f"{DAYS}, 8 cases"] if "(cuts)" in name else [None]
    assert f"fitting cuts of persistence, lagrangian_probability on {DAYS}" in outcome.err
    assert f"with cuts fitted on {DAYS}" in outcome.out
    rows = [line.split()[:3] for line in outcome.out.splitlines()]
    assert rows.index(["bias", "≥", "0.5"]) - rows.index(["CSI", "≥", "2"]) == 2
    report = Path("scores/report.html").read_text()
    assert f"were fitted on {DAYS}" in report and "<th>bias" in report.replace(' scope="col"', "")


def test_cuts_are_fitted_on_the_pixels_that_are_scored(
    run: Run, words: list[str], radar_file: Path
) -> None:
    """A part of the grid that is masked out is as one that was never there."""
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(y=slice(5, 25), x=slice(10, 30)).load().to_netcdf("part.nc", engine="netcdf4")
        inside = np.zeros(whole["precipitation_rate"].shape[1:], np.int8)
        axes = {axis: whole[axis].load() for axis in ("y", "x")}
    inside[5:25, 10:30] = 1
    xr.Dataset({"basin": (("y", "x"), inside)}, axes).to_netcdf("basin.nc", engine="netcdf4")
    words = [*words, "baseline=persistence", *STEPS, PERIOD, VALIDATION]
    masked = run(*words, "mask=basin.nc", "mask_variable=basin")
    assert masked.code == 0, masked.err
    scores = Path("scores/scores.csv").read_text()
    assert run(*words, "data.path=part.nc").code == 0
    pd.testing.assert_frame_equal(
        pd.read_csv("scores/scores.csv"), pd.read_csv(StringIO(scores)), rtol=1e-6
    )


def test_a_trained_model_has_its_own_cuts(run: Run, words: list[str], trained: Path) -> None:
    checkpoint = f"checkpoint={trained}/best.pt"
    outcome = run(*words, checkpoint, "baseline=persistence", PERIOD, VALIDATION)
    assert outcome.code == 0, outcome.err
    names = open_counts("scores/counts.nc")["forecast"].values.tolist()
    assert names == ["model", "persistence", "persistence (cuts)"]


def test_without_fitted_cuts_nothing_speaks_of_them(run: Run, words: list[str]) -> None:
    assert run(*words[:-1], "baseline=persistence", *STEPS, PERIOD).code == 0
    assert "cuts" not in Path("scores/scores.csv").read_text()
    assert "cuts_fitted_on" not in open_counts("scores/counts.nc").attrs


def test_counts_with_other_cuts_are_not_added(run: Run, words: list[str]) -> None:
    first = ["baseline=persistence", *STEPS, "period=[2020-01-01T06:00,2020-01-01T06:59]"]
    second = [*first[:-1], "period=[2020-01-01T07:00,2020-01-01T07:30]"]
    assert run(*words, *first, VALIDATION, "output=a").code == 0
    other = "data.validation=[2020-01-01T01:00,2020-01-01T04:55]"
    assert run(*words, *second, other, "output=b").code == 0
    outcome = run("evaluate", "counts=*/counts.nc", "resamples=0", "output=both")
    assert outcome.code == 65 and "cuts_fitted_on differ" in outcome.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["baseline=persistence"], "data.validation: fit_cuts=true fits cuts on these days"),
        (
            ["baseline=persistence", "data.validation=[2020-01-01T05:00,2020-01-01T06:10]"],
            "data.validation (2020-01-01T05:00 to 2020-01-01T06:10) and period",
        ),
        (
            # the last case of the period is observed until 08:14
            ["baseline=persistence", "data.validation=[2020-01-01T08:10,2020-01-01T09:00]"],
            "overlap; give each its own days",
        ),
        (
            ["baseline=persistence", "data.validation=[2020-01-01T05:00,2020-01-01T05:20]"],
            "data.validation: no case of 7 frames",
        ),
    ],
)
def test_days_that_cuts_cannot_be_fitted_on_are_refused(
    run: Run, words: list[str], more: list[str], says: str
) -> None:
    outcome = run(*words, *STEPS, PERIOD, *more)
    assert outcome.code in (65, 78) and says in outcome.err and not Path("scores").exists()


def test_without_a_baseline_there_is_nothing_to_fit(
    run: Run, words: list[str], trained: Path
) -> None:
    outcome = run(*words, f"checkpoint={trained}/best.pt", "baseline=null", PERIOD, VALIDATION)
    assert outcome.code == 78 and "fit_cuts: is for baselines" in outcome.err
