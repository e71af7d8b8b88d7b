"""A network and a baseline of a package of their own: see test_example_package.py."""

from dataclasses import dataclass

from torch import nn

from nowcast.baselines import BaselineRecord
from nowcast.config.models import ModelConfig


class Fading(nn.Module):
    @dataclass
    class Config(ModelConfig):
        kernel_size: int = 3

    def __init__(self, channels, kernel_size, output_channels=None):
        super().__init__()
        self.blur = nn.Conv2d(channels, output_channels or channels, kernel_size, padding="same")

    def forward(self, frames, lead_steps, guide=None):
        return self.blur(frames[:, -1]).unsqueeze(1).expand(-1, lead_steps, -1, -1, -1)


def build_half(making):
    return lambda past: past[:, -1:, None].expand(-1, making.lead_steps, -1, -1, -1) / 2


HALF = BaselineRecord("half", build_half, "half of the newest frame", "no publication")
