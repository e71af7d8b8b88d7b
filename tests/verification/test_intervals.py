"""The bootstrap and the swaps: what is drawn, what the intervals cover, and which forecast is
called better.
"""

import numpy as np
import pytest
import xarray as xr
from counts_by_hand import OPTIONS, by_hand, tallied

from nowcast.errors import InternalError
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.intervals import (
    amount_interval,
    draws_of,
    groups_of,
    leave_one_out,
    studentised_interval,
)
from nowcast.verification.parts import weighted_sum
from nowcast.verification.swaps import (
    LEAST_BLOCKS,
    LEVEL,
    Best,
    p_values,
    significantly_better,
    swapped,
    swaps_of,
)

NAN = float("nan")
TWO_DAYS = ["2018-05-17T03", "2018-05-17T15", "2018-05-18T03", "2018-05-18T15"]


def test_days_are_kept_whole() -> None:
    counts = by_hand(TWO_DAYS, {"model": [[[1, 0, 0, 9]]] * 4})
    assert groups_of(counts, "day", 0.05, 3).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_no_resample_has_half_a_day() -> None:
    """A day of 3 hits and 1 miss, and one of 1 hit and 7 misses, each in unlike hours: only
    three CSI can come of them.
    """
    counts = by_hand(
        TWO_DAYS, {"model": [[[3, 0, 0, 9]], [[0, 0, 1, 9]], [[0, 0, 7, 9]], [[1, 0, 0, 9]]]}
    )
    groups = weighted_sum(groups_of(counts, "day", 0.05, 3), counts["joint"].values[0, :, 0, :, 1])
    misses, hits = weighted_sum(draws_of(2, 100, seed=0), groups).T
    assert set(hits / (hits + misses)) == {3 / 4, 1 / 8, 4 / 12}


def test_an_hour_outside_all_events_is_drawn_with_the_nearest_one() -> None:
    hours = [f"2018-05-17T{hour:02d}" for hour in range(14)]
    wet = {2, 3, 9, 10}  # dry between them: 4 5, 6 (as near to either), 7 8
    counts = by_hand(
        hours,
        {"model": [[[1, 0, 0, 9]]] * 14},
        wet=[500 if hour in wet else 0 for hour in range(14)],
    )
    first, second = groups_of(counts, "event", 0.05, 3)
    assert np.flatnonzero(first).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.flatnonzero(second).tolist() == [7, 8, 9, 10, 11, 12, 13]


def test_without_any_event_all_is_one_block_and_there_is_no_interval() -> None:
    counts = by_hand(TWO_DAYS, {"model": [[[1, 0, 1, 9]]] * 4}, wet=[0] * 4)
    assert groups_of(counts, "event", 0.05, 3).tolist() == [[1, 1, 1, 1]]
    scores = scores_dataset(counts, **{**OPTIONS, "interval_blocks": "event"})
    assert scores.attrs["blocks"] == 1 and scores.attrs["interval_blocks"] == "event"
    assert np.isnan(scores["csi_mean_low"]).all() and np.isnan(scores["csi_high"]).all()
    assert scores["csi_mean"].sel(part="all").item() == 1 / 2


def test_cases_without_times_are_drawn_by_block() -> None:
    counts = by_hand(TWO_DAYS, {"model": [[[1, 0, 1, 9]]] * 4})
    counts.attrs["timed"] = 0
    assert groups_of(counts, "day", 0.05, 3).tolist() == np.eye(4, dtype=int).tolist()
    assert scores_dataset(counts, **OPTIONS).attrs["interval_blocks"] == "block"


def test_another_kind_of_block_is_refused() -> None:
    with pytest.raises(InternalError, match="week"):
        groups_of(by_hand(TWO_DAYS, {"model": [[[1, 0, 1, 9]]] * 4}), "week", 0.05, 3)


