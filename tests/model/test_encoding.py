"""Past frames may be taken in one after the other."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nowcast.model import MODELS, build_model
from nowcast.model.stacks import Streaming

PLAIN = {
    "name": "encoder_forecaster",
    "hidden_channels": [3, 2],
    "kernel_size": 3,
    "input_kernel_size": 3,
    "patch_size": 2,
}
MODELS_THAT_STREAM = {
    "encoder_forecaster": PLAIN,
    "with feedback": PLAIN | {"feedback": True},
    "one layer": PLAIN | {"hidden_channels": [3]},
    "encoder_forecaster_strided": {
        "name": "encoder_forecaster_strided", "hidden_channels": [3, 2], "outer_channels": 2,
        "strides": [2, 2], "conv_kernel_sizes": [3, 3], "kernel_size": 3,
    },
}  # fmt: skip


def model_of(settings: dict[str, Any]) -> nn.Module:
    """In float64, every parameter random."""
    torch.manual_seed(0)
    model = build_model(settings).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture(params=MODELS_THAT_STREAM.values(), ids=list(MODELS_THAT_STREAM))
def model(request: pytest.FixtureRequest) -> nn.Module:
    return model_of(request.param)


def movie(t: int) -> Tensor:
    """A size that no patch or stride divides."""
    return torch.rand(
        2, t, 1, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(t)
    )


def forecast_in_parts(
    model: nn.Module, frames: Tensor, splits: list[int], lead_steps: int
) -> Tensor:
    """The past taken in in parts of these lengths, then unfolded."""
    assert isinstance(model, Streaming)
    states = None
    for part in frames.split(splits, dim=1):
        states = model.encode(part, states)
    assert states is not None
    return model.unfold(states, frames[:, -1:], lead_steps)


@torch.no_grad()
@pytest.mark.parametrize(
    "splits", [[5], [4, 1], [1, 4], [2, 3], [1, 1, 1, 1, 1], [2, 1, 2]], ids=str
)
def test_a_forecast_is_the_same_however_the_past_is_taken_in(
    model: nn.Module, splits: list[int]
) -> None:
    frames = movie(5)
    whole = model(frames, 3)
    assert whole.std() > 1e-3
    torch.testing.assert_close(
        forecast_in_parts(model, frames, splits, 3), whole, rtol=1e-12, atol=1e-12
    )


@torch.no_grad()
def test_each_frame_taken_in_counts(model: nn.Module) -> None:
    frames = movie(4)
    for k in range(4):
        other = frames.clone()
        other[:, k] += 0.5
        difference = forecast_in_parts(model, other, [3, 1], 2) - forecast_in_parts(
            model, frames, [3, 1], 2
        )
        assert difference.abs().max() > 1e-4


def test_gradients_flow_through_both_parts(model: nn.Module) -> None:
    frames = movie(3)
    model(frames, 2).square().sum().backward()
    whole = [
        parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None
    ]
    model.zero_grad()
    forecast_in_parts(model, frames, [2, 1], 2).square().sum().backward()
    parts = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(whole) == len(parts) == len(list(model.parameters()))
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-12)


def test_a_guide_is_followed_after_encoding_too() -> None:
    model = model_of(MODELS_THAT_STREAM["with feedback"])
    assert isinstance(model, Streaming)
    frames, guide = movie(3), movie(4)
    made = model.unfold(model.encode(frames), frames[:, -1:], 4, guide)
    torch.testing.assert_close(made, model(frames, 4, guide), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(made, model(frames, 4))


def test_which_models_take_frames_in_one_by_one() -> None:
    streaming = {name for name, kind in MODELS.items() if issubclass(kind, Streaming)}
    assert streaming == {"encoder_forecaster", "encoder_forecaster_strided"}
