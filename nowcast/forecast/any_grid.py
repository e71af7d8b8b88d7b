"""A model for any grid, set to the pixel size and the time step of the data at hand."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nowcast.errors import ConfigError, DataError
from nowcast.radar.placing.place import NOMINAL_KM

if TYPE_CHECKING:  # what is asked before a model is opened needs no PyTorch
    from nowcast.forecast.forecaster import Forecaster

PIXEL_KM = 0.5, 5.0
"""Pixel sizes that such a model is made for."""

TIMESTEP_MINUTES = 2.0, 15.0
"""Time steps that it is made for."""

LONGEST_MINUTES = 120.0
"""Longest lead time that it forecasts."""

USUAL_MINUTES = 60.0
"""Longest lead time of a forecast that names none."""

_APART = 4.0  # minutes between the frames that the model sees, or more
_SPAN = 16.0  # minutes from the first of these frames to the newest, or more
_LEAST = 3  # of these frames


def is_for_any_grid(config: Mapping[str, Any]) -> bool:
    """Return whether the model of a configuration or checkpoint is one for any grid."""
    return bool(config.get("model", {}).get("grids") == "any")


def frames_seen(minutes: float) -> tuple[int, int]:
    """Return how many frames such a model needs of a time step, and every which of them it sees."""
    every = max(1, math.ceil(_APART / minutes))
    seen = max(_LEAST, 1 + math.ceil(_SPAN / (every * minutes)))
    return (seen - 1) * every + 1, every


def usual_lead_steps(minutes: float) -> int:
    """Return the lead steps of a forecast that names none: an hour, and one step at least."""
    return max(1, math.floor(USUAL_MINUTES / minutes))


def most_lead_steps(minutes: float) -> int:
    """Return the most lead steps that such a model forecasts of a time step.

    Raises:
        DataError: if one time step is longer than it forecasts.
    """
    steps = math.floor(LONGEST_MINUTES / minutes + 1e-6)
    if steps < 1:
        raise DataError(
            f"the data have a frame every {minutes:g} minutes, and a model for any grid forecasts"
            f" {LONGEST_MINUTES:g} minutes at most; give data of a shorter time step."
        )
    return steps


def refuse_too_far(lead_steps: int, minutes: float) -> None:
    """Refuse more lead steps than such a model forecasts of a time step.

    Raises:
        ConfigError: if there are more; DataError as `most_lead_steps`.
    """
    most = most_lead_steps(minutes)
    if lead_steps > most:
        raise ConfigError(
            f"lead_steps: {lead_steps} of {minutes:g} minutes are {lead_steps * minutes:g} minutes,"
            f" and a model for any grid forecasts {LONGEST_MINUTES:g} at most; give {most} or"
            " fewer."
        )


def on_grid(
    forecaster: "Forecaster", pixel_km: float | None, minutes: float, lead_steps: int | None = None
) -> "Forecaster":
    """Return the forecaster of a model for any grid, set to a pixel size and a time step.

    Its calibration, known at the lead times of its own time step, is interpolated to these.

    Args:
        forecaster: as its checkpoint describes it.
        pixel_km: height and width of a pixel; None takes the nominal one, as `beyond_experience`
            says.
        minutes: from one frame to the next.
        lead_steps: frames to forecast; None: an hour.
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
    """Return what such a model has not been made for, in words; empty if all is well.

    Args:
        pixel_km: height and width of a pixel; None if the data do not say it.
        minutes: from one frame to the next.
    """
    beyond = [
        f"{what} of {value:g} {unit[: -1 if value == 1 else None]}, and the model was made for"
        f" {low:g} to {high:g} {unit}"
        for what, value, (low, high), unit in (
            ("pixels", pixel_km, PIXEL_KM, "km"),
            ("a time step", minutes, TIMESTEP_MINUTES, "minutes"),
        )
        if value is not None and not low <= value <= high
    ]
    if pixel_km is None:
        beyond.append(f"the data do not say how large a pixel is; taken for {NOMINAL_KM:g} km")
    return "; ".join(beyond)
