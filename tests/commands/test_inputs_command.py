"""What lies beside the rain, and missing frames, from file to file through the commands."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import SPLITS, TINY, Outcome, exit_code

from nowcast.evaluation.window_cases import frames_taken_away
from nowcast.training.checkpoints import read_checkpoint

Run = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("without_pictures")
PERIOD = "period=['2020-01-01T06:00','2020-01-01T07:55']"


def write_fields(radar_file: Path, folder: Path) -> None:
    """height.nc, (y, x), and cloud.nc, hourly, where every value is 10 times the hour of its
    time.
    """
    with xr.open_dataset(radar_file, engine="netcdf4") as radar:
        place = {name: radar[name].load() for name in ("y", "x")}
    height = np.linspace(0, 1000, 34 * 41).reshape(34, 41)
    xr.Dataset({"height": (("y", "x"), height)}, place).to_netcdf(
        folder / "height.nc", engine="netcdf4"
    )
    hours = np.arange(9)
    times = np.datetime64("2020-01-01", "ns") + hours * np.timedelta64(1, "h")
    cloud = np.broadcast_to(10.0 * hours[:, None, None], (9, 34, 41))
    xr.Dataset({"cloud": (("time", "y", "x"), cloud)}, {**place, "time": times}).to_netcdf(
        folder / "cloud.nc", engine="netcdf4"
    )


FIELDS = (
    "+inputs.fields.height={path:height.nc,variable:height,offset:500,scale:250}",
    "+inputs.fields.cloud={path:cloud.nc,variable:cloud,scale:10}",
)


@pytest.fixture(scope="module")
def with_inputs(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that sees a mask, the time of day, height and cloud."""
    folder = tmp_path_factory.mktemp("inputs")
    write_fields(radar_file, folder)
    words = [
        "train",
        *TINY,
        "data=radar",
        f"data.path={radar_file}",
        *SPLITS,
        "output=run",
        "training.epochs=1",
    ]
    more = [
        "inputs.mask=true",
        "inputs.time_of_day=true",
        *FIELDS,
        "sampling.frame_dropout=0.2",
        "sampling.flip=true",
    ]
    with contextlib.chdir(folder):
        assert exit_code(*words, *more, "data.cache=cache") == 0
    return folder


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["data=radar", f"data.path={radar_file}", f"data.cache={tmp_path}/cache", "device=cpu"]


@pytest.fixture
def paths(with_inputs: Path) -> list[str]:
    return [f"+input_paths.{name}={with_inputs}/{name}.nc" for name in ("height", "cloud")]


