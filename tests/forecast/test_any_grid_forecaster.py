"""A model for any grid, set to the data at hand: which frames it sees, how far it forecasts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nowcast.errors import ConfigError, DataError
from nowcast.forecast.any_grid import (
    beyond_experience,
    frames_seen,
    on_grid,
    refuse_too_far,
    usual_lead_steps,
)
from nowcast.forecast.forecaster import Forecaster
from nowcast.model import build_model
from nowcast.probability.calibration import Calibration, uncalibrated
from nowcast.probability.case_cuts import SIZES, PastForecasts
from nowcast.sequences.inputs import Inputs
from nowcast.sequences.scaling import Scaling

THRESHOLDS = (0.5, 2.0)
SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3, "input_kernel_size": 3,
    "patch_size": 2, "feedback": False, "output_grid": "refined", "output_activation": "identity",
    "frame": "moving", "head": "probability", "thresholds": list(THRESHOLDS), "grids": "any",
}  # fmt: skip


def forecaster() -> Forecaster:
    inputs = Inputs(mask=True, speed=True)
    torch.manual_seed(0)
    model = build_model(SETTINGS, inputs.channels).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return Forecaster(
        model, Scaling("log", 100, 0.5), 5, 24, 5.0, inputs,
        moving=True, calibration=uncalibrated(THRESHOLDS, 24),
    )  # fmt: skip


def probabilities(made: Forecaster, past: Tensor) -> Tensor:
    found = made.forecast(past).probabilities
    assert found is not None
    return found.values.nan_to_num(-1)


@pytest.mark.parametrize(
    ("minutes", "needed", "every"),
    [(1, 17, 4), (2, 9, 2), (2.5, 9, 2), (3, 7, 2), (4, 5, 1), (5, 5, 1), (6, 4, 1), (10, 3, 1),
     (15, 3, 1)],
)  # fmt: skip
def test_it_sees_frames_4_minutes_apart_or_more_that_span_16_minutes(
    minutes: float, needed: int, every: int
) -> None:
    assert frames_seen(minutes) == (needed, every)


@pytest.mark.parametrize(("minutes", "steps"), [(2, 30), (5, 12), (15, 4), (90, 1)])
def test_a_forecast_that_names_no_length_is_an_hour(minutes: float, steps: int) -> None:
    assert usual_lead_steps(minutes) == steps


@pytest.mark.parametrize(("minutes", "most"), [(2, 60), (5, 24), (100 / 60, 72), (7, 17), (120, 1)])
def test_it_forecasts_2_hours_at_most(minutes: float, most: int) -> None:
    refuse_too_far(most, minutes)
    with pytest.raises(ConfigError, match=f"lead_steps: {most + 1} of .*; give {most} or fewer"):
        refuse_too_far(most + 1, minutes)


def test_a_time_step_of_more_than_2_hours_is_refused() -> None:
    with pytest.raises(DataError, match="a frame every 180 minutes, but a model for any grid"):
        refuse_too_far(1, 180)


def test_frames_between_those_that_it_sees_do_nothing() -> None:
    made = on_grid(forecaster(), 1.0, 2.0, 3)
    past = torch.rand(1, made.input_steps, 1, 24, 24) * 10
    other = past.clone()
    other[:, 1::2] = 0
    torch.testing.assert_close(probabilities(made, past), probabilities(made, other))
    other[:, 0] = 0
    assert not torch.equal(probabilities(made, past), probabilities(made, other))


def test_motion_is_that_of_one_timestep_whichever_frames_are_seen() -> None:
    """A shower that moves by a pixel with each frame."""
    made, size = on_grid(forecaster(), 1.0, 2.0, 3), 96
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    past = torch.stack(
        [
            20 * torch.exp(-((rows - 48) ** 2 + (columns - 30 - k) ** 2) / 60.0)
            + 9 * torch.exp(-((rows - 20) ** 2 + (columns - 50 - k) ** 2) / 30.0)
            for k in range(made.input_steps)
        ]
    )[None, :, None]
    motion = made.motion(past)
    assert motion[0, 0].mean() == pytest.approx(1.0, abs=0.15)
    assert motion[0, 1].abs().max() < 0.15


def test_a_calibration_is_interpolated_to_other_lead_times() -> None:
    steps = torch.arange(1.0, 25)[:, None].expand(24, 2)
    counted = PastForecasts(*(steps[..., None].expand(24, 2, n) / 100 for n in SIZES.values()))
    known = Calibration(THRESHOLDS, steps, steps * 10, steps / 100, counted, steps / 1000)
    made = on_grid(replace(forecaster(), calibration=known), 1.0, 2.0, 4)
    assert made.calibration is not None
    torch.testing.assert_close(made.calibration.slopes[:, 0], torch.tensor([1.0, 1.0, 1.2, 1.6]))
    torch.testing.assert_close(made.calibration.cuts[3], torch.tensor([0.016, 0.016]))
    assert made.calibration.past is not None and made.calibration.lowest is not None
    torch.testing.assert_close(made.calibration.lowest[3], torch.tensor([0.0016, 0.0016]))
    torch.testing.assert_close(made.calibration.past.hits[3, 0, :2], torch.tensor([0.016, 0.016]))
    longer = on_grid(replace(forecaster(), calibration=known), 1.0, 15.0, 9)
    assert longer.calibration is not None and longer.calibration.slopes[-1, 0] == 24


def test_it_says_what_it_was_not_made_for() -> None:
    assert beyond_experience(1.0, 5.0) == beyond_experience(0.5, 15.0) == ""
    assert "pixels of 0.25 km" in beyond_experience(0.25, 5.0)
    assert beyond_experience(1.0, 1.0).startswith("a time step of 1 minute, but the model")
    both = beyond_experience(8.0, 60.0)
    assert beyond_experience(None, 5.0).endswith("give the pixel size; 1 km is assumed")
    assert "pixels of 8 km" in both and "a time step of 60 minutes" in both
