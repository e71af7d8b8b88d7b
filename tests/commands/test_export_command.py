"""A model that was exported forecasts what its checkpoint does, without PyTorch; a file that is
anything else is refused.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import Outcome

from nowcast.errors import DataError
from nowcast.factories.exported_model import ExportedModel
from nowcast.forecast.dataset import open_forecast
from nowcast.forecast.exported import open_exported, read_exported, seal
from nowcast.model import build_model
from nowcast.radar import open_grid
from nowcast.radar.grid import RATE
from nowcast.radar.placing.grid_match import Turn
from nowcast.sequences.scene import Scene
from nowcast.training.checkpoints import write_checkpoint

pytest.importorskip("onnxruntime")
Run = Callable[..., Outcome]
MODEL = {
    "name": "encoder_forecaster", "hidden_channels": [4, 4], "kernel_size": 3,
    "input_kernel_size": 3, "patch_size": 2, "feedback": False, "output_activation": "identity",
    "frame": "fixed", "head": "rate", "thresholds": [], "output_grid": "pixels",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that is told which pixels were measured, 3 frames → 2."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("export") / "best.pt"
    config = {
        "model": MODEL, "inputs": {"mask": True, "time_of_day": False, "fields": {}},
        "scaling": {"kind": "log", "maximum": 100, "reference": 0.5}, "input_steps": 3,
        "lead_steps": 2, "timestep_minutes": 5.0,
    }  # fmt: skip
    weights = build_model(MODEL, 2, output_channels=1).state_dict()
    write_checkpoint(
        path,
        {
            "versions": {"nowcast": "0"},
            "config": config,
            "place": None,
            "weights": weights,
            "ema": None,
        },
    )
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "nowcast",
        "export",
        f"checkpoint={checkpoint}",
        "grid_size=[34,41]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "best.onnx: 3 → 2 frames of 34 × 41, 0.1 MB; equal to " in done.stdout
    path = checkpoint.with_suffix(".onnx")
    assert b".py" not in path.read_bytes()  # no trace of where it was made
    return path


@pytest.fixture
def words(radar_file: Path) -> list[str]:
    return ["predict", f"data.path={radar_file}", "at=2020-01-01T06:00", "max_wet_ratio=1e9"]


def rates(path: Path) -> np.ndarray:
    return open_forecast(path)[RATE].values


def test_its_forecast_is_that_of_the_checkpoint(
    run: Run, words: list[str], checkpoint: Path, exported: Path, tmp_path: Path
) -> None:
    assert (
        run(
            *words,
            f"checkpoint={checkpoint}",
            "device=cpu",
            "precision=fp32",
            f"output={tmp_path}/a.nc",
        ).code
        == 0
    )
    assert run(*words, f"checkpoint={exported}", f"output={tmp_path}/b.nc").code == 0
    assert np.isnan(rates(tmp_path / "a.nc")).any()
    np.testing.assert_allclose(
        rates(tmp_path / "b.nc"), rates(tmp_path / "a.nc"), rtol=1e-4, atol=1e-5
    )
    about = open_forecast(tmp_path / "b.nc").attrs
    assert (about["checkpoint"], about["computed_on"]) == (str(exported), "CPU, fp32, ONNX Runtime")
    assert about["exported_from_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert about["checkpoint_sha256"] == hashlib.sha256(exported.read_bytes()).hexdigest()
    assert (
        read_exported(exported).about["exported_from_sha256"]
        == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    )


def test_of_a_missing_frame_it_sees_what_the_checkpoint_does(
    run: Run, words: list[str], checkpoint: Path, exported: Path, radar_file: Path, tmp_path: Path
) -> None:
    import xarray as xr

    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.drop_sel(time=np.datetime64("2020-01-01T05:55")).to_netcdf(
            tmp_path / "gap.nc", engine="netcdf4"
        )
    gap = [*words, f"data.path={tmp_path}/gap.nc", "missing_frames=1"]
    assert (
        run(
            *gap,
            f"checkpoint={checkpoint}",
            "device=cpu",
            "precision=fp32",
            f"output={tmp_path}/a.nc",
        ).code
        == 0
    )
    outcome = run(*gap, f"checkpoint={exported}", f"output={tmp_path}/b.nc")
    assert (outcome.code, "masked for the model" in outcome.err) == (0, True)
    np.testing.assert_allclose(
        rates(tmp_path / "b.nc"), rates(tmp_path / "a.nc"), rtol=1e-4, atol=1e-5
    )


def test_it_turns_frames_that_are_stored_the_other_way_round(
    exported: Path, radar_file: Path
) -> None:
    config = SimpleNamespace(
        device="auto",
        precision="auto",
        max_memory_gb=None,
        rate="csi",
        input_paths={},
        data=SimpleNamespace(path=""),
    )
    model, rain = (
        ExportedModel(str(exported), config),
        open_grid(radar_file).isel(time=slice(70, 73)).load(),
    )
    for missing in (np.zeros(3, bool), np.array([False, True, False])):
        scene = Scene(rain, np.timedelta64(5, "m"), missing, np.zeros(3, bool))
        wanted = model.forecast_of(scene).rates
        for turn, axes in ((Turn(rows=True), ["y"]), (Turn(rows=True, columns=True), ["y", "x"])):
            other = rain.isel({axis: slice(None, None, -1) for axis in axes}).copy(deep=True)
            flipped = Scene(other, np.timedelta64(5, "m"), missing, np.zeros(3, bool))
            np.testing.assert_array_equal(turn(model.forecast_of(flipped, turn).rates), wanted)
    assert not np.array_equal(wanted, wanted[:, ::-1], equal_nan=True)


def test_it_imports_no_pytorch(words: list[str], exported: Path, tmp_path: Path) -> None:
    told = (
        "import sys\nfrom nowcast.cli import main\ntry:\n    main()\nfinally:\n    print('torch' in"
        " sys.modules)"
    )
    command = [
        sys.executable,
        "-c",
        told,
        *words,
        f"checkpoint={exported}",
        f"output={tmp_path}/a.nc",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_it_leaves_nothing_in_the_home_folder_and_needs_no_network(
    words: list[str], exported: Path, tmp_path: Path
) -> None:
    """ONNX Runtime would write a device id and a list of events there, which a process that
    stays tries to send.
    """
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        key: text for key, text in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"
    } | {"HOME": str(home)}
    alone = ["unshare", "--map-root-user", "--net"]
    can = (
        shutil.which("unshare") is not None
        and subprocess.run([*alone, "true"], capture_output=True).returncode == 0
    )
    command = [
        sys.executable,
        "-m",
        "nowcast",
        *words,
        f"checkpoint={exported}",
        f"output={tmp_path}/a.nc",
    ]
    done = subprocess.run(
        [*(alone if can else []), *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_its_python_interface_tells_nobody_either(exported: Path, tmp_path: Path) -> None:
    code = f"from nowcast.forecast.exported import read_exported; read_exported({str(exported)!r})"
    environment = {
        key: text for key, text in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"
    } | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_a_graph_that_fills_the_memory_is_not_run(
    run: Run, words: list[str], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file says of the memory that it takes."""
    import onnx

    model = onnx.load_model_from_string(exported.read_bytes()[:-84])
    shape = onnx.helper.make_tensor("wide", onnx.TensorProto.INT64, [2], [10**6, 10**6])
    model.graph.initializer.append(shape)
    huge = [
        onnx.helper.make_node("ConstantOfShape", ["wide"], ["huge"]),
        onnx.helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
    ]
    model.graph.node.extend(huge)
    body = model.SerializeToString()
    path = tmp_path / "huge.onnx"
    path.write_bytes(
        body + exported.read_bytes()[-84:-64] + hashlib.sha256(body).hexdigest().encode()
    )
    outcome = run(*words, f"checkpoint={path}", f"output={tmp_path}/a.nc")
    assert (outcome.code, "huge.onnx: needs 4000 GB to forecast" in outcome.err) == (
        69,
        True,
    ), outcome.err


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["device=cuda"], 78, "device: an exported model runs on the CPU"),
        (["precision=bf16"], 78, "precision: an exported model runs on the CPU in fp32"),
        (["max_memory_gb=1e-5"], 69, "GB to forecast, but only 1e-05 GB may be used"),
        (["rate=median"], 78, "gives rates, not probabilities; leave it out"),
        (["missing_frames=3"], 78, "missing_frames: the model sees 3 frames"),
    ],
)
def test_what_it_cannot_do_is_refused(
    run: Run, words: list[str], exported: Path, more: list[str], code: int, says: str
) -> None:
    outcome = run(*words, f"checkpoint={exported}", *more, "output=never.nc")
    assert (outcome.code, outcome.err.count("\n")) == (code, 1)
    assert says in outcome.err


