from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from nowcast.errors import ConfigError, DataError
from nowcast.periods import Period, parse_period, refuse_overlap
from nowcast.radar import synthetic_grid
from nowcast.sequences.batch import Batch, build_batch
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates, pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, apply_symmetry

FIVE_MINUTES = np.timedelta64(5, "m").astype("timedelta64[ns]")
START = np.datetime64("2020-06-01T00:00", "ns")
ALWAYS = Period(np.datetime64("1990-01-01", "ns"), np.datetime64("2090-01-01", "ns"))
SCALING = Scaling("linear", 10.0, 1.0)


def series(steps=12, *, height=4, width=6, slots=None, mean_rate=None, wet_share=None):
    """Every pixel has its own number; `slots` are the times of the frames in steps of 5 minutes."""
    slots = np.arange(steps) if slots is None else np.asarray(slots)
    frames = np.arange(slots.size * height * width, dtype=np.float32).reshape(-1, height, width)
    mean_rate = np.ones(slots.size) if mean_rate is None else np.asarray(mean_rate, float)
    wet_share = np.ones(slots.size) if wet_share is None else np.asarray(wet_share, float)
    pixels = height * width
    tiles = np.stack([mean_rate * pixels, np.full(slots.size, pixels)], axis=1).astype(np.float32)[
        :, :, None, None
    ]
    covered = np.ones((height, width), bool)
    return PackedRates(
        frames, START + slots * FIVE_MINUTES, FIVE_MINUTES, wet_share, tiles, covered
    )


def windows(rates, period=ALWAYS, *, input_steps=2, lead_steps=1, **settings):
    steps = {"input_steps": input_steps, "lead_steps": lead_steps, "scaling": SCALING}
    steps |= {key: settings.pop(key) for key in ("shuffle", "seed") if key in settings}
    return RadarWindows(rates, period, **steps, sampling=replace(EVERY_WINDOW, **settings))


def starts(source, epoch=0):
    return [pick.start for pick in source.epoch(epoch)]


def test_a_window_lacks_no_input_frame_and_not_all_others():
    """Frames at 0 1 2 3 – – 6 7 – 9 10 11: windows of 2 + 1, 1 + 1, 3 + 1 and 2 + 2 frames, by
    where they start.
    """
    rates = series(slots=[0, 1, 2, 3, 6, 7, 9, 10, 11])
    assert starts(windows(rates)) == [0, 1, 9]
    assert starts(windows(rates, input_steps=1)) == [0, 1, 2, 6, 9, 10]
    assert starts(windows(rates, input_steps=3)) == [0]
    assert starts(windows(rates, lead_steps=2)) == [0, 1, 6]


def test_a_frame_that_is_absent_and_one_without_a_measured_pixel_are_the_same():
    without, absent = series(10), series(slots=[0, 1, 2, 3, 4, 5, 7, 8, 9])
    without.frames[6], without.wet_share[6], without.tiles[6] = np.nan, np.nan, 0
    absent.frames[6:] = without.frames[7:]
    for settings in (
        {},
        {"input_steps": 3, "lead_steps": 3},
        {"min_wet_share": 1.0, "lead_steps": 3},
    ):
        one, other = windows(without, **settings), windows(absent, **settings)
        assert starts(one) == starts(other) and len(one) > 1
        for pick in one.epoch(0):
            np.testing.assert_array_equal(one[pick], other[pick])
        assert any(one[pick].isnan().any() for pick in one.epoch(0)) == ("lead_steps" in settings)
    drawn = [
        windows(rates, lead_steps=3, windows_per_epoch=20, crop=2, rain_power=1.0).epoch(0)
        for rates in (without, absent)
    ]
    assert drawn[0] == drawn[1]


