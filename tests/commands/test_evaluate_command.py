"""`nowcast evaluate` as a person uses it: baselines, months that are added up, sub-domains, the
report.
"""

import csv
import errno
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.commands import evaluate as evaluating
from nowcast.config.effects import default_values
from nowcast.config.evaluate import EFFECTS, EvaluateConfig
from nowcast.files import only_writer

Run = Callable[..., Outcome]

# A case belongs to the period of its reference time, so that no case is lost between two periods.
FIRST_HOUR, SECOND_HOUR = (
    "period=['2020-01-01T05:00','2020-01-01T06:14']",
    "period=['2020-01-01T06:15','2020-01-01T07:30']",
)
BOTH_HOURS = "period=['2020-01-01T05:00','2020-01-01T07:30']"
STEPS = ("input_steps=3", "lead_steps=3")

undrawn = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        "data=radar",
        f"data.path={radar_file}",
        f"data.cache={tmp_path}/cache",
        "device=cpu",
        "precision=fp32",
        "thresholds=[0.5,2]",
    ]


def opened(path: str) -> xr.Dataset:
    with xr.open_dataset(path, engine="netcdf4") as file:
        return file.load()


def assert_equal(a: xr.Dataset, b: xr.Dataset) -> None:
    """Counts exactly; sums of floating-point numbers up to the order of summing."""
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        if a[name].dtype.kind == "f":
            np.testing.assert_allclose(
                a[name].values, b[name].values, rtol=1e-6, atol=1e-9, err_msg=str(name)
            )
        else:
            np.testing.assert_array_equal(a[name].values, b[name].values, str(name))


@undrawn
def test_two_periods_added_are_scored_as_one(run: Run, data: list[str], trained: Path) -> None:
    evaluate = [
        "evaluate",
        f"checkpoint={trained}/best.pt",
        *data,
        "stride=5",
        "resamples=50",
        "fss_scales=[3,5]",
        "batch_size=1",
    ]
    assert run(*evaluate, FIRST_HOUR, "output=a").code == 0
    assert run(*evaluate, SECOND_HOUR, "output=b").code == 0
    assert "whole/frames.png" in run(*evaluate, BOTH_HOURS, "output=whole").out.splitlines()
    outcome = run("evaluate", "counts='[ab]/counts.nc'", "resamples=50", "output=sum")
    assert (outcome.code, outcome.err) == (0, "")
    assert_equal(opened("sum/counts.nc"), opened("whole/counts.nc"))
    assert_equal(opened("sum/scores.nc"), opened("whole/scores.nc"))
    assert json.loads(opened("sum/counts.nc").attrs["settings"])["counts"] == [
        "a/counts.nc",
        "b/counts.nc",
    ]
    assert Path("sum/report.html").exists() and "frames.png" not in outcome.out
    outcome = run("evaluate", "counts=a/counts.nc", "output=a")
    assert outcome.code == 78 and "a/counts.nc is one of the counts to be added" in outcome.err
    outcome = run("evaluate", "counts='[ab]/none.nc'", "output=sum")
    assert outcome.code == 66 and "none.nc: no counts files found" in outcome.err
    outcome = run("evaluate", "counts='{a,whole}/counts.nc'", "output=sum")
    assert outcome.code == 66


@undrawn
def test_baselines_are_scored_without_a_model(run: Run, data: list[str], radar_file: Path) -> None:
    words = [
        "evaluate",
        "baseline=[persistence,zero]",
        *data,
        BOTH_HOURS,
        "stride=3",
        "resamples=0",
    ]
    outcome = run(*words)
    assert (
        outcome.code == 78
        and "to score only baselines give input_steps and lead_steps" in outcome.err
    )
    assert run(*words, *STEPS, "output=scores").code == 0
    scores = opened("scores/scores.nc").sel(part="all")
    assert scores["forecast"].values.tolist() == ["persistence", "zero"]
    assert np.nan_to_num(scores["csi"].sel(forecast="zero").values).max() == 0
    np.testing.assert_array_equal(scores["mean_error"].sel(forecast="zero") < 0, True)
    assert scores["hits"].sel(forecast="persistence").sum() > 0


