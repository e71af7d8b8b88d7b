"""Read the probabilities of forecast files for scoring."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from nowcast.forecast.file_probability import probabilities_of
from nowcast.probability.ladder import Probabilities


def stacked(forecasts: Sequence[xr.Dataset]) -> Probabilities | None:
    """Return the probabilities of forecasts, (b, lead, k, h, w); None if the first has none.

    All must have them at the same thresholds.
    """
    read = [one for one in map(probabilities_of, forecasts) if one is not None]
    if not read:
        return None
    values = [torch.from_numpy(np.ascontiguousarray(one.values)) for one in read]
    return Probabilities(read[0].thresholds, torch.stack(values))
