"""The main job from file to file: train, predict, evaluate, on a small radar file."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import SPLITS, TINY, Outcome

from nowcast.files import sha256
from nowcast.radar import open_grid
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

Run = Callable[..., Outcome]
CASES = ("2020-01-01T06:10", "2020-01-01T06:25", "2020-01-01T06:40")
"""The first frame of the test period is the third of the first case; the others follow at a
stride of 3.
"""
undrawn = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def data(radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["data=radar", f"data.path={radar_file}", f"data.cache={tmp_path}/cache", "device=cpu"]


def test_training_leaves_checkpoints_metrics_curves_and_a_summary(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "best.pt",
        "last.pt",
        "metrics.jsonl",
        "curves.png",
        "summary.json",
        "cache",
        ".hydra",
    }
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["score"] == max(row["validation_csi"] for row in rows)
    checkpoint = read_checkpoint(trained / "best.pt")
    assert checkpoint["config"]["scaling"] == {"kind": "log", "maximum": 100.0, "reference": 0.5}
    assert checkpoint["config"]["timestep_minutes"] == 5


def test_a_finished_run_asked_again_trains_no_further(
    run: Run, radar_file: Path, trained: Path
) -> None:
    before = sha256(trained / "last.pt")
    outcome = run(
        "train",
        *TINY,
        "data=radar",
        f"data.path={radar_file}",
        *SPLITS,
        f"output={trained}",
        f"data.cache={trained}/cache",
    )
    assert outcome.code == 0
    assert sha256(trained / "last.pt") == before


def test_predict_writes_the_forecast_of_the_newest_frames(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data)
    assert outcome.code == 0
    with xr.open_dataset("forecasts/20200101T0755Z.nc", engine="netcdf4") as forecast:
        assert forecast["forecast_reference_time"].values == np.datetime64("2020-01-01T07:55")
        assert forecast["lead_time"].values.tolist() == [5, 10, 15, 20]
        assert forecast["time"].values[0] == np.datetime64("2020-01-01T08:00")
        rates = forecast["precipitation_rate"].values
        assert rates.shape == (4, 34, 41)
        past = open_grid(radar_file)["precipitation_rate"][-3:].values
        assert (np.isnan(rates) == np.isnan(past).all(axis=0)).all()
        assert np.nanmin(rates) >= 0
        assert forecast.attrs["checkpoint_sha256"] == sha256(trained / "best.pt")
        assert json.loads(forecast.attrs["input_times"])[-1] == "2020-01-01T07:55:00Z"
    assert [path.name for path in Path().iterdir() if path.name != "cache"] == ["forecasts"]


def test_predict_at_a_time_uses_no_later_frame(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    """A forecast from a file that ends at that time is the same as one from a file that goes on."""
    run("predict", f"checkpoint={trained}/best.pt", *data, "at=2020-01-01T05:00", "output=a.nc")
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(time=slice(None, 61)).to_netcdf("cut.nc", engine="netcdf4")
    run("predict", f"checkpoint={trained}/best.pt", *data, "data.path=cut.nc", "output=b.nc")
    with (
        xr.open_dataset("a.nc", engine="netcdf4") as a,
        xr.open_dataset("b.nc", engine="netcdf4") as b,
    ):
        np.testing.assert_array_equal(a["precipitation_rate"], b["precipitation_rate"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["at=2020-01-01T00:05"], 66, "no frame at 2019-12-31T23:55"),
        (["at=2020-01-02"], 66, "no frame at"),
        (["at=noon"], 78, "at: 'noon' is not a time"),
        (["output=/dev/null/f.nc"], 73, "/dev/null"),
    ],
)
def test_predict_refuses_what_it_cannot_do(
    run: Run, data: list[str], trained: Path, words: list[str], code: int, says: str
) -> None:
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data, *words)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1)
    assert says in outcome.err
    assert not list(Path().glob("**/*.nc"))


def test_predict_refuses_data_of_another_spacing(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(time=slice(None, None, 2)).to_netcdf("ten.nc", engine="netcdf4")
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data, "data.path=ten.nc")
    assert outcome.code == 65
    assert "frames every 10 minutes, but the model was trained on 5" in outcome.err


def scores(folder: str) -> xr.Dataset:
    with xr.open_dataset(f"{folder}/scores.nc", engine="netcdf4") as dataset:
        return dataset.sel(part="all").load()


@undrawn
def test_forecast_files_and_their_model_get_the_same_scores(
    run: Run, data: list[str], trained: Path
) -> None:
    evaluate = ["evaluate", *data, "thresholds=[0.5,2]"]
    period = f"period=['{CASES[0]}','{CASES[-1]}']"
    outcome = run(*evaluate, f"checkpoint={trained}/best.pt", period, "stride=3", "output=whole")
    assert outcome.code == 0 and "persistence" in outcome.out
    whole = scores("whole")
    assert whole.attrs["cases"] == 3

    for case in CASES:
        run("predict", f"checkpoint={trained}/best.pt", *data, f"at={case}")
    assert (
        run(
            *(word for word in evaluate if word != "device=cpu"),
            "forecasts=forecasts",
            "output=files",
        ).code
        == 0
    )
    files = scores("files")
    for name in whole.data_vars:
        if whole[name].dtype.kind == "i":
            np.testing.assert_array_equal(files[name], whole[name])
        else:  # sums of float32 errors, in batches or one by one
            np.testing.assert_allclose(files[name], whole[name], rtol=1e-6)


def test_evaluate_counts_as_by_hand(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    """Persistence at 10 minutes, ≥ 0.5 mm/h, from the frames themselves."""
    for case in CASES:
        run("predict", f"checkpoint={trained}/best.pt", *data, f"at={case}")
    run("evaluate", *data[:3], "forecasts=forecasts/*.nc", "thresholds=[0.5]", "output=scores")
    rates = open_grid(radar_file)["precipitation_rate"]
    hits = false_alarms = misses = 0
    for case in CASES:
        with xr.open_dataset(
            f"forecasts/{case.replace('-', '').replace(':', '')}Z.nc", engine="netcdf4"
        ) as forecast:
            covered = ~np.isnan(forecast["precipitation_rate"].values[1])
        last = rates.sel(time=case).values
        observed = rates.sel(time=np.datetime64(case) + np.timedelta64(10, "m")).values
        covered &= ~np.isnan(last) & ~np.isnan(observed)
        hits += int(((last >= 0.5) & (observed >= 0.5) & covered).sum())
        false_alarms += int(((last >= 0.5) & (observed < 0.5) & covered).sum())
        misses += int(((last < 0.5) & (observed >= 0.5) & covered).sum())
    here = scores("scores").sel(forecast="persistence", lead_time=10, threshold=0.5)
    assert (int(here["hits"]), int(here["false_alarms"]), int(here["misses"])) == (
        hits,
        false_alarms,
        misses,
    )
    assert float(here["csi"]) == pytest.approx(hits / (hits + false_alarms + misses))
    with open("scores/scores.csv") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["forecast"] == "persistence" and row["lead_minutes"] == "10.0"
        ]
    assert float(rows[0]["csi"]) == pytest.approx(float(here["csi"]))
    assert all(
        Path(f"scores/{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("csi", "frames")
    )


@undrawn
def test_scoring_days_that_a_model_was_trained_on_is_said(
    run: Run, data: list[str], trained: Path
) -> None:
    outcome = run(
        "evaluate",
        *data,
        f"checkpoint={trained}/best.pt",
        "period=['2020-01-01T02:00','2020-01-01T03:00']",
        "stride=6",
    )
    assert outcome.code == 0
    assert "overlaps the train days of this model" in outcome.err


@undrawn
def test_forecasts_without_observations_are_not_scored_and_that_is_said(
    run: Run, data: list[str], trained: Path
) -> None:
    for at in ("2020-01-01T07:00", "2020-01-01T07:55"):
        run("predict", f"checkpoint={trained}/best.pt", *data, f"at={at}")
    outcome = run("evaluate", *data[:3], "forecasts=forecasts")
    assert outcome.code == 0
    assert (
        "1 of 2 forecasts were not scored, because they extend beyond the observed frames"
        in outcome.err
    )
    assert scores("scores").attrs["cases"] == 1


@undrawn
@pytest.mark.parametrize(
    ("experiment", "small"),
    [
        (
            ["moving_mnist_paper"],
            ["model.hidden_channels=[4]", "model.kernel_size=3", "model.input_kernel_size=3"],
        ),
        (["moving_mnist_paper", "model=paper_9x9_1x1_128_128"], ["model.hidden_channels=[4,4]"]),
        (["moving_mnist_paper", "model=paper_fc_lstm_2048_2048"], ["model.hidden_channels=[8,8]"]),
        (["moving_mnist_keras"], ["model.hidden_channels=[4,4,4]", "training.batch_size=4"]),
    ],
    ids=["convlstm", "another row", "fc_lstm", "keras"],
)
def test_moving_mnist_trains_and_is_scored(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    experiment: list[str],
    small: list[str],
) -> None:
    """From an IDX file of squares in place of digits."""
    monkeypatch.chdir(tmp_path)
    images = np.zeros((10_500, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 255
    header = np.array([2051, *images.shape], ">i4").tobytes()
    (tmp_path / "digits-ubyte").write_bytes(header + images.tobytes())
    data = ["data.path=digits-ubyte", "device=cpu"]
    few = [
        "data.train_sequences=4",
        "data.validation_sequences=2",
        "training.epochs=1",
        "training.batch_size=2",
    ]
    assert (
        run(
            "train",
            f"experiment={experiment[0]}",
            *experiment[1:],
            *data,
            *few,
            *small,
            "output=run",
        ).code
        == 0
    )
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text())
    # a cross-entropy summed over a sequence; about ln 2 a pixel at first
    assert 0 < row["validation_loss"] < 10 * 64 * 64
    outcome = run(
        "evaluate",
        "checkpoint=run/best.pt",
        "data=moving_mnist",
        *data,
        "data.test_sequences=2",
        "thresholds=[0.5]",
    )
    assert outcome.code == 0
    assert scores("scores").attrs["cases"] == 2


RADAR_EXPERIMENTS = {
    "radar_paper": ["model.hidden_channels=[4,4]"],
    "hko7": ["model.hidden_channels=[4,4,4]", "model.outer_channels=2"],
}


@undrawn
@pytest.mark.parametrize("experiment", RADAR_EXPERIMENTS)
def test_published_radar_experiments_train_forecast_and_are_scored(
    run: Run, data: list[str], experiment: str
) -> None:
    few = [
        "sampling.windows_per_epoch=4",
        "training.epochs=1",
        "training.batch_size=2",
        "lead_steps=4",
    ]
    assert (
        run(
            "train",
            f"experiment={experiment}",
            *data,
            *SPLITS,
            *few,
            *RADAR_EXPERIMENTS[experiment],
            "output=run",
        ).code
        == 0
    )
    goes_from_file_to_file(run, data)


def goes_from_file_to_file(run: Run, data: list[str]) -> None:
    """The checkpoint run/best.pt forecasts, and is scored."""
    assert run("predict", "checkpoint=run/best.pt", *data, "output=forecast.nc").code == 0
    with xr.open_dataset("forecast.nc", engine="netcdf4") as forecast:
        assert forecast["precipitation_rate"].shape == (4, 34, 41)
    period = "period=['2020-01-01T05:00','2020-01-01T08:00']"
    assert (
        run(
            "evaluate",
            "checkpoint=run/best.pt",
            *data,
            period,
            "stride=8",
            "thresholds=[0.5]",
            "output=scores",
        ).code
        == 0
    )
    assert scores("scores").attrs["cases"] > 0


STACKS = {
    "next_frame": [
        "model=next_frame",
        "model.hidden_channels=[3,3,3]",
        "training.scheduled_sampling=[1,0]",
    ],
    "feedback": [
        "model=encoder_forecaster",
        "model.feedback=true",
        "training.scheduled_sampling=[0.5,0.5]",
    ],
    "strided": [
        "model=encoder_forecaster_strided",
        "model.hidden_channels=[3,3,3]",
        "model.outer_channels=2",
    ],
    "fc_lstm": ["model=fc_lstm", "model.grid_size=[34,41]", "sampling.crop=41"],
}


@undrawn
@pytest.mark.parametrize("stack", STACKS)
def test_every_model_goes_from_file_to_file(run: Run, data: list[str], stack: str) -> None:
    words = [
        *TINY,
        "training.epochs=1",
        "sampling.windows_per_epoch=8",
        *data,
        *SPLITS,
        *STACKS[stack],
        "output=run",
    ]
    assert run("train", *words).code == 0
    goes_from_file_to_file(run, data)
    assert run("train", *words, "training.epochs=2").code == 0
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 2


@undrawn
def test_a_model_of_one_size_refuses_frames_of_another(
    run: Run, data: list[str], radar_file: Path
) -> None:
    words = ["train", *TINY, *data, *SPLITS, "model=fc_lstm", "training.epochs=1", "output=run"]
    outcome = run(*words, "sampling.crop=24")
    assert outcome.code == 78
    assert (
        "nowcast: sampling.crop: fc_lstm" in outcome.err and "set sampling.crop=41" in outcome.err
    )
    outcome = run(*words, "sampling.crop=41")
    assert outcome.code == 78
    assert (
        "nowcast: model.grid_size: is [64, 64]" in outcome.err
        and "set model.grid_size=[34,41]" in outcome.err
    )
    assert not Path("run/last.pt").exists()
    assert run(*words, "sampling.crop=41", "model.grid_size=[34,41]").code == 0
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(y=slice(0, 17)).to_netcdf("half.nc", engine="netcdf4")
    for command in (["predict"], ["evaluate", "period=['2020-01-01T05:00','2020-01-01T07:00']"]):
        outcome = run(*command, "checkpoint=run/best.pt", *data, "data.path=half.nc")
        assert outcome.code == 65
        assert (
            "half.nc: frames of [17, 41], but the model takes only frames of model.grid_size=[34, 41]"
            in outcome.err
        )


def test_predict_gives_the_same_forecast_on_any_grid_size(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(y=slice(0, 17), x=slice(0, 23)).to_netcdf("small.nc", engine="netcdf4")
    assert (
        run(
            "predict",
            f"checkpoint={trained}/best.pt",
            *data,
            "data.path=small.nc",
            "output=small_forecast.nc",
        ).code
        == 0
    )
    with xr.open_dataset("small_forecast.nc", engine="netcdf4") as forecast:
        assert forecast["precipitation_rate"].shape == (4, 17, 23)


def test_bf16_forecasts_are_close_to_fp32(run: Run, data: list[str], trained: Path) -> None:
    """bf16 keeps 8 bits: one part in 256 a rounding, so a few percent after a handful of steps."""
    rates = {}
    for precision in ("fp32", "bf16"):
        run(
            "predict",
            f"checkpoint={trained}/best.pt",
            *data,
            f"precision={precision}",
            f"output={precision}.nc",
        )
        with xr.open_dataset(f"{precision}.nc", engine="netcdf4") as forecast:
            rates[precision] = torch.from_numpy(forecast["precipitation_rate"].values).nan_to_num()
    error = (rates["bf16"] - rates["fp32"]).norm() / rates["fp32"].norm()
    assert 0 < error < 0.05


def test_a_forecast_never_takes_the_place_of_its_inputs(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    before = sha256(radar_file)
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data, f"output={radar_file}")
    assert (outcome.code, sha256(radar_file)) == (78, before)
    Path("folder.nc").mkdir()
    assert run("predict", f"checkpoint={trained}/best.pt", *data, "output=folder.nc").code == 73


def test_a_newest_frame_without_a_measured_pixel_is_refused(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole = whole.load()
    whole["precipitation_rate"][-1] = np.nan
    whole.to_netcdf("nan.nc", engine="netcdf4")
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data, "data.path=nan.nc", "retry=0")
    assert (outcome.code, outcome.err.count("\n")) == (66, 1)
    assert "2020-01-01T07:55 UTC holds no measured pixel" in outcome.err


def test_a_single_frame_is_too_few_and_no_fault(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(time=slice(95, 96)).to_netcdf("one.nc", engine="netcdf4")
    outcome = run("predict", f"checkpoint={trained}/best.pt", *data, "data.path=one.nc")
    assert outcome.code == 66
    assert "no frame at 2020-01-01T07:45" in outcome.err


def test_forecasts_on_a_shifted_grid_are_not_scored(
    run: Run, data: list[str], radar_file: Path, trained: Path
) -> None:
    run("predict", f"checkpoint={trained}/best.pt", *data, "at=2020-01-01T06:30")
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.assign_coords(x=whole["x"] + 500.0).to_netcdf("shifted.nc", engine="netcdf4")
    outcome = run("evaluate", *data[:3], "data.path=shifted.nc", "forecasts=forecasts")
    assert outcome.code == 65
    assert "its grid is not that of the observations ('x' differs)" in outcome.err


@undrawn
def test_a_damaged_cache_is_refused_with_the_way_out(
    run: Run, data: list[str], trained: Path
) -> None:
    evaluate = [
        "evaluate",
        *data,
        f"checkpoint={trained}/best.pt",
        "period=['2020-01-01T06:00','2020-01-01T07:00']",
    ]
    assert run(*evaluate).code == 0
    [frames] = Path("cache").glob("*/frames.npy")
    for content in (b"", b"\x93NUMPY", b"x" * 1000):
        frames.write_bytes(content)
        outcome = run(*evaluate)
        assert (outcome.code, outcome.err.count("\n")) == (65, 1)
        assert "delete" in outcome.err


def test_a_checkpoint_that_describes_no_model_is_bad_data(
    run: Run, data: list[str], trained: Path
) -> None:
    checkpoint = read_checkpoint(trained / "best.pt")
    checkpoint["config"]["model"]["hidden_channels"] = [5, 5]
    write_checkpoint("other.pt", checkpoint)
    outcome = run("predict", "checkpoint=other.pt", *data)
    assert (outcome.code, outcome.err.count("\n")) == (65, 1)
    assert "other.pt: describes a model that this version cannot build" in outcome.err


@undrawn
def test_starting_anew_leaves_nothing_of_the_run_before(
    run: Run, radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        *TINY,
        "data=radar",
        f"data.path={radar_file}",
        *SPLITS,
        "training.epochs=1",
        "output=run",
    ]
    assert run(*words).code == 0
    assert run(*words, "seed=1").code == 78
    outcome = run(*words, "seed=1", "optimizer.lr=1e30", "training.epochs=3", "resume=never")
    assert outcome.code == 70
    left = {path.name for path in (tmp_path / "run").glob("*.pt")}
    rows = (
        (tmp_path / "run/metrics.jsonl").read_text().splitlines()
        if (tmp_path / "run/metrics.jsonl").exists()
        else []
    )
    assert bool(left) == bool(rows)  # only what the new run wrote


@undrawn
def test_another_sweep_into_the_same_output_joins_the_runs_that_are_there(
    run: Run, radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "-m",
        *TINY,
        "data=radar",
        f"data.path={radar_file}",
        *SPLITS,
        "training.epochs=1",
        "output=sweep",
    ]
    assert run(*words, "optimizer.lr=1e-3").code == 0
    outcome = run(*words, "optimizer.lr=1e-4")
    assert outcome.code == 0
    assert outcome.out.count("finished") == 2
    assert "already trained" in run(*words, "optimizer.lr=1e-3").err


def test_describe_prints_json_for_programs_and_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("describe", "--json", "model@other=small", "other.kernel_size=5", "lead_steps=3")
    assert (outcome.code, outcome.err, list(tmp_path.iterdir())) == (0, "", [])
    described = json.loads(outcome.out)
    assert described["grid_size"] == [100, 100] and described["lead_steps"] == 3
    paper, small = described["models"]
    assert (paper["model"]["hidden_channels"], small["model"]["kernel_size"]) == ([64, 64], 5)
    assert (paper["input_shape"], paper["output_shape"]) == (
        [1, 5, 1, 100, 100],
        [1, 3, 1, 100, 100],
    )
    assert paper["parameters"] == 896_260
    for model in (paper, small):
        for key in ("parameters", "multiply_adds", "activation_bytes_training"):
            assert model[key] == sum(layer[key] for layer in model["layers"])
        assert model["activation_bytes_forecasting"] == max(
            layer["activation_bytes_forecasting"] for layer in model["layers"]
        )
    first = paper["layers"][0]
    assert (first["kernel_shape"], first["recurrent_kernel_shape"]) == (
        [256, 4, 3, 3],
        [256, 64, 3, 3],
    )
    assert [gate["name"] for gate in first["parts"]] == ["i", "f", "g", "o"]


def test_describe_prints_tables_of_shapes_and_of_costs_that_a_pipe_does_not_cut(run: Run) -> None:
    outcome = run("describe", "lead_steps=3")
    assert "encoder_forecaster: 1×5×1×100×100 → 1×3×1×100×100, 896,260 parameters\n" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line.strip()]
    shapes, costs = (row for row in rows if row[0] == "encoder.0")
    assert shapes[1:] == ["4×50×50", "256×4×3×3", "256×64×3×3", "256×50×50", "64×50×50", "64×50×50"]
    assert costs[1:6] == ["5", "157", "k", "1.59", "GMAC"]
    assert [row[0] for row in rows].count("i") == 2 * 4
    assert next(row for row in rows if row[0] == "total")[1:3] == ["896", "k"]
    assert "…" not in outcome.out


def test_describe_sets_an_lstm_beside_a_convlstm(run: Run) -> None:
    grid = [
        "grid_size=[8,8]",
        "other.grid_size=[8,8]",
        "other.hidden_channels=[6]",
        "model.hidden_channels=[4]",
    ]
    outcome = run("describe", "model@other=fc_lstm", *grid)
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert "encoder.0 ConvLSTM2d encoder.0 FCLSTM" in lines
    assert "recurrent kernel 16×4×3×3 24×6" in lines
    assert "gates 16×4×4 24" in lines


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (99_960, "100 k"),
        (999_600, "1.00 M"),
        (22_252_800_000, "22.3 G"),
    ],
)
def test_numbers_are_shown_in_three_digits(number: int, shown: str) -> None:
    from nowcast.commands.describe import short

    assert short(number) == shown
