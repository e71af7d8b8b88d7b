"""A model of the moving frame that was exported forecasts what its checkpoint does, from motion
that is estimated without PyTorch.
"""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import Outcome

from nowcast import load_forecaster
from nowcast.commands.export import _compared, export
from nowcast.config.export import ExportConfig
from nowcast.errors import DataError
from nowcast.factories.exported_model import ExportedModel
from nowcast.factories.trained_model import TrainedModel
from nowcast.forecast.dataset import open_forecast
from nowcast.forecast.exported import open_exported, seal
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.model import build_model
from nowcast.probability.calibration import Calibration
from nowcast.probability.case_cuts import SIZES, PastForecasts
from nowcast.radar import open_grid
from nowcast.radar.placing.grid_match import AS_STORED, Turn
from nowcast.sequences.scene import Scene
from nowcast.training.checkpoints import write_checkpoint

pytest.importorskip("onnxruntime")
Run = Callable[..., Outcome]
THRESHOLDS = [0.2, 1.0, 5.0]
SIZE = [34, 41]
KINDS = [("probability", False), ("rate", True)]
"""Heads, and whether the model is told which pixels were measured."""


def checkpoint(path: Path, head: str, mask: bool) -> Path:
    """Write a random model, 3 frames → 2."""
    torch.manual_seed(1)
    settings = {
        "name": "encoder_forecaster", "hidden_channels": [4, 4], "kernel_size": 3,
        "input_kernel_size": 3, "patch_size": 4, "feedback": False, "frame": "moving",
        "output_activation": "identity", "output_grid": "refined", "head": head,
        "thresholds": THRESHOLDS,
    }  # fmt: skip
    model = build_model(settings, 1 + mask, output_channels=1)
    weights = {name: w + 0.2 * torch.randn_like(w) for name, w in model.state_dict().items()}
    if head == "rate":
        weights["output.bias"] += 0.5  # so that it rains, …
        weights["detail.output.weight"] /= 20  # … and not beyond all measure
    ones = torch.ones(2, len(THRESHOLDS))
    falling = torch.linspace(0.6, 0, SIZES["area"]).expand(2, len(THRESHOLDS), -1)
    past = PastForecasts(falling, falling**2, falling[..., :1] / 2)
    calibration = Calibration(
        tuple(THRESHOLDS), 1.2 * ones, -0.1 * ones, 0.3 * ones, past, 1e-5 * ones
    )
    config = {
        "model": settings, "inputs": {"mask": mask, "time_of_day": False, "fields": {}},
        "scaling": {"kind": "log", "maximum": 100, "reference": 0.5}, "input_steps": 3,
        "lead_steps": 2, "timestep_minutes": 5.0,
    }  # fmt: skip
    whole = {"versions": {}, "config": config, "place": None, "weights": weights, "ema": None}
    kept = calibration.state() if head == "probability" else None
    write_checkpoint(path, {**whole, "calibration": kept})
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """For each head, the exported file and what the command printed."""
    folder, made = tmp_path_factory.mktemp("moving"), {}
    for head, mask in KINDS:
        path = checkpoint(folder / f"{head}.pt", head, mask)
        with redirect_stdout(io.StringIO()) as printed:
            onnx = export(ExportConfig(str(path), SIZE, None))
        made[head] = onnx, printed.getvalue()
    return made


def settings(**more: Any) -> Any:
    known = {"device": "cpu", "precision": "fp32", "rate": "csi", "max_memory_gb": None}
    return SimpleNamespace(**known, input_paths={}, data=SimpleNamespace(path=""), **more)


def scene(radar_file: Path, *missing: int) -> Scene:
    rain = open_grid(radar_file).isel(time=slice(70, 73)).load().copy(deep=True)
    gone = np.isin(np.arange(3), missing)
    rain["precipitation_rate"].values[gone] = np.nan
    return Scene(rain, np.timedelta64(5, "m"), gone, np.zeros(3, bool))


@pytest.mark.parametrize("head", ["probability", "rate"])
@pytest.mark.parametrize("missing", [(), (1,), (0, 1)])
@pytest.mark.parametrize("turn", [AS_STORED, Turn(rows=True)])
def test_its_forecast_is_that_of_the_checkpoint(
    exported: dict[str, tuple[Path, str]],
    radar_file: Path,
    head: str,
    missing: tuple[int, ...],
    turn: Turn,
) -> None:
    path = exported[head][0]
    seen = scene(radar_file, *missing)
    ours = ExportedModel(str(path), settings()).forecast_of(seen, turn)
    theirs = TrainedModel(str(path.with_suffix(".pt")), settings()).forecast_of(seen, turn)
    assert np.isnan(theirs.rates).any() and np.nanmax(theirs.rates) > 0.2
    np.testing.assert_allclose(ours.rates, theirs.rates, rtol=1e-3, atol=1e-4)
    assert (ours.probabilities is None) == (theirs.probabilities is None) == (head == "rate")
    if ours.probabilities is not None and theirs.probabilities is not None:
        assert ours.probabilities.thresholds == theirs.probabilities.thresholds
        np.testing.assert_allclose(
            ours.probabilities.values, theirs.probabilities.values, rtol=1e-3, atol=1e-5
        )


