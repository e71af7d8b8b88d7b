"""A coarser clock: which frames are averaged into a frame of a longer time step, with weights."""

from dataclasses import dataclass

import numpy as np

from nowcast.errors import ConfigError
from nowcast.radar.times import Times

# share of a longer time step that must be covered, by frames and in each pixel; else it is missing
LEAST_TIME = 2 / 3


@dataclass(frozen=True)
class Target:
    """A frame to be made: its time, and its source frames with the share of the time step that each
    covers.
    """

    time: np.datetime64
    parts: tuple[tuple[int, float], ...]


def targets_of(times: Times, timestep_minutes: float, wanted_minutes: float | None) -> list[Target]:
    """Return the frames that can be made from those at `times` (increasing, `timestep_minutes`
    apart), in order of time.

    A frame represents the time step that ends at its time, (t - dt, t]. A longer time step is the
    mean of its frames, weighted by the share that each covers. Longer time steps end at multiples
    of `wanted_minutes` since midnight (since 1970-01-01 for lengths that do not divide a day).
    Those covered by less than two thirds are left out.
    Errors: ConfigError if the wanted time step is shorter than that of the source.
    """
    if wanted_minutes is None or abs(wanted_minutes - timestep_minutes) < 1e-6:
        return [Target(time, ((k, 1.0),)) for k, time in enumerate(times)]
    if wanted_minutes < timestep_minutes:
        raise ConfigError(
            f"timestep_minutes: {wanted_minutes:g} is shorter than the {timestep_minutes:g} minutes"
            " between source frames; averaging cannot make frames in between: give a longer one, or"
            " null."
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