def test_a_resample_draws_as_many_blocks_as_there_are_and_the_seed_decides_which() -> None:
    draws = draws_of(5, 2000, seed=3)
    assert draws.shape == (2000, 5) and (draws.sum(axis=1) == 5).all()
    # a block is missed with probability (4/5)^5 = 0.328; of 2000 that is ± 0.0105, and four of that
    # is 0.042
    assert (draws == 0).mean(axis=0) == pytest.approx([0.8**5] * 5, abs=0.042)
    assert np.array_equal(draws, draws_of(5, 2000, seed=3)) and not np.array_equal(
        draws, draws_of(5, 2000, seed=4)
    )
    assert draws_of(1, 2000, seed=3).shape == (0, 1) and draws_of(5, 0, seed=3).shape == (0, 5)


def rainy_days(days: int, experiments: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits and hits + misses + false alarms, (day, forecast, experiment), of two forecasts alike in
    law, whose CSI is 1/3.

    The rain of a day is lognormal, as skewed as in nature: a day in forty has ten times that of a
    common one.
    """
    random = np.random.default_rng(seed)
    events = random.lognormal(8.0, 1.0, (days, 1, experiments))
    skill = random.beta(8, 8, (days, 2, experiments))
    return events * skill, events * (2 - skill)


@pytest.mark.parametrize("days", [6, 10, 30])
def test_intervals_of_csi_cover_the_truth_as_often_as_they_say(days: int) -> None:
    """2000 experiments: 95 % is ± 0.5 %; four of that is 2 %, so at least 93 %.

    Percentiles of redrawn scores hold 82 to 90 %.
    """
    hits, union = rainy_days(days, 2000, seed=days)
    csi, without = hits.sum(0) / union.sum(0), leave_one_out(hits) / leave_one_out(union)
    draws = draws_of(days, 1000, seed=0)
    low, high = studentised_interval(csi, without, draws)
    assert 0.93 <= ((low <= 1 / 3) & (high >= 1 / 3)).mean() <= 0.98
    low, high = studentised_interval(csi[0] - csi[1], without[:, 0] - without[:, 1], draws)
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.98


@pytest.mark.parametrize("days", [10, 20])
def test_intervals_of_mse_hold_the_truth_in_nine_of_ten_cases_although_few_wet_days_make_it(
    days: int,
) -> None:
    """2000 experiments: 92 % is ± 0.6 %; of the score itself, instead of its logarithm, they
    hold 85 to 88 %.
    """
    random = np.random.default_rng(days)
    errors = random.lognormal(8.0, 1.0, (days, 2000)) * random.gamma(2.0, 0.5, (days, 2000))
    low, high = amount_interval(
        errors.mean(0), leave_one_out(errors) / (days - 1), draws_of(days, 1000, seed=0)
    )
    truth = np.exp(8.5)
    assert 0.91 <= ((low <= truth) & (high >= truth)).mean() <= 0.97 and (low > 0).all()


def test_an_amount_of_nine_days_or_of_a_single_one_has_no_interval() -> None:
    errors = np.arange(1.0, 10.0)[:, None]
    assert np.isnan(
        amount_interval(errors.mean(0), leave_one_out(errors) / 8, draws_of(9, 100, seed=0))
    ).all()
    once = np.array([[3.0], *[[0.0]] * 10])
    assert np.isnan(
        amount_interval(once.mean(0), leave_one_out(once) / 10, draws_of(11, 100, seed=0))
    ).all()


@pytest.mark.parametrize("days", [5, LEAST_BLOCKS, 7, 10, 20])
def test_of_two_equal_forecasts_one_is_starred_in_at_most_one_of_twenty_cases(days: int) -> None:
    """1000 experiments: 5 % is ± 0.7 %; three of that is 2.1 %.

    Up to ten days all swaps are tried, of 20 days some.
    """
    hits, union = rainy_days(days, 1000, seed=days)
    swaps = swaps_of(days, 512, seed=0)
    csi = swapped(hits[:, 0], hits[:, 1], swaps) / swapped(union[:, 0], union[:, 1], swaps)
    starred = (p_values(csi[:, 0] - csi[:, 1]) <= LEVEL).mean()
    assert starred <= 0.05 + 0.021 and (starred > 0.015) == (days >= LEAST_BLOCKS)


def test_a_forecast_that_is_better_on_every_day_is_starred_from_six_days_on() -> None:
    for days, p in ((5, 2 / 32), (6, 2 / 64), (9, 2 / 512)):
        first, second = np.arange(1.0, days + 1) + 0.5, np.arange(1.0, days + 1)
        both = swapped(first, second, swaps_of(days, 1000, seed=0))
        assert p_values(both[:, 0] - both[:, 1]) == pytest.approx(p)
    assert 2 / 2 ** (LEAST_BLOCKS - 1) > LEVEL >= 2 / 2**LEAST_BLOCKS


def test_every_choice_of_days_is_tried_once_or_some_are_drawn_and_the_seed_decides_which() -> None:
    swaps = swaps_of(6, 1000, seed=0)
    assert (
        swaps.shape == (32, 6)
        and len({tuple(row) for row in swaps.tolist()}) == 32
        and not swaps[:, 0].any()
    )
    drawn = swaps_of(40, 100, seed=3)
    assert drawn.shape == (100, 40) and not drawn[0].any() and 0.3 < drawn[1:, 1:].mean() < 0.7
    assert np.array_equal(drawn, swaps_of(40, 100, seed=3)) and not np.array_equal(
        drawn, swaps_of(40, 100, seed=4)
    )
    assert swaps_of(1, 100, seed=0).shape == (0, 1) and swaps_of(6, 0, seed=0).shape == (0, 6)
    assert np.isnan(p_values(np.zeros((0, 2)))).all() and p_values(np.zeros((8, 1))) == 1


def test_leaving_one_out_adds_up_all_others() -> None:
    values = np.random.default_rng(0).integers(0, 99, (5, 3))
    assert np.array_equal(leave_one_out(values), values.sum(0) - values)
    assert leave_one_out(np.array([1e300, 1.0, 2.0])).tolist() == [3.0, 1e300, 1e300]


def test_a_score_that_rests_on_few_blocks_has_no_interval() -> None:
    """Of ten days two have the event: in one of nine draws neither is there.

    Three are missed in one draw of 35.
    """
    for days_with_event, has_interval in ((1, False), (2, False), (3, True)):
        hits, union = np.zeros((2, 10, 1))
        hits[:days_with_event, 0], union[:days_with_event, 0] = [1, 3, 4][:days_with_event], 4
        with np.errstate(invalid="ignore"):
            without = leave_one_out(hits) / leave_one_out(union)
        low, high = studentised_interval(
            hits.sum(0) / union.sum(0), without, draws_of(10, 1000, seed=0)
        )
        assert np.isfinite([low, high]).all() == has_interval
    nothing = studentised_interval(np.ones(2), np.ones((3, 2)), np.zeros((0, 3)))
    assert all(np.isnan(bound).all() for bound in nothing)


def test_a_day_without_a_scored_case_is_no_further_day() -> None:
    counts = by_hand(
        TWO_DAYS, {"model": [[[1, 0, 0, 9]]] * 2 + [[[0, 0, 0, 0]]] * 2}, cases=[1, 1, 0, 0]
    )
    assert groups_of(counts, "day", 0.05, 3).tolist() == [[1, 1, 0, 0]]


def test_an_event_on_a_single_day_of_four_has_no_interval() -> None:
    """A third of the resamples miss that day; in all the others the score is the same, which is
    no certainty.
    """
    days = [f"2018-05-{day}T12" for day in (17, 18, 19, 20)]
    scores = scores_dataset(
        by_hand(days, {"model": [[[3, 1, 1, 5]], *[[[0, 0, 0, 10]]] * 3]}), **OPTIONS
    )
    assert scores["csi_mean"].sel(part="all").item() == 3 / 5
    assert np.isnan(scores["csi_mean_low"]).all() and np.isnan(scores["csi_mean_high"]).all()


def test_hours_of_a_day_that_are_alike_do_not_make_an_interval_narrower() -> None:
    """Each day's hours are copies: 24 of them tell no more than one, and the interval is that
    of one.
    """
    tables = [[[hits, 1, 5 - hits, 9]] for hits in (1, 4, 2, 5)]
    once = by_hand([f"2018-05-{day}T00" for day in (17, 18, 19, 20)], {"model": tables})
    hours = [f"2018-05-{day}T{hour:02d}" for day in (17, 18, 19, 20) for hour in range(24)]
    often = by_hand(hours, {"model": [table for table in tables for _ in range(24)]})
    one, many = (scores_dataset(counts, **OPTIONS) for counts in (once, often))
    for name in ("csi_mean", "csi_mean_low", "csi_mean_high", "hss_pooled_low"):
        np.testing.assert_allclose(
            many[name].values.ravel()[:1], one[name].values.ravel()[:1], rtol=1e-12
        )
    assert one["csi_mean_low"].item() < one["csi_mean_high"].item()


def test_intervals_and_p_values_are_those_of_scoring_again_without_each_day_and_after_each_swap() -> (
    None
):
    counts = tallied([f"2018-05-{day}T03" for day in (17, 18, 19, 20, 21)])
    scores = scores_dataset(counts, **{**OPTIONS, "resamples": 200})

    def scored(part: xr.Dataset) -> xr.Dataset:
        return scores_dataset(part, **{**OPTIONS, "resamples": 0}).sel(part="all")

    without = [
        scored(counts.isel(block=[other for other in range(5) if other != day])) for day in range(5)
    ]
    draws = draws_of(5, 200, OPTIONS["seed"])
    for name in ("csi_mean", "hss", "pearson_pooled", "fss_mean"):
        bounds = studentised_interval(
            scores[name].sel(part="all").values, np.stack([one[name] for one in without]), draws
        )
        for side, bound in zip(("low", "high"), bounds, strict=True):
            lowest, highest = (-1, 1) if name[:3] in ("hss", "pea") else (0, 1)
            np.testing.assert_allclose(
                scores[f"{name}_{side}"], np.clip(bound, lowest, highest), rtol=1e-9, err_msg=name
            )
    means = np.stack([one["csi_mean"] for one in without])
    difference = scores["csi_mean"].sel(part="all").values
    _, above = studentised_interval(difference[0] - difference[1], means[:, 0] - means[:, 1], draws)
    np.testing.assert_allclose(
        scores["csi_mean_difference_high"].sel(forecast="near", other_forecast="chance"),
        above,
        rtol=1e-9,
    )
    at_least = 0
    for choice in range(2**5):
        days = [day for day in range(5) if choice >> day & 1]
        parts = [counts.isel(block=[day]) for day in range(5)]
        parts = [
            (
                part.isel(forecast=[1, 0]).assign_coords(forecast=part["forecast"])
                if day in days
                else part
            )
            for day, part in enumerate(parts)
        ]
        mean = scored(xr.concat(parts, "block", data_vars="minimal"))["csi_mean"].values
        at_least = at_least + (
            np.abs(mean[0] - mean[1]) >= np.abs(difference[0] - difference[1]) * (1 - 1e-9)
        )
    p = scores["csi_mean_difference_p"].sel(forecast="near", other_forecast="chance")
    np.testing.assert_allclose(p, at_least / 32, rtol=1e-12)


def test_days_that_are_all_alike_leave_no_doubt() -> None:
    hours = [f"2018-05-{day}T{hour}" for day in (17, 18, 19, 20) for hour in ("03", "15")]
    scores = scores_dataset(
        by_hand(hours, {"model": [[[1, 2, 3, 4]], [[4, 3, 2, 1]]] * 4}), **OPTIONS
    )
    assert scores.attrs["blocks"] == 4
    assert (
        scores["csi_mean_low"].item()
        == scores["csi_mean_high"].item()
        == scores["csi_mean"].sel(part="all").item()
    )


def test_a_forecast_against_itself_differs_by_exactly_nothing() -> None:
    counts = tallied([f"2018-05-{day}T03" for day in (17, 18, 19, 20)])
    twins = xr.concat(
        [
            counts.sel(forecast=["near"]),
            counts.sel(forecast=["near"]).assign_coords(forecast=["twin"]),
        ],
        "forecast",
        data_vars="minimal",
    )
    scores = scores_dataset(twins, **OPTIONS)
    for name in ("csi", "hss", "mse", "pearson", "fss"):
        for bound in ("", "_low", "_high"):
            assert (scores[f"{name}_mean_difference{bound}"] == 0).all(), name
    assert significantly_better(scores, "csi", threshold=0.5) == Best("near", False)


def test_differences_are_paired() -> None:
    """Days differ far more than forecasts do; on every day the first has two hits more of 100."""
    days = [f"2018-05-{day}T12" for day in range(10, 20)]
    hits = np.random.default_rng(2).integers(10, 90, 10).tolist()
    tables = {
        name: [[[hit + more, 0, 100 - hit - more, 100]] for hit in hits]
        for name, more in (("first", 2), ("second", 0))
    }
    scores = scores_dataset(by_hand(days, tables), **OPTIONS)
    own_width = (scores["csi_mean_high"] - scores["csi_mean_low"]).sel(forecast="first").item()
    pair = {"forecast": "first", "other_forecast": "second"}
    bounds = [
        scores[f"csi_mean_difference{bound}"].sel(pair).item() for bound in ("_low", "", "_high")
    ]
    assert own_width > 0.1 and bounds == pytest.approx([0.02] * 3)
    assert significantly_better(scores, "csi", threshold=1.0) == Best("first", True)
    np.testing.assert_allclose(
        scores["csi_mean_difference_low"], -scores["csi_mean_difference_high"].values.swapaxes(0, 1)
    )


def test_the_same_seed_gives_the_same_intervals_and_another_other_ones() -> None:
    counts = tallied(["2018-05-17T03", "2018-05-18T03", "2018-05-19T03", "2018-05-20T03"])
    first, again, other = (
        scores_dataset(counts, **{**OPTIONS, "seed": seed}) for seed in (1, 1, 2)
    )
    assert first.identical(again)
    assert not np.array_equal(first["mse_mean_high"], other["mse_mean_high"])
    np.testing.assert_array_equal(first["mse_mean"], other["mse_mean"])


def compared(
    perfect: float, means: list[float], chances: dict[tuple[int, int], float]
) -> xr.Dataset:
    """Scores of forecasts a, b, … and the p values of some of their differences; of the others
    there is none.
    """
    p = np.full((len(means), len(means)), NAN)
    for (one, other), value in chances.items():
        p[one, other] = p[other, one] = value
    values = {"x_mean": (("part", "forecast"), [means], {"perfect": perfect})}
    return xr.Dataset(
        {**values, "x_mean_difference_p": (("forecast", "other_forecast"), p)},
        {"part": ["all"], "forecast": list("abcd"[: len(means)])},
        {"blocks": 6},
    )


@pytest.mark.parametrize(
    ("perfect", "means", "chances", "best"),
    [
        (1.0, [0.4, 0.5], {(1, 0): 0.05}, Best("b", True)),  # the larger the better
        (0.0, [0.4, 0.5], {(1, 0): 0.05}, Best("a", True)),  # the smaller the better
        (1.0, [0.4, 0.5], {(1, 0): 0.06}, Best("b", False)),
        (1.0, [0.4, 0.5, 0.3], {(1, 0): 0.05}, Best("b", False)),  # not known to beat the third
        # a score that is undefined does not compete
        (1.0, [0.4, 0.5, NAN], {(1, 0): 0.05}, Best("b", True)),
        (1.0, [1.2, 1.5], {(1, 0): 0.03}, Best("a", True)),  # a bias: the nearer to 1
        (1.0, [0.9, 0.5], {(0, 1): 0.03}, Best("a", True)),
        # too dry or too wet: their difference does not tell
        (1.0, [0.9, 1.2], {(1, 0): 0.03}, Best("a", False)),
        (1.0, [0.4, 0.5], {}, Best("b", False)),
        (1.0, [0.4], {}, Best("a", False)),
        (1.0, [NAN, NAN], {}, Best(None, False)),
    ],
)
def test_the_best_is_nearest_to_perfect_and_certain_where_no_difference_may_be_chance(
    perfect: float, means: list[float], chances: dict[tuple[int, int], float], best: Best
) -> None:
    assert significantly_better(compared(perfect, means, chances), "x") == best
