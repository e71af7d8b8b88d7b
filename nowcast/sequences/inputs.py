"""The input channels of a model: rain, its mask, and further fields."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nowcast.sequences.scaling import Scaling
from nowcast.sequences.scene import Scene

SPEED_SCALE = 50.0
"""Speed of the rain in km/h that is scaled to 1."""


class Channel(NamedTuple):
    """A field that is scaled to (value - offset) / scale, 0 where missing."""

    name: str
    offset: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Inputs:
    """The channels of a model's input, by name and in this order:

        rain           scaled, 0 where missing
        mask           1 where the rain was measured, else 0
        `beside`       fields known with each frame
        speed          of the rain, in km/h; only for frames advected with the rain

    and of its input for each lead time:

        `ahead`        fields known for each lead time

    They are computed from a raw window (b, t, 1 + k, h, w), NaN = missing: the rain in mm/h, then
    the fields in their own units. Without fields ahead, t counts the past frames. With fields
    ahead, the frames of the lead times follow; their rain is not used. The speed is the last
    channel, added when a window is advected: `sequences.batch.speed_channel`.
    """

    mask: bool = False
    beside: tuple[Channel, ...] = ()
    ahead: tuple[Channel, ...] = ()
    speed: bool = False

    @property
    def raw_channels(self) -> int:
        """1 + k, the channels of a window before it is advected."""
        return 1 + len(self.beside) + len(self.ahead)

    @property
    def channels(self) -> int:
        """Channels of a past frame in the model's input."""
        return 1 + self.mask + len(self.beside) + self.speed

    def of_scene(self, scene: Scene) -> Tensor:
        """Return the raw window (1, t, 1 + k, h, w) of a scene; fields are found by name.

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
        """Return only the data of a raw window that a forecast may use: the past, and the fields
        ahead of the future.
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
                f"raw: frames must have {wanted} channels, not shape {tuple(raw.shape)}."
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
        """Return a raw window (b, t, 1 + k, h, w) with some past frames `missing` (b, n), but not
        all.

        For a model with a mask the missing rain is NaN. A model trained without the mask would take
        that for dry, so it gets a copy of the previous frame instead, or of the next frame if no
        previous one exists.
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
    """Fields (b, t, k, h, w) in their own units → scaled fields, each (b, t, 1, h, w)."""
    return [
        (one - channel.offset) / channel.scale
        for one, channel in zip(fields.split(1, dim=2), channels, strict=False)
    ]


RAIN_ALONE = Inputs()
"""Only rain as input."""
