"""nowcast within pysteps: our method and our forecast file, as its functions call and read them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast import load_forecaster
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.forecast import forecaster, members
from nowcast.forecast.dataset import build_forecast, write_forecast
from nowcast.forecast.file_members import members_of
from nowcast.model import build_model
from nowcast.probability.calibration import Calibration
from nowcast.radar.grid import RATE
from nowcast.radar.placing.grid_match import place_for_checkpoint
from nowcast.radar.synthetic import Weather, synthetic_grid
from nowcast.training.checkpoints import write_checkpoint

pytest.importorskip("pysteps")

import nowcast.pysteps as ours

LEADS, THRESHOLDS = 4, [0.2, 1.0, 5.0]


def grid_of(first_row: str = "north") -> xr.Dataset:
    grid = synthetic_grid(6, 48, 56, weather=Weather(wet_share=0.4), seed=5).load()
    return grid.sortby("y", ascending=first_row == "south")


GRID = grid_of()
RAIN = GRID[RATE].values
"""(t, y, x) in mm/h, the first row in the north."""


def checkpoint(
    folder: Path, *, first_row: str = "north", head: str = "probability", grids: str = "trained"
) -> Path:
    """Write a model, 3 frames → 4, that was trained on pixels of 1 km and frames of 5 minutes, or
    one for any grid.
    """
    torch.manual_seed(1)
    settings = {
        "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3,
        "input_kernel_size": 3, "patch_size": 4, "feedback": False, "frame": "moving",
        "output_activation": "identity", "output_grid": "refined", "head": head,
        "thresholds": THRESHOLDS if head == "probability" else [], "grids": grids,
    }  # fmt: skip
    channels = 2 if grids == "any" else 1  # it also sees the speed
    model = build_model(settings, channels, output_channels=1)
    weights = {name: w + 0.02 * torch.randn_like(w) for name, w in model.state_dict().items()}
    ones = torch.ones(LEADS, len(THRESHOLDS))
    calibration = Calibration(tuple(THRESHOLDS), ones, 0 * ones, 0.3 * ones)
    config = {
        "model": settings, "inputs": {"mask": False, "time_of_day": False, "fields": {}},
        "scaling": {"kind": "log", "maximum": 100, "reference": 0.5}, "input_steps": 3,
        "lead_steps": LEADS, "timestep_minutes": 5.0,
    }  # fmt: skip
    place = place_for_checkpoint(grid_of(first_row))
    whole = {"versions": {}, "config": config, "place": place, "weights": weights, "ema": None}
    kept = calibration.state() if head == "probability" else None
    path = folder / f"{head}_{first_row}_{grids}.pt"
    write_checkpoint(path, {**whole, "calibration": kept})
    return path


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("north"))


@pytest.fixture(scope="module")
def south(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("south"), first_row="south")


def forecast(path: Path, velocity: Any = None, timesteps: Any = LEADS, **more: Any) -> Any:
    """By the method that pysteps finds under our name."""
    import pysteps

    method = pysteps.nowcasts.get_method("nowcast")
    return method(RAIN, velocity, timesteps, checkpoint=path, device="cpu", **more)


@pytest.mark.parametrize("kind", ["north", "south"])
def test_it_forecasts_as_predict_does(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    made = load_forecaster(path, device="cpu", max_wet_ratio=1e9, ensemble=3).forecast(GRID)
    np.testing.assert_array_equal(forecast(path), made[RATE].values)
    assert (forecast(path) > 0).mean() > 0.05
    drawn = forecast(path, n_ens_members=3)
    assert drawn.shape == (3, LEADS, 48, 56) and np.nanmax(drawn[0] - drawn[1]) > 0.1
    if kind == "north":  # else the noise is that of the turned frame
        np.testing.assert_array_equal(drawn.swapaxes(0, 1), members_of(made))


def test_rain_moves_along_a_velocity_in_the_words_of_pysteps(north: Path) -> None:
    """Two pixels east and one south each timestep, as its own extrapolation takes it."""
    import pysteps

    rain = np.zeros_like(RAIN)
    rain[:, 20:28, 20:28] = 10.0
    velocity = np.stack([np.full(RAIN.shape[1:], 2.0), np.full(RAIN.shape[1:], 1.0)])
    theirs = pysteps.nowcasts.get_method("extrapolation")(rain[-1], velocity, LEADS)
    made = ours.forecast(rain, velocity, LEADS, checkpoint=north, device="cpu")
    for mine, other in zip(made, theirs, strict=True):
        centres = [np.argwhere(np.nan_to_num(one) > 1).mean(axis=0) for one in (mine, other)]
        np.testing.assert_allclose(*centres, atol=0.5)


def test_members_move_along_a_given_velocity_too(
    north: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is estimated: rain that stands still has members that move two pixels east."""
    ways, genuine = list[Any](), members.draw_members

    def drawn(*given: Any) -> Any:
        ways.append(given[-1])
        return genuine(*given)

    for module in (members, forecaster):
        monkeypatch.setattr(module, "estimate_motion", lambda rain: pytest.fail("estimated"))
    monkeypatch.setattr(members, "draw_members", drawn)
    velocity = np.stack([np.full(RAIN.shape[1:], 2.0), np.zeros(RAIN.shape[1:])])
    made = forecast(north, velocity, n_ens_members=2)
    assert made.shape == (2, LEADS, 48, 56)
    (way,) = ways
    assert way.shape == (1, 2, 7, 8) and bool((way[:, 0] == 2).all() and (way[:, 1] == 0).all())


