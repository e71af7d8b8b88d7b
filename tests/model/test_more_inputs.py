"""Models whose past frames have more channels than the rain that they forecast."""

from typing import Any

import pytest
import torch

from nowcast.model import build_model

SETTINGS: dict[str, dict[str, Any]] = {
    "encoder_forecaster": {"hidden_channels": [3, 2], "kernel_size": 3, "input_kernel_size": 3,
    "patch_size": 2}, "encoder_forecaster_strided": {
        "hidden_channels": [3, 2], "outer_channels": 2, "strides": [2, 2], "conv_kernel_sizes": [3,
        3], "kernel_size": 3,
    },
    "fc_lstm": {"hidden_channels": [3, 2], "grid_size": [6, 5]},
}  # fmt: skip
MORE = {
    "encoder_forecaster": 4 * 3 * 2 * 4 * 9,
    "encoder_forecaster_strided": 2 * 2 * 9,
    "fc_lstm": 4 * 3 * 2 * 30,
}
"""Weights for two more channels: those of the first layer's input alone (with patches of 2 × 2,
4 for each channel).
"""


def settings(name: str) -> dict[str, Any]:
    return {"name": name, "output_activation": "identity", **SETTINGS[name]}


@pytest.mark.parametrize("name", SETTINGS)
def test_more_channels_go_in_and_rain_alone_comes_out(name: str) -> None:
    plain, more = (
        build_model(settings(name)),
        build_model(settings(name), channels=3, output_channels=1),
    )
    assert more(torch.rand(2, 4, 3, 6, 5), 3).shape == (2, 3, 1, 6, 5)
    counts = [sum(p.numel() for p in model.parameters()) for model in (plain, more)]
    assert counts[1] - counts[0] == MORE[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_channel_of_the_past_can_change_the_forecast(name: str) -> None:
    torch.manual_seed(0)
    model, frames = (
        build_model(settings(name), channels=3, output_channels=1).double(),
        torch.rand(1, 4, 3, 6, 5).double(),
    )
    before = model(frames, 2)
    for channel in range(3):
        other = frames.clone()
        other[:, 1, channel] += 1
        assert (model(other, 2) - before).abs().max() > 1e-6


@pytest.mark.parametrize("name", SETTINGS)
def test_as_many_channels_out_as_in_is_the_model_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    one = build_model(settings(name), channels=2)
    torch.manual_seed(0)
    other = build_model(settings(name), channels=2, output_channels=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_frames_of_other_channels_cannot_be_fed_back() -> None:
    with pytest.raises(ValueError, match="cannot be fed back"):
        build_model(
            {**settings("encoder_forecaster"), "feedback": True}, channels=2, output_channels=1
        )
