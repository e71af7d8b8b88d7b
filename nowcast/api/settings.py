"""Keys of a command as keyword arguments: the same names, values and limits."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from nowcast.config.data import RadarConfig
from nowcast.config.effects import default_values
from nowcast.errors import ConfigError

Config = TypeVar("Config")


def configured(
    command: str,
    schema: type[Config],
    allowed: Iterable[str],
    given: Mapping[str, Any],
    path: str,
    **fixed: Any,
) -> Config:
    """Return the configuration of a command: values from `fixed`, then `given`, then configs/.

    path: the name of the data in messages.
    Errors: ConfigError for a key that is not allowed, or a value beyond its limits.
    """
    strangers = sorted(set(given) - set(allowed))
    if strangers:
        raise ConfigError(
            f"{', '.join(strangers)}: no such setting here; choose among"
            f" {', '.join(sorted(allowed))}."
        )
    values = {**default_values(command), **given, **fixed}
    values["data"] = _radar({**default_values("predict")["data"], "path": path})
    return schema(**{field.name: values[field.name] for field in fields(schema)})  # type: ignore[arg-type]


def _radar(values: Mapping[str, Any]) -> RadarConfig:
    return RadarConfig(**{field.name: values[field.name] for field in fields(RadarConfig)})
