"""The losses that training minimises.

Every loss counts only measured pixels, and weights each sequence; the mean weight is 1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nowcast.errors import InternalError, MissingLibraryError
from nowcast.plugins import LOSSES, load_plugin, package_of, plugins
from nowcast.training.options import OUR_LOSSES

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(forecast, observed, mask, observed rates in mm/h, weights) → scalar. weights is (b,), the others
are (b, lead, c, h, w), the first two scaled. With a probability head the forecast is the logits
(b, lead, k, h, w).
"""

BALANCED_THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)
"""Thresholds in mm/h of the HKO-7 benchmark (Shi et al. 2017, arXiv 1706.03458, section 4)."""
BALANCED_WEIGHTS = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Weights below the first threshold, from the first to the second, …, and above the last."""


def mse(forecast: Tensor, observed: Tensor, mask: Tensor, rates: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of the scaled values."""
    return _masked_mean((forecast - observed).square(), mask, weights)


def mae(forecast: Tensor, observed: Tensor, mask: Tensor, rates: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of the scaled values."""
    return _masked_mean((forecast - observed).abs(), mask, weights)


def balanced(
    forecast: Tensor, observed: Tensor, mask: Tensor, rates: Tensor, weights: Tensor
) -> Tensor:
    """B-MSE + B-MAE of HKO-7: squared and absolute errors of the scaled values, weighted by the
    observed rate.
    """
    error = forecast - observed
    return _masked_mean(balanced_weights(rates) * (error.square() + error.abs()), mask, weights)


def cross_entropy(
    forecast: Tensor, observed: Tensor, mask: Tensor, rates: Tensor, weights: Tensor
) -> Tensor:
    """Cross-entropy of probabilities in [0, 1], summed over each sequence, mean over sequences
    (Shi et al. 2015, 4.1).
    """
    terms = functional.binary_cross_entropy(forecast, observed, reduction="none")
    return (terms * mask * _of_pixels(weights)).sum() / forecast.shape[0]


def exceedance(
    forecast: Tensor,
    observed: Tensor,
    mask: Tensor,
    rates: Tensor,
    weights: Tensor,
    thresholds: Sequence[float],
) -> Tensor:
    """Cross-entropy of the probability of reaching each threshold, summed over thresholds, each
    with its weight of `threshold_weights`: a proper score of each probability.

    `forecast`: logits (b, lead, k, h, w). `thresholds`: (k,) in mm/h.
    """
    pixels = mask * _of_pixels(weights)
    total: Tensor = _CrossEntropy.apply(forecast, rates, pixels, thresholds)  # type: ignore[no-untyped-call]
    return total / mask.sum().clamp(min=1)


class _CrossEntropy(torch.autograd.Function):
    """−log p where a threshold is reached and −log (1 − p) elsewhere, computed from the logit of p;
    the weighted sum over thresholds and pixels.

    Thresholds are computed one after the other: all at once need several times the memory of the
    logits.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, rates: Tensor, pixels: Tensor, thresholds: Sequence[float]
    ) -> Tensor:
        ctx.save_for_backward(logits, rates, pixels)
        ctx.thresholds = thresholds
        total = logits.new_zeros(())
        for k, weight in enumerate(threshold_weights(thresholds)):
            against = _signs(rates, thresholds[k], logits.dtype).mul_(logits[:, :, k : k + 1])
            total += weight * functional.softplus(against).mul_(pixels).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        logits, rates, pixels = ctx.saved_tensors
        slopes = torch.empty_like(logits)
        for k, weight in enumerate(threshold_weights(ctx.thresholds)):
            signs = _signs(rates, ctx.thresholds[k], logits.dtype)
            slope = (signs * logits[:, :, k : k + 1]).sigmoid_().mul_(signs).mul_(pixels)
            slopes[:, :, k : k + 1] = slope.mul_(weight * gradients[0])
        return slopes, None, None, None


def _signs(rates: Tensor, threshold: float, dtype: torch.dtype) -> Tensor:
    """Return −1 where rates in mm/h reach a threshold, else 1, also where they are missing."""
    reached = rates >= torch.tensor(threshold, dtype=rates.dtype, device=rates.device)
    return 1 - 2 * reached.to(dtype)


def threshold_weights(thresholds: Sequence[float]) -> list[float]:
    """Return the weights of thresholds in mm/h: threshold ** 0.75, at least 1.

    Without weights rare rain would hardly count. All pixels of a threshold have the same weight, so
    its probabilities stay unbiased.
    """
    return [max(1.0, threshold**0.75) for threshold in thresholds]


def loss_of(name: str, thresholds: Sequence[float] = ()) -> Loss:
    """Return the loss of this name: a function of this module, or of an installed package that
    names it in an entry point of the group `nowcast.losses`.

    thresholds: in mm/h, for a model of probabilities.
    Errors: MissingLibraryError if no package adds the name, or it cannot be used.
    """
    if name == "exceedance":
        return partial(exceedance, thresholds=thresholds)
    if name in OUR_LOSSES:
        ours: Loss = globals()[name]
        return ours
    loss = load_plugin(LOSSES, name)
    if not callable(loss):
        raise MissingLibraryError(
            f"{name}: the entry point of the package {package_of(plugins(LOSSES)[name])} in"
            f" {LOSSES} is not a function; update the package, or remove it."
        )
    return partial(_added, loss, name)


def _added(loss: Loss, name: str, forecast: Tensor, *others: Tensor) -> Tensor:
    """Return the loss of an installed package. Errors: InternalError if it is not one number with
    a gradient.
    """
    value: Any = loss(forecast, *others)
    if not isinstance(value, Tensor) or value.ndim:
        got = (
            f"the shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        )
        raise InternalError(
            f"loss {name!r}: must return one number, a tensor of shape (), but it returned {got};"
            " correct it in its package, for example with .mean()."
        )
    if forecast.requires_grad and not value.requires_grad:
        raise InternalError(
            f"loss {name!r}: the number it returned has no gradient; compute it from forecast with"
            " operations of PyTorch."
        )
    return value


def size_of(loss: Loss, mask: Tensor) -> Tensor:
    """Return how many items a loss averages: the measured pixels of a mask (b, lead, c, h, w), or
    its sequences for `cross_entropy`. With these numbers as weights, the mean of the losses of the
    parts of a batch is the loss of the whole batch.
    """
    return mask.flatten(1).any(dim=1).sum() if loss is cross_entropy else mask.sum()


def balanced_weights(rates: Tensor) -> Tensor:
    """Return HKO-7's weight of each observed rate [mm/h]; the weight of NaN is arbitrary, as the
    caller masks it.
    """
    thresholds = torch.tensor(BALANCED_THRESHOLDS, dtype=rates.dtype, device=rates.device)
    weights = torch.tensor(BALANCED_WEIGHTS, dtype=rates.dtype, device=rates.device)
    return weights[torch.bucketize(rates.contiguous(), thresholds, right=True)]


def _masked_mean(values: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    return (values * mask * _of_pixels(weights)).sum() / mask.sum().clamp(min=1)


def _of_pixels(weights: Tensor) -> Tensor:
    """(b,) → (b, 1, 1, 1, 1)."""
    return weights[:, None, None, None, None]
