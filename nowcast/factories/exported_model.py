"""An exported model, computed by ONNX Runtime.

PyTorch is imported only for fields next to the rain, and for missing frames in the fixed frame.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.config.predict import PredictConfig
from nowcast.console import two_digits
from nowcast.errors import ConfigError, DataError, DeviceError
from nowcast.factories.models import log_missing
from nowcast.forecast.exported import read_exported
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.radar.placing.grid_match import AS_STORED, Turn
from nowcast.sequences.scene import Scene
from nowcast.untrusted.saved_models import saved_model


class ExportedModel:
    """See `nowcast.factories.models.Model`. It takes frames of one size."""

    computed_on = "CPU, fp32, ONNX Runtime"

    def __init__(self, path: str, config: PredictConfig) -> None:
        for key, known in {"device": "cpu", "precision": "fp32"}.items():
            if getattr(config, key) not in ("auto", known):
                raise ConfigError(
                    f"{key}: an exported model runs on the CPU in fp32; leave {key} out, or"
                    " forecast with its checkpoint."
                )
        self.path, self.config, self.exported = path, config, read_exported(path)
        self.about: Mapping[str, Any] = self.exported.about
        saved_model(self.about, path)
        if config.rate != "csi":
            raise ConfigError(
                f"rate: {path} was exported with rate=csi; leave it out, or forecast with its"
                " checkpoint."
                if self.about.get("thresholds")
                else f"rate: the model of {path} gives rates, not probabilities; leave it out."
            )

    def prepare(self) -> None:
        """Do nothing: the model takes all frames at once."""

    def forecast_of(self, scene: Scene, turn: Turn = AS_STORED) -> SceneForecast:
        size = list(scene.size)
        if size != self.about["grid_size"]:
            raise DataError(
                f"{self.config.data.path}: frames of {size}, but {self.path} was exported for"
                f" {self.about['grid_size']}; export it with grid_size={size}, or forecast with its"
                " checkpoint."
            )
        needs, allowed = self.exported.memory_bytes, memory_allowed(self.config.max_memory_gb)
        if needs > allowed:
            raise DeviceError(
                f"{self.path}: needs {two_digits(needs / 1e9)} GB to forecast, but only"
                f" {two_digits(allowed / 1e9)} GB may be used, and an exported model does not"
                " forecast in tiles; free some memory, allow more (max_memory_gb), or forecast with"
                " its checkpoint."
            )
        forecast = self.exported.forecast(turn(self._raw(scene)))
        chances = forecast.probabilities
        return SceneForecast(
            turn(forecast.rates), chances and replace(chances, values=turn(chances.values))
        )

    def _raw(self, scene: Scene) -> NDArray[np.float32]:
        inputs = self.about["config"].get("inputs", {})
        fields = any(value for key, value in inputs.items() if key not in ("mask", "ahead"))
        moving, missing = self.exported.moving, bool(scene.missing.any())
        if not fields and (moving or not missing):
            if missing:
                log_missing(scene, mask=bool(inputs.get("mask")))
            rain: NDArray[np.float32] = scene.rates[np.newaxis, :, np.newaxis]
            return rain
        from nowcast.factories.extra_inputs import build_inputs, raw_window

        frames: NDArray[np.float32] = raw_window(
            scene, self.about["config"], self.config.input_paths,
            build_inputs(self.about["config"]), moving=moving,
        ).numpy()  # fmt: skip
        return frames
