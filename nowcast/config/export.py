"""Configuration of `nowcast export`: types and limits."""

from dataclasses import dataclass
from typing import Any

from nowcast.config.checks import height_and_width
from nowcast.config.named_paths import one_or_several
from nowcast.errors import ConfigError
from nowcast.pretrained import checkpoint_paths


@dataclass
class ExportConfig:
    """All keys of `nowcast export`."""

    # one path; Any, so that the error message is ours and not OmegaConf's
    checkpoint: Any
    grid_size: list[int]
    output: str | None

    def __post_init__(self) -> None:
        checkpoints = checkpoint_paths(one_or_several("checkpoint", self.checkpoint))
        if len(checkpoints) != 1:
            raise ConfigError(
                f"checkpoint: {len(checkpoints)} models given, but only one can be exported; give"
                " one, or forecast with the checkpoints."
            )
        self.checkpoint = checkpoints[0]
        height_and_width("grid_size", self.grid_size)
        if self.output is not None and not self.output.endswith(".onnx"):
            raise ConfigError(f"output: must end in .onnx, not {self.output!r}.")
