"""Windows that are taken along with the rain, of rain whose motion is known."""

import numpy as np
import pytest
import torch

from nowcast.motion.grid import coarse_size
from nowcast.periods import Period
from nowcast.sequences.batch import build_batch
from nowcast.sequences.options import EVERY_WINDOW, Sampling
from nowcast.sequences.packed import PackedRates, sum_tiles
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, apply_symmetry

SIZE, FRAMES, INPUT_STEPS, LEAD_STEPS = (60, 70), 12, 3, 4
X, Y = 2, -1
"""Pixels per timestep by which the rain moves."""
MIDDLE = (..., slice(12, -12), slice(12, -12))
"""Pixels that no window brings in from outside."""


def moving_rain() -> np.ndarray:
    """Random rain (n, h, w) that only moves."""
    wide = np.random.default_rng(0).gamma(0.5, 4, (SIZE[0] + 2 * FRAMES, SIZE[1] + 2 * FRAMES))
    rolled = [np.roll(wide, (Y * step, X * step), (0, 1)) for step in range(FRAMES)]
    return np.stack(rolled)[:, : SIZE[0], : SIZE[1]].astype(np.float32)


def packed(frames: np.ndarray) -> PackedRates:
    times = np.datetime64("2020-01-01T00:00", "ns") + np.arange(FRAMES) * np.timedelta64(5, "m")
    wet = np.full(FRAMES, 0.5)
    wet[np.isnan(frames).all(axis=(1, 2))] = np.nan
    return PackedRates(
        frames, times, np.timedelta64(5, "m"), wet, sum_tiles(frames), np.ones(SIZE, bool)
    )


def windows_of(
    frames: np.ndarray, sampling: Sampling = EVERY_WINDOW, *, take_along: bool = True
) -> RadarWindows:
    rates = packed(frames)
    motion = np.zeros((FRAMES, 2, *coarse_size(*SIZE)), np.float16)
    motion[:, 0], motion[:, 1] = X, Y
    return RadarWindows(
        rates,
        Period(rates.times[0], rates.times[-1]),
        input_steps=INPUT_STEPS,
        lead_steps=LEAD_STEPS,
        scaling=Scaling("log", 100, 0.5),
        sampling=sampling,
        motion=motion,
        take_along=take_along,
    )


def test_rain_that_only_moves_stands_still_in_its_window() -> None:
    window = windows_of(moving_rain())[Pick(2)]
    newest = window[INPUT_STEPS - 1]
    for frame in window:
        torch.testing.assert_close(frame[MIDDLE], newest[MIDDLE], atol=1e-3, rtol=1e-4)


def test_the_newest_frame_is_the_one_that_was_measured() -> None:
    frames = moving_rain()
    window = windows_of(frames)[Pick(2)]
    assert torch.equal(window[INPUT_STEPS - 1, 0], torch.from_numpy(frames[4]))


def test_future_rates_are_rates_that_were_measured() -> None:
    frames = moving_rain()
    windows = windows_of(frames)
    windows.motion = np.asarray(windows.motion) + np.float16(0.3)
    future = windows[Pick(2)][INPUT_STEPS:]
    measured = set(frames.ravel().tolist())
    assert set(future[~future.isnan()].tolist()) <= measured


@pytest.mark.parametrize("symmetry", range(8))
def test_a_crop_is_cut_from_the_window_that_was_moved(symmetry: int) -> None:
    windows = windows_of(moving_rain(), Sampling(**{**vars(EVERY_WINDOW), "crop": 24}))
    whole = windows_of(moving_rain())[Pick(3)]
    crop = windows[Pick(3, top=30, left=5, symmetry=symmetry)]
    expected = apply_symmetry(whole[..., 30:54, 5:29].numpy(), symmetry)
    np.testing.assert_allclose(crop.numpy(), expected, atol=1e-3, rtol=1e-4)


def test_what_comes_from_outside_and_missing_pixels_are_missing() -> None:
    frames = moving_rain()
    frames[6, 30, 40] = np.nan  # two timesteps after the newest frame of a window from 2 on
    window = windows_of(frames)[Pick(2)]
    assert window[INPUT_STEPS + 1, 0, 30 - 2 * Y, 40 - 2 * X].isnan()
    assert window[-1, 0, :, -4 * X :].isnan().all()
    assert window[-1, 0][MIDDLE].isnan().sum() == 0


def test_a_dropped_frame_is_missing_in_the_moving_window_too() -> None:
    window = windows_of(moving_rain())[Pick(2, dropped=(1,))]
    assert window[1].isnan().all()
    assert not window[0][MIDDLE].isnan().any()


def test_validation_takes_along_whole_windows_as_training_does() -> None:
    frames = moving_rain()
    along, still = windows_of(frames), windows_of(frames, take_along=False)
    raw = still[Pick(2)][None]
    batch = build_batch(raw, along.scaling, INPUT_STEPS, motion=still.motions([Pick(2)]))
    torch.testing.assert_close(batch.rates[0], along[Pick(2)], equal_nan=True)
    assert torch.equal(batch.observed[0], raw[0, INPUT_STEPS:])


def test_the_newest_frame_is_never_dropped() -> None:
    windows = windows_of(moving_rain(), Sampling(**{**vars(EVERY_WINDOW), "frame_dropout": 0.9}))
    dropped = [pick.dropped for epoch in range(20) for pick in windows.epoch(epoch)]
    assert any(dropped) and all(INPUT_STEPS - 1 not in frames for frames in dropped)
