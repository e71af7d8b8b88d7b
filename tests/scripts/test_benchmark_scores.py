"""The benchmark of scores measures what it says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "scores.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_scores", SCRIPT)
    module = sys.modules["benchmark_scores"] = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")  # so that what the script sets is put back
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def cases(benchmark):
    return list(benchmark.make_cases(3, 2, 48))


def test_cases_are_rain_that_is_forecast_worse_the_longer_the_lead(benchmark, cases):
    nowcast = benchmark.build_nowcast()
    for case in cases:
        nowcast.add(case)
    csi = nowcast.scores()["csi"]
    assert csi.shape == (2, len(benchmark.THRESHOLDS))
    assert 1 > csi[0, 0] > csi[1, 0] > 0
    observed = cases[0][1]
    assert 0 < observed.isnan().float().mean() < 0.5
    assert 0.1 < (observed > 0.1).float().mean() < 0.5


@pytest.mark.filterwarnings("ignore")  # of empty tables, from the libraries
@pytest.mark.parametrize(
    ("library", "theirs"), [("pysteps", "build_pysteps"), ("scores", "build_scores")]
)
def test_all_contestants_come_to_the_same_scores(benchmark, cases, library, theirs):
    pytest.importorskip(library)
    contestants = {"nowcast": benchmark.build_nowcast(), library: getattr(benchmark, theirs)()}
    for case in cases:
        assert benchmark.race(contestants, case, backwards=False).keys() == contestants.keys()
    differences = benchmark.largest_difference(contestants)
    assert differences.keys() == {"csi", "mae"} and max(differences.values()) < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_both_come_to_the_same_fss(benchmark, cases):
    pytest.importorskip("pysteps")
    contestants = {
        "nowcast": benchmark.build_nowcast_fss(),
        "pysteps": benchmark.build_pysteps_fss(),
    }
    benchmark.race(contestants, cases[0], backwards=True)
    fss = contestants["nowcast"].scores()["fss"]
    assert (
        fss.shape == (2, len(benchmark.THRESHOLDS), len(benchmark.SCALES)) and np.nanmax(fss) > 0.5
    )
    assert benchmark.largest_difference(contestants)["fss"] < 1e-9


def test_nowcast_is_one_in_the_table(benchmark):
    rounds = [
        {"nowcast": 0.010, "pysteps": 0.050},
        {"nowcast": 0.010, "pysteps": 0.070},
        {"nowcast": 0.020, "pysteps": 0.120},
    ]
    ours, theirs = benchmark.rows("FSS", rounds)
    assert ours == "| FSS | nowcast | 10.0 | **1.00** (1.00–1.00) |"
    assert theirs == "| FSS | pysteps | 70.0 | **6.00** (5.00–7.00) |"


def test_a_library_that_is_not_there_is_named_and_left_out(benchmark, monkeypatch, capsys):
    for name in (
        "pysteps",
        "pysteps.verification",
        "pysteps.verification.detcatscores",
        "scores",
        "scores.categorical",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(
        sys, "argv", ["benchmark_scores.py", "--cases", "2", "--size", "32", "--leads", "2"]
    )
    monkeypatch.setattr(benchmark.warnings, "simplefilter", lambda action: None)
    monkeypatch.setattr(benchmark.torch, "set_num_threads", lambda number: None)
    benchmark.main()
    told = capsys.readouterr().out
    assert "pysteps is not installed" in told and "scores is not installed" in told
    assert "| FSS | nowcast |" in told and "| pysteps |" not in told and "difference" not in told
    assert "MB after 1 cases" in told and "MB after 2 cases" in told
