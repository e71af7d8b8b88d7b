import itertools
import tracemalloc

import numpy as np
import pytest

from nowcast.errors import CannotCreateError
from nowcast.radar import (
    Weather,
    check_grid,
    open_grid,
    synthetic_frames,
    synthetic_grid,
    write_synthetic,
)


@pytest.fixture(scope="module")
def rain():
    """(300, 96, 128)"""
    return np.stack(list(synthetic_frames(300, 96, 128, seed=0)))


def correlation(frames, lag):
    logs = np.log10(frames + 0.1)
    return np.corrcoef(logs[:-lag].ravel(), logs[lag:].ravel())[0, 1]


def test_the_rain_is_distributed_like_rain(rain):
    wet = rain[rain > 0]
    assert rain.dtype == np.float32
    assert 0.05 < wet.size / rain.size < 0.16  # the share asked for is 0.1
    assert wet.min() >= 0.1  # dry is exactly 0
    assert 0.8 < wet.mean() < 2.5
    assert 10 < rain.max() < 200


def test_some_hours_are_wetter_than_others(rain):
    shares = (rain > 0).mean(axis=(1, 2))
    assert shares.max() > 2 * shares.min()


def test_persistence_loses_its_skill_with_lead_time(rain):
    by_lag = [correlation(rain, lag) for lag in (1, 3, 6, 12)]
    assert by_lag[0] > 0.7
    assert by_lag == sorted(by_lag, reverse=True)
    assert by_lag[0] > by_lag[-1] + 0.4


@pytest.mark.parametrize("velocity", [(1.0, 2.0), (-3.0, 0.0), (0.0, -2.0)])
def test_the_motion_can_be_found_again(velocity):
    frames = np.log10(
        np.stack(list(synthetic_frames(20, 64, 64, seed=1, weather=Weather(velocity=velocity))))
        + 0.1
    )
    a, b = (np.fft.rfft2(part - part.mean()) for part in (frames[:-1], frames[1:]))
    matches = np.fft.irfft2((np.conj(a) * b).sum(axis=0))
    y, x = np.unravel_index(matches.argmax(), matches.shape)
    assert ((y + 32) % 64 - 32, (x + 32) % 64 - 32) == velocity


def test_moving_with_the_rain_beats_persistence(rain):
    still, moved = rain[:-5, 5:, 10:], rain[:-5, :-5, :-10]
    truth = rain[5:, 5:, 10:]
    assert (
        np.corrcoef(moved.ravel(), truth.ravel())[0, 1]
        > np.corrcoef(still.ravel(), truth.ravel())[0, 1] + 0.2
    )


def test_a_seed_means_the_same_rain_and_a_longer_run_begins_like_a_shorter_one():
    short, again, other = (
        list(synthetic_frames(n, 20, 30, seed=s)) for n, s in ((4, 1), (9, 1), (4, 2))
    )
    assert all(np.array_equal(a, b) for a, b in zip(short, again[:4], strict=True))
    assert not np.array_equal(short[0], other[0])


def test_frames_come_one_by_one():
    frames = synthetic_frames(10**9, 16, 16)
    assert len(list(itertools.islice(frames, 3))) == 3


def test_the_wet_share_is_the_one_asked_for():
    frames = np.stack(
        list(synthetic_frames(60, 96, 96, seed=0, weather=Weather(wet_share=0.4, swing=0.0)))
    )
    assert 0.3 < (frames > 0).mean() < 0.5
    assert not any(
        frame.any() for frame in synthetic_frames(3, 16, 16, weather=Weather(wet_share=0.0))
    )


def test_the_corners_may_be_out_of_sight():
    grid = synthetic_grid(3, 40, 40, coverage=True)
    missing = np.isnan(grid.precipitation_rate.values)
    assert missing[:, 0, 0].all()
    assert not missing[:, 20].any()


def test_the_file_is_the_grid(tmp_path):
    path = write_synthetic(
        tmp_path / "deep" / "rain.nc", 30, 20, 24, seed=3, coverage=True, timestep_minutes=10
    )
    written, made = (
        open_grid(path),
        synthetic_grid(30, 20, 24, seed=3, coverage=True, timestep_minutes=10),
    )
    check_grid(made)
    assert np.array_equal(
        written.precipitation_rate.values, made.precipitation_rate.values, equal_nan=True
    )
    assert written.attrs["timestep_minutes"] == made.attrs["timestep_minutes"] == 10.0
    for name in ("time", "y", "x", "crs"):
        assert np.array_equal(written[name].values, made[name].values)
        assert written[name].attrs == made[name].attrs
    assert made.x.attrs["units"] == "m"
    assert np.diff(made.x.values).tolist() == [1000.0] * 23
    assert [f.name for f in path.parent.iterdir()] == ["rain.nc"]


def test_writing_holds_few_frames(tmp_path):
    tracemalloc.start()
    write_synthetic(tmp_path / "rain.nc", 60, 100, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6  # 60 frames are 2.4 MB; a few fields of waves and 12 frames are held


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError, match="file"):
        write_synthetic(tmp_path / "file" / "rain.nc", 2, 16, 16)
