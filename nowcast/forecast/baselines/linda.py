"""LINDA: rain that grows and fades around each shower as it moves along.

Settings are those of pysteps' own example, which restricts the showers to 15 to save time: a case
of 190 × 228 pixels takes about 10 s of one core then, and 20 s with pysteps' default of 25.
"""

from dataclasses import dataclass

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.baselines import LINDA_FRAMES, Forecast, Making
from nowcast.forecast.baselines.advection import Advection
from nowcast.radar.grid import WET_RATE

SHOWERS = 15
"""At most so many have kernels and an autoregression of their own."""


def build_linda(making: Making) -> Forecast:
    return Advection(making.name, making.lead_steps, making.remarks, Linda(making.lead_steps))


@dataclass(frozen=True)
class Linda:
    """LINDA (Pulkkinen et al. 2021), deterministic: the change of rain in mm/h, smoothed by an
    elliptical kernel and continued by an autoregression, both estimated around each shower.

    pysteps refuses rain without a shower of some pixels (`ValueError`).
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
