"""The benchmark of whole commands measures each part beside its bound."""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture
def commands(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
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


def test_each_part_of_a_forecast_stands_beside_its_bound(commands, tmp_path):
    found = cells(commands.predicting(tmp_path, 32, 1))
    assert [row[1] for row in found] == [
        "start", "opening the model", "frames, motion, forecast", "writing",
    ]  # fmt: skip
    assert all(float(row[2]) > 0 for row in found)


def test_a_year_is_told_from_what_the_later_days_add(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "DAY", 12)
    rows, year = commands.evaluating(tmp_path, 32)
    assert [row[3] for row in cells(rows)] == ["counting alone"]
    assert year.startswith("A year of 105,120 such cases takes")
