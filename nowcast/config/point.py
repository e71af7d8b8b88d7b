"""Configuration of `nowcast point`: types and limits."""

from dataclasses import dataclass
from typing import Any

from nowcast.config.checks import not_empty
from nowcast.errors import ConfigError
from nowcast.places.place import parse_place
from nowcast.places.zone import zone_of


@dataclass
class PointConfig:
    """All keys of `nowcast point`."""

    place: Any  # text or a list; Any, so that the error message is ours
    places: str | None
    timezone: str

    def __post_init__(self) -> None:
        not_empty("places", self.places)
        if (self.place is None) == (self.places is None):
            raise ConfigError(
                "place, places: give one of them: latitude and longitude, such as place=52.5,13.4,"
                " or a CSV file, such as places=places.csv."
            )
        if self.place is not None:
            parse_place("place", self.place)
        zone_of("timezone", self.timezone)
