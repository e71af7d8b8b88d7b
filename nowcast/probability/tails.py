"""How heavy rain may be where rain is improbable."""

import torch
from torch import Tensor

from nowcast.probability.ladder import Probabilities

SURE = 0.1
"""From this probability of a threshold on, any probability of the next one is believed."""


def with_plausible_tails(probabilities: Probabilities, newest: Tensor) -> Probabilities:
    """Return probabilities by which heavy rain does not stand out of dry ground.

    The probabilities of a model do not fall below 0.0003 (its `LEAST_PROBABILITY`, calibrated),
    not even of 50 mm/h on dry ground: drawn from, each field would have specks of heavy rain. Here
    the share of the rain above one threshold that is above the next too is at most
    r + (1 - r) min(1, p / `SURE`), where p is the probability of the lower threshold, and r that
    share in the newest frame.

    On 16 May 2018 of RADOLAN (16 cases of 20 members) the power of waves of 2 to 5 pixels falls
    from 1.7 to 3.1 times the observed to 1.3 to 1.7, of 5 to 10 pixels from .95 to 1.5 to .88 to
    1.03, and the CRPS from .2351 to .2346 mm/h. Rain of 20 mm/h and more gets rarer, after an hour
    .64 of the observed (before .93). With a `SURE` of 1/4 and of 1/30 the CRPS is .2343 and .2347.

    Args:
        probabilities: (b, lead, k, h, w).
        newest: (h, w) the newest frame in mm/h, NaN = missing.
    """
    counts = [int((newest >= threshold).sum()) for threshold in probabilities.thresholds]
    values = probabilities.values.clone()
    for k in range(1, len(counts)):
        usual = (counts[k] + 1) / (counts[k - 1] + 2)
        lower = values[:, :, k - 1]
        share = usual + (1 - usual) * (lower / SURE).clamp(max=1)
        values[:, :, k] = torch.minimum(values[:, :, k], lower * share)
    return Probabilities(probabilities.thresholds, values)
