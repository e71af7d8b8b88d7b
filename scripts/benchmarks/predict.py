"""How long from the start of a process to a written forecast?

`nowcast predict` beside PyTorch's import and the bare model, in turns.

    make bench, or python scripts/benchmarks/predict.py [--size 256] [--lead-steps 18] [--threads 2]
    [--rounds 9] [--model moving] [--checkpoint best.pt]

A folder holds five radar files of one frame each, every five minutes, and a checkpoint of the
demo's model, or of another `model=`, untrained if none is given: time does not depend on the
weights. Each round starts, one after the other, a process
that imports torch and runs the bare model once on such frames; one that forecasts, into a folder
where no forecast is; one that does so by the model as `nowcast export` writes it; and one that
finds the forecast there. A ratio is taken within a round; the table has the median and the
quartiles over the rounds. 1 is the bare model. All files are in the page cache, and Python's
compiled ones are there: one round before the others brings them there.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tqdm import tqdm

from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder
from nowcast.forecast.dataset import open_forecast
from nowcast.model import build_model
from nowcast.radar.grid import RATE
from nowcast.radar.synthetic import synthetic_grid
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

INPUT_STEPS, MINUTES = 5, 5

BARE, PREDICT, AGAIN = (
    "import torch, the bare model once",
    "nowcast predict",
    "nowcast predict, already there",
)
EXPORTED = "nowcast predict, the model exported"

BARE_MODEL = """
import sys
import torch
from nowcast.model import build_model
from nowcast.model.stacks import call_model
size, input_steps, lead_steps = map(int, sys.argv[2:5])
model = build_model(eval(sys.argv[1]), output_channels=1).eval()
frames = torch.rand(1, input_steps, 1, size, size)
with torch.inference_mode():
    call_model(model, frames, lead_steps, newest=frames[:, -1, 0])
"""


def write_radar(folder: Path, size: int) -> None:
    """A file of one frame every five minutes, named by its time."""
    grid = synthetic_grid(INPUT_STEPS, size, size)
    for k in range(INPUT_STEPS):
        frame = grid.isel(time=[k])
        name = frame["time"].dt.strftime("%Y%m%dT%H%M").item()
        frame.drop_encoding().to_netcdf(folder / f"{name}.nc", engine="netcdf4")


def write_untrained(path: Path, lead_steps: int, words: str = "experiment=demo") -> None:
    """A checkpoint of the model that `nowcast train` would begin with."""
    torch.manual_seed(0)
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        whole = OmegaConf.to_container(compose("train", [words]))
    assert isinstance(whole, dict)
    config = {
        "model": whole["model"],
        "inputs": {"mask": False, "time_of_day": False, "fields": {}},
        "scaling": {key: whole["scaling"][key] for key in ("kind", "maximum", "reference")},
        "input_steps": INPUT_STEPS,
        "lead_steps": lead_steps,
        "timestep_minutes": float(MINUTES),
    }
    weights = build_model(config["model"], output_channels=1).state_dict()
    parts = {"weights": weights, "ema": None, "calibration": None}
    write_checkpoint(path, {"versions": {}, "config": config, **parts})


def commands(folder: Path, size: int, lead_steps: int, checkpoint: Path) -> dict[str, list[str]]:
    """What is started, by its name in the table, in the order of a round."""
    config = read_checkpoint(checkpoint)["config"]
    if (config["input_steps"], config["lead_steps"]) != (INPUT_STEPS, lead_steps):
        raise SystemExit(
            f"{checkpoint}: forecasts {config['input_steps']} → {config['lead_steps']} frames."
        )
    bare = [
        sys.executable,
        "-c",
        BARE_MODEL,
        repr(config["model"]),
        str(size),
        str(INPUT_STEPS),
        str(lead_steps),
    ]
    shared = [
        sys.executable, "-m", "nowcast", "predict", f"data.path={folder}/radar/*.nc",
        f"at=2020-06-01T00:{(INPUT_STEPS - 1) * MINUTES:02d}", "device=cpu", "precision=fp32",
        "max_wet_ratio=1e9",
    ]  # fmt: skip
    predict = [*shared, f"checkpoint={checkpoint}", f"output={folder}/forecasts/checkpoint.nc"]
    exported = [*shared, f"checkpoint={folder}/demo.onnx", f"output={folder}/forecasts/exported.nc"]
    return {
        BARE: bare,
        PREDICT: predict,
        **({EXPORTED: exported} if exports(folder, size, checkpoint) else {}),
        AGAIN: predict,
    }


def exports(folder: Path, size: int, checkpoint: Path) -> bool:
    """Whether the model could be exported, which needs libraries of its own."""
    if find_spec("onnxruntime") is None:
        return False
    words = [f"checkpoint={checkpoint}", f"grid_size=[{size},{size}]", f"output={folder}/demo.onnx"]
    subprocess.run(
        [sys.executable, "-m", "nowcast", "export", *words], check=True, capture_output=True
    )
    return True


def seconds(command: Sequence[str], threads: int) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
    )
    return time.perf_counter() - started


def one_round(tasks: dict[str, list[str]], threads: int, outputs: Path) -> dict[str, float]:
    shutil.rmtree(outputs, ignore_errors=True)
    return {name: seconds(task, threads) for name, task in tasks.items()}


def table(rounds: Sequence[dict[str, float]]) -> list[str]:
    """A row for each task."""
    rows = []
    for name in rounds[0]:
        ratios = [one[name] / one[BARE] for one in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        rows.append(
            f"| {name} | {statistics.median(one[name] for one in rounds) * 1e3:.0f} |"
            f" **{middle:.2f}** ({low:.2f}–{high:.2f}) |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "size": 256,
        "lead-steps": 18,
        "threads": torch.get_num_threads(),
        "rounds": 9,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--checkpoint", type=Path, help="of a model that sees the rain only, 5 frames → lead-steps"
    )
    parser.add_argument("--model", help="of configs/model, in place of the demo's")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "radar").mkdir()
        write_radar(folder / "radar", a.size)
        if a.checkpoint is None:
            words = f"model={a.model}" if a.model else "experiment=demo"
            write_untrained(folder / "demo.pt", a.lead_steps, words)
        tasks = commands(folder, a.size, a.lead_steps, a.checkpoint or folder / "demo.pt")
        outputs = folder / "forecasts"
        one_round(tasks, a.threads, outputs)
        for path in outputs.glob("*.nc"):
            rates = open_forecast(path)[RATE]
            assert rates.shape == (a.lead_steps, a.size, a.size) and np.isfinite(rates).any()
        rounds = [
            one_round(tasks, a.threads, outputs)
            for _ in tqdm(range(a.rounds), "rounds", disable=None, leave=False)
        ]
    print(
        f"\n{INPUT_STEPS} → {a.lead_steps} frames of {a.size} × {a.size}, CPU, fp32, {a.threads}"
        f" threads; {a.rounds} rounds\n"
    )
    print(
        "| from the start of a process to its end | ms | of the bare model's time |\n|---|---|---|"
    )
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
