"""The benchmark of the loader measures what it says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "loader.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_loader", SCRIPT)
    module = sys.modules["benchmark_loader"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_contestants_give_the_same_windows_and_the_bare_map_is_one(benchmark, tmp_path):
    contestants, windows = benchmark.build_contestants(
        tmp_path, frames=8, size=40, crop=16, steps=4
    )
    picks = windows.epoch(0)[:3]
    expected = [contestants["bare memory map"](pick) for pick in picks]
    assert expected[0].shape == (4, 16, 16)
    assert any((one > 0).any() for one in expected)
    for read in contestants.values():
        assert all(
            np.array_equal(read(pick), one) for pick, one in zip(picks, expected, strict=True)
        )
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in benchmark.measure(contestants, picks, 2)
    ]
    assert [row[0] for row in cells] == list(contestants)
    assert cells[0][2] == "**1.00** (1.00–1.00)" and cells[-1][3] == "1.0"
