"""The benchmark of a forecast measures what it says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder
from nowcast.radar import RATE, ReadOptions, open_files
from nowcast.training.checkpoints import read_checkpoint

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "predict.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_predict", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["benchmark_predict"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_model_is_that_of_the_demo_or_a_named_one(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        demo = compose("train", ["experiment=demo"])
    assert demo.input_steps == benchmark.INPUT_STEPS
    benchmark.write_untrained(tmp_path / "demo.pt", 3)
    config = read_checkpoint(tmp_path / "demo.pt")["config"]
    assert config["model"] == OmegaConf.to_container(demo.model)
    assert config["scaling"].items() <= OmegaConf.to_container(demo.scaling).items()
    benchmark.write_untrained(tmp_path / "moving.pt", 3, "model=moving")
    moving = read_checkpoint(tmp_path / "moving.pt")["config"]["model"]
    assert (moving["frame"], moving["head"]) == ("moving", "probability")


def test_files_of_one_frame_each_five_minutes_apart(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.write_radar(tmp_path, 32)
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [
        f"20200601T00{minute:02d}.nc" for minute in (0, 5, 10, 15, 20)
    ]
    for path in paths:
        with xr.open_dataset(path) as file:
            assert file[RATE].shape == (1, 32, 32)
    grid = open_files(paths, ReadOptions())
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid[RATE].shape == (5, 32, 32) and (grid[RATE] > 0).any()


@pytest.mark.parametrize("model", ["small", "moving"])
def test_a_round_forecasts_finds_it_again_and_runs_the_bare_model(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "radar").mkdir()
    benchmark.write_radar(tmp_path / "radar", 32)
    benchmark.write_untrained(tmp_path / "demo.pt", 3, f"model={model}")
    monkeypatch.setattr(benchmark, "exports", lambda folder, size, checkpoint: False)
    tasks = benchmark.commands(tmp_path, 32, 3, tmp_path / "demo.pt")
    output = tmp_path / "forecasts" / "checkpoint.nc"
    started: list[tuple[list[str], bool]] = []
    run = benchmark.seconds

    def watched(command: list[str], threads: int) -> float:
        there = output.exists()
        taken: float = run(command, threads)
        started.append((command, there))
        return taken

    monkeypatch.setattr(benchmark, "seconds", watched)
    times = benchmark.one_round(tasks, 1, output.parent)
    assert [there for _, there in started] == [False, False, True]
    assert started[1][0] == started[2][0]
    assert all(value > 0.05 for value in times.values())
    with xr.open_dataset(output, decode_timedelta=False) as forecast:
        assert forecast[RATE].shape == (3, 32, 32)
        assert np.isfinite(forecast[RATE]).mean() > (0.5 if model == "moving" else 1 - 1e-9)
        assert ("probability" in forecast) == (model == "moving")
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in benchmark.table([times, times])
    ]
    assert [row[0] for row in rows] == [benchmark.BARE, benchmark.PREDICT, benchmark.AGAIN]
    assert rows[0][2] == "**1.00** (1.00–1.00)"
    assert rows[1][2].startswith(f"**{times[benchmark.PREDICT] / times[benchmark.BARE]:.2f}**")


def test_the_bare_model_is_as_large_as_that_of_the_checkpoint(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark.write_untrained(tmp_path / "demo.pt", 18)
    settings = read_checkpoint(tmp_path / "demo.pt")["config"]["model"]
    monkeypatch.setattr(benchmark, "exports", lambda folder, size, checkpoint: True)
    tasks = benchmark.commands(tmp_path, 256, 18, tmp_path / "demo.pt")
    assert list(tasks) == [benchmark.BARE, benchmark.PREDICT, benchmark.EXPORTED, benchmark.AGAIN]
    differ = [
        (one, other)
        for one, other in zip(tasks[benchmark.PREDICT], tasks[benchmark.EXPORTED], strict=True)
        if one != other
    ]
    assert [one.partition("=")[0] for one, _ in differ] == ["checkpoint", "output"]
    command = tasks[benchmark.BARE]
    assert command[3:] == [repr(settings), "256", "5", "18"]
    with pytest.raises(SystemExit, match="5 → 18"):
        benchmark.commands(tmp_path, 256, 12, tmp_path / "demo.pt")
