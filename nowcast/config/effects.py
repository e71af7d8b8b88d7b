"""Which keys change something: a key that was set and changes nothing is refused, rather than
ignored.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nowcast.errors import ConfigError
from nowcast.version import PACKAGE

SHAPES: Mapping[str, Any] = {"shapes_forecast": True}
SHAPES_NOT: Mapping[str, Any] = {"shapes_forecast": False}
SHAPES_MADE_OF_DAYS: Mapping[str, Any] = {"shapes_forecast": "days"}
"""What a key of `nowcast predict` says of itself, as `field(metadata=…)`: whether another value of
it makes another forecast; or only another one by a method that is made of days of the past.
"""


def shapes_unless(value: Any) -> Mapping[str, Any]:
    """Return the metadata of a key that came later: with this value forecasts are as before, so the
    value is not recorded with them and older forecasts are not made again.
    """
    return {**SHAPES, "as_before": value}


def shaping_values(config: Any, made_of_days: bool, always: Collection[str] = ()) -> dict[str, Any]:
    """Return the keys that shape a forecast with their values: those of `always`, and of the other
    fields those that say so; each has to say whether it does.
    """
    wanted = (True, "days") if made_of_days else (True,)
    return {
        one.name: getattr(config, one.name)
        for one in fields(config)
        if (one.name in always or one.metadata["shapes_forecast"] in wanted)
        and (
            "as_before" not in one.metadata
            or getattr(config, one.name) != one.metadata["as_before"]
        )
    }


def refuse_without_effect(
    config: Any, command: str, effects: Mapping[str, Collection[str]], mode: str, why: str
) -> None:
    """Errors: ConfigError naming the keys of a command's configuration that are set and have no
    effect in this mode.

    effects: the modes in which each key has an effect. Set is what differs from the value in
    configs/. why: what the mode is, and what to do.
    """
    idle = [field.name for field in fields(config) if mode not in effects[field.name]]
    keys = [key for key in idle if not _same(getattr(config, key), default_values(command)[key])]
    if keys:
        raise ConfigError(f"{', '.join(keys)}: {why}")


@cache
def default_values(command: str) -> Mapping[str, Any]:
    """The keys of a command's configuration with their values in configs/, its groups as
    dictionaries.
    """
    from omegaconf import OmegaConf

    path = configs_folder() / f"{command}.yaml"
    whole = OmegaConf.merge(OmegaConf.load(path.with_name("common.yaml")), OmegaConf.load(path))
    values: dict[str, Any] = OmegaConf.to_container(whole)  # type: ignore[assignment]
    for entry in values.pop("defaults"):
        for group, option in entry.items() if isinstance(entry, dict) else ():
            if option is not None and not group.startswith("override"):
                values[group] = _group(path.parent / group / f"{option}.yaml")
    return values


def _group(path: Path) -> dict[str, Any]:
    """The values of a file of a group, above those of the file of the same group that it names
    first.
    """
    from omegaconf import OmegaConf

    own: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
    named = [
        path.with_name(f"{one}.yaml") for one in own.pop("defaults", []) if str(one).isidentifier()
    ]
    bases = [_group(base) for base in named if base.is_file()]
    return {key: value for values in (*bases, own) for key, value in values.items()}


def _same(value: Any, default: Any) -> bool:
    """Whether a value is its default; of a group each that has one, and a single word is a list
    of it.
    """
    if is_dataclass(value):
        return all(
            _same(getattr(value, field.name), default.get(field.name, getattr(value, field.name)))
            for field in fields(value)
        )
    if isinstance(value, list) and isinstance(default, str):
        return value == [default]
    return bool(value == default)


def configs_folder() -> Path:
    """The folder of values: inside the installed package, or next to it in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"
