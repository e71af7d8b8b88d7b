"""Configuration of the data: the source of frames, the inputs of the model and the sampling of
training windows.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nowcast.config.checks import at_least, not_empty, not_negative, one_of, positive, share
from nowcast.config.effects import SHAPES, SHAPES_MADE_OF_DAYS, SHAPES_NOT
from nowcast.errors import ConfigError
from nowcast.radar.reading.options import ReadOptions
from nowcast.sequences.options import Sampling
from nowcast.untrusted.addresses import check_address, is_address


@dataclass(frozen=True)
class DataConfig:
    """The source of frames; `name` is the kind of source."""

    name: str = dataclasses.field(metadata=SHAPES_NOT)
    path: str = dataclasses.field(metadata=SHAPES)


@dataclass(frozen=True, kw_only=True)
class RadarConfig(ReadOptions, DataConfig):
    """Radar files, metadata that they may lack, and the days of training, validation and test."""

    cache: str | None = dataclasses.field(metadata=SHAPES_NOT)
    cache_gb: float = dataclasses.field(metadata=SHAPES_NOT)
    train: list[str] | None = dataclasses.field(metadata=SHAPES_MADE_OF_DAYS)
    validation: list[str] | None = dataclasses.field(metadata=SHAPES_NOT)
    test: list[str] | None = dataclasses.field(metadata=SHAPES_NOT)

    def __post_init__(self) -> None:
        not_empty("data.path", self.path)
        if is_address(self.path):
            check_address(self.path)
        not_empty("data.cache", self.cache)
        positive("data.max_rate", self.max_rate)
        positive("data.cache_gb", self.cache_gb)
        if self.accumulation_minutes is not None:
            positive("data.accumulation_minutes", self.accumulation_minutes)
        one_of("data.above_max_rate", self.above_max_rate, ("mask", "clip"))
        for key in ("missing_value", "dry_value"):
            object.__setattr__(self, key, _numbers(key, getattr(self, key)))
        both = {*_list(self.missing_value)} & {*_list(self.dry_value)}
        if both:
            raise ConfigError(
                f"data.missing_value, data.dry_value: {min(both):g} cannot mean both; give it in"
                " one of them."
            )
        numbers = (
            isinstance(self.zr, list)
            and len(self.zr) == 2
            and all(
                isinstance(one, int | float) and not isinstance(one, bool) and 0 < one < math.inf
                for one in self.zr
            )
        )
        if not (self.zr is None or isinstance(self.zr, str) or numbers):
            raise ConfigError(
                "data.zr: give a and b of Z = a R^b, as in [200, 1.6], or the name of a relation,"
                f" not {self.zr}."
            )


def _numbers(key: str, given: Any) -> float | list[float] | None:
    """Return numbers as the files store them. Errors: ConfigError if they are not numbers."""
    if given is None:
        return None
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in _list(given)):
        raise ConfigError(
            f"data.{key}: give a number as the files store it, as -9999, or a list, as [-9999,-1],"
            f" not {given}."
        )
    return [float(one) for one in given] if isinstance(given, list) else float(given)


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [] if given is None else [given]


@dataclass(frozen=True)
class MovingMnistConfig(DataConfig):
    """Moving digits, generated on the fly from the images of MNIST."""

    digits_per_sequence: int
    train_sequences: int
    validation_sequences: int
    test_sequences: int

    def __post_init__(self) -> None:
        for name in (
            "digits_per_sequence",
            "train_sequences",
            "validation_sequences",
            "test_sequences",
        ):
            at_least(f"data.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class SamplingConfig(Sampling):
    """The sampling of training windows, with limits of its values."""

    def __post_init__(self) -> None:
        at_least("sampling.stride", self.stride, 1)
        share("sampling.min_wet_share", self.min_wet_share)
        share("sampling.frame_dropout", self.frame_dropout)
        not_negative("sampling.rain_power", self.rain_power)
        if not 0 <= self.rate_jitter <= 2:
            raise ConfigError(
                "sampling.rate_jitter: must be a standard deviation (of the logarithm of a factor)"
                f" from 0 to 2, not {self.rate_jitter}."
            )
        if not 0 <= self.noise <= 2:
            raise ConfigError(
                "sampling.noise: must be a standard deviation (of the logarithm of a factor) from 0"
                f" to 2, not {self.noise}."
            )
        for name in ("windows_per_epoch", "crop"):
            if getattr(self, name) is not None:
                at_least(f"sampling.{name}", getattr(self, name), 1)
        if self.windows_per_epoch is None and (self.rain_power or self.crop):
            raise ConfigError(
                "sampling.windows_per_epoch: null (all windows) allows neither rain_power nor crop;"
                " set a number."
            )


@dataclass
class FieldConfig:
    """A further field on the grid of the radar, as an input of the model: (value - offset) / scale.

    path: NetCDF or Zarr file; variable: its name in the file.
    """

    path: str
    variable: str
    offset: float = 0.0
    scale: float = 1.0


@dataclass
class FieldBesideConfig(FieldConfig):
    """A field known at each frame. max_age_minutes: how long a field with times stays valid."""

    max_age_minutes: float = 60.0


@dataclass
class FieldAheadConfig(FieldConfig):
    """A field known for each lead time, such as a weather model's.

    max_age_minutes: oldest age of a run; delay_minutes: time from its reference time until it is
    available.
    """

    max_age_minutes: float = 720.0
    delay_minutes: float = 0.0


@dataclass
class AheadConfig:
    """Inputs that are known for each lead time."""

    time_of_day: bool
    # FieldAheadConfig after checking; Any, so that Hydra accepts new ones on the command line
    fields: dict[str, Any]

    def __post_init__(self) -> None:
        self.fields = _fields("inputs.ahead.fields", self.fields, FieldAheadConfig)
        for name, field in self.fields.items():
            not_negative(f"inputs.ahead.fields.{name}.delay_minutes", field.delay_minutes)

    @property
    def asked_for(self) -> list[str]:
        """Return the keys of the inputs that are switched on."""
        keys = [one.name for one in fields(self)]
        return [f"inputs.ahead.{key}" for key in keys if getattr(self, key)]


@dataclass
class InputsConfig:
    """Further inputs of the model, each one or two channels."""

    mask: bool
    time_of_day: bool
    # FieldBesideConfig after checking; Any, so that Hydra accepts new ones on the command line
    fields: dict[str, Any]
    ahead: AheadConfig

    def __post_init__(self) -> None:
        self.fields = _fields("inputs.fields", self.fields, FieldBesideConfig)
        twice = sorted(set(self.fields) & set(self.ahead.fields))
        if twice:
            raise ConfigError(
                f"inputs.ahead.fields: {', '.join(twice)} is also a name in inputs.fields; give"
                " each field a name of its own."
            )

    @property
    def asked_for(self) -> list[str]:
        """Return the keys of the inputs that are switched on."""
        keys = [one.name for one in fields(self) if one.name != "ahead"]
        return [
            *(f"inputs.{key}" for key in keys if getattr(self, key)),
            *self.ahead.asked_for,
        ]


def _fields(
    key: str,
    given: Mapping[str, Any],
    kind: type[FieldBesideConfig] | type[FieldAheadConfig],
) -> dict[str, Any]:
    """Return the checked fields below a key. Errors: ConfigError naming the wrong value."""
    found = {
        name: about if isinstance(about, kind) else _field(f"{key}.{name}", about, kind)
        for name, about in given.items()
    }
    for name, field in found.items():
        not_empty(f"{key}.{name}.path", field.path)
        positive(f"{key}.{name}.max_age_minutes", field.max_age_minutes)
        if field.scale == 0 or not math.isfinite(field.scale) or not math.isfinite(field.offset):
            raise ConfigError(
                f"{key}.{name}: offset and scale must be finite and scale not 0, not"
                f" {field.offset}, {field.scale}."
            )
    return found


def _field(
    key: str, about: Any, kind: type[FieldBesideConfig] | type[FieldAheadConfig]
) -> FieldBesideConfig | FieldAheadConfig:
    """Build the field from its keys in `about`.

    Errors: ConfigError if a key is missing, unknown or not a number.
    """
    known = [one.name for one in fields(kind)]
    wanted = (
        f"give {{path: …, variable: …}}, and optionally {', '.join(known[2:-1])} and {known[-1]}"
    )
    if not isinstance(about, Mapping) or not {"path", "variable"} <= set(about) <= set(known):
        raise ConfigError(f"{key}: {wanted}, not {about}.")
    numbers = {name: value for name, value in about.items() if name not in ("path", "variable")}
    if not all(isinstance(value, int | float) for value in numbers.values()):
        raise ConfigError(
            f"{key}: {', '.join(numbers)} must be numbers, not {list(numbers.values())}."
        )
    return kind(
        str(about["path"]),
        str(about["variable"]),
        **{name: float(value) for name, value in numbers.items()},
    )
