"""A forecast of rates and probabilities."""

import pytest
import torch

from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities


def test_probabilities_are_for_the_times_and_pixels_of_the_rates() -> None:
    values = Probabilities((0.5, 1.0), torch.zeros(2, 3, 2, 8, 6))
    assert Forecast(torch.zeros(2, 3, 4, 8, 6), values).probabilities is values
    with pytest.raises(ValueError, match="times and pixels"):
        Forecast(torch.zeros(2, 3, 4, 6, 8), values)