def test_a_model_that_saw_the_south_first_has_the_velocity_turned(north: Path, south: Path) -> None:
    y, x = np.mgrid[:48, :56]
    velocity = np.stack([1 + x / 56, y / 24 - 0.5])
    turned = velocity[:, ::-1] * np.array([1, -1])[:, None, None]
    upside_down = ours.forecast(RAIN[:, ::-1], turned, LEADS, checkpoint=north, device="cpu")
    made = forecast(south, velocity)
    np.testing.assert_allclose(made, upside_down[:, ::-1], atol=0.3, equal_nan=True)
    assert np.nanmax(np.abs(made - forecast(south, turned))) > 1


def test_some_lead_times_are_those_of_all(north: Path) -> None:
    velocity = np.ones((2, 48, 56))
    whole = forecast(north, velocity)
    np.testing.assert_array_equal(forecast(north, velocity, [1, 4]), whole[[0, 3]])
    np.testing.assert_array_equal(forecast(north, velocity, 2), whole[:2])


def test_a_frame_without_a_pixel_may_be_missing_but_not_the_newest(north: Path) -> None:
    rain = RAIN.copy()
    rain[-2] = np.nan
    assert np.isfinite(ours.forecast(rain, None, 1, checkpoint=north, device="cpu")).any()
    rain[-1] = np.nan
    with pytest.raises(DataError, match="the newest frame has no measured pixel"):
        ours.forecast(rain, None, 1, checkpoint=north)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"precip": 10 * RAIN - 15}, DataError, r"below 0, as in dB; give rates in mm/h"),
        ({"precip": RAIN[-1]}, DataError, r"precip: has the shape \(48, 56\)"),
        ({"precip": RAIN[:2]}, DataError, "at least the 3 frames"),
        ({"precip": np.where(RAIN.max() == RAIN, np.inf, RAIN)}, DataError, "infinite values"),
        ({"velocity": np.zeros((2, 4, 4))}, DataError, r"give finite motion of \(2, 48, 56\)"),
        ({"velocity": np.full((2, 48, 56), np.nan)}, DataError, "not finite"),
        (
            {"timesteps": 5},
            ConfigError,
            "forecasts 4 lead times; give whole numbers from 1 to 4, rising",
        ),
        ({"timesteps": [0.5, 1]}, ConfigError, "give whole numbers from 1 to 4, rising"),
        ({"timesteps": [2, 1]}, ConfigError, "rising"),
        ({"timestep": 10}, ConfigError, "trained on frames every 5 minutes, not 10"),
        ({"kmperpixel": 2}, ConfigError, "pixels of 1 km, not 2"),
        ({"n_ens_members": 1}, ConfigError, "n_ens_members: must be from 2 to 100, not 1"),
        ({"device": "mars"}, ConfigError, "device: 'mars' is not one of auto"),
        ({"checkpoint": "none.pt"}, MissingInputError, "none.pt: no such checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    changed: dict[str, Any], kind: type[Exception], message: str, north: Path
) -> None:
    given = {"precip": RAIN, "velocity": None, "timesteps": LEADS, "checkpoint": north}
    with pytest.raises(kind, match=message):
        ours.forecast(**given | changed)


def test_what_is_as_in_the_training_is_taken(north: Path, tmp_path: Path) -> None:
    made = forecast(north, timesteps=1, timestep=5, kmperpixel=1)
    np.testing.assert_array_equal(forecast(north, timesteps=1, kmperpixel=2, other_grid=True), made)
    with pytest.raises(ConfigError, match="this model has none"):
        forecast(checkpoint(tmp_path, head="rate"), n_ens_members=2)


def test_a_model_for_any_grid_is_told_pixels_and_time_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoint(tmp_path, grids="any")
    settings = {"kmperpixel": 1, "timestep": 5}
    made = load_forecaster(path, device="cpu", max_wet_ratio=1e9).forecast(GRID)
    np.testing.assert_allclose(forecast(path, timesteps=12, **settings), made[RATE].values)
    coarser = forecast(path, timesteps=[2], kmperpixel=4, timestep=5)
    assert np.nanmax(np.abs(coarser - made[RATE].values[1])) > 0.1 and not caplog.text
    forecast(path, timesteps=1, kmperpixel=9, timestep=5)
    assert "pixels of 9 km, but the model was made for 0.5 to 5 km" in caplog.text
    for wrong in ({}, {"timestep": np.nan}, {"timestep": np.inf}, {"timestep": "5"}):
        with pytest.raises(
            ConfigError, match="kmperpixel, timestep: this model is for any grid and needs both"
        ):
            forecast(path, kmperpixel=1, **wrong)
    with pytest.raises(DataError, match="a frame every 180 minutes, but a model for any grid"):
        forecast(path, kmperpixel=1, timestep=180)
    with pytest.raises(ConfigError, match="forecasts 24 lead times"):
        forecast(path, timesteps=25, **settings)


