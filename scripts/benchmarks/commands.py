"""Measure the parts of `nowcast train`, `predict` and `evaluate`, each with its lower bound.

    make bench, or python scripts/benchmarks/commands.py [--rounds 5] [--batches 12] [--size 256]

All measurements use synthetic rain. Each part is compared with a bound, the least time that this
machine needs for it, measured in the same run:

    train      experiment=demo. Loading and moving is compared with a bare copy of the same windows
               from a memory map; motion (once for each frame of a series) with only OpenCV's calls;
               the model with only its convolutions; the optimizer with a copy of as many bytes.
    predict    the model of the demo, untrained (time does not depend on the weights), from the
               start of a process. The start (imports, composing the configuration) is compared with
               only importing Hydra, Typer and xarray; opening the model with importing PyTorch;
               frames, motion and forecast with the model's first run in a process; writing with
               xarray's writing. Then whole processes run in turn: importing torch and running the
               bare model once; a forecast; a forecast with the model written by `nowcast export`;
               and a forecast that exists already. Ratios are computed within a round; the first
               round is not counted.
    evaluate   extrapolation, per case, compared with only counting. Two processes score the halves
               of two days at once, then the halves of four days. The additional two days give the
               time of a year's cases, and the longer run must not need more memory.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

from nowcast import startup
from nowcast.cli.schemas import register_schemas
from nowcast.commands.train import build_trainer, open_windows
from nowcast.config.effects import configs_folder
from nowcast.forecast.dataset import open_forecast
from nowcast.model import build_model
from nowcast.model.pointwise import planned_batches
from nowcast.motion.estimation import _CORNERS, _TRACKING, _image, _opencv, estimate_motion
from nowcast.radar.grid import RATE
from nowcast.radar.synthetic import synthetic_grid, write_synthetic
from nowcast.sequences.windows import RadarWindows
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint
from nowcast.training.precision import choose_precision
from nowcast.verification.tally import Tally

WARMING = 3
"""Batches that are not counted: kernels are compiled."""
INPUT_STEPS, LEAD_STEPS, MINUTES, DAY = 5, 12, 5, 288
YEAR = 105_120
"""Cases of a day and of a year, one every 5 minutes."""
THRESHOLDS, SCALES = [0.5, 2.0, 5.0, 10.0, 30.0], [3, 9, 17, 33, 65]

BARE, PREDICT, EXPORTED, AGAIN = (
    "import torch, the bare model once",
    "nowcast predict",
    "nowcast predict, the model exported",
    "nowcast predict, already there",
)
BARE_MODEL = """
import json, sys, time
begun = time.perf_counter()
if sys.argv[5:]:
    import hydra, netCDF4, omegaconf, typer, xarray
composing = time.perf_counter()
import torch
libraries = time.perf_counter()
from nowcast.model import build_model
from nowcast.model.stacks import call_model
size, input_steps, lead_steps = map(int, sys.argv[2:5])
model = build_model(eval(sys.argv[1]), output_channels=1).eval()
frames = torch.rand(1, input_steps, 1, size, size)
built = time.perf_counter()
with torch.inference_mode():
    call_model(model, frames, lead_steps, newest=frames[:, -1, 0])
ended = time.perf_counter()
print(json.dumps([composing - begun, libraries - composing, ended - built]))
"""
"""Time of the least that a process needs for a forecast: importing the configuration libraries
(with one more argument), importing PyTorch, and running the model once.
"""


def seconds(task: Callable[[], Any], repeats: int = 5) -> float:
    """Return the median time of the task, after one run that is not counted."""
    task()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


class Convolutions(TorchDispatchMode):
    """Record the convolutions of a training step, so that they can be repeated separately."""

    takes_any_path = True  # the layer may go on as it does unseen

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (
            torch.ops.aten.convolution.default,
            torch.ops.aten.convolution_backward.default,
        ):
            alike = [
                torch.rand_like(x).contiguous(memory_format=torch.channels_last)
                if isinstance(x, torch.Tensor) and x.ndim == 4
                else x
                for x in args
            ]
            self.calls.append(partial(func, *alike, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def again(self) -> None:
        with torch.no_grad():
            for call in self.calls:
                call()


class Loaded:
    """Iterate over batches and measure the time spent waiting for them."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.seconds = iter(batches), 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            started = time.perf_counter()
            batch = next(self.batches, None)
            if batch is None:
                return
            self.seconds += time.perf_counter() - started
            yield batch


