"""Crops are drawn as often as their rain says, and weighed so that the mean stays that of
drawing all alike.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nowcast.periods import Period
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates, sum_tiles
from nowcast.sequences.sampling import CropSampler
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows

FIVE_MINUTES = np.timedelta64(5, "m").astype("timedelta64[ns]")
START = np.datetime64("2020-06-01T00:00", "ns")
ALWAYS = Period(np.datetime64("1990-01-01", "ns"), np.datetime64("2090-01-01", "ns"))
NAN = np.nan


def series(frames):
    frames = np.asarray(frames, np.float32)
    times = START + np.arange(len(frames)) * FIVE_MINUTES
    covered = ~np.isnan(frames).all(axis=0)
    return PackedRates(
        frames, times, FIVE_MINUTES, np.ones(len(frames)), sum_tiles(frames), covered
    )


def draw(rates, count, *, crop, steps=2, rain_power=1.0, seed=0):
    sampler = CropSampler(rates, np.arange(len(rates.times) - steps + 1), steps, crop, rain_power)
    return sampler, sampler.draw(np.random.default_rng(seed), count)


def rain(steps=6, height=96, width=128, seed=3):
    """A third of the tiles wet, by different amounts, and a corner that is never covered."""
    random = np.random.default_rng(seed)
    amounts = random.gamma(0.5, 4.0, (steps, height // 32, width // 32)) * (
        random.random((steps, height // 32, width // 32)) < 0.4
    )
    frames = np.kron(amounts, np.ones((1, 32, 32))) * random.random((steps, height, width)) * 2
    frames[:, :40, :50] = NAN
    return series(frames)


@pytest.mark.parametrize("rain_power", [0.0, 0.5, 1.0])
def test_crops_on_tiles_are_drawn_in_proportion_to_their_weight(rain_power):
    """One column of tiles with mean rates 0, 0.99, 3.99 and 8.99, crops of one tile, windows of one
    frame.

    A crop's cell is ± half a tile about it: 16 places at the top, 32 in the middle, 17 at the
    bottom.
    """
    frames = np.repeat([0, 0.99, 3.99, 8.99], 32)[None, :, None] * np.ones((1, 1, 32))
    _, drawn = draw(series(frames), 40_000, crop=(32, 32), steps=1, rain_power=rain_power)
    cells = Counter(((drawn.top + 16) // 32).tolist())
    weights = np.array([0.01, 1, 4, 9]) ** rain_power * [16, 32, 32, 17]
    expected = 40_000 * weights / weights.sum()
    # of 3 degrees of freedom, once in a thousand
    assert sum((cells[k] - n) ** 2 / n for k, n in enumerate(expected)) < 16.3


def test_within_a_cell_all_places_come_up_alike():
    _, drawn = draw(series(np.ones((3, 50, 40))), 60_000, crop=(32, 32))
    places = Counter(
        zip(drawn.start.tolist(), drawn.top.tolist(), drawn.left.tolist(), strict=True)
    )
    expected = 60_000 / (2 * 19 * 9)
    assert len(places) == 2 * 19 * 9
    # of 341 degrees of freedom, once in a thousand
    assert sum((n - expected) ** 2 / expected for n in places.values()) < 426
    assert drawn.weight == pytest.approx(1.0)


@pytest.mark.parametrize("rain_power", [0.5, 1.0])
@pytest.mark.parametrize("crop", [(32, 32), (24, 40), (50, 20), (96, 128)])
def test_the_weighted_mean_is_that_of_drawing_all_alike(rain_power, crop):
    rates = rain()
    _, drawn = draw(rates, 4000, crop=crop, rain_power=rain_power)
    _, alike = draw(rates, 4000, crop=crop, rain_power=0.0, seed=1)

    filled = np.nan_to_num(rates.frames)

    def mean_rates(draws):
        places = zip(draws.start, draws.top, draws.left, strict=True)
        return np.array(
            [filled[s : s + 2, y : y + crop[0], x : x + crop[1]].mean() for s, y, x in places]
        )

    wet, plain = mean_rates(drawn), mean_rates(alike)
    error = np.hypot((wet * drawn.weight).std(), plain.std()) / np.sqrt(4000)
    assert abs((wet * drawn.weight).mean() - plain.mean()) < 4 * error
    assert abs(drawn.weight.mean() - 1) < 4 * drawn.weight.std() / np.sqrt(4000) + 1e-9
    if crop != (96, 128):
        assert wet.mean() > plain.mean() + 10 * error  # while the draws themselves are much wetter


def test_the_mean_over_all_places_is_met_exactly_by_the_densities():
    """E[weight · f] = Σ q · (u / q) · f over every window and place is the plain mean of f;
    here summed, not drawn.
    """
    rates = rain(steps=3, height=64, width=64)
    sampler, drawn = draw(rates, 3000, crop=(20, 20), steps=2)
    density = sampler._densities(sampler.starts)
    places = np.broadcast_to(sampler.cell_sizes, density.shape)
    q, allowed = density * places / (density * places).sum(), (density > 0) * places
    u = allowed / allowed.sum()
    assert (q * (u / np.where(q > 0, q, 1))).sum() == pytest.approx(1.0)
    cells = (
        sampler.rows.cells[drawn.top] * sampler.columns.cell_count
        + sampler.columns.cells[drawn.left]
    )
    assert drawn.weight == pytest.approx((u / np.where(q > 0, q, 1))[drawn.start, cells])


def test_crops_that_are_never_covered_are_never_drawn():
    frames = np.ones((4, 100, 100))
    frames[:, :60], frames[:, :, :70] = NAN, NAN
    _, drawn = draw(series(frames), 5000, crop=(16, 16), rain_power=0.0)
    assert (drawn.top + 16 > 60).all() and (drawn.left + 16 > 70).all()
    assert drawn.top.min() < 60 and drawn.left.min() < 70  # those at the edge of the cover are


def test_windows_in_which_nothing_is_covered_are_not_drawn():
    frames = np.ones((8, 40, 40))
    frames[2:5] = NAN
    _, drawn = draw(series(frames), 500, crop=(32, 32))
    assert set(drawn.start.tolist()) == {0, 1, 4, 5, 6}


def test_where_nothing_at_all_is_covered_all_are_drawn_alike():
    _, drawn = draw(series(np.full((4, 40, 40), NAN)), 500, crop=(32, 32))
    assert set(drawn.start.tolist()) == {0, 1, 2}
    assert drawn.weight == pytest.approx(1.0)


@pytest.mark.parametrize("crop", [(1, 1), (5, 64), (33, 31), (64, 70), (63, 69)])
def test_any_size_of_crop_lies_within_the_grid_and_reaches_its_ends(crop):
    sampler, drawn = draw(series(np.ones((3, 64, 70))), 20_000, crop=crop)
    for places, length, size in ((drawn.top, 64, crop[0]), (drawn.left, 70, crop[1])):
        assert (places.min(), places.max()) == (0, length - size)
    assert sampler.cell_sizes.sum() == (64 - crop[0] + 1) * (70 - crop[1] + 1)


def test_picks_carry_the_weights_only_where_the_loss_is_to_be_unbiased():
    def picks(**settings):
        sampling = replace(EVERY_WINDOW, windows_per_epoch=200, rain_power=1.0, crop=32, **settings)
        scaling = Scaling("linear", 1.0, 1.0)
        return RadarWindows(
            rain(), ALWAYS, input_steps=1, lead_steps=1, scaling=scaling, sampling=sampling
        ).epoch(0)

    plain, weighed = picks(), picks(unbiased=True)
    assert {pick.weight for pick in plain} == {1.0}
    assert len({pick.weight for pick in weighed}) > 5
    assert [(pick.start, pick.top, pick.left) for pick in plain] == [
        (pick.start, pick.top, pick.left) for pick in weighed
    ]


def test_an_epoch_drawn_from_few_windows_or_in_many_blocks_is_the_same(monkeypatch):
    from nowcast.sequences import sampling

    _, whole = draw(rain(), 300, crop=(20, 20))
    monkeypatch.setattr(sampling, "_BLOCK_STARTS", 2)
    _, blocks = draw(rain(), 300, crop=(20, 20))
    for name in ("start", "top", "left"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name))
    assert blocks.weight == pytest.approx(whole.weight)
