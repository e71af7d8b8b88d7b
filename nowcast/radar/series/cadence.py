"""A coarser clock: which frames, and how much of each, make a frame of a longer time step."""

from dataclasses import dataclass

import numpy as np

from nowcast.errors import ConfigError
from nowcast.radar.times import Times

# of a longer time step must be covered, by frames and in each pixel; else it is missing
LEAST_TIME = 2 / 3


@dataclass(frozen=True)
class Target:
    """A frame to be made: its time, and the frames of the source it is made of with the share
    of the time step each covers.
    """

    time: np.datetime64
    parts: tuple[tuple[int, float], ...]


def targets_of(times: Times, timestep_minutes: float, wanted_minutes: float | None) -> list[Target]:
    """The frames that can be made of those at `times` (rising, `timestep_minutes` apart), in the
    order of time.

    A frame stands for the time step that ends at its own time, (t - dt, t], and a longer one is the
    mean over its own, each frame weighted by its share of it. Longer ones end on multiples of
    `wanted_minutes` since midnight (of 1 January 1970 for lengths that do not divide a day), and
    those covered by less than two thirds are left out.
    Errors: ConfigError where the wanted time step is shorter than that of the source.
    """
    if wanted_minutes is None or abs(wanted_minutes - timestep_minutes) < 1e-6:
        return [Target(time, ((k, 1.0),)) for k, time in enumerate(times)]
    if wanted_minutes < timestep_minutes:
        raise ConfigError(
            f"timestep_minutes: {wanted_minutes:g} is shorter than the {timestep_minutes:g} minutes"
            " between the frames there are; frames in between cannot be made by averaging: give a"
            " longer one, or null."
        )
    step, ends = round(wanted_minutes * 60e3), times.astype("datetime64[ms]").astype(np.int64)
    length = round(timestep_minutes * 60e3)
    parts: dict[int, list[tuple[int, float]]] = {}
    for k, end in enumerate(ends.tolist()):
        first, last = (end - length) // step + 1, -(-end // step)
        for tick in range(first, last + 1):
            overlap = min(tick * step, end) - max((tick - 1) * step, end - length)
            parts.setdefault(tick, []).append((k, overlap / step))
    return [
        Target(np.datetime64(tick * step, "ms").astype("datetime64[ns]"), tuple(made_of))
        for tick, made_of in sorted(parts.items())
        if sum(share for _, share in made_of) >= LEAST_TIME - 1e-9
    ]
