"""From past rain to forecast rain by a trained model."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nowcast.errors import InternalError
from nowcast.model.stacks import call_model
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Forecaster:
    """A trained model with all that stands between it and rain in mm/h.

    timestep_minutes: spacing of the frames it was trained on; None for frames without times.
    inputs: what the model sees beside the rain.
    """

    model: nn.Module
    scaling: Scaling
    input_steps: int
    lead_steps: int
    timestep_minutes: float | None
    inputs: Inputs = RAIN_ALONE

    @torch.inference_mode()
    def __call__(self, past: Tensor) -> Tensor:
        """A raw window as `Inputs` has it, (b, t, 1 + k, h, w) → forecast rates (b, lead, 1, h, w)
        in mm/h.

        Channel 0 is the rain in mm/h; NaN = not covered. A pixel that no past frame covers is NaN
        in the forecast; where only some frames lack it, it is dry in those. The forecast is
        float32 in any precision of the model.

        Errors: InternalError where the model gives no number.
        """
        frames = self.inputs.frames(past[:, : self.input_steps], self.scaling)
        ahead = self.inputs.ahead_frames(past, self.input_steps)
        return self.rates(call_model(self.model, frames, self.lead_steps, ahead=ahead), past)

    def rates(self, forecast: Tensor, past: Tensor) -> Tensor:
        """What the model gives, (b, lead, 1, h, w), and the past that it is of → the same as of
        a call.
        """
        rates = self.scaling.unscale(forecast.float())
        if not rates.isfinite().all():
            raise InternalError(
                "the model's forecast is not finite; use an earlier checkpoint, or precision=fp32."
            )
        return where_covered(rates, past)


def where_covered(rates: Tensor, past: Tensor) -> Tensor:
    """Forecast rates (b, lead, 1, h, w), NaN where no frame of the past (b, t, 1 + k, h, w)
    covers a pixel.
    """
    return rates.masked_fill(past[:, :, :1].isnan().all(dim=1, keepdim=True), math.nan)