def test_the_frames_of_a_case_have_their_place_and_valid_times(
    run: Run, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, Any]] = []
    reported: list[tuple[Any, ...]] = []

    def draw(path: Path, *frames: Any, **look: Any) -> Path:
        drawn.append(look)
        path.write_bytes(b"")
        return path

    def report(path: Path, *values: Any) -> Path:
        reported.append(values)
        path.write_text("")
        return path

    monkeypatch.setattr(evaluating, "draw_frames", draw)
    monkeypatch.setattr(evaluating, "draw_csi", lambda scores, path, foot: draw(path))
    monkeypatch.setattr(evaluating, "write_report", report)
    words = ["baseline=[persistence]", *data, *STEPS, FIRST_HOUR, "stride=5", "resamples=0"]
    assert run("evaluate", *words, "output=scores").code == 0
    look = drawn[-1]
    longitude, latitude = look["degrees"]
    assert 9 < longitude.mean() < 11 and 50 < latitude.mean() < 52
    assert reported[0][-1] is look["degrees"]
    assert look["reference_time"].isoformat()[:14] in ("2020-01-01T05:", "2020-01-01T06:")


@undrawn
def test_climatology_is_the_mean_rate_of_the_training_days(
    run: Run, data: list[str], radar_file: Path
) -> None:
    words = [
        "evaluate",
        "baseline=climatology",
        *data,
        BOTH_HOURS,
        *STEPS,
        "stride=6",
        "resamples=0",
    ]
    outcome = run(*words)
    assert outcome.code == 78 and "data.train" in outcome.err
    assert run(*words, "data.train=['2020-01-01T00:00','2020-01-01T03:55']").code == 0
    from nowcast.radar import open_grid

    rates = open_grid(radar_file)["precipitation_rate"].values
    covered = (~np.isnan(rates[:48])).sum(axis=0)
    climate = np.where(covered, np.nansum(rates[:48], axis=0), np.nan) / np.maximum(covered, 1)
    observed = [rates[reference + 1 : reference + 4] for reference in range(60, 91, 6)]
    error = np.nanmean([np.abs(climate - frames).astype(float) for frames in observed])
    assert float(
        opened("scores/scores.nc")["mae_pooled"].sel(part="all", forecast="climatology")
    ) == pytest.approx(error, rel=1e-5)


