"""Times in file names."""

import re
from datetime import datetime

import numpy as np

# 201009260005, 20190610-000200, 20180824T1815, 2015-05-15T15:45:00Z, 2015-05-15_15-45: all parts
# with the same separator, no digits before or after. A match followed by an offset from UTC or a
# lead time (+N) is rejected, since it would mean another time.
_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)"
    r"[-_T ]?"
    r"(\d\d)([-_:]?)(\d\d)(?:\6(\d\d))?(?!\d|\+\d)"
)


def time_from_name(name: str) -> np.datetime64 | None:
    """Return the UTC time in a file name (to the minute or second) as datetime64[ns].

    None if the name holds no time, or two different ones.
    """
    times = {time for match in _TIME.finditer(name) if (time := _time_of(match)) is not None}
    return times.pop() if len(times) == 1 else None


def _time_of(match: re.Match[str]) -> np.datetime64 | None:
    year, _, month, day, hour, _, minute, second = match.groups(default="0")
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
    except ValueError:  # digits, but no date: 20191345
        return None
    return np.datetime64(time, "ns")
