"""What a model sees of the past: the rain, and beside it what was measured at all, the time of
day, and further fields.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Inputs:
    """The channels of a model's input, in this order:

        the rain, scaled, 0 where missing
        mask           1 where it was measured, 0 where not
        time_of_day    sine and cosine of the hour
        fields         (value - offset) / scale of each, 0 where missing

    They are made of raw frames (b, t, 1 + k, h, w): the rain in mm/h, then sine and cosine of the
    hour, then the fields in their own units, NaN = missing. `fields` holds the (offset, scale) of
    each.
    """

    mask: bool = False
    time_of_day: bool = False
    fields: tuple[tuple[float, float], ...] = ()

    @property
    def raw_channels(self) -> int:
        """1 + k."""
        return 1 + 2 * self.time_of_day + len(self.fields)

    @property
    def channels(self) -> int:
        """Of what the model sees."""
        return self.raw_channels + self.mask

    def frames(self, raw: Tensor, scaling: Scaling) -> Tensor:
        """Raw frames (b, t, 1 + k, h, w) → what the model sees of them, (b, t, channels, h, w).

        Errors: ValueError where k is not that of these inputs.
        """
        if raw.shape[2] != self.raw_channels:
            raise ValueError(
                f"raw: frames of {self.raw_channels} channels are wanted, not {tuple(raw.shape)}."
            )
        rain, clock, fields = raw.split([1, 2 * self.time_of_day, len(self.fields)], dim=2)
        measured = [(~rain.isnan()).to(rain.dtype)] if self.mask else []
        scaled = [
            (field - offset) / scale
            for field, (offset, scale) in zip(fields.split(1, dim=2), self.fields, strict=False)
        ]
        return torch.cat([scaling.scale(rain), *measured, clock, *scaled], dim=2).nan_to_num(0.0)

    def without(self, raw: Tensor, missing: Tensor) -> Tensor:
        """Raw frames (b, t, 1 + k, h, w), the rain of some of them `missing` (b, t), never of all →
        as the model is to see them.

        A model with a mask channel is told: the rain is NaN. Any other would take that for dry, so
        it sees the frame before once more, or where there is none before, the one after.
        """
        rain, beside = raw[:, :, :1], raw[:, :, 1:]
        if self.mask:
            rain = rain.masked_fill(missing[:, :, None, None, None], torch.nan)
        else:
            steps = torch.arange(missing.shape[1], device=missing.device).expand_as(missing)
            before = steps.masked_fill(missing, -1).cummax(dim=1).values
            first = (~missing).int().argmax(dim=1, keepdim=True)
            rain = rain[
                torch.arange(len(rain), device=rain.device)[:, None],
                torch.where(before < 0, first, before),
            ]
        return torch.cat([rain, beside], dim=2)


RAIN_ALONE = Inputs()
"""Nothing beside the rain."""
