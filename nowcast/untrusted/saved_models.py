"""Check the description in a checkpoint or an exported model when it is read."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nowcast.errors import DataError

_MOST_STEPS = 10_000  # input or forecast frames
_YEAR = 366 * 1440  # minutes
_REGION = {"rows", "columns", "size", "y", "x", "crs"}
_PLACE = {"crs", "pixel", "unit", "ground", "first_row"}


def saved_model(about: Mapping[str, Any], path: str | Path) -> None:
    """Errors: DataError if the configuration and grid in a model file are not as nowcast writes
    them.
    """
    config, place = about.get("config"), about.get("place")
    if not isinstance(config, dict):
        raise DataError(
            f"{path}: contains no model configuration; give a model that 'nowcast train' or"
            " 'nowcast export' wrote."
        )
    for key in ("input_steps", "lead_steps"):
        value = config.get(key, 1)
        if type(value) is not int or not 1 <= value <= _MOST_STEPS:
            raise DataError(
                f"{path}: has {key}={value!r}, which must be a whole number from 1 to"
                f" {_MOST_STEPS}; train it again."
            )
    minutes = config.get("timestep_minutes")
    if minutes is not None and (
        type(minutes) not in (int, float) or not 1 / 60 <= minutes <= _YEAR
    ):
        raise DataError(
            f"{path}: has timestep_minutes={minutes!r}, which must be from a second to a year, in"
            " minutes; train it again."
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
            f"{path}: has {odd}={config[odd]!r}, which must be keys with values; train it again."
        )
    packages = about.get("packages", {})
    if not isinstance(packages, dict) or not all(isinstance(one, str) for one in packages.values()):
        raise DataError(
            f"{path}: has packages={packages!r}, which must be package names; train it again."
        )
    if place is not None and not _is_place(place):
        raise DataError(
            f"{path}: its description of the training grid is not valid; train it again."
        )
    region = about.get("region")
    if region is not None and not _is_region(region):
        raise DataError(
            f"{path}: its description of the training region is not valid; train it again."
        )


def _is_region(region: Any) -> bool:
    """Return whether this is a valid description of a region."""
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
    """Return whether this is a valid description of a grid."""
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
