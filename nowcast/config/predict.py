"""What a user may set of a forecast and of all that is around it when nobody watches: types and
limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nowcast.baselines import baseline_names, names_where
from nowcast.config.accumulations import accumulations
from nowcast.config.checks import (
    a_baseline,
    at_least,
    device_and_precision,
    ensemble_size,
    not_empty,
    not_negative,
    one_of,
    positive,
)
from nowcast.config.data import RadarConfig
from nowcast.config.effects import (
    SHAPES,
    SHAPES_NOT,
    default_values,
    refuse_without_effect,
    shapes_unless,
    shaping_values,
)
from nowcast.config.evaluate import steps_to_forecast
from nowcast.config.named_paths import one_or_several
from nowcast.errors import ConfigError, TryLaterError
from nowcast.places.place import parse_place
from nowcast.places.rule import parse_rules
from nowcast.places.zone import zone_of
from nowcast.pretrained import PRETRAINED, checkpoint_path, checkpoint_paths
from nowcast.probability.options import RATES
from nowcast.radar.reading.options import ReadOptions

_LONGEST = 1e7  # seconds, minutes or hours

MODEL, NONE = "model", "none"
"""Names in a chain of methods, beside those of the baselines: by the checkpoint; and nothing at
all.
"""

_LAGRANGIAN = "lagrangian_probability"
"""The baseline that has probabilities and no members of its own."""

NETCDF, GEOTIFF = "netcdf", "geotiff"
"""Formats of a forecast; the second is written next to the first."""

_OF_A_MODEL = ("missing_frames", "other_grid", "fallback_exit_code", "input_paths", "rate")
_OF_ITS_MACHINE = ("max_memory_gb", "device", "precision")
"""What a model that only lends its steps may keep, so that a configuration of the model need
not change for a baseline.
"""


@dataclass
class WarningsConfig:
    """When a forecast is a warning, and where that is written."""

    # of Rule once parsed; Hydra could set none on the command line otherwise
    rules: dict[str, Any]
    file: str | None
    exit_code: int

    def __post_init__(self) -> None:
        parse_rules(self.rules)
        if self.file is not None and self.file != "-" and not self.file.endswith(".jsonl"):
            raise ConfigError(
                "warnings.file: the name of this file ends in .jsonl, or is - for standard output,"
                f" unlike {self.file!r}."
            )
        if self.exit_code != 0 and not 3 <= self.exit_code <= 63:
            raise ConfigError(
                "warnings.exit_code: 0, or a code from 3 to 63, which mean nothing else, not"
                f" {self.exit_code}."
            )
        if not self.rules and (self.file is not None or self.exit_code != 0):
            raise ConfigError(
                "warnings.rules: give a rule, as 'warnings.rules.flood={rate: 10, probability:"
                " 0.3, within: 60, area: areas.geojson}'; without one there is no warning."
            )


@dataclass
class PredictConfig:
    """All of `nowcast predict`. Each key says whether it shapes the forecast: an output that is
    there is made again where one of these has another value.
    """

    # a path, a glob or a list; a type of its own would be refused in words of OmegaConf
    checkpoint: Any = field(metadata=SHAPES_NOT)
    baseline: str | None = field(metadata=SHAPES)
    input_steps: int | None = field(metadata=SHAPES)
    lead_steps: int | None = field(metadata=SHAPES)
    members: int = field(metadata=SHAPES)
    ensemble: int | None = field(metadata=shapes_unless(None))
    seed: int = field(metadata=SHAPES)
    rate: str = field(metadata=shapes_unless("csi"))
    accumulations: list[int] = field(metadata=shapes_unless([]))
    accumulation_thresholds: list[float] = field(metadata=shapes_unless([1, 2, 5, 10, 20]))
    data: RadarConfig = field(metadata=SHAPES)
    at: str | None = field(metadata=SHAPES_NOT)
    period: list[str] | None = field(metadata=SHAPES_NOT)
    max_age: float | None = field(metadata=SHAPES_NOT)
    retry: float = field(metadata=SHAPES_NOT)
    on_bad_file: str = field(metadata=SHAPES_NOT)
    missing_frames: int = field(metadata=SHAPES)
    max_gap: float = field(metadata=SHAPES)
    gap_filling: str = field(metadata=SHAPES)
    other_grid: bool = field(metadata=SHAPES_NOT)
    fallback: list[str] = field(metadata=SHAPES)
    fallback_exit_code: int = field(metadata=SHAPES_NOT)
    max_wet_ratio: float = field(metadata=SHAPES_NOT)
    input_paths: dict[str, str] = field(metadata=SHAPES)
    max_memory_gb: float | None = field(metadata=SHAPES_NOT)
    output: str = field(metadata=SHAPES_NOT)
    format: str = field(metadata=SHAPES_NOT)
    institution: str | None = field(metadata=shapes_unless(None))
    licence: str | None = field(metadata=shapes_unless(None))
    contact: str | None = field(metadata=shapes_unless(None))
    latest: str | None = field(metadata=SHAPES_NOT)
    keep_hours: float | None = field(metadata=SHAPES_NOT)
    keep_files: int | None = field(metadata=SHAPES_NOT)
    lock_wait: float = field(metadata=SHAPES_NOT)
    deadline: float | None = field(metadata=SHAPES_NOT)
    watch: bool = field(metadata=SHAPES_NOT)
    poll: float = field(metadata=SHAPES_NOT)
    log_format: str = field(metadata=SHAPES_NOT)
    log_file: str | None = field(metadata=SHAPES_NOT)
    status: str | None = field(metadata=SHAPES_NOT)
    metrics: str | None = field(metadata=SHAPES_NOT)
    page: str | None = field(metadata=SHAPES_NOT)
    page_map: str = field(metadata=SHAPES_NOT)
    places: str | None = field(metadata=SHAPES_NOT)
    # text or a list; a type of its own would be refused in words of OmegaConf
    place: Any = field(metadata=SHAPES_NOT)
    timezone: str = field(metadata=SHAPES_NOT)
    warnings: WarningsConfig = field(metadata=SHAPES_NOT)
    device: str = field(metadata=SHAPES_NOT)
    precision: str = field(metadata=SHAPES)

    def __post_init__(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint = one_or_several("checkpoint", self.checkpoint)
        for key in ("log_file", "status", "metrics", "page", "page_map", "places"):
            not_empty(key, getattr(self, key))
        for key in ("institution", "licence", "contact"):
            not_empty(key, getattr(self, key), "a text, or leave it out")
        if self.place is not None:
            parse_place("place", self.place)
        zone_of("timezone", self.timezone)
        if isinstance(self.warnings, Mapping):  # of Python, which knows no groups
            self.warnings = WarningsConfig(**self.warnings)
        self._check_methods()
        self._check_when()
        at_least("members", self.members, 2)
        ensemble_size(self.ensemble)
        accumulations(
            "predict",
            self.accumulations,
            self.accumulation_thresholds,
            for_members=self._for_members(),
        )
        for key in ("seed", "missing_frames"):
            at_least(key, getattr(self, key), 0)
        for key in ("retry", "max_gap", "lock_wait"):
            not_negative(key, getattr(self, key))
        for key in ("max_age", "max_memory_gb", "keep_hours", "deadline", "poll", "max_wet_ratio"):
            if getattr(self, key) is not None:
                positive(key, getattr(self, key))
        for key in ("max_age", "max_gap", "retry", "lock_wait", "deadline", "poll", "keep_hours"):
            if (getattr(self, key) or 0) > _LONGEST:
                raise ConfigError(
                    f"{key}: nothing is so long; give {_LONGEST:g} at most, not"
                    f" {getattr(self, key):g}."
                )
        if self.keep_files is not None:
            at_least("keep_files", self.keep_files, 1)
        for key, choices in {
            "on_bad_file": ("skip", "fail"),
            "gap_filling": ("advection", "interpolation"),
            "log_format": ("text", "json"),
            "rate": RATES,
            "format": (NETCDF, GEOTIFF),
        }.items():
            one_of(key, getattr(self, key), choices)
        for key, suffix in (("status", ".json"), ("metrics", ".prom"), ("page", ".html")):
            given = getattr(self, key)
            if given is not None and not given.endswith(suffix):
                raise ConfigError(
                    f"{key}: the name of this file ends in {suffix}, unlike {given!r}."
                )
        if self.page is None and self.page_map != default_values("predict")["page_map"]:
            raise ConfigError("page_map: is for a page; give page=forecasts/index.html, too.")
        if self.log_file is not None and not self.log_file.endswith((".log", ".jsonl")):
            raise ConfigError(
                f"log_file: the name of a log ends in .log or .jsonl, unlike {self.log_file!r}."
            )
        if self.max_wet_ratio < 1:
            raise ConfigError(
                "max_wet_ratio: a forecast may always be as wet as the newest frame; give 1 or"
                f" more, not {self.max_wet_ratio:g}."
            )
        if self.latest is not None:
            one_of("latest", self.latest, ("symlink", "copy"))
        if not self.output.endswith(".nc"):
            raise ConfigError(f"output: a forecast file ends in .nc, unlike {self.output!r}.")
        device_and_precision(self.device, self.precision)

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints that are there now of one path, a glob or several. Errors: as
        `checkpoint_paths`.
        """
        return [] if self.checkpoint is None else checkpoint_paths(self.checkpoint)

    @property
    def asks_of_places(self) -> bool:
        """Whether places or warnings are asked for, so that pixels must have a place on Earth."""
        return bool(self.places or self.place is not None or self.warnings.rules)

    @property
    def has_own_map(self) -> bool:
        """Whether the page draws the lines of a GeoJSON file."""
        return self.page is not None and self.page_map not in ("natural_earth", "none")

    @property
    def methods(self) -> list[str]:
        """The methods in the order in which they are tried."""
        return list(self.fallback) if self.baseline is None else [self.baseline]

    @property
    def baselines(self) -> list[str]:
        """Those of the methods that are baselines."""
        return [name for name in self.methods if name not in (MODEL, NONE)]

    @property
    def shaping(self) -> dict[str, Any]:
        """The keys that shape the forecast, with their values; those of `data` last, among them all
        that say how files are read.
        """
        made_of_days = bool(names_where("needs_days", self.baselines))
        values = shaping_values(self, made_of_days)
        reading = [one.name for one in fields(ReadOptions)]
        return values | {"data": shaping_values(values.pop("data"), made_of_days, reading)}

    def _for_members(self) -> str | None:
        """What to set so that a forecast has members; None if it has."""
        if self.ensemble is not None or names_where("ensemble", self.baselines):
            return None
        if self.baseline in (None, _LAGRANGIAN):
            return "ensemble=20"
        return f"baseline=steps, or baseline={_LAGRANGIAN} with ensemble=20"

    def _check_methods(self) -> None:
        if self.baseline is not None:
            a_baseline("baseline", self.baseline)
        if self.baseline is None and self.checkpoint is None:
            if self.input_steps is not None:
                raise ConfigError(
                    "input_steps: is for a baseline, and none is given; leave it out, or give"
                    f" baseline=…: {', '.join(baseline_names())}."
                )
            self.checkpoint = PRETRAINED
        if isinstance(self.checkpoint, list):
            self.checkpoint = [checkpoint_path(one) for one in self.checkpoint]
        elif self.checkpoint is not None:
            self.checkpoint = checkpoint_path(self.checkpoint)
        steps_to_forecast(self.checkpoint, self.input_steps, self.lead_steps)
        for name in self.fallback:
            a_baseline("fallback", name, MODEL, NONE)
        if (
            not self.fallback
            or self.fallback[0] != MODEL
            or len(set(self.fallback)) < len(self.fallback)
        ):
            raise ConfigError(
                f"fallback: begins with {MODEL}, and names each once, as in [model, extrapolation,"
                f" persistence, none], not {list(self.fallback)}."
            )
        if NONE in self.fallback[:-1]:
            raise ConfigError(
                f"fallback: {NONE} is the last or not there; nothing after it would be tried."
            )
        if self.baseline is not None and len(self.fallback) > 1:
            raise ConfigError("baseline, fallback: give one of them; a baseline stands alone.")
        if self.baseline is not None:
            refuse_without_effect(
                self,
                "predict",
                _EFFECTS,
                "baseline",
                f"is for a model, and {self.baseline} is none; leave it out.",
            )
        for key in _OF_ITS_MACHINE if self.baseline is not None and self.checkpoint is None else ():
            if getattr(self, key) not in (None, "auto", "cpu", "fp32"):
                raise ConfigError(
                    f"{key}: {self.baseline} is computed on the CPU in fp32, frame by frame; leave"
                    " it out."
                )
        usual = default_values("predict")["members"]
        if self.members != usual and not names_where("draws_members", self.baselines):
            raise ConfigError(
                "members: is for the ensemble of steps and steps_mean, and neither is to forecast;"
                " leave it out."
            )
        if self.fallback_exit_code not in (0, TryLaterError.exit_code):
            raise ConfigError(
                f"fallback_exit_code: 0 or {TryLaterError.exit_code}, not"
                f" {self.fallback_exit_code}."
            )

    def _check_when(self) -> None:
        given = [key for key in ("at", "period") if getattr(self, key) is not None] + [
            "watch"
        ] * self.watch
        if len(given) > 1:
            raise ConfigError(
                f"{', '.join(given)}: give one of them: a time, a period to fill, or to watch for"
                " new frames."
            )
        if self.period is not None and len(self.period) != 2:
            raise ConfigError(
                "period: give the first and the last time, as from=… to=…, not"
                f" {list(self.period)}."
            )
        if self.period is not None and "%" not in self.output:
            raise ConfigError(
                f"output: {self.output!r} is one file, and a period has many; give strftime codes,"
                " as %Y%m%dT%H%MZ.nc."
            )


_EFFECTS = {
    field.name: ("model",) if field.name in _OF_A_MODEL else ("model", "baseline")
    for field in fields(PredictConfig)
}
"""Whether a key changes something in a forecast by a model, and by a baseline in its place."""
