"""The fully connected encoder–forecaster that Shi et al. 2015 (arXiv 1506.04214) measure theirs
against, section 4.1.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from nowcast.model.activations import activation
from nowcast.model.fc_lstm_layer import FCLSTM
from nowcast.model.stacks import activate, refuse_guide


class FCLSTMForecaster(nn.Module):
    """`EncoderForecaster` on frames as vectors of all their pixels: it fits frames of one size
    alone.

    Its output is a linear map of the forecaster layer next to the frames alone, which makes the
    published number of parameters.

    Args:
        channels: channels of a frame.
        hidden_channels: length of the vectors of each layer, from the frames inward.
        grid_size: height and width of a frame.
        output_activation: 'identity', or 'sigmoid' for frames that are probabilities.
        output_channels: of a forecast frame; None: as many as of a past one.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: Sequence[int],
        grid_size: Sequence[int],
        output_activation: str = "identity",
        output_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.frame_shape = (channels, *grid_size)
        self.output_shape = (output_channels or channels, *grid_size)
        self.encoder = nn.ModuleList(
            map(FCLSTM, [math.prod(self.frame_shape), *hidden_channels[:-1]], hidden_channels)
        )
        self.forecaster = nn.ModuleList(map(FCLSTM, [*hidden_channels[1:], 0], hidden_channels))
        self.output = nn.Linear(hidden_channels[0], math.prod(self.output_shape))
        self.output_activation = activation(output_activation)

    def forward(self, frames: Tensor, lead_steps: int, guide: Tensor | None = None) -> Tensor:
        """Past frames (b, t, c, h, w), scaled, missing pixels 0 → forecast frames (b, lead_steps,
        c, h, w).

        Errors: ValueError where h and w are not the grid_size.
        """
        refuse_guide(guide)
        if frames.shape[2:] != self.frame_shape:
            raise ValueError(
                f"frames: of {self.frame_shape} (channels, height, width), not"
                f" {tuple(frames.shape[2:])}."
            )
        states = []
        sequence: Tensor | None = frames.flatten(2)
        for layer in self.encoder:
            sequence, state = layer(sequence)
            states.append(state)

        sequence = None
        for layer, state in zip(reversed(self.forecaster), reversed(states), strict=True):
            sequence, _ = layer(sequence, state, steps=lead_steps if sequence is None else None)
        return activate(self.output(sequence), self.output_activation).reshape(
            frames.shape[0], lead_steps, *self.output_shape
        )
