"""Baselines from file to file: all of them through `nowcast predict`, and their scores on real
radar.
"""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import SPLITS, Outcome

from nowcast.baselines import RECORDS
from nowcast.factories.baselines import mean_over_time
from nowcast.forecast import memory
from nowcast.forecast.baselines.building import build_baseline
from nowcast.forecast.dataset import open_forecast
from nowcast.periods import Period
from nowcast.radar import open_grid
from nowcast.radar.placing.place import pixel_km
from nowcast.radar.synthetic import synthetic_grid
from nowcast.sequences.packed import pack

Run = Callable[..., Outcome]
RADOLAN = Path(__file__).parents[2] / "data" / "radolan.nc"
NEWEST = np.datetime64("2020-01-01T07:55")
BY_PYSTEPS = ("sprog", "steps", "steps_mean", "linda", "anvil")
STEPS = ("input_steps=4", "lead_steps=3")


def members(name: str) -> list[str]:
    """Only the ensemble of STEPS has members."""
    return ["members=3"] if name.startswith("steps") else []


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        "data=radar",
        f"data.path={radar_file}",
        f"data.cache={tmp_path}/cache",
        "device=cpu",
        "output=forecast.nc",
    ]


def needs_pysteps(name: str) -> None:
    if name in BY_PYSTEPS and find_spec("pysteps") is None:
        pytest.skip("pysteps is not installed")


def rates_of(radar_file: Path) -> xr.DataArray:
    return open_grid(radar_file)["precipitation_rate"]


@pytest.mark.parametrize("name", RECORDS)
def test_each_is_written_as_a_forecast_file(
    name: str, run: Run, data: list[str], radar_file: Path
) -> None:
    needs_pysteps(name)
    outcome = run("predict", f"model={name}", *STEPS, *members(name), *SPLITS, *data)
    assert (outcome.code, outcome.out) == (0, "")
    assert [line.split()[1] for line in outcome.err.splitlines()][-1] == "forecast"
    forecast = open_forecast("forecast.nc")
    rate = forecast["precipitation_rate"]
    assert rate.sizes == (
        {"time": 3, "y": 34, "x": 41} | ({"realization": 3} if name == "steps" else {})
    )
    assert forecast["forecast_reference_time"].values == NEWEST and forecast[
        "lead_time"
    ].values.tolist() == [5, 10, 15]
    assert float(rate.min()) >= 0 and rate.notnull().mean() > 0.5
    assert forecast.attrs["method"] == name and "learned" not in forecast.attrs["source"]
    assert not {"checkpoint", "checkpoint_sha256", "checkpoint_versions"} & set(forecast.attrs)
    assert json.loads(forecast.attrs["input_times"])[-1] == "2020-01-01T07:55:00Z"
    newest = rates_of(radar_file)[-1].values
    if name == "persistence":
        np.testing.assert_array_equal(rate[2], newest)
    if name == "zero":
        assert float(rate.max()) == 0
    if name == "climatology":
        train = rates_of(radar_file)[:48].values.astype(float)
        covered = (~np.isnan(train)).sum(axis=0)
        expected = np.where(covered > 0, np.nansum(train, axis=0) / np.maximum(covered, 1), np.nan)
        np.testing.assert_allclose(rate[1], expected, rtol=1e-5)
        assert np.isfinite(expected).any()


def test_probabilities_are_written_by_the_baseline_that_has_some(run: Run, data: list[str]) -> None:
    pytest.importorskip("cv2")
    assert run("predict", "model=lagrangian_probability", *STEPS, *data).code == 0
    forecast = open_forecast("forecast.nc")
    assert forecast["probability"].dims == ("time", "threshold", "y", "x")
    likely = forecast["probability"].sel(threshold=1.0) >= 0.5
    rate = forecast["precipitation_rate"]
    known = rate.notnull()
    agree = (likely == (rate >= 1.0)).where(known)
    assert known.any() and likely.any() and agree.mean() > 0.99  # but for rounding in the file
    assert "Lagrangian probabilities" in forecast.attrs["source"]
    assert run("predict", "model=persistence", *STEPS, *data, "output=plain.nc").code == 0
    assert "probability" not in open_forecast("plain.nc")


@pytest.mark.parametrize("name", ["extrapolation", "steps"])
def test_the_file_holds_what_the_baseline_makes_of_these_frames(
    name: str, run: Run, data: list[str], radar_file: Path
) -> None:
    needs_pysteps(name)
    assert (
        run(
            "predict",
            f"baseline={name}",
            *STEPS,
            *members(name),
            *data,
            "at=2020-01-01T05:00",
            "seed=4",
        ).code
        == 0
    )
    grid = open_grid(radar_file)
    past = grid["precipitation_rate"].sel(time=slice("2020-01-01T04:45", "2020-01-01T05:00")).values
    made = build_baseline(
        name, input_steps=4, lead_steps=3, timestep_minutes=5.0, pixel_km=pixel_km(grid), members=3,
        seed=4
    )  # fmt: skip
    import torch

    rates = made(torch.from_numpy(past)[None, :, None])[0].numpy()
    np.testing.assert_array_equal(
        open_forecast("forecast.nc")["precipitation_rate"].values,
        rates.squeeze(1) if name != "steps" else rates,
    )
    assert "seed 4" in open_forecast("forecast.nc").attrs["source"] or name != "steps"


