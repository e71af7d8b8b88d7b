"""Configuration of `nowcast train`: types and limits. The values are in configs/."""

from dataclasses import dataclass

from nowcast.config.checks import (
    at_least,
    device_and_precision,
    not_empty,
    not_negative,
    one_of,
    positive,
    share,
    steps,
    thresholds,
)
from nowcast.config.data import (
    DataConfig,
    InputsConfig,
    MovingMnistConfig,
    RadarConfig,
    SamplingConfig,
)
from nowcast.config.models import ModelConfig
from nowcast.errors import ConfigError
from nowcast.pretrained import checkpoint_path
from nowcast.sequences.options import Candidates
from nowcast.sequences.scaling import Scaling
from nowcast.training.options import OUR_LOGGERS, OUR_LOSSES, Plan, logger_names, loss_names


@dataclass(frozen=True)
class ValidationConfig(Candidates):
    """The windows that validation scores, with limits of the values."""

    def __post_init__(self) -> None:
        at_least("validation.stride", self.stride, 1)
        share("validation.min_wet_share", self.min_wet_share)


@dataclass(frozen=True)
class RegionConfig:
    """The region of the grid that a model is trained on."""

    size: int | None
    step: int | None
    index: int

    def __post_init__(self) -> None:
        at_least("region.index", self.index, 0)
        for key in ("size", "step"):
            if getattr(self, key) is not None:
                at_least(f"region.{key}", getattr(self, key), 2 if key == "size" else 1)
        if self.size is None:
            if self.step is not None or self.index:
                raise ConfigError(
                    "region.step, region.index: need region.size, the height and width of each"
                    " region in pixels; give it, or leave both out."
                )
        elif self.stride > self.size:
            raise ConfigError(
                f"region.step: {self.step} pixels leave gaps between regions of"
                f" region.size={self.size}; give {self.size} at most, or half of it, so that"
                " forecasts blend where regions overlap."
            )

    @property
    def stride(self) -> int:
        """Pixels from one region to the next: `step`, or half of `size`."""
        assert self.size is not None
        return self.step or -(-self.size // 2)


@dataclass
class OptimizerConfig:
    """AdamW or RMSProp. `decay` is β2 of AdamW or α of RMSProp, `momentum` is β1 of AdamW."""

    name: str
    lr: float
    weight_decay: float
    decay: float
    momentum: float

    def __post_init__(self) -> None:
        one_of("optimizer.name", self.name, ("adamw", "rmsprop"))
        positive("optimizer.lr", self.lr)
        not_negative("optimizer.weight_decay", self.weight_decay)
        for key in ("decay", "momentum"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(
                    f"optimizer.{key}: must be at least 0 and below 1, not {getattr(self, key)}."
                )


@dataclass
class ScheduleConfig:
    """The learning rate schedule."""

    name: str
    warmup_steps: int
    final_share: float

    def __post_init__(self) -> None:
        one_of("schedule.name", self.name, ("constant", "cosine"))
        at_least("schedule.warmup_steps", self.warmup_steps, 0)
        share("schedule.final_share", self.final_share)


@dataclass(frozen=True)
class TrainingConfig(Plan):
    """How long and how to train, with limits of the values."""

    def __post_init__(self) -> None:
        one_of("training.monitor", self.monitor, ("csi", "loss"))
        for key in ("epochs", "batch_size", "accumulate", "log_every", "patience"):
            at_least(f"training.{key}", getattr(self, key), 1)
        at_least("training.workers", self.workers, 0)
        if self.gradient_clip is not None:
            positive("training.gradient_clip", self.gradient_clip)
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(
                f"training.ema_decay: must be at least 0 (off) and below 1, not {self.ema_decay}."
            )
        if len(self.scheduled_sampling) != 2 or not all(
            0 <= one <= 1 for one in self.scheduled_sampling
        ):
            raise ConfigError(
                "training.scheduled_sampling: give the share of true frames fed back at the first"
                " and at the last step, each from 0 to 1, as in [1, 0], not"
                f" {self.scheduled_sampling}."
            )


@dataclass
class TrainConfig:
    """All keys of `nowcast train`."""

    data: DataConfig
    input_steps: int
    lead_steps: int
    inputs: InputsConfig
    region: RegionConfig
    scaling: Scaling
    sampling: SamplingConfig
    validation: ValidationConfig
    model: ModelConfig
    loss: str
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    thresholds: list[float]
    seed: int
    deterministic: bool
    start: str | None
    device: str
    precision: str
    resume: str
    loggers: list[str]
    output: str

    def __post_init__(self) -> None:
        not_empty("output", self.output)
        not_empty("start", self.start)
        if self.start is not None:
            self.start = checkpoint_path(self.start)
        steps("input_steps", self.input_steps)
        steps("lead_steps", self.lead_steps)
        if self.loss == "auto":
            self.loss = "exceedance" if self.model.head == "probability" else "balanced"
        if self.loss not in OUR_LOSSES:
            one_of("loss", self.loss, loss_names())
        thresholds("thresholds", self.thresholds)
        device_and_precision(self.device, self.precision)
        one_of("resume", self.resume, ("auto", "never"))
        self._check_loggers()
        at_least("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise ConfigError(f"seed: must be below 2**32, not {self.seed}.")
        if any(self.training.scheduled_sampling) and not self.model.feeds_back:
            raise ConfigError(
                f"training.scheduled_sampling: {self.model.name} does not feed frames back; set"
                " [0, 0], or choose model.feedback=true of the encoder_forecaster, or"
                " model=next_frame."
            )
        further = self.inputs.asked_for
        if further and self.model.feeds_back:
            raise ConfigError(
                f"{', '.join(further)}: {self.model.name} feeds its forecasts back as input, and"
                " they contain only rain; leave out these inputs, or choose a model without"
                " feedback."
            )
        if self.inputs.ahead.asked_for and not self.model.takes_ahead:
            raise ConfigError(
                f"{', '.join(self.inputs.ahead.asked_for)}: {self.model.name} does not take inputs"
                " for lead times; leave this out, or choose model=encoder_forecaster."
            )
        if isinstance(self.data, MovingMnistConfig) and set(further) - {"inputs.mask"}:
            raise ConfigError(
                f"{', '.join(further)}: the frames of moving_mnist have neither times nor a place;"
                " leave these out."
            )
        if isinstance(self.data, MovingMnistConfig) and self.region.size is not None:
            raise ConfigError(
                "region.size: the digits of moving_mnist have no regions; leave it out."
            )
        if self.sampling.frame_dropout and not self.inputs.mask:
            raise ConfigError(
                "sampling.frame_dropout: without a mask the model would learn that missing frames"
                " are dry; also set inputs.mask=true."
            )
        self._check_moving()
        self._check_probability()
        if self.loss == "cross_entropy" and not self.model.gives_probabilities:
            raise ConfigError(
                "loss: cross_entropy needs probabilities; set model.output_activation=sigmoid, or"
                " another loss."
            )
        if self.loss == "cross_entropy" and isinstance(self.data, RadarConfig):
            raise ConfigError(
                "loss: cross_entropy needs frames in [0, 1], which rain is not; choose mse, mae or"
                " balanced."
            )
        if isinstance(self.data, MovingMnistConfig) and (
            self.scaling.kind,
            self.scaling.maximum,
        ) != ("linear", 1.0):
            raise ConfigError(
                "scaling: the frames of moving_mnist are in [0, 1] already; set scaling=linear"
                " scaling.maximum=1."
            )
        if isinstance(self.data, RadarConfig):
            for split in ("train", "validation"):
                if getattr(self.data, split) is None:
                    raise ConfigError(
                        f"data.{split}: training needs these days; give the first and the last, as"
                        " [2018-05-10, 2018-05-15]."
                    )
            if self.data.cache is None:
                self._check_direct()

    def _check_direct(self) -> None:
        """Errors: ConfigError for keys that need the rain of all frames, if data.cache is null."""
        for key in ("sampling.rain_power", "sampling.min_wet_share", "validation.min_wet_share"):
            group, _, name = key.partition(".")
            if getattr(getattr(self, group), name):
                raise ConfigError(
                    f"{key}: needs the rain of all frames, which data.cache=null does not read in"
                    f" advance; set {key}=0, or data.cache to a folder."
                )

    def _check_loggers(self) -> None:
        """Refuse a logger that does not exist, or is given twice."""
        for name in set(self.loggers) - set(OUR_LOGGERS):
            one_of("loggers", name, logger_names())
        if len(set(self.loggers)) < len(self.loggers):
            raise ConfigError(f"loggers: {self.loggers} has a logger twice; give each once.")

    def _check_moving(self) -> None:
        """Refuse model.frame=moving for data without motion."""
        if self.model.frame != "moving":
            return
        if isinstance(self.data, MovingMnistConfig):
            raise ConfigError(
                "model.frame: moving cannot follow the bouncing digits of moving_mnist; set"
                " model.frame=fixed."
            )
        if self.input_steps < 2:
            raise ConfigError(
                "model.frame: moving needs at least 2 frames to estimate motion; set input_steps=2"
                " or more, or model.frame=fixed."
            )

    def _check_probability(self) -> None:
        """Refuse a loss that does not fit the model's head."""
        if (self.loss == "exceedance") != (self.model.head == "probability") and (
            self.loss in OUR_LOSSES
        ):
            raise ConfigError(
                f"loss: {self.loss} does not fit model.head={self.model.head}; exceedance is for"
                " model.head=probability, the other losses are for model.head=rate. Leave it out,"
                " or set the head."
            )
        missing = sorted(set(self.thresholds) - set(self.model.thresholds))
        if self.model.head == "probability" and missing:
            raise ConfigError(
                f"thresholds: {missing} are not among model.thresholds, for which the model gives"
                " probabilities; add them there, or leave them out."
            )