def test_the_command_says_how_far_it_is_from_the_checkpoint(
    exported: dict[str, tuple[Path, str]],
) -> None:
    assert "probability.onnx: 3 → 2 frames of 34 × 41, " in exported["probability"][1]
    assert " in probability; a forecast of known motion takes " in exported["probability"][1]
    assert " mm/h; a forecast of known motion takes " in exported["rate"][1]
    took = re.search(
        r"takes ([\d.]+) s with the exported model( \(slower\))? and ([\d.]+) s with the checkpoint\n",
        exported["rate"][1],
    )
    assert took and (took[2] is None or took[1] >= took[3]), exported["rate"][1]


def test_it_writes_probabilities_and_imports_no_pytorch_though_a_frame_is_missing(
    run: Run, exported: dict[str, tuple[Path, str]], radar_file: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.drop_sel(time=np.datetime64("2020-01-01T05:55")).to_netcdf(
            tmp_path / "gap.nc", engine="netcdf4"
        )
    words = [
        "predict", f"data.path={tmp_path}/gap.nc", "at=2020-01-01T06:00", "max_wet_ratio=1e9",
        "missing_frames=1",
    ]  # fmt: skip
    path = exported["probability"][0]
    told = (
        "import sys\nfrom nowcast.cli import main\ntry:\n    main()\nfinally:\n    print('torch' in"
        " sys.modules)"
    )
    more = [f"checkpoint={path}", f"output={tmp_path}/a.nc"]
    command = [sys.executable, "-c", told, *words, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert "no frame at 2020-01-01T05:55 UTC: the model has no mask" in done.stderr
    more = [f"checkpoint={path.with_suffix('.pt')}", "device=cpu", "precision=fp32"]
    assert run(*words, *more, f"output={tmp_path}/b.nc").code == 0
    ours, theirs = open_forecast(tmp_path / "a.nc"), open_forecast(tmp_path / "b.nc")
    assert ours["threshold"].values.tolist() == THRESHOLDS
    np.testing.assert_allclose(ours["probability"], theirs["probability"], atol=0.0051)


@pytest.mark.parametrize(
    ("head", "rate"), [("probability", "median"), ("probability", "csi"), ("rate", None)]
)
def test_a_forecast_says_how_its_rates_followed_from_probabilities(
    exported: dict[str, tuple[Path, str]], radar_file: Path, head: str, rate: str | None
) -> None:
    path, given = exported[head][0].with_suffix(".pt"), {} if rate is None else {"rate": rate}
    model = load_forecaster(path, device="cpu", max_wet_ratio=1e9, **given)
    made = model.forecast(open_grid(radar_file), at="2020-01-01T06:00")
    assert made.attrs.get("rate") == rate


def test_another_rate_is_refused(
    run: Run, exported: dict[str, tuple[Path, str]], radar_file: Path
) -> None:
    words = [f"data.path={radar_file}", f"checkpoint={exported['probability'][0]}", "rate=median"]
    outcome = run("predict", *words, "output=never.nc")
    assert (outcome.code, outcome.err.count("\n")) == (78, 1)
    assert "was exported with rate=csi" in outcome.err


@pytest.mark.parametrize(
    "change",
    [
        {"frame": "fixed"},
        {"thresholds": [0.2, 1.0]},
        {"thresholds": [5.0, 1.0, 0.2]},
        {"thresholds": [0.0, 1.0, 5.0]},
        {"thresholds": None},
    ],
    ids=str,
)
def test_a_graph_that_is_not_what_the_file_says_is_refused(
    exported: dict[str, tuple[Path, str]], change: dict[str, Any]
) -> None:
    import onnx

    model = onnx.load_model_from_string(exported["probability"][0].read_bytes()[:-84])
    about = json.loads(model.metadata_props[0].value)
    del model.metadata_props[:]
    graph = model.SerializeToString()
    assert open_exported(seal(graph, about), "same.onnx").moving
    if "frame" in change:
        about["config"]["model"]["frame"] = change["frame"]
    else:
        about |= change
    with pytest.raises(DataError, match="its graph does not match its metadata"):
        open_exported(seal(graph, about), "other.onnx")


def test_pixels_that_rounding_puts_elsewhere_are_counted() -> None:
    theirs = SceneForecast(
        np.ones((2, 50, 100), np.float32),
        FileProbabilities((1.0,), np.full((2, 1, 50, 100), 0.5, np.float32)),
    )
    moved = theirs.rates.copy()
    moved[0, 0, 0], moved[1, 1, 1] = 0, 1.0005
    ours = replace(theirs, rates=moved)
    assert _compared(theirs, theirs, 0.0) == "0.0e+00 mm/h and 0.0e+00 in probability"
    said = "5.0e-04 mm/h and 0.0e+00 in probability, apart from 0.0001 of the pixels"
    assert _compared(ours, theirs, 1e-3) == said
    assert _compared(ours, theirs, 0.0) is None
    moved[0, :2] = np.nan
    assert _compared(ours, theirs, 1e-3) is None
