"""Periods of time, as used for the splits of the data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nowcast.errors import ConfigError

_ISO = re.compile(r"(?P<year>\d{4})-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?Z?)?")


@dataclass(frozen=True)
class Period:
    """Times from `start` to `end`, both included, in UTC."""

    start: np.datetime64
    end: np.datetime64

    def __contains__(self, time: np.datetime64) -> bool:
        return bool(self.start <= time <= self.end)

    def __str__(self) -> str:
        return (
            f"{np.datetime_as_string(self.start, unit='m')} to"
            f" {np.datetime_as_string(self.end, unit='m')}"
        )


def parse_period(key: str, first_and_last: Sequence[str]) -> Period:
    """Parse two ISO dates or times to a Period; a date means its whole day.

    Errors: ConfigError naming `key`.
    """
    if len(first_and_last) != 2:
        raise ConfigError(
            f"{key}: give the first and the last day, as in [2018-05-10, 2018-05-15], not"
            f" {list(first_and_last)}."
        )
    first, last = (parse_time(key, text) for text in first_and_last)
    end = (
        last + np.timedelta64(1, "D") - np.timedelta64(1, "ns")
        if len(first_and_last[1].strip()) <= 10
        else last
    )
    if end < first:
        raise ConfigError(
            f"{key}: ends ({first_and_last[1]}) before it starts ({first_and_last[0]})."
        )
    return Period(first, end)


def parse_time(key: str, text: str) -> np.datetime64:
    """Parse an ISO date or time in UTC to datetime64[ns]. Errors: ConfigError naming `key`."""
    iso = _ISO.fullmatch(text.strip())
    try:
        # years within the range of datetime64[ns]
        if iso is None or not 1678 <= int(iso["year"]) <= 2261:
            raise ValueError
        return np.datetime64(text.strip().removesuffix("Z"), "ns")
    except ValueError:
        raise ConfigError(
            f"{key}: {text!r} is not a time; write it in UTC as 2018-05-17 or 2018-05-17T12:00."
        ) from None


def refuse_overlap(periods: Mapping[str, Period]) -> None:
    """Errors: ConfigError if two of the named periods overlap, so that one leaks into the other."""
    for (a, first), (b, second) in combinations(periods.items(), 2):
        if first.start <= second.end and second.start <= first.end:
            raise ConfigError(f"{a} ({first}) and {b} ({second}) overlap; give each its own days.")
