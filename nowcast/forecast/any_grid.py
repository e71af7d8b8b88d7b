"""Models for any grid: adapt one to the pixel size and the time step of the data."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nowcast.errors import ConfigError, DataError
from nowcast.radar.placing.place import NOMINAL_KM

if TYPE_CHECKING:  # this module must import without PyTorch
    from nowcast.forecast.forecaster import Forecaster

PIXEL_KM = 0.5, 5.0
"""Range of pixel sizes in km that a model for any grid is made for."""

TIMESTEP_MINUTES = 2.0, 15.0
"""Range of time steps that it is made for."""

LONGEST_MINUTES = 120.0
"""Longest lead time that it forecasts."""

USUAL_MINUTES = 60.0
"""Longest lead time if `lead_steps` is not given."""

_APART = 4.0  # least minutes between two frames that the model sees
_SPAN = 16.0  # least minutes between the first and the newest of these frames
_LEAST = 3  # least number of these frames


def is_for_any_grid(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration or checkpoint describes a model for any grid."""
    return bool(config.get("model", {}).get("grids") == "any")


def frames_seen(minutes: float) -> tuple[int, int]:
    """Return how many frames the model needs at a time step, and that it sees every n-th of them.

    Returns:
        The number of frames, and n.
    """
    every = max(1, math.ceil(_APART / minutes))
    seen = max(_LEAST, 1 + math.ceil(_SPAN / (every * minutes)))
    return (seen - 1) * every + 1, every


def usual_lead_steps(minutes: float) -> int:
    """Return the number of lead steps in an hour, at least one: the default of `lead_steps`."""
    return max(1, math.floor(USUAL_MINUTES / minutes))


def most_lead_steps(minutes: float) -> int:
    """Return the largest number of lead steps that the model can forecast at a time step.

    Raises:
        DataError: if one time step is longer than the longest lead time.
    """
    steps = math.floor(LONGEST_MINUTES / minutes + 1e-6)
    if steps < 1:
        raise DataError(
            f"the data have a frame every {minutes:g} minutes, but a model for any grid forecasts"
            f" at most {LONGEST_MINUTES:g} minutes; give data with a shorter time step."
        )
    return steps


def refuse_too_far(lead_steps: int, minutes: float) -> None:
    """Refuse more lead steps than the model can forecast at a time step.

    Raises:
        ConfigError: if there are more.
        DataError: as `most_lead_steps`.
    """
    most = most_lead_steps(minutes)
    if lead_steps > most:
        raise ConfigError(
            f"lead_steps: {lead_steps} of {minutes:g} minutes are {lead_steps * minutes:g} minutes,"
            f" but a model for any grid forecasts at most {LONGEST_MINUTES:g}; give {most} or"
            " fewer."
        )


def on_grid(
    forecaster: "Forecaster", pixel_km: float | None, minutes: float, lead_steps: int | None = None
) -> "Forecaster":
    """Return the forecaster of a model for any grid, adapted to a pixel size and a time step.

    Its calibration is known at the lead times of its own time step; it is interpolated to the new
    ones.

    Args:
        forecaster: as opened from its checkpoint.
        pixel_km: height and width of a pixel; None uses the nominal size, which
            `beyond_experience` reports.
        minutes: from one frame to the next.
        lead_steps: frames to forecast; None means an hour.
    """
    input_steps, every = frames_seen(minutes)
    steps = usual_lead_steps(minutes) if lead_steps is None else lead_steps
    calibration, own = forecaster.calibration, forecaster.timestep_minutes
    if calibration is not None and own is not None:
        calibration = calibration.at([minutes * step / own for step in range(1, steps + 1)])
    return replace(
        forecaster,
        input_steps=input_steps,
        lead_steps=steps,
        timestep_minutes=minutes,
        pixel_km=NOMINAL_KM if pixel_km is None else pixel_km,
        every=every,
        calibration=calibration,
    )


def beyond_experience(pixel_km: float | None, minutes: float) -> str:
    """Return in words how the data lie outside what the model was made for; empty if they fit.

    Args:
        pixel_km: height and width of a pixel; None if the data do not give it.
        minutes: from one frame to the next.
    """
    beyond = [
        f"{what} of {value:g} {unit[: -1 if value == 1 else None]}, but the model was made for"
        f" {low:g} to {high:g} {unit}"
        for what, value, (low, high), unit in (
            ("pixels", pixel_km, PIXEL_KM, "km"),
            ("a time step", minutes, TIMESTEP_MINUTES, "minutes"),
        )
        if value is not None and not low <= value <= high
    ]
    if pixel_km is None:
        beyond.append(f"the data do not give the pixel size; {NOMINAL_KM:g} km is assumed")
    return "; ".join(beyond)
