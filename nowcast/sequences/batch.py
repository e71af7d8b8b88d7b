"""A batch of windows as the tensors that a model takes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from nowcast.motion.frames import take_along, window_displacement
from nowcast.motion.spacing import Spacing, speed
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Batch:
    """A batch of windows (b, t, 1, h, w); the first `input_steps` frames are the past, the others
    the future.

    rates: as measured [mm/h], NaN = missing.
    frames: the same, scaled, 0 where missing.
    mask: True where measured.
    past: the model's input of the past, (b, input_steps, c, h, w).
    ahead: the model's input for each lead time, (b, lead, a, h, w); None if it takes none.
    weights: (b,) weight of each window in the loss, 1 in the mean.
    motion: (b, 2, hc, wc) along which the windows were advected here; None if they were not.
    fixed_rates: (b, lead, 1, h, w) future rates before advection [mm/h], NaN = missing.
    spacing: pixel size and time step; None for frames without location or times.
    """

    rates: Tensor
    frames: Tensor
    mask: Tensor
    past: Tensor
    weights: Tensor
    input_steps: int
    ahead: Tensor | None = None
    motion: Tensor | None = None
    fixed_rates: Tensor | None = None
    spacing: Spacing | None = None

    def __post_init__(self) -> None:
        if self.rates.ndim != 5 or not self.rates.shape == self.frames.shape == self.mask.shape:
            shapes = [tuple(x.shape) for x in (self.rates, self.frames, self.mask)]
            raise ValueError(f"rates, frames and mask must all be (b, t, c, h, w), not {shapes}")

    @property
    def future(self) -> Tensor:
        return self.frames[:, self.input_steps :]

    @property
    def future_mask(self) -> Tensor:
        return self.mask[:, self.input_steps :]

    @property
    def newest_rates(self) -> Tensor:
        """(b, h, w) in mm/h, NaN = missing: the newest frame of the past."""
        return self.rates[:, self.input_steps - 1, 0]

    @property
    def future_rates(self) -> Tensor:
        return self.rates[:, self.input_steps :]

    @property
    def observed(self) -> Tensor:
        """(b, lead, 1, h, w) rates of the future in the fixed frame [mm/h], NaN = missing."""
        return self.future_rates if self.fixed_rates is None else self.fixed_rates

    def split(self, parts: int) -> list["Batch"]:
        """Split into `parts` consecutive batches, or fewer if there are fewer windows."""
        count = len(self.rates)
        ends = [count * k // parts for k in range(parts + 1)]
        return [self._some(slice(*pair)) for pair in pairwise(ends) if pair[0] < pair[1]]

    def _some(self, windows: slice) -> "Batch":
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        some: dict[str, Any] = {k: v[windows] for k, v in own.items() if isinstance(v, Tensor)}
        return replace(self, **some)


def build_batch(
    raw: Tensor,
    scaling: Scaling,
    input_steps: int,
    inputs: Inputs = RAIN_ALONE,
    weights: Sequence[float] | None = None,
    motion: Tensor | None = None,
    spacing: Spacing | None = None,
) -> Batch:
    """Build a batch from windows (b, t, 1 + k, h, w), rates in mm/h and then further fields, NaN =
    missing. `weights` are 1 by default. With a `motion` (b, 2, hc, wc) the windows are first
    advected with the rain, and the rain's speed is added if the model takes it.
    """
    fixed = None if motion is None else raw[:, input_steps:, :1]
    if motion is not None:
        size, lead_steps = (raw.shape[-2], raw.shape[-1]), raw.shape[1] - input_steps
        displacement = window_displacement(motion, input_steps, lead_steps, size)
        raw = take_along(raw, displacement, input_steps)
        if inputs.speed:
            raw = torch.cat([raw, speed_channel(raw, motion, spacing)], dim=2)
    rates = raw[:, :, :1]
    past = inputs.frames(raw[:, :input_steps], scaling)
    of_windows = (
        torch.ones(len(raw)) if weights is None else torch.tensor(weights, dtype=torch.float32)
    )
    return Batch(
        rates,
        scaling.scale(rates).nan_to_num(0.0),
        ~rates.isnan(),
        past,
        of_windows.to(raw.device),
        input_steps=input_steps,
        ahead=inputs.ahead_frames(raw, input_steps),
        motion=motion,
        fixed_rates=fixed,
        spacing=spacing,
    )


def speed_channel(
    window: Tensor, motion: Tensor, spacing: Spacing | None, corner: tuple[int, int] = (0, 0)
) -> Tensor:
    """Return the speed of the rain in km/h, as a further input channel of a window.

    Args:
        window: (b, t, c, h, w), advected with the rain.
        motion: (b, 2, hc, wc), the motion along which it was advected.
        spacing: its pixel size and time step.
        corner: row and column of its first pixel.

    Returns:
        (b, t, 1, h, w).

    Raises:
        ValueError: the spacing is not known.
    """
    if spacing is None:
        raise ValueError("spacing: a speed needs the pixel size and the time step.")
    size = (window.shape[-2], window.shape[-1])
    return speed(motion, spacing, size, corner).expand(-1, window.shape[1], -1, -1, -1)