def test_the_frames_of_a_window_follow_each_other_in_the_series():
    rates = series(slots=[0, 1, 2, 3, 6, 7, 9, 10, 11])
    source = windows(rates)
    for pick in source.epoch(0):
        frames = np.flatnonzero(
            np.isin(rates.times, START + (pick.start + np.arange(3)) * FIVE_MINUTES)
        )
        assert np.array_equal(source[pick][:, 0].numpy(), rates.frames[frames])


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(2, 6, [2, 3, 4]), (2, 4, [2]), (0, 11, list(range(10)))]
)
def test_all_frames_of_a_window_lie_within_the_period(first, last, expected):
    assert (
        starts(windows(series(), Period(START + first * FIVE_MINUTES, START + last * FIVE_MINUTES)))
        == expected
    )


def test_splits_share_no_frame_even_at_midnight():
    rates = series(3 * 288, height=1, width=1)
    days = {
        name: parse_period(name, [f"2020-06-0{day}"] * 2)
        for day, name in enumerate(("train", "validation", "test"), start=1)
    }
    refuse_overlap(days)
    for day, period in enumerate(days.values()):
        source = windows(rates, period, input_steps=5, lead_steps=15)
        seen = {float(value) for pick in source.epoch(0) for value in source[pick].flatten()}
        assert seen == set(range(288 * day, 288 * (day + 1)))  # its own frames, and all of them


def test_every_window_comes_once_and_in_order_unless_a_number_is_given():
    source = windows(series())
    assert starts(source) == starts(source, epoch=7) == list(range(10))
    assert len(source) == 10
    assert (
        len(windows(series(), windows_per_epoch=4))
        == len(windows(series(), windows_per_epoch=4).epoch(0))
        == 4
    )


def test_stride_is_the_distance_of_windows():
    assert starts(windows(series(), stride=4)) == [0, 4, 8]


def test_stride_never_brings_windows_nearer_across_a_gap():
    both = starts(windows(series(slots=[0, 1, 2, 3, 4, 10, 11, 12, 13, 14]), stride=2))
    assert both == [0, 2, 11]  # of the candidates 0 1 2 and 10 11 12


def test_windows_too_dry_are_left_out():
    """Mean wet share of 3 frames: 0.1, 0.2, 0.2, 0.1, 0."""
    rates = series(7, wet_share=[0, 0, 0.3, 0.3, 0, 0, 0])
    assert starts(windows(rates, min_wet_share=0.15)) == [1, 2]
    assert starts(windows(rates, min_wet_share=0.05)) == [0, 1, 2, 3]
    assert starts(windows(rates)) == [0, 1, 2, 3, 4]


def test_the_least_wet_share_itself_is_wet_enough():
    assert starts(windows(series(3, wet_share=[0.5, 0.25, 0.75]), min_wet_share=0.5)) == [0]


@pytest.mark.parametrize(
    ("rates", "settings"),
    [
        (series(2), {}),
        (series(slots=[0, 2, 4, 6]), {}),
        (series(wet_share=np.zeros(12)), {"min_wet_share": 0.01}),
        (series(), {"period": parse_period("", ["1999-01-01", "1999-01-02"])}),
    ],
)
def test_no_window_is_an_error_that_says_what_there_is(rates, settings):
    with pytest.raises(
        DataError,
        match=r"no gap-free window of 3 frames.* the data hold 2020-06-01 00:00 to 2020-06-01 00:",
    ):
        windows(rates, **settings)


def test_a_series_without_frames_has_no_window():
    with pytest.raises(DataError, match="no gap-free window of 3 frames.* the data hold nothing"):
        windows(series(slots=[]))


def test_an_epoch_depends_on_the_seed_and_its_number_alone():
    def draw(seed, epoch):
        return windows(series(60), windows_per_epoch=50, crop=2, rain_power=0.5, seed=seed).epoch(
            epoch
        )

    assert draw(1, 3) == draw(1, 3)
    source = windows(series(60), windows_per_epoch=50, crop=2, rain_power=0.5, seed=1)
    assert source.epoch(8) != source.epoch(3) == draw(1, 3)  # whatever was drawn before
    assert draw(1, 4) != draw(1, 3) != draw(2, 3)
    assert draw(1, 2) != draw(2, 1)


