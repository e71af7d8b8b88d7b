"""Probabilities of exceeding a ladder, that is a rising list, of thresholds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nowcast.probability.formulas import between

LADDER = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0)
"""Default thresholds of a forecast in mm/h."""

LEAST_CHANCE = 0.0025
"""Smaller probabilities are treated as 0, in forecast files and by members; where the probability
of the first threshold is smaller, the expected rate is 0. In dry areas the probability of light
rain is about 0.001, so members would have single pixels of rain there.
"""

BEYOND = 2.0
"""Above the last threshold the probability falls to 0 at this multiple of it."""


@dataclass(frozen=True)
class Probabilities:
    """The probability that the rate is at or above each of some thresholds.

    Args:
        thresholds: (k,) in mm/h, rising.
        values: (b, lead, k, h, w) from 0 to 1, falling from threshold to threshold, NaN = missing.

    Raises:
        ValueError: the thresholds do not rise, or their number does not fit the values.
    """

    thresholds: tuple[float, ...]
    values: Tensor

    def __post_init__(self) -> None:
        check_ladder(self.thresholds)
        if self.values.ndim != 5 or self.values.shape[2] != len(self.thresholds):
            raise ValueError(
                f"probabilities: {tuple(self.values.shape)} must be (b, lead, k, h, w) of"
                f" {len(self.thresholds)} thresholds."
            )

    def at(self, thresholds: Sequence[float]) -> Tensor:
        """Return the probabilities (b, lead, n, h, w) at other thresholds in mm/h.

        Between two thresholds of the ladder they are interpolated linearly in the logarithm of the
        threshold.

        Raises:
            ValueError: a threshold lies outside the ladder.
        """
        return torch.stack([self._at(threshold) for threshold in thresholds], dim=2)

    def _at(self, threshold: float) -> Tensor:
        ladder, found = self.thresholds, between(self.thresholds, threshold)
        if found is None:
            raise ValueError(
                f"threshold {threshold:g} is outside of {ladder[0]:g} to {ladder[-1]:g} mm/h."
            )
        below, above, share = found
        low, high = self.values[:, :, below], self.values[:, :, above]
        return low if below == above else torch.lerp(low, high, share)


def lead_slices(lead_steps: int) -> list[slice]:
    """Return the slices of lead times that are computed one after the other.

    They are single lead times, because all at once need much memory on a large grid. In an exported
    graph there is a single slice, so that the graph has one operator for all.
    """
    each = lead_steps if torch.compiler.is_exporting() else 1
    return [slice(first, first + each) for first in range(0, lead_steps, each)]


def check_ladder(thresholds: Sequence[float]) -> None:
    """Raises: ValueError if the thresholds in mm/h are not above 0 and rising."""
    rising = all(low < high for low, high in pairwise(thresholds))
    if not thresholds or not rising or thresholds[0] <= 0 or not math.isfinite(thresholds[-1]):
        raise ValueError(f"thresholds: must be above 0 and rise, not {list(thresholds)}.")


def running_minimum(values: Tensor) -> Tensor:
    """Return the minimum of the values (b, lead, k, h, w) at each threshold and all lower ones."""
    least = [values[:, :, 0]]
    for k in range(1, values.shape[2]):
        least.append(torch.minimum(least[-1], values[:, :, k]))
    return torch.stack(least, dim=2)
