"""A model that takes inputs for each lead time: in time, in tiles, and warm."""

import pytest
import torch
from torch import Tensor

from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.streaming import WarmForecaster
from nowcast.forecast.tiling import Tiling, forecast_in_tiles
from nowcast.model import build_model
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling

SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [3, 4], "kernel_size": 3,
    "input_kernel_size": 3, "patch_size": 2, "output_activation": "identity", "feedback": False,
}  # fmt: skip
INPUTS = Inputs(mask=True, ahead=(Channel("nwp", 0.5, 2.0),))
NAN = float("nan")


@pytest.fixture
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    model = build_model(SETTINGS, INPUTS.channels, 1, len(INPUTS.ahead)).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return Forecaster(model, Scaling("linear", 10.0, 1.0), 2, 3, 5.0, INPUTS)


def window(height: int = 6, width: int = 8) -> Tensor:
    """Two frames of rain, and three of a field ahead: (1, 5, 2, h, w)."""
    raw = torch.rand(1, 5, 2, height, width, dtype=torch.float64)
    raw[:, 2:, 0], raw[:, :2, 1] = NAN, NAN
    return raw


def test_a_lead_time_depends_on_what_is_known_up_to_it(forecaster: Forecaster) -> None:
    usual = forecaster(raw := window())
    for step in range(3):
        other = raw.clone()
        other[:, 2 + step, 1] += 1
        changed = (forecaster(other) != usual).flatten(2).any(dim=2)[0].tolist()
        assert changed == [k >= step for k in range(3)]


def test_tiles_with_the_halo_of_the_model_are_the_whole(forecaster: Forecaster) -> None:
    raw = window(40, 60)
    halo = forecaster.model.halo(2, 3)  # type: ignore[operator]
    tiling = Tiling((0, 20, 40), (0, 30, 60), halo, 2, 1)
    made = forecast_in_tiles(forecaster, raw, 3, tiling)
    torch.testing.assert_close(made, forecaster(raw).to(made.dtype), rtol=0, atol=1e-6)


def test_a_warm_model_forecasts_the_same(forecaster: Forecaster) -> None:
    warm, day = WarmForecaster(forecaster), torch.rand(1, 7, 2, 6, 8, dtype=torch.float64)
    for first in range(3):
        raw = INPUTS.window(day[:, first : first + 5], 2)
        assert torch.equal(warm(raw), forecaster(raw))
        warm.prepare()
