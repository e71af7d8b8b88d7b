"""A sample of pixels of past forecasts, used to fit cuts and a calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

import torch
from torch import Tensor

LEVELS = 255
"""Number of steps to which scores are rounded down; codes run from 0 (below the first step) to
`LEVELS`.
"""

LEAST_SCORE = 0.001
"""The first step of probabilities: the codes do not tell lower ones apart."""

_BYTES = 2**26  # largest size of a sample


@dataclass
class Sample:
    """Scores of every n-th pixel, and the observations there.

    A score is a probability for each threshold, or one rate for all thresholds. It is stored as the
    number of steps that it reaches. The steps are equally spaced in logit from 0.001 to 0.995, or
    in logarithm from 0.01 to 200 mm/h.

    Args:
        thresholds: (k,) in mm/h, rising.
        every: n.
        of_rates: whether scores are rates.
    """

    thresholds: tuple[float, ...]
    every: int
    of_rates: bool = False
    _codes: list[Tensor] = field(default_factory=list)
    _classes: list[Tensor] = field(default_factory=list)
    _cases: list[int] = field(default_factory=list)

    @property
    def steps(self) -> Tensor:
        """(LEVELS,) the scores at which the steps begin."""
        if self.of_rates:
            return torch.logspace(math.log10(0.01), math.log10(200), LEVELS)
        return torch.linspace(logit(LEAST_SCORE), logit(0.995), LEVELS).sigmoid()

    def add(self, scores: Tensor, observed: Tensor, first_case: int | None = None) -> None:
        """Add cases.

        Args:
            scores: (b, lead, k, h, w), or (b, lead, 1, h, w) of rates, NaN = missing; of some
                pixels only (…, n).
            observed: (b, lead, h, w) in mm/h, NaN = missing; or (b, lead, n).
            first_case: number of the first case, if other samples hold the other cases; by default
                they follow the cases added before.
        """
        begin = len(self._codes) if first_case is None else first_case
        for case, (score, rates) in enumerate(zip(scores, observed, strict=True), begin):
            first = case % self.every  # other pixels in each case
            picked = score.flatten(2)[:, :, first :: self.every].float().cpu()
            seen = rates.flatten(1)[:, first :: self.every].float().cpu()
            codes = torch.bucketize(picked.nan_to_num(0.0).contiguous(), self.steps, right=True)
            levels = torch.tensor(self.thresholds)
            classes = torch.bucketize(seen.nan_to_num(0.0).contiguous(), levels, right=True)
            classes[seen.isnan() | picked.isnan().any(dim=1)] = -1
            self._codes.append(codes.to(torch.uint8))
            self._classes.append(classes.to(torch.int8))
            self._cases.append(case)

    def codes(self) -> Tensor:
        """Return the scores as numbers of steps (lead, k, n); k = 1 for rates."""
        return torch.cat(self._codes, dim=2)

    def classes(self) -> Tensor:
        """Return how many thresholds the observed rate reaches (lead, n); −1 = missing value."""
        return torch.cat(self._classes, dim=1)


def join_samples(samples: Sequence[Sample]) -> Sample:
    """Join samples of different cases, in the order of the cases. Their thresholds and their
    `every` must be equal.
    """
    joined = replace(samples[0], _codes=[], _classes=[], _cases=[])
    cases = [
        case for one in samples for case in zip(one._cases, one._codes, one._classes, strict=True)
    ]
    for case, codes, classes in sorted(cases, key=itemgetter(0)):
        joined._cases.append(case)
        joined._codes.append(codes)
        joined._classes.append(classes)
    return joined


def count_events(codes: Tensor, events: Tensor, counted: Tensor) -> Tensor:
    """Count the pixels (lead, n) of each code without and with an event: (lead, LEVELS + 1, 2)."""
    rows = torch.arange(len(codes), dtype=torch.int32)[:, None]
    size = len(codes) * (LEVELS + 1) * 2
    bins = (rows * (LEVELS + 1) + codes) * 2 + events
    counts = torch.bincount(bins.masked_fill(~counted, size).flatten(), minlength=size + 1)
    return counts[:size].view(len(codes), LEVELS + 1, 2)


def empty_sample(
    thresholds: Sequence[float], lead_steps: int, pixels: int, *, of_rates: bool = False
) -> Sample:
    """Return an empty sample for so many pixels in total; it keeps as many as memory allows."""
    each = lead_steps * (1 if of_rates else len(thresholds)) + lead_steps
    return Sample(tuple(thresholds), max(1, math.ceil(pixels * each / _BYTES)), of_rates)


def logit(probability: float) -> float:
    """Return the logit of a probability."""
    return math.log(probability / (1 - probability))
