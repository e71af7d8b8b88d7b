"""What a user may set of `nowcast export`: types and limits."""

from dataclasses import dataclass

from nowcast.config.checks import (
    height_and_width,
    not_empty,
)
from nowcast.errors import ConfigError
from nowcast.pretrained import checkpoint_path


@dataclass
class ExportConfig:
    """All of `nowcast export`."""

    checkpoint: str
    grid_size: list[int]
    output: str | None

    def __post_init__(self) -> None:
        not_empty("checkpoint", self.checkpoint)
        self.checkpoint = checkpoint_path(self.checkpoint)
        height_and_width("grid_size", self.grid_size)
        if self.output is not None and not self.output.endswith(".onnx"):
            raise ConfigError(f"output: an exported model ends in .onnx, unlike {self.output!r}.")
