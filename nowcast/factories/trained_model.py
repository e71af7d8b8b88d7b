"""A trained model, computed by PyTorch."""

import logging
import sys

from torch import Tensor
from tqdm import tqdm

from nowcast.config.predict import PredictConfig
from nowcast.factories.extra_inputs import raw_window
from nowcast.factories.windows import open_forecaster
from nowcast.forecast.any_grid import is_for_any_grid, on_grid
from nowcast.forecast.forecaster import turned
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.pooling import Part, scene_forecast_of
from nowcast.forecast.regional import forecast_within
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.forecast.streaming import WarmForecaster
from nowcast.forecast.tiling import choose_tiling, tiled_forecast
from nowcast.probability.forecast import Forecast
from nowcast.radar.placing.grid_match import AS_STORED, Turn
from nowcast.radar.placing.place import known_pixel_km
from nowcast.radar.placing.regions import find_region
from nowcast.sequences.scene import Scene
from nowcast.training.precision import choose_precision

log = logging.getLogger(__name__)


class TrainedModel:
    """A checkpoint as `nowcast.factories.models.Model`; a grid too large for the memory is forecast
    in tiles.
    """

    def __init__(self, checkpoint: str, config: PredictConfig) -> None:
        self.config = config
        self.precision = choose_precision(config.device, config.precision)
        forecaster, self.about = open_forecaster(checkpoint, self.precision, config.rate)
        self.forecaster, self.warm = forecaster, WarmForecaster(forecaster)
        self.for_any_grid = is_for_any_grid(self.about["config"])
        self.computed_on = str(self.precision)

    def prepare(self) -> None:
        with self.precision.autocast():
            self.warm.prepare()

    def forecast_of(self, scene: Scene, turn: Turn = AS_STORED) -> SceneForecast:
        return scene_forecast_of([self.part_of(scene, turn)], scene.size, self.config.rate)

    def part_of(self, scene: Scene, turn: Turn = AS_STORED) -> Part:
        """Return the forecast for the region that the model was trained on, or for the whole grid,
        on the CPU.

        Errors: DataError if the scene does not contain that region.
        """
        warm = self._set_to(scene) if self.for_any_grid else self.warm
        forecaster = warm.forecaster
        raw = raw_window(
            scene, self.about["config"], self.config.input_paths, forecaster.inputs,
            moving=forecaster.moving,
        )  # fmt: skip
        raw, stored = turn(raw), self.about.get("region")
        if stored is None:
            return Part(turned(self._forecast(warm, raw), turn).cpu(), forecaster.calibration)
        region = find_region(stored, scene.grid, self.config.data.path)
        made = forecast_within(
            forecaster,
            region.turned(turn, scene.size),
            raw,
            lambda part: self._forecast(warm, part),
        )
        return Part(turned(made, turn).cpu(), forecaster.calibration, region)

    def _set_to(self, scene: Scene) -> WarmForecaster:
        """Return a model for any grid with the pixel size and the time step of a scene.

        It stores nothing, because another thread may forecast another grid at the same time.
        """
        minutes, km = scene.timestep_minutes, known_pixel_km(scene.grid)
        return WarmForecaster(on_grid(self.forecaster, km, minutes, self.config.lead_steps))

    def _forecast(self, warm: WarmForecaster, raw: Tensor) -> Forecast:
        """Input frames of the model (1, t, 1 + k, h, w) → their forecast."""
        forecaster = warm.forecaster
        tiling = choose_tiling(
            forecaster, raw.shape, memory_allowed(self.config.max_memory_gb, self.precision.device)
        )
        device = self.precision.device
        if len(tiling.tiles) == 1:
            with self.precision.autocast():
                return warm.forecast(raw.to(device))
        log.info("forecast in %s", tiling)
        with (
            self.precision.autocast(),
            tqdm(
                desc="forecasting", unit="tile", leave=False, disable=None, file=sys.stderr
            ) as bar,
        ):

            def progress(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            return tiled_forecast(forecaster, raw, tiling, device, progress)
