import os
import tracemalloc

import numpy as np
import pytest
from xarray.backends import BackendArray
from xarray.core import indexing

from nowcast.radar import RATE, build_grid, open_grid, write_synthetic
from nowcast.sequences import Period, pack, packed, parse_period

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
    return sorted(path.name for path in folder.iterdir())


class Unread(BackendArray):
    """Frame k is k everywhere, made when asked for."""

    def __init__(self, steps, height, width):
        self.shape, self.dtype, self.read = (steps, height, width), np.dtype(np.float32), []

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._frames)

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
    rates = np.where(random.random((10, 4, 5)) < 0.5, 0, random.gamma(1, 2, (10, 4, 5))).astype(np.float32)
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
    assert series.frames.tobytes() == values.tobytes()
    assert np.array_equal(series.times, grid["time"].values)
    assert series.timestep == np.timedelta64(5, "m")


def test_only_the_frames_of_the_period_are_taken_both_ends_included(rates, tmp_path):
    series = pack(grid_of(rates), between(2, 5), tmp_path, "a")
    assert series.frames.tobytes() == rates[2:6].tobytes()
    assert series.times.tolist() == grid_of(rates)["time"].values[2:6].tolist()
    assert series.mean_rate.shape == series.wet_share.shape == (4,)


def test_statistics_count_covered_pixels_only(tmp_path):
    frames = np.array([[[0, 0.1, 0.3, NAN]], [[NAN] * 4], [[0, 0.09, 0, 0]], [[8, 8, 8, 8]]], np.float32)
    series = pack(grid_of(frames), ALWAYS, tmp_path, "a")
    assert series.mean_rate == pytest.approx([0.4 / 3, 0, 0.0225, 8], rel=1e-6)
    assert series.wet_share == pytest.approx([2 / 3, 0, 0, 1])


def test_statistics_are_right_across_blocks(rates, tmp_path, monkeypatch):
    whole = pack(grid_of(rates), ALWAYS, tmp_path, "whole")
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 3 * 4 * 4 * 5)
    blocks = pack(grid_of(rates), ALWAYS, tmp_path, "blocks")
    assert blocks.frames.tobytes() == whole.frames.tobytes() == rates.tobytes()
    assert np.array_equal(blocks.mean_rate, whole.mean_rate)
    assert np.array_equal(blocks.wet_share, whole.wet_share)


def test_a_second_run_uses_what_the_first_left(rates, tmp_path):
    first = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()}
    calls = []
    unread, array = unread_grid(*rates.shape)
    second = pack(unread, ALWAYS, tmp_path, "a", lambda *call: calls.append(call))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()} == before
    assert array.read == calls == []  # nothing was unpacked again
    assert second.frames.tobytes() == first.frames.tobytes()
    assert np.array_equal(second.mean_rate, first.mean_rate)
    assert np.array_equal(second.wet_share, first.wet_share)


def test_other_sources_and_periods_have_files_of_their_own(rates, tmp_path):
    pack(grid_of(rates), ALWAYS, tmp_path, "a")
    other = pack(grid_of(rates + 1), ALWAYS, tmp_path, "b")
    assert other.frames.tobytes() == (rates + 1).tobytes()
    part = pack(grid_of(rates), between(0, 4), tmp_path, "a")
    assert part.frames.tobytes() == rates[:5].tobytes()
    assert len(everything(tmp_path)) == 3 * 2  # frames and statistics of each


def test_a_period_without_frames_is_an_empty_series(rates, tmp_path):
    series = pack(grid_of(rates), parse_period("", ["1999-01-01", "1999-01-02"]), tmp_path, "a")
    assert series.frames.shape == (0, 4, 5)
    assert series.times.size == series.mean_rate.size == 0


def test_stopped_midway_nothing_is_left_and_the_next_run_starts_anew(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 4 * 4 * 5)

    def stop(done, of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(grid_of(rates), ALWAYS, tmp_path, "a", stop)
    assert everything(tmp_path) == []
    assert pack(grid_of(rates), ALWAYS, tmp_path, "a").frames.tobytes() == rates.tobytes()


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
    assert series.frames.tobytes() == rates.tobytes()
    assert series.wet_share.size == 10


def test_leftovers_of_a_killed_run_are_not_taken_for_a_series(rates, tmp_path):
    whole = pack(grid_of(rates), ALWAYS, tmp_path / "first", "a")
    name = next(name for name in everything(tmp_path / "first") if "statistics" not in name)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / f".{name}.0badc0de.tmp").write_bytes(b"part")
    assert pack(grid_of(rates), ALWAYS, tmp_path / "second", "a").frames.tobytes() == whole.frames.tobytes()


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
    assert np.array_equal(series.mean_rate, np.arange(2048))
    assert isinstance(series.frames, np.memmap)  # and reading it back is no copy either


def test_progress_is_told_until_all_is_done(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 4 * 4 * 4 * 5)
    calls = []
    pack(grid_of(rates), ALWAYS, tmp_path, "a", lambda done, of: calls.append((done, of)))
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_a_packed_series_cannot_be_written_to(rates, tmp_path):
    series = pack(grid_of(rates), ALWAYS, tmp_path, "a")
    with pytest.raises(ValueError, match="read-only"):
        series.frames[0] = 0
