import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from xarray.backends import BackendArray
from xarray.core import indexing

from nowcast.errors import DataError
from nowcast.periods import Period, parse_period
from nowcast.radar import RATE, build_grid, open_grid, write_synthetic
from nowcast.sequences import packed
from nowcast.sequences.packed import pack

NAN = np.nan
ALWAYS = parse_period("", ["1990-01-01", "2090-01-01"])
FIVE_MINUTES = np.timedelta64(5, "m")


def grid_of(rates):
    """A canonical grid of `rates` (time, y, x), every 5 minutes from 2020-06-01 on."""
    times = np.datetime64("2020-06-01", "ns") + np.arange(rates.shape[0]) * FIVE_MINUTES
    return build_grid(rates, times, {}, {}, 5.0)


def between(first, last):
    start = np.datetime64("2020-06-01", "ns")
    return Period(start + first * FIVE_MINUTES, start + last * FIVE_MINUTES)


def everything(folder):
    """The files below a folder, but for its locks."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    )


def held(series):
    """The bytes of all frames."""
    return np.asarray(series.frames).tobytes()


def mean_rate(series):
    """Of each frame over its covered pixels [mm/h]."""
    rain, pixels = np.asarray(series.tiles, np.float64).sum(axis=(2, 3)).T
    return rain / np.maximum(pixels, 1)


class Unread(BackendArray):
    """Frame k is k everywhere, made when asked for."""

    def __init__(self, steps, height, width):
        self.shape, self.dtype, self.read = (steps, height, width), np.dtype(np.float32), []

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._frames
        )

    def _frames(self, key):
        frames = np.arange(self.shape[0], dtype=np.float32)[key[0]]
        self.read.append(frames.size)
        return np.broadcast_to(frames[:, None, None], (frames.size, *self.shape[1:])).copy()


def unread_grid(steps, height, width):
    array = Unread(steps, height, width)
    return grid_of(indexing.LazilyIndexedArray(array)), array


@pytest.fixture
def rates():
    """(10, 4, 5), half of it dry, with missing pixels, one frame all missing and one all dry."""
    random = np.random.default_rng(0)
    rates = np.where(random.random((10, 4, 5)) < 0.5, 0, random.gamma(1, 2, (10, 4, 5))).astype(
        np.float32
    )
    rates[random.random(rates.shape) < 0.2] = NAN
    rates[3], rates[4] = NAN, 0.0
    return rates


def test_frames_are_those_of_the_file_bit_for_bit(tmp_path):
    grid = open_grid(write_synthetic(tmp_path / "rain.nc", 30, 20, 24, coverage=True))
    series = pack(grid, ALWAYS, tmp_path / "cache", "rain.nc")
    values = grid[RATE].values
    assert np.isnan(values).any()
    assert (values > 0).any()
    assert series.frames.dtype == np.float32
    assert held(series) == values.tobytes()
    assert np.array_equal(series.times, grid["time"].values)
    assert series.timestep == np.timedelta64(5, "m")


def test_only_the_frames_of_the_period_are_taken_both_ends_included(rates, tmp_path):
    series = pack(grid_of(rates), between(2, 5), tmp_path, "a")
    assert held(series) == rates[2:6].tobytes()
    assert series.times.tolist() == grid_of(rates)["time"].values[2:6].tolist()
    assert series.wet_share.shape == series.tiles.shape[:1] == (4,)


def test_statistics_count_covered_pixels_only(tmp_path):
    frames = np.array(
        [[[0, 0.1, 0.3, NAN]], [[NAN] * 4], [[0, 0.09, 0, 0]], [[8, 8, 8, 8]]], np.float32
    )
    series = pack(grid_of(frames), ALWAYS, tmp_path, "a")
    assert mean_rate(series) == pytest.approx([0.4 / 3, 0, 0.0225, 8], rel=1e-6)
    assert series.wet_share == pytest.approx([2 / 3, NAN, 0, 1], nan_ok=True)


def test_statistics_are_right_across_blocks(rates, tmp_path, monkeypatch):
    whole = pack(grid_of(rates), ALWAYS, tmp_path, "whole")
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 3 * 4 * 4 * 5)
    blocks = pack(grid_of(rates), ALWAYS, tmp_path, "blocks")
    assert held(blocks) == held(whole) == rates.tobytes()
    assert np.array_equal(blocks.tiles, whole.tiles)
    assert np.array_equal(blocks.covered, whole.covered)
    assert np.array_equal(blocks.wet_share, whole.wet_share, equal_nan=True)


def test_a_second_run_uses_what_the_first_left(rates, tmp_path):
    first = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")}
    calls = []
    unread, array = unread_grid(*rates.shape)
    second = pack(unread, ALWAYS, tmp_path, "a", lambda *call: calls.append(call))
    assert {
        path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")
    } == before
    assert array.read == calls == []  # nothing was unpacked again
    assert held(second) == held(first)
    assert np.array_equal(second.tiles, first.tiles)
    assert np.array_equal(second.wet_share, first.wet_share, equal_nan=True)


def test_other_sources_and_periods_have_files_of_their_own(rates, tmp_path):
    pack(grid_of(rates), ALWAYS, tmp_path, "a")
    other = pack(grid_of(rates + 1), ALWAYS, tmp_path, "b")
    assert held(other) == (rates + 1).tobytes()
    part = pack(grid_of(rates), between(0, 4), tmp_path, "a")
    assert held(part) == rates[:5].tobytes()
    assert len(everything(tmp_path)) == 3 * 3  # frames, tiles and statistics of each


def test_a_period_without_frames_is_an_empty_series(rates, tmp_path):
    series = pack(grid_of(rates), parse_period("", ["1999-01-01", "1999-01-02"]), tmp_path, "a")
    assert series.frames.shape == (0, 4, 5)
    assert series.times.size == series.wet_share.size == len(series.tiles) == 0


def test_stopped_midway_nothing_is_left_and_the_next_run_starts_anew(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 4 * 4 * 5)

    def stop(done, of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(grid_of(rates), ALWAYS, tmp_path, "a", stop)
    assert everything(tmp_path) == []
    assert held(pack(grid_of(rates), ALWAYS, tmp_path, "a")) == rates.tobytes()


def test_killed_between_its_two_files_the_next_run_starts_anew(rates, tmp_path, monkeypatch):
    replace, moved = os.replace, []

    def killed(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(grid_of(rates), ALWAYS, tmp_path, "a")
    monkeypatch.setattr(os, "replace", replace)
    assert len(everything(tmp_path)) == 1
    series = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    assert held(series) == rates.tobytes()
    assert series.wet_share.size == 10


def test_leftovers_of_a_killed_run_are_not_taken_for_a_series_and_go(rates, tmp_path):
    pack(grid_of(rates), ALWAYS, tmp_path / "first", "a")
    name = next(name for name in everything(tmp_path / "first") if name.endswith("frames.npy"))
    left = (tmp_path / "second" / name).with_name(".frames.npy.0badc0de.tmp")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"part")
    assert held(pack(grid_of(rates), ALWAYS, tmp_path / "second", "a")) == rates.tobytes()
    assert not left.exists()


def test_other_times_are_another_series_though_the_files_are_the_same(rates, tmp_path):
    first, grid = pack(grid_of(rates), ALWAYS, tmp_path, "a"), grid_of(rates)
    later = pack(grid.assign_coords(time=grid["time"] + FIVE_MINUTES), ALWAYS, tmp_path, "a")
    assert later.frames.path != first.frames.path
    assert (later.times - first.times == FIVE_MINUTES).all()


@pytest.mark.parametrize("damage", ["frames.npy", "tiles.npy", "statistics.npz"])
@pytest.mark.parametrize("cut", [0, 50, -1])
def test_a_damaged_series_is_refused_in_words(rates, tmp_path, damage, cut):
    series = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    path = series.frames.path.with_name(damage)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        DataError,
        match=r"frames.npy: this unpacked series is damaged .* delete .* to have it made again.",
    ):
        pack(grid_of(rates), ALWAYS, tmp_path, "a")


ANOTHER_PROCESS = """
import sys, time
import numpy as np
from nowcast.radar import build_grid
from nowcast.periods import parse_period
from nowcast.sequences.packed import pack

