"""Configuration of `nowcast evaluate`: types and limits. The values are in configs/."""

from dataclasses import dataclass
from typing import Any

from nowcast.baselines import RECORDS, baseline_names, names_where
from nowcast.config.accumulations import accumulations
from nowcast.config.checks import (
    a_baseline,
    at_least,
    device_and_precision,
    ensemble_size,
    not_empty,
    odd,
    one_of,
    share,
    steps,
    thresholds,
    west_south_east_north,
)
from nowcast.config.data import DataConfig, MovingMnistConfig
from nowcast.config.effects import default_values, refuse_without_effect
from nowcast.config.named_paths import by_name, named_models, named_paths
from nowcast.errors import ConfigError
from nowcast.pretrained import PRETRAINED, checkpoint_path, is_shipped
from nowcast.probability.options import RATES

_MADE = ("model", "baselines")  # cases forecast now, from radar
_FILES = ("forecasts", "together")  # cases from forecast files, without or with models
_RADAR = (*_MADE, *_FILES)
_SEEN = (*_RADAR, "digits")  # all modes that read frames
_ALL = (*_SEEN, "counts")
EFFECTS = {
    "checkpoint": _ALL, "forecasts": _ALL, "counts": _ALL, "baseline": _SEEN,
    "input_steps": _RADAR, "lead_steps": (*_MADE, "together"), "members": _RADAR, "data": _SEEN,
    "period": _MADE, "ensemble": (*_MADE, "together"), "stride": _MADE, "min_wet_share": _MADE,
    "missing_frames": ("model", "together"),
    "drop_frames": ("model", "digits", "together"), "input_paths": ("model", "together"),
    "rate": ("model", "together"), "fit_cuts": (*_MADE, "together"), "region": _SEEN,
    "mask": _SEEN, "mask_variable": _SEEN, "common_pixels": _SEEN, "thresholds": _SEEN,
    "accumulations": (*_RADAR, "together"), "accumulation_thresholds": (*_RADAR, "together"),
    "fss_scales": _SEEN, "interval_blocks": (*_RADAR, "counts"),
    "event_min_wet_share": (*_RADAR, "counts"), "event_gap_hours": (*_RADAR, "counts"),
    "resamples": _ALL, "seed": _ALL, "batch_size": _SEEN, "output": _ALL,
    "device": (*_MADE, "digits", "together"), "precision": (*_MADE, "digits", "together"),
}  # fmt: skip
"""The modes of `nowcast evaluate` in which each key has an effect: on radar a model, or only
baselines; a model on digits; forecast files; forecast files together with a model; counts. Data
without a place or times, such as digits, are refused where these are needed.
"""
_WITHOUT_EFFECT = {
    "model": "has no effect for a trained model on radar; leave it out.",
    "baselines": "is for a checkpoint, which is not given; leave it out.",
    "digits": (
        "has no effect on moving_mnist, whose frames have no times and are never missing; leave it"
        " out."
    ),
    "forecasts": (
        "has no effect on existing forecast files; leave it out, and choose files by their paths."
    ),
    "together": (
        "has no effect, because the forecast files determine the cases; leave it out, and choose"
        " files by their paths."
    ),
    "counts": "has no effect on existing counts; leave it out, or evaluate again with it.",
}
GIVE_DATA = "give data=radar data.path=…, or data=radolan"
_NEEDS_DATA = {
    "baselines": "baselines forecast from radar data",
    "forecasts": "forecast files are scored against what the radar observed",
}
_NEEDS_DATA |= dict.fromkeys(
    ("model", "together"), "the data that the pretrained model was trained on do not come with it"
)


