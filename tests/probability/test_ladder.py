"""Probabilities of a ladder of thresholds."""

import pytest
import torch

from nowcast.probability.ladder import Probabilities


def test_between_two_thresholds_probabilities_are_interpolated_in_the_logarithm() -> None:
    ladder = Probabilities((1.0, 4.0), torch.tensor([0.8, 0.4]).view(1, 1, 2, 1, 1))
    assert ladder.at([1, 2, 4]).flatten().tolist() == pytest.approx([0.8, 0.6, 0.4])


def test_a_threshold_outside_the_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold 0\.5 is outside of 1 to 4 mm/h"):
        Probabilities((1.0, 4.0), torch.zeros(1, 1, 2, 1, 1)).at([0.5])


@pytest.mark.parametrize("thresholds", [(2.0, 1.0), (0.0, 1.0), ()])
def test_thresholds_must_rise_from_above_zero(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="above 0 and rise"):
        Probabilities(thresholds, torch.zeros(1, 1, len(thresholds), 1, 1))