def test_steps_and_spacing_are_those_of_a_checkpoint_where_one_is_given(
    run: Run, data: list[str], trained: Path
) -> None:
    checkpoint = f"checkpoint={trained}/best.pt"
    assert run("predict", "model=persistence", checkpoint, *data).code == 0
    forecast = open_forecast("forecast.nc")
    assert (
        forecast["lead_time"].values.tolist() == [5, 10, 15, 20]
        and "checkpoint_sha256" not in forecast.attrs
    )
    assert len(json.loads(forecast.attrs["input_times"])) == 3
    for key, message in (
        ("input_steps", "input_steps: is for baselines without a checkpoint"),
        ("lead_steps", "best.pt forecasts 4 frames; leave it out"),
    ):
        outcome = run("predict", "model=persistence", checkpoint, *data, f"{key}=2")
        assert outcome.code == 78 and message in outcome.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ["model=persistence", "lead_steps=3"],
            78,
            "input_steps: persistence has no checkpoint to take this from",
        ),
        (
            ["model=zero", "input_steps=3"],
            78,
            "lead_steps: zero has no checkpoint to take this from",
        ),
        (
            ["model=rover", "input_steps=3", "lead_steps=3"],
            78,
            "baseline: 'rover' is not one of persistence",
        ),
        (
            ["input_steps=3", "lead_steps=3"],
            78,
            "input_steps: is for baselines, and none is given",
        ),
        (
            ["model=climatology", "input_steps=3", "lead_steps=3"],
            78,
            "data.train: climatology is the mean over these days",
        ),
        (
            ["model=zero", "input_steps=3", "lead_steps=3", "at=2020-01-02"],
            66,
            "no frame at 2020-01-02T00:00",
        ),
    ],
)
def test_what_is_not_given_is_named(
    run: Run, data: list[str], words: list[str], code: int, says: str
) -> None:
    outcome = run("predict", *data, *words)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1)
    assert says in outcome.err
    assert not Path("forecast.nc").exists()


