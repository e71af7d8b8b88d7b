"""Forecasts in the moving frame of reference, of rain whose motion is known."""

import math
import weakref
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nowcast.forecast import forecaster as forecaster_module
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.streaming import WarmForecaster
from nowcast.forecast.tiling import Tiling, tiled_forecast
from nowcast.model import build_model
from nowcast.motion.grid import coarse_size
from nowcast.probability.calibration import uncalibrated
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling

SIZE = 60, 72
X, Y = 3, 2
"""Pixels per timestep by which the rain moves."""
LADDER = (0.5, 1.0, 5.0)
SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3,
    "input_kernel_size": 3, "patch_size": 4, "output_grid": "refined", "frame": "moving",
    "head": "probability", "thresholds": LADDER,
}  # fmt: skip


@pytest.fixture(autouse=True)
def known_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    def motion_of(rain: Tensor) -> Tensor:
        motion = torch.tensor([float(X), Y]).view(1, 2, 1, 1)
        return motion.expand(len(rain), 2, *coarse_size(*rain.shape[-2:]))

    monkeypatch.setattr(forecaster_module, "motion_of_past", motion_of)


class Newest(nn.Module):
    """Forecasts the newest frame that it sees, and remembers all frames."""

    def forward(self, frames: Tensor, lead_steps: int) -> Tensor:
        self.seen = frames
        return frames[:, -1:, :1].expand(-1, lead_steps, -1, -1, -1)


def of_rates(inputs: Inputs | None = None) -> Forecaster:
    inputs = inputs or Inputs()
    return Forecaster(Newest(), Scaling("log", 100, 0.5), 3, 4, 5.0, inputs, moving=True)


def of_probabilities(inputs: Inputs | None = None) -> Forecaster:
    torch.manual_seed(0)
    inputs = inputs or Inputs()
    model = build_model(SETTINGS, inputs.channels)
    for parameter in model.network.output.parameters():
        nn.init.normal_(parameter, std=0.3)
    calibration = uncalibrated(LADDER, 4)
    scaling = Scaling("log", 100, 0.5)
    return Forecaster(
        model.eval(), scaling, 3, 4, 5.0, inputs, moving=True, calibration=calibration
    )


def past(channels: int = 1) -> Tensor:
    """Random rain (1, 3, c, h, w) that only moves, in channel 0; other fields in the others."""
    torch.manual_seed(1)
    wide = 20 * torch.rand(SIZE) ** 4
    frames = [torch.roll(wide, (Y * step, X * step), (0, 1)) for step in range(3)]
    rain = torch.stack(frames)[None, :, None]
    return torch.cat([rain, torch.rand(1, 3, channels - 1, *SIZE)], dim=2)


def test_rain_is_taken_forward_to_each_lead_time() -> None:
    raw = past()
    rates = of_rates()(raw)
    for step in range(1, 5):
        expected = raw[0, -1, 0, : -Y * step, : -X * step]
        torch.testing.assert_close(
            rates[0, step - 1, 0, Y * step :, X * step :], expected, atol=1e-3, rtol=1e-4
        )
        assert rates[0, step - 1, 0, : Y * step].isnan().all()  # would come from outside


def test_the_model_sees_rain_that_stands_still() -> None:
    model = of_rates()
    model(past())
    seen = model.model.seen[0, :, 0, 6:-6, 8:-8]
    torch.testing.assert_close(seen, seen[-1:].expand_as(seen), atol=1e-4, rtol=1e-4)


def test_a_missing_frame_is_replaced_where_it_is_moved_to() -> None:
    model, raw = of_rates(), past()
    gap = model.without(raw, torch.tensor([[False, True, False]]))
    assert gap[0, 1].isnan().all()
    model(gap)
    seen = model.model.seen[0, :, 0, 6:-6, 8:-8]
    torch.testing.assert_close(seen[1], seen[2], atol=1e-4, rtol=1e-4)


def test_a_model_with_a_mask_is_told_of_a_missing_frame() -> None:
    model = of_rates(Inputs(mask=True))
    model(model.without(past(), torch.tensor([[False, True, False]])))
    assert not model.model.seen[0, 1, 1].any()
    assert model.model.seen[0, 2, 1].all()


def test_a_pixel_that_no_frame_covers_is_missing_and_so_is_what_would_come_from_it() -> None:
    # older frames cover some of these pixels once they are taken along
    raw = past()
    raw[..., 20:40, 20:40] = math.nan
    rates = of_rates()(raw)[0, :, 0]
    assert rates[:, 20:40, 20:40].isnan().all()
    assert rates[0, 20 + 3 * Y : 40 + Y, 20 + 3 * X : 40 + X].isnan().all()


