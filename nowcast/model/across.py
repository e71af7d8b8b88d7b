"""The probability of each threshold, and what those of the others tell of it."""

import torch
from torch import Tensor, nn

PARTS = 2
"""w₀ and w₁: parts of each weight."""


class AcrossThresholds(nn.Module):
    """The logit of the probability of each threshold, and what the others add to it:

        L(t) + Σᵤ wₜᵤ(n) (L(u) - L(t)),   w(n) = w₀ + w₁ / n

    L is the logit that the neighbourhoods of the newest frame give, n the lead time, 1 at least: in
    timesteps, or in units of 5 minutes of a model for any grid. The share of pixels above a
    threshold does not say how far above it they are: 0.5 mm/h lasts longer where 10 mm/h surrounds
    it than where 1 mm/h does. Where all thresholds are equally likely, as far from any rain,
    nothing is added. Its weights begin at zero.

    Args:
        thresholds: how many.

    Example:
        >>> across = AcrossThresholds(3)
        >>> across(torch.rand(2, 4, 3, 8, 8), leads=torch.arange(1.0, 5)).shape
        torch.Size([2, 4, 3, 8, 8])
    """

    def __init__(self, thresholds: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(PARTS, thresholds, thresholds))

    def forward(self, logits: Tensor, leads: Tensor) -> Tensor:
        """Return (b, lead, k, h, w).

        Args:
            logits: (b, lead, k, h, w) L, in float32.
            leads: (lead,) n.
        """
        lasting, fading = self.weights
        weights = lasting + fading / leads[:, None, None]
        weights = weights + torch.diag_embed(1 - weights.sum(dim=-1))
        found: Tensor = (weights @ logits.flatten(3)).unflatten(3, logits.shape[-2:])
        return found