def forecast_file(folder: Path, grid: xr.Dataset, rates: Any, members: Any = None) -> Path:
    start, step = np.datetime64("2024-06-02T12:00", "ns"), np.timedelta64(5, "m")
    written = build_forecast(rates, grid, start, step, {"institution": "Us"}, None, members)
    write_forecast(written, folder / "a.nc")
    return folder / "a.nc"


@pytest.mark.parametrize("first_row", ["north", "south"])
def test_the_importer_reads_our_file_north_up(first_row: str, tmp_path: Path) -> None:
    import pysteps

    grid = grid_of(first_row)
    path = forecast_file(tmp_path, grid, grid[RATE].values[:3])
    importer = pysteps.io.get_method("nowcast_netcdf", "importer")
    precip, quality, metadata = importer(str(path), dtype="float32")
    np.testing.assert_array_equal(precip, RAIN[:3])
    assert quality is None and precip.dtype == np.float32
    assert metadata["timestamps"][0] == datetime(2024, 6, 2, 12, 5)
    assert metadata["leadtimes"].tolist() == [5, 10, 15] and metadata["accutime"] == 5
    assert (metadata["unit"], metadata["transform"], metadata["zerovalue"]) == ("mm/h", None, 0)
    assert metadata["threshold"] == RAIN[:3][RAIN[:3] > 0].min()
    assert (metadata["xpixelsize"], metadata["yorigin"]) == (1000, "upper")
    assert metadata["x1"] == GRID["x"].values.min() - 500 and metadata["institution"] == "Us"
    assert metadata["y2"] == GRID["y"].values.max() + 500 and "+proj=" in metadata["projection"]
    pysteps.utils.conversion.to_rainrate(precip, metadata)


def test_the_importer_reads_members_and_files_without_a_place(tmp_path: Path) -> None:
    several = np.stack([RAIN[:2], 2 * RAIN[:2]], axis=1)
    bare = GRID.drop_vars(["x", "y", "crs"])
    path = forecast_file(tmp_path, bare, RAIN[:2], several)
    precip, _, metadata = ours.import_nowcast_netcdf(path, members=True)
    np.testing.assert_array_equal(precip, several.swapaxes(0, 1))
    assert "projection" not in metadata and metadata["yorigin"] == "upper"
    path = forecast_file(tmp_path, GRID, RAIN[:2])
    with pytest.raises(DataError, match="has no members"):
        ours.import_nowcast_netcdf(path, members=True)


def test_linear_blending_goes_from_our_forecast_to_the_weather_model(north: Path) -> None:
    from pysteps.blending import linear_blending

    velocity, nwp = np.ones((2, 48, 56)), np.full((LEADS, 48, 56), 3.0)
    about = {"unit": "mm/h", "transform": None, "accutime": 5, "threshold": 0.1, "zerovalue": 0.0}
    blended = linear_blending.forecast(
        RAIN, about, velocity, LEADS, 5, "nowcast", nwp, about, start_blending=5, end_blending=20,
        nowcast_kwargs={"checkpoint": north, "device": "cpu"},
    )  # fmt: skip
    made = forecast(north, velocity)
    known = np.isfinite(made[0])
    np.testing.assert_allclose(blended[0][known], made[0][known])
    np.testing.assert_allclose(blended[-1], 3.0)


def test_steps_blending_takes_our_forecast(north: Path, tmp_path: Path) -> None:
    """A weather model with the rain in another place: it comes in with the lead time."""
    from pysteps import blending
    from pysteps.utils import transformation

    def db(rates: Any) -> Any:
        return transformation.dB_transform(rates, threshold=0.1, zerovalue=-15.0)[0]

    velocity = np.ones((2, 48, 56))
    nwp = np.stack([np.roll(RAIN[-1], (24, 28 + step), axis=(0, 1)) for step in range(LEADS + 1)])
    nowcast = np.concatenate([RAIN[-1:], forecast(north, velocity)])
    nowcast = np.stack([nowcast, nowcast])  # a member each
    blended = blending.steps.forecast(
        db(RAIN[-3:]), db(nwp)[None], velocity, np.ones((1, LEADS + 1, 2, 48, 56)), LEADS, 5,
        datetime(2024, 6, 2, 12), 2, precip_nowcast=db(nowcast),
        nowcasting_method="external_nowcast", n_cascade_levels=4, precip_thr=-10.0, kmperpixel=1.0,
        vel_pert_method=None, seed=1, outdir_path_skill=str(tmp_path),
    )  # fmt: skip
    assert blended.shape == (2, LEADS, 48, 56) and np.isfinite(blended).all()

    def alike(field: Any, step: int) -> Any:
        known = np.isfinite(nowcast[0, step])
        return np.corrcoef(field[known], db(nowcast[0, step])[known])[0, 1]

    assert alike(blended[0, 0], 1) > 0.7 > 0.2 > alike(db(nwp[1]), 1)
    assert alike(blended[0, -1], LEADS) < alike(blended[0, 0], 1)