@dataclass
class EvaluateConfig:
    """All keys of `nowcast evaluate`."""

    checkpoint: Any
    forecasts: Any
    counts: str | None
    baseline: Any
    input_steps: int | None
    lead_steps: int | None
    members: int
    ensemble: int | None
    data: DataConfig | None
    period: list[str] | None
    stride: int
    min_wet_share: float
    missing_frames: int
    drop_frames: int
    input_paths: dict[str, str]
    rate: str
    fit_cuts: bool
    region: list[float] | None
    mask: str | None
    mask_variable: str | None
    common_pixels: bool
    thresholds: list[float]
    accumulations: list[int]
    accumulation_thresholds: list[float]
    fss_scales: list[int]
    interval_blocks: str
    event_min_wet_share: float
    event_gap_hours: int
    resamples: int
    seed: int
    batch_size: int
    output: str
    device: str
    precision: str

    def __post_init__(self) -> None:
        for key in ("counts", "mask", "output"):
            not_empty(key, getattr(self, key))
        self.checkpoint = named_models("checkpoint", self.checkpoint)
        self.forecasts = named_paths("forecasts", self.forecasts)
        self.baseline = _baselines(self.baseline)
        if self._names_nothing():
            self.checkpoint = PRETRAINED
        self._check_what_is_scored()
        if isinstance(self.checkpoint, dict):
            self.checkpoint = {name: _resolved(one) for name, one in self.checkpoint.items()}
        elif self.checkpoint is not None:
            self.checkpoint = _resolved(self.checkpoint)
        steps_to_forecast(self.checkpoint, self.input_steps, self.lead_steps)
        at_least("members", self.members, 2)
        ensemble_size(self.ensemble)
        one_of("rate", self.rate, RATES)
        if self.region is not None:
            west_south_east_north("region", self.region)
        if self.region is not None and self.mask is not None:
            raise ConfigError("region, mask: give only one of them.")
        if (self.mask is None) != (self.mask_variable is None):
            raise ConfigError(
                "mask, mask_variable: give both, such as mask=basin.nc mask_variable=basin."
            )
        thresholds("thresholds", self.thresholds)
        accumulations("evaluate", self.accumulations, self.accumulation_thresholds)
        for scale in self.fss_scales:
            odd("fss_scales", scale)
        if sorted(set(self.fss_scales)) != list(self.fss_scales):
            raise ConfigError(
                "fss_scales: give widths in pixels, each above the one before, not"
                f" {list(self.fss_scales)}."
            )
        one_of("interval_blocks", self.interval_blocks, ("day", "event"))
        for key in ("min_wet_share", "event_min_wet_share"):
            share(key, getattr(self, key))
        for key in ("stride", "batch_size", "event_gap_hours"):
            at_least(key, getattr(self, key), 1)
        for key in ("missing_frames", "drop_frames", "resamples", "seed"):
            at_least(key, getattr(self, key), 0)
        device_and_precision(self.device, self.precision)
        if self.mode == "baselines":
            self._refuse_without_steps()
        self._refuse_without_data()

    def _names_nothing(self) -> bool:
        """Return whether nothing to score is given, so that the pretrained model is scored.

        If input_steps or other baselines than the default are given, only baselines are scored.
        """
        named = (self.checkpoint, self.forecasts, self.counts, self.input_steps)
        usual = self.baseline == [default_values("evaluate")["baseline"]]
        return (
            usual and named == (None,) * len(named) and not isinstance(self.data, MovingMnistConfig)
        )

    def _refuse_without_steps(self) -> None:
        """Errors: ConfigError if baselines without a checkpoint lack input_steps or lead_steps, or
        are given digits.
        """
        if isinstance(self.data, MovingMnistConfig):
            raise ConfigError(
                "checkpoint: give a trained model; baselines without a model need radar data."
            )
        if self.input_steps is None or self.lead_steps is None:
            raise ConfigError(
                "checkpoint: give a trained model to score, such as checkpoint=pretrained, or"
                " forecasts=… or counts=…; to score only baselines give input_steps and"
                " lead_steps."
            )

    def _refuse_without_data(self) -> None:
        """Errors: ConfigError if no data are given, and no checkpoint of a training names any."""
        if self.data is not None or self.mode == "counts":
            return
        paths = [
            path
            for one in self.checkpoints.values()
            for path in ([one] if isinstance(one, str) else one)
        ]
        if self.mode in ("baselines", "forecasts") or all(map(is_shipped, paths)):
            raise no_data(_NEEDS_DATA[self.mode])

    def _check_what_is_scored(self) -> None:
        given = [
            key for key in ("checkpoint", "forecasts", "counts") if getattr(self, key) is not None
        ]
        if len(given) > 1 and self.counts is not None:
            raise ConfigError(
                f"{', '.join(given)}: give only one of them: a trained model, forecast files, or"
                " counts of earlier evaluations."
            )
        if not given and not self.baseline:
            raise ConfigError("checkpoint, forecasts, counts, baseline: give one of them to score.")
        refuse_without_effect(self, "evaluate", EFFECTS, self.mode, _WITHOUT_EFFECT[self.mode])
        self._refuse_same_names()
        if self.fit_cuts and not self.baseline:
            raise ConfigError(
                "fit_cuts: is for baselines, because a trained model has its own cuts; give"
                " baseline=…, or leave it out."
            )
        if (
            self.mode != "counts"
            and not names_where("draws_members", self.baseline)
            and self.members != default_values("evaluate")["members"]
        ):
            raise ConfigError(
                "members: is for the ensemble of steps and steps_mean, which are not among the"
                " baselines; leave it out."
            )
        if (
            self.mode == "forecasts"
            and self.input_steps is not None
            and not names_where("follows_rain", self.baseline)
        ):
            raise ConfigError(
                "input_steps: is for baselines that see more than one frame,"
                f" {', '.join(names_where('follows_rain', RECORDS))}; leave it out."
            )

    def _refuse_same_names(self) -> None:
        """Errors: ConfigError if two of the scored forecasts have the same name."""
        names = [*self.checkpoints, *self.folders, *self.baseline]
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"checkpoint, forecasts, baseline: two are called {', '.join(twice)}; give each a"
                " different name, as in {ours: a, theirs: b}."
            )

    @property
    def checkpoints(self) -> dict[str, str | list[str]]:
        """The trained models by name; a list or a glob makes one forecast; the name of a single
        path is "".
        """
        return by_name(self.checkpoint)

    @property
    def folders(self) -> dict[str, str]:
        """The forecast files by name; the name of a single path is ""."""
        return by_name(self.forecasts)

    @property
    def mode(self) -> str:
        """The mode: forecasts, counts, digits, on radar a model or baselines, or forecasts together
        with models.
        """
        if self.checkpoint is not None and self.forecasts is not None:
            return "together"
        given = next(
            (key for key in ("forecasts", "counts") if getattr(self, key) is not None), None
        )
        if given or self.checkpoint is None:
            return given or "baselines"
        return "digits" if isinstance(self.data, MovingMnistConfig) else "model"


