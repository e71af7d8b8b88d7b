"""What a user may set: types and limits. The values stand in configs/, each in one place."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import nowcast
from nowcast.errors import ConfigError


@dataclass
class DataConfig:
    """Where frames come from; `name` says which kind of source."""

    name: str
    path: str


@dataclass
class RadarConfig(DataConfig):
    """Radar files, how to read them where they do not say so themselves, and which days are for what."""

    variable: str | None
    units: str | None
    accumulation_minutes: float | None
    zr: list[float]
    missing_value: float | None
    max_rate: float
    cache: str
    train: list[str] | None
    validation: list[str] | None
    test: list[str] | None

    def __post_init__(self) -> None:
        _not_empty("data.path", self.path)
        _positive("data.max_rate", self.max_rate)
        if self.accumulation_minutes is not None:
            _positive("data.accumulation_minutes", self.accumulation_minutes)
        if len(self.zr) != 2 or min(self.zr) <= 0:
            raise ConfigError(f"data.zr: give a and b of Z = a R^b, as in [200, 1.6], not {self.zr}.")


@dataclass
class MovingMnistConfig(DataConfig):
    """Digits that move and bounce, made as they are needed from MNIST's images."""

    digits_per_sequence: int
    train_sequences: int
    validation_sequences: int
    test_sequences: int

    def __post_init__(self) -> None:
        for name in ("digits_per_sequence", "train_sequences", "validation_sequences", "test_sequences"):
            _at_least(f"data.{name}", getattr(self, name), 1)


@dataclass
class ScalingConfig:
    """How rates in mm/h become the numbers a model sees."""

    kind: str
    maximum: float
    reference: float

    def __post_init__(self) -> None:
        _one_of("scaling.kind", self.kind, ("log", "linear"))
        _positive("scaling.maximum", self.maximum)
        _positive("scaling.reference", self.reference)


@dataclass
class SamplingConfig:
    """Which windows an epoch of training draws."""

    windows_per_epoch: int | None
    rain_power: float
    crop: int | None
    stride: int
    min_wet_share: float

    def __post_init__(self) -> None:
        _at_least("sampling.stride", self.stride, 1)
        _share("sampling.min_wet_share", self.min_wet_share)
        _not_negative("sampling.rain_power", self.rain_power)
        for name in ("windows_per_epoch", "crop"):
            if getattr(self, name) is not None:
                _at_least(f"sampling.{name}", getattr(self, name), 1)
        if self.windows_per_epoch is None and (self.rain_power or self.crop):
            raise ConfigError(
                "sampling.windows_per_epoch: an epoch of all windows can be neither weighted nor cropped; set a number."
            )


@dataclass
class ValidationConfig:
    """Which windows validation scores."""

    stride: int
    min_wet_share: float

    def __post_init__(self) -> None:
        _at_least("validation.stride", self.stride, 1)
        _share("validation.min_wet_share", self.min_wet_share)


@dataclass
class ModelConfig:
    """The encoder–forecaster of Shi et al. 2015."""

    name: str
    hidden_channels: list[int]
    kernel_size: int
    input_kernel_size: int
    patch_size: int
    output_activation: str

    def __post_init__(self) -> None:
        _one_of("model.name", self.name, ("encoder_forecaster",))
        _one_of("model.output_activation", self.output_activation, ("identity", "sigmoid"))
        _at_least("model.patch_size", self.patch_size, 1)
        if not self.hidden_channels or min(self.hidden_channels) < 1:
            raise ConfigError(
                f"model.hidden_channels: give a number above 0 for each layer, as in [64, 64], not {self.hidden_channels}."
            )
        for key in ("kernel_size", "input_kernel_size"):
            value = getattr(self, key)
            if value < 1 or value % 2 == 0:
                raise ConfigError(f"model.{key}: must be an odd number above 0, not {value}.")


@dataclass
class OptimizerConfig:
    """AdamW or RMSProp. `decay` is the one's β2 and the other's α, `momentum` the one's β1."""

    name: str
    lr: float
    weight_decay: float
    decay: float
    momentum: float

    def __post_init__(self) -> None:
        _one_of("optimizer.name", self.name, ("adamw", "rmsprop"))
        _positive("optimizer.lr", self.lr)
        _not_negative("optimizer.weight_decay", self.weight_decay)
        for key in ("decay", "momentum"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"optimizer.{key}: must be at least 0 and below 1, not {getattr(self, key)}.")


@dataclass
class ScheduleConfig:
    """The learning rate over the steps of a run."""

    name: str
    warmup_steps: int
    final_share: float

    def __post_init__(self) -> None:
        _one_of("schedule.name", self.name, ("constant", "cosine"))
        _at_least("schedule.warmup_steps", self.warmup_steps, 0)
        _share("schedule.final_share", self.final_share)


@dataclass
class TrainingConfig:
    """How long and how to train."""

    epochs: int
    batch_size: int
    gradient_clip: float
    ema_decay: float
    monitor: str
    patience: int
    workers: int

    def __post_init__(self) -> None:
        _one_of("training.monitor", self.monitor, ("csi", "loss"))
        for key in ("epochs", "batch_size", "patience"):
            _at_least(f"training.{key}", getattr(self, key), 1)
        _at_least("training.workers", self.workers, 0)
        _positive("training.gradient_clip", self.gradient_clip)
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training.ema_decay: must be at least 0 (off) and below 1, not {self.ema_decay}.")


