"""Rates from probabilities, held against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.probability.formulas import expected_rate
from nowcast.probability.ladder import LADDER, Probabilities
from nowcast.probability.rates import mean_rates, median_rates, rates_by_cuts


def of_exponential(mean: float, ladder: tuple[float, ...] = LADDER) -> Probabilities:
    """The probabilities of a rate whose distribution is exponential."""
    return Probabilities(ladder, torch.exp(-torch.tensor(ladder) / mean).view(1, 1, -1, 1, 1))


def random_probabilities() -> Tensor:
    """(2, 3, k, 8, 8), falling from threshold to threshold."""
    return torch.rand(2, 3, len(LADDER), 8, 8).cummin(dim=2).values


def test_rain_is_at_a_threshold_where_its_probability_is_at_the_cut() -> None:
    probabilities = torch.tensor([0.4, 0.3]).view(1, 1, 2, 1, 1)
    assert rates_by_cuts(probabilities, torch.tensor([[0.4, 0.31]]), (0.1, 2.0)).item() >= 0.1
    assert rates_by_cuts(probabilities, torch.tensor([[0.41, 0.31]]), (0.1, 2.0)).item() == 0
    assert rates_by_cuts(probabilities, torch.tensor([[0.4, 0.3]]), (0.1, 2.0)).item() == 2


def test_events_of_the_rate_are_those_of_the_cuts_and_nest() -> None:
    probabilities, cuts = random_probabilities(), 0.05 + 0.6 * torch.rand(3, len(LADDER))
    rates = rates_by_cuts(probabilities, cuts, LADDER)[:, :, 0]
    passed = probabilities >= cuts[:, :, None, None]
    for k, threshold in enumerate(LADDER):
        assert torch.equal(rates >= threshold, passed[:, :, k:].any(dim=2))


def test_a_missing_probability_is_a_missing_rate() -> None:
    probabilities = random_probabilities()
    probabilities[0, 1, 3, 2, 2] = math.nan
    rates = rates_by_cuts(probabilities, torch.full((3, len(LADDER)), 0.3), LADDER)
    assert rates.isnan().nonzero().tolist() == [[0, 1, 0, 2, 2]]


def test_one_rate_is_cut_for_all_thresholds() -> None:
    rates = torch.tensor([0.5, 0.7, 1.4, 3.0]).view(1, 1, 1, 1, 4)
    made = rates_by_cuts(rates, torch.tensor([[0.7, 1.5]]), (1.0, 2.0))
    assert ((made >= 1).flatten().tolist(), (made >= 2).flatten().tolist()) == (
        [False, True, True, True],
        [False, False, False, True],
    )


def test_a_cut_that_is_never_reached_gives_no_event() -> None:
    made = rates_by_cuts(torch.ones(1, 1, 2, 1, 1), torch.tensor([[0.5, math.inf]]), (1.0, 2.0))
    assert 1 <= made.item() < 2


def test_the_median_is_the_rate_of_a_probability_of_one_half() -> None:
    ladder = tuple(0.1 * 1.1**k for k in range(60))
    assert median_rates(of_exponential(4.0, ladder)).item() == pytest.approx(
        4 * math.log(2), rel=0.02
    )


def test_the_mean_is_the_integral_of_the_probabilities() -> None:
    # below 0.1 mm/h the probabilities are not known, and taken for that at 0.1 mm/h
    assert mean_rates(of_exponential(4.0)).item() == pytest.approx(4.0, rel=1e-3)


def test_a_rate_above_the_last_threshold_counts_with_its_probability() -> None:
    """At least 1 mm/h with 0.8: of 6 mm/h 5 are above, of 0.5 or an unknown rate none."""
    likely = Probabilities(
        (0.1, 1.0), torch.tensor([1.0, 0.8]).view(1, 1, 2, 1, 1).repeat(1, 3, 1, 1, 1)
    )
    rates = torch.tensor([6.0, 0.5, math.nan]).view(1, 3, 1, 1, 1)
    below = mean_rates(likely)
    more = (mean_rates(likely, rates) - below).flatten()
    assert more.tolist() == pytest.approx([0.8 * 5, 0, 0])
    assert 0.8 < below[0, 0].item() < 1


def test_without_rain_every_rate_is_zero() -> None:
    dry = Probabilities(LADDER, torch.zeros(1, 2, len(LADDER), 3, 3))
    assert not median_rates(dry).any()
    assert not mean_rates(dry).any()


def test_dry_ground_has_no_expected_rain() -> None:
    """0.002 at every threshold would add up to 0.1 mm/h."""
    floor = torch.full((1, 1, len(LADDER), 1, 1), 0.002)
    assert mean_rates(Probabilities(LADDER, floor)).item() == 0
    assert mean_rates(Probabilities(LADDER, 2 * floor)).item() == pytest.approx(0.004 * 50)


def test_arrays_have_the_expected_rates_of_tensors() -> None:
    values = random_probabilities().clamp(min=0.01)  # of less, tensors have none
    values[0, 1, 3, 2, 2] = math.nan
    expected = expected_rate([*np.moveaxis(values.numpy(), 2, 0)], LADDER, np)
    tensors = mean_rates(Probabilities(LADDER, values))[:, :, 0]
    np.testing.assert_allclose(expected, tensors.numpy(), rtol=1e-5)
    assert np.isnan(expected).sum() == 1