@undrawn
def test_a_sub_domain_is_scored_as_if_there_were_nothing_else(
    run: Run, data: list[str], radar_file: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        part = whole.isel(y=slice(5, 25), x=slice(10, 30)).load()
        shape, axes = (
            whole["precipitation_rate"].shape[1:],
            {axis: whole[axis].load() for axis in ("y", "x")},
        )
    part.to_netcdf("part.nc", engine="netcdf4")
    inside = np.zeros(shape, np.int8)
    inside[5:25, 10:30] = 1
    xr.Dataset({"basin": (("y", "x"), inside)}, axes).to_netcdf("basin.nc", engine="netcdf4")
    words = [
        "evaluate",
        "baseline=persistence",
        *data,
        BOTH_HOURS,
        *STEPS,
        "stride=6",
        "resamples=0",
        "fss_scales=[3]",
    ]
    assert run(*words, "mask=basin.nc", "mask_variable=basin", "output=masked").code == 0
    assert run(*words, "data.path=part.nc", "output=cropped").code == 0
    masked, cropped = opened("masked/scores.nc"), opened("cropped/scores.nc")
    for name in (
        "hits",
        "false_alarms",
        "misses",
        "correct_negatives",
        "mse",
        "pearson",
        "fss",
        "forecast_power",
    ):
        np.testing.assert_allclose(
            masked[name].sel(part="all"), cropped[name].sel(part="all"), rtol=1e-6
        )
    assert int(opened("masked/counts.nc")["total"].sum()) == 20 * 20 * 3 * int(
        masked["cases"].sel(part="all")
    )
    outcome = run(*words, "mask=basin.nc", "mask_variable=hill")
    assert outcome.code == 65 and "basin.nc: has no variable 'hill'" in outcome.err
    outcome = run(*words, "region=[100,10,101,11]")
    assert outcome.code == 65 and "no pixel lies in the region [100" in outcome.err
    assert run(*words, "region=[5,1,4,2]").code == 78


@undrawn
def test_a_box_of_degrees_is_a_sub_domain(run: Run, data: list[str], radar_file: Path) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as file:
        from nowcast.radar import open_grid
        from nowcast.radar.placing.cropping import degrees_of
        from nowcast.radar.placing.georeference import place_of_grid

        longitude, latitude = degrees_of(place_of_grid(open_grid(radar_file)), "here")
        shape = file["precipitation_rate"].shape[1:]
    longitude, latitude = np.broadcast_to(longitude, shape), np.broadcast_to(latitude, shape)
    west, north = float(longitude[17, 20]), float(latitude[17, 20])
    box = [west, float(latitude.min()) - 1, float(longitude.max()) + 1, north]
    words = [
        "evaluate",
        "baseline=persistence",
        *data,
        BOTH_HOURS,
        *STEPS,
        "stride=6",
        "resamples=0",
        "fss_scales=[]",
    ]
    assert run(*words, f"region={box}", "output=box").code == 0
    counts = opened("box/counts.nc")
    inside = int(((longitude >= west) & (latitude <= north)).sum())
    assert 0 < inside < shape[0] * shape[1]
    assert int(counts["total"].sum()) == inside * 3 * int(counts["cases"].sum())


def test_the_table_has_all_parts_and_the_report_stands_alone(
    run: Run, data: list[str], trained: Path
) -> None:
    words = [
        "evaluate",
        f"checkpoint={trained}/best.pt",
        *data,
        BOTH_HOURS,
        "stride=3",
        "resamples=50",
        "baseline=[persistence,zero]",
    ]
    outcome = run(*words)
    assert outcome.code == 0
    with open("scores/scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["part"] for row in rows} >= {"all", "day 2020-01-01", "hour 05"}
    assert {row["forecast"] for row in rows} == {"model", "persistence", "zero"}
    page = Path("scores/report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page), (
        "nothing outside the file is asked for"
    )
    assert all(word in page for word in ("persistence", "best", "worst", "Content-Security-Policy"))
    assert outcome.out.splitlines()[-1] == "scores/report.html"
    assert all(Path(f"scores/{name}.png").stat().st_size > 10_000 for name in ("csi", "frames"))


def test_what_cannot_be_scored_together_is_refused_before_any_work(
    run: Run, data: list[str], trained: Path
) -> None:
    for words, message in {
        ("baseline=[persistence,persistence]",): "baseline: give one or several different names",
        ("baseline=radar",): "baseline: 'radar' is not one of",
        ("baseline=null",): "give one of them to score",
        (
            "baseline=zero",
            f"checkpoint={trained}/best.pt",
            "input_steps=3",
        ): "input_steps: is for baselines without a checkpoint",
        (
            f"checkpoint={trained}/best.pt",
            BOTH_HOURS,
            "lead_steps=3",
        ): f"lead_steps: the model of {trained}/best.pt forecasts 4 frames; leave it out",
        (
            "baseline=zero",
            f"checkpoint={trained}/best.pt",
            "counts=a.nc",
        ): "checkpoint, counts: give only one of them",
        ("baseline=zero", "fss_scales=[4]"): "fss_scales: must be an odd number",
        (
            "baseline=zero",
            "interval_blocks=week",
        ): "interval_blocks: 'week' is not one of day, event",
        (
            "baseline=zero",
            "region=[1,2,3,4]",
            "mask=a.nc",
            "mask_variable=b",
        ): "region, mask: give only one of them",
        ("baseline=zero", "mask=a.nc"): "mask, mask_variable: give both",
        ("baseline=zero", "drop_frames=1"): "drop_frames: is for a checkpoint",
        ("baseline=zero", "members=3"): "members: is for the ensemble of steps",
        (
            f"checkpoint={trained}/best.pt",
            BOTH_HOURS,
            "missing_frames=3",
        ): "missing_frames: the model sees 3 frames",
    }.items():
        outcome = run("evaluate", *data, *words)
        assert (outcome.code, outcome.err.count("\n")) == (78, 1), outcome.err
        assert message in outcome.err


FORECASTS, COUNTS = "has no effect on existing forecast files", "has no effect on existing counts"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("forecasts=a.nc", "lead_steps=3"), f"lead_steps: {FORECASTS}"),
        (
            ("forecasts=a.nc", "min_wet_share=0.9", "stride=6"),
            f"stride, min_wet_share: {FORECASTS}",
        ),
        (
            ("forecasts=a.nc", "device=cpu", "period=[2020-01-01,2020-01-01]"),
            f"period, device: {FORECASTS}",
        ),
        (
            ("forecasts=a.nc", "drop_frames=1", "missing_frames=1"),
            f"missing_frames, drop_frames: {FORECASTS}",
        ),
        (
            ("forecasts=a.nc", "input_steps=5"),
            "input_steps: is for baselines that see more than one frame",
        ),
        (("counts=a.nc", "region=[1,2,3,4]"), f"region: {COUNTS}"),
        (
            ("counts=a.nc", "thresholds=[3]", "baseline=[sprog]", "fss_scales=[3]"),
            f"baseline, thresholds, fss_scales: {COUNTS}",
        ),
        (("counts=a.nc", "data=radar", "data.path=b.nc"), f"data: {COUNTS}"),
        (("counts=a.nc", "batch_size=4", "precision=fp32"), f"batch_size, precision: {COUNTS}"),
        # as they are by default
        (("counts=a.nc", "baseline=persistence", "stride=3"), "a.nc: no counts files found"),
        (
            (
                "forecasts=none.nc",
                "data=radolan",
                "thresholds=[1]",
                "region=[1,2,3,4]",
                "common_pixels=false",
            ),
            "none.nc: no forecast files found",
        ),
    ],
)
def test_a_key_that_changes_nothing_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("evaluate", *words)
    assert message in outcome.err and outcome.err.count("\n") == 1
    assert outcome.code == (
        66 if any(words in message for words in ("no such", "file there", "found")) else 78
    )


