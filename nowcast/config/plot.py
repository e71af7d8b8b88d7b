"""What a user may set of `nowcast plot`: types and limits."""

from dataclasses import dataclass
from pathlib import Path

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
    probability: float | None
    frames_per_second: float
    output: str

    def __post_init__(self) -> None:
        one_of("colours", self.colours, ("radar", "colour_blind"))
        if not 1 <= self.columns <= 50:
            raise ConfigError(f"columns: a panel has 1 to 50, not {self.columns}.")
        if self.probability is not None:
            positive("probability", self.probability)
        if not 0.1 <= self.frames_per_second <= 50:
            raise ConfigError(f"frames_per_second: give 0.1 to 50, not {self.frames_per_second:g}.")
        if Path(self.output).suffix not in (".png", ".gif", ".mp4"):
            raise ConfigError(
                f"output: a picture ends in .png, .gif or .mp4, unlike {self.output!r}."
            )
