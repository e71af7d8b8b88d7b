"""Sums of a forecast as arrays, ready to be written into a file."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from nowcast.arrays import Float32Array
from nowcast.forecast.file_accumulation import FileAccumulation, window_steps
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.probability.accumulations import accumulated, expected_rates, shares_of_members
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities


def accumulations_of(
    forecast: SceneForecast,
    timestep_minutes: float,
    minutes: Sequence[int],
    thresholds: Sequence[float],
) -> list[FileAccumulation]:
    """Return the sums of a forecast for windows of each length.

    The sum is taken over the expected rates; `nowcast.probability.accumulations` explains why. Its
    probabilities are the fractions of members whose own sum is at or above each threshold; a
    forecast without members has none.

    Args:
        forecast: rates in mm/h, with or without probabilities and members.
        timestep_minutes: from one lead time to the next.
        minutes: the lengths of the windows.
        thresholds: (k,) in mm, rising.

    Raises:
        ConfigError: a window does not fit the lead times.
    """
    lead_minutes = [timestep_minutes * (k + 1) for k in range(len(forecast.rates))]
    whole = _as_tensors(forecast)
    members = whole.rates if whole.members is None else whole.members
    expected, made = expected_rates(whole)[:, :, 0], list[FileAccumulation]()
    for length in minutes:
        steps = window_steps(length, lead_minutes)
        sums = _at_all_leads(accumulated(expected, steps, timestep_minutes), steps)
        if members.shape[2] == 1:
            made.append(FileAccumulation(length, sums))
            continue
        shares = shares_of_members(accumulated(members, steps, timestep_minutes), thresholds)
        chances = _at_all_leads(shares.values, steps)
        made.append(FileAccumulation(length, sums, shares.thresholds, chances))
    return made


def _as_tensors(forecast: SceneForecast) -> Forecast:
    """Return the forecast of one scene as a batch of one."""
    rates = torch.from_numpy(forecast.rates)
    known, members = forecast.probabilities, forecast.members
    return Forecast(
        (rates if rates.ndim == 4 else rates[:, None])[None],
        None
        if known is None
        else Probabilities(known.thresholds, torch.from_numpy(known.values)[None]),
        None if members is None else torch.from_numpy(members)[None],
    )


def _at_all_leads(fields: Tensor, steps: int) -> Float32Array:
    """Fields (1, lead − steps + 1, …, h, w) → (lead, …, h, w), NaN at the first lead times."""
    before = [0] * (2 * fields.ndim - 4) + [steps - 1, 0]
    whole: Float32Array = pad(fields, before, value=torch.nan)[0].float().numpy()
    return whole
