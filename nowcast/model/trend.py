"""What a forecast gains from how the rain of the last minutes differs from that of the newest
frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nowcast.probability.neighbourhoods import neighbourhoods

EARLIER = 2
"""How many frames before the newest are compared with the newest."""

PARTS = 4
"""w₀ to w₃: parts of each weight."""

_UNIT = 25.0
"""Times the scaled rate: so large that its weights are about 0.2, and are learned in some hundred
steps.
"""


LIMIT = 0.5
"""Differences saturate at so much, about a tenth in rate: rain does not change faster over some
kilometres, but a radar that fails, or a correction by gauges that changes with the hour, makes it
look so. On KNMI's 10 September 2011, whose corrections do, a training without KNMI has a CSI of
.528 at 1 mm/h, and without this limit .476; on other days it changes .001.
"""


class Trend(nn.Module):
    """For each threshold, what is added to the logit of its probability:

        Σⱼ Σₛ wⱼₛ(n) L tanh(Dⱼₛ / L),   w(n) = w₀ + w₁ / n + w₂ / n² + w₃ log2(Δ / 5 min)

    Dⱼₛ is 25 times the mean difference in scaled rate, in neighbourhood s, of the j-th frame before
    the newest and the newest, where both were measured; n the lead time in units of 5 minutes, 1 at
    least; Δ the time between frames, and L the `LIMIT`. Rain that grew over some kilometres in the
    last minutes goes on growing for a while, and what decayed goes on decaying: S-PROG (Seed 2003)
    and STEPS use that by an autoregression of each scale. Few numbers are learned, so what is
    learned holds for other radars too. It begins at zero, and belongs to the moving frame of
    reference.

    Args:
        thresholds: how many.
        octaves: of the widths at which the weights are known; between, they are interpolated.

    Example:
        >>> trend = Trend(3, octaves=7)
        >>> frames, measured = torch.rand(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> trend(frames, measured, [0.0, 1.0], torch.tensor([1.0, 2]), log_spacing=0.0).shape
        torch.Size([2, 2, 3, 8, 8])
    """

    def __init__(self, thresholds: int, octaves: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(PARTS, thresholds, EARLIER, octaves))

    def forward(
        self,
        frames: Tensor,
        measured: Tensor,
        octaves: Sequence[float],
        leads: Tensor,
        log_spacing: float,
    ) -> Tensor:
        """Return (b, lead, k, h, w).

        Args:
            frames: (b, t, h, w) scaled rates, in float32.
            measured: (b, t, h, w) 1 where they were measured, 0 where not; a pixel that was not in
                one of two frames does not count in their difference.
            octaves: (s,) log2(1 + width) of each neighbourhood.
            leads: (lead,) n.
            log_spacing: log2(Δ / 5 min).
        """
        count = min(EARLIER, frames.shape[1] - 1)
        earlier = [-2 - j for j in range(count)]
        both = measured[:, earlier] * measured[:, -1:]
        differences = _UNIT * (frames[:, earlier] - frames[:, -1:]) * both
        found = []
        for means in neighbourhoods(torch.cat([differences, both], dim=1), len(octaves)):
            sums, weights = means.chunk(2, dim=1)
            found.append(_limited(sums / weights.clamp(min=1e-6)))
        seen = torch.stack(found, dim=2).flatten(1, 2)  # (b, j · s, h, w)
        at = interpolated(self.weights[:, :, :count], octaves).flatten(2)  # (part, k, j · s)
        share = 1 / leads[:, None, None]
        lasting, fading, fleeting, spaced = at
        weights = lasting + share * fading + share**2 * fleeting + log_spacing * spaced
        return torch.einsum("lkn,bnhw->blkhw", weights, seen)


def _limited(differences: Tensor) -> Tensor:
    return LIMIT * torch.tanh(differences / LIMIT)


def interpolated(knots: Tensor, octaves: Sequence[float]) -> Tensor:
    """Values (…, knots) at whole octaves → (…, s) at others."""
    found = []
    for octave in octaves:
        before = min(int(octave), knots.shape[-1] - 2)
        found.append(torch.lerp(knots[..., before], knots[..., before + 1], octave - before))
    return torch.stack(found, dim=-1)
