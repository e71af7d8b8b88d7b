"""Times in a time zone that a user asks for.

Nothing heavy is imported here.
"""

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nowcast.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


def zone_of(key: str, name: str) -> tzinfo:
    """Return the time zone of a name, as Europe/Berlin.

    The zones are those of the system, or of the package tzdata on a system that has none.

    Raises:
        ConfigError: naming the key, if no zone has this name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ConfigError(
            f"{key}: {name!r} is no time zone; give its name in the IANA database, as"
            f" {key}=Europe/Berlin, or UTC."
        ) from error


def local(time: "np.datetime64", zone: tzinfo) -> datetime:
    """Return a time in UTC as one of a time zone, to the second."""
    utc: datetime = time.astype("datetime64[s]").item()
    return utc.replace(tzinfo=UTC).astimezone(zone)


def in_iso(time: "np.datetime64", zone: tzinfo) -> str:
    """Return a time as 2018-05-17T14:25:00+02:00, or 2018-05-17T12:25:00Z in UTC."""
    return local(time, zone).isoformat().replace("+00:00", "Z" if zone is UTC else "+00:00")
