"""Published models in plain PyTorch: past frames (b, t, c, h, w) → forecast frames (b, lead,
c, h, w).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from nowcast.model.added import refuse_other_shape
from nowcast.model.any_grid import CONSTANTS, AnyGridModel
from nowcast.model.cell import ConvLSTMCell, Variant
from nowcast.model.convlstm import ConvLSTM, ConvLSTM1d, ConvLSTM2d, ConvLSTM3d
from nowcast.model.encoder_forecaster import EncoderForecaster
from nowcast.model.encoder_forecaster_strided import StridedEncoderForecaster
from nowcast.model.fc_lstm import FCLSTM, FCLSTMForecaster
from nowcast.model.next_frame import NextFrame
from nowcast.model.probability_head import ProbabilityModel
from nowcast.plugins import MODELS as ADDED_MODELS
from nowcast.plugins import load_plugin, plugins

MODELS: dict[str, type[nn.Module]] = {
    "encoder_forecaster": EncoderForecaster,
    "encoder_forecaster_strided": StridedEncoderForecaster,
    "fc_lstm": FCLSTMForecaster,
    "next_frame": NextFrame,
}
"""Every model by its name in the configuration and in checkpoints.

`forecast = model(frames, lead_steps, guide)`: frames (b, t, c, h, w) → (b, lead_steps, c, h, w), or
output_channels in place of c. Models that feed their forecasts back accept true frames as `guide`,
of the shape of the forecast; NaN marks frames for which the forecast is fed back. Other models
reject a guide. A model with `ahead_channels` also takes `ahead`, fields (b, lead_steps,
ahead_channels, h, w).
"""


_NOT_OF_NETWORK = ("name", "frame", "head", "thresholds", "grids")
"""Settings that are not arguments of the network."""


def build_model(
    settings: Mapping[str, Any],
    channels: int = 1,
    output_channels: int | None = None,
    ahead_channels: int = 0,
    *,
    mask: bool = False,
) -> nn.Module:
    """Build a model of this package or of an installed package from its settings.

    Args:
        settings: `name`, one of `MODELS` or of an installed package, and the arguments of that
            model. With `head` 'probability' also `thresholds` in mm/h: the model is wrapped in a
            `ProbabilityModel`, or if `grids` is 'any' in an `AnyGridModel`.
        channels: channels of a past frame.
        output_channels: channels of a forecast frame, if not those of a past frame. A model that
            feeds frames back cannot have other channels.
        ahead_channels: channels of the fields known for each lead time; only some models take them.
        mask: whether channel 1 of a past frame marks where the rain was measured.

    Returns:
        The model, on the CPU: frames (b, t, c, h, w) → (b, lead_steps, c, h, w).

    Raises:
        KeyError: for an unknown name.
        TypeError, ValueError: for arguments that the model does not accept.

    Example:
        >>> settings = {"name": "next_frame", "hidden_channels": [4], "kernel_sizes": [3]}
        >>> type(build_model(settings)).__name__
        'NextFrame'
    """
    arguments = {key: value for key, value in settings.items() if key not in _NOT_OF_NETWORK}
    thresholds = settings.get("thresholds", ())
    gives_probabilities = settings.get("head") == "probability"
    if gives_probabilities:
        output_channels = len(thresholds)
    if ahead_channels:
        arguments["ahead_channels"] = ahead_channels
    any_grid, seen = settings.get("grids") == "any", channels
    if any_grid:  # AnyGridModel itself adds the detail at full resolution
        arguments["output_grid"] = "cells"
        seen = channels + CONSTANTS
    if output_channels not in (None, seen):
        arguments["output_channels"] = output_channels
    name = settings["name"]
    added = name not in MODELS and name in plugins(ADDED_MODELS)
    kind = load_plugin(ADDED_MODELS, name) if added else MODELS[name]
    network: nn.Module = kind(channels=seen, **arguments)
    if added and not any_grid:
        refuse_other_shape(network, name, seen if output_channels is None else output_channels)
    if any_grid:
        return AnyGridModel(network, channels, thresholds, mask=mask)
    return ProbabilityModel(network, thresholds) if gives_probabilities else network


__all__ = [
    "FCLSTM",
    "MODELS",
    "AnyGridModel",
    "ConvLSTM",
    "ConvLSTM1d",
    "ConvLSTM2d",
    "ConvLSTM3d",
    "ConvLSTMCell",
    "EncoderForecaster",
    "FCLSTMForecaster",
    "NextFrame",
    "ProbabilityModel",
    "StridedEncoderForecaster",
    "Variant",
    "build_model",
]

FACE = {
    "probability_head": "a network that gives probabilities",
    "pointwise": "the elementwise part of a ConvLSTM step, and when it is compiled",
    "describe": "the layers of a model, and what they cost",
    "stacks": "helpers that the networks share",
    "unroll": "a cell over a whole sequence, and gradient checkpointing",
    "watched": "whether a cell may be replaced by the fast path",
}
"""The modules that other packages may import, and what they offer."""
