"""Configuration of each model: types and limits. `nowcast/model/` explains each key."""

from dataclasses import dataclass, field

from nowcast.config.checks import at_least, height_and_width, odd, one_of, sizes, thresholds
from nowcast.config.effects import default_values
from nowcast.errors import ConfigError, MissingLibraryError
from nowcast.plugins import MODELS, load_plugin, package_of, plugins

_THRESHOLDS_FROM_TO = 1e-3, 1e4  # mm/h; covers all rain and fits float32


@dataclass
class ModelConfig:
    """Keys of every model, including models of installed packages; `name` is the kind of model.

    Such a package has an entry point in the group `nowcast.models` that names a torch.nn.Module
    class `Net`. `Net.Config` is a dataclass derived from this one; its further fields, each with a
    default, are the keys `model.…`. A model is built as
    `Net(channels=…, output_channels=…, **keys)`, and called like those of `nowcast.model.MODELS`.
    """

    name: str
    frame: str = field(default="fixed", kw_only=True)
    head: str = field(default="rate", kw_only=True)
    thresholds: list[float] = field(default_factory=list, kw_only=True)
    grids: str = field(default="one", kw_only=True)

    def __post_init__(self) -> None:
        if model_config(self.name) is not type(self):
            raise ConfigError(
                f"model.name: {self.name!r} is not the model of these keys; choose with model=…."
            )
        one_of("model.frame", self.frame, ("fixed", "moving"))
        one_of("model.head", self.head, ("rate", "probability"))
        one_of("model.grids", self.grids, ("one", "any"))
        if self.grids == "any" and not self.fits_any_grid:
            raise ConfigError(
                "model.grids: any needs frame=moving, head=probability and output_grid=refined; set"
                " model=any_grid, or model.grids=one."
            )
        if self.head == "probability":
            self._check_probability()
        elif self.thresholds not in ([], default_values("train")["model"]["thresholds"]):
            raise ConfigError(
                "model.thresholds: are for probabilities, but model.head="
                f"{self.head} gives none; leave it out, or set model.head=probability."
            )

    def _check_probability(self) -> None:
        if self.frame != "moving":
            raise ConfigError(
                "model.head: probability needs the moving frame; set model.frame=moving, or"
                " model.head=rate."
            )
        if self.feeds_back:
            raise ConfigError(
                f"model.head: {self.name} feeds its forecasts back as frames, so it cannot give"
                " probabilities; set model.head=rate, or choose a model without feedback."
            )
        thresholds("model.thresholds", self.thresholds)
        least, most = _THRESHOLDS_FROM_TO
        if self.thresholds[0] < least or self.thresholds[-1] > most:
            raise ConfigError(
                f"model.thresholds: give rates from {least:g} to {most:g} mm/h, not"
                f" {self.thresholds}."
            )

    @property
    def feeds_back(self) -> bool:
        """Whether forecasts are fed back as input (true frames can replace them in training)."""
        return False

    @property
    def takes_ahead(self) -> bool:
        """Whether the model takes fields that are known for each lead time."""
        return False

    @property
    def gives_probabilities(self) -> bool:
        """Whether the values of a forecast lie between 0 and 1."""
        return False

    @property
    def fits_any_grid(self) -> bool:
        """Whether the model can be given the pixel size and the time step."""
        return False


@dataclass
class NetworkConfig(ModelConfig):
    """Keys of every model of nowcast."""

    hidden_channels: list[int]
    output_activation: str

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.output_activation", self.output_activation, ("identity", "sigmoid"))
        if self.head == "probability" and self.output_activation != "identity":
            raise ConfigError(
                "model.output_activation: model.head=probability needs identity, because the output"
                " is added to logits; set identity."
            )
        sizes("model.hidden_channels", self.hidden_channels)

    @property
    def gives_probabilities(self) -> bool:
        return self.output_activation == "sigmoid"


@dataclass
class EncoderForecasterConfig(NetworkConfig):
    """The encoder–forecaster of Shi et al. 2015."""

    kernel_size: int
    input_kernel_size: int
    patch_size: int
    feedback: bool
    output_grid: str

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.patch_size", self.patch_size, 1)
        one_of("model.output_grid", self.output_grid, ("pixels", "cells", "refined"))
        if self.output_grid == "refined" and self.frame != "moving":
            raise ConfigError(
                "model.output_grid: refined compares the pixels of advected frames; set"
                " model.frame=moving, or cells."
            )
        if self.feedback and self.output_grid != "pixels":
            raise ConfigError(
                "model.output_grid: model.feedback=true needs full-resolution frames; set pixels,"
                " or model.feedback=false."
            )
        for key in ("kernel_size", "input_kernel_size"):
            odd(f"model.{key}", getattr(self, key))

    @property
    def takes_ahead(self) -> bool:
        return self.grids == "one"

    @property
    def feeds_back(self) -> bool:
        return self.feedback

    @property
    def fits_any_grid(self) -> bool:
        return self.head == "probability" and self.output_grid == "refined"


