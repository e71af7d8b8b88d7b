"""What forecasts scored together have in common, and what only some of them have."""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nowcast.console import printable
from nowcast.forecast.dataset import MODEL
from nowcast.forecast.file_members import MEMBER_RATE, REALIZATION
from nowcast.forecast.file_probability import PROBABILITY, THRESHOLD
from nowcast.probability.options import RATE_BY

log = logging.getLogger(__name__)

CHAIN = "chain"
"""The name of forecasts by mixed methods: each is made by the first usable method of a list."""

Ladder = tuple[float, ...]


def name_of(forecasts: Sequence[xr.Dataset]) -> str:
    """Return the method that made all forecasts; CHAIN for mixed methods, which are logged."""
    made_by = Counter(printable(str(one.attrs.get("method", MODEL))) for one in forecasts)
    if len(made_by) == 1:
        return next(iter(made_by))
    parts = ", ".join(f"{count} by {method}" for method, count in made_by.most_common())
    log.info(
        "%d forecasts by mixed methods, scored together as %s: %s; for a row of each, put them in"
        " folders and give forecasts={a: …, b: …}",
        made_by.total(),
        CHAIN,
        parts,
    )
    return CHAIN


def rates_by(forecasts: Sequence[xr.Dataset]) -> Counter[str]:
    """Count the ways in which rates followed from probabilities, if a forecast says so."""
    said = (one.attrs.get(RATE_BY) for one in forecasts)
    return Counter(printable(str(rate)) for rate in said if rate is not None)


def ladder_of(forecasts: Sequence[xr.Dataset]) -> Ladder:
    """Return the thresholds in mm/h of most forecasts with probabilities; () if none has any."""
    ladders = Counter(filter(None, map(_thresholds, forecasts)))
    return ladders.most_common(1)[0][0] if ladders else ()


def differences(forecasts: Sequence[xr.Dataset]) -> list[str]:
    """Return, in sentences, what only some of the forecasts have."""
    ladder, rates, remarks = ladder_of(forecasts), rates_by(forecasts), list[str]()
    having = sum(_thresholds(one) == ladder for one in forecasts)
    if ladder and having < len(forecasts):
        remarks.append(
            f"probabilities were scored in {having} of {len(forecasts)} forecasts; the others have"
            f" none at the same thresholds, {ladder[0]:g} to {ladder[-1]:g} mm/h"
        )
    if len(rates) > 1:
        parts = ", ".join(f"{rate} in {count}" for rate, count in rates.most_common())
        remarks.append(
            f"rates follow from probabilities in different ways: by rate={parts} forecasts; these"
            " were scored together"
        )
    having = sum(members_count(one) > 0 for one in forecasts)
    if having and not members_in(forecasts):
        remarks.append(
            f"members were not scored: {having} of {len(forecasts)} forecasts have some, but not"
            " all have the same number"
        )
    return remarks


def members_in(forecasts: Sequence[xr.Dataset]) -> int:
    """Return the number of members drawn from probabilities in each forecast; 0 if not all have the
    same number.
    """
    counts = {members_count(one) for one in forecasts}
    return counts.pop() if len(counts) == 1 else 0


def members_count(forecast: xr.Dataset) -> int:
    """Return how many members drawn from probabilities a forecast has."""
    return int(forecast[MEMBER_RATE].sizes[REALIZATION]) if MEMBER_RATE in forecast else 0


def conversions(forecasts: Sequence[xr.Dataset]) -> list[str]:
    """Return, in a sentence, what other programs' rates were computed from; [] for our own."""
    said = (one.attrs.get("converted_from") for one in forecasts)
    sources = sorted({printable(str(one)) for one in said if one is not None})
    return [f"rates were made from {', '.join(sources)}"] if sources else []


def probabilities_at(ladder: Ladder, forecast: xr.Dataset) -> Tensor:
    """Return the probabilities (lead, k, h, w) of a forecast at the thresholds of a ladder, missing
    if it has none.
    """
    if _thresholds(forecast) == ladder:
        return torch.from_numpy(np.ascontiguousarray(forecast[PROBABILITY].values))
    leads, height, width = (forecast.sizes[dim] for dim in ("time", "y", "x"))
    return torch.full((leads, len(ladder), height, width), torch.nan)


def _thresholds(forecast: xr.Dataset) -> Ladder:
    """Return the thresholds of the probabilities; () if there are none."""
    return tuple(forecast[THRESHOLD].values.tolist()) if PROBABILITY in forecast else ()
