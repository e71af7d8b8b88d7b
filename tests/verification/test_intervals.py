"""The bootstrap: what is drawn, what the intervals cover, and which forecast is called better."""

import numpy as np
import pytest
import xarray as xr
from counts_by_hand import OPTIONS, by_hand, tallied

from nowcast.errors import InternalError
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.intervals import Best, draws_of, groups_of, percentile_interval, significantly_better
from nowcast.verification.parts import weighted_sum

NAN = float("nan")
TWO_DAYS = ["2018-05-17T03", "2018-05-17T15", "2018-05-18T03", "2018-05-18T15"]


def test_days_are_kept_whole() -> None:
    counts = by_hand(TWO_DAYS, {"model": [[[1, 0, 0, 9]]] * 4})
    assert groups_of(counts, "day", 0.05, 3).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_no_resample_has_half_a_day() -> None:
    """A day of 3 hits and 1 miss, and one of 1 hit and 7 misses, each in unlike hours: only three CSI can come of them."""
    counts = by_hand(TWO_DAYS, {"model": [[[3, 0, 0, 9]], [[0, 0, 1, 9]], [[0, 0, 7, 9]], [[1, 0, 0, 9]]]})
    groups = weighted_sum(groups_of(counts, "day", 0.05, 3), counts["joint"].values[0, :, 0, :, 1])
    misses, hits = weighted_sum(draws_of(2, 100, seed=0), groups).T
    assert set(hits / (hits + misses)) == {3 / 4, 1 / 8, 4 / 12}


def test_an_hour_outside_all_events_is_drawn_with_the_nearest_one() -> None:
    hours = [f"2018-05-17T{hour:02d}" for hour in range(14)]
    wet = {2, 3, 9, 10}  # dry between them: 4 5, 6 (as near to either), 7 8
    counts = by_hand(hours, {"model": [[[1, 0, 0, 9]]] * 14}, wet=[500 if hour in wet else 0 for hour in range(14)])
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
    # a block is missed with probability (4/5)^5 = 0.328; of 2000 that is ± 0.0105, and four of that is 0.042
    assert (draws == 0).mean(axis=0) == pytest.approx([0.8**5] * 5, abs=0.042)
    assert np.array_equal(draws, draws_of(5, 2000, seed=3)) and not np.array_equal(draws, draws_of(5, 2000, seed=4))
    assert draws_of(1, 2000, seed=3).shape == (0, 1) and draws_of(5, 0, seed=3).shape == (0, 5)


def test_intervals_are_percentiles() -> None:
    samples = np.random.default_rng(1).normal(size=(333, 4))
    samples[:10, 1] = NAN
    low, high = percentile_interval(samples, 0.9)
    np.testing.assert_allclose([low, high], np.nanpercentile(samples, [5, 95], axis=0))


def test_a_score_that_many_resamples_leave_undefined_has_no_interval() -> None:
    samples = np.tile(np.arange(100.0)[:, None], 3)
    samples[:5, 1], samples[:6, 2] = NAN, NAN  # 5 % may be undefined, 6 % not
    low, high = percentile_interval(samples)
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [False, False, True]
    assert all(np.isnan(bound).all() for bound in percentile_interval(np.zeros((0, 2))))


def test_an_event_on_a_single_day_of_four_has_no_interval() -> None:
    """A third of the resamples miss that day; in all the others the score is the same, which is no certainty."""
    days = [f"2018-05-{day}T12" for day in (17, 18, 19, 20)]
    scores = scores_dataset(by_hand(days, {"model": [[[3, 1, 1, 5]], *[[[0, 0, 0, 10]]] * 3]}), **OPTIONS)
    assert scores["csi_mean"].sel(part="all").item() == 3 / 5
    assert np.isnan(scores["csi_mean_low"]).all() and np.isnan(scores["csi_mean_high"]).all()