def test_frames_of_another_size_are_refused(
    run: Run, words: list[str], exported: Path, radar_file: Path, tmp_path: Path
) -> None:
    import xarray as xr

    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(x=slice(0, 40)).to_netcdf(tmp_path / "narrow.nc", engine="netcdf4")
    outcome = run(
        *words,
        f"data.path={tmp_path}/narrow.nc",
        f"checkpoint={exported}",
        f"output={tmp_path}/a.nc",
    )
    assert outcome.code == 65
    assert (
        "frames of [34, 40], but" in outcome.err
        and "export it with grid_size=[34, 40]" in outcome.err
    )
    assert not (tmp_path / "a.nc").exists()


@pytest.mark.parametrize("threads", ["", "2,1", "many"])
def test_an_odd_number_of_threads_costs_no_forecast(
    threads: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    made = read_exported(exported).forecast(np.zeros((1, 3, 1, 34, 41), np.float32))
    assert made.rates.shape == (2, 34, 41)


def test_a_baseline_takes_its_steps_from_a_model_that_could_not_be_run(
    run: Run, words: list[str], checkpoint: Path, exported: Path, tmp_path: Path
) -> None:
    for k, path in enumerate((checkpoint, exported)):
        more = ["device=cuda", "max_memory_gb=1e-5", f"output={tmp_path}/{k}.nc"]
        outcome = run(*words, "model=persistence", f"checkpoint={path}", *more)
        assert outcome.code == 0, outcome.err
        assert rates(tmp_path / f"{k}.nc").shape == (2, 34, 41)


def test_one_flipped_bit_anywhere_is_noticed(exported: Path) -> None:
    content = exported.read_bytes()
    places = [*range(0, len(content), len(content) // 400), *range(len(content) - 90, len(content))]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(DataError, match=r"export it again\.$"):
            open_exported(bytes(flipped), "flipped.onnx")


def test_what_is_no_exported_model_is_refused(exported: Path) -> None:
    content = exported.read_bytes()
    body = content[:-84]  # what the checksum is of

    def sealed(body: bytes) -> bytes:
        return body + content[-84:-64] + hashlib.sha256(body).hexdigest().encode()

    assert open_exported(sealed(body), "whole.onnx").about["grid_size"] == [34, 41]
    for no_model, says in {
        b"": "or cut short",
        content[:-1]: "or cut short",
        body: "or cut short",
        sealed(b"no model"): "ONNX Runtime cannot use it",
        sealed(body + b"\x0a\x08location\x12\x0b/etc/passwd"): "refers to other files",
        sealed(body + b"\x12\x0b/etc/passwd\x0a\x88\x00location"): "refers to other files",
        sealed(body.replace(b'"grid_size"', b'"grid_sizf"')): "ONNX Runtime cannot use it",
        sealed(
            body.replace(b'"lead_steps": 2', b'"lead_steps": 3')
        ): "its graph does not match its metadata",
        sealed(
            body.replace(b'"memory_bytes": ', b'"memory_bytes":-')
        ): "its graph does not match its metadata",
        seal(b"", {}): "ONNX Runtime cannot use it",
    }.items():
        with pytest.raises(DataError, match=says):
            open_exported(no_model, "no.onnx")
    newer = body.replace(b'{"schema": 2,', b'{"schema": 9,')
    assert newer != body
    with pytest.raises(DataError, match=r"written by a newer nowcast \(schema 9, here 2\)"):
        open_exported(sealed(newer), "newer.onnx")


def test_a_file_of_schema_1_still_forecasts(exported: Path) -> None:
    """It says nothing of a frame, a head or thresholds."""
    import onnx

    past = np.random.default_rng(0).random((1, 3, 1, 34, 41), np.float32)
    model = onnx.load_model_from_string(exported.read_bytes()[:-84])
    about = json.loads(model.metadata_props[0].value)
    about["config"]["model"] = {
        key: value
        for key, value in about["config"]["model"].items()
        if key not in ("frame", "head", "thresholds", "output_grid")
    }
    del model.metadata_props[:], about["thresholds"], about["schema"]
    old = open_exported(seal(model.SerializeToString(), {**about, "schema": 1}), "old.onnx")
    assert old.about["schema"] == 1 and not old.moving
    made = old.forecast(past)
    assert made.probabilities is None
    np.testing.assert_array_equal(made.rates, read_exported(exported).forecast(past).rates)


def test_it_stays_whole_where_it_cannot_be_exported(
    run: Run, checkpoint: Path, exported: Path, tmp_path: Path
) -> None:
    before = exported.read_bytes()
    for words, code, says in [
        (
            [f"checkpoint={exported}", "grid_size=[34,41]", f"output={tmp_path}/a.onnx"],
            65,
            "is an exported model, which only 'nowcast predict' can use",
        ),
        ([f"checkpoint={tmp_path}/absent.pt", "grid_size=[34,41]"], 66, "no such"),
        ([f"checkpoint={checkpoint}"], 78, "grid_size: needs a value"),
        ([f"checkpoint={checkpoint}", "grid_size=[34]"], 78, "grid_size"),
        (
            [f"checkpoint={checkpoint}", "grid_size=[34,41]", "output=model.bin"],
            78,
            "must end in .onnx",
        ),
    ]:
        outcome = run("export", *words)
        assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome.err
        assert says in outcome.err
    assert exported.read_bytes() == before
    assert json.dumps(sorted(os.listdir(tmp_path))) == "[]"
