"""Losses counted by hand on a few pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nowcast.sequences.batch import build_batch
from nowcast.sequences.scaling import Scaling
from nowcast.training.losses import balanced_weights, loss_of, threshold_weights
from nowcast.training.options import OUR_LOSSES

NAN = float("nan")


def pixels(*values: float) -> Tensor:
    """One sequence of one frame of one row: (1, 1, 1, 1, w)."""
    return torch.tensor(values).reshape(1, 1, 1, 1, -1)


def loss(name: str, forecast: Tensor, rates: Tensor, maximum: float = 10.0) -> float:
    batch = build_batch(rates, Scaling("linear", maximum, 1.0), input_steps=0)
    return loss_of(name, (0.2,))(
        forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights
    ).item()


def test_mse_by_hand() -> None:
    assert loss("mse", pixels(0.5, 0.0, 1.0), pixels(0, 2, 10)) == pytest.approx(
        (0.25 + 0.04 + 0) / 3
    )


def test_mae_by_hand() -> None:
    assert loss("mae", pixels(0.5, 0.0, 1.0), pixels(0, 2, 10)) == pytest.approx(
        (0.5 + 0.2 + 0) / 3
    )


def test_mse_and_mae_divide_by_the_covered_pixels_of_the_whole_batch() -> None:
    forecast = torch.cat([pixels(0.5, 0.5), pixels(0.3, 0.9)])
    rates = torch.cat([pixels(0, NAN), pixels(0, 0)])
    assert loss("mse", forecast, rates) == pytest.approx((0.25 + 0.09 + 0.81) / 3)
    assert loss("mae", forecast, rates) == pytest.approx((0.5 + 0.3 + 0.9) / 3)


def test_balanced_by_hand() -> None:
    # error 0.5, 0.1 and −1; weights of a dry pixel, one of 5 mm/h and one of 40 mm/h
    expected = (1 * (0.25 + 0.5) + 5 * (0.01 + 0.1) + 30 * (1 + 1)) / 3
    assert loss("balanced", pixels(0.5, 0.6, 3.0), pixels(0, 5, 40)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rate", "weight"),
    [
        (0, 1),
        (0.49, 1),
        (0.5, 1),
        (1.99, 1),
        (2, 2),
        (4.99, 2),
        (5, 5),
        (9.99, 5),
        (10, 10),
        (29.99, 10),
        (30, 30),
        (400, 30),
    ],
)
def test_a_rate_at_a_threshold_has_the_weight_above_it(rate: float, weight: float) -> None:
    assert balanced_weights(torch.tensor([rate])).tolist() == [weight]


def test_weights_go_by_the_rate_and_not_by_its_scaled_value() -> None:
    # the same scaled values and errors; 20 mm/h at a maximum of 40, 2 mm/h at a maximum of 4
    heavy = loss("balanced", pixels(0.0), pixels(20), maximum=40.0)
    light = loss("balanced", pixels(0.0), pixels(2), maximum=4.0)
    assert heavy == pytest.approx(10 / 2 * light)


def test_cross_entropy_is_summed_over_a_sequence_and_averaged_over_the_batch() -> None:
    # two sequences of two frames of a pixel
    forecast = torch.tensor([[0.5, 0.25], [0.9, 0.8]]).reshape(2, 2, 1, 1, 1)
    rates = torch.tensor([[1.0, 0.0], [1.0, 0.5]]).reshape(2, 2, 1, 1, 1)
    first = -math.log(0.5) - math.log(0.75)
    second = -math.log(0.9) - (0.5 * math.log(0.8) + 0.5 * math.log(0.2))
    assert loss("cross_entropy", forecast, rates, maximum=1.0) == pytest.approx(
        (first + second) / 2
    )


def test_cross_entropy_of_a_certain_miss_is_finite() -> None:
    assert math.isfinite(loss("cross_entropy", pixels(0.0, 1.0), pixels(1, 0), maximum=1.0))


@pytest.mark.parametrize("name", OUR_LOSSES)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(forecast=st.floats(0, 1, width=32))
def test_what_is_forecast_where_nothing_was_measured_costs_nothing(
    name: str, forecast: float
) -> None:
    rates = pixels(0.3, NAN, 1.0)
    assert loss(name, pixels(0.2, forecast, 0.7), rates, 1.0) == loss(
        name, pixels(0.2, 0.0, 0.7), rates, 1.0
    )


@pytest.mark.parametrize("name", OUR_LOSSES)
def test_only_measured_pixels_have_a_gradient(name: str) -> None:
    batch = build_batch(pixels(0.3, NAN, 1.0), Scaling("linear", 1.0, 1.0), input_steps=0)
    forecast = pixels(0.2, 0.6, 0.7).requires_grad_()
    loss_of(name, (0.2,))(
        forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights
    ).backward()
    assert forecast.grad is not None
    gradient = forecast.grad.flatten().tolist()
    assert gradient[1] == 0
    assert gradient[0] < 0 and gradient[2] < 0  # both were too low


@pytest.mark.parametrize("name", OUR_LOSSES)
def test_a_batch_without_a_measured_pixel_costs_zero_and_moves_nothing(name: str) -> None:
    batch = build_batch(pixels(NAN, NAN), Scaling("linear", 1.0, 1.0), input_steps=0)
    forecast = pixels(0.2, 0.6).requires_grad_()
    value = loss_of(name, (0.2,))(
        forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights
    )
    value.backward()
    assert forecast.grad is not None
    assert (value.item(), forecast.grad.flatten().tolist()) == (0.0, [0.0, 0.0])


def test_exceedance_by_hand() -> None:
    # logits of 0.8 and 0.25 at 1 mm/h and at 4 mm/h; the pixel has 2 mm/h; weights 1 and 4 ** 0.75
    logits = torch.logit(torch.tensor([0.8, 0.25])).reshape(1, 1, 2, 1, 1)
    batch = build_batch(pixels(2.0), Scaling("linear", 10.0, 1.0), input_steps=0)
    of = (batch.future, batch.future_mask, batch.future_rates, batch.weights)
    expected = -math.log(0.8) - 4**0.75 * math.log(0.75)
    assert loss_of("exceedance", (1.0, 4.0))(logits, *of).item() == pytest.approx(expected)


LEVELS = (0.5, 2.0, 8.0)


def weighed(dtype: torch.dtype = torch.float32) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits (2, 3, 3, 6, 7), and what a loss takes with them: some pixels are missing."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 3, len(LEVELS), 6, 7, generator=generator, dtype=dtype)
    rates = 10 * torch.rand(2, 3, 1, 6, 7, generator=generator, dtype=dtype)
    rates[..., :2] = torch.nan
    weights = torch.tensor([0.5, 1.5], dtype=dtype)
    return logits.requires_grad_(), (rates, ~rates.isnan(), rates, weights)


def test_the_slopes_of_exceedance_are_those_of_its_formula() -> None:
    logits, of = weighed(torch.float64)
    mask, rates, weights = of[1:]
    assert torch.autograd.gradcheck(lambda x: loss_of("exceedance", LEVELS)(x, *of), logits)
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, (rates >= torch.tensor(LEVELS)[:, None, None]).double(), reduction="none"
    )
    by_threshold = torch.tensor(threshold_weights(LEVELS))[:, None, None]
    plain = (terms * by_threshold * mask * weights[:, None, None, None, None]).sum() / mask.sum()
    value = loss_of("exceedance", LEVELS)(logits, *of)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(*[torch.autograd.grad(one, logits)[0] for one in (value, plain)])


class Sizes(TorchDispatchMode):
    """Keep the sizes of what is computed, without views of what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        made = function(*arguments, **(keywords or {}))
        if isinstance(made, Tensor) and not made._is_view():
            self.made.append(made.numel())
        return made