def configuration(command: str, words: list[str]) -> Any:
    """Return the configuration of a command with these overrides."""
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        return OmegaConf.to_object(compose(command, words))


def training(folder: Path, size: int, batches: int) -> list[str]:
    """Return the table rows of a training step."""
    path = write_synthetic(folder / "train.nc", 2 * DAY, size, size)
    words = [
        "experiment=demo", "data=radar", f"data.path={path}", "data.train=[2020-06-01,2020-06-01]",
        "data.validation=[2020-06-02,2020-06-02]", f"data.cache={folder}/cache",
    ]  # fmt: skip
    config = configuration("train", words)
    startup.reuse_memory(largest=2**30, kept=2**31 - 1)  # as the command does
    torch.manual_seed(0)
    windows = open_windows(config).training
    assert isinstance(windows, RadarWindows)
    precision = choose_precision("cpu", "auto")
    trainer = build_trainer(config, asdict(config), windows, precision, folder)
    size_of_batch = config.training.batch_size
    picks = windows.epoch(0)[: (batches + WARMING) * size_of_batch]
    all_batches = [picks[i : i + size_of_batch] for i in range(0, len(picks), size_of_batch)]
    optimizer_seconds = Stopwatch()
    trainer.steps.optimizer.register_step_pre_hook(optimizer_seconds.start)
    trainer.steps.optimizer.register_step_post_hook(optimizer_seconds.stop)
    convolutions = Convolutions()
    planned = config.training.epochs * -(-len(windows) // size_of_batch)
    with planned_batches(planned):
        for batch in trainer._load(windows, all_batches[:WARMING]):
            trainer.steps.take(batch)
        with convolutions:
            trainer.steps.take(batch)
        optimizer_seconds.seconds = 0.0
        loaded, started = Loaded(trainer._load(windows, all_batches[WARMING:])), time.perf_counter()
        for batch in loaded:
            trainer.steps.take(batch)
    whole = (time.perf_counter() - started) / batches
    loading, optimizer = loaded.seconds / batches, optimizer_seconds.seconds / batches
    frames = windows.rates.frames
    one = windows[picks[0]]
    steps, crop = one.shape[0], one.shape[-1]

    def bare() -> None:
        for pick in picks[:size_of_batch]:
            down, right = slice(pick.top, pick.top + crop), slice(pick.left, pick.left + crop)
            np.array(frames[pick.start : pick.start + steps, down, right])

    parameters = sum(p.numel() for p in trainer.model.parameters())
    # AdamW reads a weight, its gradient and two moments, and writes three of them
    moved = torch.rand(parameters * 7 // 2)
    into = torch.empty_like(moved)
    recent = np.asarray(frames[100:104], dtype=np.float32)
    name = f"train, {size_of_batch} windows of {steps}×{crop}×{crop}, {precision.name}"
    motion, alone = partial(estimate_motion, recent), partial(flow, recent)
    once = f"train, a frame of {size}×{size}, once"
    return [
        row(name, "loading and moving", loading, "bare copies from the map", seconds(bare)),
        row(
            name, "model and loss", whole - loading - optimizer, "its convolutions",
            seconds(convolutions.again),
        ),
        row(name, "optimizer", optimizer, "a copy", seconds(partial(into.copy_, moved))),
        row(once, "motion", seconds(motion), "OpenCV alone", seconds(alone)),
    ]  # fmt: skip


def flow(frames: NDArray[np.float32]) -> None:
    """Run only OpenCV's part of a motion field: find corners, and track them forward and back."""
    cv2, images = _opencv(), [_image(frame) for frame in frames]
    for first, second in pairwise(images):
        corners = cv2.goodFeaturesToTrack(first, **_CORNERS)
        ends, _, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None, **_TRACKING)
        cv2.calcOpticalFlowPyrLK(second, first, ends, None, **_TRACKING)


class Stopwatch:
    """Adds up the time between its start and its stop."""

    seconds = started = 0.0

    def start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.started


def write_radar(folder: Path, size: int) -> None:
    """Write a file with one frame for every five minutes, named by its time."""
    grid = synthetic_grid(INPUT_STEPS, size, size)
    for k in range(INPUT_STEPS):
        frame = grid.isel(time=[k])
        name = frame["time"].dt.strftime("%Y%m%dT%H%M").item()
        frame.drop_encoding().to_netcdf(folder / f"{name}.nc", engine="netcdf4")


def write_untrained(path: Path) -> None:
    """Write a checkpoint of the model with which `nowcast train` would start."""
    torch.manual_seed(0)
    whole = asdict(configuration("train", ["experiment=demo"]))
    config = {
        "model": whole["model"],
        "inputs": {"mask": False, "time_of_day": False, "fields": {}},
        "scaling": {key: whole["scaling"][key] for key in ("kind", "maximum", "reference")},
        "input_steps": INPUT_STEPS,
        "lead_steps": LEAD_STEPS,
        "timestep_minutes": float(MINUTES),
    }
    weights = build_model(config["model"], output_channels=1).state_dict()
    parts = {"weights": weights, "ema": None, "calibration": None}
    write_checkpoint(path, {"versions": {}, "config": config, **parts})


def forecasting(folder: Path, size: int) -> dict[str, list[str]]:
    """Return the processes of a round, in order, by their names in the table."""
    for name in ("radar", "forecasts"):
        (folder / name).mkdir()
    write_radar(folder / "radar", size)
    checkpoint, exported = folder / "demo.pt", folder / "demo.onnx"
    write_untrained(checkpoint)
    nowcast = [sys.executable, "-m", "nowcast"]
    predict = [
        *nowcast, "predict", f"data.path={folder}/radar/*.nc",
        f"at=2020-06-01T00:{(INPUT_STEPS - 1) * MINUTES:02d}", "device=cpu", "precision=fp32",
        "max_wet_ratio=1e9",
    ]  # fmt: skip
    first = [
        f"checkpoint={checkpoint}", f"output={folder}/forecasts/one.nc",
        f"status={folder}/status.json",
    ]  # fmt: skip
    again = [*predict, *first[:2]]
    model = repr(read_checkpoint(checkpoint)["config"]["model"])
    sizes = [str(size), str(INPUT_STEPS), str(LEAD_STEPS)]
    tasks = {BARE: [sys.executable, "-c", BARE_MODEL, model, *sizes], PREDICT: [*predict, *first]}
    if find_spec("onnxruntime") is not None:
        words = [f"checkpoint={checkpoint}", f"grid_size=[{size},{size}]", f"output={exported}"]
        timed([[*nowcast, "export", *words]])
        output = f"output={folder}/forecasts/exported.nc"
        tasks[EXPORTED] = [*predict, f"checkpoint={exported}", output]
    return {**tasks, AGAIN: again}


def predicting(folder: Path, size: int, rounds: int) -> tuple[list[str], list[str]]:
    """Return the rows of the parts of a forecast, from the start of a process, and the rows of
    whole processes.
    """
    tasks = forecasting(folder, size)
    bounds, path = [*tasks[BARE], "all"], folder / "forecasts/one.nc"
    found: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        path.unlink(missing_ok=True)
        (folder / "forecasts/exported.nc").unlink(missing_ok=True)
        took = {name: timed([task])[0] for name, task in tasks.items()}
        parts = json.loads((folder / "status.json").read_text())["last_cycle"]["seconds"]
        parts["start"] = took[PREDICT] - sum(parts.values())
        bare = subprocess.run(bounds, check=True, capture_output=True, text=True).stdout
        least = zip(("composing", "libraries", "first run"), json.loads(bare), strict=True)
        for part, one in {**took, **parts, **dict(least)}.items():
            found.setdefault(part, []).append(one)
    # the first round brought the files into memory
    found = {part: times[1:] for part, times in found.items()}
    ms = {part: statistics.median(times) for part, times in found.items()}
    forecast = open_forecast(path).load()
    assert np.isfinite(forecast[RATE]).any()

    def write() -> None:
        forecast.to_netcdf(folder / "again.nc", engine="netcdf4")

    name = f"predict, {INPUT_STEPS} → {LEAD_STEPS} frames of {size}×{size}, fp32"
    return [
        row(name, "start", ms["start"], "import of Hydra, Typer, xarray", ms["composing"]),
        row(name, "opening the model", ms["model"], "import of PyTorch", ms["libraries"]),
        row(name, "frames, motion, forecast", ms["forecast"], "the first run", ms["first run"]),
        row(name, "writing", ms["write"], "xarray", seconds(write)),
    ], [whole_row(task, found[task], found[BARE]) for task in tasks]


def whole_row(name: str, times: Sequence[float], bare: Sequence[float]) -> str:
    """Return the row of a process: its time, and its ratio to the bare model with quartiles."""
    ratios = [one / least for one, least in zip(times, bare, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    took = statistics.median(times) * 1e3
    return f"| {name} | {took:.0f} | **{middle:.2f}** ({low:.2f}–{high:.2f}) |"


def evaluating(folder: Path, size: int) -> tuple[list[str], str]:
    """Return the row of a case, and a sentence on the time of a year."""
    path = write_synthetic(folder / "evaluate.nc", 5 * DAY, size, size)

    def score(days: int) -> tuple[float, int]:
        """Return the seconds and memory that two processes need for the cases of so many days."""
        first = np.datetime64("2020-06-01T01:00")
        half = np.timedelta64(days * DAY // 2 * MINUTES, "m")
        spans = [(first + k * half, first + (k + 1) * half - MINUTES) for k in range(2)]
        return timed(
            [
                [
                    sys.executable, "-m", "nowcast", "evaluate", "baseline=extrapolation",
                    "data=radar", f"data.path={path}", f"data.cache={folder}/cache", "stride=1",
                    f"input_steps={INPUT_STEPS}", f"lead_steps={LEAD_STEPS}",
                    f"thresholds={THRESHOLDS}", f"fss_scales={SCALES}", f"period=[{begin},{end}]",
                    f"output={folder}/scores-{begin}",
                ]
                for begin, end in spans
            ],
            threads=1,
        )  # fmt: skip

    two_days, memory = score(2)
    four_days, memory_of_four = score(4)
    case = (four_days - two_days) / (2 * DAY)
    with xr.open_dataset(path) as grid:
        frames = torch.from_numpy(grid[RATE][: LEAD_STEPS + 1].values)
    minutes = [MINUTES * (k + 1) for k in range(LEAD_STEPS)]
    tally = Tally(THRESHOLDS, minutes, scales=SCALES)
    forecast = {"extrapolation": frames[:1].expand(LEAD_STEPS, -1, -1)[None, :, None]}
    time_of_case = iter(np.arange("2020-01-01", "2021-01-01", 5, "datetime64[m]"))

    def count() -> None:
        tally.add(np.array([next(time_of_case)]), frames[None, 1:], forecast)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    counting = seconds(count) / 2  # two processes count at once
    torch.set_num_threads(threads)
    name = f"evaluate, a case of {LEAD_STEPS}×{size}×{size}, two processes"
    return [row(name, "reading, extrapolation, counting", case, "counting alone", counting)], (
        f"A year of {YEAR:,} such cases takes {case * YEAR / 60:.0f} minutes by two processes; the"
        f" largest held {memory / 1e3:.0f} MB for two days and {memory_of_four / memory:.2f}"
        " times that for four."
    )


def row(command: str, part: str, took: float, bound: str, least: float) -> str:
    return (
        f"| {command} | {part} | {took * 1e3:.1f} | {bound} | {least * 1e3:.1f} |"
        f" {least / took:.0%} |"
    )


def timed(commands: list[list[str]], threads: int | None = None) -> tuple[float, int]:
    """Start all processes at once; return the seconds until all have ended, and the peak memory in
    kB of the largest.
    """
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    started = time.perf_counter()
    processes = [
        subprocess.Popen(one, stdout=subprocess.DEVNULL, env=environment) for one in commands
    ]
    memory = 0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory = max(memory, used.ru_maxrss)
    if any(process.returncode for process in processes):
        raise SystemExit("a command failed; see the lines above.")
    return time.perf_counter() - started, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="forecasts from the start")
    parser.add_argument("--batches", type=int, default=12, help="of training")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side of the grid")
    a = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print(f"\n{torch.get_num_threads()} threads, PyTorch {torch.__version__}\n")
    print("| command | part | ms | bound | ms | the bound's share |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("\n".join(training(folder, a.size, a.batches)), flush=True)
        parts, processes = predicting(folder, a.size, a.rounds)
        print("\n".join(parts), flush=True)
        rows, year = evaluating(folder, a.size)
        print("\n".join(rows))
        print(f"\n{year}")
        print("\n| predict, whole processes | ms | of the bare model's time |\n|---|---|---|")
        print("\n".join(processes))


if __name__ == "__main__":
    main()
