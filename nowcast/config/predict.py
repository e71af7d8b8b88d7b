"""Configuration of `nowcast predict`, also for unattended operation: types and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
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
"""Names in `fallback` other than baselines: forecast with the checkpoint, and no forecast."""

_LAGRANGIAN = "lagrangian_probability"
"""The baseline with probabilities but without members."""

NETCDF, GEOTIFF = "netcdf", "geotiff"
"""Formats of a forecast; GeoTIFF files are written next to the NetCDF file."""

_OF_A_MODEL = ("missing_frames", "other_grid", "fallback_exit_code", "input_paths", "rate")
_OF_ITS_MACHINE = ("max_memory_gb", "device", "precision")
"""Keys that a baseline accepts if a checkpoint gives its steps, so that a model's configuration
need not change for a baseline.
"""


@dataclass
class WarningsConfig:
    """When a forecast gives a warning, and where it is written."""

    # Rule after parsing; Any, so that Hydra accepts new ones on the command line
    rules: dict[str, Any]
    file: str | None
    exit_code: int

    def __post_init__(self) -> None:
        parse_rules(self.rules)
        if self.file is not None and self.file != "-" and not self.file.endswith(".jsonl"):
            raise ConfigError(
                "warnings.file: must end in .jsonl, or be - for standard output, not"
                f" {self.file!r}."
            )
        if self.exit_code != 0 and not 3 <= self.exit_code <= 63:
            raise ConfigError(
                "warnings.exit_code: must be 0, or a code from 3 to 63, which have no other"
                f" meaning, not {self.exit_code}."
            )
        if not self.rules and (self.file is not None or self.exit_code != 0):
            raise ConfigError(
                "warnings.rules: give a rule, such as 'warnings.rules.flood={rate: 10, probability:"
                " 0.3, within: 60, area: areas.geojson}'; without a rule there are no warnings."
            )


@dataclass
class PredictConfig:
    """All keys of `nowcast predict`.

    The metadata of each key says whether it changes the forecast: an existing output file is made
    again if such a key has another value.
    """

    # a path, a glob or a list; Any, so that the error message is ours
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
    # text or a list; Any, so that the error message is ours
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
        if isinstance(self.warnings, Mapping):  # from Python, without config groups
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
                    f"{key}: must be at most {_LONGEST:g}, not {getattr(self, key):g}."
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
                raise ConfigError(f"{key}: the file name must end in {suffix}, not {given!r}.")
        if self.page is None and self.page_map != default_values("predict")["page_map"]:
            raise ConfigError("page_map: needs a page; also give page=forecasts/index.html.")
        if self.log_file is not None and not self.log_file.endswith((".log", ".jsonl")):
            raise ConfigError(f"log_file: must end in .log or .jsonl, not {self.log_file!r}.")
        if self.max_wet_ratio < 1:
            raise ConfigError(
                f"max_wet_ratio: must be 1 or more, not {self.max_wet_ratio:g}; 1 allows only"
                " forecasts as wet as the newest frame."
            )
        if self.latest is not None:
            one_of("latest", self.latest, ("symlink", "copy"))
        if not self.output.endswith(".nc"):
            raise ConfigError(f"output: must end in .nc, not {self.output!r}.")
        device_and_precision(self.device, self.precision)

    @property
    def checkpoints(self) -> list[str]:
        """The existing checkpoints of a path, a glob or a list. Errors: as `checkpoint_paths`."""
        return [] if self.checkpoint is None else checkpoint_paths(self.checkpoint)

    def without_live_files(self) -> "PredictConfig":
        """Return the configuration of a back-fill: only live cycles write the page, warnings,
        metrics and status, and remove old forecasts.
        """
        return replace(
            self,
            page=None,
            page_map=default_values("predict")["page_map"],
            warnings=replace(self.warnings, file=None, exit_code=0),
            metrics=None,
            status=None,
            keep_hours=None,
            keep_files=None,
        )

    @property
    def asks_of_places(self) -> bool:
        """Whether places or warnings are asked for, which need the geographic place of pixels."""
        return bool(self.places or self.place is not None or self.warnings.rules)

    @property
    def has_own_map(self) -> bool:
        """Whether the page draws the lines of the user's GeoJSON file."""
        return self.page is not None and self.page_map not in ("natural_earth", "none")

    @property
    def methods(self) -> list[str]:
        """The methods in the order of trial."""
        return list(self.fallback) if self.baseline is None else [self.baseline]

    @property
    def baselines(self) -> list[str]:
        """The baselines among the methods."""
        return [name for name in self.methods if name not in (MODEL, NONE)]

    @property
    def shaping(self) -> dict[str, Any]:
        """The keys that change the forecast, with their values; those of `data`, including how
        files are read, come last.
        """
        made_of_days = bool(names_where("needs_days", self.baselines))
        values = shaping_values(self, made_of_days)
        reading = [one.name for one in fields(ReadOptions)]
        return values | {"data": shaping_values(values.pop("data"), made_of_days, reading)}

    def _for_members(self) -> str | None:
        """Return the setting that gives the forecast members; None if it already has members."""
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
                    "input_steps: is for baselines, and none is given; leave it out, or give"
                    f" baseline=… (one of {', '.join(baseline_names())})."
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
                f"fallback: must start with {MODEL} and name each method once, as in [model,"
                f" extrapolation, persistence, none], not {list(self.fallback)}."
            )
        if NONE in self.fallback[:-1]:
            raise ConfigError(
                f"fallback: {NONE} must be last, because nothing after it would be tried."
            )
        if self.baseline is not None and len(self.fallback) > 1:
            raise ConfigError(
                "baseline, fallback: give only one of them; a baseline has no fallback."
            )
        if self.baseline is not None:
            refuse_without_effect(
                self,
                "predict",
                _EFFECTS,
                "baseline",
                f"is for a model, and {self.baseline} is a baseline; leave it out.",
            )
        for key in _OF_ITS_MACHINE if self.baseline is not None and self.checkpoint is None else ():
            if getattr(self, key) not in (None, "auto", "cpu", "fp32"):
                raise ConfigError(
                    f"{key}: {self.baseline} runs on the CPU in fp32, frame by frame; leave it out."
                )
        usual = default_values("predict")["members"]
        if self.members != usual and not names_where("draws_members", self.baselines):
            raise ConfigError(
                "members: is for the ensemble of steps and steps_mean, which are not used here;"
                " leave it out."
            )
        if self.fallback_exit_code not in (0, TryLaterError.exit_code):
            raise ConfigError(
                f"fallback_exit_code: must be 0 or {TryLaterError.exit_code}, not"
                f" {self.fallback_exit_code}."
            )

    def _check_when(self) -> None:
        given = [key for key in ("at", "period") if getattr(self, key) is not None] + [
            "watch"
        ] * self.watch
        if len(given) > 1:
            raise ConfigError(
                f"{', '.join(given)}: give only one of them: a time, a period, or watch for new"
                " frames."
            )
        if self.period is not None and len(self.period) != 2:
            raise ConfigError(
                "period: give the first and the last time, as from=… to=…, not"
                f" {list(self.period)}."
            )
        if self.period is not None and "%" not in self.output:
            raise ConfigError(
                f"output: {self.output!r} is a single file, but a period makes many; use strftime"
                " codes, such as %Y%m%dT%H%MZ.nc."
            )


_EFFECTS = {
    field.name: ("model",) if field.name in _OF_A_MODEL else ("model", "baseline")
    for field in fields(PredictConfig)
}
"""Whether each key has an effect on a forecast with a model, and with a baseline."""
