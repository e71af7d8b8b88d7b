"""A model for any grid: what it makes of pixel size, time step and lead time."""

import pytest
import torch
from torch import nn

from nowcast.model import EncoderForecaster, build_model
from nowcast.model.any_grid import CONSTANTS, AnyGridModel, between_ticks, octaves_of
from nowcast.motion.spacing import Spacing, speed
from nowcast.probability.neighbourhoods import WIDEST_KM, levels_for, width_of

THRESHOLDS = (0.5, 2.0, 10.0)


def model(*, trained: bool = False) -> AnyGridModel:
    torch.manual_seed(0)
    network = EncoderForecaster(1 + CONSTANTS, [4], 3, 3, patch_size=2, output_channels=3)
    made = AnyGridModel(network, 1, THRESHOLDS)
    if trained:
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.1)
    return made.eval()


def test_a_lead_time_is_the_same_in_any_time_step() -> None:
    newest = torch.rand(1, 16, 16) * 5
    frames = torch.rand(1, 3, 1, 16, 16)
    by_5 = model()(frames, 6, newest=newest, spacing=Spacing(1.0, 5.0))
    by_15 = model()(frames, 2, newest=newest, spacing=Spacing(1.0, 15.0))
    torch.testing.assert_close(by_5[:, [2, 5]], by_15)


def test_a_trained_one_is_told_pixel_size_and_time_step() -> None:
    newest, frames = torch.rand(1, 16, 16) * 5, torch.rand(1, 3, 1, 16, 16)
    forecasts = [
        model(trained=True)(frames, 2, newest=newest, spacing=spacing)
        for spacing in (Spacing(1.0, 5.0), Spacing(2.0, 5.0), Spacing(1.0, 10.0))
    ]
    assert not torch.allclose(forecasts[0], forecasts[1])
    assert not torch.allclose(forecasts[0], forecasts[2])


def test_frames_that_are_seen_at_a_spacing_are_told_by_that_spacing() -> None:
    """Every second frame of 2 minutes is a frame every 4 minutes."""
    newest, frames = torch.rand(1, 16, 16) * 5, torch.rand(1, 3, 1, 16, 16)
    trained = model(trained=True)
    by_2 = trained(frames, 4, newest=newest, spacing=Spacing(1.0, 2.0, every=2))
    by_4 = trained(frames, 2, newest=newest, spacing=Spacing(1.0, 4.0))
    torch.testing.assert_close(by_2[:, [1, 3]], by_4)


@pytest.mark.parametrize("pixel_km", [0.5, 1.0, 2.0, 5.0])
def test_the_widest_neighbourhood_has_a_width_in_km(pixel_km: float) -> None:
    widest = width_of(levels_for(pixel_km) - 1) * pixel_km
    assert WIDEST_KM <= widest < 2.3 * WIDEST_KM


@pytest.mark.parametrize("minutes", [5.0, 60.0])
def test_rain_spreads_over_the_same_distance_in_any_pixel_size(minutes: float) -> None:
    """The mean width in km of the neighbourhoods."""
    widths = []
    for pixel_km in (0.5, 1.0, 2.0):
        weights = model()._weights(torch.tensor([minutes / 5]), octaves_of(pixel_km))[0, 0].detach()
        own = torch.tensor([width_of(level) for level in range(len(weights))]) * pixel_km
        widths.append(float(weights @ own))
    assert max(widths) < 1.5 * min(widths)


def test_between_the_steps_of_the_network_it_is_interpolated() -> None:
    coarse = torch.tensor([1.0, 2.0, 4.0])[None, :, None, None, None]
    found = between_ticks(coarse, [2.0, 10.0, 15.0, 20.0, 24.0, 30.0]).flatten()
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 1.5, 2.0, 2.8, 4.0]))


def test_a_last_lead_time_may_lie_a_rounding_error_beyond_a_step_of_the_network() -> None:
    minutes = [264 / 60 * step for step in range(1, 26)]
    assert minutes[-1] > 110
    coarse = torch.arange(11.0).view(1, 11, 1, 1, 1)
    assert between_ticks(coarse, minutes)[0, -1].item() == 10


def test_an_hour_takes_six_steps_of_the_network_in_any_time_step() -> None:
    for minutes, lead_steps in ((2.0, 30), (5.0, 12), (15.0, 4)):
        made = model()
        asked: list[int] = []
        made.network.register_forward_pre_hook(lambda _, args, asked=asked: asked.append(args[1]))
        newest, frames = torch.rand(1, 8, 8), torch.rand(1, 3, 1, 8, 8)
        made(frames, lead_steps, newest=newest, spacing=Spacing(1.0, minutes))
        assert asked == [6]


def test_it_is_built_from_settings() -> None:
    settings = {
        "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3,
        "input_kernel_size": 3, "patch_size": 2, "feedback": False, "output_grid": "refined",
        "output_activation": "identity", "frame": "moving", "head": "probability",
        "thresholds": list(THRESHOLDS), "grids": "any",
    }  # fmt: skip
    built = build_model(settings, channels=3)
    assert isinstance(built, AnyGridModel)
    frames, newest = torch.rand(1, 3, 3, 8, 8), torch.rand(1, 8, 8)
    assert built(frames, 2, newest=newest).shape == (1, 2, 3, 8, 8)


def test_it_needs_the_newest_rates() -> None:
    with pytest.raises(ValueError, match="newest: give the rates"):
        model()(torch.rand(1, 3, 1, 8, 8), 2)


def test_speed_is_in_km_per_hour() -> None:
    """3 and 4 pixels of 2 km in 10 minutes are 10 km in 10 minutes."""
    motion = torch.tensor([3.0, 4.0])[None, :, None, None].expand(1, 2, 3, 3)
    found = speed(motion, Spacing(2.0, 10.0), (9, 9))
    assert found.shape == (1, 1, 1, 9, 9)
    torch.testing.assert_close(found, torch.full_like(found, 60.0))
