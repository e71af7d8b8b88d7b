"""The Lagrangian probability forecast: the probability of reaching a threshold is the fraction of a
neighbourhood of the advected rain that does (Germann and Zawadzki 2004, Theis et al. 2005).
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.baselines import Making
from nowcast.forecast.baselines.extrapolation import known_motion
from nowcast.motion.advection import displacements
from nowcast.motion.frames import take_forward
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import LADDER, Probabilities
from nowcast.probability.neighbourhoods import fractions, mixture_logits
from nowcast.probability.rates import median_rates


def build_lagrangian_probability(making: Making) -> "LagrangianProbability":
    return LagrangianProbability(making.name, making.lead_steps, making.remarks)


@dataclass(frozen=True)
class LagrangianProbability:
    """The past rain (b, t, h, w) [mm/h] → probabilities of the ladder, and their median as a rate.

    A pixel is missing (NaN) if its rain would come from outside the grid or from a missing pixel of
    the newest frame. A whole case is missing if fewer than two of its frames have a measured pixel,
    because its motion is then unknown.

    remarks: deviations from the method, each with its number of cases.
    """

    name: str
    lead_steps: int
    remarks: Counter[str]

    def __call__(self, past: Tensor) -> Forecast:
        cases = [Probabilities(LADDER, self._case(case)[None]) for case in past.float()]
        rates = torch.cat([median_rates(one) for one in cases])
        return Forecast(rates, Probabilities(LADDER, torch.cat([one.values for one in cases])))

    def _case(self, past: Tensor) -> Tensor:
        """(t, h, w) → (lead, k, h, w)."""
        motion = known_motion(past, self.name, self.remarks)
        if motion is None:
            return past.new_full((self.lead_steps, len(LADDER), *past.shape[1:]), math.nan)
        way = displacements(motion[None].to(past.device), self.lead_steps, backward=True)
        mixtures = self._mixtures(fractions(past[-1:], LADDER)[0], past[-1])
        leads = zip(mixtures, way.split(1, dim=1), strict=True)
        return torch.cat([take_forward(one[None, None], back)[0] for one, back in leads])

    def _mixtures(self, shares: Tensor, newest: Tensor) -> Iterator[Tensor]:
        """Fractions (scale, k, h, w) → (k, h, w) per lead time, NaN where the newest frame is."""
        offsets, slopes = (shares.new_tensor(values) for values in mixture_logits())
        for step in range(1, self.lead_steps + 1):
            weights = (offsets + slopes * math.log(step)).softmax(0)
            mixture = torch.einsum("s,skhw->khw", weights, shares)
            yield mixture.masked_fill(newest.isnan(), math.nan)
