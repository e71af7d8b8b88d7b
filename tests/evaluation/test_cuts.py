"""Forecasts with cuts next to plain ones: which score is cut, where, and what is made of it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.evaluation.cases import Cases, Predictor
from nowcast.evaluation.cuts import CutCases, Cuts, fit_all
from nowcast.probability.calibration import Calibration
from nowcast.probability.ladder import Probabilities

THRESHOLDS = (1.0, 4.0)


class Given:
    """A source of cases that are given: rates and probabilities (case, lead, …)."""

    grid = None

    def __init__(
        self,
        observed: Tensor,
        forecasts: dict[str, Tensor],
        probabilities: dict[str, Probabilities] | None = None,
    ) -> None:
        self.observed, self.forecasts, self.probabilities = observed, forecasts, probabilities or {}
        self.predictors: dict[str, Predictor] = {}
        self.lead_minutes, self.remarks = [5.0, 10.0], ["rainy"]
        self.rates_by, self.fitted_on = list[str](), ""
        self.times = np.arange(len(observed)).astype("datetime64[m]")

    def read(self, indices: Sequence[int]) -> Cases:
        picked = list(indices)
        return Cases(
            self.times[picked],
            self.observed[picked],
            {name: rates[picked] for name, rates in self.forecasts.items()},
            {
                name: Probabilities(one.thresholds, one.values[picked])
                for name, one in self.probabilities.items()
            },
        )


def rain(cases: int = 5) -> Tensor:
    """Observed rates (case, lead, h, w) from 0 to 10 mm/h."""
    generator = torch.Generator().manual_seed(1)
    return 10 * torch.rand(cases, 2, 40, 50, generator=generator)


def csi(forecast: Tensor, observed: Tensor, threshold: float) -> float:
    made, seen = forecast[:, :, 0] >= threshold, observed >= threshold
    return float((made & seen).sum() / (made | seen).sum())


def before_calibration(fitted: Cuts | Calibration) -> Tensor:
    """Cuts (lead, k) of probabilities as they were given."""
    assert isinstance(fitted, Calibration)
    return ((fitted.cuts.logit() - fitted.offsets) / fitted.slopes).sigmoid()


def rate_cuts(fitted: Cuts | Calibration) -> Tensor:
    assert isinstance(fitted, Cuts)
    return fitted.values


def test_cuts_of_a_rate_undo_what_is_wrong_with_it_at_every_threshold() -> None:
    observed = rain()
    half = observed[:, :, None] / 2
    source = Given(observed, {"half": half})
    cuts = fit_all(source, THRESHOLDS, 2)
    assert rate_cuts(cuts["half"]).flatten().tolist() == pytest.approx([0.5, 2, 0.5, 2], rel=0.05)
    made = CutCases(source, cuts, "days").read(range(5)).forecasts
    assert list(made) == ["half", "half (cuts)"] and torch.equal(made["half"], half)
    for threshold in THRESHOLDS:
        assert csi(made["half"], observed, threshold) < 0.9
        assert csi(made["half (cuts)"], observed, threshold) > 0.95


def test_cuts_are_fitted_on_the_pixels_of_the_region_only() -> None:
    """Inside it the forecast is half of the rain, outside twice as much."""
    observed, region = rain(), torch.zeros(40, 50, dtype=torch.bool)
    region[10:20, 5:45:2] = True
    forecast = torch.where(region, observed / 2, 2 * observed)[:, :, None]
    source = Given(observed, {"mine": forecast})
    cuts = rate_cuts(fit_all(source, THRESHOLDS, 2, region)["mine"])
    assert cuts.flatten().tolist() == pytest.approx([0.5, 2, 0.5, 2], rel=0.1)
    inside = Given(observed[:, :, 10:20, 5:45:2], {"mine": forecast[..., 10:20, 5:45:2]})
    assert torch.equal(cuts, rate_cuts(fit_all(inside, THRESHOLDS, 2)["mine"]))
    chance = (forecast / 20).clamp(max=0.9).expand(-1, -1, 2, -1, -1)
    likely = Given(observed, {"mine": forecast}, {"mine": Probabilities(THRESHOLDS, chance)})
    cuts = before_calibration(fit_all(likely, THRESHOLDS, 2, region)["mine"])
    assert cuts.flatten().tolist() == pytest.approx([0.025, 0.1] * 2, abs=0.01)


def test_of_an_ensemble_the_mean_is_cut() -> None:
    observed = rain()
    members = torch.stack([observed, torch.zeros_like(observed)], dim=2)  # half, in the mean
    cuts = fit_all(Given(observed, {"two": members}), THRESHOLDS, 3)
    assert rate_cuts(cuts["two"])[:, 1].tolist() == pytest.approx([2.0, 2.0], rel=0.05)
    made = CutCases(Given(observed, {"two": members}), cuts, "days").read([0]).forecasts
    assert made["two (cuts)"].shape == (1, 2, 1, 40, 50)


def test_of_probabilities_these_are_cut_and_not_the_rate_within_their_ladder() -> None:
    """The event happens where its probability is above 0.3; the rate is nonsense."""
    observed = rain()
    chance = (0.3 * observed / 4).clamp(max=0.9)
    ladder = Probabilities((0.5, 4.0), torch.stack([chance + 0.05, chance], dim=2))
    source = Given(observed, {"sure": torch.zeros(5, 2, 1, 40, 50)}, {"sure": ladder})
    cuts = fit_all(source, (0.1, 4.0, 30.0), 5)["sure"]
    assert cuts.thresholds == (4.0,)
    assert before_calibration(cuts).flatten().tolist() == pytest.approx([0.3, 0.3], abs=0.01)
    made = CutCases(source, {"sure": cuts}, "days").read(range(5)).forecasts["sure (cuts)"]
    assert csi(made, observed, 4.0) > 0.97


def test_a_forecast_without_a_threshold_in_its_ladder_has_no_cuts() -> None:
    ladder = Probabilities((5.0,), torch.zeros(5, 2, 1, 40, 50))
    source = Given(rain(), {"heavy": torch.zeros(5, 2, 1, 40, 50)}, {"heavy": ladder})
    assert fit_all(source, THRESHOLDS, 5) == {}


def test_what_is_missing_stays_missing_and_the_days_are_a_remark() -> None:
    observed = rain(2)
    rates = observed[:, :, None].clone()
    rates[..., :3] = torch.nan
    source = Given(observed, {"mine": rates, "model": rates})
    one = CutCases(source, {"mine": Cuts(THRESHOLDS, torch.tensor([[1.0, 4]] * 2))}, "16 May")
    made = one.read([1]).forecasts
    assert list(made) == ["mine", "mine (cuts)", "model"]
    assert torch.equal(made["mine (cuts)"].isnan(), rates[1:].isnan())
    assert one.remarks == ["rainy", "cuts of mine were fitted on 16 May"]
