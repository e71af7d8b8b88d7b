"""LINDA: advection of rain whose growth and decay are extrapolated around each shower.

The settings are those of the example in pysteps, which uses at most 15 showers to save time: a case
of 190 × 228 pixels then takes about 10 s on one core, and 20 s with the default of 25 in pysteps.
"""

from dataclasses import dataclass

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.baselines import LINDA_FRAMES, Forecast, Making
from nowcast.forecast.baselines.advection import Advection
from nowcast.radar.grid import WET_RATE

SHOWERS = 15
"""The largest number of showers with their own kernel and autoregression."""


def build_linda(making: Making) -> Forecast:
    return Advection(making.name, making.lead_steps, making.remarks, Linda(making.lead_steps))


@dataclass(frozen=True)
class Linda:
    """LINDA (Pulkkinen et al. 2021), deterministic: the change of rain in mm/h, smoothed by an
    elliptical kernel and extrapolated by an autoregression, both estimated around each shower.

    pysteps raises `ValueError` for rain without a shower of several pixels.
    """

    lead_steps: int
    members: int = 1

    def suits(self, rain: Float64Array) -> bool:
        return bool((rain[-LINDA_FRAMES:] >= WET_RATE).any(axis=(1, 2)).all())

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past (t, h, w) [mm/h, NaN = missing], t ≥ 3, and its motion (2, h, w) → (1, lead,
        h, w).
        """
        from pysteps.nowcasts import get_method

        made: Float64Array = get_method("linda")(
            np.nan_to_num(rain[-LINDA_FRAMES:]),
            velocity,
            self.lead_steps,
            max_num_features=SHOWERS,
            add_perturbations=False,
            num_workers=1,
        )
        return made[np.newaxis]
