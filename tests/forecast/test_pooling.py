"""One forecast of several models: means, weights without seams, pooled probabilities and cuts."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.forecast.pooling import Part, pooled, region_weights, scene_forecast_of
from nowcast.probability.calibration import Calibration, uncalibrated
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities
from nowcast.radar.placing.regions import Region

LADDER = (1.0, 4.0)
LEFT, RIGHT = Region(slice(0, 4), slice(0, 6)), Region(slice(0, 4), slice(4, 10))


def rates(value: float, height: int = 4, width: int = 10) -> Forecast:
    return Forecast(torch.full((1, 2, 1, height, width), value))


def chances(*values: float, size: tuple[int, int] = (4, 10)) -> Forecast:
    """The same probabilities at all pixels."""
    whole = torch.tensor(values).view(1, 1, -1, 1, 1).expand(1, 2, -1, *size).clone()
    return Forecast(torch.zeros(1, 2, 1, *size), Probabilities(LADDER, whole))


def cut_at(cut: float) -> Calibration:
    plain = uncalibrated(LADDER, 2)
    return Calibration(LADDER, plain.slopes, plain.offsets, torch.full((2, 2), cut))


def test_models_without_probabilities_give_their_mean_and_are_its_members() -> None:
    made = pooled([Part(rates(1.0)), Part(rates(4.0)), Part(rates(7.0))], (4, 10))
    assert torch.equal(made.rates, torch.full((1, 2, 1, 4, 10), 4.0))
    assert made.members is not None and made.members[0, 0, :, 0, 0].tolist() == [1.0, 4.0, 7.0]


def test_a_pixel_that_one_model_does_not_know_is_that_of_the_others() -> None:
    half = rates(1.0)
    half.rates[..., :5] = torch.nan
    made = pooled([Part(half), Part(rates(3.0))], (4, 10))
    assert made.rates[0, 0, 0, 0].tolist() == 5 * [3.0] + 5 * [2.0]


def test_a_single_model_forecasts_what_it_forecasts() -> None:
    alone = chances(0.3, 0.1)
    assert pooled([Part(alone, cut_at(0.5))], (4, 10)) is alone


def test_probabilities_are_pooled_and_rates_follow_from_the_mean_of_the_cuts() -> None:
    """0.2 and 0.6 are 0.4; cuts of 0.1 and 0.5 are 0.3, so 1 mm/h is reached; with cuts of 0.5 and
    0.5 it is not.
    """
    both = [chances(0.2, 0.0), chances(0.6, 0.0)]
    made = pooled([Part(both[0], cut_at(0.1)), Part(both[1], cut_at(0.5))], (4, 10))
    assert made.probabilities is not None
    torch.testing.assert_close(made.probabilities.values[0, 0, :, 0, 0], torch.tensor([0.4, 0.0]))
    assert bool((made.rates >= 1).all()) and made.members is None
    dry = pooled([Part(one, cut_at(0.5)) for one in both], (4, 10))
    assert bool((dry.rates == 0).all())
    median = pooled([Part(one, cut_at(0.1)) for one in both], (4, 10), rate="median")
    assert bool((median.rates == 0).all())


def test_weights_fall_to_the_border_and_add_up_where_regions_overlap_by_half() -> None:
    weights = region_weights((8, 8))
    assert torch.equal(weights, weights.T)
    torch.testing.assert_close(weights, weights.flip(0))
    assert weights.min() > 0 and weights.max() <= 1
    assert weights[0].max() < 0.05 < 0.9 < weights[4].max()
    line = weights[4] / weights[4].max()
    torch.testing.assert_close(line[:4] + line[4:], torch.ones(4) * (line[0] + line[4]))


def test_where_regions_overlap_one_fades_into_the_other() -> None:
    made = pooled(
        [Part(rates(0.0, 4, 6), None, LEFT), Part(rates(1.0, 4, 6), None, RIGHT)], (4, 10)
    )
    line = made.rates[0, 0, 0, 2]
    assert line[:4].tolist() == 4 * [0.0] and line[6:].tolist() == 4 * [1.0]
    across = [np.sin(np.pi * (k + 0.5) / 6) ** 2 for k in range(6)]
    expected = [across[k] / (across[k] + across[k + 4]) for k in range(2)]
    assert line[4:6].tolist() == pytest.approx(expected)
    assert made.members is None


def test_a_wide_overlap_has_no_seam() -> None:
    """Of regions that overlap by half no step is larger than those of a smooth ramp."""
    size = (64, 96)
    left, right = Region(slice(0, 64), slice(0, 64)), Region(slice(0, 64), slice(32, 96))
    made = pooled(
        [Part(rates(0.0, 64, 64), None, left), Part(rates(1.0, 64, 64), None, right)], size
    )
    steps = made.rates[0, 0, 0].diff(dim=1)
    assert steps.min() >= 0 and steps.max() < 0.06  # a ramp over 32 pixels rises by 0.03 in each


def test_each_region_has_its_own_cuts() -> None:
    """Rain of the same probability is forecast in the region whose cut it passes."""
    parts = [
        Part(chances(0.3, 0.0, size=(4, 6)), cut_at(0.2), LEFT),
        Part(chances(0.3, 0.0, size=(4, 6)), cut_at(0.4), RIGHT),
    ]
    line: Tensor = pooled(parts, (4, 10)).rates[0, 0, 0, 2]
    assert bool((line[:5] >= 1).all()) and bool((line[5:] == 0).all())


def test_beyond_the_regions_there_is_no_forecast_and_that_is_said() -> None:
    part = Part(chances(0.6, 0.2, size=(4, 6)), cut_at(0.5), LEFT)
    made = scene_forecast_of([part], (4, 10), "csi")
    assert np.isnan(made.rates[:, :, 6:]).all() and not np.isnan(made.rates[:, :, :6]).any()
    assert made.probabilities is not None and np.isnan(made.probabilities.values[..., 6:]).all()
    assert made.within is not None and made.within.sum() == 4 * 6
    assert made.remarks == (
        "forecast on 60% of the grid only, where models were trained: rows 0 to 3, columns 0 to 5",
    )
    both = [part, Part(chances(0.6, 0.2, size=(4, 6)), cut_at(0.5), RIGHT)]
    assert scene_forecast_of(both, (4, 10), "csi").within is None
