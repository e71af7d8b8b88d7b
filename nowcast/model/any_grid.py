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
"""Minutes of one step of the network into the future."""

_USUAL = Spacing(pixel_km=1.0, minutes=5.0)
"""The spacing whose two constant inputs are zero."""

CONSTANTS = 2
"""Channels that tell the network the pixel size and the time step."""


class AnyGridModel(ProbabilityModel):
    """A `ProbabilityModel` that is told the pixel size and the time step of its frames.

        logit p(t) = L(t) + A(t) + T(t) + C(t) + D(t)

    L and A are those of `ProbabilityModel`, but the weights of the neighbourhoods are a function of
    their width in km and of the lead time t in minutes. The network C steps by 10 minutes, whatever
    the time step of the frames is, and is interpolated between: in the moving frame of reference a
    forecast changes slowly. `Detail` D is D₀ + D₁ · 5 min / t + D₂ · (5 min / t)². T is the
    `Trend`. Two constant channels hold the pixel size and the time step, each as log2 of the ratio
    to 1 km and to 5 minutes.

    Args:
        network: frames (b, t, channels + 2, h, w) → (b, steps, k, h, w), with a last layer
            `output`.
        channels: of a frame as this model takes it.
        thresholds: (k,) in mm/h, rising.
        mask: whether channel 1 of a frame tells where the rain, channel 0, was measured. Without it
            there is no `Trend`, which would take what was not measured for dry.

    Raises:
        ValueError: as `ProbabilityModel`.

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
    """It is called with the spacing of its frames too."""

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
            guide, ahead: None: nothing is fed back, and nothing is known ahead.
            newest: (b, h, w) rates of the newest frame in mm/h, NaN = missing.
            spacing: of the frames.
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
        """The weights (lead, k, s) of the neighbourhoods, of `leads` in units of 5 minutes."""
        offsets, slopes = (interpolated(one, octaves) for one in (self.offsets, self.slopes))
        return self.mixture(leads, offsets, slopes)


def between_ticks(coarse: Tensor, minutes: Sequence[float]) -> Tensor:
    """Interpolate what is known at each step of 10 minutes.

    Before the first step its value holds.

    Args:
        coarse: (b, n, k, h, w) at 10, 20, … minutes.
        minutes: (lead,) that are wanted, at most 10 n.

    Returns:
        (b, lead, k, h, w).
    """
    shares = torch.zeros(len(minutes), coarse.shape[1])
    for row, time in zip(shares, minutes, strict=True):
        place = max(time / TICK - 1, 0.0)
        before, share = int(place), place - int(place)
        row[before] += 1 - share
        if share:  # of a last step that is reached but for rounding, all
            row[min(before + 1, len(row) - 1)] += share
    if torch.equal(shares, torch.eye(len(minutes))):
        return coarse
    mixed = shares.to(coarse.device) @ coarse.flatten(2)
    found: Tensor = mixed.unflatten(2, coarse.shape[2:])
    return found


def _ticks(minutes: float) -> int:
    """Steps of the network that reach so far."""
    return max(1, math.ceil(minutes / TICK - 1e-6))


def _constants(frames: Tensor, spacing: Spacing) -> Tensor:
    """The channels that tell the spacing, (b, t, 2, h, w)."""
    values = (
        math.log2(spacing.pixel_km / _USUAL.pixel_km),
        _log_minutes(spacing),
    )
    one = frames.new_tensor(values)[:, None, None]
    return one.expand(*frames.shape[:2], CONSTANTS, *frames.shape[-2:])


def octaves_of(pixel_km: float) -> list[float]:
    """Return log2(1 + width in km) of each neighbourhood, for pixels so wide."""
    return [math.log2(1 + width_of(level) * pixel_km) for level in range(levels_for(pixel_km))]


def _log_minutes(spacing: Spacing) -> float:
    """The time between the frames that are seen, as log2 of the ratio to 5 minutes."""
    return math.log2(spacing.minutes * spacing.every / _USUAL.minutes)
