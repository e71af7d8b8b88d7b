"""A model forecasts on grids like that of its training, at any location. Other pixel sizes or
projections need permission, and axes in other directions are flipped.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar import open_grid
from nowcast.radar.grid import build_grid
from nowcast.radar.placing.georeference import (
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_proj,
)
from nowcast.radar.placing.grid_match import (
    AS_STORED,
    Turn,
    place_difference,
    place_for_checkpoint,
    refuse_other_grid,
    turn_of,
)
from nowcast.sequences.scene import Scene

POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=m"


def grid(
    projection=POLAR,
    pixel=(-1000.0, 1000.0),
    size=(8, 10),
    start=(0.0, 0.0),
    drop=(),
    latitude=None,
):
    """A grid whose row 0 lies at `start`, with what is in `drop` not said."""
    degrees = projection is not None and "longlat" in projection
    axis = axis_in_degrees if degrees else axis_in_metres
    place = {
        name: axis(name, start[k] + pixel[k] * np.arange(size[k])) for k, name in enumerate("yx")
    }
    if projection is not None:
        place["crs"] = grid_mapping_from_proj(projection, "here")
    if latitude is not None:
        north, east = np.meshgrid(*latitude, indexing="ij")
        place |= {
            "latitude": xr.Variable(("y", "x"), north),
            "longitude": xr.Variable(("y", "x"), east),
        }
    place = {name: value for name, value in place.items() if name not in drop}
    times = np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[ns]")
    return build_grid(np.zeros((2, *size), np.float32), times, place, {})


TRAINED = place_for_checkpoint(grid())


def test_what_a_checkpoint_says_is_plain_and_holds_projection_pixel_and_direction():
    assert TRAINED["crs"]["grid_mapping_name"] == "polar_stereographic"
    assert (
        TRAINED["crs"]["standard_parallel"],
        TRAINED["crs"]["straight_vertical_longitude_from_pole"],
    ) == (60.0, 10.0)
    assert (TRAINED["pixel"], TRAINED["unit"], TRAINED["first_row"]) == (
        [-1000.0, 1000.0],
        "m",
        "north",
    )
    assert {type(value) for value in TRAINED["crs"].values()} <= {str, float, int, list}


@pytest.mark.parametrize(
    "other",
    [
        grid(),
        grid(size=(30, 4), start=(5e5, -2e5)),
        grid(pixel=(-1000.4, 1000.4)),
        grid(POLAR.replace("+R=6370040", "+ellps=WGS84")),
        grid(POLAR.replace("lon_0=10", "lon_0=370")),
        grid(POLAR + " +x_0=543196 +y_0=3622588"),
        grid(drop=("crs",)),
        grid(drop=("crs", "x", "y")),
    ],
    ids=[
        "the same",
        "another part of the map",
        "rounding",
        "ellipsoid",
        "a turn more",
        "false origin",
        "no crs",
        "no place",
    ],
)
def test_another_extent_of_the_same_map_is_no_other_grid(other):
    assert place_difference(TRAINED, other) == ""


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            grid(POLAR.replace("lon_0=10", "lon_0=14")),
            r"meridian 14°.*in training it was polar stereographic.*meridian 10°",
        ),
        (grid(POLAR.replace("lat_ts=60", "lat_ts=70")), r"true at 70°.*true at 60°"),
        (
            grid("+proj=laea +lat_0=55 +lon_0=10 +units=m"),
            r"lambert azimuthal equal area.*polar stereographic",
        ),
        (
            grid("+proj=longlat +R=6370040", pixel=(-0.01, 0.01)),
            "latitude longitude.*polar stereographic",
        ),
        (grid(pixel=(-1002.0, 1002.0)), r"1002 x 1002 m, in training they were 1000 x 1000 m"),
        (grid(pixel=(-1000.0, 2000.0)), r"1000 x 2000 m, in training they were 1000 x 1000 m"),
    ],
)
def test_another_grid_is_named_beside_that_of_the_training(other, said):
    with pytest.raises(DataError, match=rf"rain\.nc: not the grid .*{said}.*other_grid=true"):
        refuse_other_grid(TRAINED, other, "rain.nc", allowed=False)
    assert "not the grid that the model was trained on" in refuse_other_grid(
        TRAINED, other, "rain.nc", allowed=True
    )


def test_two_parallels_may_come_in_either_order():
    albers = "+proj=aea +lat_1={} +lat_2={} +lat_0=-27 +lon_0=153 +units=m"
    assert (
        place_difference(
            place_for_checkpoint(grid(albers.format(-26, -29))), grid(albers.format(-29, -26))
        )
        == ""
    )
    assert place_difference(
        place_for_checkpoint(grid(albers.format(-26, -29))), grid(albers.format(-26, -30))
    )


def test_where_only_latitudes_and_longitudes_are_known_a_pixel_is_measured_on_the_ground():
    def of(step):
        axes = 50 - step * np.arange(8), 10 + step * np.arange(10)
        return grid(None, drop=("x", "y"), latitude=axes)

    height, width = place_for_checkpoint(of(0.01))["ground"]
    assert height == pytest.approx(6371e3 * np.radians(0.01), rel=1e-6)
    assert width == pytest.approx(height * np.cos(np.radians(50)), rel=1e-2)
    rounded = of(0.011).assign_coords(
        {name: of(0.011)[name].round(2) for name in ("latitude", "longitude")}
    )
    assert place_difference(place_for_checkpoint(of(0.011)), rounded) == ""
    assert place_difference(place_for_checkpoint(of(0.01)), of(0.011)) == ""
    assert "about 2200 x 1400 m" in place_difference(place_for_checkpoint(of(0.01)), of(0.02))


def test_nothing_is_compared_where_one_of_them_says_nothing():
    silent = grid(None, drop=("x", "y"))
    assert place_for_checkpoint(silent) is None
    assert place_for_checkpoint(None) is None
    assert place_difference(TRAINED, silent) == place_difference(None, grid()) == ""


@pytest.mark.parametrize(
    ("pixel", "turn", "said"),
    [
        ((-1000.0, 1000.0), (False, False), r"^$"),
        (
            (1000.0, 1000.0),
            (True, False),
            (
                "the first row is in the south, in training it was in the north: the frames are"
                " flipped"
            ),
        ),
        (
            (-1000.0, -1000.0),
            (False, True),
            "^the columns run opposite to those of the training: the frames are flipped",
        ),
        (
            (1000.0, -1000.0),
            (True, True),
            "in the north and the columns run opposite .* its forecast is flipped back$",
        ),
    ],
)
def test_axes_that_run_the_other_way_are_turned_not_refused(pixel, turn, said):
    other = grid(pixel=pixel)
    assert place_difference(TRAINED, other) == ""
    found = turn_of(TRAINED, other)
    assert (found.rows, found.columns) == turn
    assert re.search(said, found.remark)
    assert turn_of(TRAINED, grid(None, drop=("x", "y"))) == turn_of(None, other) == AS_STORED


def test_a_turn_turns_rows_and_columns_and_twice_gives_them_back():
    torch = pytest.importorskip("torch")
    values = np.arange(12.0).reshape(2, 2, 3)
    for rows, columns in ((False, False), (True, False), (False, True), (True, True)):
        turn = Turn(rows, columns)
        wanted = values[:, :: -1 if rows else 1, :: -1 if columns else 1]
        for kind in (np.asarray, torch.from_numpy):
            np.testing.assert_array_equal(turn(kind(values)), wanted)
            np.testing.assert_array_equal(turn(turn(kind(values))), values)


def flip(source, path, *axes):
    """The same rain at the same places, stored with flipped axes."""
    with xr.open_dataset(source, engine="netcdf4") as whole:
        whole.isel({axis: slice(None, None, -1) for axis in axes}).to_netcdf(path, engine="netcdf4")


@pytest.mark.parametrize("axes", [("y",), ("x",), ("y", "x")])
def test_the_forecast_of_a_flipped_file_is_the_flipped_forecast_of_the_file(
    run, trained, radar_file, tmp_path, monkeypatch, axes
):
    monkeypatch.chdir(tmp_path)
    flip(radar_file, "flipped.nc", *axes)
    words = (
        "predict",
        f"checkpoint={trained}/best.pt",
        "data=radar",
        "device=cpu",
        "precision=fp32",
    )
    for path, output in ((radar_file, "gap_usual.nc"), ("flipped.nc", "gap_flipped.nc")):
        with xr.open_dataset(path, engine="netcdf4") as whole:
            whole.drop_isel(time=39).to_netcdf(output, engine="netcdf4")
    for paths, settings in (
        ((radar_file, "flipped.nc"), ()),
        (("gap_usual.nc", "gap_flipped.nc"), ("missing_frames=1", "at=2020-01-01T03:20")),
    ):
        for path, output in zip(paths, ("usual_forecast.nc", "turned_forecast.nc"), strict=True):
            outcome = run(*words, f"data.path={path}", f"output={output}", *settings)
            assert outcome.code == 0, outcome.err
            assert ("flipped for the model" in outcome.err) == (output == "turned_forecast.nc")
        with (
            xr.open_dataset("usual_forecast.nc", engine="netcdf4") as usual,
            xr.open_dataset("turned_forecast.nc", engine="netcdf4") as turned,
        ):
            back = turned.isel({axis: slice(None, None, -1) for axis in axes})
            np.testing.assert_array_equal(back["precipitation_rate"], usual["precipitation_rate"])
            np.testing.assert_array_equal(back["y"], usual["y"])
            assert "its forecast is flipped back" in turned.attrs["remarks"]
            assert "remarks" not in usual.attrs


def past_of(path, first, steps=3):
    rain = open_grid(path).isel(time=slice(first, first + steps)).load()
    return Scene(rain, np.timedelta64(5, "m"), np.zeros(steps, bool), np.zeros(steps, bool))


@pytest.mark.parametrize("in_tiles", [False, True])
def test_a_model_that_took_frames_in_before_or_works_in_tiles_turns_them_too(
    trained, radar_file, tmp_path, monkeypatch, in_tiles
):
    from nowcast.factories import trained_model as models_trained
    from nowcast.forecast.tiling import Tiling

    flip(radar_file, tmp_path / "flipped.nc", "y")
    config = SimpleNamespace(
        device="cpu", precision="fp32", input_paths={}, max_memory_gb=None, rate="csi"
    )
    if in_tiles:
        cut = Tiling((0, 16, 34), (0, 24, 41), 8, 2, 1)
        monkeypatch.setattr(models_trained, "choose_tiling", lambda *given: cut)
    usual, turned = (models_trained.TrainedModel(f"{trained}/best.pt", config) for _ in range(2))
    turn = turn_of(turned.about["place"], open_grid(tmp_path / "flipped.nc"))
    assert turn.rows
    for first in (20, 21, 22):  # of the later ones all frames but the newest were taken in
        wanted = usual.forecast_of(past_of(radar_file, first)).rates
        np.testing.assert_array_equal(
            turned.forecast_of(past_of(tmp_path / "flipped.nc", first), turn).rates, wanted[:, ::-1]
        )
        assert not np.array_equal(wanted, wanted[:, ::-1], equal_nan=True)
        usual.prepare()
        turned.prepare()


def test_the_scores_of_a_flipped_file_are_those_of_the_file_and_the_report_says_so(
    run, trained, radar_file, tmp_path, monkeypatch, without_pictures
):
    monkeypatch.chdir(tmp_path)
    flip(radar_file, "flipped.nc", "y", "x")
    words = ("evaluate", f"checkpoint={trained}/best.pt", "data=radar",
        "period=['2020-01-01T06:00','2020-01-01T06:30']", "device=cpu",
             "precision=fp32", "thresholds=[0.5,2]", "fss_scales=[1,3]",
             f"data.cache={tmp_path}/cache", "drop_frames=1")  # fmt: skip
    for path, output in ((radar_file, "usual"), ("flipped.nc", "turned")):
        outcome = run(*words, f"data.path={path}", f"output={output}")
        assert outcome.code == 0, outcome.err
        assert outcome.err.count("flipped for the model") == (output == "turned")
        assert ("flipped for the model" in (tmp_path / output / "report.html").read_text()) == (
            output == "turned"
        )
    with (
        xr.open_dataset("usual/scores.nc", engine="netcdf4") as usual,
        xr.open_dataset("turned/scores.nc", engine="netcdf4") as turned,
    ):
        for name in usual.data_vars:
            if usual[name].dtype.kind == "f":
                np.testing.assert_allclose(
                    turned[name], usual[name], rtol=1e-5, atol=1e-7, err_msg=name
                )


def test_predict_refuses_another_grid_unless_told_and_then_says_so(
    run, trained, radar_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(y=slice(None, None, 2)).to_netcdf("squeezed.nc", engine="netcdf4")
        whole.isel(y=slice(4, 28), x=slice(3, 40)).to_netcdf("part.nc", engine="netcdf4")
    words = (
        "predict",
        f"checkpoint={trained}/best.pt",
        "data=radar",
        "device=cpu",
        "precision=fp32",
        "output=a.nc",
    )
    assert run(*words, "data.path=part.nc").code == 0
    refused = run(*words, "data.path=squeezed.nc", "output=b.nc")
    assert (refused.code, len(refused.err.strip().splitlines()[-1:])) == (65, 1)
    assert "2000 x 1000 m, in training they were 1000 x 1000 m" in refused.err
    assert "other_grid=true" in refused.err
    assert not (tmp_path / "b.nc").exists()
    assert run(*words, "data.path=squeezed.nc", "output=b.nc", "other_grid=true").code == 0
    with (
        xr.open_dataset("b.nc", engine="netcdf4") as forecast,
        xr.open_dataset("a.nc", engine="netcdf4") as usual,
    ):
        assert "not the grid that the model was trained on" in forecast.attrs["remarks"]
        assert "remarks" not in usual.attrs


def test_evaluate_says_that_the_grid_is_another(
    run, trained, radar_file, tmp_path, monkeypatch, without_pictures
):
    monkeypatch.chdir(tmp_path)
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(y=slice(None, None, 2)).to_netcdf("squeezed.nc", engine="netcdf4")
    period = "period=['2020-01-01T06:00','2020-01-01T06:30']"
    words = (
        "evaluate",
        f"checkpoint={trained}/best.pt",
        "data=radar",
        period,
        f"data.cache={tmp_path}/cache",
        "thresholds=[0.5]",
    )
    scored = run(*words, "data.path=squeezed.nc", "output=scores", "device=cpu", "precision=fp32")
    assert scored.code == 0, scored.err
    assert "not the grid that the model was trained on: its pixels are 2000 x 1000 m" in scored.err
