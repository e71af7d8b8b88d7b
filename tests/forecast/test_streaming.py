"""A forecast from what was taken in before its newest frame came is the same as from all at
once.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nowcast.errors import InternalError
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.streaming import WarmForecaster
from nowcast.model import build_model
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling

STEPS = 4
SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [3, 2], "kernel_size": 3,
    "input_kernel_size": 3, "patch_size": 2, "feedback": True,
}  # fmt: skip
NEXT_FRAME = {"name": "next_frame", "hidden_channels": [3], "kernel_sizes": [3]}
STRIDED = {
    "name": "encoder_forecaster_strided", "hidden_channels": [3], "outer_channels": 2,
    "strides": [2], "conv_kernel_sizes": [3], "kernel_size": 3,
}  # fmt: skip


def forecaster_of(settings: dict[str, Any], inputs: Inputs) -> Forecaster:
    torch.manual_seed(0)
    # what lies beside the rain cannot be fed back
    if inputs.channels > 1 and "feedback" in settings:
        settings = settings | {"feedback": False}
    model = build_model(settings, inputs.channels, 1).eval()
    nn.init.constant_(model.get_submodule("output").get_parameter("bias"), 0.3)  # so that it rains
    return Forecaster(model, Scaling("log", 100.0, 0.5), STEPS, 3, 5.0, inputs)


def rain(frames: int, raw_channels: int = 1) -> Tensor:
    """(1, frames, raw_channels, 9, 8) in mm/h, a part of which no frame covers, and another
    that only some do.
    """
    values = 5 * torch.rand(
        1, frames, raw_channels, 9, 8, generator=torch.Generator().manual_seed(2)
    )
    values[..., :2, :] = math.nan
    values[:, ::2, :, 4, :3] = math.nan
    return values


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames the encoder took in at each of its runs."""
    lengths: list[int] = []
    kind = type(build_model(SETTINGS))
    encode: Callable[..., Any] = kind.encode

    def watched(model: nn.Module, frames: Tensor, states: Any = None) -> Any:
        lengths.append(frames.shape[1])
        return encode(model, frames, states)

    monkeypatch.setattr(kind, "encode", watched)
    return lengths


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs(),
        Inputs(mask=True),
        Inputs(True, (Channel("sine"), Channel("cosine"), Channel("field", 1.0, 2.0))),
    ],
    ids=["rain alone", "mask", "all inputs"],
)
@pytest.mark.parametrize("settings", [SETTINGS, STRIDED], ids=lambda settings: settings["name"])
def test_every_forecast_of_a_day_is_that_of_the_whole_window(
    settings: dict[str, Any], inputs: Inputs
) -> None:
    forecaster = forecaster_of(settings, inputs)
    warm, day = WarmForecaster(forecaster), rain(9, inputs.raw_channels)
    for newest in range(STEPS, 10):
        past = day[:, newest - STEPS : newest]
        made = warm(past)
        torch.testing.assert_close(made, forecaster(past), rtol=1e-5, atol=1e-6, equal_nan=True)
        assert made[..., :2, :].isnan().all() and made[..., 2:, :].isfinite().all()
        warm.prepare()


def test_of_a_window_that_moved_on_only_the_newest_frame_is_left(seen: list[int]) -> None:
    warm, day = WarmForecaster(forecaster_of(SETTINGS, Inputs())), rain(7)
    warm(day[:, :4])
    assert seen == [4]
    warm.prepare()
    warm.prepare()
    assert seen == [4, 3]
    warm(day[:, 1:5])
    assert seen == [4, 3, 1]
    warm(day[:, 1:5])  # the same once more
    assert seen == [4, 3, 1, 1]


def test_a_model_with_a_hook_is_called_as_a_whole_for_every_forecast() -> None:
    forecaster, calls = forecaster_of(SETTINGS, Inputs()), []
    forecaster.model.register_forward_hook(lambda *_: calls.append(1))
    warm, day = WarmForecaster(forecaster), rain(7)
    for newest in (4, 5, 6):
        warm(day[:, newest - 4 : newest])
        warm.prepare()
    assert len(calls) == 3


def test_without_preparation_all_frames_are_taken_in(seen: list[int]) -> None:
    warm, day = WarmForecaster(forecaster_of(SETTINGS, Inputs())), rain(7)
    for newest in (4, 5, 6):
        warm(day[:, newest - 4 : newest])
    assert seen == [4, 4, 4]


@pytest.mark.parametrize("change", ["skipped", "late", "newly missing", "other size"])
def test_other_frames_than_were_expected_are_taken_in_anew(seen: list[int], change: str) -> None:
    forecaster = forecaster_of(SETTINGS, Inputs())
    warm, day = WarmForecaster(forecaster), rain(7)
    warm(day[:, :4])
    warm.prepare()
    past = day[:, 1:5].clone()
    if change == "skipped":
        past = day[:, 2:6]
    elif change == "late":  # a frame that was filled from those around it is there by now
        past[:, 2] += 1e-3
    elif change == "newly missing":
        past[:, 1, :, 5, 5] = math.nan
    else:
        past = day[:, 1:5, :, :, :7]
    made = warm(past)
    assert seen == [4, 3, 4]
    assert torch.equal(made.nan_to_num(-1), forecaster(past).nan_to_num(-1))


def test_a_model_that_takes_all_frames_together_sees_the_whole_window() -> None:
    forecaster = forecaster_of(NEXT_FRAME, Inputs())
    warm, day = WarmForecaster(forecaster), rain(6)
    for newest in (4, 5, 6):
        past = day[:, newest - 4 : newest]
        assert torch.equal(warm(past).nan_to_num(-1), forecaster(past).nan_to_num(-1))
        warm.prepare()


def test_a_forecast_that_is_no_number_is_refused_warm_too() -> None:
    forecaster = forecaster_of(SETTINGS, Inputs())
    warm, day = WarmForecaster(forecaster), rain(5)
    warm(day[:, :4])
    warm.prepare()
    with torch.no_grad():
        forecaster.model.get_submodule("output").get_parameter("bias").fill_(math.nan)
    with pytest.raises(InternalError, match="not finite"):
        warm(day[:, 1:5])
