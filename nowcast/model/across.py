"""Correct the probability of each threshold by the probabilities of the other thresholds."""

import torch
from torch import Tensor, nn

PARTS = 2
"""w₀ and w₁: parts of each weight."""


class AcrossThresholds(nn.Module):
    """Add to the logit of each threshold t a learned combination of the others:

        L(t) + Σᵤ wₜᵤ(n) (L(u) - L(t)),   w(n) = w₀ + w₁ / n

    L is the logit from the neighbourhoods of the newest frame. n is the lead time, at least 1: in
    timesteps, or in units of 5 minutes in a model for any grid. The share of pixels above a
    threshold does not show how far above it they are: 0.5 mm/h lasts longer when surrounded by
    10 mm/h than by 1 mm/h. Nothing is added where all thresholds are equally likely, as far from
    any rain. The weights start at zero.

    Args:
        thresholds: number of thresholds.

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
