"""A calibration that is fitted to past forecasts."""

from dataclasses import replace

import pytest
import torch

from nowcast.probability.calibration import (
    Calibration,
    calibration_of,
    check_calibration,
    fit_calibration,
    uncalibrated,
)
from nowcast.probability.cuts import csi_of_cuts, fit_cuts
from nowcast.probability.rates import rates_by_cuts
from nowcast.probability.sample import Sample

THRESHOLDS = (1.0, 5.0)


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 2, 2, 300, 300), and rates that happen with these probabilities."""
    generator = torch.Generator().manual_seed(0)
    first = 2 * torch.randn(1, 2, 300, 300, generator=generator) - 1
    second = first - 2 * torch.rand(1, 2, 300, 300, generator=generator)
    draw = torch.rand(first.shape, generator=generator)
    rates = torch.where(draw < second.sigmoid(), 7.0, torch.where(draw < first.sigmoid(), 2.0, 0))
    return torch.stack([first, second], dim=2), rates


def sample_of(logits: torch.Tensor, rates: torch.Tensor) -> Sample:
    sample = Sample(THRESHOLDS, 1)
    sample.add(logits.sigmoid(), rates)
    return sample


def fitted(sample: Sample) -> Calibration:
    return fit_calibration(sample, fit_cuts(sample))


def test_calibrated_probabilities_stay_as_they_are() -> None:
    calibration = fitted(sample_of(*drawn()))
    assert calibration.slopes.flatten().tolist() == pytest.approx([1] * 4, abs=0.06)
    assert calibration.offsets.flatten().tolist() == pytest.approx([0] * 4, abs=0.06)


def test_overconfident_probabilities_are_drawn_towards_the_truth() -> None:
    logits, rates = drawn()
    calibration = fitted(sample_of(2 * logits + 1, rates))
    corrected = calibration.probabilities(2 * logits + 1).values
    torch.testing.assert_close(corrected, logits.sigmoid(), atol=0.03, rtol=0)


def test_cuts_are_those_of_calibrated_probabilities() -> None:
    logits, rates = drawn()
    calibration = fitted(sample_of(2 * logits + 1, rates))
    straight = fitted(sample_of(logits, rates))
    torch.testing.assert_close(calibration.cuts, straight.cuts, atol=0.05, rtol=0)


def test_the_rate_by_csi_has_the_csi_of_its_cuts() -> None:
    logits, rates = drawn()
    sample = sample_of(logits, rates)
    calibration = replace(fitted(sample), past=None)
    made = calibration.rates(calibration.probabilities(logits), "csi")[:, :, 0]
    for k, threshold in enumerate(THRESHOLDS):
        forecast, event = made >= threshold, rates >= threshold
        csi = (forecast & event).sum((0, 2, 3)) / (forecast | event).sum((0, 2, 3))
        told = csi_of_cuts(sample, uncut(calibration.cuts, calibration.slopes, calibration.offsets))
        torch.testing.assert_close(csi, told[:, k], atol=0.01, rtol=0)


def uncut(cuts: torch.Tensor, slopes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Cuts of the probabilities before they were calibrated."""
    return ((torch.logit(cuts) - offsets) / slopes).sigmoid()


def test_a_calibration_survives_its_state() -> None:
    calibration = fitted(sample_of(*drawn()))
    again = calibration_of(calibration.state())
    assert again.thresholds == calibration.thresholds
    assert torch.equal(again.cuts, calibration.cuts)
    logits, _ = drawn()
    probabilities = calibration.probabilities(logits)
    assert torch.equal(again.rates(probabilities, "csi"), calibration.rates(probabilities, "csi"))
    assert again.lowest is not None and torch.equal(again.lowest, calibration.lowest)
    check_calibration(calibration.state(), THRESHOLDS, 2)


