"""Truths about units, windows, tiles and counts that hold for whatever comes, over random
inputs.
"""

import math
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DeviceError
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.tiling import Tiling, choose_tiling, forecast_in_tiles
from nowcast.model import build_model
from nowcast.periods import Period
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions
from nowcast.radar.reading.rates import to_rate
from nowcast.radar.reading.units import dbz_to_rate, rate_factor, rate_to_dbz
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows
from nowcast.verification.counts import Counts, count

START = np.datetime64("2020-01-01T00:00", "ns")
STEP = np.timedelta64(5, "m").astype("timedelta64[ns]")
NAN = float("nan")

relations = st.tuples(st.floats(20, 500), st.floats(1.0, 2.0))  # a and b of Z = a R^b
rates = st.lists(
    st.one_of(st.just(0.0), st.just(NAN), st.floats(0.06, 500)), min_size=1, max_size=20
)


# ---- units


@given(relations, st.lists(st.floats(1e-3, 1000), min_size=1, max_size=20))
def test_reflectivity_and_rate_undo_each_other(zr, several):
    rate = np.array(several)
    np.testing.assert_allclose(
        dbz_to_rate(rate_to_dbz(rate, *zr), *zr, noise_dbz=-np.inf), rate, rtol=1e-10
    )


@given(relations, st.lists(st.floats(-100, 90), min_size=2, max_size=20))
def test_more_reflectivity_is_more_rain_and_more_rain_more_reflectivity(zr, several):
    rate = dbz_to_rate(np.sort(several), *zr)
    assert (np.diff(rate) >= 0).all() and (rate >= 0).all()
    assert (np.diff(rate_to_dbz(rate, *zr)[rate > 0]) >= 0).all()


@given(relations, rates)
def test_dry_stays_exactly_0_and_missing_missing(zr, several):
    rate = np.array(several)
    back = dbz_to_rate(rate_to_dbz(rate, *zr), *zr)
    assert (back[rate == 0] == 0).all()
    assert np.array_equal(np.isnan(back), np.isnan(rate))


@given(
    st.floats(0.5, 1440),
    st.sampled_from([("mm", 1.0), ("cm", 10.0), ("m", 1000.0), ("kg m-2", 1.0)]),
)
def test_a_steady_rain_gathered_over_its_minutes_is_its_rate(minutes, unit):
    """1 mm/h for so many minutes is minutes / 60 mm; and half of it in half the time is the
    same rate.
    """
    name, in_mm = unit
    assert rate_factor(name, minutes) * (minutes / 60 / in_mm) == pytest.approx(1, rel=1e-12)
    assert rate_factor(name, minutes / 2) == pytest.approx(
        2 * rate_factor(name, minutes), rel=1e-12
    )


@given(relations, rates, st.sampled_from([1.0, 2.0, 5.0, 10.0, 60.0]))
def test_the_same_rain_is_read_from_rates_amounts_and_reflectivity(zr, several, minutes):
    rain = np.array(several).reshape(1, 1, -1)
    stored = {
        Layout("r", (1, 1), "mm h-1"): rain,
        Layout("a", (1, 1), "mm", minutes): rain * minutes / 60,
        Layout("z", (1, 1), "dBZ", zr=zr): rate_to_dbz(rain, *zr),
    }
    weak = dbz_to_rate(np.zeros(1), *zr)  # below 0 dBZ is noise
    for layout, values in stored.items():
        file = RadarFile(Path("a.nc"), "netcdf", layout, np.array([START]), {}, {})
        rate, high = to_rate(values, file, np.array([START]), ReadOptions())
        expected = np.where(rain < weak, 0.0, rain) if layout.units == "dBZ" else rain
        near = np.abs(rain - weak) < 1e-6
        np.testing.assert_allclose(rate[~near], expected[~near], rtol=1e-6)
        assert (rate[rain == 0] == 0).all() and rate.dtype == np.float32 and high == 0


# ---- windows


def series(slots: list[int]) -> PackedRates:
    """A frame of one pixel in each slot of five minutes, its number that of the slot."""
    frames = np.array(slots, np.float32).reshape(-1, 1, 1)
    ones = np.ones(len(slots))
    tiles = np.ones((len(slots), 2, 1, 1), np.float32)
    return PackedRates(
        frames, START + np.array(slots, int) * STEP, STEP, ones, tiles, np.ones((1, 1), bool)
    )


def windows_by_hand(
    slots: list[int], input_steps: int, lead_steps: int, first: int, last: int
) -> list[list[float]]:
    """Every run of slots between the first and the last that lacks no input and not all others,
    tried one by one; NaN is absent.
    """
    last, first = min(last, slots[-1]), max(first, slots[0])
    runs = [
        list(range(start, start + input_steps + lead_steps))
        for start in range(first, last - input_steps - lead_steps + 2)
    ]
    usable = [
        run
        for run in runs
        if set(run[:input_steps]) <= set(slots) and set(run[input_steps:]) & set(slots)
    ]
    return [[slot if slot in slots else math.nan for slot in run] for run in usable]


