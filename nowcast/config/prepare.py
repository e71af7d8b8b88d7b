"""Configuration of `nowcast prepare`: types and limits."""

from dataclasses import dataclass

from nowcast.config.checks import (
    at_least,
    not_empty,
    one_of,
    positive,
    west_south_east_north,
)
from nowcast.config.data import (
    RadarConfig,
)
from nowcast.errors import ConfigError


@dataclass
class PrepareConfig:
    """All keys of `nowcast prepare`."""

    data: RadarConfig
    period: list[str] | None
    crop: list[float] | None
    pixel_size: float | None
    grid: str | None
    timestep_minutes: float | None
    speckle_neighbours: int
    on_bad_file: str
    workers: int
    output: str

    def __post_init__(self) -> None:
        not_empty("output", self.output)
        one_of("on_bad_file", self.on_bad_file, ("skip", "fail"))
        at_least("workers", self.workers, 1)
        for key in ("pixel_size", "timestep_minutes"):
            if getattr(self, key) is not None:
                positive(key, getattr(self, key))
        if not 0 <= self.speckle_neighbours <= 8:
            raise ConfigError(
                "speckle_neighbours: a pixel has 8 neighbours; give 0 (off) to 8, not"
                f" {self.speckle_neighbours}."
            )
        if self.pixel_size is not None and self.grid is not None:
            raise ConfigError(
                "pixel_size, grid: give only one of them; a grid has its own pixel size."
            )
        if self.crop is not None:
            west_south_east_north("crop", self.crop)
