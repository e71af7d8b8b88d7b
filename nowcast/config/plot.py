"""What a user may set of `nowcast plot`: types and limits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowcast.config.checks import one_of, positive
from nowcast.config.data import RadarConfig
from nowcast.errors import ConfigError


@dataclass
class PlotConfig:
    """All of `nowcast plot`."""

    data: RadarConfig | None
    colours: str
    motion: bool
    columns: int
    probability: Any  # a number or None; a type of its own would be refused in words of OmegaConf
    frames_per_second: float
    output: str

    def __post_init__(self) -> None:
        one_of("colours", self.colours, ("radar", "colour_blind"))
        if not 1 <= self.columns <= 50:
            raise ConfigError(f"columns: a panel has 1 to 50, not {self.columns}.")
        if self.probability is not None:
            given = self.probability
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise ConfigError(
                    "probability: give a threshold of the file in mm/h, as probability=1, not"
                    f" {given}."
                )
            positive("probability", given)
        if not 0.1 <= self.frames_per_second <= 50:
            raise ConfigError(f"frames_per_second: give 0.1 to 50, not {self.frames_per_second:g}.")
        if Path(self.output).suffix not in (".png", ".gif", ".mp4"):
            raise ConfigError(
                f"output: a picture ends in .png, .gif or .mp4, unlike {self.output!r}."
            )
