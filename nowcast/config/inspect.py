"""Configuration of `nowcast inspect`: types and limits."""

from dataclasses import dataclass

from nowcast.config.checks import (
    at_least,
)
from nowcast.config.data import (
    RadarConfig,
)


@dataclass
class InspectConfig:
    """All keys of `nowcast inspect`."""

    data: RadarConfig
    workers: int

    def __post_init__(self) -> None:
        at_least("workers", self.workers, 1)