def test_intervals_cover_a_known_mean_as_often_as_they_say() -> None:
    """Means of 60 exponential blocks, 1000 times over: the truth, 1, lies in 95 % of the intervals, less what 60 blocks cost.

    A percentile interval covers as the normal one does, with the sample's own spread: for 60 skewed blocks 93 to 94 %. Of
    1000 experiments 93.5 % is ± 0.8 %, four times that is 3.2 %. The draws are shared, so the experiments are not quite
    independent: 4 %.
    """
    blocks = np.random.default_rng(5).exponential(size=(60, 1000))
    low, high = percentile_interval(weighted_sum(draws_of(60, 1000, seed=0).astype(float), blocks) / 60)
    assert ((low <= 1) & (high >= 1)).mean() == pytest.approx(0.935, abs=0.04)
    # and the middle half covers half, less than one in thirty of it lost: 1.6 % each way, four times
    low, high = percentile_interval(weighted_sum(draws_of(60, 1000, seed=0).astype(float), blocks) / 60, confidence=0.5)
    assert ((low <= 1) & (high >= 1)).mean() == pytest.approx(0.49, abs=0.065)


def test_hours_of_a_day_that_are_alike_do_not_make_an_interval_narrower() -> None:
    """Each day's hours are copies: 24 of them tell no more than one, and the interval is that of one."""
    tables = [[[hits, 1, 5 - hits, 9]] for hits in (1, 4, 2, 5)]
    once = by_hand([f"2018-05-{day}T00" for day in (17, 18, 19, 20)], {"model": tables})
    hours = [f"2018-05-{day}T{hour:02d}" for day in (17, 18, 19, 20) for hour in range(24)]
    often = by_hand(hours, {"model": [table for table in tables for _ in range(24)]})
    one, many = (scores_dataset(counts, **OPTIONS) for counts in (once, often))
    for name in ("csi_mean", "csi_mean_low", "csi_mean_high", "hss_pooled_low"):
        np.testing.assert_allclose(many[name].values.ravel()[:1], one[name].values.ravel()[:1], rtol=1e-12)
    assert one["csi_mean_low"].item() < one["csi_mean_high"].item()


def test_intervals_are_those_of_scoring_one_resample_after_the_other() -> None:
    counts = tallied(["2018-05-17T03", "2018-05-17T09", "2018-05-18T03", "2018-05-19T03", "2018-05-20T03"])
    scores = scores_dataset(counts, **{**OPTIONS, "resamples": 20})
    of_block = draws_of(4, 20, OPTIONS["seed"]) @ groups_of(counts, "day", 0.05, 3)
    resamples = [
        scores_dataset(counts.isel(block=np.repeat(range(5), often)), **{**OPTIONS, "resamples": 0}) for often in of_block
    ]
    for name in ("csi_mean", "hss", "pearson_pooled", "b_mse", "fss_mean"):
        samples = np.stack([one[name].sel(part="all") for one in resamples])
        for bound, percent in (("low", 2.5), ("high", 97.5)):
            np.testing.assert_allclose(
                scores[f"{name}_{bound}"], np.percentile(samples, percent, axis=0), rtol=1e-9, err_msg=name
            )
    means = np.stack([one["csi_mean"].sel(part="all") for one in resamples])
    above = np.percentile(means[:, 0] - means[:, 1], 97.5, axis=0)
    np.testing.assert_allclose(scores["csi_mean_difference_high"].sel(forecast="near", other_forecast="chance"), above, rtol=1e-9)


def test_two_identical_days_leave_no_doubt() -> None:
    scores = scores_dataset(by_hand(TWO_DAYS, {"model": [[[1, 2, 3, 4]], [[4, 3, 2, 1]]] * 2}), **OPTIONS)
    assert scores.attrs["blocks"] == 2
    assert scores["csi_mean_low"].item() == scores["csi_mean_high"].item() == scores["csi_mean"].sel(part="all").item()


