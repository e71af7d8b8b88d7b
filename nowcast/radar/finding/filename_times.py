"""Times written in the names of files."""

import re
from datetime import datetime

import numpy as np

# 201009260005, 20190610-000200, 20180824T1815, 2015-05-15T15:45:00Z, 2015-05-15_15-45: parts
# divided alike, digits on neither side;
# an offset from UTC, or a lead time, behind it makes it another time.
_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)"
    r"[-_T ]?"
    r"(\d\d)([-_:]?)(\d\d)(?:\6(\d\d))?(?!\d|\+\d)"
)


def time_from_name(name: str) -> np.datetime64 | None:
    """The time in UTC, datetime64[ns], that the name of a file holds to the minute or second.

    None where it holds none, or two that differ: which of them is meant it does not say.
    """
    times = {time for match in _TIME.finditer(name) if (time := _time_of(match)) is not None}
    return times.pop() if len(times) == 1 else None


def _time_of(match: re.Match[str]) -> np.datetime64 | None:
    year, _, month, day, hour, _, minute, second = match.groups(default="0")
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
    except ValueError:  # 20191345: digits, but no date
        return None
    return np.datetime64(time, "ns")
