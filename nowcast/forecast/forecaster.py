"""Make a forecast from past rain with a trained model."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nowcast.errors import DataError, InternalError
from nowcast.model.stacks import call_model
from nowcast.motion.advection import displacements
from nowcast.motion.estimation import estimate_motion
from nowcast.motion.frames import take_along, take_forward, window_displacement
from nowcast.motion.spacing import Spacing
from nowcast.probability.calibration import Calibration
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities, lead_slices
from nowcast.sequences.batch import speed_channel
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Forecaster:
    """A trained model, with everything needed to turn past into forecast rain in mm/h.

    timestep_minutes: spacing of the frames; None for frames without times.
    inputs: what the model sees in addition to the rain.
    moving: whether the model sees frames that were advected to the reference time.
    calibration: of a model that gives probabilities.
    rate: how the rate follows from probabilities; see `nowcast.probability.options`.
    pixel_km: height and width of a pixel, for a model for any grid.
    every: the model sees every n-th of the `input_steps` frames, counted back from the newest.
    """

    model: nn.Module
    scaling: Scaling
    input_steps: int
    lead_steps: int
    timestep_minutes: float | None
    inputs: Inputs = RAIN_ALONE
    moving: bool = False
    calibration: Calibration | None = None
    rate: str = "csi"
    pixel_km: float | None = None
    every: int = 1

    @property
    def spacing(self) -> Spacing | None:
        """The spacing of the frames, if pixel size and time step are known."""
        if self.pixel_km is None or self.timestep_minutes is None:
            return None
        return Spacing(self.pixel_km, self.timestep_minutes, self.every)

    @property
    def seen_steps(self) -> int:
        """Number of past frames that the model sees."""
        return -(-self.input_steps // self.every)

    def halo(self) -> int:
        """Return how many pixels around a pixel its forecast depends on, for a `Local` model."""
        model: Any = self.model
        spacing = (self.spacing,) if getattr(model, "wants_spacing", False) else ()
        halo: int = model.halo(self.seen_steps, self.lead_steps, *spacing)
        return halo

    def __call__(self, past: Tensor) -> Tensor:
        """A raw window as described by `Inputs`, (b, t, 1 + k, h, w) → forecast rates (b, lead, 1,
        h, w) in mm/h; see `forecast`.
        """
        return self.forecast(past).rates

    @torch.inference_mode()
    def forecast(self, past: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Forecast:
        """A raw window as described by `Inputs`, (b, t, 1 + k, h, w) → forecast in mm/h.

        Channel 0 is the rain in mm/h; NaN = not covered. A forecast pixel is NaN if no past frame
        covers it, or if its rain would come from outside the grid. If only some frames lack a
        pixel, it counts as dry in those. The forecast is float32 in any precision of the model.

        network: computes the model's values; default `self.values`. For a large grid, it works in
        tiles.
        Errors: DataError if the past is infinite, InternalError if the model gives no finite
        number.
        """
        motion = self.motion(past) if self.moving else None
        return self.forecast_along(past, motion, network)

    def motion(self, past: Tensor) -> Tensor:
        """Estimate the motion of a raw window: (b, 2, hc, wc) in pixels per timestep."""
        return motion_of_past(self._thinned(past)[:, : self.seen_steps, 0]) / self.every

    def forecast_along(
        self,
        past: Tensor,
        motion: Tensor | None,
        network: Callable[[Tensor], Tensor] | None = None,
    ) -> Forecast:
        """Return the forecast of a raw window whose motion is known; see `forecast`.

        It has no branch that depends on values, apart from `refuse_unfinished`, so it can be
        traced.

        Args:
            past: (b, t, 1 + k, h, w).
            motion: (b, 2, hc, wc) in pixels per timestep, x then y; None in the fixed frame.
            network: computes the model's values; default `self.values`.
        """
        network, past = network or self.values, self._thinned(past)
        if motion is None:
            return Forecast(self.rates(network(past), past))
        seen = self._taken_along(past, motion)
        values = network(seen)
        way = displacements(motion, self.lead_steps, backward=True)
        if self.calibration is None:
            rates = take_forward(self.rates(values, seen), way)
            return Forecast(where_covered(rates, past))
        probabilities = self._probabilities(self.calibration, values, way, seen, past)
        return Forecast(self.calibration.rates(probabilities, self.rate), probabilities)

    def _probabilities(
        self, calibration: Calibration, values: Tensor, way: Tensor, seen: Tensor, past: Tensor
    ) -> Probabilities:
        """Turn logits in the moving frame into probabilities in the fixed frame, in which the
        calibration was fitted; `way` is the displacement.
        """
        parts = []
        for leads in lead_slices(self.lead_steps):
            moving = where_covered(values[:, leads], seen).sigmoid()
            forward = where_covered(take_forward(moving, way[:, leads]), past)
            parts.append(calibration.probabilities(forward.logit(), leads).values)
        return Probabilities(calibration.thresholds, torch.cat(parts, dim=1))

    def values(self, seen: Tensor) -> Tensor:
        """The model's output for a raw window as the model sees it: (b, lead, c, h, w) scaled
        rates, or logits of probabilities, in float32.

        It depends only on the past nearby, so a large grid can be computed in tiles.
        """
        past = seen[:, : self.seen_steps]
        frames = self.inputs.frames(past, self.scaling)
        ahead = self.inputs.ahead_frames(seen, self.seen_steps)
        values = call_model(
            self.model, frames, self.lead_steps, ahead=ahead, newest=past[:, -1, 0],
            spacing=self.spacing,
        ).float()  # fmt: skip
        refuse_unfinished(values, seen)
        return values

    def rates(self, values: Tensor, past: Tensor) -> Tensor:
        """Scaled rates (b, lead, 1, h, w) as the model gives them, and their past → rates in mm/h,
        NaN where no past frame covers a pixel.
        """
        rates = self.scaling.unscale(values.float())
        refuse_unfinished(rates, past)
        return where_covered(rates, past)

    def without(self, raw: Tensor, missing: Tensor) -> Tensor:
        """A raw window with rain missing in some past frames, `missing` (b, n) → as the model sees
        it.

        In the moving frame, a missing frame is replaced later, after advection, so here it is NaN.
        """
        if not self.moving:
            return self.inputs.without(raw, missing)
        return blank(raw, missing)

    def _thinned(self, past: Tensor) -> Tensor:
        """Return the frames of a raw window that the model sees, ending with the newest."""
        if self.every == 1 or past.shape[1] == self.seen_steps:
            return past
        return past[:, (self.input_steps - 1) % self.every :: self.every]

    def _taken_along(self, past: Tensor, motion: Tensor) -> Tensor:
        """Return the raw window in the moving frame; frames without pixels are replaced there."""
        size, steps = (past.shape[-2], past.shape[-1]), self.seen_steps
        displacement = window_displacement(motion * self.every, steps, past.shape[1] - steps, size)
        seen = take_along(past, displacement, steps)
        missing = past[:, :steps, 0].isnan().all(dim=(2, 3))
        newest = torch.zeros_like(missing[:, -1:])
        seen = self.inputs.without(seen, torch.cat([missing[:, :-1], newest], dim=1))
        if self.inputs.speed:
            seen = torch.cat([seen, speed_channel(seen, motion, self.spacing)], dim=2)
        return seen


def turned(forecast: Forecast, turn: Callable[[Tensor], Tensor]) -> Forecast:
    """Return a forecast whose fields (…, h, w) are turned."""
    rates, probabilities = turn(forecast.rates), forecast.probabilities
    if probabilities is None:
        return Forecast(rates)
    return Forecast(rates, replace(probabilities, values=turn(probabilities.values)))


def motion_of_past(rain: Tensor) -> Tensor:
    """Past rain (b, t, h, w) in mm/h → its motion (b, 2, hc, wc) in pixels per timestep."""
    motions = [estimate_motion(case) for case in rain.float().cpu().numpy()]
    return torch.from_numpy(np.stack(motions)).to(rain.device)


def blank(raw: Tensor, missing: Tensor) -> Tensor:
    """Return a raw window (b, t, 1 + k, h, w) without the rain of past frames `missing` (b, n)."""
    blanked = raw.clone()
    blanked[:, : missing.shape[1], :1].masked_fill_(missing[:, :, None, None, None], math.nan)
    return blanked


def refuse_unfinished(values: Tensor, past: Tensor) -> None:
    """Refuse a value (b, lead, c, h, w) that is not finite at a pixel that some past frame (b, t,
    1 + k, h, w) covers.

    Errors: DataError if the past is infinite, else InternalError.
    """
    if torch.compiler.is_exporting():  # a graph cannot refuse
        return
    uncovered = past[:, :, :1].isnan().all(dim=1, keepdim=True)
    if (values.isfinite() | uncovered).all():
        return
    if past.isinf().any():
        raise DataError("the past holds infinite values; set missing pixels to NaN.")
    raise InternalError(
        "the model's forecast is not finite; use an earlier checkpoint, or precision=fp32."
    )


def where_covered(rates: Tensor, past: Tensor) -> Tensor:
    """Return rates (b, lead, c, h, w) with NaN where no past frame (b, t, 1 + k, h, w) covers a
    pixel.
    """
    return rates.masked_fill(past[:, :, :1].isnan().all(dim=1, keepdim=True), math.nan)
