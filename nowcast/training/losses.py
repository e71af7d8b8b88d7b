"""What training makes small.

Every loss counts measured pixels alone, and each sequence by its weight, 1 in the mean.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nowcast.errors import MissingLibraryError
from nowcast.plugins import LOSSES, load_plugin, package_of, plugins
from nowcast.training.options import OUR_LOSSES

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(forecast, observed, mask, observed rates in mm/h, weights) → scalar; weights (b,), the
others (b, lead, c, h, w), the first two scaled. With a head of probabilities the forecast is their
logits (b, lead, k, h, w).
"""

BALANCED_THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)
"""mm/h, of the HKO-7 benchmark (Shi et al. 2017, arXiv 1706.03458, section 4)."""
BALANCED_WEIGHTS = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Weight below the first threshold, from the first to the second, …, and from the last on."""


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
    """−log p where a threshold is reached and −log (1 − p) elsewhere, of p by its logit, summed
    over thresholds and pixels, each with its weight.

    One threshold after the other: all at once take several times the memory of the logits.
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
    """−1 where rates in mm/h reach a threshold, 1 elsewhere and where they are missing."""
    reached = rates >= torch.tensor(threshold, dtype=rates.dtype, device=rates.device)
    return 1 - 2 * reached.to(dtype)


def threshold_weights(thresholds: Sequence[float]) -> list[float]:
    """Return the weights of thresholds in mm/h: threshold ** 0.75, and at least 1.

    Rare rain would otherwise hardly count. One weight for all pixels of a threshold leaves its
    probabilities unbiased.
    """
    return [max(1.0, threshold**0.75) for threshold in thresholds]


def loss_of(name: str, thresholds: Sequence[float] = ()) -> Loss:
    """Return the loss of this name: a function of this module, or what an installed package names
    in an entry point of the group `nowcast.losses`.

    thresholds: of the probabilities that a model gives, in mm/h.
    Errors: MissingLibraryError if no package adds the name, or it cannot be used.
    """
    if name == "exceedance":
        return partial(exceedance, thresholds=thresholds)
    loss: Loss = globals()[name] if name in OUR_LOSSES else load_plugin(LOSSES, name)
    if not callable(loss):
        raise MissingLibraryError(
            f"{name}: what the package {package_of(plugins(LOSSES)[name])} adds to {LOSSES} is no"
            " function; update the package, or remove it."
        )
    return loss


def size_of(loss: Loss, mask: Tensor) -> Tensor:
    """Return over how many things a loss is a mean: the measured pixels of a mask (b, lead, c, h,
    w), or its sequences for `cross_entropy`. With these as weights the losses of the parts of a
    batch give that of the whole.
    """
    return mask.flatten(1).any(dim=1).sum() if loss is cross_entropy else mask.sum()


def balanced_weights(rates: Tensor) -> Tensor:
    """HKO-7's weight of each observed rate [mm/h]; NaN gets any of them, and is masked by the
    caller.
    """
    thresholds = torch.tensor(BALANCED_THRESHOLDS, dtype=rates.dtype, device=rates.device)
    weights = torch.tensor(BALANCED_WEIGHTS, dtype=rates.dtype, device=rates.device)
    return weights[torch.bucketize(rates.contiguous(), thresholds, right=True)]


def _masked_mean(values: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    return (values * mask * _of_pixels(weights)).sum() / mask.sum().clamp(min=1)


def _of_pixels(weights: Tensor) -> Tensor:
    """(b,) → (b, 1, 1, 1, 1)."""
    return weights[:, None, None, None, None]
