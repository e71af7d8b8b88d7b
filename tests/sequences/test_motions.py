"""The motion at each time of a series, and the file that keeps it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.motion.estimation import estimate_motion
from nowcast.motion.grid import coarse_size
from nowcast.periods import parse_period
from nowcast.radar import build_grid, synthetic_grid
from nowcast.sequences import motions, stored
from nowcast.sequences.cache import clean
from nowcast.sequences.clock import Clock, clock_of
from nowcast.sequences.motions import motion_of
from nowcast.sequences.packed import PackedRates, pack
from nowcast.sequences.stored import StoredArray

ALWAYS = parse_period("", ["1900-01-01", "2100-01-01"])
MINUTES = np.timedelta64(5, "m")


def packed(folder: Path, frames: int = 12, seed: int = 1) -> tuple[PackedRates, Clock]:
    """A series of which one frame is absent and one holds no measured pixel."""
    rates = synthetic_grid(frames + 1, 60, 70, seed=seed)["precipitation_rate"].values
    rates[3] = np.nan
    times = np.datetime64("2020-06-01", "ns") + np.arange(frames + 1) * MINUTES
    there = np.arange(frames + 1) != 6
    grid = build_grid(rates[there], times[there], {}, {}, 5.0)
    series = pack(grid, ALWAYS, folder, f"seed {seed}")
    return series, clock_of(series)


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("motion*"))


def test_each_motion_is_that_of_the_newest_frames_up_to_its_time(tmp_path: Path) -> None:
    rates, clock = packed(tmp_path)
    motion = motion_of(rates, clock)
    assert motion.shape == (13, 2, *coarse_size(60, 70)) and motion.dtype == np.float16
    frames = np.full((13, 60, 70), np.nan, np.float32)
    frames[clock.rows >= 0] = rates.frames[clock.rows[clock.rows >= 0]]
    for time in range(13):
        expected = estimate_motion(frames[max(time - 3, 0) : time + 1]).astype(np.float16)
        np.testing.assert_array_equal(motion[time], expected)
    assert np.asarray(motion[5:]).any()


def test_a_motion_for_forecasts_from_two_frames_is_estimated_from_two(tmp_path: Path) -> None:
    rates, clock = packed(tmp_path)
    motion = motion_of(rates, clock, input_steps=2)
    for time in (1, 2, 9, 12):  # without a missing frame
        pair = np.stack([rates.frames[clock.rows[one]] for one in (time - 1, time)])
        np.testing.assert_array_equal(motion[time], estimate_motion(pair).astype(np.float16))
    motion_of(rates, clock)
    assert len(files_of(tmp_path)) == 2  # each has its own file


def test_a_series_in_memory_has_the_same_motion_and_no_file(tmp_path: Path) -> None:
    rates, clock = packed(tmp_path)
    held = PackedRates(
        np.asarray(rates.frames), rates.times, rates.timestep, rates.wet_share, rates.tiles,
        rates.covered,
    )  # fmt: skip
    made = motion_of(held, clock)
    assert isinstance(made, np.ndarray) and files_of(tmp_path) == []
    np.testing.assert_array_equal(made, motion_of(rates, clock))


def test_it_is_estimated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, clock = packed(tmp_path)
    told: list[tuple[int, int]] = []
    made = motion_of(rates, clock, lambda *call: told.append(call))
    assert told == [(k, 13) for k in range(1, 14)]
    monkeypatch.setattr(motions, "_estimate_block", None)
    again = motion_of(rates, clock)
    assert isinstance(again, StoredArray)
    np.testing.assert_array_equal(made, again)
    assert len(files_of(tmp_path)) == 1


def test_several_processes_estimate_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, clock = packed(tmp_path)
    made = np.array(motion_of(rates, clock))
    for path in tmp_path.rglob("motion*"):
        path.unlink()
    monkeypatch.setattr(motions, "_TIMES_A_BLOCK", 8)
    monkeypatch.setattr(motions, "_BLOCKS_FOR_PROCESSES", 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    np.testing.assert_array_equal(motion_of(rates, clock), made)


def test_another_method_or_series_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion_of(*packed(tmp_path))
    monkeypatch.setattr(motions, "METHOD", "another")
    motion_of(*packed(tmp_path))
    monkeypatch.setattr(motions, "MOTION_FRAMES", 2)
    motion_of(*packed(tmp_path))
    motion_of(*packed(tmp_path, seed=2))
    assert len(set(files_of(tmp_path))) >= 3 and len(list(tmp_path.rglob("motion*"))) == 4


@pytest.mark.parametrize("cut", [0, 50, -1])
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, cut: int) -> None:
    series = packed(tmp_path)
    motion_of(*series)
    [path] = tmp_path.rglob("motion*")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        DataError, match=r"this motion file is damaged .*; delete it to have it estimated"
    ):
        motion_of(*series)
    path.unlink()
    assert motion_of(*series).shape[0] == 13


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_motion_that_is_no_number_is_refused_where_it_is_read(
    tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = packed(tmp_path)
    motion_of(*series)
    [path] = tmp_path.rglob("motion*")
    whole = np.load(path)
    whole[7, 1, 3, 4] = value
    np.save(path, whole)
    for most in (stored._MAP_WHOLE_BYTES, 0):
        monkeypatch.setattr(stored, "_MAP_WHOLE_BYTES", most)
        motion = motion_of(*series)
        np.testing.assert_array_equal(motion[6], whole[6])
        for key in (7, slice(4, 9), [2, 7], slice(None)):
            with pytest.raises(
                DataError, match=rf"{path.name}: this motion file is damaged .*; delete"
            ):
                motion[key]


def test_stopped_midway_nothing_is_left(tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        if done > 5:
            raise KeyboardInterrupt

    series = packed(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        motion_of(*series, stop)
    assert files_of(tmp_path) == []
    assert motion_of(*series).shape[0] == 13


def test_the_motion_goes_with_its_series(tmp_path: Path) -> None:
    """The folder stays one that the cache knows as its own, and that may be removed."""
    motion_of(*packed(tmp_path))
    clean(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_series_has_no_motion(tmp_path: Path) -> None:
    grid = synthetic_grid(3, 20, 24, seed=0)
    rates = pack(grid, parse_period("", ["1990-01-01", "1990-01-02"]), tmp_path, "a")
    assert motion_of(rates, clock_of(rates)).shape == (0, 2, *coarse_size(20, 24))


ANOTHER_PROCESS = """
import sys, time
from pathlib import Path
from nowcast.radar import synthetic_grid
from nowcast.periods import parse_period
from nowcast.sequences.clock import clock_of
from nowcast.sequences.motions import motion_of
from nowcast.sequences.packed import pack

rates = pack(synthetic_grid(6, 30, 40, seed=3), parse_period("", ["1900-01-01", "2100-01-01"]), sys.argv[1], "a")
print("ready", flush=True)
sys.stdin.readline()
calls = []
motion = motion_of(rates, clock_of(rates), lambda *call: (calls.append(call), time.sleep(0.1)))
print(len(calls), motion.shape[0], flush=True)
"""


def test_two_processes_at_once_make_one_file_and_the_second_waits_for_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    told = []
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in both:
        told.append(one.communicate()[0].split())
        assert one.returncode == 0
    assert sorted(told) == [["0", "6"], ["6", "6"]]
    assert len(files_of(tmp_path)) == 1
