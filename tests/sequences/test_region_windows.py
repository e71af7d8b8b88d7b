"""Windows of a region of the grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nowcast.errors import DataError
from nowcast.motion.advection import motion_within, refine
from nowcast.motion.grid import COARSE, coarse_size
from nowcast.periods import Period
from nowcast.radar.placing.regions import Region
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates, sum_tiles
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows

SIZE = 70, 90
REGION = Region(slice(20, 60), slice(33, 83))


def packed(frames: np.ndarray) -> PackedRates:
    times = np.datetime64("2020-01-01T00:00", "ns") + np.arange(len(frames)) * np.timedelta64(
        5, "m"
    )
    wet = (frames >= 0.1).mean(axis=(1, 2))
    covered = ~np.isnan(frames).all(axis=0)
    return PackedRates(frames, times, np.timedelta64(5, "m"), wet, sum_tiles(frames), covered)


def numbers() -> np.ndarray:
    """Each pixel has its own number."""
    return np.arange(8 * SIZE[0] * SIZE[1], dtype=np.float32).reshape(8, *SIZE)


def windows(frames: np.ndarray, region: Region | None = REGION, **settings) -> RadarWindows:  # type: ignore[no-untyped-def]
    rates, more = packed(frames), {k: settings.pop(k) for k in ("motion",) if k in settings}
    return RadarWindows(
        rates, Period(rates.times[0], rates.times[-1]), input_steps=2, lead_steps=1,
        scaling=Scaling("linear", 1.0, 1.0), sampling=replace(EVERY_WINDOW, **settings),
        region=region, **more,
    )  # fmt: skip


def test_every_window_is_the_region() -> None:
    frames = numbers()
    source = windows(frames)
    assert len(source) == 6
    for start, pick in enumerate(source.epoch(0)):
        np.testing.assert_array_equal(source[pick][:, 0], frames[start : start + 3, *REGION])


def test_crops_lie_within_the_region_and_reach_all_of_it() -> None:
    source = windows(numbers(), windows_per_epoch=4000, crop=20, rain_power=0.5)
    picks = source.epoch(0)
    tops, lefts = ({getattr(pick, key) for pick in picks} for key in ("top", "left"))
    assert (min(tops), max(tops)) == (20, 40) and (min(lefts), max(lefts)) == (33, 63)
    assert source[picks[0]].shape[-2:] == (20, 20)


def test_a_crop_that_is_larger_is_the_region() -> None:
    source = windows(numbers(), windows_per_epoch=8, crop=128)
    assert {(pick.top, pick.left) for pick in source.epoch(0)} == {(20, 33)}
    assert source[source.epoch(0)[0]].shape[-2:] == REGION.size


def test_a_region_that_is_never_measured_is_refused() -> None:
    frames = numbers()
    frames[:, *REGION] = np.nan
    with pytest.raises(DataError, match="no pixel of the region .rows 20 to 59, columns 33 to 82"):
        windows(frames, windows_per_epoch=8, crop=16)


def test_wetness_is_that_of_the_region() -> None:
    """Rain outside of it does not make a window wet."""
    frames = np.zeros((8, *SIZE), np.float32)
    frames[:4, :20], frames[4:, 20:60] = 5.0, 5.0
    starts = [pick.start for pick in windows(frames, min_wet_share=1.0).epoch(0)]
    assert starts == [4, 5]


def test_the_motion_of_a_region_is_that_of_the_grid_there() -> None:
    motion = torch.rand(2, 2, *coarse_size(*SIZE))
    there = motion_within(motion, (20, 33), REGION.size)
    assert there.shape == (2, 2, *coarse_size(*REGION.size))
    fine = refine(motion[:, None], SIZE)[:, 0]
    torch.testing.assert_close(there[..., :-1, :-1], fine[..., 20:60:COARSE, 33:83:COARSE])
    source = windows(numbers(), motion=motion[:1].expand(8, -1, -1, -1).numpy())
    torch.testing.assert_close(source.motions(source.epoch(0)[:1]), there[:1])
