"""The model that `nowcast predict` forecasts by, whatever computes it."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nowcast.config.predict import PredictConfig
from nowcast.console import two_digits
from nowcast.errors import ConfigError, DataError, DeviceError
from nowcast.forecast.any_grid import (
    beyond_experience,
    frames_seen,
    is_for_any_grid,
    refuse_too_far,
    usual_lead_steps,
)
from nowcast.forecast.exported import SUFFIX
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.pretrained import checkpoint_name, refuse_same_model
from nowcast.radar.placing.grid_match import AS_STORED, Turn, refuse_other_grid, turn_of
from nowcast.radar.placing.place import known_pixel_km
from nowcast.sequences.scene import Scene
from nowcast.startup import without_garbage_collection

log = logging.getLogger(__name__)


class Model(Protocol):
    """A trained model, opened.

    about: config, place and versions, as a checkpoint has them. computed_on: device and numbers, in
    words.
    """

    @property
    def about(self) -> Mapping[str, Any]: ...

    @property
    def computed_on(self) -> str: ...

    def forecast_of(self, scene: Scene, turn: Turn = AS_STORED) -> SceneForecast:
        """The scene, of `input_steps` frames → its forecast, both as the files have them: the
        frames, and what lies on their grid, are turned for the model and its forecast is turned
        back. Errors: DataError for a grid that it cannot take;
        DeviceError for one that is too large.
        """

    def prepare(self) -> None:
        """Do what of the next forecast can be done before its newest frame is there."""


def open_model(checkpoints: Sequence[str], config: PredictConfig) -> Model:
    """The model of a checkpoint, or that was exported, or several checkpoints as one model.

    Errors: as each; ConfigError if an exported model is one of several, or one is there twice.
    """
    # to import PyTorch takes longer than all the rest
    with without_garbage_collection():
        exported = [one for one in checkpoints if Path(one).suffix == SUFFIX]
        if exported and len(checkpoints) > 1:
            raise ConfigError(
                f"checkpoint: {exported[0]} is an exported model, and several models are one"
                " forecast by their checkpoints only; give the best.pt that it was made of."
            )
        if exported:
            from nowcast.factories.exported_model import ExportedModel

            return ExportedModel(exported[0], config)
        refuse_same_model(checkpoints)
        from nowcast.factories.several_models import SeveralModels
        from nowcast.factories.trained_model import TrainedModel
    opened = {checkpoint_name(one): TrainedModel(one, config) for one in checkpoints}
    return SeveralModels(opened, config) if len(opened) > 1 else opened.popitem()[1]


def refuse_unlike(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse models that cannot make one forecast together.

    Args:
        configs: of each model, by its name. A model for any grid takes the time step of the data
            and forecasts as far as the others.

    Raises:
        ConfigError: naming the first that differs, and in what.
    """
    (first, usual), *_ = sorted(configs.items(), key=lambda one: is_for_any_grid(one[1]))
    for name, config in configs.items():
        for key, words in _ALIKE.items():
            if is_for_any_grid(config) and key in ("timestep_minutes", "lead_steps"):
                continue
            theirs, ours = (_value(one, key) for one in (config, usual))
            if theirs != ours:
                raise ConfigError(
                    f"checkpoint: {words} of {name}: {theirs},"
                    f" of {first} {ours}; models that make one forecast have the same. Leave one"
                    " of them out."
                )


_ALIKE = {
    "timestep_minutes": "the minutes from frame to frame",
    "lead_steps": "the lead steps",
    "model.head": "the head",
    "model.thresholds": "the thresholds",
}
"""What models have in common that make one forecast, and what it is called."""


