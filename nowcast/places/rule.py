"""Rules for warnings from a forecast.

Nothing heavy is imported here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nowcast.errors import ConfigError
from nowcast.places.place import Place, parse_place

_KEYS = ("rate", "probability", "within", "area", "place")
_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Rule:
    """A rule: warn if a rate is likely to be reached, anywhere in an area or at a place.

    Args:
        name: of the rule.
        rate: in mm/h.
        probability: least probability of reaching the rate, above 0 and at most 1.
        within: minutes from the reference time.
        area: path of a GeoJSON file with an area in each feature; or None.
        place: the place; or None.
    """

    name: str
    rate: float
    probability: float
    within: float
    area: str | None = None
    place: Place | None = None


def parse_rules(given: Mapping[str, Any]) -> list[Rule]:
    """Return the rules of `warnings.rules` by their names.

    Raises:
        ConfigError: if a rule is invalid; names its key.
    """
    return [_rule(str(name), about) for name, about in given.items()]


def _rule(name: str, about: Any) -> Rule:
    key = f"warnings.rules.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{key}: name a rule by letters, digits, - and _ only.")
    wrong = _wrong(about)
    if wrong:
        raise ConfigError(
            f"{key}: {wrong}; give {{rate: 10, probability: 0.3, within: 60, area: areas.geojson}},"
            " or place: [52.5, 13.4] instead of area."
        )
    numbers = []
    for one, most in (("rate", 1e4), ("probability", 1.0), ("within", 1e4)):
        value = about[one]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise ConfigError(f"{key}.{one}: give a number above 0, {most:g} at most, not {value}.")
        numbers.append(float(value))
    rate, probability, within = numbers
    if "place" in about:
        return Rule(
            name, rate, probability, within, place=parse_place(f"{key}.place", about["place"])
        )
    if not isinstance(about["area"], str) or not about["area"].strip():
        raise ConfigError(f"{key}.area: give the path of a GeoJSON file, not {about['area']!r}.")
    return Rule(name, rate, probability, within, area=about["area"])


def _wrong(about: Any) -> str:
    """Return what is wrong with the keys of a rule; empty if nothing is."""
    if not isinstance(about, Mapping):
        return f"takes names with values, not {about!r}"
    missing = [one for one in _KEYS[:3] if one not in about]
    if missing:
        return f"needs {' and '.join(missing)} too"
    unknown = [str(one) for one in about if one not in _KEYS]
    if unknown:
        return f"has no key {', '.join(unknown)}"
    if ("area" in about) == ("place" in about):
        return "needs one of area and place"
    return ""
