"""What a model sees: the rain, its mask, and the fields known beside and ahead of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nowcast.sequences.scaling import Scaling
from nowcast.sequences.scene import Scene

SPEED_SCALE = 50.0
"""Speed of the rain in km/h that a model sees as 1."""


class Channel(NamedTuple):
    """A field that a model sees as (value - offset) / scale, 0 where missing."""

    name: str
    offset: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Inputs:
    """The channels of a model's input, by name and in this order:

        the rain, scaled, 0 where missing
        mask           1 where it was measured, 0 where not
        beside         fields known with each frame
        speed          of the rain, in km/h; of frames that were taken along with it

    and of the input that it has for each lead time:

        ahead          fields known for each lead time

    They are made of a raw window (b, t, 1 + k, h, w), NaN = missing: the rain in mm/h, then the
    fields in their own units. Without fields ahead, t are the past frames. With some, the frames
    of the lead times follow, whose rain is not looked at. The speed is the last channel, and
    added when a window is taken along: `sequences.batch.speed_channel`.
    """

    mask: bool = False
    beside: tuple[Channel, ...] = ()
    ahead: tuple[Channel, ...] = ()
    speed: bool = False

    @property
    def raw_channels(self) -> int:
        """1 + k, of a window before it is taken along."""
        return 1 + len(self.beside) + len(self.ahead)

    @property
    def channels(self) -> int:
        """Channels of a past frame as the model sees it."""
        return 1 + self.mask + len(self.beside) + self.speed

    def of_scene(self, scene: Scene) -> Tensor:
        """The raw window (1, t, 1 + k, h, w) of a scene, its fields found by their names.

        Raises: KeyError: the scene lacks a field.
        """
        beside = [scene.beside[channel.name] for channel in self.beside]
        past = np.stack([scene.rates, *beside], axis=1)
        if self.ahead:
            ahead = np.stack([scene.ahead[channel.name] for channel in self.ahead], axis=1)
            shape = len(past) + len(ahead), self.raw_channels, *scene.size
            window = np.full(shape, np.nan, np.float32)
            window[: len(past), : past.shape[1]] = past
            window[len(past) :, past.shape[1] :] = ahead
            past = window
        return torch.from_numpy(past)[None]

    def window(self, raw: Tensor, input_steps: int) -> Tensor:
        """Past and future of a raw window as far as a forecast may see it: of the future, only the
        fields ahead.
        """
        if not self.ahead:
            return raw[:, :input_steps]
        known = raw.clone()
        known[:, input_steps:, : 1 + len(self.beside)] = torch.nan
        return known

    def frames(self, raw: Tensor, scaling: Scaling) -> Tensor:
        """Past frames of a raw window (b, t, 1 + k, h, w) → (b, t, channels, h, w).

        Raises: ValueError: k is not that of these inputs.
        """
        wanted = self.raw_channels + self.speed
        if raw.shape[2] != wanted:
            raise ValueError(
                f"raw: frames of {wanted} channels are wanted, not {tuple(raw.shape)}."
            )
        rain, beside, _, speed = raw.split(
            [1, len(self.beside), len(self.ahead), int(self.speed)], dim=2
        )
        measured = [(~rain.isnan()).to(rain.dtype)] if self.mask else []
        scaled = _scaled(beside, self.beside)
        return torch.cat(
            [scaling.scale(rain), *measured, *scaled, speed / SPEED_SCALE], dim=2
        ).nan_to_num(0.0)

    def ahead_frames(self, raw: Tensor, input_steps: int) -> Tensor | None:
        """A raw window (b, t + lead, 1 + k, h, w) → fields ahead (b, lead, a, h, w), if any."""
        if not self.ahead:
            return None
        future = raw[:, input_steps:, 1 + len(self.beside) : self.raw_channels]
        return torch.cat(_scaled(future, self.ahead), dim=2).nan_to_num(0.0)

    def without(self, raw: Tensor, missing: Tensor) -> Tensor:
        """A raw window (b, t, 1 + k, h, w), the rain of some past frames `missing` (b, n), never of
        all → as the model is to see it.

        A model with a mask channel is told: the rain is NaN. Any other would take that for dry, so
        it sees the frame before once more, or if there is none before, the one after.
        """
        past = missing.shape[1]
        rain, beside = raw[:, :past, :1], raw[:, :past, 1:]
        if self.mask:
            rain = rain.masked_fill(missing[:, :, None, None, None], torch.nan)
        else:
            steps = torch.arange(past, device=missing.device)
            there = ~missing[:, None]
            before = torch.where(there & (steps <= steps[:, None]), steps, -1).amax(dim=2)
            first = torch.where(there, steps, past - 1).amin(dim=2)
            instead = torch.where(before < 0, first, before)[:, :, None, None, None]
            rain = rain.gather(1, instead.expand(rain.shape))
        seen = torch.cat([rain, beside], dim=2)
        return seen if raw.shape[1] == past else torch.cat([seen, raw[:, past:]], dim=1)


def _scaled(fields: Tensor, channels: tuple[Channel, ...]) -> list[Tensor]:
    """Fields (b, t, k, h, w) in their own units → each (b, t, 1, h, w) as the model sees it."""
    return [
        (one - channel.offset) / channel.scale
        for one, channel in zip(fields.split(1, dim=2), channels, strict=False)
    ]


RAIN_ALONE = Inputs()
"""Nothing next to the rain."""
