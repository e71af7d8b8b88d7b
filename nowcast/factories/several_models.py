"""Several trained models combined to one forecast."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nowcast.config.predict import PredictConfig
from nowcast.errors import ConfigError, DataError
from nowcast.factories.models import refuse_other_size, refuse_unlike, size_seen, turn_for
from nowcast.forecast.any_grid import frames_seen, is_for_any_grid, refuse_too_far
from nowcast.forecast.pooling import Part, scene_forecast_of
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.probability.options import MOST_MEMBERS
from nowcast.radar.placing.grid_match import AS_STORED, Turn
from nowcast.sequences.scene import Scene

if TYPE_CHECKING:
    from nowcast.factories.trained_model import TrainedModel


class SeveralModels:
    """Several models as one `nowcast.factories.models.Model`.

    They may see different numbers of frames and different fields; each sees the newest frames of
    the scene.
    Errors: ConfigError if they do not forecast the same quantity.
    """

    def __init__(self, models: Mapping[str, "TrainedModel"], config: PredictConfig) -> None:
        if len(models) > MOST_MEMBERS:
            raise ConfigError(
                f"checkpoint: {len(models)} models given, but at most {MOST_MEMBERS} can make one"
                " forecast; give fewer."
            )
        configs = {name: model.about["config"] for name, model in models.items()}
        refuse_unlike(configs)
        self.models, self.config = models, config
        self.about: Mapping[str, Any] = {
            "config": config_of_all(configs),
            "versions": [model.about["versions"] for model in models.values()],
            "models": len(models),
        }
        self.computed_on = next(iter(models.values())).computed_on
        if not is_for_any_grid(self.about["config"]):
            self._set_those_for_any_grid()

    def prepare(self) -> None:
        for model in self.models.values():
            model.prepare()

    def forecast_of(self, scene: Scene, turn: Turn = AS_STORED) -> SceneForecast:
        """Forecast with each model, which turns the frames itself, and combine the forecasts."""
        parts, remarks = list[Part](), list[str]()
        for name, model in self.models.items():
            try:
                own, said = turn_for(model.about, scene, self.config)
                refuse_other_size(
                    model.about["config"], size_seen(model.about, scene), self.config.data.path
                )
                parts.append(model.part_of(_newest(scene, _frames(model, scene)), own))
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
            remarks += [f"{name}: {remark}" for remark in said]
        made = scene_forecast_of(parts, scene.size, self.config.rate)
        return replace(made, remarks=(*remarks, *made.remarks))

    def _set_those_for_any_grid(self) -> None:
        """Let models for any grid forecast as far as the other models."""
        steps, minutes = (self.about["config"][key] for key in ("lead_steps", "timestep_minutes"))
        for model in self.models.values():
            if model.for_any_grid:
                refuse_too_far(steps, minutes)
                model.config = replace(self.config, lead_steps=steps)


def config_of_all(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the common configuration of models that make one forecast.

    It sees as many frames as the model that sees most, and is for any grid if all models are.
    """
    usual = min(configs.values(), key=is_for_any_grid)
    minutes, model = usual["timestep_minutes"], dict(usual["model"])
    moving = any(one["model"]["frame"] == "moving" for one in configs.values())
    seen = max(
        frames_seen(minutes)[0] if is_for_any_grid(one) else one["input_steps"]
        for one in configs.values()
    )
    model.pop("grid_size", None)  # each model checks its own
    return {
        **usual,
        "input_steps": seen,
        "model": {**model, "frame": "moving" if moving else "fixed"},
    }


def _frames(model: "TrainedModel", scene: Scene) -> int:
    """Return the number of frames of a scene that a model sees."""
    if model.for_any_grid:
        return frames_seen(scene.timestep_minutes)[0]
    steps: int = model.about["config"]["input_steps"]
    return steps


def _newest(scene: Scene, count: int) -> Scene:
    """Return the scene with only its newest frames."""
    newest = slice(len(scene.missing) - count, None)
    return replace(
        scene,
        grid=scene.grid.isel(time=newest),
        missing=scene.missing[newest],
        filled=scene.filled[newest],
    )
