"""Configuration of `nowcast plot`: types and limits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowcast.config.checks import one_of, positive
from nowcast.config.data import RadarConfig
from nowcast.errors import ConfigError
from nowcast.places.zone import zone_of


@dataclass
class PlotConfig:
    """All keys of `nowcast plot`."""

    data: RadarConfig | None
    colours: str
    motion: bool
    columns: int
    map: str
    probability: Any  # a number or None; Any, so that the error message is ours
    accumulation: Any
    accumulation_probability: Any
    timezone: str
    members: bool
    lead_time: Any
    frames_per_second: float
    output: str

    def __post_init__(self) -> None:
        one_of("colours", self.colours, ("radar", "colour_blind"))
        if not 1 <= self.columns <= 50:
            raise ConfigError(f"columns: must be from 1 to 50, not {self.columns}.")
        if self.has_own_map and Path(self.map).suffix not in (".geojson", ".json"):
            raise ConfigError(
                f"map: {self.map!r} is neither natural_earth, nor none, nor a GeoJSON file such as"
                " catchments.geojson."
            )
        a_number("probability", self.probability, "a threshold of the file in mm/h, as", 1)
        a_number("accumulation", self.accumulation, "minutes that the file has sums over, as", 60)
        a_number(
            "accumulation_probability", self.accumulation_probability,
            "a threshold of the file's sums in mm, as", 2,
        )  # fmt: skip
        if self.accumulation_probability is not None and self.accumulation is None:
            raise ConfigError(
                "accumulation_probability: needs the minutes of the sum; add accumulation=60."
            )
        zone_of("timezone", self.timezone)
        a_number("lead_time", self.lead_time, "a lead time of the file in minutes, as", 30)
        self._check_members()
        if not 0.1 <= self.frames_per_second <= 50:
            raise ConfigError(
                f"frames_per_second: must be from 0.1 to 50, not {self.frames_per_second:g}."
            )
        if Path(self.output).suffix not in (".png", ".gif", ".mp4"):
            raise ConfigError(f"output: must end in .png, .gif or .mp4, not {self.output!r}.")

    @property
    def has_own_map(self) -> bool:
        """Whether the lines of the user's GeoJSON file are drawn."""
        return self.map not in ("natural_earth", "none")

    def _check_members(self) -> None:
        if not self.members:
            if self.lead_time is not None:
                raise ConfigError("lead_time: is only for members=true; leave it out.")
            return
        for key in ("motion", "probability", "accumulation"):
            if getattr(self, key):
                raise ConfigError(
                    f"{key}: cannot be drawn with members=true; leave one of them out."
                )
        if Path(self.output).suffix != ".png":
            raise ConfigError(
                f"output: members=true draws one picture, not {self.output!r}; give a .png."
            )


def a_number(key: str, value: Any, wanted: str, example: int) -> None:
    """Errors: ConfigError if the value is neither None nor a number above 0."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}: give {wanted} {key}={example}, not {value}.")
    positive(key, value)
