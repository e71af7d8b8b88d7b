"""Scores of ensembles: by hand, in closed form, and beside pysteps and scores.

Without those two their tests are skipped.
"""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DataError
from nowcast.verification import probabilistic, scores
from nowcast.verification.counts import count
from nowcast.verification.ensembles import crps_sums, probability_counts, rank_counts

NAN = float("nan")
THRESHOLDS = (0.5, 2.0, 10.0)
HAND = np.array([[6, 0], [2, 2], [1, 5]])
"""Two members at 16 pixels: none, one, both at or above the threshold × no event, event."""


@pytest.fixture(scope="module")
def ensscores() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysteps.verification.ensscores")


@pytest.fixture(scope="module")
def probscores() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysteps.verification.probscores")


@pytest.fixture(scope="module")
def of_scores() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("scores.probability")


def smooth(members: int, seed: int, *, missing: bool = False) -> tuple[Tensor, Tensor]:
    """(1, lead, m, h, w) and (1, lead, h, w) float64, all alike distributed and no two values
    equal; perhaps with gaps.
    """
    values = torch.from_numpy(
        np.random.default_rng(seed).gamma(0.4, 15.0, (1, 3, members + 1, 40, 50))
    )
    if missing:
        values[:, :, 0, :5], values[:, :, -1, :, :7] = NAN, NAN
    return values[:, :, :-1], values[:, :, -1]


def ties(members: int, seed: int) -> tuple[Tensor, Tensor]:
    """As `smooth`, with gaps, to whole mm/h, of which many are 0 and many equal a threshold."""
    forecast, observed = smooth(members, seed, missing=True)
    return forecast.round(), observed.round()


def crps_of(
    forecast: Tensor, observed: Tensor, score: Any = probabilistic.crps
) -> NDArray[np.float64]:
    """(lead,), of one case."""
    pixels = rank_counts(forecast, observed).sum((2, 3))
    return np.asarray(score(*crps_sums(forecast, observed).values(), pixels, forecast.shape[2]))[0]


