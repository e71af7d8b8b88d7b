"""Sums of rain over the minutes up to each lead time."""

import math

import pytest
import torch

from nowcast.probability.accumulations import accumulated, expected_rates, shares_of_members
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.probability.rates import mean_rates


def test_a_sum_by_hand_and_one_missing_frame_is_a_missing_sum() -> None:
    rates = torch.tensor([6.0, 12.0, 0.0, 3.0, math.nan, 9.0]).view(1, 6, 1, 1)
    sums = accumulated(rates, 3, 5.0).flatten()
    # (6 + 12 + 0) mm/h · 5 min, (12 + 0 + 3) mm/h · 5 min, and two windows with the missing frame
    torch.testing.assert_close(
        sums, torch.tensor([1.5, 1.25, math.nan, math.nan]), equal_nan=True, rtol=0, atol=0
    )


@pytest.mark.parametrize("minutes", [2.5, 5.0, 10.0])
def test_an_hour_of_steady_rain_is_its_rate_whatever_the_time_step(minutes: float) -> None:
    steps = round(60 / minutes)
    sums = accumulated(torch.full((2, steps, 3, 4, 5), 7.0), steps, minutes)
    assert sums.shape == (2, 1, 3, 4, 5) and (sums == 7.0).all()


def test_expected_rates_are_of_the_probabilities_and_without_these_the_mean_of_members() -> None:
    rates = torch.rand(2, 3, 4, 5, 6)
    values = torch.rand(2, 3, 2, 5, 6).sort(dim=2, descending=True).values
    values[1] = torch.nan  # a case by a method that gives none
    given = Probabilities((1.0, 2.0), values)
    expected = expected_rates(Forecast(rates, given))
    torch.testing.assert_close(expected[:1], mean_rates(given)[:1])
    torch.testing.assert_close(expected[1:], rates[1:].mean(dim=2, keepdim=True))
    torch.testing.assert_close(expected_rates(Forecast(rates)), rates.mean(dim=2, keepdim=True))


def test_the_probability_of_a_sum_is_the_share_of_members_that_reach_it_themselves() -> None:
    """Each of two members has an hour of rain at another time: the hour reaches 1 mm in both, no
    half of it does in more than one.
    """
    members = torch.zeros(1, 2, 2, 1, 1)
    members[0, 0, 0], members[0, 1, 1] = 2.0, 2.0
    hour = shares_of_members(accumulated(members, 2, 30), (1.0, 1.5))
    half = shares_of_members(accumulated(members, 1, 30), (1.0, 1.5))
    assert hour.thresholds == (1.0, 1.5) and hour.values.flatten().tolist() == [1.0, 0.0]
    assert half.values.flatten().tolist() == [0.5, 0.0, 0.5, 0.0]
    members[0, 1, 0] = torch.nan
    assert shares_of_members(accumulated(members, 2, 30), (1.0,)).values.isnan().all()