def no_data(why: str) -> ConfigError:
    """Return the error for an evaluation without data."""
    return ConfigError(f"data: {why}; {GIVE_DATA}.")


def _resolved(checkpoint: str | list[str]) -> str | list[str]:
    """Return the path of a checkpoint, or of several; the name pretrained becomes its path."""
    if isinstance(checkpoint, str):
        return checkpoint_path(checkpoint)
    return [checkpoint_path(one) for one in checkpoint]


def _baselines(given: Any) -> list[str]:
    """Return a list of baselines from one name, a list of names, or null."""
    names = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        raise ConfigError(
            "baseline: give one or several different names of"
            f" {', '.join(baseline_names())}, not {given}."
        )
    for name in names:
        a_baseline("baseline", name)
    return names


def steps_to_forecast(checkpoint: Any, input_steps: int | None, lead_steps: int | None) -> None:
    """Errors: ConfigError if a number of frames is out of range, or `input_steps` is given together
    with a checkpoint.
    """
    for key, count in (("input_steps", input_steps), ("lead_steps", lead_steps)):
        if count is not None:
            steps(key, count)
    if input_steps is not None and checkpoint is not None:
        raise ConfigError(
            "input_steps: is for baselines without a checkpoint, and a checkpoint has its own;"
            " leave out one of the two."
        )
