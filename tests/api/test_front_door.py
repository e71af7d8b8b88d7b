"""`import nowcast`: the same results as the commands, types, and no trace in a person's process."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

import nowcast
from nowcast.errors import ConfigError, DataError, InternalError, MissingInputError
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME
from nowcast.radar import RATE, synthetic_grid

Run = Callable[..., Outcome]
ROOT = Path(__file__).parents[2]
AT = "2020-01-01T06:00"
SETTINGS = ["device=cpu", "precision=fp32", "max_wet_ratio=1e9"]

SIX_LINES = """
import nowcast
grid = nowcast.open_grid("archive/*.nc")
model = nowcast.load_forecaster("runs/mine/best.pt")
forecast = model.forecast(grid, at="2018-05-18T15:00")
scores = nowcast.score(forecast, grid, thresholds=[0.5, 1, 2])
nowcast.plot(forecast, grid)
"""


@pytest.fixture(scope="module")
def model(trained: Path) -> nowcast.RadarForecaster:
    return nowcast.load_forecaster(
        trained / "best.pt", device="cpu", precision="fp32", max_wet_ratio=1e9
    )


@pytest.fixture(scope="module")
def grid(radar_file: Path) -> xr.Dataset:
    return nowcast.open_grid(radar_file)


@pytest.fixture(scope="module")
def forecast(model: nowcast.RadarForecaster, grid: xr.Dataset) -> xr.Dataset:
    return model.forecast(grid, at=AT)


def test_a_forecast_is_that_of_the_command(
    run: Run, forecast: xr.Dataset, radar_file: Path, trained: Path, tmp_path: Path
) -> None:
    words = [f"checkpoint={trained}/best.pt", f"data.path={radar_file}", f"at={AT}", *SETTINGS]
    assert run("predict", *words, f"output={tmp_path}/f.nc").code == 0
    theirs = nowcast.open_forecast(tmp_path / "f.nc")
    nowcast.write_forecast(forecast, tmp_path / "ours.nc")
    ours = nowcast.open_forecast(tmp_path / "ours.nc")
    xr.testing.assert_identical(ours.drop_attrs(), theirs.drop_attrs())
    assert ours[RATE].attrs == theirs[RATE].attrs and ours["time"].attrs == theirs["time"].attrs
    same = set(theirs.attrs) - {"history", "config"}
    assert {name: ours.attrs.get(name) for name in same} == {n: theirs.attrs[n] for n in same}


def test_missing_frames_are_allowed_or_filled_as_by_the_command(
    run: Run, grid: xr.Dataset, trained: Path, tmp_path: Path
) -> None:
    frames = grid.load().drop_sel(time=np.datetime64("2020-01-01T05:55"))
    frames.to_netcdf(tmp_path / "gap.nc")
    gap = nowcast.open_grid(tmp_path / "gap.nc")
    settings = {"device": "cpu", "precision": "fp32", "max_wet_ratio": 1e9}
    for more in ({"missing_frames": 1}, {"max_gap": 10.0}):
        ours = nowcast.load_forecaster(trained / "best.pt", **settings, **more).forecast(gap, at=AT)
        words = [f"{key}={value}" for key, value in more.items()]
        path = tmp_path / f"{words[0]}.nc"
        command = [f"checkpoint={trained}/best.pt", f"data.path={tmp_path}/gap.nc", f"at={AT}"]
        assert run("predict", *command, *SETTINGS, *words, f"output={path}").code == 0
        theirs = nowcast.open_forecast(path)
        np.testing.assert_array_equal(ours[RATE], theirs[RATE])
        for name in ("missing_input_times", "filled_input_times", "input_times"):
            assert ours.attrs[name] == theirs.attrs[name]
    strict = nowcast.load_forecaster(trained / "best.pt", **settings)
    with pytest.raises(
        MissingInputError, match="no frame at 2020-01-01T05:55 UTC; the forecast needs 3"
    ):
        strict.forecast(gap, at=AT)


def test_infinite_rates_count_as_missing_in_forecasts_and_scores(
    model: nowcast.RadarForecaster, grid: xr.Dataset
) -> None:
    made = []
    for value in (np.inf, np.nan):
        spoilt = grid.load().copy(deep=True)
        spoilt[RATE].values[70:76, 10:14, 12] = value
        forecast = model.forecast(spoilt, at=AT)
        scores = nowcast.score(forecast, spoilt, thresholds=[0.5], fss_scales=[], resamples=0)
        made.append((forecast[RATE].values, scores["csi"].values, scores["mse"].values))
    assert np.isfinite(made[0][1]).all()
    for infinite, missing in zip(*made, strict=True):
        np.testing.assert_array_equal(infinite, missing)


def test_without_a_time_the_newest_frame_is_the_last(
    model: nowcast.RadarForecaster, grid: xr.Dataset
) -> None:
    newest = model.forecast(grid)
    assert newest[REFERENCE_TIME].values == grid["time"].values[-1]
    assert (model.input_steps, model.lead_steps, model.timestep_minutes) == (3, 4, 5.0)


def test_scores_are_those_of_the_command(
    run: Run, forecast: xr.Dataset, model: nowcast.RadarForecaster, grid: xr.Dataset,
    radar_file: Path, tmp_path: Path,
) -> None:  # fmt: skip
    forecasts = [forecast, model.forecast(grid, at="2020-01-01T06:30")]
    for number, one in enumerate(forecasts):
        nowcast.write_forecast(one, tmp_path / f"forecasts/{number}.nc")
    words = [f"forecasts={tmp_path}/forecasts", "data=radar", f"data.path={radar_file}"]
    more = ["baseline=null", f"data.cache={tmp_path}/cache", f"output={tmp_path}/scores"]
    shapes = ["thresholds=[0.5,1]", "fss_scales=[3]", "resamples=10", "seed=3"]
    shapes += ["interval_blocks=event", "event_min_wet_share=0.01", "event_gap_hours=1"]
    assert run("evaluate", *words, *more, *shapes).code == 0
    theirs = xr.open_dataset(tmp_path / "scores" / "scores.nc", decode_timedelta=False)
    ours = nowcast.score(
        forecasts, grid, thresholds=[0.5, 1], fss_scales=[3], resamples=10, seed=3,
        interval_blocks="event", event_min_wet_share=0.01, event_gap_hours=1,
    )  # fmt: skip
    assert set(theirs.data_vars) == set(ours.data_vars)
    for name in theirs.data_vars:
        np.testing.assert_array_equal(ours[name].values, theirs[name].values, err_msg=str(name))
    about = {name: ours.attrs[name] for name in ("cases", "seed", "resamples", "interval_blocks")}
    assert about == {"cases": 2, "seed": 3, "resamples": 10, "interval_blocks": "event"}


def test_a_picture_is_a_figure_or_a_file(
    forecast: xr.Dataset, grid: xr.Dataset, tmp_path: Path
) -> None:
    figure = nowcast.plot(forecast, grid, columns=2)
    assert figure.get_suptitle() == "Forecast from 2020-01-01 06:00 UTC"
    assert len(figure.axes) == 3 * 2 + 1  # past, observed, forecast; and the legend
    assert figure._repr_png_().startswith(b"\x89PNG")
    path = nowcast.plot({"one": forecast, "two": forecast}, output=tmp_path / "f.gif")
    assert path == tmp_path / "f.gif" and path.read_bytes().startswith(b"GIF89a")


def test_what_cannot_be_done_is_told(
    model: nowcast.RadarForecaster, forecast: xr.Dataset, grid: xr.Dataset, trained: Path
) -> None:
    checkpoint = trained / "best.pt"
    for failure, error, says in (
        (lambda: nowcast.load_forecaster("none.pt"), MissingInputError, "none.pt: no such"),
        (lambda: nowcast.load_forecaster(checkpoint, poll=1), ConfigError, "poll: no such setting"),
        (lambda: nowcast.load_forecaster(checkpoint, device="x"), ConfigError, "device: 'x'"),
        (lambda: model.forecast(grid, at="noon"), ConfigError, "at: 'noon' is not a time"),
        (lambda: model.forecast(grid, at="2021-01-01"), MissingInputError, "rain.nc: no frame at 2021"),
        (lambda: model.forecast(grid.isel(time=slice(0))), DataError, "no frame"),
        (lambda: model.forecast(forecast.rename(precipitation_rate="rain")), DataError, "has no"),
        (lambda: model.forecast(grid.assign_attrs(timestep_minutes=10)), DataError, "every 10 min"),
        (lambda: nowcast.score(forecast + np.float32(np.inf), grid), DataError, "holds infinite values"),
        (lambda: nowcast.score([], grid), DataError, "no forecast to score"),
        (lambda: nowcast.score([forecast] * 2, grid), DataError, "two forecasts from"),
        (lambda: nowcast.score(forecast, grid, thresholds=[2, 1]), ConfigError, "thresholds"),
        (lambda: nowcast.score(forecast, grid.isel(time=slice(74))), MissingInputError, "reaches to"),
        (lambda: nowcast.score(forecast, grid.isel(x=slice(9))), DataError, "grid is not that"),
        (lambda: nowcast.score([forecast, forecast.isel(time=slice(2))], grid), DataError, "lead times"),
        (lambda: nowcast.score([forecast, forecast.assign_attrs(method="zero")], grid), DataError, "two forecasts from"),
        (lambda: nowcast.plot({}), DataError, "no forecast to draw"),
        (lambda: nowcast.plot(forecast, colours="x"), ConfigError, "colours"),
        (lambda: nowcast.plot(forecast, grid.isel(time=slice(9))), MissingInputError, "none of"),
        (lambda: nowcast.plot({"a": forecast, "b": forecast.isel(time=slice(2))}), DataError, "b: cannot"),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            failure()


def test_an_implausible_forecast_is_refused(trained: Path, grid: xr.Dataset) -> None:
    strict = nowcast.load_forecaster(
        trained / "best.pt", device="cpu", precision="fp32", max_wet_ratio=1.0
    )
    dry = grid.load().copy(deep=True)
    dry[RATE][-1] = dry[RATE][-1].where(dry[RATE][-1].isnull(), 0.0)
    with pytest.raises(InternalError):
        strict.forecast(dry)


def test_several_threads_forecast_by_one_model(
    model: nowcast.RadarForecaster, grid: xr.Dataset, forecast: xr.Dataset
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    times = [AT, "2020-01-01T06:30"] * 4
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda at: model.forecast(grid, at=at), times))
    assert [one[LEAD_TIME].size for one in made] == [4] * len(times)
    for one in made[::2]:
        np.testing.assert_array_equal(one[RATE], forecast[RATE])


STATE = """
import gc, json, logging, os, random, signal, sys, threading, warnings
import numpy, torch

