"""Rates from chances: the inverse of the distribution that a ladder describes."""

import math

import torch
from torch import Tensor

from nowcast.probability.ladder import BEYOND, Probabilities
from nowcast.probability.quantiles import rates_of_chances

LADDER = (0.5, 1.0, 4.0)


def values(*chances: float) -> Tensor:
    """Probabilities of one pixel, (k, 1, 1)."""
    return torch.tensor(chances).view(-1, 1, 1)


def rates(chances: Tensor, *of: float) -> Tensor:
    return rates_of_chances(values(*of), LADDER, chances.view(-1, 1, 1)).flatten()


def test_a_uniform_chance_reaches_each_threshold_with_its_probability() -> None:
    """At the thresholds of the ladder, between them, and above the last."""
    chances = (torch.arange(100_000) + 0.5) / 100_000
    found = rates(chances, 0.8, 0.3, 0.06)
    for threshold, wanted in {0.2: 0.8, 0.5: 0.8, 1.0: 0.3, 4.0: 0.06, 2.0: 0.18}.items():
        assert abs((found >= threshold).float().mean() - wanted) < 2e-5, threshold
    known = Probabilities(LADDER, values(0.8, 0.3, 0.06)[None, None])
    for threshold in (0.6, 0.77, 1.5, 3.0):
        share = (found >= threshold).float().mean()
        assert abs(share - known.at([threshold]).item()) < 2e-5, threshold
    assert found.max() < BEYOND * 4 and ((found == 0) | (found >= 0.5)).all()


def test_the_rate_rises_as_the_chance_falls() -> None:
    found = rates(torch.linspace(1, 1e-6, 1000), 0.8, 0.3, 0.06)
    assert (found.diff() >= 0).all() and found[0] == 0 and found[-1] > 7.9


def test_what_is_certain_always_comes_and_what_is_impossible_never() -> None:
    chances = torch.tensor([1.0, 0.5, 1e-7])
    found = rates(chances, 1.0, 1.0, 0.0)
    assert ((found >= 1) & (found < 4)).all()
    assert (rates(chances, 0.0, 0.0, 0.0) == 0).all()
    assert (rates(chances, 1.0, 1.0, 1.0) >= 4).all()


def test_a_missing_probability_gives_a_missing_rate() -> None:
    given = torch.cat([values(0.5, math.nan, 0.1), values(0.5, 0.2, 0.1)], dim=2)
    found = rates_of_chances(given, LADDER, torch.full((3, 1, 2), 0.3))
    assert found[..., 0].isnan().all() and (found[..., 1] >= 0.5).all()
