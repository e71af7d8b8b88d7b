"""The type of a baseline."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.forecast.scene_forecast import SceneForecast, scene_forecast
from nowcast.probability.forecast import Forecast
from nowcast.sequences.scene import Scene


@dataclass(frozen=True)
class Baseline:
    """A forecast method without training, called like a `Forecaster`.

    name: as in `baseline=` and `model=` of the commands.
    members: how many forecasts it makes from one past; 1 if it is deterministic.
    method, references: what it does and where it was published, in words for a forecast file.
    forecast: the past rain (b, t, h, w) → (b, lead, m, h, w), both in mm/h, NaN = missing; or
        these rates with probabilities.
    remarks: deviations from the method so far, each with its number of cases.
    """

    name: str
    input_steps: int
    lead_steps: int
    timestep_minutes: float | None
    members: int
    method: str
    references: str
    forecast: Callable[[Tensor], Tensor | Forecast]
    remarks: Counter[str]

    def __call__(self, past: Tensor) -> Tensor:
        """The past (b, t, 1 + k, h, w), rain in mm/h in channel 0 → forecast rates (b, lead, m, h,
        w), float32, on the device of the past.

        NaN = missing, in both; a forecast is missing where its method cannot make one.
        """
        return self.expect(past).rates

    def expect(self, past: Tensor) -> Forecast:
        """The past (b, t, 1 + k, h, w), rain in mm/h in channel 0 → forecast rates, with
        probabilities if the method gives them.
        """
        made = self.forecast(past[:, :, 0].float())
        return made if isinstance(made, Forecast) else Forecast(made)

    def forecast_of(self, scene: Scene) -> SceneForecast:
        """Return the forecast of a scene."""
        made = self.expect(torch.from_numpy(scene.rates)[None, :, None])
        return scene_forecast(made, ensemble=self.members > 1)
