"""Cuts that are fitted to past forecasts."""

import pytest
import torch

from nowcast.probability.cuts import fit_cuts
from nowcast.probability.rates import rates_by_cuts
from nowcast.probability.sample import Sample, empty_sample

THRESHOLDS = (1.0, 5.0)


def calibrated(lead_steps: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (1, lead, 2, 300, 300) and rates that happen with these probabilities."""
    generator = torch.Generator().manual_seed(seed)
    size = (1, lead_steps, 300, 300)
    first = torch.rand(size, generator=generator) ** 3
    second = first * torch.rand(size, generator=generator) ** 2
    draw = torch.rand(size, generator=generator)
    observed = torch.where(draw < second, 7.0, torch.where(draw < first, 2.0, 0.0))
    return torch.stack([first, second], dim=2), observed


def csi(rates: torch.Tensor, observed: torch.Tensor, threshold: float) -> float:
    forecast, event = rates >= threshold, observed >= threshold
    return float((forecast & event).sum() / (forecast | event).sum())


def sample_of(probabilities: torch.Tensor, observed: torch.Tensor, **options: bool) -> Sample:
    sample = Sample(THRESHOLDS, 1, **options)
    sample.add(probabilities, observed)
    return sample


def test_cuts_of_calibrated_probabilities_follow_from_the_csi_that_is_reached() -> None:
    probabilities, observed = calibrated()
    cuts = fit_cuts(sample_of(probabilities, observed))
    rates = rates_by_cuts(probabilities, cuts, THRESHOLDS)[:, :, 0]
    reached = csi(rates, observed, 5.0)
    assert cuts[:, 1].tolist() == pytest.approx([reached / (1 + reached)] * 2, abs=0.04)


def test_no_other_cut_of_the_highest_threshold_has_a_better_csi() -> None:
    probabilities, observed = calibrated()
    cuts = fit_cuts(sample_of(probabilities, observed))
    best = csi(rates_by_cuts(probabilities, cuts, THRESHOLDS)[:, :, 0], observed, 5.0)
    for factor in (0.7, 0.85, 1.2, 1.4):
        other = rates_by_cuts(probabilities, cuts * torch.tensor([1, factor]), THRESHOLDS)
        assert csi(other[:, :, 0], observed, 5.0) <= best + 1e-3


def test_a_cut_does_not_depend_on_the_thresholds_above() -> None:
    probabilities, observed = calibrated()
    one = Sample(THRESHOLDS[:1], 1)
    one.add(probabilities[:, :, :1], observed)
    both = sample_of(probabilities, observed)
    assert torch.equal(fit_cuts(one)[:, 0], fit_cuts(both)[:, 0])


def test_no_cut_forecasts_rain_over_more_than_twice_its_area() -> None:
    generator = torch.Generator().manual_seed(1)
    chance = 0.02 * torch.rand(1, 1, 1, 300, 300, generator=generator)  # all cuts are as good
    observed = torch.where(torch.rand(1, 1, 300, 300, generator=generator) < 0.02, 2.0, 0.0)
    one = Sample((1.0,), 1)
    one.add(chance, observed)
    assert float((chance >= fit_cuts(one)[0, 0]).sum() / (observed >= 1).sum()) <= 2


def test_cuts_of_a_rate_undo_its_bias() -> None:
    observed = 10 * torch.rand(1, 1, 300, 300)
    cuts = fit_cuts(sample_of(0.5 * observed[:, :, None], observed, of_rates=True))
    assert cuts[0].tolist() == pytest.approx([0.5, 2.5], rel=0.05)


def test_missing_pixels_are_not_learnt_from() -> None:
    probabilities, observed = calibrated()
    wrong = observed.clone()
    wrong[..., :150] = 9.0
    wrong[..., :150][probabilities[:, :, 0, :, :150] > 0] = torch.nan
    blind = fit_cuts(sample_of(probabilities[..., 150:], observed[..., 150:]))
    assert torch.equal(fit_cuts(sample_of(probabilities, wrong)), blind)


def test_a_threshold_that_no_pixel_reaches_has_the_cut_of_the_one_below() -> None:
    probabilities, observed = calibrated()
    cuts = fit_cuts(sample_of(probabilities, observed.clamp(max=2)))
    assert torch.equal(cuts[:, 1], cuts[:, 0])


def test_of_dry_days_cuts_are_those_of_the_median() -> None:
    probabilities, observed = calibrated()
    assert (fit_cuts(sample_of(probabilities, observed * 0)) == 0.5).all()


def test_a_sample_takes_no_more_pixels_than_memory_allows() -> None:
    assert empty_sample(THRESHOLDS, 12, 10**6).every == 1
    assert empty_sample(THRESHOLDS, 12, 10**8).every == 54
    sample = Sample(THRESHOLDS, 3)
    sample.add(*calibrated())
    assert sample.classes().shape == (2, 30_000)
