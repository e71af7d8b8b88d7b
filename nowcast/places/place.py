"""Places that a user gives: in a CSV file, or one as latitude and longitude.

Nothing heavy is imported here.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.untrusted.files import refuse_irregular

COLUMNS = ("name", "latitude", "longitude", "radius")
"""Columns of a CSV file of places; the radius is optional."""
LARGEST_RADIUS = 1000.0
"""Largest radius of a circle in kilometres."""


@dataclass(frozen=True)
class Place:
    """A point on Earth, or a circle around it.

    Args:
        name: as the user gave it.
        latitude, longitude: in degrees north and east.
        radius: of the circle in kilometres; None for a point.

    Raises:
        ValueError: if a number is out of range; its message names the number.

    Example:
        >>> Place("Berlin", 52.5, 13.4, radius=10.0).radius
        10.0
    """

    name: str
    latitude: float
    longitude: float
    radius: float | None = None

    def __post_init__(self) -> None:
        if not -90 <= self.latitude <= 90:
            raise ValueError(f"the latitude must be from -90 to 90, not {self.latitude:g}")
        if not -180 <= self.longitude <= 360:
            raise ValueError(f"the longitude must be from -180 to 360, not {self.longitude:g}")
        if self.radius is not None and not 0 < self.radius <= LARGEST_RADIUS:
            raise ValueError(
                f"the radius must be above 0 and at most {LARGEST_RADIUS:g} km, not {self.radius:g}"
            )


def parse_place(key: str, given: Any) -> Place:
    """Return the place that a configuration key gives.

    Args:
        key: its name in the error.
        given: latitude and longitude, such as "52.5,13.4" or [52.5, 13.4].

    Raises:
        ConfigError: if that is not a place.
    """
    parts = given.split(",") if isinstance(given, str) else given
    try:
        if not isinstance(parts, Sequence) or any(isinstance(part, bool) for part in parts):
            raise ValueError("no list")
        latitude, longitude = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{key}: give latitude and longitude in degrees, as {key}=52.5,13.4, not"
            f" {given or 'nothing'}."
        ) from error
    try:
        return Place(f"{latitude:g}, {longitude:g}", latitude, longitude)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; give latitude, then longitude.") from error


def read_places(path: str | Path) -> list[Place]:
    """Read a CSV file of places.

    Args:
        path: of the file, in UTF-8: a line with the names of the columns (name, latitude,
            longitude and, if wanted, radius, in any order), then a line for each place. Units are
            degrees north and east, and kilometres. Without a radius, the place is a point.

    Returns:
        The places, in the order of the file.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is a device or a pipe, a line is not a place, or two places have the same
            name; names file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "places.csv"
        ...     _ = path.write_text("name,latitude,longitude\\nBerlin,52.5,13.4\\n")
        ...     read_places(path)
        [Place(name='Berlin', latitude=52.5, longitude=13.4, radius=None)]
    """
    path = Path(path).expanduser()
    found: dict[str, int] = {}
    places = []
    for line, row in _rows(path):
        place = _place(row, f"{path}, line {line}")
        if place.name in found:
            raise DataError(
                f"{path}, line {line}: {place.name!r} is the name of line {found[place.name]} too;"
                " give each place a name of its own."
            )
        found[place.name] = line
        places.append(place)
    if not places:
        raise DataError(f"{path}: holds no place; give a line for each, as Berlin,52.5,13.4.")
    return places


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line number and cells by column of each line with text. Errors: as `read_places`."""
    refuse_irregular(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); give a CSV file of places."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8; save it as CSV in UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if columns is None:
                columns = _columns(cells, where)
            elif len(cells) != len(columns):
                raise DataError(
                    f"{where}: has {len(cells)} cells, not {len(columns)}; separate them by commas,"
                    " and quote a name that has one."
                )
            else:
                yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: is no CSV ({error}).") from error


def _columns(cells: list[str], where: str) -> list[str]:
    columns = [cell.lower() for cell in cells]
    if len(set(columns)) == len(columns) and set(COLUMNS[:3]) <= set(columns) <= set(COLUMNS):
        return columns
    raise DataError(
        f"{where}: the first line must name the columns {', '.join(COLUMNS[:3])} and, if wanted,"
        f" {COLUMNS[3]} (in km), separated by commas, not {', '.join(cells)}."
    )


def _place(row: Mapping[str, str], where: str) -> Place:
    if not row["name"]:
        raise DataError(f"{where}: has no name; give each place one.")
    numbers = {name: _number(row[name], name, where) for name in COLUMNS[1:3]}
    radius = _number(row["radius"], "radius", where) if row.get("radius") else None
    try:
        return Place(row["name"], **numbers, radius=radius)
    except ValueError as error:
        raise DataError(f"{where}: {error}; correct it.") from error


def _number(text: str, name: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: the {name} {text!r} is no number; give one as 52.5.")
    return number