def state():
    return {
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "mask": repr(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "handlers": repr(logging.root.handlers),
        "levels": [logging.root.level, logging.root.disabled, logging.root.manager.disable],
        "record": repr(logging.getLogRecordFactory()),
        "loggers": [
            (name, one.level, repr(one.handlers)) for name in ("nowcast", "matplotlib", "xarray")
            for one in [logging.getLogger(name)]
        ],
        "path": list(sys.path), "folder": os.getcwd(), "hooks": repr(sys.excepthook),
        "garbage": [gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()],
        "random": hash(random.getstate()), "torch random": torch.random.get_rng_state().tolist(),
        "numpy random": repr(numpy.random.get_state()),
        "torch": [torch.get_num_threads(), torch.get_num_interop_threads(), repr(torch.get_default_dtype()),
                  torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
                  torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark,
                  repr(torch.get_default_device()), torch.is_inference_mode_enabled()],
        "numpy": [numpy.geterr(), repr(numpy.get_printoptions())],
        "streams": [repr(sys.stdout), repr(sys.stderr)],
    }

before, failures = state(), []
def work():
    try:
        exec(SIX_LINES, {})
    except BaseException as error:
        failures.append(repr(error))
thread = threading.Thread(target=work)
thread.start()
thread.join()
exec(SIX_LINES, {})
after = state()
import matplotlib
print(json.dumps({"failures": failures, "changed": {
    key: [str(before[key])[:300], str(after[key])[:300]] for key in before if before[key] != after[key]
}}))
"""


def test_a_process_with_other_work_is_left_as_it_was_in_a_thread_too(mine: Path) -> None:
    code = STATE.replace("SIX_LINES", repr(SIX_LINES))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=mine, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"failures": [], "changed": {}}
    assert done.stderr == ""


def test_import_nowcast_is_cheap() -> None:
    code = (
        "import sys; before = set(sys.modules); import nowcast; dir(nowcast);"
        " print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gc", "nowcast", "nowcast.startup"]


def test_a_grid_is_opened_without_torch_and_a_name_that_is_none_is_an_attribute_error() -> None:
    code = "import sys, nowcast; nowcast.open_grid; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert not hasattr(nowcast, "nothing") and "score" in dir(nowcast)


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy")
def test_mypy_of_a_person_sees_the_types(tmp_path: Path) -> None:
    lines = SIX_LINES + "reveal_type(grid)\nreveal_type(model)\nreveal_type(forecast)\n"
    (tmp_path / "mine.py").write_text(lines + "reveal_type(scores)\nnowcast.plott(forecast)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", f"--config-file={ROOT}/pyproject.toml", f"--cache-dir={ROOT}/.mypy_cache", "mine.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    types = [
        line.split('"')[1].split(".")[-1]
        for line in done.stdout.splitlines()
        if "note: Rev" in line
    ]
    assert types == ["Dataset", "RadarForecaster", "Dataset", "Dataset"]
    assert len(errors) == 1 and 'has no attribute "plott"' in errors[0], done.stdout


def test_any_usual_time_is_taken_and_what_is_none_is_refused(mine: Path) -> None:
    from datetime import UTC, date, datetime, timedelta, timezone

    from nowcast.api.forecasting import _moment

    noon = np.datetime64("2020-01-01T12:00", "ns")
    east = datetime(2020, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    for at in ("2020-01-01T12:00", datetime(2020, 1, 1, 12), datetime(2020, 1, 1, 12, tzinfo=UTC),
               east, noon, xr.DataArray(noon)):  # fmt: skip
        assert _moment(at) == noon
    assert _moment(date(2020, 1, 1)) == np.datetime64("2020-01-01")
    for wrong in (3, [noon], np.array([noon, noon]), np.datetime64("NaT"), None):
        with pytest.raises(ConfigError, match="is not a time"):
            _moment(wrong)


@pytest.mark.parametrize("wrong", [3, "a.nc", xr.Dataset(), [xr.Dataset()]])
def test_what_is_no_forecast_is_refused_by_name(wrong: Any) -> None:
    grid = synthetic_grid(3, 16, 16)
    with pytest.raises(DataError, match="forecast"):
        nowcast.score(wrong, grid)
    with pytest.raises(DataError, match="forecast"):
        nowcast.plot(wrong if not isinstance(wrong, list) else {"a": wrong[0]})