def test_every_key_says_where_it_has_an_effect() -> None:
    assert set(EFFECTS) == {field.name for field in fields(EvaluateConfig)}
    assert set(default_values("evaluate")) >= set(EFFECTS)


def test_a_key_of_a_model_is_refused_where_a_baseline_forecasts(run: Run, data: list[str]) -> None:
    words = [word for word in data if not word.startswith("thresholds")]
    for key, message in {
        "missing_frames=1": "missing_frames: is for a model, and zero is a baseline",
        "max_memory_gb=1": "max_memory_gb: zero runs on the CPU",
        "members=3": "members: is for the ensemble of steps",
        "device=cuda": "device: zero runs on the CPU",
    }.items():
        outcome = run("predict", "model=zero", *words, *STEPS, key)
        assert outcome.code == 78 and message in outcome.err, outcome.err


def with_hole(path: Path, at: int, name: str, *, absent: bool) -> str:
    """The same rain with a frame that is absent, or without a measured pixel."""
    with xr.open_dataset(path, engine="netcdf4") as file:
        rain = file.load()
    if absent:
        rain = rain.isel(time=[k for k in range(rain.sizes["time"]) if k != at])
    else:
        rain["precipitation_rate"][at] = np.nan
    rain.to_netcdf(name, engine="netcdf4")
    return f"data.path={name}"


@undrawn
def test_an_absent_frame_a_blank_one_and_forecast_files_give_one_number(
    run: Run, data: list[str], radar_file: Path
) -> None:
    """Frame 66, 05:30 UTC, is missing: it is the newest of one case, observed in three, an
    older input frame of two.
    """
    period = "period=['2020-01-01T05:10','2020-01-01T05:50']"
    words = [
        "evaluate",
        "baseline=persistence",
        *data,
        *STEPS,
        period,
        "stride=1",
        "resamples=0",
        "fss_scales=[]",
    ]
    for name, absent in (("absent", True), ("blank", False)):
        hole = with_hole(radar_file, 66, f"{name}.nc", absent=absent)
        outcome = run(*words, hole, f"output={name}")
        assert (
            outcome.code == 0
            and "1 of 9 cases left out, the first of 2020-01-01T05:30 UTC" in outcome.err
        )
        scores = opened(f"{name}/scores.nc")
        assert (scores.attrs["cases"], scores.attrs["unscored_cases"]) == (8, 0)
        assert (
            "1 of 9 cases left out" in scores.attrs["remarks"]
            and "1 of 9 cases left out" in Path(name, "report.html").read_text()
        )
        assert opened(f"{name}/counts.nc")["frames"].sum("block").values.tolist() == [[7, 7, 7]]
    hole = "data.path=absent.nc"
    predict = [
        "predict",
        "model=persistence",
        *[word for word in data if not word.startswith("thresholds")],
        hole,
        *STEPS,
    ]
    assert (
        run(*predict, "from=2020-01-01T05:10", "to=2020-01-01T05:50", "output=fc/%H%M.nc").code
        == 66
    )
    data = [word for word in data if not word.startswith(("device", "precision"))]
    assert (
        run(
            "evaluate",
            *data,
            hole,
            "forecasts=fc",
            "baseline=null",
            "resamples=0",
            "fss_scales=[]",
            "output=files",
        ).code
        == 0
    )
    made = {name: opened(f"{name}/counts.nc").drop_attrs() for name in ("absent", "blank", "files")}
    assert_equal(made["absent"], made["blank"])
    assert_equal(made["absent"], made["files"])


