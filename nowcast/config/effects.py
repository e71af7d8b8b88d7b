"""Which keys have an effect: a key that is set and has none is refused instead of ignored."""

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
"""Values of `field(metadata=…)` for the keys of `nowcast predict`: whether another value changes
the forecast, or changes only forecasts of methods that use past days (climatology).
"""


def shapes_unless(value: Any) -> Mapping[str, Any]:
    """Return the metadata of a key that was added later.

    With this value forecasts are unchanged, so the value is not recorded with them and older
    forecasts are not made again.
    """
    return {**SHAPES, "as_before": value}


def shaping_values(config: Any, made_of_days: bool, always: Collection[str] = ()) -> dict[str, Any]:
    """Return the keys that change a forecast, with their values: those in `always`, and those whose
    metadata says so. Every field must have this metadata.
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
    """Errors: ConfigError naming the keys of a command that are set but have no effect in this
    mode.

    A key is set if it differs from its value in configs/. effects: the modes in which each key has
    an effect. why: the reason, and what to do.
    """
    idle = [field.name for field in fields(config) if mode not in effects[field.name]]
    keys = [key for key in idle if not _same(getattr(config, key), default_values(command)[key])]
    if keys:
        raise ConfigError(f"{', '.join(keys)}: {why}")


@cache
def default_values(command: str) -> Mapping[str, Any]:
    """Return the keys of a command with their values in configs/, groups as dictionaries."""
    from omegaconf import OmegaConf

    path = configs_folder() / f"{command}.yaml"
    whole = OmegaConf.merge(OmegaConf.load(path.with_name("common.yaml")), OmegaConf.load(path))
    values: dict[str, Any] = OmegaConf.to_container(whole)  # type: ignore[assignment]
    for entry in values.pop("defaults"):
        for group, option in entry.items() if isinstance(entry, dict) else ():
            if option is not None and not group.startswith("override"):
                values[group] = group_values(group, option)
    return values


def group_values(group: str, option: str) -> dict[str, Any]:
    """Return the keys of an option of a group with their values in configs/, as of data=radar."""
    return _group(configs_folder() / group / f"{option}.yaml")


def _group(path: Path) -> dict[str, Any]:
    """Return the values of a group file, which override those of the base file that it names."""
    from omegaconf import OmegaConf

    own: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
    named = [
        path.with_name(f"{one}.yaml") for one in own.pop("defaults", []) if str(one).isidentifier()
    ]
    bases = [_group(base) for base in named if base.is_file()]
    return {key: value for values in (*bases, own) for key, value in values.items()}


def _same(value: Any, default: Any) -> bool:
    """Return whether a value equals its default. A group compares the keys that have defaults; a
    single word equals a list of it.
    """
    if is_dataclass(value) and isinstance(default, Mapping):
        return all(
            _same(getattr(value, field.name), default.get(field.name, getattr(value, field.name)))
            for field in fields(value)
        )
    if isinstance(value, list) and isinstance(default, str):
        return value == [default]
    return bool(value == default)


def configs_folder() -> Path:
    """Return the folder configs/: inside the installed package, or next to it in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"