@pytest.mark.parametrize("rain_power", [0.0, 0.5, 1.0, 2.0])
def test_wet_windows_are_drawn_as_often_as_their_weight_says(rain_power):
    """Windows of 3 frames of the rates below: means 0.99, 3.99 and 8.99, which 0.01 makes 1, 4
    and 9.
    """
    rates = series(
        9, height=1, width=1, mean_rate=[0.99, 0, 1.98, 3.99, 3.99, 3.99, 8.99, 17.98, 0]
    )
    source = windows(rates, stride=3, windows_per_epoch=30_000, rain_power=rain_power, seed=5)
    drawn = Counter(starts(source))
    weights = np.array([1.0, 4.0, 9.0]) ** rain_power
    expected = 30_000 * weights / weights.sum()
    chi_square = sum((drawn[3 * k] - n) ** 2 / n for k, n in enumerate(expected))
    assert set(drawn) == {0, 3, 6}
    assert chi_square < 13.8  # of 2 degrees of freedom, passed once in a thousand


def test_dry_windows_are_still_drawn_now_and_then():
    """Weights 0.01 and 9.99 + 0.01 with power 0.5: 0.1 against √10, so 3 % of the draws are dry."""
    rates = series(6, mean_rate=[0, 0, 0, 9.99, 9.99, 9.99])
    dry = (
        Counter(starts(windows(rates, stride=3, windows_per_epoch=20_000, rain_power=0.5)))[0]
        / 20_000
    )
    assert dry == pytest.approx(0.1 / (0.1 + 10**0.5), abs=0.005)


def test_a_crop_is_that_part_of_the_frames():
    rates = series(20, height=7, width=9)
    source = windows(rates, windows_per_epoch=300, crop=3, seed=2)
    for pick in source.epoch(0):
        expected = rates.frames[
            pick.start : pick.start + 3, pick.top : pick.top + 3, pick.left : pick.left + 3
        ]
        assert expected.shape == (3, 3, 3)  # it does not hang over the edge
        assert np.array_equal(source[pick][:, 0].numpy(), expected)


def test_crops_reach_every_place_and_all_alike():
    source = windows(series(20, height=5, width=4), windows_per_epoch=12_000, crop=3)
    places = Counter((pick.top, pick.left) for pick in source.epoch(0))
    assert set(places) == {(y, x) for y in range(3) for x in range(2)}
    # of 5 degrees of freedom, passed once in a thousand
    assert sum((n - 2000) ** 2 / 2000 for n in places.values()) < 20.5


def test_a_crop_larger_than_the_grid_is_the_whole_grid_that_way():
    source = windows(series(height=4, width=6), windows_per_epoch=20, crop=5)
    assert {(pick.top, pick.left) for pick in source.epoch(0)} <= {(0, 0), (0, 1)}
    assert source[source.epoch(0)[0]].shape == (3, 1, 4, 5)


@pytest.mark.parametrize(
    ("symmetry", "expected"),
    [
        (0, [[1, 2], [3, 4]]),
        (1, [[2, 1], [4, 3]]),
        (2, [[3, 4], [1, 2]]),
        (3, [[4, 3], [2, 1]]),
        (4, [[1, 3], [2, 4]]),
        (5, [[3, 1], [4, 2]]),
        (6, [[2, 4], [1, 3]]),
        (7, [[4, 2], [3, 1]]),
    ],
)
def test_symmetries_transpose_and_then_mirror(symmetry, expected):
    window = np.broadcast_to([[1.0, 2], [3, 4]], (3, 1, 2, 2))
    assert apply_symmetry(window, symmetry).tolist() == [[expected]] * 3


class Beside:
    """Two fields: the number of the frame everywhere, and the first plus the place."""

    def read(self, times, input_steps, rows, columns):
        step = ((times - START) / FIVE_MINUTES).astype(np.float32)[:, None, None]
        place = (10 * np.arange(4)[rows, None] + np.arange(6)[columns]).astype(np.float32)
        return np.stack([step + 0 * place, step + place], axis=1)


