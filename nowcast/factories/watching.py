"""The loggers of a training, with its configuration and pictures of its data."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from nowcast.radar.placing.place import Origin
from nowcast.report.pictures.canvas import pixels
from nowcast.report.pictures.frames import frames_figure
from nowcast.runs import SAME_BITS, flat
from nowcast.sequences.windows import RadarWindows, Windows
from nowcast.training.examples import Example
from nowcast.training.loggers import Image, Logger, Loggers

_DPI = 80
_MAGNIFIED = 2
"""Picture pixels along each side of a digit's pixel."""


def watching(
    loggers: Mapping[str, Logger],
    settings: Mapping[str, Any],
    validation: Windows,
    timestep_minutes: float | None,
    place: Mapping[str, Any] | None,
) -> Loggers:
    """Return the loggers of a training by name, ready to start.

    Args:
        settings: the whole configuration, nested.
        validation: the windows shown in pictures.
        timestep_minutes: time step of their frames; None for moving digits.
        place: place of their grid, as in a checkpoint.
    """
    shaping = {key: value for key, value in flat(settings) if key not in SAME_BITS}
    if isinstance(validation, RadarWindows) and timestep_minutes is not None:
        origin: Origin = "lower" if place is not None and place["first_row"] == "south" else "upper"
        draw = partial(
            draw_rain, windows=validation, timestep_minutes=timestep_minutes, origin=origin
        )
        return Loggers(loggers, shaping, draw)
    return Loggers(loggers, shaping, draw_digits)


def draw_rain(
    example: Example, windows: RadarWindows, timestep_minutes: float, origin: Origin
) -> Image:
    """Draw the observations above the forecast, in rain colours, with valid times in UTC."""
    newest = windows.clock.times[example.pick.start + windows.input_steps - 1]
    reference_time = newest.astype("datetime64[s]").item()
    figure = frames_figure(
        example.observed,
        {"forecast": example.forecast},
        [lead * timestep_minutes for lead in example.leads],
        f"Validation case {example.number}: {reference_time:%Y-%m-%d %H:%M} UTC",
        reference_time=reference_time,
        origin=origin,
    )
    return pixels(figure, _DPI)


def draw_digits(example: Example) -> Image:
    """Draw frames in [0, 1] in grey, observed above forecast, with grey lines between them."""
    lined = np.pad(
        np.stack([example.observed, example.forecast]),
        ((0, 0), (0, 0), (1, 1), (1, 1)),
        constant_values=0.5,
    )
    rows, columns, height, width = lined.shape
    whole = lined.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    grey = (255 * whole.clip(0, 1)).round().astype(np.uint8)
    return np.repeat(grey.repeat(_MAGNIFIED, 0).repeat(_MAGNIFIED, 1)[..., None], 3, axis=2)
