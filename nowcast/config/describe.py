"""Configuration of `nowcast describe`: types and limits."""

from dataclasses import dataclass

from nowcast.config.checks import (
    at_least,
    height_and_width,
    steps,
)
from nowcast.config.models import LayerConfig, ModelConfig


@dataclass
class DescribeConfig:
    """All keys of `nowcast describe`."""

    model: ModelConfig
    other: ModelConfig | None
    layer: LayerConfig | None
    input_steps: int
    lead_steps: int
    grid_size: list[int]
    channels: int
    batch_size: int

    def __post_init__(self) -> None:
        steps("input_steps", self.input_steps)
        steps("lead_steps", self.lead_steps)
        at_least("channels", self.channels, 1)
        at_least("batch_size", self.batch_size, 1)
        height_and_width("grid_size", self.grid_size)