def test_fields_lie_beside_the_rain_of_their_times_and_turn_with_it():
    rates = series(slots=[0, 1, 2, 5, 6, 7])
    source = RadarWindows(
        rates,
        ALWAYS,
        input_steps=2,
        lead_steps=1,
        scaling=SCALING,
        fields=Beside(),
        sampling=replace(EVERY_WINDOW, crop=2),
    )
    window = source[Pick(5, top=1, left=3, symmetry=1)]
    assert window.shape == (3, 3, 2, 2)
    assert window[:, 0].tolist() == rates.frames[3:6, 1:3, 3:5][..., ::-1].tolist()
    assert window[0, 1].tolist() == [[5, 5], [5, 5]]
    assert window[2, 2].tolist() == [[7 + 14, 7 + 13], [7 + 24, 7 + 23]]


def test_dropped_frames_are_missing_in_the_rain_alone():
    rates = series()
    source = RadarWindows(
        rates, ALWAYS, input_steps=2, lead_steps=1, scaling=SCALING, fields=Beside()
    )
    window = source[Pick(4, dropped=(1,))]
    assert window[:, 0].isnan().all(dim=(1, 2)).tolist() == [False, True, False]
    assert not window[:, 1:].isnan().any()
    assert np.isfinite(rates.frames).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"flip": True}, {0, 1, 2, 3}),
        ({"rotate": True}, {0, 3, 5, 6}),
        ({"flip": True, "rotate": True}, set(range(8))),
        ({}, {0}),
    ],
)
def test_each_symmetry_that_is_allowed_comes_up_as_often_as_another(settings, expected):
    source = windows(series(height=4, width=4), windows_per_epoch=8000, **settings)
    found = Counter(pick.symmetry for pick in source.epoch(0))
    share = 8000 / len(expected)
    assert set(found) == expected
    # of 7 degrees of freedom, passed once in a thousand
    assert sum((n - share) ** 2 / share for n in found.values()) < 24.4


def test_all_windows_can_be_flipped_and_lose_frames_too():
    picks = windows(series(40), flip=True, frame_dropout=0.5, shuffle=True).epoch(3)
    assert sorted(pick.start for pick in picks) == list(range(38))
    assert {pick.symmetry for pick in picks} == {0, 1, 2, 3}
    assert {pick.dropped for pick in picks} == {(), (0,), (1,)}


def test_rates_of_a_window_are_multiplied_by_a_factor_of_its_own():
    source = windows(series(), windows_per_epoch=4000, rate_jitter=0.5)
    picks = source.epoch(0)
    logs = np.log([pick.factor for pick in picks])
    assert (logs.mean(), logs.std()) == pytest.approx((0, 0.5), abs=0.03)
    pick = replace(picks[0], factor=2.0)
    torch.testing.assert_close(source[pick], 2 * source[replace(pick, factor=1.0)], equal_nan=True)


def test_noise_is_drawn_for_each_pixel_of_the_input_frames_only() -> None:
    plain, noisy = (windows(series(), windows_per_epoch=40, noise=one) for one in (0.0, 0.5))
    for without, pick in zip(plain.epoch(0), noisy.epoch(0), strict=True):
        clean, drawn = plain[without], noisy[pick]
        steps = plain.input_steps
        assert torch.equal(drawn[steps:], clean[steps:])
        assert torch.equal(drawn[:steps] == 0, clean[:steps] == 0)
        wet = clean[:steps] > 0
        factors = torch.log(drawn[:steps][wet] / clean[:steps][wet])
        assert pick.noise <= 0.5
        if factors.numel() > 100:
            assert float(factors.std()) == pytest.approx(pick.noise, rel=0.3)
        torch.testing.assert_close(noisy[pick], drawn)


def test_crops_that_are_not_square_cannot_be_turned():
    with pytest.raises(
        ConfigError,
        match=r"sampling.rotate: crops of 4 × 6 pixels .* set sampling.crop to at most 4",
    ):
        windows(series(), rotate=True)
    windows(series(), rotate=True, crop=4)