@given(
    st.sets(st.integers(0, 30), min_size=1),
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.integers(0, 31), min_size=1, max_size=3),
)
def test_windows_are_all_the_runs_of_their_split_with_their_input_and_no_others(
    slots, input_steps, lead_steps, cuts
):
    """Splits that follow each other share no frame, and what crosses from one to the next is in
    neither.
    """
    present, splits = sorted(slots), [0, *sorted(set(cuts)), 32]
    used: list[set[int]] = []
    for first, end in pairwise(splits):
        expected = windows_by_hand(present, input_steps, lead_steps, first, end - 1)
        if not expected:
            continue
        period = Period(START + first * STEP, START + (end - 1) * STEP)
        steps = {
            "input_steps": input_steps,
            "lead_steps": lead_steps,
            "scaling": Scaling("linear", 10.0, 1.0),
        }
        source = RadarWindows(series(present), period, **steps, sampling=EVERY_WINDOW)
        found = [source[pick].flatten().tolist() for pick in source.epoch(0)]
        np.testing.assert_array_equal(found, expected)
        assert len(source) == len(expected)
        used.append({slot for window in expected for slot in window if slot == slot})
    assert sum(map(len, used)) == len(set().union(*used))


# ---- tiles


def bounds(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(1, max(1, size - 1)), max_size=5).map(
        lambda cuts: (0, *sorted(cuts - {size}), size)
    )


@given(st.data(), st.integers(1, 24), st.integers(1, 24), st.integers(0, 4), st.integers(0, 5))
def test_tiles_with_a_halo_as_wide_as_the_model_looks_equal_the_whole(
    data, height, width, reach, more
):
    """The model takes the largest rate within `reach` pixels of the newest frame."""
    tiling = Tiling(data.draw(bounds(height)), data.draw(bounds(width)), reach + more, 0, 0)
    past = torch.rand(1, 2, 1, height, width, generator=torch.Generator().manual_seed(height))
    asked: list[tuple[int, ...]] = []

    def forecast(part: Tensor) -> Tensor:
        asked.append(tuple(part.shape[-2:]))
        return torch.nn.functional.max_pool2d(part[:, -1], 2 * reach + 1, 1, reach)[:, None]

    made = forecast_in_tiles(forecast, past, 1, tiling)
    assert len(asked) == len(tiling.tiles)
    assert torch.equal(made, forecast(past))


@settings(max_examples=25)
@given(st.integers(64, 700), st.integers(64, 700), st.floats(1.0, 60.0))
def test_chosen_tiles_cover_every_pixel_exactly_once(height, width, megabytes):
    forecaster = small_forecaster()
    try:
        tiling = choose_tiling(forecaster, (1, 2, 1, height, width), round(megabytes * 1e6))
    except DeviceError:  # no tile is as small as that
        reject()
    covered: NDArray[np.int64] = np.zeros((height, width), int)
    for rows, columns in tiling.tiles:
        covered[slice(*rows), slice(*columns)] += 1
    assert (covered == 1).all()
    assert tiling.halo == (0 if len(tiling.tiles) == 1 else forecaster.model.halo(2, 2))


@cache
def small_forecaster() -> Forecaster:
    model = build_model({"name": "next_frame", "hidden_channels": [2], "kernel_sizes": [3]}, 1, 1)
    return Forecaster(model.eval(), Scaling("log", 100.0, 0.1), 2, 2, 5.0)


# ---- counts

THRESHOLDS = (0.1, 0.5, 2.0)
SHAPE = (2, 2, 3, 4)  # cases, lead times, rows, columns


def field(seed: int) -> Tensor:
    """Dry and wet pixels, many exactly at a threshold, some missing."""
    values = torch.tensor([0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 50.0, NAN])
    return values[torch.randint(len(values), SHAPE, generator=torch.Generator().manual_seed(seed))]


fields = st.integers(0, 2**32).map(field)


@given(fields, fields)
def test_every_pixel_that_both_have_is_in_one_count_and_one_that_either_lacks_in_none(
    forecast, observed
):
    counts = count(forecast, observed, THRESHOLDS)
    there = ~(forecast.isnan() | observed.isnan())
    assert torch.equal(counts.pixels, there.sum((0, 2, 3)))
    parts = counts.hits + counts.false_alarms + counts.misses + counts.correct_negatives
    assert torch.equal(parts, counts.pixels[:, None].expand_as(parts))
    for k, threshold in enumerate(THRESHOLDS):
        f, o = (forecast >= threshold) & there, (observed >= threshold) & there
        assert torch.equal(counts.hits[:, k], (f & o).sum((0, 2, 3)))
        assert torch.equal(counts.false_alarms[:, k], (f & ~o).sum((0, 2, 3)))
        assert torch.equal(counts.misses[:, k], (o & ~f).sum((0, 2, 3)))


@given(fields, fields)
def test_forecast_and_observation_exchanged_exchange_misses_and_false_alarms(forecast, observed):
    one, other = count(forecast, observed, THRESHOLDS), count(observed, forecast, THRESHOLDS)
    assert torch.equal(one.misses, other.false_alarms) and torch.equal(
        one.false_alarms, other.misses
    )
    assert torch.equal(one.hits, other.hits) and torch.equal(
        one.correct_negatives, other.correct_negatives
    )


@given(fields, fields, st.integers(0, 2**32), st.permutations(range(4)))
def test_counts_of_parts_add_up_to_the_whole_whichever_pixels_they_have_and_in_any_order(
    forecast, observed, seed, order
):
    part = torch.randint(4, SHAPE, generator=torch.Generator().manual_seed(seed))
    counted = [count(forecast.masked_fill(part != k, NAN), observed, THRESHOLDS) for k in order]
    assert torch.equal(
        sum(counted, Counts.zeros(THRESHOLDS, 2)).joint, count(forecast, observed, THRESHOLDS).joint
    )
