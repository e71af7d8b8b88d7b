"""How heavy rain may be where rain is improbable."""

import math

import torch

from nowcast.probability.ladder import Probabilities
from nowcast.probability.tails import with_plausible_tails

LADDER = (0.1, 1.0, 10.0)
NEWEST = torch.tensor([0.0] * 50 + [0.5] * 30 + [5.0] * 18 + [20.0] * 2).view(10, 10)
"""50 pixels reach 0.1 mm/h, 20 reach 1, 2 reach 10."""


def tails(*values: float, newest: torch.Tensor = NEWEST) -> list[float]:
    given = torch.tensor(values).view(1, 1, 3, 1, 1)
    found = with_plausible_tails(Probabilities(LADDER, given), newest).values.flatten()
    return [round(value, 7) for value in found.tolist()]


def test_on_dry_ground_heavy_rain_is_far_less_probable_than_light_rain() -> None:
    dry, light, heavy = tails(3e-4, 3e-4, 3e-4)
    assert dry == 3e-4
    assert light < 0.5 * dry and heavy < 0.2 * light


def test_where_rain_is_probable_nothing_changes() -> None:
    assert tails(0.9, 0.5, 0.4) == tails(0.9, 0.5, 0.4, newest=torch.zeros(10, 10))
    assert tails(0.9, 0.5, 0.4) == [round(float(torch.tensor(p)), 7) for p in (0.9, 0.5, 0.4)]


def test_a_tail_as_heavy_as_that_of_the_newest_frame_stays() -> None:
    assert tails(0.01, 0.004, 0.0004) == [0.01, 0.004, 0.0004]


def test_no_threshold_becomes_more_probable_than_a_lower_one_and_missing_stays_missing() -> None:
    torch.manual_seed(0)
    values = torch.rand(2, 3, 3, 8, 8).sort(dim=2, descending=True).values * 0.2
    values[0, 0, :, 0, 0] = math.nan
    found = with_plausible_tails(Probabilities(LADDER, values), NEWEST).values
    assert (found.isnan() == values.isnan()).all()
    assert (found[:, :, :-1] >= found[:, :, 1:]).logical_or(found[:, :, 1:].isnan()).all()
    assert (found <= values).logical_or(values.isnan()).all()
