"""The soak in short: an hour of faults is survived, and what would be wrong with a forecast, a
folder or a process is found.
"""

import shutil
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "soak"
KINDS = [
    "SIGTERM", "late frame", "future frame", "dangling latest.nc", "equal duplicate",
    "missing frame", "truncated file", "flipped bytes", "HTML page", "other grid",
]  # fmt: skip
TIMES = [np.datetime64("2020-01-01T01:00", "ns") + k * np.timedelta64(5, "m") for k in range(16)]


@pytest.fixture(scope="module", autouse=True)
def scripts_can_be_imported():
    sys.path.append(str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def checks(scripts_can_be_imported):
    import soak_checks

    return soak_checks


@pytest.fixture(scope="module")
def soaked(radar_file, trained, tmp_path_factory, scripts_can_be_imported):
    """The folder of a soak that was played, and what was wrong."""
    from soak import Settings, soak

    folder = tmp_path_factory.mktemp("soak") / "short"
    settings = Settings(
        trained / "best.pt",
        folder,
        keep_hours=0.5,
        fallback=("model", "persistence", "none"),
        more=["max_wet_ratio=1e6"],
    )
    return folder, soak(settings, radar_file, TIMES, KINDS, share=0.7, seed=1)


def test_an_hour_of_faults_is_survived(soaked, checks):
    folder, problems = soaked
    assert problems == []
    lines = checks.read_lines(folder / "played" / "log.jsonl")
    outcomes = {line["outcome"] for line in lines}
    assert {"forecast", "already there"} <= outcomes
    assert any("truncated" in remark for line in lines for remark in line["remarks"])
    kept = {path.name for path in (folder / "kept" / "forecasts").glob("*.nc")}
    assert len(kept) == len(TIMES) - 5  # one missing, four spoilt


def test_every_kind_of_fault_comes_and_the_middle_of_the_day_is_left_to_one_process(
    scripts_can_be_imported,
):
    from soak_faults import KINDS, OUTAGE, REACH, RESTARTING, make_plan

    times = [TIMES[0] + k * np.timedelta64(5, "m") for k in range(288)]
    plan = make_plan(times, KINDS, 0.25, seed=0)
    assert set(plan.faults.values()) == set(KINDS)
    assert 0.2 < len(plan.faults) / 288 < 0.35
    places = {
        kind: [k for k, at in enumerate(times) if plan.faults.get(at) == kind] for kind in KINDS
    }
    assert not [k for kind in RESTARTING for k in places[kind] if 72 < k < 216]
    assert len(places["outage"]) % OUTAGE == 0
    passing = sorted(places["late frame"] + places["differing duplicate"])
    assert min(np.diff(passing)) > REACH
    assert make_plan(times, KINDS, 0.25, seed=0) == plan != make_plan(times, KINDS, 0.25, seed=1)


def test_a_forecast_that_differs_in_more_than_its_history_is_found(soaked, checks, tmp_path):
    from soak_faults import Plan

    folder, _ = soaked
    at = TIMES[0]
    right, other = (
        tmp_path / "a" / checks.forecast_name(at),
        folder / "undisturbed/forecasts" / checks.forecast_name(at),
    )
    right.parent.mkdir()
    plan = Plan((at,), {})
    assert checks.wrong_forecasts(plan, right.parent, {at: other}) == [
        f"{right.name}: expected and absent"
    ]
    shutil.copyfile(other, right)
    with netCDF4.Dataset(right, "a") as file:
        file.history = "2001-01-01T00:00:00Z nowcast predict"
    assert checks.wrong_forecasts(plan, right.parent, {at: other}) == []
    with netCDF4.Dataset(right, "a") as file:
        file["precipitation_rate"][0, 20, 20] += 0.01
    (problem,) = checks.wrong_forecasts(plan, right.parent, {at: other})
    assert problem.endswith("differs from undisturbed in precipitation_rate")
    (problem,) = checks.wrong_forecasts(plan, right.parent, {})
    assert "a frame that could not be used" in problem


def test_a_cycle_without_a_forecast_needs_a_reason_and_a_spoilt_file_a_name(checks):
    from soak_faults import Plan, frame_name

    at = TIMES[3]
    plan = Plan((at,), {at: "HTML page"})
    said = {
        "forecast_reference_time": "2020-01-01T01:15:00Z",
        "exit_code": 75,
        "reason": "no frame",
        "remarks": [],
    }
    naming = {
        **said,
        "forecast_reference_time": None,
        "remarks": [f"radar/{frame_name(at)}: left out"],
    }
    assert checks.unexplained(plan, [], [naming], [said]) == []
    assert checks.unexplained(plan, [at], [naming], []) == []
    assert checks.unexplained(plan, [], [naming], [{**said, "reason": None}]) == [
        "2020-01-01T01:15: no forecast and no reason"
    ]
    assert checks.unexplained(plan, [at], [said], []) == [
        "2020-01-01T01:15: HTML page, which no line of the log names"
    ]


def test_a_file_that_does_not_belong_there_is_found_and_one_that_is_gone(checks, tmp_path):
    for name in ("a.nc", ".a.nc.01234567.tmp"):
        (tmp_path / name).touch()
    found = checks.others_in(tmp_path, ["a.nc", "latest.nc"])
    assert found == [
        f"{tmp_path.name}/.a.nc.01234567.tmp: does not belong there",
        f"{tmp_path.name}/latest.nc: is missing",
    ]


def test_a_leak_of_memory_or_of_files_is_found_and_noise_is_none(checks):
    draw = np.random.default_rng(0)
    cycles = np.arange(200)
    memory, handles = 400 * 2**20 + draw.normal(0, 2**20, 200), np.full(200, 8)
    assert checks.growth(list(memory), list(handles)) == []
    # a quarter of a megabyte a cycle
    (problem,) = checks.growth(list(memory + cycles * 2**18), list(handles))
    assert problem.startswith("memory grows from 4")
    (problem,) = checks.growth(list(memory), list(handles + cycles // 20))
    assert problem.startswith("open files grow from 9 to 16")


def test_landing_leaves_the_whole_file_whichever_way(scripts_can_be_imported, tmp_path):
    import random

    from soak_faults import land

    for seed in range(8):
        land(bytes(range(200)), tmp_path / f"{seed}.nc", random.Random(seed), pause=0)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {bytes(range(200))}
    assert len(list(tmp_path.iterdir())) == 8