def test_frames_are_dropped_one_by_one_and_never_all():
    """Of 2 frames with p = 0.4: none 0.36, the first or second alone 0.24 and a half of 0.16
    each.
    """
    source = windows(series(), windows_per_epoch=20_000, frame_dropout=0.4)
    found = Counter(pick.dropped for pick in source.epoch(0))
    assert set(found) == {(), (0,), (1,)}
    assert [found[case] / 20_000 for case in ((), (0,), (1,))] == pytest.approx(
        [0.36, 0.32, 0.32], abs=0.012
    )
    assert {
        pick.dropped for pick in windows(series(), windows_per_epoch=50, frame_dropout=1.0).epoch(0)
    } == {(0,), (1,)}


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_batches_are_the_same_with_and_without_workers(method, workers, tmp_path):
    grid = synthetic_grid(40, 40, 48)
    rates = pack(grid, ALWAYS, tmp_path, "a")
    source = windows(
        rates,
        windows_per_epoch=12,
        crop=16,
        rain_power=1.0,
        unbiased=True,
        flip=True,
        rotate=True,
        frame_dropout=0.3,
        seed=4,
    )
    picks = source.epoch(1)
    batches = [picks[k : k + 4] for k in range(0, 12, 4)]
    context = {0: None, workers: method}
    alone, helped = (
        list(
            DataLoader(
                source,
                batch_sampler=batches,
                num_workers=n,
                collate_fn=torch.stack,
                multiprocessing_context=context[n],
            )
        )
        for n in (0, workers)
    )
    assert any(pick.dropped for pick in picks)
    assert all(
        torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in zip(alone, helped, strict=True)
    )


def test_what_a_window_gives_may_be_written_to():
    rates = series()
    before = rates.frames.copy()
    windows(rates)[Pick(0)].zero_()
    assert np.array_equal(rates.frames, before)


def test_a_batch_is_past_and_future_and_knows_what_is_missing():
    rates = series(6, height=2, width=3)
    rates.frames[1, 0, 2] = np.nan
    source = windows(rates)
    batch = build_batch(
        torch.stack([source[pick] for pick in (Pick(0), Pick(3))]), SCALING, source.input_steps
    )
    assert batch.frames.shape == (2, 3, 1, 2, 3)
    assert (~batch.mask).nonzero().tolist() == [[0, 1, 0, 0, 2]]
    assert batch.frames[0, 1, 0].tolist() == [
        pytest.approx([0.6, 0.7, 0.0]),
        pytest.approx([0.9, 1.0, 1.1]),
    ]
    assert batch.rates[0, 1, 0, 0].isnan().tolist() == [False, False, True]
    assert torch.equal(torch.cat([batch.past, batch.future], dim=1), batch.frames)
    assert batch.past.shape[1] == 2
    assert torch.equal(batch.future_rates, batch.rates[:, 2:])
    assert batch.future_rates[1, 0, 0].tolist() == [[30, 31, 32], [33, 34, 35]]
    assert torch.equal(batch.future_mask, batch.mask[:, 2:])


def test_dry_and_missing_look_alike_to_the_model_and_differ_in_the_mask():
    batch = build_batch(torch.tensor([0.0, np.nan]).reshape(1, 1, 1, 1, 2), SCALING, 1)
    assert batch.frames.flatten().tolist() == [0.0, 0.0]
    assert batch.mask.flatten().tolist() == [True, False]


def test_a_batch_of_other_shapes_is_refused():
    five, four = torch.zeros(1, 2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    for shapes in [(four, four, four), (five, five[:, :1], five), (five, five, five[..., :2])]:
        with pytest.raises(ValueError, match=r"must all be \(b, t, c, h, w\)"):
            Batch(*shapes, past=five, weights=torch.ones(1), input_steps=1)


def test_training_on_all_windows_takes_them_in_a_new_order_in_every_epoch():
    source = windows(series(40), shuffle=True)
    epochs = [[pick.start for pick in source.epoch(k)] for k in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == source.starts.tolist()