def _value(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; the thresholds of a model without probabilities are idle."""
    if key == "model.thresholds" and config["model"].get("head") != "probability":
        return None
    found: Any = config
    for name in key.split("."):
        found = found.get(name)
    return found


def steps_of(model: Model) -> tuple[int, int]:
    """Frames that it sees, and forecasts."""
    return model.about["config"]["input_steps"], model.about["config"]["lead_steps"]


def steps_at(
    config: Mapping[str, Any],
    own: tuple[int, int],
    checkpoint: str,
    minutes: float,
    lead_steps: int | None,
) -> tuple[int, int]:
    """Return the frames that a model sees and forecasts of a time step.

    Args:
        config: of the model.
        own: the frames that it sees and forecasts in its own time step.
        checkpoint: what messages call it.
        minutes: from one frame to the next.
        lead_steps: frames that are asked for; None: what the model or an hour gives.

    Raises:
        ConfigError: if it cannot forecast so many; DataError if not even one.
    """
    if not is_for_any_grid(config):
        if lead_steps not in (None, own[1]):
            raise ConfigError(
                f"lead_steps: the model of {checkpoint} forecasts {own[1]} frames; leave it out, or"
                " choose a model for any grid, as checkpoint=pretrained."
            )
        return own
    steps = usual_lead_steps(minutes) if lead_steps is None else lead_steps
    refuse_too_far(steps, minutes)
    return frames_seen(minutes)[0], steps


def spacing(model: Model, checkpoint: str) -> np.timedelta64:
    """The timestep that it was trained on. Errors: DataError where its frames had no times."""
    minutes = model.about["config"]["timestep_minutes"]
    if minutes is None:
        raise DataError(
            f"{checkpoint}: trained on frames without times, so it cannot forecast radar; give one"
            " trained on radar."
        )
    return np.timedelta64(round(minutes * 60), "s")


def turn_for(
    about: Mapping[str, Any], scene: Scene, config: PredictConfig
) -> tuple[Turn, list[str]]:
    """Return how the frames of a scene are turned for a model, and what is to be known of that, in
    words.

    Errors: DataError for a grid that the model is not for.
    """
    any_grid, place = is_for_any_grid(about["config"]), about.get("place")
    turn = turn_of(place, scene.grid)
    allowed = config.other_grid or any_grid
    remarks = [
        refuse_other_grid(place, scene.grid, config.data.path, allowed=allowed),
        turn.remark,
        beyond_experience(known_pixel_km(scene.grid), scene.timestep_minutes) if any_grid else "",
    ]
    return turn, [remark for remark in remarks if remark]


def refuse_too_many_missing(key: str, missing_frames: int, input_steps: int) -> None:
    """Errors: ConfigError where not even the newest frame would be left."""
    if missing_frames >= input_steps:
        raise ConfigError(
            f"{key}: the model sees {input_steps} frames, and the newest is never missing; "
            f"give {input_steps - 1} at most, not {missing_frames}."
        )


def log_missing(scene: Scene, *, mask: bool) -> None:
    """Log which frames are missing, and what a model with or without a mask sees instead."""
    instead = (
        "masked for the model"
        if mask
        else "the model has no mask and sees the frame before, or after, once more"
    )
    times = ", ".join(f"{time:.16}" for time in scene.times[scene.missing])
    log.warning("no frame at %s UTC: %s", times, instead)


def refuse_other_size(config: Mapping[str, Any], size: Sequence[int], where: str) -> None:
    """Errors: DataError where the model of a configuration takes frames of one size (h, w)
    alone, and this is another.
    """
    wanted = config["model"].get("grid_size")
    if wanted not in (None, list(size)):
        raise DataError(
            f"{where}: frames of {list(size)}, but the model takes those of"
            f" model.grid_size={wanted} alone; give data of that size, or train another model on"
            " this."
        )


def size_seen(about: Mapping[str, Any], scene: Scene) -> Sequence[int]:
    """The size (h, w) of the frames that a model sees of a scene: of its region, or all of them."""
    region = about.get("region")
    if region is None:
        return scene.size
    return [last - first for first, last in (region["rows"], region["columns"])]


def fields_at_once(model: Model) -> int:
    """How many fields (h, w) are held for each lead time while a forecast is made: the rate, and of
    probabilities what the network says, what is taken forward, and all of that put together. Of
    several models the forecasts of all, too.
    """
    config = model.about["config"]["model"]
    models: int = model.about.get("models", 0)
    levels = len(config["thresholds"]) if config.get("head") == "probability" else 0
    return 1 + 3 * levels + models * (1 + levels)


def refuse_too_long(lead_steps: int, size: Sequence[int], where: str, fields: int = 1) -> None:
    """Errors: DeviceError if the frames (h, w) of a forecast, each of so many fields, would take
    more than half of the memory that is free.
    """
    needs, free = 4 * lead_steps * fields * math.prod(size), memory_allowed(None)
    if needs > free:
        raise DeviceError(
            f"{where}: {lead_steps} frames of {list(size)} need {two_digits(needs / 1e9)} GB, and"
            f" {two_digits(free / 1e9)} GB may be taken; free some, or forecast fewer."
        )


def refuse_other_timestep(config: Mapping[str, Any], minutes: float, where: str) -> None:
    """Errors: DataError where the data's frames are spaced otherwise than those the model was
    trained on.
    """
    if config["timestep_minutes"] != minutes and not is_for_any_grid(config):
        raise DataError(
            f"{where}: frames every {minutes:g} minutes, but the model was trained on"
            f" {config['timestep_minutes']:g}; give data of that spacing, or train a model on this."
        )