@dataclass
class TrainConfig:
    """All of `nowcast train`."""

    data: DataConfig
    input_steps: int
    lead_steps: int
    scaling: ScalingConfig
    sampling: SamplingConfig
    validation: ValidationConfig
    model: ModelConfig
    loss: str
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    thresholds: list[float]
    seed: int
    device: str
    precision: str
    resume: str
    output: str

    def __post_init__(self) -> None:
        _not_empty("output", self.output)
        _at_least("input_steps", self.input_steps, 1)
        _at_least("lead_steps", self.lead_steps, 1)
        _one_of("loss", self.loss, ("mse", "mae", "balanced", "cross_entropy"))
        _thresholds(self.thresholds)
        _device_and_precision(self.device, self.precision)
        _one_of("resume", self.resume, ("auto", "never"))
        _at_least("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise ConfigError(f"seed: must be below 2**32, not {self.seed}.")
        if self.loss == "cross_entropy" and self.model.output_activation != "sigmoid":
            raise ConfigError("loss: cross_entropy needs probabilities; set model.output_activation=sigmoid, or another loss.")
        if self.loss == "cross_entropy" and isinstance(self.data, RadarConfig):
            raise ConfigError("loss: cross_entropy needs frames in [0, 1], which rain is not; choose mse, mae or balanced.")
        if isinstance(self.data, MovingMnistConfig) and (self.scaling.kind, self.scaling.maximum) != ("linear", 1.0):
            raise ConfigError("scaling: the frames of moving_mnist are in [0, 1] already; set scaling=linear scaling.maximum=1.")
        if isinstance(self.data, RadarConfig):
            for split in ("train", "validation"):
                if getattr(self.data, split) is None:
                    raise ConfigError(
                        f"data.{split}: training needs these days; give the first and the last, as [2018-05-10, 2018-05-15]."
                    )


@dataclass
class PredictConfig:
    """All of `nowcast predict`."""

    checkpoint: str
    data: RadarConfig
    at: str | None
    output: str
    device: str
    precision: str

    def __post_init__(self) -> None:
        _not_empty("checkpoint", self.checkpoint)
        if not self.output.endswith(".nc"):
            raise ConfigError(f"output: a forecast file ends in .nc, unlike {self.output!r}.")
        _device_and_precision(self.device, self.precision)


@dataclass
class EvaluateConfig:
    """All of `nowcast evaluate`."""

    checkpoint: str | None
    forecasts: str | None
    data: DataConfig
    period: list[str] | None
    stride: int
    min_wet_share: float
    thresholds: list[float]
    batch_size: int
    output: str
    device: str
    precision: str

    def __post_init__(self) -> None:
        for key in ("checkpoint", "forecasts", "output"):
            _not_empty(key, getattr(self, key))
        if (self.checkpoint is None) == (self.forecasts is None):
            raise ConfigError(
                "checkpoint, forecasts: give one of them: a trained model to score, or the forecast files to score."
            )
        if self.forecasts is not None and self.period is not None:
            raise ConfigError("period: is for a checkpoint; forecast files are all scored, so choose among them by their paths.")
        _thresholds(self.thresholds)
        _share("min_wet_share", self.min_wet_share)
        for key in ("stride", "batch_size"):
            _at_least(key, getattr(self, key), 1)
        _device_and_precision(self.device, self.precision)


def configs_folder() -> Path:
    """The folder of values: inside the installed package, or beside it in a checkout."""
    package = Path(nowcast.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def register_schemas() -> None:
    """Tell Hydra the types of each command's configuration and of each kind of data."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, node in {
        "train": TrainConfig, "predict": PredictConfig, "evaluate": EvaluateConfig,
        "radar": RadarConfig, "moving_mnist": MovingMnistConfig,
    }.items():  # fmt: skip
        store.store(group="schema", name=name, node=node)


def _one_of(key: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{key}: {value!r} is not one of {', '.join(choices)}.")


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}: must be at least {least}, not {value}.")


def _not_empty(key: str, value: str | None) -> None:
    if value is not None and not value.strip():
        raise ConfigError(f"{key}: is empty; give a path.")


def _positive(key: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{key}: must be above 0, not {value}.")


def _not_negative(key: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(f"{key}: must be 0 or more, not {value}.")


def _share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}: is a share, from 0 to 1, not {value}.")


def _thresholds(values: Sequence[float]) -> None:
    if not values or sorted(set(values)) != list(values) or values[0] <= 0 or not math.isfinite(values[-1]):
        raise ConfigError(f"thresholds: give rates in mm/h, each above the one before, as in [0.5, 2, 10], not {list(values)}.")


def _device_and_precision(device: str, precision: str) -> None:
    _one_of("device", device, ("auto", "cpu", "cuda"))
    _one_of("precision", precision, ("auto", "fp32", "bf16", "fp16"))