@pytest.mark.parametrize("name", BY_PYSTEPS)
def test_without_pysteps_it_says_what_to_install(
    name: str, run: Run, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pysteps", None)
    outcome = run("predict", f"model={name}", *STEPS, *members(name), *data)
    assert (outcome.code, outcome.err.count("\n")) == (69, 1)
    assert f"{name}: needs pysteps: pip install 'nowcast-radar[baselines]'" in outcome.err


def test_only_those_that_see_motion_need_every_frame(
    run: Run, data: list[str], radar_file: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.drop_sel(time=NEWEST - np.timedelta64(10, "m")).to_netcdf("gap.nc", engine="netcdf4")
    words = [*data, *STEPS, "data.path=gap.nc"]
    for name in ("persistence", "zero"):
        assert run("predict", f"model={name}", *words).code == 0
    assert json.loads(open_forecast("forecast.nc").attrs["missing_input_times"]) == [
        "2020-01-01T07:45:00Z"
    ]
    assert run("predict", "model=persistence", *words, "at=2020-01-01T07:45").code == 66
    outcome = run("predict", "model=extrapolation", *words)
    assert (
        outcome.code == 66
        and "no frame at 2020-01-01T07:45 UTC" in outcome.err
        and "missing_frames=" not in outcome.err
    )


def test_a_dry_case_says_what_stands_in(run: Run, data: list[str], radar_file: Path) -> None:
    needs_pysteps("sprog")
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        dry = whole.load()
    rate = next(name for name in dry.data_vars if dry[name].ndim == 3)
    (dry.assign({rate: dry[rate].where(dry[rate].isnull(), 0)})).to_netcdf(
        "dry.nc", engine="netcdf4"
    )
    outcome = run("predict", "model=sprog", *data, *STEPS, "data.path=dry.nc")
    assert (
        outcome.code == 0
        and outcome.err.count("\n") == 2
        and outcome.err.splitlines()[1].endswith("the rain is extrapolated unchanged")
    )
    forecast = open_forecast("forecast.nc")
    assert (
        float(forecast["precipitation_rate"].max()) == 0
        and "too little rain" in forecast.attrs["remarks"]
    )


def test_of_a_pattern_of_times_the_spacing_is_that_of_its_files(
    run: Run, data: list[str], radar_file: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        for k in range(60, 66):
            one = whole.isel(time=[k])
            one.to_netcdf(f"{one.time.dt.strftime('%Y%m%d%H%M').item()}.nc", engine="netcdf4")
    words = [
        *data,
        "data.path='%Y%m%d%H%M.nc'",
        "data.accumulation_minutes=5",
        "input_steps=2",
        "lead_steps=2",
        "model=persistence",
    ]
    for at, minutes in (("null", 25), ("2020-01-01T05:10", 10)):
        assert run("predict", *words, f"at={at}").code == 0
        forecast = open_forecast("forecast.nc")
        assert forecast["lead_time"].values.tolist() == [5, 10]
        assert forecast["forecast_reference_time"].values == np.datetime64(
            "2020-01-01T05:00"
        ) + np.timedelta64(minutes, "m")


def test_the_mean_over_time_is_of_what_is_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = synthetic_grid(5, 6, 7, seed=1).load()
    rate = grid["precipitation_rate"].values
    rate[:, 0, 0] = np.nan
    rate[1:, 2, 3], rate[0, 2, 3] = np.nan, 4.5
    times = grid["time"].values
    packed = pack(grid, Period(times[0], times[-1]), tmp_path, "a source")
    # two frames at a time
    monkeypatch.setattr("nowcast.factories.baselines._BLOCK_BYTES", 2 * 6 * 7 * 4)
    mean = mean_over_time(packed)
    assert np.isnan(mean[0, 0]) and mean[2, 3] == 4.5
    rate[:, 0, 0] = rate[:, 2, 3] = 0
    mean[0, 0] = mean[2, 3] = 0
    np.testing.assert_allclose(mean, rate.mean(axis=0, dtype=np.float64))


def test_the_size_of_a_pixel_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """A degree is 111.19 km on a sphere of 6371 km, and half of that along the parallel of 60°."""
    rate = {"precipitation_rate": (("y", "x"), np.zeros((3, 4)))}
    metres = {"units": "m"}
    projected = xr.Dataset(
        rate, {"x": ("x", np.arange(4) * 2000.0, metres), "y": ("y", np.arange(3) * 2000.0, metres)}
    )
    assert pixel_km(projected) == 2.0
    degrees = {"units": "degrees_north"}
    east, north = np.arange(4) / 100, 60 + np.arange(-1, 2) / 100
    assert pixel_km(
        xr.Dataset(rate, {"x": ("x", east, degrees), "y": ("y", north, degrees)})
    ) == pytest.approx(0.556, abs=1e-3)
    longitude, latitude = np.meshgrid(east, north)
    everywhere = xr.Dataset(
        rate, {"latitude": (("y", "x"), latitude), "longitude": (("y", "x"), longitude)}
    )
    assert pixel_km(everywhere) == pytest.approx(0.556, abs=1e-3)
    assert caplog.messages == []
    assert pixel_km(xr.Dataset(rate)) == pixel_km(None) == 1.0
    assert "do not give the size of a pixel" in caplog.text


@pytest.mark.usefixtures("without_pictures")
def test_the_radolan_chain(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean CSI over 5 to 75 min of persistence and of pysteps' extrapolation on 17 to 20 May
    2018, windows of at least 5 % wet pixels, as measured with pysteps and NumPy alone.

    Those windows are 20 frames that share none, from midnight on: the first reference time is that
    of its fifth frame. Others of these days differ by 0.02, so it must be these.
    """
    if not RADOLAN.exists():
        pytest.skip("data/radolan.nc is not at hand; 'nowcast fetch' brings it")
    monkeypatch.chdir(tmp_path)
    outcome = run(
        "evaluate", "baseline=[persistence,extrapolation]", "input_steps=5", "lead_steps=15",
        "stride=20", "min_wet_share=0.05", "period=['2018-05-17T00:20','2018-05-20T22:40']",
        "thresholds=[0.5,1,2,5,10]", "common_pixels=false", "fss_scales=[]", "resamples=0",
        "data=radolan", f"data.path={RADOLAN}", f"data.cache={tmp_path}/cache", "device=cpu",
        "output=scores",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with xr.open_dataset("scores/scores.nc", engine="netcdf4") as scores:
        csi = scores["csi_mean"].sel(part="all")
        np.testing.assert_allclose(
            csi.sel(forecast="extrapolation"), [0.454, 0.416, 0.366, 0.223, 0.095], atol=0.01
        )
        np.testing.assert_allclose(
            csi.sel(forecast="persistence"), [0.310, 0.261, 0.210, 0.116, 0.032], atol=0.01
        )
        by_lead = scores["csi"].sel(part="all", forecast="extrapolation", lead_time=[5, 30, 60, 75])
        np.testing.assert_allclose(
            by_lead.sel(threshold=0.5), [0.763, 0.468, 0.344, 0.315], atol=0.01
        )
        np.testing.assert_allclose(
            by_lead.sel(threshold=5), [0.584, 0.218, 0.120, 0.089], atol=0.01
        )


def test_more_frames_than_memory_holds_are_refused_before_they_are_made(
    run: Callable[..., Outcome],
    radar_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device=None: 100_000_000)
    words = (
        "input_steps=3",
        "lead_steps=10000",
        "data=radar",
        f"data.path={radar_file}",
        f"output={tmp_path}/a.nc",
    )
    outcome = run("predict", "model=persistence", *words)
    assert outcome.code == 69 and "10000 frames of [34, 41] need 0.056 GB" in outcome.err
    assert list(tmp_path.iterdir()) == []
