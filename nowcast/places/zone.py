"""Times in a time zone of the user's choice.

Nothing heavy is imported here.
"""

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nowcast.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


def zone_of(key: str, name: str) -> tzinfo:
    """Return the time zone of a name, such as Europe/Berlin.

    The zones come from the system, or from the package tzdata on a system without them.

    Raises:
        ConfigError: if no zone has this name; names the key.
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
    """Return a time in UTC as a time in a zone, to the second."""
    utc: datetime = time.astype("datetime64[s]").item()
    return utc.replace(tzinfo=UTC).astimezone(zone)


def clock(time: "np.datetime64", zone: tzinfo) -> str:
    """Return a clock time with the name of its zone, such as 14:25 CEST.

    A zone whose name is only a number gives, for example, 17:45 UTC+05:45.
    """
    moment = local(time, zone)
    return f"{moment:%H:%M} {zone_name(moment)}"


def clocks(start: "np.datetime64", end: "np.datetime64", zone: tzinfo) -> str:
    """Return a time span as "at 14:25 CEST" or "from 14:25 to 14:40 CEST"."""
    first, last = local(start, zone), clock(end, zone)
    if start == end:
        return f"at {last}"
    is_same = first.tzname() == local(end, zone).tzname()
    return f"from {f'{first:%H:%M}' if is_same else clock(start, zone)} to {last}"


def zone_name(moment: datetime) -> str:
    """Return the short name of a time's zone, such as CEST, UTC or UTC+05:45."""
    name = f"{moment:%Z}"
    return name if name.isalpha() else f"UTC{moment.isoformat()[-6:]}"


def in_iso(time: "np.datetime64", zone: tzinfo) -> str:
    """Return a time as 2018-05-17T14:25:00+02:00; in UTC as 2018-05-17T12:25:00Z."""
    return local(time, zone).isoformat().replace("+00:00", "Z" if zone is UTC else "+00:00")