def test_a_forecast_against_itself_differs_by_exactly_nothing() -> None:
    counts = tallied(["2018-05-17T03", "2018-05-18T03", "2018-05-19T03"])
    twins = xr.concat(
        [counts.sel(forecast=["near"]), counts.sel(forecast=["near"]).assign_coords(forecast=["twin"])],
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
    tables = {name: [[[hit + more, 0, 100 - hit - more, 100]] for hit in hits] for name, more in (("first", 2), ("second", 0))}
    scores = scores_dataset(by_hand(days, tables), **OPTIONS)
    own_width = (scores["csi_mean_high"] - scores["csi_mean_low"]).sel(forecast="first").item()
    pair = {"forecast": "first", "other_forecast": "second"}
    bounds = [scores[f"csi_mean_difference{bound}"].sel(pair).item() for bound in ("_low", "", "_high")]
    assert own_width > 0.1 and bounds == pytest.approx([0.02] * 3)
    assert significantly_better(scores, "csi", threshold=1.0) == Best("first", True)
    np.testing.assert_allclose(scores["csi_mean_difference_low"], -scores["csi_mean_difference_high"].values.swapaxes(0, 1))


def test_the_same_seed_gives_the_same_intervals_and_another_other_ones() -> None:
    counts = tallied(["2018-05-17T03", "2018-05-18T03", "2018-05-19T03", "2018-05-20T03"])
    first, again, other = (scores_dataset(counts, **{**OPTIONS, "seed": seed}) for seed in (1, 1, 2))
    assert first.identical(again)
    assert not np.array_equal(first["mse_mean_low"], other["mse_mean_low"])
    np.testing.assert_array_equal(first["mse_mean"], other["mse_mean"])


def compared(perfect: float, means: list[float], bounds: dict[tuple[int, int], tuple[float, float]]) -> xr.Dataset:
    """Scores of forecasts a, b, … and the intervals of some of their differences; of the others there is none."""
    low, high = np.full((2, len(means), len(means)), NAN)
    for (one, other), (below, above) in bounds.items():
        low[one, other], high[one, other] = below, above
        low[other, one], high[other, one] = -above, -below
    pair = ("forecast", "other_forecast")
    values = {"x_mean": (("part", "forecast"), [means], {"perfect": perfect})}
    return xr.Dataset(
        {**values, "x_mean_difference_low": (pair, low), "x_mean_difference_high": (pair, high)},
        {"part": ["all"], "forecast": list("abcd"[: len(means)])},
        {"blocks": 6},
    )


@pytest.mark.parametrize(
    ("perfect", "means", "bounds", "best"),
    [
        (1.0, [0.4, 0.5], {(1, 0): (0.01, 0.2)}, Best("b", True)),  # the larger the better
        (0.0, [0.4, 0.5], {(1, 0): (0.01, 0.2)}, Best("a", True)),  # the smaller the better
        (1.0, [0.4, 0.5], {(1, 0): (-0.01, 0.2)}, Best("b", False)),
        (1.0, [0.4, 0.5, 0.3], {(1, 0): (0.01, 0.2)}, Best("b", False)),  # not known to beat the third
        (1.0, [0.4, 0.5, NAN], {(1, 0): (0.01, 0.2)}, Best("b", True)),  # a score that is undefined does not compete
        (1.0, [1.2, 1.5], {(1, 0): (0.1, 0.4)}, Best("a", True)),  # a bias: the nearer to 1
        (1.0, [0.9, 0.5], {(0, 1): (0.1, 0.6)}, Best("a", True)),
        (1.0, [0.9, 1.2], {(1, 0): (0.1, 0.5)}, Best("a", False)),  # too dry or too wet: their difference does not tell
        (1.0, [0.4, 0.5], {}, Best("b", False)),
        (1.0, [0.4], {}, Best("a", False)),
        (1.0, [NAN, NAN], {}, Best(None, False)),
    ],
)
def test_the_best_is_nearest_to_perfect_and_certain_where_no_difference_may_be_chance(
    perfect: float, means: list[float], bounds: dict[tuple[int, int], tuple[float, float]], best: Best
) -> None:
    assert significantly_better(compared(perfect, means, bounds), "x") == best


def test_of_five_days_nothing_is_certain_for_they_agree_by_chance_too_often() -> None:
    scores = compared(1.0, [0.4, 0.5], {(1, 0): (0.01, 0.2)})
    assert significantly_better(scores.assign_attrs(blocks=5), "x") == Best("b", False)
    assert 2 * 0.5**5 > 0.05 > 2 * 0.5**6
