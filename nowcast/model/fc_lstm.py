"""The fully connected LSTM and its encoder–forecaster, the baseline of Shi et al. 2015 (arXiv
1506.04214): equation (1) and section 4.1.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from nowcast.model.activations import activation
from nowcast.model.convlstm import ConvLSTMNd
from nowcast.model.convolution import whole
from nowcast.model.stacks import activate, refuse_guide


class _ConvLSTM0d(ConvLSTMNd):
    """A ConvLSTM without grid axes: its convolutions are matrix products."""

    dimensions = 0


class FCLSTM(nn.Module):
    """`torch.nn.LSTM` over vectors (b, t, n) with the peepholes of the paper's equation (1):

        i_t = σ(W_xi x_t + W_hi h_{t−1} + w_ci ∘ c_{t−1} + b_i)

    and so on, as in equation (3) of `ConvLSTM2d`. Without peepholes it is `torch.nn.LSTM` itself.

    Args:
        input_size: length of a vector; 0 for a layer without input, driven only by its state, which
            needs peephole=True.
        hidden_size: length of h and c.
        num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in `torch.nn.LSTM`,
            but batch_first is the default.
        peephole: whether gates see the cell state.

    Example:
        >>> import torch
        >>> output, (h, c) = FCLSTM(3, 4)(torch.rand(2, 5, 3))
        >>> output.shape, h.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        peephole: bool = True,
    ) -> None:
        super().__init__()
        input_size, hidden_size = whole(input_size, "input_size"), whole(hidden_size, "hidden_size")
        num_layers, proj_size = whole(num_layers, "num_layers"), whole(proj_size, "proj_size")
        habits: dict[str, Any] = {
            "bias": bias, "batch_first": batch_first, "dropout": dropout,
            "bidirectional": bidirectional, "proj_size": proj_size,
        }  # fmt: skip
        self.layers = (
            _ConvLSTM0d(input_size, hidden_size, 1, num_layers, **habits)
            if peephole
            else nn.LSTM(input_size, hidden_size, num_layers, **habits)
        )

    def forward(
        self,
        vectors: Tensor | PackedSequence | None,
        state: tuple[Tensor, Tensor] | None = None,
        steps: int | None = None,
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Vectors (b, t, n) → `(output, (h_n, c_n))`, output (b, t, directions · (proj or hidden)).

        Args:
            vectors: (b, t, n), or a PackedSequence; with `steps` and peepholes one vector (b, n) to
                repeat, or None for a layer without input.
            state: (h_0, c_0), each (layers · directions, b, size); by default zeros.
            steps: number of steps of a repeated vector, or of a layer without input.

        Errors: ValueError if `steps` is given or `vectors` is None without peepholes:
        `torch.nn.LSTM` supports neither.
        """
        if isinstance(self.layers, nn.LSTM) and (steps is not None or vectors is None):
            raise ValueError(
                "steps: torch.nn.LSTM needs an input and cannot repeat it; use peephole=True."
            )
        if steps is None:
            return self.layers(vectors, state)  # type: ignore[no-any-return]
        return self.layers(vectors, state, steps=steps)  # type: ignore[no-any-return]


class FCLSTMForecaster(nn.Module):
    """`EncoderForecaster` on flattened frames: each frame is a vector of all its pixels, so the
    model only fits frames of one size.

    The output is a linear map of the outermost forecaster layer only, which gives the published
    number of parameters.

    Args:
        channels: channels of a frame.
        hidden_channels: length of the vectors of each layer, from the frames inward.
        grid_size: height and width of a frame.
        output_activation: 'identity', or 'sigmoid' for frames that are probabilities.
        output_channels: channels of a forecast frame; None: as many as in a past frame.

    Example:
        >>> import torch
        >>> model = FCLSTMForecaster(1, hidden_channels=[16], grid_size=[4, 4])
        >>> model(torch.rand(2, 5, 1, 4, 4), lead_steps=3).shape
        torch.Size([2, 3, 1, 4, 4])
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

        Errors: ValueError if (h, w) is not grid_size.
        """
        refuse_guide(guide)
        if frames.shape[2:] != self.frame_shape:
            raise ValueError(
                f"frames: must be {self.frame_shape} (channels, height, width), not"
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
