"""A model of probabilities for radars of any pixel size and time step."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nowcast.model.detail import REACH, Detail
from nowcast.model.probability_head import ProbabilityModel
from nowcast.model.trend import Trend, interpolated
from nowcast.motion.spacing import Spacing
from nowcast.probability.neighbourhoods import (
    OCTAVES,
    levels_for,
    reach_of,
    width_of,
)

TICK = 10.0
"""Minutes that one step of the network covers."""

_USUAL = Spacing(pixel_km=1.0, minutes=5.0)
"""The spacing whose two constant inputs are zero."""

CONSTANTS = 2
"""Constant channels that give the network the pixel size and the time step."""


class AnyGridModel(ProbabilityModel):
    """A `ProbabilityModel` that works for any pixel size and time step.

        logit p(t) = L(t) + A(t) + T(t) + C(t) + D(t)

    L and A are those of `ProbabilityModel`, but the weights of the neighbourhoods are a function of
    their width in km and of the lead time t in minutes. The network C steps by 10 minutes, whatever
    the time step of the frames, and is interpolated in between: in the moving frame of reference a
    forecast changes slowly. D is a `Detail`, D₀ + D₁ · 5 min / t + D₂ · (5 min / t)². T is a
    `Trend`. Two constant channels hold the pixel size and the time step, as log2 of the ratios to
    1 km and to 5 minutes.

    Args:
        network: frames (b, t, channels + 2, h, w) → (b, steps, k, h, w); its last layer is named
            `output`.
        channels: channels of a frame before the two constant channels are added.
        thresholds: (k,) in mm/h, rising.
        mask: whether channel 1 of a frame marks where the rain, channel 0, was measured. Without
            it there is no `Trend`, because missing pixels would be taken for dry.

    Raises:
        ValueError: as for `ProbabilityModel`.

    Example:
        >>> from nowcast.model import EncoderForecaster
        >>> network = EncoderForecaster(1 + 2, [4], 3, 3, patch_size=2, output_channels=3)
        >>> model = AnyGridModel(network, channels=1, thresholds=[0.5, 1, 5])
        >>> frames, newest = torch.rand(2, 5, 1, 8, 8), 10 * torch.rand(2, 8, 8)
        >>> model(frames, 4, newest=newest, spacing=Spacing(pixel_km=2, minutes=15)).shape
        torch.Size([2, 4, 3, 8, 8])
    """

    octaves = OCTAVES

    of_neighbourhoods = ("offsets", "slopes", "trend.weights", "across.weights")

    wants_spacing = True
    """The model is also called with the spacing of its frames."""

    def __init__(
        self, network: nn.Module, channels: int, thresholds: Sequence[float], *, mask: bool = False
    ) -> None:
        super().__init__(network, thresholds)
        self.mask = mask
        self.detail = Detail(channels + CONSTANTS, len(thresholds))
        self.trend = Trend(len(thresholds), len(self.octaves))

    def _halo(self, input_steps: int, lead_steps: int, spacing: Spacing = _USUAL) -> int:
        """See `nowcast.model.stacks.Local`."""
        network: int = self.network.halo(input_steps, _ticks(spacing.minutes * lead_steps))  # type: ignore[operator]
        return max(network, reach_of(levels_for(spacing.pixel_km)), REACH)

    def forward(
        self,
        frames: Tensor,
        lead_steps: int,
        guide: Tensor | None = None,
        ahead: Tensor | None = None,
        newest: Tensor | None = None,
        spacing: Spacing = _USUAL,
    ) -> Tensor:
        """Return the logits of the probabilities (b, lead_steps, k, h, w), in float32.

        Args:
            frames: (b, t, c, h, w), scaled, missing pixels 0.
            lead_steps: frames to forecast.
            guide, ahead: None; this model neither feeds frames back nor takes fields ahead.
            newest: (b, h, w) rates of the newest frame in mm/h, NaN = missing.
            spacing: pixel size and time step of the frames.
        """
        if newest is None:
            raise ValueError("newest: give the rates of the newest frame.")
        minutes = [spacing.minutes * step for step in range(1, lead_steps + 1)]
        told = torch.cat([frames, _constants(frames, spacing)], dim=2)
        coarse = self.network(told, _ticks(minutes[-1]))
        leads = torch.tensor(minutes, device=frames.device) / _USUAL.minutes
        fading = leads.clamp(min=1.0)
        detail = self.detail(told, fading)
        with self.in_float32(frames):
            octaves = octaves_of(spacing.pixel_km)
            correction = between_ticks(coarse.float(), minutes) + detail.float()
            if self.mask:
                correction = correction + self._trend(frames.float(), octaves, fading, spacing)
            start = self.mixed(newest.float(), self._weights(leads, octaves))
            return self.ordered(self.across(start, fading) + correction)

    def _trend(
        self, frames: Tensor, octaves: Sequence[float], leads: Tensor, spacing: Spacing
    ) -> Tensor:
        rain, measured = frames[:, :, 0], frames[:, :, 1]
        trend: Tensor = self.trend(rain, measured, octaves, leads, _log_minutes(spacing))
        return trend

    def _weights(self, leads: Tensor, octaves: Sequence[float]) -> Tensor:
        """Return the weights (lead, k, s) of the neighbourhoods; `leads` in units of 5 minutes."""
        offsets, slopes = (interpolated(one, octaves) for one in (self.offsets, self.slopes))
        return self.mixture(leads, offsets, slopes)


def between_ticks(coarse: Tensor, minutes: Sequence[float]) -> Tensor:
    """Interpolate values given every 10 minutes to other lead times.

    Before the first step its value is used.

    Args:
        coarse: (b, n, k, h, w) at 10, 20, … minutes.
        minutes: (lead,) wanted lead times, at most 10 n.

    Returns:
        (b, lead, k, h, w).
    """
    shares = torch.zeros(len(minutes), coarse.shape[1])
    for row, time in zip(shares, minutes, strict=True):
        place = max(time / TICK - 1, 0.0)
        before, share = int(place), place - int(place)
        row[before] += 1 - share
        if share:  # at most the last step, which rounding may exceed
            row[min(before + 1, len(row) - 1)] += share
    if torch.equal(shares, torch.eye(len(minutes))):
        return coarse
    mixed = shares.to(coarse.device) @ coarse.flatten(2)
    found: Tensor = mixed.unflatten(2, coarse.shape[2:])
    return found


def _ticks(minutes: float) -> int:
    """Return how many steps of the network cover so many minutes."""
    return max(1, math.ceil(minutes / TICK - 1e-6))


def _constants(frames: Tensor, spacing: Spacing) -> Tensor:
    """Return the constant channels that hold the spacing, (b, t, 2, h, w)."""
    values = (
        math.log2(spacing.pixel_km / _USUAL.pixel_km),
        _log_minutes(spacing),
    )
    one = frames.new_tensor(values)[:, None, None]
    return one.expand(*frames.shape[:2], CONSTANTS, *frames.shape[-2:])


def octaves_of(pixel_km: float) -> list[float]:
    """Return log2(1 + width in km) of each neighbourhood, for pixels of this size."""
    return [math.log2(1 + width_of(level) * pixel_km) for level in range(levels_for(pixel_km))]


def _log_minutes(spacing: Spacing) -> float:
    """Return the time between the input frames, as log2 of its ratio to 5 minutes."""
    return math.log2(spacing.minutes * spacing.every / _USUAL.minutes)