def test_a_calibration_that_an_earlier_version_saved_has_the_same_cuts_for_every_forecast() -> None:
    state = fitted(sample_of(*drawn())).state()
    del state["past"]
    check_calibration(state, THRESHOLDS, 2)
    earlier = calibration_of(state)
    probabilities = earlier.probabilities(drawn()[0])
    expected = rates_by_cuts(probabilities.values, earlier.cuts, THRESHOLDS)
    torch.testing.assert_close(earlier.rates(probabilities, "csi"), expected)


def test_a_calibration_that_an_earlier_version_saved_uses_its_regression_everywhere() -> None:
    state = fitted(sample_of(*drawn())).state()
    del state["lowest"]
    check_calibration(state, THRESHOLDS, 2)
    earlier = calibration_of(state)
    logits = torch.full((1, 2, 2, 1, 1), -9.0)
    expected = (-9.0 * earlier.slopes + earlier.offsets).sigmoid()
    found = earlier.probabilities(logits).values[0, :, :, 0, 0]
    torch.testing.assert_close(found, expected.cummin(dim=1).values)


def test_far_from_rain_the_probability_is_the_frequency_on_the_validation_days() -> None:
    """Uncalibrated probabilities below 0.001 are all alike to the sample."""
    logits, rates = drawn()
    logits[..., :100, :] = -7.5
    rates[..., :100, :] = 0.0
    rates[:, 1, :3, 0] = 7.0
    calibration = fitted(sample_of(logits, rates))
    slopes, offsets = calibration.slopes, calibration.offsets
    regression = (-7.5 * slopes + offsets).sigmoid()
    below = (logits[0] < torch.logit(torch.tensor(0.001))).flatten(2)
    event = torch.stack([rates[0] >= threshold for threshold in THRESHOLDS], dim=1).flatten(2)
    frequency = (event & below).sum(2) / below.sum(2)
    assert calibration.lowest is not None and (frequency[0] == 0).all() and frequency[1, 1] > 0
    torch.testing.assert_close(calibration.lowest, frequency)
    assert (calibration.lowest < regression).all()
    found = calibration.probabilities(logits)
    torch.testing.assert_close(found.values[0, :, 0, 0, 5], frequency[:, 0])
    above = logits[:, :, 0] > -6.9
    usual = replace(calibration, lowest=None).probabilities(logits)
    assert torch.equal(found.values[:, :, 0][above], usual.values[:, :, 0][above])
    missing = calibration.probabilities(torch.full((1, 2, 2, 1, 1), torch.nan))
    assert missing.values.isnan().all()


def test_far_from_rain_the_probability_is_not_above_that_of_the_first_step() -> None:
    logits, rates = drawn()
    logits[..., :9] = -9.0
    rates[..., :9] = 7.0
    calibration = fitted(sample_of(logits, rates))
    first = torch.logit(torch.tensor(0.001)) * calibration.slopes + calibration.offsets
    torch.testing.assert_close(calibration.lowest, first.sigmoid())


def test_without_a_pixel_far_from_rain_the_probability_there_is_that_of_the_first_step() -> None:
    logits, rates = drawn()
    calibration = fitted(sample_of(logits.clamp(min=-6.0), rates))
    first = torch.logit(torch.tensor(0.001)) * calibration.slopes + calibration.offsets
    torch.testing.assert_close(calibration.lowest, first.sigmoid())


def test_probabilities_far_from_rain_for_other_lead_times_are_refused() -> None:
    state = fitted(sample_of(*drawn())).state()
    state["lowest"] = state["lowest"][:1]
    with pytest.raises(ValueError, match="lowest: "):
        check_calibration(state, THRESHOLDS, 2)


def test_counts_of_other_cuts_are_refused() -> None:
    state = fitted(sample_of(*drawn())).state()
    state["past"] = {**state["past"], "hits": state["past"]["hits"][..., 1:]}
    with pytest.raises(ValueError, match="hits: "):
        check_calibration(state, THRESHOLDS, 2)


def test_without_a_calibration_probabilities_are_those_of_the_logits() -> None:
    logits, _ = drawn()
    probabilities = uncalibrated(THRESHOLDS, 2).probabilities(logits)
    torch.testing.assert_close(probabilities.values, logits.sigmoid())
