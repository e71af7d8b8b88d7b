"""The methods of a forecast: the model or, if frames are missing, the next of the configured
fallbacks.

PyTorch is imported only by the methods that need it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nowcast.baselines import baseline_record
from nowcast.config.predict import MODEL, NONE, PredictConfig
from nowcast.errors import ConfigError, DataError, MissingInputError, TryLaterError
from nowcast.factories.models import (
    Model,
    fields_at_once,
    open_model,
    refuse_other_size,
    refuse_too_long,
    refuse_too_many_missing,
    size_seen,
    spacing,
    steps_at,
    steps_of,
    turn_for,
)
from nowcast.forecast.any_grid import is_for_any_grid, most_lead_steps
from nowcast.forecast.baselines.library import refuse_absent
from nowcast.forecast.file_accumulation import window_steps
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.places.rule import parse_rules
from nowcast.pretrained import checkpoint_name, data_of, model_names
from nowcast.probability.formulas import between
from nowcast.sequences.scene import Scene
from nowcast.service.input_window import (
    FrameReader,
    MissingFramesError,
    Need,
    UnknownSpacingError,
)
from nowcast.startup import without_garbage_collection
from nowcast.version import __version__

MODEL_DATA = "model_data"
"""The attribute of a forecast file that names the data its model was trained on."""
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True)
class Made:
    """A forecast, the scene it was made from, its method, and its provenance.

    reason: why the first method was not used.
    moving: whether the forecast is missing where its rain would come from outside the grid.
    """

    scene: Scene
    forecast: SceneForecast
    method: str
    made_with: Mapping[str, Any]
    reason: str | None = None
    moving: bool = False


class Methods:
    """The methods of a configuration; their model is opened once."""

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.model: Model | None = None
        self.checkpoints = config.checkpoints
        if config.checkpoint is not None:
            # it only lends its numbers of steps, so open it in a way that works on any machine
            lends_its_steps = replace(config, device="cpu", precision="fp32", max_memory_gb=None)
            self.model = open_model(
                self.checkpoints, config if config.baseline is None else lends_its_steps
            )
            if not is_for_any_grid(self.model.about["config"]):
                self._refuse_too_many_missing(steps_of(self.model)[0])
            if config.baseline is None:
                _refuse_rules_off_the_ladder(config, self.model.about["config"]["model"])
        # check now, rather than at night when a fallback is needed
        for name in config.baselines:
            refuse_absent(name, baseline_record(name).libraries)

    def prepare(self) -> None:
        """Do the part of the next forecast that does not need its newest frame."""
        if self.model is not None:
            self.model.prepare()

    def forecast(self, source: FrameReader, reference_time: np.datetime64) -> Made:
        """Forecast by the first method that has its frames, and knows their spacing.

        Errors: MissingInputError if no method has them; UnknownSpacingError if there is only one
        method; TryLaterError if the last of the methods is `none`.
        """
        reasons: list[str] = []
        for name in self.config.methods:
            if name == NONE:
                raise TryLaterError(
                    f"no forecast from {reference_time:.16} UTC: {'; '.join(reasons)}"
                )
            try:
                scene, forecast, made_with = (
                    self._by_model(source, reference_time)
                    if name == MODEL
                    else self._by_baseline(name, source, reference_time)
                )
            except (MissingInputError, UnknownSpacingError) as error:
                if name == self.config.methods[-1] and not reasons:
                    raise
                what = error.what if isinstance(error, MissingFramesError) else str(error)
                reasons.append(f"{name}: {what}")
            else:
                forecast = self._with_members(name, scene, forecast)
                moving = name != MODEL or self._model_moves()
                return Made(scene, forecast, name, made_with, "; ".join(reasons) or None, moving)
        raise MissingInputError(
            f"no forecast from {reference_time:.16} UTC: {'; '.join(reasons)}. Give the missing"
            " files."
        )

    def _with_members(self, name: str, scene: Scene, forecast: SceneForecast) -> SceneForecast:
        """Draw members. Errors: ConfigError if the first method gives no probabilities for this."""
        count = self.config.ensemble
        if count is None:
            return forecast
        if forecast.probabilities is None and name == self.config.methods[0]:
            raise ConfigError(
                f"ensemble: members are drawn from probabilities, but this {name} gives none; leave"
                " it out, or use a model with probabilities or lagrangian_probability."
            )
        with without_garbage_collection():
            from nowcast.forecast.members import with_members_of_scene
        return with_members_of_scene(forecast, scene.rates, count, self.config.seed)

    def _model_moves(self) -> bool:
        """Whether the model is one of the moving frame of reference."""
        about = self.model.about if self.model else {}
        frame = about.get("config", {}).get("model", {}).get("frame", "fixed")
        return bool(frame == "moving")

    def _by_model(
        self, source: FrameReader, at: np.datetime64
    ) -> tuple[Scene, SceneForecast, Mapping[str, Any]]:
        config, model = self.config, self.model
        assert model is not None and config.checkpoint is not None
        timestep, input_steps, lead_steps = self._steps_of_model(source, at)
        scene = source.scene(at, Need(input_steps, config.missing_frames, timestep))
        size = size_seen(model.about, scene)
        refuse_other_size(model.about["config"], size, config.data.path)
        fields = fields_at_once(model) + (config.ensemble or 0)
        refuse_too_long(lead_steps, scene.size, checkpoint_name(config.checkpoint), fields)
        _refuse_unplaced(config, scene)
        turn, remarks = turn_for(model.about, scene, config)
        forecast = model.forecast_of(scene, turn)
        remarks += forecast.remarks
        names = [checkpoint_name(one) for one in self.checkpoints]
        ours = [data_of(name) for name in names if name in model_names()]
        made_with = {
            "checkpoint": names if len(names) > 1 else names[0],
            **({MODEL_DATA: "; ".join(ours)} if ours else {}),
            "checkpoint_versions": model.about["versions"],
            **{key: model.about[key] for key in ("exported_from_sha256",) if key in model.about},
            "computed_on": model.computed_on,
            **({"remarks": "; ".join(remarks)} if remarks else {}),
        }
        return scene, forecast, made_with

    def _steps_of_model(
        self, source: FrameReader, at: np.datetime64
    ) -> tuple[np.timedelta64, int, int]:
        """Return the time step of the model's frames, and how many it sees and forecasts; for a
        model for any grid, those of the data.

        Errors: UnknownSpacingError if there are too few frames to know a time step for the model.
        """
        config, model = self.config, self.model
        assert model is not None and config.checkpoint is not None
        if not is_for_any_grid(model.about["config"]):
            timestep = spacing(model, config.checkpoint)
            return timestep, *self._steps_at(timestep, config.lead_steps)
        timestep = source.scene(at, Need(1, 0, None)).timestep
        try:
            input_steps, lead_steps = self._steps_at(timestep, config.lead_steps)
        except (ConfigError, DataError) as error:
            # a long spacing may be due to a gap, which another method can tolerate
            if len(config.methods) > 1 and source.scene(at, Need(3, 2, timestep)).missing[0]:
                raise UnknownSpacingError(str(error)) from error
            raise
        self._refuse_too_many_missing(input_steps)
        return timestep, input_steps, lead_steps

    def _steps_of_model_or_own(
        self, source: FrameReader, at: np.datetime64
    ) -> tuple[tuple[np.timedelta64, int, int], str]:
        """Like `_steps_of_model`; if the spacing of the frames is unknown, use the time step that
        the model was trained on, and return a remark.
        """
        try:
            return self._steps_of_model(source, at), ""
        except UnknownSpacingError:
            assert self.model is not None and self.config.checkpoint is not None
            timestep, asked = spacing(self.model, self.config.checkpoint), self.config.lead_steps
            minutes = float(timestep / _MINUTE)
            most = most_lead_steps(minutes)
            steps = self._steps_at(timestep, asked and min(asked, most))
            return (timestep, *steps), (
                f"the spacing of the frames is unknown; {minutes:g} minutes, that of the model, is"
                " assumed"
            )

    def _steps_at(self, timestep: np.timedelta64, asked: int | None) -> tuple[int, int]:
        """Return how many frames the model sees and forecasts at a time step; `asked` sets the
        latter.

        Errors: as `steps_at`; ConfigError if a sum does not fit them.
        """
        config, model = self.config, self.model
        assert model is not None and config.checkpoint is not None
        about, own = model.about["config"], steps_of(model)
        minutes, name = float(timestep / _MINUTE), checkpoint_name(config.checkpoint)
        input_steps, lead_steps = steps_at(about, own, name, minutes, asked)
        _refuse_unfit_sums(config, minutes, lead_steps)
        return input_steps, lead_steps

    def _refuse_too_many_missing(self, input_steps: int) -> None:
        refuse_too_many_missing("missing_frames", self.config.missing_frames, input_steps)

    def _by_baseline(
        self, name: str, source: FrameReader, at: np.datetime64
    ) -> tuple[Scene, SceneForecast, Mapping[str, Any]]:
        config = self.config
        (known, input_steps, lead_steps), remark = (
            self._steps_of_model_or_own(source, at)
            if self.model
            else ((None, *_steps(config, name)), "")
        )
        record = baseline_record(name)
        if config.baseline is None:  # a fallback uses the frames that exist
            input_steps = record.least_steps
        scene = source.scene(
            at, Need(input_steps, 0 if record.follows_rain else input_steps - 1, known)
        )
        refuse_too_long(lead_steps, scene.size, "lead_steps", 1 + (config.ensemble or 0))
        _refuse_unfit_sums(config, scene.timestep_minutes, lead_steps)
        _refuse_unplaced(config, scene)
        with without_garbage_collection():
            from nowcast.factories.baselines import open_baseline
        baseline = open_baseline(
            name, scene.grid, config.data, input_steps=input_steps, lead_steps=lead_steps,
            timestep_minutes=scene.timestep_minutes, members=config.members,
            seed=config.seed,
        )  # fmt: skip
        forecast = baseline.forecast_of(scene)
        remarks = [*filter(None, [remark]), *baseline.remarks]
        made_with = {
            "source": f"nowcast {__version__}: {baseline.method}",
            "references": baseline.references,
            **({"remarks": "; ".join(remarks)} if remarks else {}),
        }
        return scene, forecast, made_with


def _refuse_rules_off_the_ladder(config: PredictConfig, model: Mapping[str, Any]) -> None:
    """Errors: ConfigError if a warning rule has a rate outside the thresholds of the model, and no
    members are drawn from which its probability could be counted.
    """
    if model.get("head") != "probability" or config.ensemble is not None:
        return
    ladder = model["thresholds"]
    for rule in parse_rules(config.warnings.rules):
        if between(ladder, rule.rate) is None:
            raise ConfigError(
                f"warnings.rules.{rule.name}.rate: the model gives probabilities for {ladder[0]:g}"
                f" to {ladder[-1]:g} mm/h, not for {rule.rate:g}; give a rate in this range, or"
                " draw members, for example with ensemble=20."
            )


def _refuse_unfit_sums(config: PredictConfig, timestep_minutes: float, lead_steps: int) -> None:
    """Errors: ConfigError if a window of a sum does not fit the time step and the lead times."""
    lead_minutes = [timestep_minutes * (k + 1) for k in range(lead_steps)]
    for minutes in config.accumulations:
        window_steps(minutes, lead_minutes)


def _refuse_unplaced(config: PredictConfig, scene: Scene) -> None:
    """Errors: DataError, ConfigError if the grid cannot locate places or the user's own map."""
    if not config.asks_of_places and not config.has_own_map:
        return
    from nowcast.places.pixels import refuse_unplaced  # imports PROJ, which few forecasts need
    from nowcast.radar.placing.cropping import knows_degrees

    if config.asks_of_places:
        refuse_unplaced(scene.grid, config.data.path)
    if config.has_own_map and not knows_degrees(scene.place):
        raise ConfigError(
            f"page_map: {config.data.path} does not say where its pixels are on Earth, so"
            f" {config.page_map} cannot be drawn; leave the key out."
        )


def _steps(config: PredictConfig, name: str) -> tuple[int, int]:
    """Return input and lead steps. Errors: ConfigError if one is missing, with no checkpoint."""
    for key in ("input_steps", "lead_steps"):
        if getattr(config, key) is None:
            raise ConfigError(
                f"{key}: {name} has no checkpoint to take this from; give both input_steps and"
                " lead_steps."
            )
    assert config.input_steps is not None and config.lead_steps is not None
    return config.input_steps, config.lead_steps