@dataclass
class StridedEncoderForecasterConfig(NetworkConfig):
    """The encoder–forecaster of the HKO-7 benchmark."""

    outer_channels: int
    strides: list[int]
    conv_kernel_sizes: list[int]
    kernel_size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.outer_channels", self.outer_channels, 1)
        odd("model.kernel_size", self.kernel_size)
        for key in ("strides", "conv_kernel_sizes"):
            sizes(f"model.{key}", getattr(self, key), len(self.hidden_channels))
        for kernel, stride in zip(self.conv_kernel_sizes, self.strides, strict=True):
            if not 3 <= kernel <= stride + 2:
                raise ConfigError(
                    f"model.conv_kernel_sizes: at a stride of {stride} must be 3 to {stride + 2},"
                    f" not {kernel}."
                )


@dataclass
class FCLSTMConfig(NetworkConfig):
    """The fully connected encoder–forecaster of Shi et al. 2015."""

    grid_size: list[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        height_and_width("model.grid_size", self.grid_size)


@dataclass
class NextFrameConfig(NetworkConfig):
    """The next-frame model of Keras' examples."""

    kernel_sizes: list[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes("model.kernel_sizes", self.kernel_sizes, len(self.hidden_channels))
        for kernel in self.kernel_sizes:
            odd("model.kernel_sizes", kernel)

    @property
    def feeds_back(self) -> bool:
        return True


MODEL_CONFIGS: dict[str, type[ModelConfig]] = {
    "encoder_forecaster": EncoderForecasterConfig,
    "encoder_forecaster_strided": StridedEncoderForecasterConfig,
    "fc_lstm": FCLSTMConfig,
    "next_frame": NextFrameConfig,
}
"""The configuration of each model in nowcast, by name."""


def model_config(name: str) -> type[ModelConfig] | None:
    """Return the configuration class of a model, ours or from an installed package; None for an
    unknown name.

    Errors: MissingLibraryError if the package that adds it cannot be used.
    """
    if name in MODEL_CONFIGS or name not in plugins(MODELS):
        return MODEL_CONFIGS.get(name)
    config = getattr(load_plugin(MODELS, name), "Config", None)
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise MissingLibraryError(
            f"{name}: the entry point in {MODELS} has no Config derived from ModelConfig; update"
            f" the package {package_of(plugins(MODELS)[name])}."
        )
    return config


@dataclass
class LayerConfig:
    """Keys of every single layer; `name` is the kind of layer."""

    name: str
    proj_size: int
    bidirectional: bool

    def __post_init__(self) -> None:
        if LAYER_CONFIGS.get(self.name) is not type(self):
            raise ConfigError(
                f"layer.name: {self.name!r} is not the layer of these keys; choose with layer=…."
            )
        at_least("layer.proj_size", self.proj_size, 0)


@dataclass
class ConvLSTMConfig(LayerConfig):
    """A stack of ConvLSTM layers over frames."""

    hidden_channels: list[int]
    kernel_size: int
    input_kernel_size: int
    stride: int
    padding: str
    dilation: int
    peephole: str

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes("layer.hidden_channels", self.hidden_channels)
        for key in ("kernel_size", "input_kernel_size", "stride", "dilation"):
            at_least(f"layer.{key}", getattr(self, key), 1)
        one_of("layer.padding", self.padding, ("same", "valid"))
        one_of("layer.peephole", self.peephole, ("channel", "pixel", "none"))


@dataclass
class LSTMConfig(LayerConfig):
    """A stack of LSTM layers over frames as vectors."""

    hidden_size: int
    num_layers: int
    peephole: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("hidden_size", "num_layers"):
            at_least(f"layer.{key}", getattr(self, key), 1)


LAYER_CONFIGS: dict[str, type[LayerConfig]] = {"conv_lstm": ConvLSTMConfig, "lstm": LSTMConfig}
"""The configuration of each layer that `nowcast describe` can show, by name."""
