"""The benchmark of whole commands measures each part beside its bound."""

import contextlib
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nowcast.radar import RATE, ReadOptions, open_files
from nowcast.training.checkpoints import read_checkpoint

SCRIPTS = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture
def commands():
    spec = importlib.util.spec_from_file_location("commands_benchmark", SCRIPTS / "commands.py")
    module = sys.modules["commands_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(rows):
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_each_part_of_a_training_step_stands_beside_its_bound(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "planned_batches", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(commands.startup, "reuse_memory", lambda **_: None)
    found = cells(commands.training(tmp_path, 136, 1))
    assert [row[1] for row in found] == [
        "loading and moving",
        "model and loss",
        "optimizer",
        "motion",
    ]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in found)
    assert float(found[1][4]) < float(found[1][2])  # convolutions, and all else


def test_the_model_is_that_of_the_demo(commands, tmp_path):
    demo = commands.configuration("train", ["experiment=demo"])
    assert demo.input_steps == commands.INPUT_STEPS
    commands.write_untrained(tmp_path / "demo.pt")
    config = read_checkpoint(tmp_path / "demo.pt")["config"]
    assert config["model"] == asdict(demo)["model"]
    assert config["scaling"].items() <= asdict(demo.scaling).items()


def test_files_of_one_frame_each_five_minutes_apart(commands, tmp_path):
    commands.write_radar(tmp_path, 32)
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [
        f"20200601T00{minute:02d}.nc" for minute in (0, 5, 10, 15, 20)
    ]
    grid = open_files(paths, ReadOptions())
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid[RATE].shape == (5, 32, 32) and (grid[RATE] > 0).any()


def test_a_round_forecasts_finds_it_again_and_runs_the_bare_model(commands, tmp_path, monkeypatch):
    """Each part of the forecast stands beside its bound, each process beside the bare model."""
    monkeypatch.setattr(commands, "find_spec", lambda _: None)  # exporting takes half a minute
    output, started, timed = tmp_path / "forecasts/one.nc", [], commands.timed

    def watched(tasks):
        there, took = output.exists(), timed(tasks)
        started.append((tasks[0][2:4], there, output.exists()))
        return took

    monkeypatch.setattr(commands, "timed", watched)
    rows, processes = commands.predicting(tmp_path, 32, 1)
    found = cells(rows)
    assert [row[1] for row in found] == [
        "start", "opening the model", "frames, motion, forecast", "writing",
    ]  # fmt: skip
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in found)
    predict = ["nowcast", "predict"]
    assert [there for task, there, _ in started if task == predict] == [False, True] * 2
    assert all(after for task, _, after in started if task == predict)
    found = cells(processes)
    assert [row[0] for row in found] == [commands.BARE, commands.PREDICT, commands.AGAIN]
    assert found[0][2] == "**1.00** (1.00–1.00)"
    ratio = float(found[1][1]) / float(found[0][1])
    assert float(found[1][2].split("**")[1]) == pytest.approx(ratio, abs=0.02)
    with xr.open_dataset(output, decode_timedelta=False) as forecast:
        assert forecast[RATE].shape == (commands.LEAD_STEPS, 32, 32)
        assert np.isfinite(forecast[RATE][0]).mean() > 0.5  # rain that moves in is missing


def test_the_model_exported_is_asked_for_the_same_forecast(commands, tmp_path, monkeypatch):
    exported = []
    monkeypatch.setattr(commands, "find_spec", lambda _: True)
    monkeypatch.setattr(commands, "timed", lambda tasks: exported.append(tasks[0][3]))
    tasks = commands.forecasting(tmp_path, 256)
    assert exported == ["export"]
    assert list(tasks) == [commands.BARE, commands.PREDICT, commands.EXPORTED, commands.AGAIN]
    one, other = tasks[commands.AGAIN], tasks[commands.EXPORTED]
    differ = [word for word, theirs in zip(one, other, strict=True) if word != theirs]
    assert [word.partition("=")[0] for word in differ] == ["checkpoint", "output"]
    assert tasks[commands.BARE][4:] == ["256", "5", "12"]


def test_a_ratio_is_the_median_of_those_of_each_round(commands):
    row = commands.whole_row("one", [2.0, 6.0, 4.0], [1.0, 2.0, 1.0])
    assert cells([row]) == [["one", "4000", "**3.00** (2.00–4.00)"]]


def test_a_year_is_told_from_what_the_later_days_add(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "DAY", 12)
    rows, year = commands.evaluating(tmp_path, 32)
    assert [row[3] for row in cells(rows)] == ["counting alone"]
    assert year.startswith("A year of 105,120 such cases takes")
