"""What the probabilities of other thresholds add to that of one."""

import pytest
import torch
from torch import nn

from nowcast.model import build_model
from nowcast.model.across import AcrossThresholds
from nowcast.model.any_grid import AnyGridModel
from nowcast.model.probability_head import mixture_parameters
from nowcast.motion.spacing import Spacing

LEADS = torch.tensor([1.0, 4.0])


def learned(thresholds: int = 3) -> AcrossThresholds:
    torch.manual_seed(0)
    across = AcrossThresholds(thresholds)
    nn.init.normal_(across.weights)
    return across


def logits() -> torch.Tensor:
    return torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def test_before_it_has_learned_it_adds_nothing() -> None:
    assert torch.equal(AcrossThresholds(3)(logits(), LEADS), logits())


def test_each_threshold_gets_the_weighted_differences_of_the_others() -> None:
    across = AcrossThresholds(3)
    with torch.no_grad():
        across.weights[0, 0, 2] = 2.0
        across.weights[1, 1, 0] = 3.0
    given = logits()
    added = across(given, LEADS) - given
    torch.testing.assert_close(added[:, 1, 0], 2 * (given[:, 1, 2] - given[:, 1, 0]))
    torch.testing.assert_close(added[:, 1, 1], 3 / 4 * (given[:, 1, 0] - given[:, 1, 1]))
    assert (added[:, :, 2] == 0).all()


@pytest.mark.parametrize("logit", [-8.1, 8.1], ids=["dry", "heavy"])
def test_where_all_thresholds_are_as_likely_it_adds_nothing(logit: float) -> None:
    same = torch.full((1, 2, 3, 4, 4), logit)
    torch.testing.assert_close(learned()(same, LEADS), same, atol=1e-5, rtol=0)


def test_a_model_for_any_grid_learns_it_from_other_thresholds() -> None:
    settings = {
        "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3,
        "input_kernel_size": 3, "patch_size": 4, "feedback": False, "frame": "moving",
        "output_activation": "identity", "output_grid": "refined", "head": "probability",
        "thresholds": [1.0, 5.0], "grids": "any",
    }  # fmt: skip
    torch.manual_seed(0)
    model = build_model(settings, channels=3, output_channels=1, mask=True).eval()
    assert isinstance(model, AnyGridModel)
    assert any(one is model.across.weights for one in mixture_parameters(model))
    frames, spacing = torch.zeros(1, 3, 3, 16, 16), Spacing(1.0, 5.0)
    light, heavy = torch.full((1, 16, 16), 2.0), torch.full((1, 16, 16), 2.0)
    heavy[:, 4:12, 4:12] = 20.0  # reaches 1 mm/h where light does
    forecast = {"frames": frames, "lead_steps": 2, "spacing": spacing}
    at_1 = [model(newest=one, **forecast)[:, :, 0] for one in (light, heavy)]
    assert torch.equal(*at_1)
    with torch.no_grad():
        model.across.weights[0, 0, 1] = 0.2
    light_after, heavy_after = (model(newest=one, **forecast)[:, :, 0] for one in (light, heavy))
    assert (heavy_after[..., 8, 8] > light_after[..., 8, 8]).all()
