"""Use the recent growth or decay of rain: how earlier frames differ from the newest frame."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nowcast.probability.neighbourhoods import neighbourhoods

EARLIER = 2
"""Number of earlier frames that are compared with the newest frame."""

PARTS = 4
"""w₀ to w₃: parts of each weight."""

_UNIT = 25.0
"""Factor on the scaled rate, chosen so that the weights are about 0.2 and are learned in a few
hundred steps.
"""


LIMIT = 0.5
"""Differences saturate at this value, about a tenth in rate. Averaged over a few kilometres, rain
does not change faster; a failing radar or an hourly changing gauge correction only makes it appear
so. KNMI's 10 September 2011 has such corrections: a model trained without KNMI data has a CSI of
.528 at 1 mm/h there, but .476 without this limit; on other days the limit changes it by .001.
"""


class Trend(nn.Module):
    """The term that recent growth and decay add to the logit of each threshold:

        Σⱼ Σₛ wⱼₛ(n) L tanh(Dⱼₛ / L),   w(n) = w₀ + w₁ / n + w₂ / n² + w₃ log2(Δ / 5 min)

    Dⱼₛ is 25 times the mean difference in scaled rate, in neighbourhood s, between the j-th frame
    before the newest and the newest, over pixels measured in both. n is the lead time in units of
    5 minutes, at least 1; Δ is the time between frames, and L the `LIMIT`.

    Rain that grew over a few kilometres in the last minutes keeps growing for a while, and decaying
    rain keeps decaying. S-PROG (Seed 2003) and STEPS use this in an autoregression at each scale.
    Only few parameters are learned, so they hold for other radars too. They start at zero. The
    trend is meant for the moving frame of reference.

    Args:
        thresholds: number of thresholds.
        octaves: number of neighbourhood widths with learned weights; weights for widths in between
            are interpolated.

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
        """Return the term (b, lead, k, h, w).

        Args:
            frames: (b, t, h, w) scaled rates, in float32.
            measured: (b, t, h, w) 1 where measured, else 0; a pixel missing in one of two frames
                does not count in their difference.
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
    """Interpolate values (…, knots) at whole octaves to other octaves: (…, s)."""
    found = []
    for octave in octaves:
        before = min(int(octave), knots.shape[-1] - 2)
        found.append(torch.lerp(knots[..., before], knots[..., before + 1], octave - before))
    return torch.stack(found, dim=-1)