def test_further_inputs_are_taken_along_and_those_ahead_taken_back() -> None:
    inputs = Inputs(beside=(Channel("height"),))
    model, raw = of_rates(inputs), past(2)
    model(raw)
    seen = model.model.seen[0, :, 1]
    torch.testing.assert_close(seen[2], raw[0, 2, 1])
    torch.testing.assert_close(  # two timesteps before, it was where the rain was
        seen[0, 2 * Y :, 2 * X :], raw[0, 0, 1, : -2 * Y, : -2 * X], atol=1e-5, rtol=1e-5
    )


def test_probabilities_fall_with_the_threshold_and_rates_follow_their_cuts() -> None:
    model = of_probabilities()
    model = replace(model, calibration=replace(model.calibration, cuts=torch.full((4, 3), 0.2)))
    made = model.forecast(past())
    assert made.probabilities is not None
    values = made.probabilities.values
    assert values.shape == (1, 4, 3, *SIZE)
    known = ~values.isnan().any(dim=2)
    assert known.any() and (values.diff(dim=2)[:, :, 0][known] <= 0).all()
    for k, threshold in enumerate(LADDER):
        above = made.rates[:, :, 0] >= threshold
        assert torch.equal(above[known], (values[:, :, k] >= 0.2)[known])


@pytest.mark.parametrize("inputs", [Inputs(), Inputs(mask=True)])
def test_in_tiles_a_forecast_is_that_of_the_whole(inputs: Inputs) -> None:
    model, raw = of_probabilities(inputs), past()
    raw[0, 0, 0, :10] = math.nan
    tiling = Tiling((0, 24, 60), (0, 36, 72), model.model.halo(3, 4), 0, 0)
    whole = model.forecast(raw)
    tiled = tiled_forecast(model, raw, tiling, torch.device("cpu"))
    assert whole.probabilities is not None and tiled.probabilities is not None
    torch.testing.assert_close(
        tiled.probabilities.values, whole.probabilities.values,
        atol=1e-5, rtol=1e-5, equal_nan=True,
    )  # fmt: skip


class _Memory(TorchDispatchMode):
    """The most bytes of tensors that were alive at once since it began."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.most = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in tree_leaves(args) if _is_tensor(one)}
        for one in filter(_is_tensor, tree_leaves(made)):
            storage = one.untyped_storage()
            if storage.data_ptr() not in given:
                self.alive += storage.nbytes()
                self.most = max(self.most, self.alive)
                weakref.finalize(storage, self._gone, storage.nbytes())
        return made

    def _gone(self, size: int) -> None:
        self.alive -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def test_the_forecast_of_a_large_grid_takes_little_more_than_its_probabilities() -> None:
    """What is made of all lead times at once is not counted where tiles are chosen."""
    lead_steps = 24
    calibration = uncalibrated(LADDER, lead_steps)
    model = replace(of_probabilities(), lead_steps=lead_steps, calibration=calibration)
    raw, motion = past(), forecaster_module.motion_of_past(past()[:, :, 0])
    logits = torch.zeros(1, lead_steps, len(LADDER), *SIZE)
    with _Memory() as memory:
        model.forecast_along(raw, motion, lambda _: logits)
    assert memory.most < 4 * logits.nbytes


def test_a_warm_forecaster_gives_the_same_and_takes_nothing_in_before() -> None:
    model, raw = of_probabilities(), past()
    warm = WarmForecaster(model)
    for _ in range(2):
        made, wanted = warm(raw), model(raw)
        torch.testing.assert_close(made, wanted, equal_nan=True, rtol=0, atol=0)
        warm.prepare()


def test_the_motion_is_estimated_from_the_frames_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    torch.manual_seed(2)
    smooth = nn.functional.avg_pool2d(torch.randn(1, 1, 80, 90), 9, 1, 4)[0, 0]
    rain = 5 * (4 * smooth).clamp(min=0)
    frames = [torch.roll(rain, (Y * step, X * step), (0, 1)) for step in range(3)]
    raw = torch.stack(frames)[None]
    raw[0, 1] = math.nan
    motion = forecaster_module.motion_of_past(raw)[0, :, 2:-2, 2:-2]
    torch.testing.assert_close(motion[0].mean(), torch.tensor(float(X)), atol=0.3, rtol=0)
    torch.testing.assert_close(motion[1].mean(), torch.tensor(float(Y)), atol=0.3, rtol=0)