def test_exceedance_makes_nothing_as_large_as_the_logits_but_their_slopes() -> None:
    logits, of = weighed()
    with Sizes() as sizes:
        torch.autograd.grad(loss_of("exceedance", LEVELS)(logits, *of), logits)
    assert len([size for size in sizes.made if size > logits.numel() / len(LEVELS)]) == 1


def test_rare_thresholds_weigh_more_and_none_less_than_one() -> None:
    assert threshold_weights([0.1, 1, 16]) == [1, 1, 8]


def test_a_window_counts_by_its_weight_over_the_pixels_of_all() -> None:
    forecast, rates = (
        torch.cat([pixels(0.5, 0.0), pixels(0.3, 0.9)]),
        torch.cat([pixels(0, NAN), pixels(0, 0)]),
    )
    batch = build_batch(rates, Scaling("linear", 10.0, 1.0), 0, weights=[3.0, 0.5])
    of = (forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights)
    assert loss_of("mse")(*of).item() == pytest.approx((3 * 0.25 + 0.5 * (0.09 + 0.81)) / 3)
    assert loss_of("mae")(*of).item() == pytest.approx((3 * 0.5 + 0.5 * (0.3 + 0.9)) / 3)
    assert loss_of("balanced")(*of).item() == pytest.approx((3 * 0.75 + 0.5 * (0.39 + 1.71)) / 3)
    expected = (3 * -math.log(0.5) + 0.5 * (-math.log(0.7) - math.log(0.1))) / 2
    assert loss_of("cross_entropy")(*of).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", OUR_LOSSES)
def test_at_weights_of_one_a_loss_has_the_bits_that_it_has_without(name: str) -> None:
    torch.manual_seed(0)
    forecast, rates = (
        torch.rand(3, 2, 1, 5, 7),
        torch.rand(3, 2, 1, 5, 7).masked_fill(torch.rand(3, 2, 1, 5, 7) < 0.2, NAN),
    )
    batch = build_batch(rates, Scaling("linear", 1.0, 1.0), 0)
    error, mask = forecast - batch.future, batch.future_mask
    plain = {
        "mse": (error.square() * mask).sum() / mask.sum(),
        "mae": (error.abs() * mask).sum() / mask.sum(),
        "balanced": (
            (balanced_weights(rates) * (error.square() + error.abs()) * mask).sum() / mask.sum()
        ),
        "cross_entropy": (
            (
                torch.nn.functional.binary_cross_entropy(forecast, batch.future, reduction="none")
                * mask
            ).sum()
            / 3
        ),
        "exceedance": (
            torch.nn.functional.binary_cross_entropy_with_logits(
                forecast, (rates >= 0.2).float(), reduction="none"
            )
            * mask
        ).sum()
        / mask.sum(),
    }
    value = loss_of(name, (0.2,))(forecast, batch.future, mask, batch.future_rates, batch.weights)
    assert torch.equal(value, plain[name])


@pytest.mark.parametrize("name", ["mse", "mae", "balanced"])
def test_a_perfect_forecast_costs_nothing(name: str) -> None:
    assert loss(name, pixels(0.0, 0.2, 1.0), pixels(0, 2, 10)) == 0
