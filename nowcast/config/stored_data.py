"""The data of a training, from the configuration that its checkpoint stores.

A checkpoint may come from a stranger, so every value is checked. The cache folder is not
taken from it, because the oldest files of a cache are deleted.
"""

from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from nowcast.config.data import DataConfig, MovingMnistConfig, RadarConfig
from nowcast.config.effects import group_values
from nowcast.errors import ConfigError

_KINDS: dict[str, type[DataConfig]] = {"radar": RadarConfig, "moving_mnist": MovingMnistConfig}
_NOT_TAKEN = ("cache", "cache_gb")
_LARGEST = 10**7


def stored_data(stored: Mapping[str, Any]) -> DataConfig:
    """Return the data that a checkpoint stores; keys that it lacks have their values in configs/.

    Errors: ConfigError for an unknown kind or key, or a value of another type or beyond its limits.
    """
    name = str(stored.get("name"))
    if name not in _KINDS:
        raise ConfigError(f"data: {name} is not a kind of data that this version knows.")
    kind = _KINDS[name]
    hints = get_type_hints(kind)
    taken = {key: value for key, value in stored.items() if key not in _NOT_TAKEN}
    for key, value in taken.items():
        if key not in hints:
            raise ConfigError(f"data.{key}: this version does not know this key.")
        if not _fits(value, hints[key]):
            raise ConfigError(f"data.{key}: the value has the wrong type or is too large.")
    values = {**group_values("data", name), **taken}
    return kind(**{one.name: values[one.name] for one in fields(kind)})


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type; whole numbers must not be too large."""
    if hint is Any:
        return True
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(one, get_args(hint)[0]) for one in value)
    if hint in (int, float):
        whole = type(value) is int and abs(value) <= _LARGEST
        return whole or (hint is float and type(value) is float)
    return type(value) is hint
