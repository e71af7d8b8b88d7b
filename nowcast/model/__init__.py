"""Models of the field in plain torch: past frames (b, t, c, h, w) → forecast frames (b, lead, c, h, w)."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from nowcast.model.cell import ConvLSTMCell
from nowcast.model.convlstm import ConvLSTM, ConvLSTM1d, ConvLSTM2d, ConvLSTM3d
from nowcast.model.encoder_forecaster import EncoderForecaster
from nowcast.model.fclstm import FCLSTM

MODELS: dict[str, type[nn.Module]] = {"encoder_forecaster": EncoderForecaster}
"""Every model by its name in the configuration and in checkpoints."""


def build_model(settings: Mapping[str, Any], channels: int = 1) -> nn.Module:
    """The model that `settings` name, with the arguments they give it."""
    arguments = {key: value for key, value in settings.items() if key != "name"}
    return MODELS[settings["name"]](channels=channels, **arguments)


__all__ = [
    "FCLSTM",
    "MODELS",
    "ConvLSTM",
    "ConvLSTM1d",
    "ConvLSTM2d",
    "ConvLSTM3d",
    "ConvLSTMCell",
    "EncoderForecaster",
    "build_model",
]
