"""What the networks have in common, and what all of them keep to."""

import pytest
import torch

from nowcast.model import MODELS, build_model
from nowcast.model.stacks import pad_to_multiple, roll_out

SMALL = {
    "encoder_forecaster": {"hidden_channels": [4, 4], "kernel_size": 3, "input_kernel_size": 3,
    "patch_size": 2}, "encoder_forecaster_strided": {
        "hidden_channels": [4, 4], "outer_channels": 2, "strides": [2, 2], "conv_kernel_sizes": [4,
        3], "kernel_size": 3,
    },
    "fc_lstm": {"hidden_channels": [8, 8], "grid_size": [9, 10]},
    "next_frame": {"hidden_channels": [4, 4, 4], "kernel_sizes": [5, 3, 1]},
}  # fmt: skip


def counter(frames, state):
    """Forecasts 10 more than the frame; the state is the sum of all frames seen."""
    return frames + 10, state + frames.sum(dim=1, keepdim=True)


def frame(*values):
    """One sequence (1, n, 1, 1, 1) of frames of one pixel."""
    return torch.tensor(values).reshape(1, -1, 1, 1, 1)


def test_forecasts_are_fed_back_and_true_frames_in_their_place() -> None:
    nan = float("nan")
    state = torch.zeros(1, 1, 1, 1, 1)
    assert roll_out(counter, frame(1.0, 2.0), state, 3, None).flatten().tolist() == [12, 22, 32]
    assert roll_out(counter, frame(2.0), state, 3, frame(5.0, nan, 7.0)).flatten().tolist() == [
        12,
        15,
        25,
    ]
    assert roll_out(
        counter, frame(1.0, 2.0), state, 3, frame(5.0, 6.0, nan)
    ).flatten().tolist() == [12, 15, 16]


@pytest.mark.parametrize("steps", [2, 4])
def test_a_guide_of_another_length_than_the_forecast_is_refused(steps) -> None:
    with pytest.raises(ValueError, match="guide: must have shape"):
        roll_out(counter, frame(1.0), torch.zeros(1, 1, 1, 1, 1), 3, torch.ones(1, steps, 1, 1, 1))
    with pytest.raises(ValueError, match="lead_steps: must be 1 or more"):
        roll_out(counter, frame(1.0), torch.zeros(1, 1, 1, 1, 1), 0, None)


def test_only_a_guide_without_a_gap_is_taken_in_at_once() -> None:
    calls = []

    def watched(frames, state):
        calls.append(frames.shape[1])
        return counter(frames, state)

    for guide in (frame(5.0, 6.0, 7.0), frame(5.0, float("nan"), 7.0), None):
        roll_out(watched, frame(1.0, 2.0), torch.zeros(1, 1, 1, 1, 1), 3, guide)
    assert calls == [4, 2, 1, 1, 2, 1, 1]


def test_padding_is_dry_and_below_and_to_the_right() -> None:
    assert pad_to_multiple(torch.ones(2, 3), 2).tolist() == [[1, 1, 1, 0], [1, 1, 1, 0]]
    assert pad_to_multiple(torch.ones(2, 4), 2).shape == (2, 4)


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_trained_in_bf16_and_forecasts_in_float32(name, feedback) -> None:
    """With the true frames in, where it takes them."""
    if feedback and name not in ("encoder_forecaster", "next_frame"):
        pytest.skip("feeds no frame back")
    torch.manual_seed(0)
    settings = {
        "name": name,
        **SMALL[name],
        **({"feedback": True} if feedback and name == "encoder_forecaster" else {}),
    }
    model, frames = build_model(settings), torch.rand(2, 6, 1, 9, 10)
    guide = frames[:, 3:].clone() if feedback else None
    if guide is not None:
        guide[0, 0] = torch.nan
    exact = model(frames[:, :3], 3, guide)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(frames[:, :3], 3, guide)
    assert exact.dtype == rounded.dtype == torch.float32
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.05
    rounded.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_models_are_built_by_name() -> None:
    with pytest.raises(KeyError):
        build_model({"name": "no such model"})
    for name, settings in SMALL.items():
        assert type(build_model({"name": name, **settings})) is MODELS[name]
