"""Add detail at full resolution to a network that works on patches of several pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

FRAMES = 3
"""Number of newest frames used: they show how rain changes, and whether the change speeds up."""

WIDTH = 16
"""Channels of each convolution."""

_SPACING = (1, 2, 4)
"""Pixels between the points of each 3 × 3 convolution."""

FADING = 3
"""Parts of the output: D₀, which does not decay with lead time, D₁ and D₂."""

REACH = sum(_SPACING)
"""Distance in pixels to the furthest pixel that an output depends on."""


class Detail(nn.Module):
    """Three convolutions over the newest frames at full resolution, whose features give

        D(lead step n) = D₀ + D₁ / n + D₂ / n².

    Small structures matter most in the first minutes. D starts at zero. It is meant for the moving
    frame of reference: in the fixed frame the same pixel of two frames shows different rain.

    Args:
        channels: channels of a frame.
        output_channels: channels of a forecast frame.

    Example:
        >>> detail = Detail(1, output_channels=9)
        >>> detail(torch.rand(2, 5, 1, 8, 8), leads=torch.tensor([1.0, 2, 3, 4])).shape
        torch.Size([2, 4, 9, 8, 8])
    """

    def __init__(self, channels: int, output_channels: int) -> None:
        super().__init__()
        inputs = [FRAMES * channels, WIDTH, WIDTH]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(of, WIDTH, kernel_size=3, padding=apart, dilation=apart)
            for of, apart in zip(inputs, _SPACING, strict=True)
        )
        self.output = nn.Conv2d(len(_SPACING) * WIDTH, FADING * output_channels, kernel_size=1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, frames: Tensor, leads: Tensor) -> Tensor:
        """Return D (b, lead, output_channels, h, w), in float32 or wider.

        Args:
            frames: (b, t, c, h, w), scaled, missing pixels 0. With fewer than `FRAMES` frames the
                first one is repeated.
            leads: (lead,) n of each frame to forecast.
        """
        before = frames[:, :1].expand(-1, max(0, FRAMES - frames.shape[1]), -1, -1, -1)
        newest = torch.cat([before, frames[:, -FRAMES:]], dim=1).flatten(1, 2)
        features, seen = newest.to(memory_format=torch.channels_last), []
        for convolution in self.convolutions:
            features = functional.silu(convolution(features))
            seen.append(features)
        parts: Tensor = self.output(torch.cat(seen, dim=1))
        parts = parts.to(torch.promote_types(parts.dtype, torch.float32)).contiguous()
        share = 1 / leads.to(parts)[:, None, None, None]
        lasting, fading, fleeting = parts.unflatten(1, (FADING, -1))[:, None].unbind(dim=2)
        return torch.addcmul(torch.addcmul(lasting, fading, share), fleeting, share.square())
