"""What a checkpoint or an exported model says of itself, checked as it is read."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nowcast.errors import DataError

_MOST_STEPS = 10_000  # frames that a model sees, or forecasts
_YEAR = 366 * 1440  # minutes
_REGION = {"rows", "columns", "size", "y", "x", "crs"}
_PLACE = {"crs", "pixel", "unit", "ground", "first_row"}


def saved_model(about: Mapping[str, Any], path: str | Path) -> None:
    """Errors: DataError if what a model carries of its configuration and of its grid is nothing
    that nowcast writes.
    """
    config, place = about.get("config"), about.get("place")
    if not isinstance(config, dict):
        raise DataError(
            f"{path}: carries no configuration of a model; give a model that 'nowcast train' or"
            " 'nowcast export' wrote."
        )
    for key in ("input_steps", "lead_steps"):
        value = config.get(key, 1)
        if type(value) is not int or not 1 <= value <= _MOST_STEPS:
            raise DataError(
                f"{path}: says {key}={value!r}, and a model has a whole number of them from 1 to"
                f" {_MOST_STEPS}; train it again."
            )
    minutes = config.get("timestep_minutes")
    if minutes is not None and (
        type(minutes) not in (int, float) or not 1 / 60 <= minutes <= _YEAR
    ):
        raise DataError(
            f"{path}: says timestep_minutes={minutes!r}, and frames are a second to a year apart,"
            " in minutes; train it again."
        )
    odd = next(
        (
            key
            for key in ("data", "inputs", "model", "scaling")
            if not isinstance(config.get(key, {}), dict)
        ),
        None,
    )
    if odd is not None:
        raise DataError(
            f"{path}: says {odd}={config[odd]!r}, and these are keys with values; train it again."
        )
    packages = about.get("packages", {})
    if not isinstance(packages, dict) or not all(isinstance(one, str) for one in packages.values()):
        raise DataError(
            f"{path}: says packages={packages!r}, and these are names of packages; train it again."
        )
    if place is not None and not _is_place(place):
        raise DataError(
            f"{path}: what it says of the grid of its training cannot be used; train it again."
        )
    region = about.get("region")
    if region is not None and not _is_region(region):
        raise DataError(
            f"{path}: what it says of the region of its training cannot be used; train it again."
        )


def _is_region(region: Any) -> bool:
    """Whether this is what a checkpoint says of a part of a grid."""
    if not isinstance(region, dict) or not region.keys() >= _REGION:
        return False
    pixels = [region[key] for key in ("rows", "columns", "size")]
    ends = [region[key] for key in ("y", "x")]
    return (
        isinstance(region["crs"], dict)
        and all(_is_pair(pair) and all(type(one) is int for one in pair) for pair in pixels)
        and all(0 <= first < last <= n for (first, last), n in zip(pixels, pixels[2], strict=False))
        and (
            ends == [None, None]
            or (
                all(_is_pair(pair) and _are_numbers(pair) for pair in ends)
                and all(last - first > 1 for first, last in pixels[:2])
            )
        )
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _is_place(place: Any) -> bool:
    """Whether this is what a checkpoint says of a grid."""
    if (
        not isinstance(place, dict)
        or not place.keys() >= _PLACE
        or not isinstance(place["crs"], dict)
    ):
        return False
    sizes = [place[key] for key in ("pixel", "ground") if place[key] is not None]
    words = [place[key] for key in ("unit", "first_row") if place[key] is not None]
    return (
        all(isinstance(size, list) and len(size) == 2 and _are_numbers(size) for size in sizes)
        and all(isinstance(word, str) for word in words)
        and all(
            isinstance(value, str) or _are_numbers(value if isinstance(value, list) else [value])
            for value in place["crs"].values()
        )
    )


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
