"""What the rain of the last minutes adds to the newest frame."""

import pytest
import torch
from torch import nn

from nowcast.model import build_model
from nowcast.model.any_grid import AnyGridModel, octaves_of
from nowcast.model.probability_head import mixture_parameters
from nowcast.model.trend import LIMIT, Trend
from nowcast.motion.spacing import Spacing

OCTAVES = [0.0, 1.0, 1.7, 2.5]
SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3, "input_kernel_size": 3,
    "patch_size": 4, "feedback": False, "frame": "moving", "output_activation": "identity",
    "output_grid": "refined", "head": "probability", "thresholds": [1.0, 5.0], "grids": "any",
}  # fmt: skip


def learned() -> Trend:
    torch.manual_seed(0)
    trend = Trend(thresholds=2, octaves=7)
    nn.init.normal_(trend.weights)
    return trend


def added(trend: Trend, frames: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    return trend(frames, measured, OCTAVES, torch.tensor([1.0, 4.0]), log_spacing=0.0)


def rain(frames: int = 3) -> torch.Tensor:
    return torch.rand(2, frames, 16, 16, generator=torch.Generator().manual_seed(1))


def test_rain_that_stays_the_same_has_no_trend() -> None:
    steady = rain(1).expand(-1, 3, -1, -1)
    assert (added(learned(), steady, torch.ones_like(steady)) == 0).all()


def test_a_trend_is_the_weighted_difference_of_neighbourhoods() -> None:
    """Of the narrowest, which is the pixel itself."""
    trend = Trend(thresholds=1, octaves=7)
    with torch.no_grad():
        trend.weights[0, 0, 0, 0] = 2.0
        trend.weights[1, 0, 1, 0] = 3.0
    frames = rain()
    found = added(trend, frames, torch.ones_like(frames))[:, :, 0]
    before, earlier = (
        LIMIT * torch.tanh(25 * (frames[:, -1 - j] - frames[:, -1]) / LIMIT) for j in (1, 2)
    )
    torch.testing.assert_close(found[:, 0], 2 * before + 3 * earlier)
    torch.testing.assert_close(found[:, 1], 2 * before + 3 / 4 * earlier)


def test_a_frame_in_which_a_radar_fails_changes_a_forecast_by_little() -> None:
    trend = Trend(thresholds=1, octaves=7)
    nn.init.constant_(trend.weights[0], -0.5)
    frames, measured = 0.3 + torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    frames[:, -1] = 0  # much rain, and then none
    found = added(trend, frames, measured)
    assert found.abs().max() <= 0.5 * LIMIT * 2 * len(OCTAVES)


def test_a_frame_that_is_missing_counts_for_nothing() -> None:
    """As if it were like the newest one."""
    frames, measured = rain(), torch.ones(2, 3, 16, 16)
    measured[:, 1] = 0
    like = frames.clone()
    like[:, 1] = like[:, 2]
    found = added(learned(), frames, measured)
    torch.testing.assert_close(found, added(learned(), like, torch.ones_like(like)))


def test_pixels_that_are_missing_in_one_frame_do_not_count() -> None:
    frames, measured = rain(), torch.ones(2, 3, 16, 16)
    measured[:, 0, :, :8] = 0
    changed = frames.clone()
    changed[:, 0, :, :8] = 7.0
    assert torch.equal(added(learned(), frames, measured), added(learned(), changed, measured))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_there_may_be_fewer_or_more_frames_than_are_looked_at(frames: int) -> None:
    found = added(learned(), rain(frames), torch.ones(2, frames, 16, 16))
    assert found.shape == (2, 2, 2, 16, 16)
    if frames == 1:
        assert (found == 0).all()
    else:
        newest = added(learned(), rain(frames)[:, -3:], torch.ones(2, min(3, frames), 16, 16))
        assert torch.equal(found, newest)


def test_the_time_between_frames_changes_its_weight() -> None:
    frames, measured, leads = rain(), torch.ones(2, 3, 16, 16), torch.tensor([1.0])
    by_5, by_10 = (learned()(frames, measured, OCTAVES, leads, log) for log in (0.0, 1.0))
    assert not torch.allclose(by_5, by_10)


def test_it_learns_and_is_told_by_the_mask_where_rain_was_measured() -> None:
    torch.manual_seed(0)
    model = build_model(SETTINGS, channels=3, output_channels=1, mask=True)
    assert isinstance(model, AnyGridModel)
    assert any(one is model.trend.weights for one in mixture_parameters(model))
    frames = torch.rand(1, 3, 3, 16, 16)
    frames[:, :, 1] = 1
    frames[:, 0, :2, :, :8] = 0  # missing
    asked = {"newest": 5 * torch.rand(1, 16, 16), "spacing": Spacing(1.0, 5.0)}
    model(frames, 2, **asked).sum().backward()
    assert (model.trend.weights.grad != 0).any()
    nn.init.normal_(model.trend.weights)
    dry = frames.clone()
    dry[:, 0, 1, :, :8] = 1  # measured, and dry: that is a trend
    unknown, grown = (
        model._trend(one, octaves_of(1.0), torch.ones(1), Spacing(1.0, 5.0))
        for one in (frames, dry)
    )
    assert not torch.allclose(unknown, grown)


def test_without_a_mask_there_is_no_trend() -> None:
    torch.manual_seed(0)
    model = build_model(SETTINGS, channels=2, output_channels=1)
    assert isinstance(model, AnyGridModel)
    frames, newest = torch.rand(1, 3, 2, 16, 16), 5 * torch.rand(1, 16, 16)
    before = model(frames, 2, newest=newest, spacing=Spacing(1.0, 5.0))
    nn.init.normal_(model.trend.weights)
    assert torch.equal(model(frames, 2, newest=newest, spacing=Spacing(1.0, 5.0)), before)