def exceedance(
    forecast: Tensor, observed: Tensor, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What other libraries want, (lead, h, w): the share of members at or above the threshold,
    NaN where one is missing; observed.
    """
    m = forecast.shape[2]
    shares = np.linspace(0.0, 1.0, m + 1)[(forecast[0] >= threshold).sum(1).numpy()]
    return np.where(forecast[0].isnan().any(1).numpy(), np.nan, shares), observed[0].numpy()


def test_two_members_by_hand() -> None:
    forecast = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]]).reshape(1, 1, 2, 1, 3)
    observed = torch.tensor([2.0, 0.0, 0.0]).reshape(1, 1, 1, 3)
    # mean error 1, 0, 3; the pair is 2, 0, 2 apart: so CRPS 1 − 2/4, 0, 3 − 2/4, and fair 1 − 2/2,
    # 0, 3 − 2/2
    assert crps_of(forecast, observed).tolist() == [(0.5 + 0 + 2.5) / 3]
    assert crps_of(forecast, observed, probabilistic.crps_fair).tolist() == [(0 + 0 + 2) / 3]
    # the first is between its members; at the second all are equal, which is left out; the third is
    # below its members
    assert probabilistic.rank_frequency(rank_counts(forecast, observed), 2).tolist() == [
        [[0.5, 0.5, 0.0]]
    ]


def test_a_table_of_probabilities_by_hand() -> None:
    assert probabilistic.brier(HAND, 2) == pytest.approx((2 * 0.25 + 2 * 0.25 + 1 * 1) / 16)
    assert probabilistic.observed_base_rate(HAND) == 7 / 16
    assert probabilistic.observed_frequency(HAND).tolist() == [0, 2 / 4, 5 / 6]
    assert probabilistic.forecast_probability(2, 2).tolist() == [0, 0.5, 1]
    assert probabilistic.probability_pixels(HAND).tolist() == [6, 4, 6]
    assert probabilistic.brier_reliability(HAND, 2) == pytest.approx(6 * (1 - 5 / 6) ** 2 / 16)
    resolution = (6 * (7 / 16) ** 2 + 4 * (8 / 16 - 7 / 16) ** 2 + 6 * (5 / 6 - 7 / 16) ** 2) / 16
    assert probabilistic.brier_resolution(HAND) == pytest.approx(resolution)
    assert probabilistic.brier_uncertainty(HAND) == 7 / 16 * 9 / 16
    assert probabilistic.roc_pod(HAND).tolist() == [1, 7 / 7, 5 / 7]
    assert probabilistic.roc_pofd(HAND).tolist() == [1, 3 / 9, 1 / 9]
    area = 1 / 9 * 5 / 7 / 2 + (3 / 9 - 1 / 9) * (5 / 7 + 1) / 2 + (1 - 3 / 9) * 1
    assert probabilistic.roc_area(HAND) == pytest.approx(area)


def test_spread_over_error_by_hand() -> None:
    """Members 0, 2, 5 differ by 10/3 on average; from the observation 1 by 1, 1, 4, by 2."""
    members, observed = torch.tensor([0.0, 2, 5]).view(1, 1, 3, 1, 1), torch.ones(1, 1, 1, 1)
    sums = crps_sums(members, observed)
    pairs = sums["crps_spread"] / (3 * 2)
    assert probabilistic.spread_error(pairs, sums["crps_error"], 1).item() == pytest.approx(5 / 3)
    assert np.isnan(probabilistic.spread_error(pairs, sums["crps_error"], 0))


def test_a_rank_histogram_by_hand() -> None:
    rank = np.zeros((4, 4))  # of three members
    rank[0, 0], rank[1, 1], rank[0, 2], rank[3, 0], rank[0, 3] = 5, 4, 3, 1, 100
    # 5 at rank 0; 4 halved over ranks 1 and 2; 3 in thirds over 0, 1 and 2; 1 at rank 3; 100 that
    # say nothing
    assert probabilistic.rank_frequency(rank, 3) == pytest.approx(
        np.array([5 + 1, 2 + 1, 2 + 1, 1]) / 13
    )


def test_a_perfect_ensemble_is_perfect() -> None:
    observed = smooth(1, 1)[1].clone()
    observed[0, 0, :5] = NAN
    forecast = observed[:, :, None].expand(1, 3, 6, 40, 50)
    assert (crps_of(forecast, observed) == 0).all()
    assert (crps_of(forecast, observed, probabilistic.crps_fair) == 0).all()
    probability = probability_counts(forecast, observed, THRESHOLDS)
    assert (probabilistic.brier(probability, 6) == 0).all()
    assert (probabilistic.brier_reliability(probability, 6) == 0).all()
    assert_allclose(
        probabilistic.brier_resolution(probability),
        probabilistic.brier_uncertainty(probability),
        rtol=1e-12,
    )
    assert (probabilistic.roc_area(probability) == 1).all()
    # nothing but ties
    assert np.isnan(probabilistic.rank_frequency(rank_counts(forecast, observed), 6)).all()


def test_a_climatological_probability_neither_resolves_nor_discriminates() -> None:
    """One member in four, the same one everywhere, is wet; so is a fifth of the observed pixels."""
    forecast = torch.tensor([0.0, 0.0, 0.0, 5.0]).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 10, 10)
    observed = torch.tensor([5.0] * 20 + [0.0] * 80).reshape(1, 1, 10, 10)
    probability = probability_counts(forecast, observed, [1.0])
    assert probabilistic.brier_resolution(probability).item() == 0
    assert probabilistic.roc_area(probability).item() == 0.5
    assert probabilistic.brier_reliability(probability, 4).item() == pytest.approx(
        (1 / 4 - 1 / 5) ** 2
    )
    assert probabilistic.brier_uncertainty(probability).item() == pytest.approx(1 / 5 * 4 / 5)


@pytest.mark.parametrize("dry", [0.0, 0.7])
def test_the_rank_histogram_of_members_drawn_as_the_truth_is_flat(dry: float) -> None:
    """Each pixel has each rank with probability 1/10, so that a rank has n/10 ± √(n · 0.09) of n
    pixels, and less where ties are
    shared: within 5 of those, which one histogram in 200 000 is not. With many dry pixels too, some
    in all members.
    """
    values = (
        torch.from_numpy(np.random.default_rng(10).uniform(0.0, 1.0, (1, 1, 10, 200, 200)))
        .sub(dry)
        .clamp(min=0.0)
    )
    rank = rank_counts(values[:, :, :9], values[:, :, 9])
    informative = rank.sum().item() - rank[..., 9].sum().item()
    assert informative == 40_000 if dry == 0 else 30_000 < informative < 40_000
    frequency = probabilistic.rank_frequency(rank, 9)
    assert frequency.sum() == pytest.approx(1.0)
    assert abs(frequency - 0.1).max() < 5 * np.sqrt(0.09 / informative)


def test_ensembles_too_narrow_and_too_wet_show_in_the_rank_histogram() -> None:
    values = torch.from_numpy(np.random.default_rng(11).normal(0.0, 1.0, (1, 1, 10, 50, 50)))
    narrow = probabilistic.rank_frequency(rank_counts(values[:, :, :9] / 3, values[:, :, 9]), 9)[
        0, 0
    ]
    assert min(narrow[0], narrow[9]) > 2 * max(narrow[1:9])
    wet = probabilistic.rank_frequency(rank_counts(values[:, :, :9] + 1, values[:, :, 9]), 9)[0, 0]
    assert wet[0] > 0.3 and wet[9] < 0.02


def test_the_fair_score_is_that_of_infinitely_many_members() -> None:
    """Uniform on 0 to 1, E|x − y| = E|x − x'| = 1/3: fair 1/6 whatever m, plain 1/6 + 1/(6m).

    The standard error of the mean is below 0.25/√n, for |x − y| ≤ 1 has a standard deviation of
    0.24, and the spread that is taken off moves with it.
    """
    values = torch.from_numpy(np.random.default_rng(12).uniform(0.0, 1.0, (1, 1, 21, 300, 300)))
    for m in (2, 20):
        forecast, observed = values[:, :, :m], values[:, :, 20]
        assert crps_of(forecast, observed, probabilistic.crps_fair).item() == pytest.approx(
            1 / 6, abs=5 * 0.25 / 300
        )
        assert crps_of(forecast, observed).item() == pytest.approx(
            1 / 6 + 1 / (6 * m), abs=5 * 0.25 / 300
        )


def test_a_deterministic_forecast_has_the_scores_of_one() -> None:
    forecast, observed = ties(1, 13)
    table = count(forecast[0, :, 0], observed[0], THRESHOLDS)
    probability = probability_counts(forecast, observed, THRESHOLDS)[0]
    assert_allclose(probabilistic.roc_pod(probability)[..., 1], scores.pod(table))
    assert_allclose(probabilistic.roc_pofd(probability)[..., 1], scores.pofd(table))
    assert_allclose(
        probabilistic.roc_area(probability), (1 + scores.pod(table) - scores.pofd(table)) / 2
    )
    assert_allclose(
        probabilistic.brier(probability, 1),
        (table.false_alarms + table.misses) / table.pixels[:, None],
    )
    difference = (forecast[0, :, 0] - observed[0]).abs()
    assert_allclose(crps_of(forecast, observed), difference.nanmean((1, 2)))
    assert np.isnan(crps_of(forecast, observed, probabilistic.crps_fair)).all()


tables = st.integers(1, 6).flatmap(
    lambda m: st.lists(
        st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), min_size=m + 1, max_size=m + 1
    )
)


@settings(max_examples=100, deadline=None)
@given(table=tables)
def test_the_parts_of_the_brier_score_are_the_whole(table: list[tuple[int, int]]) -> None:
    probability, m = np.array(table), len(table) - 1
    parts = probabilistic.brier_reliability(probability, m) - probabilistic.brier_resolution(
        probability
    )
    assert_allclose(
        parts + probabilistic.brier_uncertainty(probability),
        probabilistic.brier(probability, m),
        rtol=0,
        atol=1e-14,
    )
    assert np.isnan(parts) == (probability.sum() == 0)


@settings(max_examples=100, deadline=None)
@given(table=tables)
def test_the_roc_area_is_that_of_the_trapezoids(table: list[tuple[int, int]]) -> None:
    probability = np.array(table)
    pod = np.append(probabilistic.roc_pod(probability), 0.0)
    pofd = np.append(probabilistic.roc_pofd(probability), 0.0)
    trapezoids = ((pofd[:-1] - pofd[1:]) * (pod[:-1] + pod[1:]) / 2).sum()
    assert_allclose(probabilistic.roc_area(probability), trapezoids, rtol=1e-12, atol=1e-12)


def test_a_forecast_of_fewer_members_scores_the_same_beside_one_of_more() -> None:
    """Padded with zeros from 3 to 5 members, and stacked upon one that has 5."""
    few, many = ties(3, 14), ties(5, 15)
    members = np.array([3, 5])
    pad = torch.nn.functional.pad
    probability = torch.cat(
        [
            pad(probability_counts(*few, THRESHOLDS), (0, 0, 0, 2)),
            probability_counts(*many, THRESHOLDS),
        ]
    )
    rank = torch.cat([pad(rank_counts(*few), (0, 2, 0, 2)), rank_counts(*many)])
    sums = {
        name: torch.cat([values, crps_sums(*many)[name]])
        for name, values in crps_sums(*few).items()
    }
    pixels = rank.sum((2, 3))
    for score in (probabilistic.crps, probabilistic.crps_fair):
        together = score(*sums.values(), pixels, members[:, None])
        assert_allclose(together, np.stack([crps_of(*few, score), crps_of(*many, score)]))
    alone = [probability_counts(*few, THRESHOLDS)[0], probability_counts(*many, THRESHOLDS)[0]]
    for score in (probabilistic.brier, probabilistic.brier_reliability):
        together = score(probability, members[:, None, None])
        assert_allclose(
            together, np.stack([score(one, m) for one, m in zip(alone, (3, 5), strict=True)])
        )
    for score in (
        probabilistic.brier_resolution,
        probabilistic.brier_uncertainty,
        probabilistic.roc_area,
    ):
        assert_allclose(score(probability), np.stack([score(one) for one in alone]))
    assert probabilistic.forecast_probability(members, 5).tolist()[1] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert_allclose(
        probabilistic.forecast_probability(members, 5)[0], [0, 1 / 3, 2 / 3, 1, NAN, NAN]
    )
    assert np.isnan(probabilistic.observed_frequency(probability)[0, ..., 4:]).all()
    assert (
        not probabilistic.roc_pod(probability)[0, ..., 4:].any()
        and not probabilistic.roc_pofd(probability)[0, ..., 4:].any()
    )
    frequency = probabilistic.rank_frequency(rank, members[:, None])
    assert_allclose(frequency[0, :, :4], probabilistic.rank_frequency(rank_counts(*few), 3)[0])
    assert_allclose(frequency[1], probabilistic.rank_frequency(rank_counts(*many), 5)[0])
    assert np.isnan(frequency[0, :, 4:]).all()


def test_what_was_never_counted_is_undefined() -> None:
    nothing = np.zeros((2, 4, 2), dtype=np.int64)
    for score in (probabilistic.brier, probabilistic.brier_reliability):
        assert np.isnan(score(nothing, 3)).all() and score(nothing, 3).shape == (2,)
    for score in (
        probabilistic.brier_resolution,
        probabilistic.brier_uncertainty,
        probabilistic.roc_area,
        probabilistic.roc_pod,
    ):
        assert np.isnan(score(nothing)).all()
    assert np.isnan(probabilistic.rank_frequency(np.zeros((4, 4)), 3)).all()
    assert np.isnan(probabilistic.crps(0.0, 0.0, 0, 3)) and np.isnan(
        probabilistic.crps_fair(0.0, 0.0, 0, 3)
    )
    no_events = np.array([[3, 0], [2, 0]])
    assert (
        np.isnan(probabilistic.roc_area(no_events))
        and np.isnan(probabilistic.roc_pod(no_events)).all()
    )
    assert probabilistic.roc_pofd(no_events).tolist() == [1, 2 / 5]


def test_counts_of_more_members_than_named_are_refused() -> None:
    for score in (probabilistic.brier, probabilistic.brier_reliability):
        with pytest.raises(DataError, match="more than 1 members"):
            score(HAND, 1)
    with pytest.raises(DataError, match="more than 1 members"):
        probabilistic.rank_frequency(np.ones((3, 3)), 1)


def test_pysteps_agrees_on_ensembles_without_ties(ensscores: Any, probscores: Any) -> None:
    forecast, observed = smooth(10, 16, missing=True)
    crps, rank = crps_of(forecast, observed), rank_counts(forecast, observed)
    ranks = probabilistic.rank_frequency(rank, 10)[0]
    for lead in range(3):
        x, y = forecast[0, lead].numpy(), observed[0, lead].numpy()
        assert crps[lead] == pytest.approx(probscores.CRPS(x, y), rel=1e-12)
        assert_allclose(ranks[lead], ensscores.rankhist(x, y), rtol=1e-12)


def test_pysteps_agrees_on_reliability_and_roc(probscores: Any) -> None:
    """With ties and gaps, and given one bin for each of our probabilities; it leaves points of
    fewer than 10 pixels out, if let.
    """
    forecast, observed = ties(10, 17)
    probability = probability_counts(forecast, observed, THRESHOLDS).sum(1)[0]
    for k, threshold in enumerate(THRESHOLDS):
        shares, truth = exceedance(forecast, observed, threshold)
        with np.errstate(invalid="ignore"):
            abscissa, ordinate = probscores.reldiag(
                shares, truth, threshold, n_bins=11, min_count=0
            )
        seen = probabilistic.probability_pixels(probability)[k] > 0
        assert_allclose(
            abscissa[seen], probabilistic.forecast_probability(10, 10)[seen], rtol=1e-12
        )
        assert_allclose(
            ordinate[seen], probabilistic.observed_frequency(probability)[k][seen], rtol=1e-12
        )
        pofd, pod, area = probscores.ROC_curve(
            shares, truth, threshold, n_prob_thrs=11, compute_area=True
        )
        assert_allclose(pod, probabilistic.roc_pod(probability)[k], rtol=1e-12)
        assert_allclose(pofd, probabilistic.roc_pofd(probability)[k], rtol=1e-12)
        assert area == pytest.approx(probabilistic.roc_area(probability)[k], rel=1e-12)


def test_pysteps_loses_part_of_the_crps_where_the_observation_equals_a_member(
    probscores: Any,
) -> None:
    """Of members 1 and 3 and the truth 3, ∫ (F − H)² is (1/2)² over 1 to 3.

    Its comparisons are all strict, and leave that out: so does it most often where it is dry, and
    some members are not.
    """
    x, y = np.array([1.0, 3.0]).reshape(2, 1, 1), np.array([[3.0]])
    assert probscores.CRPS(x, y) == 0
    assert crps_of(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]).tolist() == [
        0.5
    ]


def test_pysteps_draws_ranks_at_random_among_ties_and_we_share_them(ensscores: Any) -> None:
    """In 100 draws a rank's share strays from ours by less than 5 of its standard errors, of
    which √(1/4 · n / 100) / n is a bound. It also draws for pixels where all are equal, which
    we leave out: here are none.
    """
    forecast, observed = (field[:, :1] for field in ties(4, 18))
    observed = torch.where((forecast == observed[:, :, None]).all(2), NAN, observed)
    rank = rank_counts(forecast, observed)
    n = rank.sum().item()
    assert rank[..., 1:].sum() > n / 4  # many are tied
    state = np.random.get_state()
    np.random.seed(18)
    drawn = np.mean(
        [ensscores.rankhist(forecast[0, 0].numpy(), observed[0, 0].numpy()) for _ in range(100)],
        axis=0,
    )
    np.random.set_state(state)
    assert abs(drawn - probabilistic.rank_frequency(rank, 4)[0, 0]).max() < 5 * np.sqrt(
        1 / 4 / 100 / n
    )


def labelled(forecast: Tensor, observed: Tensor) -> tuple[xr.DataArray, xr.DataArray]:
    """As `scores` wants them, and missing altogether where one is: for what it does with a
    missing member see below.
    """
    missing = forecast.isnan().any(2) | observed.isnan()
    x, y = forecast.masked_fill(missing[:, :, None], NAN)[0], observed.masked_fill(missing, NAN)[0]
    return xr.DataArray(x.numpy(), dims=("lead", "member", "y", "x")), xr.DataArray(
        y.numpy(), dims=("lead", "y", "x")
    )


def test_scores_agrees_on_the_crps_with_ties_and_gaps(of_scores: Any) -> None:
    forecast, observed = ties(7, 19)
    x, y = labelled(forecast, observed)
    for method, score in {"ecdf": probabilistic.crps, "fair": probabilistic.crps_fair}.items():
        theirs = of_scores.crps_for_ensemble(x, y, "member", method=method, preserve_dims=["lead"])
        assert_allclose(crps_of(forecast, observed, score), theirs, rtol=1e-12)


def test_scores_scores_the_members_that_are_left_and_we_leave_the_pixel_out(of_scores: Any) -> None:
    forecast, observed = (
        torch.tensor([[1.0, 3.0], [NAN, 3.0]]).reshape(1, 1, 2, 1, 2),
        torch.zeros(1, 1, 1, 2),
    )
    x = xr.DataArray(forecast[0, 0].numpy(), dims=("member", "y", "x"))
    y = xr.DataArray(observed[0, 0].numpy(), dims=("y", "x"))
    assert of_scores.crps_for_ensemble(x, y, "member").item() == (1 + 3) / 2
    assert crps_of(forecast, observed).tolist() == [3]


def test_scores_agrees_on_brier_and_roc_with_ties_and_gaps(of_scores: Any) -> None:
    forecast, observed = ties(7, 20)
    x, y = labelled(forecast, observed)
    probability = probability_counts(forecast, observed, THRESHOLDS)[0]
    for_ensemble = of_scores.brier_score_for_ensemble(
        x, y, "member", list(THRESHOLDS), preserve_dims=["lead"], fair_correction=False
    )
    assert_allclose(
        probabilistic.brier(probability, 7), for_ensemble.transpose("lead", "threshold"), rtol=1e-12
    )
    for k, threshold in enumerate(THRESHOLDS):
        shares = xr.DataArray(exceedance(forecast, observed, threshold)[0], dims=y.dims)
        events = (y >= threshold).where(y.notnull())
        brier = of_scores.brier_score(shares, events, preserve_dims=["lead"])
        assert_allclose(probabilistic.brier(probability, 7)[:, k], brier, rtol=1e-12)
        curve = of_scores.roc_curve_data(
            shares, events, thresholds=list(np.linspace(0, 1, 8)), preserve_dims=["lead"]
        )
        assert_allclose(probabilistic.roc_area(probability)[:, k], curve["AUC"], rtol=1e-12)
        assert_allclose(
            probabilistic.roc_pod(probability)[:, k],
            curve["POD"].transpose("lead", "threshold")[:, :-1],
            rtol=1e-12,
        )


def test_scores_shares_ties_too_but_keeps_pixels_where_all_are_equal(of_scores: Any) -> None:
    forecast, observed = (field.clamp(min=3.0) for field in ties(3, 21))
    rank = rank_counts(forecast, observed)
    x, y = labelled(forecast, observed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the gaps
        theirs = of_scores.rank_histogram(x, y, "member", preserve_dims=["lead"]).transpose(
            "lead", "rank"
        )
    all_equal = (rank[0, :, 0, 3].double() / rank[0].sum((1, 2))).numpy()[:, None]
    assert (all_equal > 0.05).all()
    assert_allclose(
        theirs,
        (1 - all_equal) * probabilistic.rank_frequency(rank, 3)[0] + all_equal / 4,
        rtol=1e-12,
    )


def test_the_distance_from_the_diagonal_is_of_tenths_that_hold_one_percent() -> None:
    """100 members: 900 pixels at 3 %, of which 18 come true; 91 at 50 and 54 %; 9 at 95 %, none."""
    counts = np.zeros((101, 2))
    counts[3], counts[50], counts[54], counts[95] = (882, 18), (30, 10), (1, 50), (9, 0)
    given = (40 * 0.5 + 51 * 0.54) / 91
    distance = probabilistic.reliability_distance(counts, 100)
    assert distance == pytest.approx(60 / 91 - given)
    counts[95] *= 2  # 18 of 1009 pixels are enough
    assert probabilistic.reliability_distance(counts, 100) == pytest.approx(0.95)
    assert np.isnan(probabilistic.reliability_distance(0 * counts, 100))
