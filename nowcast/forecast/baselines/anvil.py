"""ANVIL: advection of rain whose growth and decay are extrapolated, scale by scale.

The settings are those of the example in pysteps.
"""

from dataclasses import dataclass

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.baselines import ANVIL_FRAMES, Forecast, Making
from nowcast.forecast.baselines.advection import Advection, extrapolate
from nowcast.forecast.baselines.cascades import cascade_levels
from nowcast.radar.grid import WET_RATE

WINDOW = 25
"""Standard deviation in pixels of the window in which the autoregression is estimated."""


def build_anvil(making: Making) -> Forecast:
    return Advection(making.name, making.lead_steps, making.remarks, Anvil(making.lead_steps))


@dataclass(frozen=True)
class Anvil:
    """ANVIL (Pulkkinen et al. 2020) on rain rates instead of vertically integrated liquid, which
    needs volume scans: the change of each scale in mm/h is extrapolated by an autoregression of
    order 2.

    The change of rain that entered the grid within the past frames is unknown. It is advected
    unchanged, so the missing pixels are the same as in an extrapolation.
    """

    lead_steps: int
    members: int = 1

    def suits(self, rain: Float64Array) -> bool:
        return bool((rain[-ANVIL_FRAMES:] >= WET_RATE).any(axis=(1, 2)).all())

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past (t, h, w) [mm/h, NaN = missing], t ≥ 4, and its motion (2, h, w) → (1, lead,
        h, w).
        """
        from pysteps.nowcasts import get_method

        made: Float64Array = get_method("anvil")(
            np.nan_to_num(rain[-ANVIL_FRAMES:]),
            velocity,
            self.lead_steps,
            n_cascade_levels=cascade_levels(rain.shape[1:]),
            ar_window_radius=WINDOW,
            ar_order=2,
            num_workers=1,
        )
        moved = extrapolate(rain[-1], velocity, self.lead_steps)
        return np.where(np.isnan(made), moved, made)[np.newaxis]
