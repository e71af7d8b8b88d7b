"""What a user may set of `nowcast export`: types and limits."""

from dataclasses import dataclass
from typing import Any

from nowcast.config.checks import height_and_width
from nowcast.config.named_paths import one_or_several
from nowcast.errors import ConfigError
from nowcast.pretrained import checkpoint_paths


@dataclass
class ExportConfig:
    """All of `nowcast export`."""

    # one path; a type of its own would be refused in words of OmegaConf
    checkpoint: Any
    grid_size: list[int]
    output: str | None

    def __post_init__(self) -> None:
        checkpoints = checkpoint_paths(one_or_several("checkpoint", self.checkpoint))
        if len(checkpoints) != 1:
            raise ConfigError(
                f"checkpoint: {len(checkpoints)} models, and one is exported; an exported model"
                " forecasts by itself. Give one, or forecast by all checkpoints."
            )
        self.checkpoint = checkpoints[0]
        height_and_width("grid_size", self.grid_size)
        if self.output is not None and not self.output.endswith(".onnx"):
            raise ConfigError(f"output: an exported model ends in .onnx, unlike {self.output!r}.")