def rain(path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    with xr.open_dataset(path, engine="netcdf4") as forecast:
        values: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = forecast[
            "precipitation_rate"
        ].values
    return values


def without(radar_file: Path, path: str, *times: str) -> str:
    """The radar file without the frames of these times."""
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        away = np.isin(whole["time"].values, np.array(times, dtype="datetime64[ns]"))
        whole.isel(time=~away).to_netcdf(path, engine="netcdf4")
    return f"data.path={path}"


# ---- inputs


def test_a_model_with_inputs_is_rebuilt_forecasts_and_is_scored(
    run: Run, data: list[str], with_inputs: Path, paths: list[str]
) -> None:
    checkpoint = read_checkpoint(with_inputs / "run/best.pt")
    assert (
        checkpoint["weights"]["encoder.0.cells.0.weight_ih"].shape[1]
        == 6 * checkpoint["config"]["model"]["patch_size"] ** 2
    )
    outcome = run("predict", f"checkpoint={with_inputs}/run/best.pt", *data, *paths, "output=a.nc")
    assert outcome.code == 0, outcome.err
    assert rain("a.nc").shape == (4, 34, 41)
    outcome = run(
        "evaluate",
        f"checkpoint={with_inputs}/run/best.pt",
        *data,
        *paths,
        PERIOD,
        "stride=8",
        "thresholds=[0.5]",
    )
    assert outcome.code == 0, outcome.err


def test_a_forecast_is_the_same_whatever_later_fields_say(
    run: Run, data: list[str], with_inputs: Path, paths: list[str]
) -> None:
    """At 05:55 the field of 05:00 holds: that of 06:00 changes nothing, another of 05:00 does."""
    predict = [
        "predict",
        f"checkpoint={with_inputs}/run/best.pt",
        *data,
        "at=2020-01-01T05:55",
        *paths,
    ]
    assert run(*predict, "output=a.nc").code == 0
    for hour, name in ((6, "b"), (5, "c")):
        with xr.open_dataset(with_inputs / "cloud.nc", engine="netcdf4") as cloud:
            other = cloud.load().copy(deep=True)
        other["cloud"][hour] = 1e4
        other.to_netcdf(f"{name}_cloud.nc", engine="netcdf4")
        assert run(*predict, f"++input_paths.cloud={name}_cloud.nc", f"output={name}.nc").code == 0
    np.testing.assert_array_equal(rain("b.nc"), rain("a.nc"))
    assert not np.array_equal(rain("c.nc"), rain("a.nc"), equal_nan=True)


def test_fields_on_a_radar_grid_that_is_stored_the_other_way_round_are_turned_with_it(
    run: Run, data: list[str], with_inputs: Path, paths: list[str], radar_file: Path
) -> None:
    checkpoint = f"checkpoint={with_inputs}/run/best.pt"
    assert run("predict", checkpoint, *data, *paths, "output=a.nc").code == 0
    for path in (radar_file, with_inputs / "height.nc", with_inputs / "cloud.nc"):
        with xr.open_dataset(path, engine="netcdf4") as whole:
            whole.isel(y=slice(None, None, -1)).to_netcdf(f"flipped_{path.name}", engine="netcdf4")
    words = ["data=radar", f"data.path=flipped_{radar_file.name}", "device=cpu"]
    flipped = [f"+input_paths.{name}=flipped_{name}.nc" for name in ("height", "cloud")]
    outcome = run("predict", checkpoint, *words, *flipped, "output=b.nc")
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(rain("b.nc"), rain("a.nc")[:, ::-1])


def test_only_training_and_scoring_unpack_large_fields(
    run: Run, data: list[str], with_inputs: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forecast needs few frames, and would leave others behind every five minutes."""
    checkpoint = f"checkpoint={with_inputs}/run/best.pt"
    assert run("predict", checkpoint, *data, *paths, "output=a.nc").code == 0
    monkeypatch.setattr("nowcast.sequences.fields.SMALL_BYTES", 4 * 34 * 41)
    assert run("predict", checkpoint, *data, *paths, "output=b.nc").code == 0
    np.testing.assert_array_equal(rain("a.nc"), rain("b.nc"))
    assert not Path("cache").exists()
    assert (
        run(
            "evaluate",
            checkpoint,
            *data,
            *paths,
            PERIOD,
            "stride=8",
            "thresholds=[0.5]",
            "output=s",
        ).code
        == 0
    )
    assert len(list(Path("cache").glob("field-*.npy"))) == 1  # cloud; height is one frame


def test_fields_that_are_too_old_are_missing_and_that_is_said(
    run: Run, data: list[str], with_inputs: Path, paths: list[str]
) -> None:
    with xr.open_dataset(with_inputs / "cloud.nc", engine="netcdf4") as cloud:
        cloud.isel(time=slice(0, 7)).to_netcdf("old.nc", engine="netcdf4")
    outcome = run(
        "predict",
        f"checkpoint={with_inputs}/run/best.pt",
        *data,
        *paths,
        "++input_paths.cloud=old.nc",
        "output=a.nc",
    )
    assert outcome.code == 0
    assert "old.nc: has no value in the 60 minutes before 3 of 3 frames" in outcome.err
    assert "inputs.fields.cloud is missing there" in outcome.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ["+input_paths.sea=a.nc"],
            78,
            "input_paths: the model has no field sea; its fields are cloud, height",
        ),
        (["++input_paths.height=none.nc"], 66, "none.nc: no such field file"),
        (
            ["missing_frames=3"],
            78,
            (
                "missing_frames: the model sees 3 frames, and the newest must not be missing; give 2"
                " at most"
            ),
        ),
    ],
)
def test_predict_refuses_inputs_that_it_cannot_use(
    run: Run,
    data: list[str],
    with_inputs: Path,
    paths: list[str],
    words: list[str],
    code: int,
    says: str,
) -> None:
    outcome = run("predict", f"checkpoint={with_inputs}/run/best.pt", *data, *paths, *words)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome.err
    assert says in outcome.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["inputs.mask=true", "model=next_frame", "model.hidden_channels=[3,3,3]"],
            "inputs.mask: next_frame feeds its forecasts back as input",
        ),
        (
            ["inputs.time_of_day=true", "model=encoder_forecaster", "model.feedback=true"],
            "inputs.time_of_day: encoder_forecaster",
        ),
        (["sampling.frame_dropout=0.1"], "sampling.frame_dropout: without a mask"),
        (
            ["+inputs.fields.a={path:a.nc,variable:a,scale:0}"],
            "inputs.fields.a: offset and scale must be finite",
        ),
        (
            ["+inputs.fields.a={path:wind.nc,variable:eastward_wind}", "sampling.flip=true"],
            "sampling.flip: would mirror or rotate",
        ),
    ],
)
def test_training_refuses_inputs_that_do_not_fit(
    run: Run, data: list[str], radar_file: Path, words: list[str], says: str
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as radar:
        place = {name: radar[name].load() for name in ("y", "x")}
    xr.Dataset({"eastward_wind": (("y", "x"), np.zeros((34, 41)))}, place).to_netcdf(
        "wind.nc", engine="netcdf4"
    )
    outcome = run("train", *TINY, *data, *SPLITS, *words, "output=run")
    assert outcome.code == 78, outcome.err
    assert outcome.err.splitlines()[-1].startswith(f"nowcast: {says}")


# ---- missing frames


def test_a_missing_frame_is_masked_for_a_model_with_a_mask(
    run: Run, data: list[str], radar_file: Path, with_inputs: Path, paths: list[str]
) -> None:
    """Whether the frame is absent or holds no measured pixel."""
    predict = ["predict", f"checkpoint={with_inputs}/run/best.pt", *data, *paths]
    gone = without(radar_file, "gone.nc", "2020-01-01T07:50")
    outcome = run(*predict, gone, "output=a.nc")
    assert outcome.code == 66 and "or missing_frames=1" in outcome.err
    outcome = run(*predict, gone, "missing_frames=1", "output=a.nc")
    assert outcome.code == 0
    assert "no frame at 2020-01-01T07:50 UTC: masked for the model" in outcome.err
    with xr.open_dataset("a.nc", engine="netcdf4") as forecast:
        assert json.loads(forecast.attrs["input_times"]) == [
            "2020-01-01T07:45:00Z",
            "2020-01-01T07:55:00Z",
        ]
        assert json.loads(forecast.attrs["missing_input_times"]) == ["2020-01-01T07:50:00Z"]

    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        empty = whole.load()
    empty["precipitation_rate"][-2] = np.nan
    empty.to_netcdf("empty.nc", engine="netcdf4")
    assert run(*predict, "data.path=empty.nc", "missing_frames=1", "output=b.nc").code == 0
    np.testing.assert_array_equal(rain("a.nc"), rain("b.nc"))


def test_a_model_without_a_mask_sees_the_frame_before_once_more(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    predict = ["predict", f"checkpoint={trained}/best.pt", *data]
    gone = without(radar_file, "gone.nc", "2020-01-01T07:50")
    outcome = run(*predict, gone, "missing_frames=2", "output=a.nc")
    assert outcome.code == 0
    assert (
        "no frame at 2020-01-01T07:50 UTC: the model has no mask and gets a copy of the frame"
        " before or after" in outcome.err
    )
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        repeated = whole.load()
    repeated["precipitation_rate"][-2] = repeated["precipitation_rate"][-3]
    repeated.to_netcdf("repeated.nc", engine="netcdf4")
    assert run(*predict, "data.path=repeated.nc", "output=b.nc").code == 0
    np.testing.assert_array_equal(rain("a.nc"), rain("b.nc"))


def test_the_newest_frame_is_never_missing(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    gone = without(radar_file, "gone.nc", "2020-01-01T07:00")
    words = [
        "predict",
        f"checkpoint={trained}/best.pt",
        *data,
        gone,
        "missing_frames=2",
        "at=2020-01-01T07:00",
    ]
    outcome = run(*words)
    assert (outcome.code, outcome.err.count("\n")) == (66, 1)
    assert "no frame at 2020-01-01T07:00" in outcome.err and "missing_frames" not in outcome.err


def test_evaluation_takes_the_same_frames_away_in_every_run_and_never_the_newest() -> None:
    one, two = (frames_taken_away(range(200), 5, count) for count in (1, 2))
    assert one.sum(dim=1).unique().tolist() == [1] and two.sum(dim=1).unique().tolist() == [2]
    assert not two[:, 4].any() and one[:, :4].sum(dim=0).min() > 25  # each of four about 50 times
    assert (two & one == one).all()  # two are the one and another
    assert torch.equal(frames_taken_away([7, 3], 5, 1), one[[7, 3]])


def test_scores_with_missing_frames_are_others_over_the_same_pixels(
    run: Run, data: list[str], trained: Path
) -> None:
    scores = []
    for n in (0, 1, 1):
        words = [
            f"checkpoint={trained}/best.pt",
            PERIOD,
            "stride=4",
            "thresholds=[0.5]",
            f"drop_frames={n}",
            f"output=s{n}",
        ]
        assert run("evaluate", *data, *words).code == 0
        with xr.open_dataset(f"s{n}/scores.nc", engine="netcdf4") as dataset:
            scores.append(dataset.load())
    whole, less, again = scores
    counts = ("hits", "false_alarms", "misses", "correct_negatives")
    for forecast in ("model", "persistence"):
        totals = [
            sum(one[name].sel(forecast=forecast).values for name in counts) for one in (whole, less)
        ]
        np.testing.assert_array_equal(*totals)
    np.testing.assert_array_equal(
        whole["csi"].sel(forecast="persistence"), less["csi"].sel(forecast="persistence")
    )
    assert not np.array_equal(whole["mse"].sel(forecast="model"), less["mse"].sel(forecast="model"))
    np.testing.assert_array_equal(less["hits"], again["hits"])


def test_forecast_files_are_scored_as_they_are(run: Run, data: list[str]) -> None:
    outcome = run("evaluate", *data, "forecasts=forecasts", "drop_frames=1")
    assert outcome.code == 78 and "drop_frames" in outcome.err


# ---- inputs known for each lead time


def write_runs(radar_file: Path, path: Path, runs: int = 9) -> None:
    """Hourly runs of a weather model with leads of 0, 60 and 120 minutes: rain = run + lead."""
    with xr.open_dataset(radar_file, engine="netcdf4") as radar:
        place = {name: radar[name].load() for name in ("y", "x")}
    count = np.arange(runs)
    rain = np.add.outer(count, np.arange(3.0))[:, :, None, None]
    xr.Dataset(
        {"rain": (("run", "lead", "y", "x"), np.broadcast_to(rain, (runs, 3, 34, 41)))},
        {
            **place,
            "run": ("run", count, {
                "units": "hours since 2020-01-01", "standard_name": "forecast_reference_time",
            }),
            "lead": ("lead", [0, 60, 120], {
                "units": "minutes", "standard_name": "forecast_period",
            }),
        },
    ).to_netcdf(path, engine="netcdf4")  # fmt: skip


AHEAD = (
    "inputs.ahead.time_of_day=true",
    "+inputs.ahead.fields.nwp={path:nwp.nc,variable:rain,scale:5,delay_minutes:30}",
)


@pytest.fixture(scope="module")
def knows_ahead(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that knows the hour and the rain of a weather model ahead."""
    folder = tmp_path_factory.mktemp("ahead")
    write_runs(radar_file, folder / "nwp.nc")
    words = ["train", *TINY, "data=radar", f"data.path={radar_file}", *SPLITS]
    with contextlib.chdir(folder):
        more = ["output=run", "training.epochs=1", "data.cache=cache", *AHEAD]
        assert exit_code(*words, *more) == 0
    return folder


def test_what_is_known_ahead_goes_from_training_to_forecasts_and_scores(
    run: Run, data: list[str], knows_ahead: Path
) -> None:
    words = [*data, f"checkpoint={knows_ahead}/run/best.pt", "at=2020-01-01T07:00"]
    at_home = [f"+input_paths.nwp={knows_ahead}/nwp.nc"]
    assert run("predict", *words, *at_home, "output=a.nc").code == 0
    with xr.open_dataset(knows_ahead / "nwp.nc", engine="netcdf4") as nwp:
        nwp.load()
    (nwp.assign(rain=nwp.rain * 3)).to_netcdf("other.nc", engine="netcdf4")
    later = nwp.assign(rain=nwp.rain.where(nwp.run < np.datetime64("2020-01-01T07:00"), 99.0))
    later.to_netcdf("later.nc", engine="netcdf4")
    for path, same in (("other.nc", False), ("later.nc", True)):
        assert run("predict", *words, f"+input_paths.nwp={path}", "output=b.nc").code == 0
        with (
            xr.open_dataset("a.nc", engine="netcdf4") as one,
            xr.open_dataset("b.nc", engine="netcdf4") as two,
        ):
            equal = one.precipitation_rate.equals(two.precipitation_rate)
        assert equal is same, path  # a run that is not there yet changes nothing
        Path("b.nc").unlink()
    scored = run("evaluate", words[-2], *data, *at_home, PERIOD, "output=scores")
    assert scored.code == 0, scored.err


def test_a_forecast_of_a_case_is_that_of_predict(
    run: Run, data: list[str], knows_ahead: Path
) -> None:
    words = [*data, f"checkpoint={knows_ahead}/run/best.pt"]
    at_home = f"+input_paths.nwp={knows_ahead}/nwp.nc"
    assert run("predict", *words, at_home, "at=2020-01-01T06:30", "output=a.nc").code == 0
    scores = {}
    for name, more in (("windows", [words[-1], at_home]), ("files", ["forecasts=a.nc"])):
        period = ["period=['2020-01-01T06:30','2020-01-01T06:30']"] if name == "windows" else []
        where = data if name == "windows" else data[:-1]
        done = run("evaluate", *where, *more, *period, f"output={name}", "baseline=[]")
        assert done.code == 0, done.err
        with xr.open_dataset(f"{name}/scores.nc", engine="netcdf4") as found:
            scores[name] = found.mse_mean.values.ravel()[0]
    np.testing.assert_allclose(scores["windows"], scores["files"], rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("export", "checkpoint={run}/best.pt", "grid_size=[34,41]"), 78, "inputs.ahead cannot be"),
        (
            ("train", *TINY, "data=radar", "data.path=a.nc", *SPLITS, "model=next_frame",
             "model.hidden_channels=[4,4]", "model.kernel_sizes=[3,3]", AHEAD[0]),
            78,
            "inputs.ahead.time_of_day: next_frame",
        ),
        (
            ("train", *TINY, "data=radar", "data.path=a.nc", *SPLITS,
             "+inputs.ahead.fields.nwp={path:a.nc}"),
            78,
            "inputs.ahead.fields.nwp: give {path",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_known_ahead_is_refused(
    run: Run, data: list[str], knows_ahead: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    outcome = run(
        *(word.format(run=knows_ahead / "run") if "{run}" in word else word for word in words)
    )
    assert outcome.code == code and told in outcome.err
