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


def clock(time: "np.datetime64", zone: tzinfo) -> str:
    """Return a clock time with the name of its zone, as 14:25 CEST, or 17:45 UTC+05:45 of a zone
    whose name is only a number.
    """
    moment = local(time, zone)
    return f"{moment:%H:%M} {zone_name(moment)}"


def clocks(start: "np.datetime64", end: "np.datetime64", zone: tzinfo) -> str:
    """Return when something is: "at 14:25 CEST", or "from 14:25 to 14:40 CEST"."""
    first, last = local(start, zone), clock(end, zone)
    if start == end:
        return f"at {last}"
    is_same = first.tzname() == local(end, zone).tzname()
    return f"from {f'{first:%H:%M}' if is_same else clock(start, zone)} to {last}"


def zone_name(moment: datetime) -> str:
    """Return the short name of a time's zone, as CEST, UTC or UTC+05:45."""
    name = f"{moment:%Z}"
    return name if name.isalpha() else f"UTC{moment.isoformat()[-6:]}"


def in_iso(time: "np.datetime64", zone: tzinfo) -> str:
    """Return a time as 2018-05-17T14:25:00+02:00, or 2018-05-17T12:25:00Z in UTC."""
    return local(time, zone).isoformat().replace("+00:00", "Z" if zone is UTC else "+00:00")
