"""The Lagrangian probability forecast against rain whose way and neighbourhoods are known."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.building import build_baseline
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import LADDER
from nowcast.probability.neighbourhoods import fractions

pytest.importorskip("cv2")

NAN = math.nan


def baseline(lead_steps: int = 3) -> Baseline:
    return build_baseline(
        "lagrangian_probability", input_steps=4, lead_steps=lead_steps, timestep_minutes=5.0,
        pixel_km=1.0, members=2, seed=0,
    )  # fmt: skip


def shower(step: int = 0) -> Tensor:
    """A round shower of up to 20 mm/h that moves so many columns a step: (1, 4, 1, 80, 100)."""
    y, x = np.mgrid[:80, :100]
    frames = [20 * np.exp(-((x - 50 - step * k) ** 2 + (y - 40) ** 2) / 32) for k in range(-3, 1)]
    rain = torch.from_numpy(np.stack(frames)).float()[None, :, None]
    return rain.where(rain >= 0.1, 0.0)


def made(past: Tensor, lead_steps: int = 3) -> tuple[Forecast, Tensor]:
    """The forecast, and its probabilities (lead, k, h, w) of the first case."""
    forecast = baseline(lead_steps).expect(past)
    assert forecast.probabilities is not None and forecast.probabilities.thresholds == LADDER
    return forecast, forecast.probabilities.values[0]


def test_without_motion_it_is_a_mixture_of_the_shares_of_neighbourhoods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "nowcast.forecast.baselines.lagrangian.mixture_logits",
        lambda: ([0.0, 0.0, -99.0, -99.0, -99.0, -99.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    past = shower()
    _, values = made(past)
    shares = fractions(past[:, -1, 0], LADDER)[0]
    for step in (1, 2, 3):  # softmax of 0 and log(step): 1 to step
        expected = (shares[0] + step * shares[1]) / (1 + step)
        torch.testing.assert_close(values[step - 1], expected, atol=1e-5, rtol=0)


def test_probabilities_move_with_the_rain_and_spread_with_lead_time() -> None:
    _, values = made(shower(3), 6)
    one_mm = values[:, LADDER.index(1.0)].nan_to_num(0.0).double()
    columns = torch.arange(100)
    centres = (one_mm * columns).sum((1, 2)) / one_mm.sum((1, 2))
    assert centres.tolist() == pytest.approx([50 + 3 * step for step in range(1, 7)], abs=0.5)
    assert one_mm.amax((1, 2)).diff().max() < 0  # the surest pixel becomes less sure
    assert ((one_mm > 0.01).sum((1, 2)).diff() > 0).all()  # more pixels are possible


def test_probabilities_fall_from_threshold_to_threshold() -> None:
    _, values = made(shower(2))
    known = values.isfinite().all(dim=1)
    assert (values.diff(dim=1).amax(dim=1)[known] <= 1e-6).all() and known.float().mean() > 0.8
    assert values[values.isfinite()].min() >= 0 and values[values.isfinite()].max() <= 1


def test_the_rate_is_the_median() -> None:
    forecast, values = made(shower(1))
    rates = forecast.rates[0, :, 0]
    known = rates.isfinite()
    assert forecast.rates.shape == (1, 3, 1, 80, 100) and rates[known].max() > 5
    for place, threshold in enumerate(LADDER):
        reached = values[:, place] >= 0.5
        assert torch.equal((rates >= threshold)[known], reached[known])


def test_rain_from_outside_and_from_missing_pixels_is_missing() -> None:
    """After two steps of three columns nothing is known of the six columns on the left."""
    past = shower(3)
    past[0, -1, 0, 10:14, 60:64] = NAN
    forecast, values = made(past, 2)
    missing = values[1].isnan()
    assert missing[:, :, :5].all() and not missing[:, 30:50, 8:].any()
    holes = missing[0, 1:-1, 10:].nonzero() + torch.tensor([1, 10])
    assert holes.min(0).values.tolist() == pytest.approx([10, 66], abs=1)
    assert holes.max(0).values.tolist() == pytest.approx([13, 69], abs=1)
    assert torch.equal(forecast.rates[0, 1, 0].isnan(), missing.any(dim=0))


def test_a_case_without_two_frames_is_missing_and_others_are_not() -> None:
    past = torch.cat([shower(1), shower(1)])
    past[0, :-1] = NAN
    one = baseline()
    rates = one(past)
    assert rates[0].isnan().all() and rates[1].isfinite().float().mean() > 0.8
    ((remark, cases),) = one.remarks.items()
    assert "motion is unknown" in remark and cases == 1


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 40)])
def test_small_and_dry_grids_have_no_rain_ahead(size: tuple[int, int]) -> None:
    forecast, values = made(torch.zeros(1, 4, 1, *size))
    assert (values == 0).all() and (forecast.rates == 0).all()
    assert forecast.rates.shape == (1, 3, 1, *size)


def test_callers_that_want_rates_get_them_and_a_scene_has_probabilities() -> None:
    past = shower(1)
    one = baseline()
    whole = one.expect(past)
    torch.testing.assert_close(one(past), whole.rates, equal_nan=True)
    scene: Any = SimpleNamespace(rates=past[0, :, 0].numpy())
    made = one.forecast_of(scene)
    assert made.probabilities is not None and whole.probabilities is not None
    np.testing.assert_array_equal(made.rates, whole.rates[0, :, 0].numpy())
    np.testing.assert_array_equal(made.probabilities.values, whole.probabilities.values[0].numpy())