rates = np.arange(10 * 4 * 5, dtype=np.float32).reshape(10, 4, 5)
grid = build_grid(rates, np.datetime64("2020-06-01", "ns") + np.arange(10) * np.timedelta64(5, "m"), {}, {}, 5.0)
print("ready", flush=True)
sys.stdin.readline()
calls = []
series = pack(grid, parse_period("", ["2020-01-01", "2020-12-31"]), sys.argv[1], "a", lambda *call: (calls.append(call), time.sleep(0.5)))
print(len(calls), np.array_equal(series.frames, rates), series.frames.path, flush=True)
"""


def test_two_processes_at_once_make_one_series_and_the_second_waits_for_it(tmp_path):
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("\n")
    other.stdin.flush()
    rates, calls = np.arange(10 * 4 * 5, dtype=np.float32).reshape(10, 4, 5), []
    period = parse_period("", ["2020-01-01", "2020-12-31"])
    series = pack(
        grid_of(rates), period, tmp_path, "a", lambda *call: (calls.append(call), time.sleep(0.5))
    )
    unpacked, whole, path = other.communicate()[0].split()
    assert other.returncode == 0
    assert sorted([int(unpacked), len(calls)]) == [0, 1]  # one unpacked, the other did not
    assert whole == "True" and np.array_equal(series.frames, rates)
    assert path == str(series.frames.path)
    assert [Path(name).name for name in everything(tmp_path)] == [
        "frames.npy",
        "statistics.npz",
        "tiles.npy",
    ]


def test_tiles_have_the_sum_and_the_number_of_covered_pixels(tmp_path):
    """40 × 70 pixels are 2 × 3 tiles, of which the last are 8 high and 6 wide."""
    frames = np.full((2, 40, 70), 0.5, np.float32)
    frames[1, 0, 0], frames[1, 39, 64:] = NAN, 2.0
    series = pack(grid_of(frames), ALWAYS, tmp_path, "a")
    assert series.tiles[0, 0].tolist() == [[512, 512, 96], [128, 128, 24]]
    assert series.tiles[0, 1].tolist() == [[1024, 1024, 192], [256, 256, 48]]
    assert series.tiles[1, 0].tolist() == [[511.5, 512, 96], [128, 128, 24 + 6 * 1.5]]
    assert series.tiles[1, 1].tolist() == [[1023, 1024, 192], [256, 256, 48]]


def test_covered_is_what_any_frame_covers(tmp_path):
    frames = np.array([[[0, NAN, NAN]], [[NAN, 1, NAN]]], np.float32)
    assert pack(grid_of(frames), ALWAYS, tmp_path, "a").covered.tolist() == [[True, True, False]]


def test_memory_stays_flat_however_long_the_series(tmp_path, monkeypatch):
    """Blocks of 256 KiB of a series of 32 MiB: a block, its copies and masks."""
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 2**18)
    grid, array = unread_grid(2048, 64, 64)
    tracemalloc.start()
    series = pack(grid, ALWAYS, tmp_path, "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20
    assert array.read == [16] * 128
    assert np.array_equal(series.frames[:, 5, 7], np.arange(2048))
    assert np.array_equal(mean_rate(series), np.arange(2048))


def test_progress_is_told_until_all_is_done(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 4 * 4 * 4 * 5)
    calls = []
    pack(grid_of(rates), ALWAYS, tmp_path, "a", lambda done, of: calls.append((done, of)))
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_a_packed_series_cannot_be_written_to(rates, tmp_path):
    series = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    with pytest.raises(ValueError, match="read-only"):
        series.frames[0][:] = 0
    with pytest.raises(TypeError):
        series.frames[0] = 0


def test_a_digest_is_that_of_the_frames_whatever_held_them(rates, tmp_path):
    first = pack(grid_of(rates), ALWAYS, tmp_path, "a").digest()
    assert pack(grid_of(rates), ALWAYS, tmp_path / "elsewhere", "b").digest() == first
    grid = grid_of(rates)
    others = grid_of(rates + 1), grid.assign_coords(time=grid["time"] + FIVE_MINUTES)
    assert (
        len(
            {
                first,
                *(pack(other, ALWAYS, tmp_path, str(k)).digest() for k, other in enumerate(others)),
            }
        )
        == 3
    )


def test_infinite_rates_of_a_grid_are_missing_and_negative_ones_refused(tmp_path):
    rates = np.ones((3, 4, 5), np.float32)
    rates[1, 2, 3], rates[2, 0, 0] = np.inf, -np.inf
    frames = np.asarray(pack(grid_of(rates), ALWAYS, tmp_path, "infinite").frames)
    np.testing.assert_array_equal(frames, np.where(np.isinf(rates), NAN, 1))
    rates[0, 1, 2] = -1
    with pytest.raises(DataError, match=r"the grid: precipitation_rate is -1 at 2020-06-01T00:00"):
        pack(grid_of(rates), ALWAYS, tmp_path, "negative")
    assert len(list(tmp_path.iterdir())) == 1
