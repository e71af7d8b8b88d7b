"""The model of `nowcast predict`, computed by PyTorch or ONNX Runtime."""

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
    """An opened trained model.

    about: config, place and versions, as in a checkpoint. computed_on: device and precision as
    text.
    """

    @property
    def about(self) -> Mapping[str, Any]: ...

    @property
    def computed_on(self) -> str: ...

    def forecast_of(self, scene: Scene, turn: Turn = AS_STORED) -> SceneForecast:
        """Forecast from a scene of `input_steps` frames, oriented as in the files.

        Frames and fields are turned for the model, and the forecast is turned back.
        Errors: DataError for a grid that the model does not accept; DeviceError for a grid too
        large for the memory.
        """

    def prepare(self) -> None:
        """Prepare the next forecast as far as possible before its newest frame arrives."""


def open_model(checkpoints: Sequence[str], config: PredictConfig) -> Model:
    """Open a checkpoint, an exported model, or several checkpoints as one model.

    Errors: as each; ConfigError if an exported model is one of several, or a model is given twice.
    """
    # importing PyTorch takes longer than everything else
    with without_garbage_collection():
        exported = [one for one in checkpoints if Path(one).suffix == SUFFIX]
        if exported and len(checkpoints) > 1:
            raise ConfigError(
                f"checkpoint: {exported[0]} is an exported model, and several models can only be"
                " combined as checkpoints; give the best.pt that it was exported from."
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
    """Refuse models that cannot be combined to one forecast.

    Args:
        configs: configuration of each model by name. A model for any grid takes the time step of
            the data and forecasts as far as the others.

    Raises:
        ConfigError: naming the first model that differs, and the setting.
    """
    (first, usual), *_ = sorted(configs.items(), key=lambda one: is_for_any_grid(one[1]))
    for name, config in configs.items():
        for key, words in _ALIKE.items():
            if is_for_any_grid(config) and key in ("timestep_minutes", "lead_steps"):
                continue
            theirs, ours = (_value(one, key) for one in (config, usual))
            if theirs != ours:
                raise ConfigError(
                    f"checkpoint: {words} of {name}: {theirs}, of {first}: {ours}; they must be the"
                    " same for models that make one forecast. Leave one of the models out."
                )


_ALIKE = {
    "timestep_minutes": "the minutes from frame to frame",
    "lead_steps": "the lead steps",
    "model.head": "the head",
    "model.thresholds": "the thresholds",
}
"""Settings that must be the same for models that make one forecast, with their names in messages.
"""


def _value(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key; None for thresholds of a model without probabilities."""
    if key == "model.thresholds" and config["model"].get("head") != "probability":
        return None
    found: Any = config
    for name in key.split("."):
        found = found.get(name)
    return found


def steps_of(model: Model) -> tuple[int, int]:
    """Return the numbers of input and forecast frames."""
    return model.about["config"]["input_steps"], model.about["config"]["lead_steps"]


def steps_at(
    config: Mapping[str, Any],
    own: tuple[int, int],
    checkpoint: str,
    minutes: float,
    lead_steps: int | None,
) -> tuple[int, int]:
    """Return the numbers of input and forecast frames of a model at a time step.

    Args:
        config: configuration of the model.
        own: its own numbers of input and forecast frames.
        checkpoint: its name in messages.
        minutes: the time step.
        lead_steps: the frames to forecast; None: as the model, or one hour with a model for any
            grid.

    Raises:
        ConfigError: if it cannot forecast so many; DataError if not even one.
    """
    if not is_for_any_grid(config):
        if lead_steps not in (None, own[1]):
            raise ConfigError(
                f"lead_steps: the model of {checkpoint} forecasts {own[1]} frames; leave it out, or"
                " choose a model for any grid, such as checkpoint=pretrained."
            )
        return own
    steps = usual_lead_steps(minutes) if lead_steps is None else lead_steps
    refuse_too_far(steps, minutes)
    return frames_seen(minutes)[0], steps


def spacing(model: Model, checkpoint: str) -> np.timedelta64:
    """Return the time step of the training. Errors: DataError if its frames had no times."""
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
    """Return how the frames of a scene are turned for a model, and remarks about it.

    Errors: DataError for a grid that the model does not accept.
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
    """Errors: ConfigError if not even the newest frame would be left."""
    if missing_frames >= input_steps:
        raise ConfigError(
            f"{key}: the model sees {input_steps} frames, and the newest must not be missing; "
            f"give {input_steps - 1} at most, not {missing_frames}."
        )


def log_missing(scene: Scene, *, mask: bool) -> None:
    """Log which frames are missing, and what the model gets instead."""
    instead = (
        "masked for the model"
        if mask
        else "the model has no mask and gets a copy of the frame before or after"
    )
    times = ", ".join(f"{time:.16}" for time in scene.times[scene.missing])
    log.warning("no frame at %s UTC: %s", times, instead)


def refuse_other_size(config: Mapping[str, Any], size: Sequence[int], where: str) -> None:
    """Errors: DataError if the model takes only frames of one size (h, w), and this is another."""
    wanted = config["model"].get("grid_size")
    if wanted not in (None, list(size)):
        raise DataError(
            f"{where}: frames of {list(size)}, but the model takes only frames of"
            f" model.grid_size={wanted}; give data of that size, or train another model on this"
            " size."
        )


def size_seen(about: Mapping[str, Any], scene: Scene) -> Sequence[int]:
    """Return the size (h, w) of the frames that a model sees: of its region, or the whole grid."""
    region = about.get("region")
    if region is None:
        return scene.size
    return [last - first for first, last in (region["rows"], region["columns"])]


def fields_at_once(model: Model) -> int:
    """Return how many fields (h, w) are in memory for each lead time during a forecast.

    These are the rate, and for each threshold the network's output, the advected probability and
    their sum; with several models also the forecast of each.
    """
    config = model.about["config"]["model"]
    models: int = model.about.get("models", 0)
    levels = len(config["thresholds"]) if config.get("head") == "probability" else 0
    return 1 + 3 * levels + models * (1 + levels)


def refuse_too_long(lead_steps: int, size: Sequence[int], where: str, fields: int = 1) -> None:
    """Errors: DeviceError if the frames (h, w) of a forecast, each with this many fields, would
    need more than half of the free memory.
    """
    needs, free = 4 * lead_steps * fields * math.prod(size), memory_allowed(None)
    if needs > free:
        raise DeviceError(
            f"{where}: {lead_steps} frames of {list(size)} need {two_digits(needs / 1e9)} GB, but"
            f" only {two_digits(free / 1e9)} GB may be used; free some memory, or forecast fewer"
            " frames."
        )


def refuse_other_timestep(config: Mapping[str, Any], minutes: float, where: str) -> None:
    """Errors: DataError if the data have another time step than the training of the model."""
    if config["timestep_minutes"] != minutes and not is_for_any_grid(config):
        raise DataError(
            f"{where}: frames every {minutes:g} minutes, but the model was trained on frames every"
            f" {config['timestep_minutes']:g} minutes; give data with that time step, or train a"
            " model on this one."
        )
