"""Cuts that a forecast finds by its own probabilities and by past forecasts."""

import pytest
import torch

from nowcast.probability import case_cuts
from nowcast.probability.calibration import fit_calibration
from nowcast.probability.case_cuts import SIZES, PastForecasts, cuts, past_forecasts
from nowcast.probability.cuts import fit_cuts
from nowcast.probability.ladder import Probabilities
from nowcast.probability.rates import rates_by_cuts
from nowcast.probability.sample import Sample

THRESHOLDS = (1.0, 5.0)


SURE, UNSURE = 1.0, 0.4
"""The highest probability of a forecast."""


def drawn(highest: float, seed: int = 0, size: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (1, 2, 2, h, w), and rates (1, 2, h, w) that happen with them."""
    generator = torch.Generator().manual_seed(seed)
    first = highest * torch.rand(1, 2, size, size, generator=generator)
    second = first * torch.rand(first.shape, generator=generator)
    draw = torch.rand(first.shape, generator=generator)
    rates = torch.where(draw < second, 7.0, torch.where(draw < first, 2.0, 0.0))
    return torch.stack([first, second], dim=2), rates


def past_of(highest: float) -> tuple[PastForecasts, torch.Tensor]:
    """What was counted on a day, and its cuts (lead, k)."""
    sample = Sample(THRESHOLDS, 1)
    sample.add(*drawn(highest, seed=1))
    ones = torch.ones(2, 2)
    return past_forecasts(sample, ones, 0 * ones), fit_cuts(sample)


def csi(rates: torch.Tensor, observed: torch.Tensor, threshold: float) -> float:
    forecast, event = rates[:, :, 0] >= threshold, observed >= threshold
    return float((forecast & event).sum() / (forecast | event).sum())


def test_a_forecast_like_those_of_the_past_has_their_cuts() -> None:
    past, fitted = past_of(SURE)
    found = past.cuts_of(Probabilities(THRESHOLDS, drawn(SURE)[0]))
    torch.testing.assert_close(found[0], fitted, atol=0.03, rtol=0)


def test_rain_that_is_less_sure_than_in_the_past_has_lower_cuts_and_a_better_csi() -> None:
    past, fitted = past_of(SURE)
    probabilities, observed = drawn(UNSURE)
    found = past.cuts_of(Probabilities(THRESHOLDS, probabilities))
    assert (found[0] < fitted - 0.02).all()
    for threshold in THRESHOLDS:
        own = csi(rates_by_cuts(probabilities, found, THRESHOLDS), observed, threshold)
        then = csi(rates_by_cuts(probabilities, fitted, THRESHOLDS), observed, threshold)
        assert own > then + 0.02


def test_a_forecast_counts_as_much_as_all_of_the_past_together() -> None:
    past, _ = past_of(SURE)
    lonely = PastForecasts(*(torch.zeros_like(one) for one in vars(past).values()))
    between = past.cuts_of(Probabilities(THRESHOLDS, drawn(UNSURE)[0]))
    alone = lonely.cuts_of(Probabilities(THRESHOLDS, drawn(UNSURE)[0]))
    sure = past.cuts_of(Probabilities(THRESHOLDS, drawn(SURE)[0]))
    assert ((alone < between) & (between < sure)).all()


def test_missing_pixels_do_not_count() -> None:
    past, _ = past_of(SURE)
    probabilities, _ = drawn(UNSURE)
    wider = torch.full((1, 2, 2, 200, 300), torch.nan)
    wider[..., :200] = probabilities
    found = past.cuts_of(Probabilities(THRESHOLDS, wider))
    assert torch.equal(found, past.cuts_of(Probabilities(THRESHOLDS, probabilities)))
    nothing = past.cuts_of(Probabilities(THRESHOLDS, wider * torch.nan))
    assert nothing.isfinite().all()


def test_a_grid_with_more_dry_land_around_has_the_same_cuts() -> None:
    past, _ = past_of(SURE)
    probabilities, _ = drawn(UNSURE)
    wider = torch.zeros(1, 2, 2, 300, 500)
    wider[..., 50:250, 100:300] = probabilities
    found = past.cuts_of(Probabilities(THRESHOLDS, wider))
    assert torch.equal(found, past.cuts_of(Probabilities(THRESHOLDS, probabilities)))


def test_a_dry_forecast_has_the_cuts_of_the_past() -> None:
    past, _ = past_of(SURE)
    dry = past.cuts_of(Probabilities(THRESHOLDS, torch.zeros(1, 2, 2, 20, 20)))
    likely = past.cuts_of(Probabilities(THRESHOLDS, drawn(SURE)[0]))
    torch.testing.assert_close(dry, likely, atol=0.04, rtol=0)


def test_each_case_of_a_batch_has_its_own_cuts() -> None:
    past, _ = past_of(SURE)
    two = torch.cat([drawn(SURE)[0], drawn(UNSURE)[0]])
    found = past.cuts_of(Probabilities(THRESHOLDS, two))
    for case in (0, 1):
        alone = past.cuts_of(Probabilities(THRESHOLDS, two[case : case + 1]))
        assert torch.equal(found[case], alone[0])
    assert (found[1] < found[0]).all()


def test_no_forecast_covers_more_than_twice_the_area_that_is_expected() -> None:
    """Where the past knows of no rain, and no probability is above 1 %."""
    past = PastForecasts(*(torch.zeros(2, 2, n) for n in SIZES.values()))
    low = torch.full((1, 2, 2, 50, 50), 0.01)
    found = past.cuts_of(Probabilities(THRESHOLDS, low))
    assert (rates_by_cuts(low, found, THRESHOLDS) == 0).all()


def test_what_cuts_led_to_is_counted_after_the_calibration() -> None:
    """Of forecasts that are far too sure, and of the same ones as they should have been."""
    probabilities, observed = drawn(SURE)
    sure = (2 * probabilities.logit()).sigmoid()
    sample = Sample(THRESHOLDS, 1)
    sample.add(sure, observed)
    calibration = fit_calibration(sample, fit_cuts(sample))
    right, straight = calibration.past, Sample(THRESHOLDS, 1)
    straight.add(probabilities, observed)
    ones = torch.ones(2, 2)
    expected = past_forecasts(straight, ones, 0 * ones)
    assert right is not None
    middle = (cuts() > 0.1) & (cuts() < 0.8)
    for one, other in zip(vars(right).values(), vars(expected).values(), strict=True):
        at = middle if one.shape[-1] == len(middle) else slice(None)
        torch.testing.assert_close(one[..., at], other[..., at], atol=0.04, rtol=0)


def test_a_lead_time_has_the_same_cut_however_many_follow() -> None:
    past, _ = past_of(SURE)
    probabilities, _ = drawn(UNSURE)
    both = past.cuts_of(Probabilities(THRESHOLDS, probabilities))
    first = past.cuts_of(Probabilities(THRESHOLDS, probabilities[:, :1]))
    assert torch.equal(both[:, :1], first)


def test_a_past_of_much_rain_does_not_widen_the_area_beyond_twice_what_is_expected() -> None:
    past, _ = past_of(SURE)
    patch = torch.zeros(1, 2, 2, 100, 100)
    patch[..., :10, :] = 0.42
    found = past.cuts_of(Probabilities(THRESHOLDS, patch))
    covered = (rates_by_cuts(patch, found, THRESHOLDS) > 0).float().mean()
    assert covered <= 2 * patch[:, :, 0].mean()


def test_the_smallest_probabilities_of_a_large_grid_add_up() -> None:
    low = torch.full((1, 1, 1, 1500, 1500), 1e-4)
    low[..., 0, :300] = 0.9
    _, _, observed = case_cuts._expected(low)
    assert observed.item() == pytest.approx(low.double().mean().item(), rel=1e-4)