@undrawn
def test_a_model_sees_a_missing_input_frame_as_in_predict_or_the_case_is_left_out(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    hole = with_hole(radar_file, 65, "hole.nc", absent=False)
    at = [
        "period=['2020-01-01T05:30','2020-01-01T05:30']",
        "stride=1",
        "resamples=0",
        "fss_scales=[]",
        "baseline=null",
    ]
    words = ["evaluate", f"checkpoint={trained}/best.pt", *data, hole, *at]
    outcome = run(*words)
    assert (
        outcome.code == 65
        and "1 of 1 cases left out" in outcome.err
        and "missing_frames=1" in outcome.err
    )
    assert run(*words, "missing_frames=1", "output=windows").code == 0
    predict = [word for word in data if not word.startswith("thresholds")]
    assert (
        run(
            "predict",
            f"checkpoint={trained}/best.pt",
            *predict,
            hole,
            "at=2020-01-01T05:30",
            "missing_frames=1",
            "output=f.nc",
        ).code
        == 0
    )
    data = [word for word in data if not word.startswith(("device", "precision"))]
    assert (
        run(
            "evaluate",
            *data,
            hole,
            "forecasts=f.nc",
            "baseline=null",
            "resamples=0",
            "fss_scales=[]",
            "output=file",
        ).code
        == 0
    )
    one, other = (opened(f"{name}/counts.nc").drop_attrs() for name in ("windows", "file"))
    assert_equal(one, other)


@undrawn
def test_forecast_files_in_another_order_are_turned_and_without_a_place_it_is_said(
    run: Run, data: list[str]
) -> None:
    predict = [word for word in data if not word.startswith("thresholds")]
    assert (
        run(
            "predict",
            "model=persistence",
            *predict,
            *STEPS,
            "at=2020-01-01T06:00",
            "output=right.nc",
        ).code
        == 0
    )
    with xr.open_dataset("right.nc", engine="netcdf4", decode_timedelta=False) as file:
        right = file.load()
    right.isel(y=slice(None, None, -1), x=slice(None, None, -1)).to_netcdf(
        "turned.nc", engine="netcdf4"
    )
    nowhere = right.drop_vars(
        [name for name in ("x", "y", "latitude", "longitude", "crs") if name in right.variables]
    )
    nowhere["precipitation_rate"].encoding = {}
    nowhere.to_netcdf("nowhere.nc", engine="netcdf4")
    data = [word for word in data if not word.startswith(("device", "precision"))]
    for name, said in (
        ("right", ""),
        ("turned", "rows and columns in the opposite order"),
        ("nowhere", "do not both give the place"),
    ):
        words = [
            "evaluate",
            *data,
            f"forecasts={name}.nc",
            "baseline=null",
            "resamples=0",
            "fss_scales=[]",
            f"output={name}",
        ]
        outcome = run(*words)
        assert outcome.code == 0 and said in outcome.err
        remarks = opened(f"{name}/scores.nc").attrs.get("remarks", "")
        assert said in remarks and bool(remarks) == bool(said)
        assert said in Path(name, "report.html").read_text()
    assert_equal(*(opened(f"{name}/counts.nc").drop_attrs() for name in ("right", "turned")))


def test_of_two_files_from_the_same_time_one_is_too_many(run: Run, data: list[str]) -> None:
    for name in ("persistence", "zero"):
        words = [
            f"model={name}",
            *[word for word in data if not word.startswith("thresholds")],
            *STEPS,
            "at=2020-01-01T06:00",
        ]
        assert run("predict", *words, f"output=forecasts/{name}.nc").code == 0
    data = [word for word in data if not word.startswith(("device", "precision"))]
    outcome = run("evaluate", *data, "forecasts=forecasts", "baseline=null")
    assert outcome.code == 65
    assert (
        "zero.nc: forecasts from 2020-01-01T06:00:00 UTC, like forecasts/persistence.nc"
        in outcome.err
    )


@undrawn
def test_a_period_may_be_one_reference_time(run: Run, data: list[str]) -> None:
    words = ["evaluate", "baseline=persistence", *data, *STEPS, "resamples=0", "fss_scales=[]"]
    outcome = run(*words, "period=[2020-01-01T06:00,2020-01-01T06:00]")
    assert outcome.code == 0, outcome.err
    assert opened("scores/counts.nc")["cases"].sum() == 1
    assert "counts added over 1 case." in outcome.out


@undrawn
def test_files_of_two_evaluations_do_not_mix(
    run: Run, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "evaluate",
        "baseline=zero",
        *data,
        BOTH_HOURS,
        *STEPS,
        "stride=6",
        "resamples=0",
        "fss_scales=[]",
    ]
    assert run(*words).code == 0
    before = {path: path.read_bytes() for path in Path("scores").iterdir()}
    with only_writer("scores"):
        outcome = run(*words)
    assert outcome.code == 75 and "another process is writing" in outcome.err.splitlines()[-1]

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nowcast.commands.evaluate.write_report", full)
    outcome = run(*words, "thresholds=[1]")
    assert outcome.code == 74 and "No space left" in outcome.err
    Path("scores/counts.unfinished.nc").unlink()
    assert {path: path.read_bytes() for path in Path("scores").iterdir()} == before


@undrawn
def test_the_counts_are_kept_if_the_report_cannot_be_written(
    run: Run, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They give the same scores later, and are removed with the next success."""
    settings = [*STEPS, "stride=6", "fss_scales=[]"]
    words = ["evaluate", "baseline=zero", *data, BOTH_HOURS, *settings, "resamples=0"]

    def faulty(*args: object) -> None:
        raise ZeroDivisionError("a fault in a chart")

    with monkeypatch.context() as patched:
        patched.setattr("nowcast.commands.evaluate.write_report", faulty)
        outcome = run(*words)
    kept = "scores/counts.unfinished.nc"
    assert outcome.code == 70 and f"nowcast evaluate counts={kept}" in outcome.err
    assert [str(path) for path in Path("scores").iterdir()] == [kept]
    again = run("evaluate", f"counts={kept}", "resamples=0", "output=scores")
    assert again.code == 0 and not Path(kept).exists(), again.err
    assert run(*words, "output=whole").code == 0
    assert Path("scores/scores.csv").read_bytes() == Path("whole/scores.csv").read_bytes()


def forecast_by(run: Run, data: list[str], method: str, time: str) -> None:
    """A forecast file that says that this method made it, as a chain of methods leaves it."""
    words = [
        "model=persistence",
        *[word for word in data if not word.startswith("thresholds")],
        *STEPS,
    ]
    path = f"forecasts/{method}_{time.replace(':', '')}.nc"
    assert run("predict", *words, f"at=2020-01-01T{time}", f"output={path}").code == 0
    with netCDF4.Dataset(path, "a") as file:
        file.method = method


@undrawn
def test_a_chain_of_methods_is_scored_as_what_it_is(run: Run, data: list[str]) -> None:
    for time, method in {
        "05:30": "persistence",
        "05:45": "extrapolation",
        "06:00": "persistence",
    }.items():
        forecast_by(run, data, method, time)
    data = [word for word in data if not word.startswith(("device", "precision"))]
    words = ["evaluate", *data, "baseline=zero", "resamples=0"]
    outcome = run(*words, "forecasts=forecasts", "output=all")
    assert outcome.code == 0, outcome.err
    assert (
        "3 forecasts by mixed methods, scored together as chain: 2 by persistence, 1 by extrapolation"
        in outcome.err
    )
    for method in ("persistence", "extrapolation"):
        outcome = run(*words, f"forecasts='forecasts/{method}*.nc'", f"output={method}")
        assert outcome.code == 0 and "scored together" not in outcome.err
    scores = {
        name: opened(f"{name}/scores.nc").sel(part="all")
        for name in ("all", "persistence", "extrapolation")
    }
    named = {name: str(one["forecast"].values[0]) for name, one in scores.items()}
    assert named == {"all": "chain", "persistence": "persistence", "extrapolation": "extrapolation"}
    hits = {name: one["hits"].sel(forecast=named[name]).values for name, one in scores.items()}
    np.testing.assert_array_equal(hits["all"], hits["persistence"] + hits["extrapolation"])
    assert hits["persistence"].sum() > 0 and hits["extrapolation"].sum() > 0


@undrawn
def test_a_method_may_stand_beside_a_chain_but_not_beside_itself(run: Run, data: list[str]) -> None:
    forecast_by(run, data, "persistence", "05:30")
    forecast_by(run, data, "extrapolation", "05:45")
    data = [word for word in data if not word.startswith(("device", "precision"))]
    words = ["evaluate", *data, "baseline=persistence", "resamples=0"]
    assert run(*words, "forecasts=forecasts").code == 0
    assert opened("scores/scores.nc")["forecast"].values.tolist() == ["chain", "persistence"]
    outcome = run(*words, "forecasts='forecasts/persistence*.nc'")
    assert (outcome.code, outcome.err.count("\n")) == (78, 1)
    assert "was already made by persistence" in outcome.err
