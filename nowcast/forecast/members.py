"""Draw members of an ensemble from the probabilities of a forecast.

Each member is a plausible field: noise that varies over space and time like rain selects, pixel by
pixel, a quantile of the forecast distribution. All members together have the probabilities of the
forecast, except for probabilities below `LEAST_CHANCE`.
"""

import math
from dataclasses import replace
from itertools import repeat

import torch
from torch import Tensor

from nowcast.arrays import Float32Array
from nowcast.forecast.baselines.cascades import seed_of
from nowcast.forecast.noise import noise_fields, noise_model
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.motion.advection import displacements, refine
from nowcast.motion.estimation import estimate_motion
from nowcast.motion.frames import take_along, window_displacement
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import LEAST_CHANCE, Probabilities
from nowcast.probability.quantiles import rates_of_chances


def with_members(
    forecast: Forecast, past: Tensor, count: int, seed: int, motion: Tensor | None = None
) -> Forecast:
    """Return a forecast with members drawn from its probabilities.

    A case has the same members in any batch and on any device.

    Args:
        forecast: of b cases; without probabilities it is returned unchanged.
        past: (b, t, h, w) in mm/h, NaN = missing, the frames that it was made from.
        count: number of members.
        seed: of the noise; it is combined with each case's newest frame.
        motion: (b, 2, hc, wc) in pixels per timestep, x then y; if None, it is estimated.
    """
    if forecast.probabilities is None:
        return forecast
    ladder = forecast.probabilities.thresholds
    motions = repeat(None, len(past)) if motion is None else motion.split(1)
    cases = [
        draw_members(Probabilities(ladder, values[None]), rain, count, seed, way)
        for values, rain, way in zip(forecast.probabilities.values, past, motions, strict=True)
    ]
    return replace(forecast, members=torch.stack(cases))


def with_members_of_scene(
    forecast: SceneForecast, past: Float32Array, count: int, seed: int
) -> SceneForecast:
    """Return the forecast of a scene with members, like `with_members`; past: (t, h, w)."""
    chances = forecast.probabilities
    if chances is None:
        return forecast
    probabilities = Probabilities(chances.thresholds, torch.from_numpy(chances.values)[None])
    members = draw_members(probabilities, torch.from_numpy(past), count, seed)
    return replace(forecast, members=members.numpy())


def draw_members(
    probabilities: Probabilities,
    past: Tensor,
    count: int,
    seed: int,
    motion: Tensor | None = None,
) -> Tensor:
    """Draw the members of one case.

    Noise of the newest frame is advected with the rain, taking the nearest pixel, so that each
    pixel keeps its distribution.

    Args:
        probabilities: (1, lead, k, h, w).
        past: (t, h, w) in mm/h, NaN = missing.
        count: number of members.
        seed: of the noise, together with the newest frame.
        motion: (1, 2, hc, wc) in pixels per timestep, x then y; if None, it is estimated.

    Returns:
        (lead, count, h, w) in mm/h, NaN where a probability is, on the device of the probabilities.
    """
    values = probabilities.values[0]
    rain, size = past.float().cpu(), (int(past.shape[-2]), int(past.shape[-1]))
    if motion is None:
        motion = torch.from_numpy(estimate_motion(rain.numpy()))[None]
    way = displacements(motion, len(values), backward=True)
    model = noise_model(_aligned(rain, motion).numpy())
    noise = noise_fields(model, len(values), count, seed_of(rain[-1].numpy(), seed))
    members = values.new_empty(len(values), count, *size, dtype=torch.float32)
    for member, chance, back, field in zip(members, values, way[0], noise, strict=True):
        moved = _moved(torch.from_numpy(field), refine(back[None, None], size)[0, 0]).to(
            values.device
        )
        member[:] = rates_of_chances(chance.float(), probabilities.thresholds, _chances(moved))
    return members


def _aligned(rain: Tensor, motion: Tensor) -> Tensor:
    """Return the past (t, h, w) in the moving frame of reference."""
    steps, size = len(rain), (int(rain.shape[1]), int(rain.shape[2]))
    displacement = window_displacement(motion, steps, 0, size)
    return take_along(rain[None, :, None], displacement, steps)[0, :, 0]


def _moved(fields: Tensor, displacement: Tensor) -> Tensor:
    """Return periodic fields (n, …) at pixels displaced by (2, h, w), x then y."""
    rows, columns = fields.shape[1:]
    across, down = displacement.round().long()
    h, w = across.shape
    x = (torch.arange(w) + across) % columns
    y = (torch.arange(h)[:, None] + down) % rows
    moved: Tensor = fields.flatten(1).index_select(1, (y * columns + x).flatten())
    return moved.view(-1, h, w)


def _chances(noise: Tensor) -> Tensor:
    """Normal noise → the probability of a larger number: uniform from 0 to 1, but at least
    `LEAST_CHANCE`.

    Effect of this limit on 16 May 2018 of RADOLAN (10 cases of 20 members, a model without German
    radars), in squares of 21 km where 2 mm/h are less likely than 0.3: after 15 minutes the mean
    probability is .026, with a limit of 0.0005 it is .128, and .02 is observed. Rain of 30 mm/h and
    more gets rarer: after an hour .33 of the observed, .52 with a limit of 0.0005.
    """
    chances: Tensor = torch.special.erfc(noise * math.sqrt(0.5))
    return chances.mul_(0.5).clamp_(min=LEAST_CHANCE)
