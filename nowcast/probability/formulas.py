"""Formulas for probabilities at a list of thresholds, for both NumPy and PyTorch.

Neither is imported here.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def between(ladder: Sequence[float], threshold: float) -> tuple[int, int, float] | None:
    """Find the two thresholds of a ladder around another threshold, for interpolation.

    Args:
        ladder: (k,) in mm/h, rising.
        threshold: in mm/h.

    Returns:
        The indices of the two thresholds, and the share of the way from the first to the second in
        logarithms: the probability is p₁ + share · (p₂ − p₁). None outside of the ladder.

    Example:
        >>> between((1, 4), 2), between((1, 4), 4), between((1, 4), 5)
        ((0, 1, 0.5), (1, 1, 0.0), None)
    """
    for k, level in enumerate(ladder):
        if math.isclose(level, threshold, rel_tol=1e-6):
            return k, k, 0.0
    above = next((k for k, level in enumerate(ladder) if level > threshold), 0)
    if above == 0:
        return None
    low, high = ladder[above - 1], ladder[above]
    return above - 1, above, math.log(threshold / low) / math.log(high / low)


def expected_rate(
    probabilities: Sequence[Any], thresholds: Sequence[float], xp: Any, rate: Any = None
) -> Any:
    """Return the expected rate in mm/h.

    It is the integral of the probability over all rates. The probability is constant below the
    first threshold, falls exponentially between two thresholds, and is zero above the last. But if
    the forecast has a higher rate, the probability of the last threshold holds up to that rate.

    Args:
        probabilities: of each threshold, arrays or tensors of one shape, from 0 to 1, NaN =
            missing.
        thresholds: (k,) in mm/h, rising.
        xp: `numpy` or `torch`.
        rate: the rate of the forecast in mm/h, of the same shape, NaN = missing; None if only
            probabilities are known.

    Returns:
        An array or tensor of the same shape, NaN = missing.
    """
    total = probabilities[0] * thresholds[0]
    steps = zip(pairwise(probabilities), pairwise(thresholds), strict=True)
    for (upper, lower), (low, high) in steps:
        fall = xp.log(upper.clip(min=1e-12) / lower.clip(min=1e-12))
        mean = xp.where(fall < 1e-4, (upper + lower) / 2, (upper - lower) / fall.clip(min=1e-4))
        total = total + mean * (high - low)
    if rate is not None:
        last = thresholds[-1]
        total = total + probabilities[-1] * xp.where(rate > last, rate - last, 0.0)
    return total
