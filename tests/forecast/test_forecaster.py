"""From past rates to forecast rates, with toy models whose answers are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast.errors import DataError, InternalError
from nowcast.forecast.forecaster import Forecaster
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling

NAN = math.nan
LINEAR = Scaling("linear", maximum=100.0, reference=1.0)
LOG = Scaling("log", maximum=100.0, reference=0.5)
Step = Callable[[Tensor, int], Tensor]


class Toy(nn.Module):
    """Forecasts by a function of the scaled frames, and remembers them."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, frames: Tensor, lead_steps: int) -> Tensor:
        self.seen = frames
        return self.step(frames, lead_steps)


def forecaster(step: Step, scaling: Scaling = LINEAR, lead_steps: int = 2) -> Forecaster:
    return Forecaster(
        Toy(step), scaling, input_steps=3, lead_steps=lead_steps, timestep_minutes=5.0
    )


def last_frame(frames: Tensor, lead_steps: int) -> Tensor:
    """Once more at every lead time."""
    return frames[:, -1:].expand(-1, lead_steps, -1, -1, -1)


def past(*frames: list[float]) -> Tensor:
    """Frames of one row → (1, t, 1, 1, w)."""
    return torch.tensor(frames)[None, :, None, None, :]


@pytest.mark.parametrize("scaling", [LINEAR, LOG])
def test_a_model_that_repeats_its_input_gives_the_same_rain_back(scaling: Scaling) -> None:
    rates = past([9.0, 9.0, 9.0, 9.0], [0.0, 0.1, 12.5, 150.0])  # also above the scaling's maximum
    forecast = forecaster(last_frame, scaling)(rates)
    assert forecast.shape == (1, 2, 1, 1, 4) and forecast.dtype == torch.float32
    torch.testing.assert_close(
        forecast, rates[:, -1:].expand(-1, 2, -1, -1, -1), rtol=1e-5, atol=1e-6
    )
    assert (forecast[..., 0] == 0).all()  # dry stays exactly dry


def test_scaled_values_become_mm_per_hour_by_hand() -> None:
    def half(frames: Tensor, lead_steps: int) -> Tensor:
        return torch.full_like(frames[:, :1], 0.5).expand(-1, lead_steps, -1, -1, -1)

    assert forecaster(half, LINEAR)(past([0.0], [0.0])).unique().tolist() == [50.0]
    by_hand = 0.5 * (math.sqrt(1 + 100 / 0.5) - 1)  # R with log(1 + R/0.5) = ½ log(1 + 100/0.5)
    assert forecaster(half, LOG)(past([0.0], [0.0])).unique().tolist() == pytest.approx([by_hand])


def test_nan_is_where_no_past_frame_covers_and_nowhere_else() -> None:
    rates = past([NAN, NAN, 1.0, 1.0], [NAN, 2.0, NAN, 2.0], [NAN, NAN, 3.0, 3.0])
    forecast = forecaster(last_frame)(rates)
    for lead in (0, 1):
        np.testing.assert_array_equal(forecast[0, lead, 0, 0], [NAN, 0.0, 3.0, 3.0])


def test_coverage_is_each_sequences_own() -> None:
    rates = torch.ones(2, 3, 1, 2, 2)
    rates[1, :, :, 0, 0] = NAN
    assert forecaster(last_frame)(rates).isnan().nonzero().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
    ]


def test_the_model_sees_missing_as_dry_and_the_input_is_left_alone() -> None:
    rates = past([NAN, 50.0], [10.0, NAN])
    whole = rates.clone()
    cast = forecaster(last_frame)
    cast(rates)
    assert cast.model.seen.flatten().tolist() == pytest.approx([0.0, 0.5, 0.1, 0.0])
    torch.testing.assert_close(rates, whole, equal_nan=True, rtol=0, atol=0)


def test_a_model_with_more_inputs_sees_them_and_forecasts_rain() -> None:
    raw = torch.cat(
        [past([NAN, 50.0, NAN], [10.0, NAN, NAN]), past([7.0, 8.0, 9.0], [NAN, 8.0, 9.0])], dim=2
    )
    cast = Forecaster(
        Toy(lambda frames, steps: last_frame(frames[:, :, :1], steps)),
        LINEAR,
        2,
        1,
        5.0,
        Inputs(True, (Channel("field", 5, 2),)),
    )
    # where the field alone is known is no rain
    np.testing.assert_allclose(cast(raw)[0, 0, 0, 0], [10.0, 0.0, NAN], rtol=1e-6)
    rain, mask, field = cast.model.seen[0, :, :, 0].unbind(dim=1)
    np.testing.assert_allclose(rain, [[0, 0.5, 0], [0.1, 0, 0]])
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(field, [[1, 1.5, 2], [0, 1.5, 2]])


def test_no_rain_is_less_than_none() -> None:
    def below(frames: Tensor, lead_steps: int) -> Tensor:
        return last_frame(frames - 0.5, lead_steps)

    for scaling in (LINEAR, LOG):
        forecast = forecaster(below, scaling)(past([0.0, 1.0, 100.0]))
        assert (
            (forecast >= 0).all()
            and forecast[0, 0, 0, 0, :2].tolist() == [0.0, 0.0]
            and forecast[0, 0, 0, 0, 2] > 0
        )


def test_a_model_in_half_precision_gives_single_precision() -> None:
    def halved(frames: Tensor, lead_steps: int) -> Tensor:
        return last_frame(frames, lead_steps).bfloat16()

    forecast = forecaster(halved, LOG)(past([25.0]))
    assert forecast.dtype == torch.float32
    scaled = torch.log1p(torch.tensor(25.0 / 0.5)) / math.log(201)
    assert forecast[0, 0].item() == pytest.approx(
        0.5 * math.expm1(scaled.bfloat16().item() * math.log(201)), rel=1e-5
    )


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_forecast_that_is_no_number_is_an_error_not_missing_rain(value: float) -> None:
    def broken(frames: Tensor, lead_steps: int) -> Tensor:
        return torch.full_like(last_frame(frames, lead_steps), value)

    with pytest.raises(InternalError, match="not finite"):
        forecaster(broken)(past([1.0, NAN]))


def test_infinite_rain_is_not_blamed_on_the_model() -> None:
    with pytest.raises(DataError, match="the past holds infinite values"):
        forecaster(last_frame)(past([math.inf]))


def test_no_gradients_are_kept() -> None:
    weight = torch.ones((), requires_grad=True)
    assert not forecaster(lambda frames, steps: weight * last_frame(frames, steps))(
        past([1.0])
    ).requires_grad
