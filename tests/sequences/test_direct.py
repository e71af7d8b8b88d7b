"""Frames that are read where they lie are those that are unpacked, window by window."""

import numpy as np
import pytest
import torch

from nowcast.periods import parse_period
from nowcast.radar import build_grid, synthetic_grid
from nowcast.sequences.clock import clock_of
from nowcast.sequences.direct import DirectMotion, direct
from nowcast.sequences.motions import motion_of
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows

ALWAYS = parse_period("", ["1990-01-01", "2090-01-01"])
LOG = Scaling("log", 100.0, 0.5)


def series(tmp_path, grid):
    return direct(grid, ALWAYS), pack(grid, ALWAYS, tmp_path, "test")


@pytest.fixture
def grid():
    """Two hours of rain, of which four frames are absent."""
    whole = synthetic_grid(24, 40, 48, seed=1)
    return whole.isel(time=[k for k in range(24) if k not in (7, 8, 9, 10)])


def test_every_window_holds_the_same_frames(tmp_path, grid):
    mine, theirs = (
        RadarWindows(rates, ALWAYS, input_steps=3, lead_steps=3, scaling=LOG)
        for rates in series(tmp_path, grid)
    )
    assert mine.epoch(0) == theirs.epoch(0) and len(mine) > 8
    for pick in mine.epoch(0):
        assert torch.equal(mine[pick].nan_to_num(-1.0), theirs[pick].nan_to_num(-1.0))


def test_the_motion_of_a_time_is_that_of_the_whole_series(tmp_path, grid):
    mine, theirs = series(tmp_path, grid)
    clock = clock_of(mine)
    every = motion_of(theirs, clock_of(theirs))
    one_by_one = DirectMotion(mine.frames, clock, 4)
    assert np.array_equal(np.stack([one_by_one[k] for k in range(24)]), every[:24])


def test_a_window_whose_input_is_not_covered_counts_for_nothing(tmp_path):
    """Frame 2 of 6 holds no measured pixel, which is known once it is read."""
    rates = np.ones((6, 8, 8), np.float32)
    rates[2] = np.nan
    times = np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(5, "m")
    mine = direct(build_grid(rates, times, {}, {}), ALWAYS)
    windows = RadarWindows(mine, ALWAYS, input_steps=2, lead_steps=1, scaling=LOG)
    future = [
        bool(window[2:].isnan().all()) for window in map(windows.__getitem__, windows.epoch(0))
    ]
    assert future == [True, True, True, False]  # of 0-1 → 2, 1-2 → 3, 2-3 → 4, 3-4 → 5


def test_crops_lie_where_some_frame_is_covered(tmp_path):
    from dataclasses import replace

    rates = np.full((6, 32, 64), np.nan, np.float32)
    rates[:, :, :32] = 1
    times = np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(5, "m")
    sampling = replace(EVERY_WINDOW, windows_per_epoch=50, crop=16)
    windows = RadarWindows(
        direct(build_grid(rates, times, {}, {}), ALWAYS), ALWAYS, input_steps=2, lead_steps=1,
        scaling=LOG, sampling=sampling,
    )  # fmt: skip
    assert {pick.left for pick in windows.epoch(0)} <= set(range(32))
    assert len({pick.left for pick in windows.epoch(0)}) > 10


def test_nothing_is_read_but_a_few_frames_until_windows_are(tmp_path, grid, monkeypatch):
    from nowcast.sequences.direct import DirectFrames

    read = []
    plainly = DirectFrames.__getitem__
    monkeypatch.setattr(
        DirectFrames, "__getitem__", lambda self, key: read.append(key) or plainly(self, key)
    )
    RadarWindows(direct(grid, ALWAYS), ALWAYS, input_steps=3, lead_steps=3, scaling=LOG).epoch(0)
    assert len(read) == 1 and len(read[0]) == 8
