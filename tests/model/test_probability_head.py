"""The head of probabilities: where it starts, and what it keeps to."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nowcast.forecast.baselines.building import build_baseline
from nowcast.model import EncoderForecaster, ProbabilityModel
from nowcast.model.probability_head import (
    BOUNDS,
    _bounded_logit,
    ladder_of,
    mixture_parameters,
)
from nowcast.model.stacks import Local, call_model
from nowcast.probability.ladder import LADDER
from nowcast.probability.neighbourhoods import REACH


def build(patch_size: int = 4) -> ProbabilityModel:
    torch.manual_seed(0)
    network = EncoderForecaster(
        1, [4], 3, 3, patch_size=patch_size, output_channels=len(LADDER), output_grid="refined"
    )
    return ProbabilityModel(network, LADDER)


def disturbed() -> ProbabilityModel:
    model = build()
    for parameter in model.network.output.parameters():  # type: ignore[union-attr]
        nn.init.normal_(parameter, std=2.0)
    return model


def newest() -> Tensor:
    """A frame (1, 48, 56) in mm/h with a smooth shower of up to 20 mm/h."""
    y, x = torch.meshgrid(torch.arange(48), torch.arange(56), indexing="ij")
    return 20 * torch.exp(-((x - 25) ** 2 + (y - 20) ** 2) / 90)[None].float()


def test_an_untrained_model_is_the_baseline_lagrangian_probability() -> None:
    rain = newest()
    past = rain[:, None, None].expand(1, 4, 1, 48, 56)  # which stands still
    baseline = build_baseline(
        "lagrangian_probability", input_steps=4, lead_steps=3, timestep_minutes=5.0, pixel_km=1.0,
        members=2, seed=0,
    )  # fmt: skip
    expected = baseline.expect(past).probabilities
    assert expected is not None
    model = build().eval()
    logits = model(past, 3, newest=rain)
    clipped = expected.values.clamp(*BOUNDS)
    torch.testing.assert_close(logits.sigmoid(), clipped, atol=1e-4, rtol=1e-3)


def test_a_forecast_falls_from_threshold_to_threshold_and_training_is_free_of_that() -> None:
    model, rain = disturbed(), newest()
    frames = torch.rand(1, 3, 1, 48, 56)
    assert (model(frames, 2, newest=rain).diff(dim=2) > 0).any()
    assert (model.eval()(frames, 2, newest=rain).diff(dim=2) <= 0).all()


def test_all_parameters_learn_from_the_first_step_on() -> None:
    """The network behind its last layer, which begins at zero, from the second."""
    model = build()
    model(torch.rand(1, 3, 1, 48, 56), 2, newest=newest()).square().mean().backward()
    learning = [model.offsets, model.slopes, *model.network.output.parameters()]  # type: ignore[union-attr]
    assert all(one.grad is not None and one.grad.any() for one in learning)


def test_logits_are_float32_in_mixed_precision() -> None:
    model, rain, frames = disturbed().eval(), newest(), torch.rand(1, 3, 1, 48, 56)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = model(frames, 2, newest=rain)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, model(frames, 2, newest=rain), atol=0.3, rtol=0.1)


def test_its_halo_holds_the_widest_neighbourhood_and_a_copy_has_its_own() -> None:
    model = build(patch_size=1)
    assert isinstance(model, Local) and model.halo(1, 1) == REACH
    twin = copy.deepcopy(model)
    assert twin.halo.__self__ is twin  # type: ignore[attr-defined]


def test_a_network_without_a_last_layer_of_that_name_is_refused() -> None:
    with pytest.raises(ValueError, match="last layer named 'output'"):
        ProbabilityModel(nn.Identity(), LADDER)


def test_only_a_head_of_probabilities_has_a_ladder_and_a_mixture() -> None:
    other = nn.Linear(1, 1)
    other.thresholds = (1.0, 2.0)  # type: ignore[assignment]
    assert ladder_of(other) == () and mixture_parameters(other) == []
    model = build()
    mixture = [model.offsets, model.slopes, model.across.weights]
    assert ladder_of(model) == LADDER
    assert all(a is b for a, b in zip(mixture_parameters(model), mixture, strict=True))


def test_the_newest_rates_are_asked_for() -> None:
    with pytest.raises(ValueError, match="newest"):
        call_model(build(), torch.rand(1, 3, 1, 48, 56), 2)


def test_the_gradient_of_a_bounded_logit_is_that_of_pytorch() -> None:
    p = torch.cat([torch.tensor([0.0, 1.0, *BOUNDS]), torch.linspace(0.001, 0.999, 99)]).double()
    ours, theirs = (p.clone().requires_grad_() for _ in range(2))
    _bounded_logit(ours).square().sum().backward()
    theirs.clamp(*BOUNDS).logit().square().sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    inside = (p > BOUNDS[0]) & (p < BOUNDS[1])
    torch.testing.assert_close(ours.grad[inside], theirs.grad[inside])
    assert (ours.grad[:2] == 0).all()


def test_the_gradient_of_a_bounded_logit_can_be_differentiated() -> None:
    p = torch.linspace(0.01, 0.99, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(_bounded_logit, (p,))
    slope = torch.func.grad(lambda x: _bounded_logit(x).sum())(p.detach())
    torch.testing.assert_close(slope, 1 / (p * (1 - p)).detach())
