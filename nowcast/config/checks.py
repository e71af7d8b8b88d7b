"""Checks of single values; each error names the key."""

import math
import re
from collections.abc import Collection, Sequence

from nowcast.baselines import RECORDS, baseline_names
from nowcast.errors import ConfigError
from nowcast.probability.options import MOST_MEMBERS

_MOST_STEPS = 10_000  # input or forecast frames


def one_of(key: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{key}: {value!r} is not one of {', '.join(choices)}.")


def a_baseline(key: str, name: str, *others: str) -> None:
    """Check the name of a baseline, or one of the others; installed packages are searched only for
    an unknown name.
    """
    if name not in (*RECORDS, *others):
        one_of(key, name, (*others[:1], *baseline_names(), *others[1:]))


def at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}: must be at least {least}, not {value}.")


def ensemble_size(members: int | None) -> None:
    """Check the number of members that are drawn from probabilities."""
    if members is not None and not 2 <= members <= MOST_MEMBERS:
        raise ConfigError(f"ensemble: must be from 2 to {MOST_MEMBERS}, not {members}.")


def steps(key: str, value: int) -> None:
    """Check a number of input or forecast frames."""
    if not 1 <= value <= _MOST_STEPS:
        raise ConfigError(f"{key}: must be from 1 to {_MOST_STEPS}, not {value}.")


def not_empty(key: str, value: str | None, wanted: str = "a path") -> None:
    if value is not None and not value.strip():
        raise ConfigError(f"{key}: is empty; give {wanted}.")


def positive(key: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{key}: must be above 0 and finite, not {value}.")


def not_negative(key: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(f"{key}: must be 0 or more and finite, not {value}.")


def share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}: is a share, from 0 to 1, not {value}.")


def sizes(key: str, values: Collection[int], count: int | None = None) -> None:
    """Check that there is one number above 0 for each layer."""
    if not values or min(values) < 1 or (count is not None and len(values) != count):
        each = "each layer" if count is None else f"each of {count} layers"
        raise ConfigError(
            f"{key}: give a number above 0 for {each}, as in [64, 64], not {list(values)}."
        )


def odd(key: str, value: int) -> None:
    if value < 1 or value % 2 == 0:
        raise ConfigError(f"{key}: must be an odd number above 0, not {value}.")


def height_and_width(key: str, values: Collection[int]) -> None:
    if len(values) != 2 or min(values) < 1:
        raise ConfigError(
            f"{key}: give height and width of the frames, as in [100, 100], not {list(values)}."
        )


def west_south_east_north(key: str, values: Sequence[float]) -> None:
    across = len(values) == 4 and values[0] > values[2] and values[2] + 360 - values[0] <= 180
    if len(values) != 4 or not ((values[0] < values[2] or across) and values[1] < values[3]):
        raise ConfigError(
            f"{key}: give west, south, east and north in degrees, rising, as in [5, 50, 8, 53], "
            f"or [170, -10, -170, 10] across the date line, not {list(values)}."
        )


def thresholds(key: str, values: Sequence[float], what: str = "rates in mm/h") -> None:
    if (
        not values
        or not all(isinstance(value, int | float) for value in values)
        or sorted(set(values)) != list(values)
        or values[0] <= 0
        or not math.isfinite(values[-1])
    ):
        raise ConfigError(
            f"{key}: give {what}, each above the one before, as in [0.5, 2, 10], not"
            f" {list(values)}."
        )


def device_and_precision(device: str, precision: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9]\d{0,3}))?", device):
        raise ConfigError(
            f"device: {device!r} is not one of auto, cpu, cuda, cuda:0, cuda:1, …, mps."
        )
    one_of("precision", precision, ("auto", "fp32", "bf16", "fp16"))
